#include "core/str.h"

#include "core/utf8.h"

#ifdef __SSE2__
#include <emmintrin.h>
#endif
#include <math.h>
#include <stdlib.h>

static unsigned char fold(char c)
{
    unsigned char byte = (unsigned char)c;
    return byte >= 'A' && byte <= 'Z' ? (unsigned char)(byte + ('a' - 'A')) : byte;
}

bool gw_str_same_nocase(const char *a, const char *b, size_t len)
{
    for (size_t i = 0; i < len; i++) {
        if (a[i] != b[i] && fold(a[i]) != fold(b[i]))
            return false;
    }
    return true;
}

int gw_str_cmp(gw_str a, gw_str b)
{
    size_t common = GW_MIN(a.len, b.len);
    int order = common > 0 ? memcmp(a.ptr, b.ptr, common) : 0;
    if (order != 0)
        return order < 0 ? -1 : 1;
    return (a.len > b.len) - (a.len < b.len);
}

bool gw_str_starts_with(gw_str s, gw_str prefix)
{
    return s.len >= prefix.len && gw_str_eq(gw_str_n(s.ptr, prefix.len), prefix);
}

bool gw_str_ends_with(gw_str s, gw_str suffix)
{
    if (suffix.len == 0 || s.len < suffix.len)
        return suffix.len == 0;
    return memcmp(s.ptr + (s.len - suffix.len), suffix.ptr, suffix.len) == 0;
}

bool gw_str_contains(gw_str s, gw_str needle)
{
    if (needle.len == 0)
        return true;
    while (s.len >= needle.len) {
        const char *at = memchr(s.ptr, needle.ptr[0], s.len - needle.len + 1);
        if (!at)
            return false;
        if (memcmp(at, needle.ptr, needle.len) == 0)
            return true;
        s = gw_str_slice(s, (size_t)(at - s.ptr) + 1, s.len);
    }
    return false;
}

ptrdiff_t gw_str_find(gw_str s, char c)
{
    const char *at = s.len > 0 ? memchr(s.ptr, c, s.len) : NULL;
    return at ? at - s.ptr : -1;
}

static bool is_blank(char c)
{
    return c == ' ' || c == '\t';
}

gw_str gw_str_trim(gw_str s)
{
    size_t from = 0;
    size_t to = s.len;
    while (from < to && is_blank(s.ptr[from]))
        from++;
    while (to > from && is_blank(s.ptr[to - 1]))
        to--;
    return gw_str_slice(s, from, to);
}

/* The end is a NULL view: an empty last part ("a," has two) leaves an empty view that still points
 * somewhere. */
bool gw_str_split(gw_str *rest, char separator, gw_str *part)
{
    if (!rest->ptr)
        return false;
    ptrdiff_t at = gw_str_find(*rest, separator);
    if (at < 0) {
        *part = *rest;
        *rest = GW_STR_NULL;
        return true;
    }
    *part = gw_str_slice(*rest, 0, (size_t)at);
    *rest = gw_str_slice(*rest, (size_t)at + 1, rest->len);
    return true;
}

bool gw_str_to_uint64(gw_str s, uint64_t *ret)
{
    uint64_t value = 0;
    for (size_t i = 0; i < s.len; i++) {
        unsigned digit = (unsigned char)s.ptr[i] - (unsigned)'0';
        if (digit > 9 || __builtin_mul_overflow(value, (uint64_t)10, &value) ||
            __builtin_add_overflow(value, (uint64_t)digit, &value))
            return false;
    }
    if (s.len == 0)
        return false;
    *ret = value;
    return true;
}

bool gw_str_to_int64(gw_str s, int64_t *ret)
{
    bool negative = s.len > 0 && s.ptr[0] == '-';
    uint64_t magnitude;
    if (!gw_str_to_uint64(negative ? gw_str_slice(s, 1, s.len) : s, &magnitude))
        return false;
    if (magnitude > (uint64_t)INT64_MAX + (negative ? 1 : 0))
        return false;
    *ret = negative ? (int64_t)(0 - magnitude) : (int64_t)magnitude;
    return true;
}

