#include "core/crc32c.h"

#include <string.h>

#if defined(__x86_64__)
#include <immintrin.h>
#endif

/* One byte at a time, four bits at once (the polynomial is 0x1EDC6F41, reflected): small, and quick enough where needed. */
static uint32_t plain(uint32_t crc, const uint8_t *at, size_t len)
{
    static const uint32_t of_nibble[16] = {0x00000000, 0x105ec76f, 0x20bd8ede, 0x30e349b1,
                                           0x417b1dbc, 0x5125dad3, 0x61c69362, 0x7198540d,
                                           0x82f63b78, 0x92a8fc17, 0xa24bb5a6, 0xb21572c9,
                                           0xc38d26c4, 0xd3d3e1ab, 0xe330a81a, 0xf36e6f75};
    for (; len > 0; len--) {
        crc ^= *at++;
        crc = crc >> 4 ^ of_nibble[crc & 15];
        crc = crc >> 4 ^ of_nibble[crc & 15];
    }
    return crc;
}

#if defined(__x86_64__)
#define LANE 64 /* bytes */

/*
 * The processor takes eight bytes a cycle but answers after three, so three lanes go side by side. The sum of what lies before a lane is
 * then moved on over the lane: a product with x^(8 × bytes) modulo the polynomial, of which the instruction does the second half.
 */
#define OVER_ONE_LANE  0x9e4addf8
#define OVER_TWO_LANES 0x0d3b6092

static inline uint64_t word_at(const uint8_t *at)
{
    uint64_t word;
    memcpy(&word, at, sizeof(word));
    return word;
}

__attribute__((target("sse4.2,pclmul"))) static inline uint64_t product(uint64_t a, uint64_t b)
{
    return (uint64_t)_mm_cvtsi128_si64(
        _mm_clmulepi64_si128(_mm_cvtsi64_si128((long long)a), _mm_cvtsi64_si128((long long)b), 0));
}

__attribute__((target("sse4.2,pclmul"))) static uint32_t by_processor(uint32_t crc,
                                                                      const uint8_t *at, size_t len)
{
    uint64_t a = crc;
    for (; len >= 3 * LANE; at += 3 * LANE, len -= 3 * LANE) {
        uint64_t b = 0, c = 0;
        for (size_t i = 0; i < LANE; i += sizeof(uint64_t)) {
            a = _mm_crc32_u64(a, word_at(at + i));
            b = _mm_crc32_u64(b, word_at(at + LANE + i));
            c = _mm_crc32_u64(c, word_at(at + 2 * LANE + i));
        }
        a = c ^ _mm_crc32_u64(0, product(a, OVER_TWO_LANES) ^ product(b, OVER_ONE_LANE));
    }
    for (; len >= sizeof(uint64_t); at += sizeof(uint64_t), len -= sizeof(uint64_t))
        a = _mm_crc32_u64(a, word_at(at));
    uint32_t sum = (uint32_t)a;
    for (; len > 0; len--)
        sum = _mm_crc32_u8(sum, *at++);
    return sum;
}

static uint32_t add(uint32_t crc, const uint8_t *at, size_t len)
{
    return __builtin_cpu_supports("sse4.2") && __builtin_cpu_supports("pclmul")
               ? by_processor(crc, at, len)
               : plain(crc, at, len);
}
#else
static uint32_t add(uint32_t crc, const uint8_t *at, size_t len)
{
    return plain(crc, at, len);
}
#endif

uint32_t gw_crc32c(uint32_t crc, const void *bytes, size_t len)
{
    return ~add(~crc, bytes, len);
}
