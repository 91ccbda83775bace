#include "core/pattern.h"

/* A later `*` makes an earlier one's choice final, so only the last is ever tried again. */
bool gw_glob_match(gw_str pattern, gw_str text)
{
    size_t p = 0;
    size_t t = 0;
    size_t after_star = 0; /* 0 = no star yet */
    size_t star_text = 0; /* where the text after the star's run begins */
    while (t < text.len) {
        if (p < pattern.len && pattern.ptr[p] == '*') {
            after_star = ++p;
            star_text = t;
        } else if (p < pattern.len && (pattern.ptr[p] == '?' || pattern.ptr[p] == text.ptr[t])) {
            p++;
            t++;
        } else if (after_star > 0) {
            p = after_star;
            t = ++star_text;
        } else {
            return false;
        }
    }
    while (p < pattern.len && pattern.ptr[p] == '*')
        p++;
    return p == pattern.len;
}

bool gw_glob_is_exact(gw_str pattern)
{
    return gw_str_find(pattern, '*') < 0 && gw_str_find(pattern, '?') < 0;
}

#define RANK_BITS 13 /* of a length; longer ones count as this long */

static uint32_t rank_of(size_t text_len, size_t len)
{
    const size_t most = (1U << RANK_BITS) - 1;
    return (uint32_t)(GW_MIN(text_len, most) << RANK_BITS | GW_MIN(len, most)) + 1;
}

uint32_t gw_glob_rank(gw_str pattern)
{
    size_t text_len = 0, len = 0;
    if (gw_glob_is_exact(pattern))
        return UINT32_MAX;
    while (pattern.ptr[text_len] != '*' && pattern.ptr[text_len] != '?')
        text_len++;
    for (size_t i = 0; i < pattern.len; i++)
        len += pattern.ptr[i] != '*';
    return rank_of(text_len, len);
}

uint32_t gw_glob_rank_max(size_t len)
{
    return rank_of(len, len);
}