static size_t skip_digits(gw_str s, size_t at)
{
    while (at < s.len && s.ptr[at] >= '0' && s.ptr[at] <= '9')
        at++;
    return at;
}

/* -?digits(.digits)?([eE][+-]?digits)?: strtod alone also takes hex, "inf", "nan" and leading
 * blanks. */
static bool is_decimal(gw_str s)
{
    size_t at = s.len > 0 && s.ptr[0] == '-' ? 1 : 0;
    size_t end = skip_digits(s, at);
    if (end == at)
        return false;
    if (end < s.len && s.ptr[end] == '.') {
        at = end + 1;
        end = skip_digits(s, at);
        if (end == at)
            return false;
    }
    if (end < s.len && (s.ptr[end] == 'e' || s.ptr[end] == 'E')) {
        at = end + 1;
        if (at < s.len && (s.ptr[at] == '-' || s.ptr[at] == '+'))
            at++;
        end = skip_digits(s, at);
        if (end == at)
            return false;
    }
    return end == s.len;
}

bool gw_str_to_double(gw_str s, double *ret)
{
    if (!is_decimal(s))
        return false;
    char *text = gw_str_dup(s);
    if (!text)
        return false;
    double value = strtod(text, NULL);
    free(text);
    if (!isfinite(value))
        return false;
    *ret = value;
    return true;
}

size_t gw_int_format(int64_t value, char out[GW_INT_TEXT_SIZE])
{
    bool negative = value < 0;
    uint64_t rest = negative ? 0 - (uint64_t)value : (uint64_t)value;
    size_t len = (size_t)negative + 1;
    for (uint64_t bound = 10; rest >= bound; bound *= 10) /* up to 10^19, which fits */
        len++;
    size_t at = len;
    out[at] = '\0';
    do {
        out[--at] = (char)('0' + rest % 10);
        rest /= 10;
    } while (rest > 0);
    if (negative)
        out[0] = '-';
    return len;
}

/*
 * Eight bytes at once. Of each byte the highest bit is set when it is what is looked for; a borrow may set it in a higher
 * byte too, never in a lower one, so that "none" and the lowest one that is set are right.
 */
#define EACH_BYTE(byte) (0x0101010101010101ULL * (byte))

static uint64_t load_word(const char *at)
{
    uint64_t word;
    memcpy(&word, at, sizeof(word));
    return word;
}

static uint64_t bytes_below(uint64_t word, unsigned char limit) /* <= 0x80 */
{
    return (word - EACH_BYTE(limit)) & ~word & EACH_BYTE(0x80U);
}

static uint64_t bytes_equal(uint64_t word, unsigned char byte)
{
    return bytes_below(word ^ EACH_BYTE(byte), 1);
}

static bool is_control(unsigned char byte)
{
    return byte < 0x20 || byte == 0x7f;
}

static bool is_plain(unsigned char byte)
{
    return byte >= 0x20 && byte < 0x7f && byte != '"' && byte != '\\';
}

static bool word_is_plain(uint64_t word)
{
    return ((word & EACH_BYTE(0x80U)) | bytes_below(word, 0x20) | bytes_equal(word, 0x7f) |
            bytes_equal(word, '"') | bytes_equal(word, '\\')) == 0;
}

#ifdef __SSE2__
/* Sixteen bytes at once. The comparison is signed, so that bytes from 0x80 are below a space, too. */
static bool block_is_plain(const char *at)
{
    __m128i block = _mm_loadu_si128((const __m128i *)(const void *)at);
    __m128i other = _mm_or_si128(_mm_cmplt_epi8(block, _mm_set1_epi8(0x20)),
                                 _mm_cmpeq_epi8(block, _mm_set1_epi8(0x7f)));
    other = _mm_or_si128(other, _mm_cmpeq_epi8(block, _mm_set1_epi8('"')));
    other = _mm_or_si128(other, _mm_cmpeq_epi8(block, _mm_set1_epi8('\\')));
    return _mm_movemask_epi8(other) == 0;
}

