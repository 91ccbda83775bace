#include "core/id.h"

#include "core/map.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/random.h>

void gw_random_bytes(void *out, size_t len)
{
    char *at = out;
    while (len > 0) {
        ssize_t n = getrandom(at, len, 0);
        if (n < 0) {
            if (errno == EINTR)
                continue;
            abort(); /* no randomness: every secret made from here on would be guessable */
        }
        at += n;
        len -= (size_t)n;
    }
}

uint64_t gw_random_u64(void)
{
    uint64_t value;
    gw_random_bytes(&value, sizeof(value));
    return value;
}

uint64_t gw_random_below(uint64_t bound)
{
    uint64_t low = (0 - bound) % bound; /* 2^64 mod bound: below it, some remainders are likelier */
    uint64_t value;
    do {
        value = gw_random_u64();
    } while (value < low);
    return value % bound;
}

static const char base62_digits[] =
    "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

void gw_random_base62(char *out, size_t len)
{
    enum { FAIR = 256 / 62 * 62 };
    uint8_t pool[64];
    size_t left = 0;
    for (size_t i = 0; i < len;) {
        if (left == 0) {
            gw_random_bytes(pool, sizeof(pool));
            left = sizeof(pool);
        }
        uint8_t byte = pool[--left];
        if (byte < FAIR)
            out[i++] = base62_digits[byte % 62];
    }
    out[len] = '\0';
    explicit_bzero(pool, sizeof(pool)); /* what is made here may be a secret */
}

/*
 * Request ids are made of a keyed hash (SipHash) of a counter: as unlikely to meet as random ones, and who sees some cannot
 * tell the others, but without a system call each. No secrets are made this way.
 */
static pthread_once_t ids_once = PTHREAD_ONCE_INIT;
static uint8_t ids_key[16];
static atomic_uint_least64_t ids_made;

static void choose_ids_key(void)
{
    gw_random_bytes(ids_key, sizeof(ids_key));
}

static void start_ids(void)
{
    choose_ids_key();
    (void)pthread_atfork(NULL, NULL, choose_ids_key); /* a child counts on from the same number */
}

void gw_request_id(char out[GW_REQUEST_ID_SIZE])
{
    static const char prefix[] = "req_";
    enum { WORDS = 3, DIGITS = 8 }; /* 62^8 of 2^64: even to one part in 65000 */
    _Static_assert(sizeof(prefix) + (size_t)WORDS * DIGITS == GW_REQUEST_ID_SIZE,
                   "all digits are made");
    (void)pthread_once(&ids_once, start_ids);
    uint64_t number = atomic_fetch_add_explicit(&ids_made, 1, memory_order_relaxed);
    char *at = out + sizeof(prefix) - 1;
    memcpy(out, prefix, sizeof(prefix) - 1);
    for (uint64_t word = 0; word < WORDS; word++) {
        uint64_t input[2] = {number, word};
        uint64_t value = gw_siphash(ids_key, input, sizeof(input));
        for (unsigned i = 0; i < DIGITS; i++, value /= 62)
            *at++ = base62_digits[value % 62];
    }
    *at = '\0';
}

/* What BSON asks of a process: the same five bytes in all its ids, and a counter that starts
 * anywhere. */
static pthread_once_t process_once = PTHREAD_ONCE_INIT;
static uint8_t process_bytes[5];
static atomic_uint counter;

static void start_process_ids(void)
{
    unsigned start;
    gw_random_bytes(process_bytes, sizeof(process_bytes));
    gw_random_bytes(&start, sizeof(start));
    atomic_store(&counter, start);
}

void gw_object_id_make(gw_object_id *out, int64_t wall_ms)
{
    (void)pthread_once(&process_once, start_process_ids);
    uint32_t seconds = (uint32_t)(wall_ms / 1000);
    unsigned count = atomic_fetch_add_explicit(&counter, 1, memory_order_relaxed);
    for (unsigned i = 0; i < 4; i++)
        out->bytes[i] = (uint8_t)(seconds >> (24 - 8 * i));
    memcpy(out->bytes + 4, process_bytes, sizeof(process_bytes));
    for (unsigned i = 0; i < 3; i++)
        out->bytes[9 + i] = (uint8_t)(count >> (16 - 8 * i));
}

void gw_object_id_format(const gw_object_id *id, char out[GW_OBJECT_ID_HEX_SIZE])
{
    gw_hex_encode(id->bytes, sizeof(id->bytes), out);
}

bool gw_object_id_parse(gw_str hex, gw_object_id *ret)
{
    return gw_hex_decode(hex, ret->bytes, sizeof(ret->bytes));
}
