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
