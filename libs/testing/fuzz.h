/*
 * Fuzz: what every x_fuzz.c has in common.
 *
 * A target is one function over bytes that asserts what must hold whatever comes. The `fuzz` preset
 * links it with libFuzzer (`./dev fuzz`); every other build links replay.c instead, which plays
 * tests/fuzz/<target>/ as a unit test: handmade seeds, and each input that once found something.
 *
 * Thread: one.
 */
#pragma once

#include "core/str.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <unistd.h>

/* Always 0. `data` is not NUL-terminated. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* As assert(), in every build. */
#define fuzz_require(holds)                                                                        \
    do {                                                                                           \
        if (!(holds)) {                                                                            \
            fprintf(stderr, "%s:%d: does not hold: %s\n", __FILE__, __LINE__, #holds);             \
            abort();                                                                               \
        }                                                                                          \
    } while (0)

/*
 * Bytes that arrive in pieces. The input's first line, up to LF, says how: each of its bytes is the
 * length of a piece, in turn and from the front again; 0 is taken as 256. No byte: all at once. So a
 * text stays a text, and the fuzzer moves the cuts like any other byte.
 */
typedef struct fuzz_pieces {
    gw_str lengths;
    gw_str rest;
    size_t next;
} fuzz_pieces;

static inline fuzz_pieces fuzz_pieces_of(const uint8_t *data, size_t size)
{
    fuzz_pieces p = {.rest = gw_str_n(data, size)};
    ptrdiff_t end = gw_str_find(p.rest, '\n');

    if (end >= 0) {
        p.lengths = gw_str_slice(p.rest, 0, (size_t)end);
        p.rest = gw_str_slice(p.rest, (size_t)end + 1, p.rest.len);
    }
    return p;
}

/* False when nothing is left. */
static inline bool fuzz_next_piece(fuzz_pieces *p, gw_str *ret)
{
    size_t length = p->rest.len;

    if (p->rest.len == 0)
        return false;
    if (p->lengths.len > 0) {
        length = (uint8_t)p->lengths.ptr[p->next++ % p->lengths.len];
        length = length ? length : 256;
    }
    *ret = gw_str_slice(p->rest, 0, length);
    p->rest = gw_str_slice(p->rest, length, p->rest.len);
    return true;
}

/* For what reads files: one in memory that holds `bytes`, its name in `path`. The caller closes it. */
#define FUZZ_PATH_SIZE 64
static inline int fuzz_file(gw_str bytes, char path[FUZZ_PATH_SIZE])
{
    int fd = (int)syscall(SYS_memfd_create, "fuzz", 0);

    fuzz_require(fd >= 0 &&
                 (bytes.len == 0 || write(fd, bytes.ptr, bytes.len) == (ssize_t)bytes.len));
    (void)snprintf(path, FUZZ_PATH_SIZE, "/proc/self/fd/%d", fd);
    return fd;
}
