#include "core/utf8.h"

#include <stdint.h>

/* Length of the sequence a lead byte announces and the range of its second byte: it excludes
 * overlong forms, surrogates and what is above U+10FFFF. Length 0: no lead byte. */
typedef struct utf8_lead {
    unsigned length;
    uint8_t second_min, second_max;
} utf8_lead;

static utf8_lead lead_of(uint8_t byte)
{
    if (byte < 0x80)
        return (utf8_lead){1, 0, 0};
    if (byte < 0xc2)
        return (utf8_lead){0, 0, 0};
    if (byte < 0xe0)
        return (utf8_lead){2, 0x80, 0xbf};
    if (byte < 0xf0)
        return (utf8_lead){3, byte == 0xe0 ? 0xa0 : 0x80, byte == 0xed ? 0x9f : 0xbf};
    if (byte < 0xf5)
        return (utf8_lead){4, byte == 0xf0 ? 0x90 : 0x80, byte == 0xf4 ? 0x8f : 0xbf};
    return (utf8_lead){0, 0, 0};
}

size_t gw_utf8_next(const char *text, size_t len, bool *ret_ok)
{
    const uint8_t *p = (const uint8_t *)text;
    utf8_lead lead = lead_of(p[0]);
    *ret_ok = lead.length == 1;
    if (lead.length < 2)
        return 1;
    if (len < 2 || p[1] < lead.second_min || p[1] > lead.second_max)
        return 1;
    for (size_t i = 2; i < lead.length; i++) {
        if (i >= len || (p[i] & 0xc0) != 0x80)
            return i;
    }
    *ret_ok = true;
    return lead.length;
}
