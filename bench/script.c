#define _GNU_SOURCE /* memmem */
#include "script.h"

#define MODEL_MEMBER "\"model\":\""

/* The digits after `text` within `name`, and after a further '-' when `second` is wanted. */
static bool numbers_after(gw_str name, gw_str text, int64_t *first, int64_t *second)
{
    const char *at = memmem(name.ptr, name.len, text.ptr, text.len);
    if (!at)
        return false;
    gw_str rest = gw_str_slice(name, (size_t)(at - name.ptr) + text.len, name.len);
    gw_str part;
    if (!second)
        return gw_str_to_int64(rest, first);
    return gw_str_split(&rest, '-', &part) && gw_str_to_int64(part, first) &&
           gw_str_to_int64(rest, second);
}

script script_of_model(gw_str name)
{
    script s = {0};
    if (numbers_after(name, GW_STR(SCRIPT_SSE_SUFFIX), &s.chunks, &s.chunks_per_s) &&
        s.chunks > 0 && s.chunks_per_s > 0)
        return s;
    s.chunks = 0;
    if (!numbers_after(name, GW_STR(SCRIPT_SIZE_SUFFIX), &s.size_bytes, NULL) || s.size_bytes < 0)
        s.size_bytes = 0;
    return s;
}

script script_of_body(gw_str body)
{
    script s = {0};
    const char *at = memmem(body.ptr, body.len, MODEL_MEMBER, sizeof(MODEL_MEMBER) - 1);
    if (!at)
        return s;
    gw_str rest = gw_str_slice(body, (size_t)(at - body.ptr) + sizeof(MODEL_MEMBER) - 1, body.len);
    gw_str name;
    return gw_str_split(&rest, '"', &name) ? script_of_model(name) : s;
}
