/* What a service may be called in settings and token files: [a-z][a-z0-9-]{0,31}. */
#pragma once

#include "core/str.h"

static inline bool gw_is_service_name(gw_str s)
{
    if (s.len == 0 || s.len > 32 || s.ptr[0] < 'a' || s.ptr[0] > 'z')
        return false;
    for (size_t i = 1; i < s.len; i++) {
        char c = s.ptr[i];
        if (!((c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-'))
            return false;
    }
    return true;
}