/* Of 16 bytes and more: true when all are plain. Blocks overlap at the end. */
static bool long_text_is_plain(gw_str s)
{
    for (size_t at = 0; at + sizeof(__m128i) < s.len; at += sizeof(__m128i))
        if (!block_is_plain(s.ptr + at))
            return false;
    return block_is_plain(s.ptr + s.len - sizeof(__m128i));
}
#endif

size_t gw_str_plain_prefix(gw_str s)
{
    size_t at = 0;
#ifdef __SSE2__
    if (s.len >= sizeof(__m128i) && long_text_is_plain(s))
        return s.len;
#endif
    while (s.len - at >= sizeof(uint64_t) && word_is_plain(load_word(s.ptr + at)))
        at += sizeof(uint64_t);
    /* What is left is the end of one more word, of which some was looked at already. */
    if (at > 0 && s.len - at < sizeof(uint64_t) &&
        word_is_plain(load_word(s.ptr + s.len - sizeof(uint64_t))))
        return s.len;
    while (at < s.len && is_plain((unsigned char)s.ptr[at]))
        at++;
    return at;
}

bool gw_str_is_utf8(gw_str s)
{
    size_t at = 0;
    while (at < s.len) {
        if (s.len - at >= sizeof(uint64_t) && !(load_word(s.ptr + at) & EACH_BYTE(0x80U))) {
            at += sizeof(uint64_t);
            continue;
        }
        bool ok;
        at += gw_utf8_next(s.ptr + at, s.len - at, &ok);
        if (!ok)
            return false;
    }
    return true;
}

size_t gw_str_utf8_cut(gw_str s, size_t max_bytes)
{
    if (s.len <= max_bytes)
        return s.len;
    size_t cut = max_bytes;
    while (cut > 0 && max_bytes - cut < 3 && ((unsigned char)s.ptr[cut] & 0xc0) == 0x80)
        cut--;
    /* Four continuation bytes in a row are no UTF-8: there is no character to keep whole. */
    return ((unsigned char)s.ptr[cut] & 0xc0) == 0x80 ? max_bytes : cut;
}

bool gw_str_has_control(gw_str s)
{
    size_t at = 0;
    for (; s.len - at >= sizeof(uint64_t); at += sizeof(uint64_t)) {
        uint64_t word = load_word(s.ptr + at);
        if (bytes_below(word, 0x20) | bytes_equal(word, 0x7f))
            return true;
    }
    for (; at < s.len; at++) {
        if (is_control((unsigned char)s.ptr[at]))
            return true;
    }
    return false;
}

char *gw_str_dup(gw_str s)
{
    char *copy = malloc(s.len + 1);
    if (!copy)
        return NULL;
    if (s.len > 0)
        memcpy(copy, s.ptr, s.len);
    copy[s.len] = '\0';
    return copy;
}

/* Of a well-formed character. */
static uint32_t code_point(const char *text, size_t len)
{
    static const uint8_t lead_bits[] = {0, 0x7f, 0x1f, 0x0f, 0x07};
    uint32_t c = (uint8_t)text[0] & lead_bits[len];
    for (size_t i = 1; i < len; i++)
        c = c << 6 | ((uint8_t)text[i] & 0x3f);
    return c;
}

/* C0, DEL and C1; line and paragraph separator with the embeddings and overrides behind them; isolates. */
static bool controls_text(uint32_t c)
{
    return c < 0x20 || (c >= 0x7f && c <= 0x9f) || (c >= 0x2028 && c <= 0x202e) ||
           (c >= 0x2066 && c <= 0x2069);
}

/* Spaces of any width, none included, and the marks of direction among them. */
static bool is_space(uint32_t c)
{
    return c == ' ' || c == 0xa0 || c == 0x1680 || (c >= 0x2000 && c <= 0x200f) || c == 0x202f ||
           c == 0x205f || c == 0x2060 || c == 0x3000 || c == 0xfeff;
}

bool gw_str_is_label(gw_str s)
{
    bool shows = false;
    for (size_t at = 0; at < s.len;) {
        bool ok;
        size_t len = gw_utf8_next(s.ptr + at, s.len - at, &ok);
        uint32_t c = ok ? code_point(s.ptr + at, len) : 0;
        if (controls_text(c))
            return false;
        shows |= !is_space(c);
        at += len;
    }
    return shows;
}
