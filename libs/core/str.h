/*
 * gw_str: a borrowed view of bytes. gw_buf: a growable byte buffer that owns them.
 *
 * A gw_str is not NUL-terminated unless a function says so. Functions that look at text are
 * byte-exact; the _nocase ones fold ASCII only (HTTP field names, RFC 9110 §5.1).
 */
#pragma once

#include "core/macros.h"

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

typedef struct gw_str {
    const char *ptr; /* may be NULL when len is 0 */
    size_t len;
} gw_str;

#define GW_STR(literal) ((gw_str){"" literal, sizeof(literal) - 1}) /* of a string literal */
#define GW_STR_NULL     ((gw_str){NULL, 0})
#define GW_STR_FMT      "%.*s" /* printf: GW_STR_FMT, GW_STR_ARG(s) */
#define GW_STR_ARG(s)   (int)(s).len, (s).ptr ? (s).ptr : ""

static inline gw_str gw_str_of(const char *text) /* NULL gives the empty view */
{
    return (gw_str){text, text ? strlen(text) : 0};
}
static inline gw_str gw_str_n(const void *ptr, size_t len)
{
    return (gw_str){(const char *)ptr, len};
}
static inline bool gw_str_eq(gw_str a, gw_str b)
{
    return a.len == b.len && (a.len == 0 || memcmp(a.ptr, b.ptr, a.len) == 0);
}
static inline bool gw_str_eq_c(gw_str a, const char *b)
{
    return gw_str_eq(a, gw_str_of(b));
}
bool gw_str_same_nocase(const char *a, const char *b, size_t len);
static inline bool gw_str_eq_nocase(gw_str a, gw_str b)
{
    /* NOLINTNEXTLINE(clang-analyzer-core.NullDereference): only an empty one has no bytes */
    if (a.len != b.len || (a.len > 0 && ((a.ptr[0] ^ b.ptr[0]) & ~0x20) != 0))
        return false; /* most that are looked at: without a call */
    return gw_str_same_nocase(a.ptr, b.ptr, a.len);
}
int gw_str_cmp(gw_str a, gw_str b); /* byte order, shorter first */
bool gw_str_starts_with(gw_str s, gw_str prefix);
bool gw_str_ends_with(gw_str s, gw_str suffix);
bool gw_str_contains(gw_str s, gw_str needle);
ptrdiff_t gw_str_find(gw_str s, char c); /* -1 when absent */
static inline gw_str gw_str_slice(gw_str s, size_t from, size_t to) /* both clamped to the length */
{
    to = GW_MIN(to, s.len);
    from = GW_MIN(from, to);
    return s.ptr ? (gw_str){s.ptr + from, to - from} : (gw_str){NULL, 0};
}
gw_str gw_str_trim(gw_str s); /* spaces and tabs at both ends */

/* Cuts `*rest` at the first `separator`: the part before it is returned, `*rest` is what follows.
 * False at the end. */
bool gw_str_split(gw_str *rest, char separator, gw_str *part);

/* Whole string as a decimal; false on anything else or overflow; *ret untouched then. */
GW_CHECK bool gw_str_to_int64(gw_str s, int64_t *ret);
GW_CHECK bool gw_str_to_uint64(gw_str s, uint64_t *ret);
GW_CHECK bool gw_str_to_double(gw_str s, double *ret); /* finite only */

/* Decimal, NUL-terminated; its length. */
#define GW_INT_TEXT_SIZE 21
size_t gw_int_format(int64_t value, char out[GW_INT_TEXT_SIZE]);

bool gw_str_is_utf8(gw_str s); /* well-formed, no surrogates, no NUL check */
size_t gw_str_utf8_cut(gw_str s,
                       size_t max_bytes); /* the longest whole-character prefix <= max_bytes */
bool gw_str_has_control(gw_str s); /* any byte < 0x20 or 0x7f */
/* A name that people read: UTF-8 as GW_LABEL_RULE says. */
bool gw_str_is_label(gw_str s);
#define GW_LABEL_RULE                                                                              \
    "not only spaces, without characters that control lines, terminals or direction"
/* How many bytes at the start are printable ASCII without quote and backslash: a JSON string has them as they are. */
size_t gw_str_plain_prefix(gw_str s);
char *gw_str_dup(gw_str s); /* NUL-terminated malloc copy; NULL when out of memory */

/* Hex, lower case. `hex` gets 2 * len + 1 bytes. */
void gw_hex_encode(const void *bytes, size_t len, char *hex);
GW_CHECK bool gw_hex_decode(gw_str hex, void *bytes,
                            size_t len); /* exactly 2 * len digits, either case */

/* Base64 (RFC 4648 §4, padded) and its URL form (§5, unpadded). */
size_t gw_base64_encode(const void *bytes, size_t len,
                        char *out); /* out: 4 * ((len + 2) / 3) + 1 */
/* Accepts both alphabets, with or without padding. Bytes written, or -1 when malformed or longer
 * than `cap`. */
ptrdiff_t gw_base64_decode(gw_str text, void *out, size_t cap);
size_t gw_base64url_encode(const void *bytes, size_t len, char *out);

/*
 * Growable buffer. Zero-initialised is empty. Out of memory is sticky: appends after it do nothing
 * and gw_buf_failed() tells, so that a sequence of appends is checked once. `data` is always
 * NUL-terminated when not NULL.
 */
typedef struct gw_buf {
    char *data;
    size_t len;
    size_t cap;
    bool failed;
} gw_buf;

void gw_buf_fini(gw_buf *b); /* frees and zeroes */
void gw_buf_clear(gw_buf *b); /* keeps the memory */
bool gw_buf_failed(const gw_buf *b);
bool gw_buf_reserve(gw_buf *b, size_t extra); /* room for `extra` more bytes */
void gw_buf_append_growing(gw_buf *b, const void *bytes,
                           size_t len); /* the rare part of the next */
static inline void gw_buf_append(gw_buf *b, const void *bytes, size_t len)
{
    if (b->failed || len >= b->cap - b->len) {
        gw_buf_append_growing(b, bytes, len);
        return;
    }
    if (len > 0) /* `bytes` may be NULL if not */
        /* NOLINTNEXTLINE(clang-analyzer-core.NonNullParamChecker) */
        memcpy(b->data + b->len, bytes, len);
    b->len += len;
    b->data[b->len] = '\0';
}
static inline void gw_buf_append_str(gw_buf *b, gw_str s)
{
    gw_buf_append(b, s.ptr, s.len);
}
static inline void gw_buf_append_c(gw_buf *b, const char *text)
{
    gw_buf_append_str(b, gw_str_of(text));
}
static inline void gw_buf_append_char(gw_buf *b, char c)
{
    gw_buf_append(b, &c, 1);
}
void gw_buf_append_int(gw_buf *b, int64_t value); /* decimal */
void gw_buf_appendf(gw_buf *b, const char *format, ...) GW_PRINTF(2, 3);
void gw_buf_append_json(
    gw_buf *b, gw_str s); /* as a quoted JSON string (RFC 8259 §7); bad UTF-8 becomes U+FFFD */
void gw_buf_drop_front(gw_buf *b, size_t len); /* removes the first `len` bytes */
char *
gw_buf_steal(gw_buf *b); /* the malloc'ed bytes, NUL-terminated; the buffer is empty afterwards */
static inline gw_str gw_buf_str(const gw_buf *b)
{
    return (gw_str){b->data, b->len};
}
#define gw_auto_buf __attribute__((cleanup(gw_buf_fini))) gw_buf
