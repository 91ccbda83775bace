#include "crypto/crypto.h"

static const char alphabet[] = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

bool gw_base62_encode(uint64_t value, char *out, size_t width)
{
    uint64_t left = value;
    for (size_t i = 0; i < width; i++)
        left /= 62;
    if (left != 0)
        return false;
    for (size_t i = width; i-- > 0; value /= 62)
        out[i] = alphabet[value % 62];
    return true;
}

static int digit_of(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'A' && c <= 'Z')
        return c - 'A' + 10;
    if (c >= 'a' && c <= 'z')
        return c - 'a' + 36;
    return -1;
}

bool gw_base62_decode(gw_str text, uint64_t *ret)
{
    uint64_t value = 0;
    for (size_t i = 0; i < text.len; i++) {
        int digit = digit_of(text.ptr[i]);
        if (digit < 0 || __builtin_mul_overflow(value, 62, &value) ||
            __builtin_add_overflow(value, (uint64_t)digit, &value))
            return false;
    }
    if (text.len == 0)
        return false;
    *ret = value;
    return true;
}
