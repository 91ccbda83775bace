#include "core/crc32c.h"

#include <string.h>

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
__attribute__((target("sse4.2"))) static uint32_t by_processor(uint32_t crc, const uint8_t *at,
                                                               size_t len)
{
    uint64_t wide = crc;
    for (; len >= sizeof(uint64_t); at += sizeof(uint64_t), len -= sizeof(uint64_t)) {
        uint64_t word;
        memcpy(&word, at, sizeof(word));
        wide = __builtin_ia32_crc32di(wide, word);
    }
    return plain((uint32_t)wide, at, len);
}

static uint32_t add(uint32_t crc, const uint8_t *at, size_t len)
{
    return __builtin_cpu_supports("sse4.2") ? by_processor(crc, at, len) : plain(crc, at, len);
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
