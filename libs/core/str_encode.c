/* The textual encodings of str.h: hex (RFC 4648 §8) and base64 (§4, §5). */
#include "core/str.h"

void gw_hex_encode(const void *bytes, size_t len, char *hex)
{
    static const char digits[] = "0123456789abcdef";
    const uint8_t *in = bytes;
    for (size_t i = 0; i < len; i++) {
        hex[2 * i] = digits[in[i] >> 4];
        hex[2 * i + 1] = digits[in[i] & 15];
    }
    hex[2 * len] = '\0';
}

static int hex_digit(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    if (c >= 'A' && c <= 'F')
        return c - 'A' + 10;
    return -1;
}

bool gw_hex_decode(gw_str hex, void *bytes, size_t len)
{
    if (hex.len % 2 != 0 || hex.len / 2 != len)
        return false;
    for (size_t i = 0; i < hex.len; i++) {
        if (hex_digit(hex.ptr[i]) < 0)
            return false;
    }
    uint8_t *out = bytes;
    for (size_t i = 0; i < len; i++)
        out[i] = (uint8_t)(hex_digit(hex.ptr[2 * i]) * 16 + hex_digit(hex.ptr[2 * i + 1]));
    return true;
}

static size_t base64_encode(const void *bytes, size_t len, char *out, const char *alphabet,
                            bool pad)
{
    const uint8_t *in = bytes;
    char *at = out;
    for (; len >= 3; in += 3, len -= 3) {
        *at++ = alphabet[in[0] >> 2];
        *at++ = alphabet[(in[0] & 3) << 4 | in[1] >> 4];
        *at++ = alphabet[(in[1] & 15) << 2 | in[2] >> 6];
        *at++ = alphabet[in[2] & 63];
    }
    if (len > 0) {
        unsigned second = len == 2 ? in[1] : 0;
        *at++ = alphabet[in[0] >> 2];
        *at++ = alphabet[(in[0] & 3u) << 4 | second >> 4];
        if (len == 2)
            *at++ = alphabet[(second & 15) << 2];
        for (size_t i = len; pad && i < 3; i++)
            *at++ = '=';
    }
    *at = '\0';
    return (size_t)(at - out);
}

size_t gw_base64_encode(const void *bytes, size_t len, char *out)
{
    return base64_encode(bytes, len, out,
                         "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/", true);
}

size_t gw_base64url_encode(const void *bytes, size_t len, char *out)
{
    return base64_encode(bytes, len, out,
                         "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_", false);
}

static int base64_digit(char c)
{
    if (c >= 'A' && c <= 'Z')
        return c - 'A';
    if (c >= 'a' && c <= 'z')
        return c - 'a' + 26;
    if (c >= '0' && c <= '9')
        return c - '0' + 52;
    if (c == '+' || c == '-')
        return 62;
    if (c == '/' || c == '_')
        return 63;
    return -1;
}

/* The digits without their padding; false when the padding or the count of digits fits no byte
 * string. */
static bool base64_unpad(gw_str text, gw_str *ret)
{
    size_t digits = text.len;
    while (digits > 0 && text.len - digits < 2 && text.ptr[digits - 1] == '=')
        digits--;
    bool padded = digits < text.len;
    if (padded && text.len % 4 != 0)
        return false;
    *ret = gw_str_slice(text, 0, digits);
    return digits % 4 != 1;
}

ptrdiff_t gw_base64_decode(gw_str text, void *out, size_t cap)
{
    gw_str digits;
    if (!base64_unpad(text, &digits))
        return -1;
    size_t len = digits.len / 4 * 3 + (digits.len % 4 > 0 ? digits.len % 4 - 1 : 0);
    if (len > cap)
        return -1;
    uint8_t *at = out;
    uint32_t bits = 0;
    unsigned held = 0;
    for (size_t i = 0; i < digits.len; i++) {
        int digit = base64_digit(digits.ptr[i]);
        if (digit < 0)
            return -1;
        bits = bits << 6 | (uint32_t)digit;
        held += 6;
        if (held >= 8) {
            held -= 8;
            *at++ = (uint8_t)(bits >> held);
        }
    }
    /* Spare bits must be zero (§3.5): one byte string has one text. */
    if ((bits & ((1u << held) - 1)) != 0)
        return -1;
    return (ptrdiff_t)len;
}
