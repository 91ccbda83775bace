#include "rule_check.h"

#include <ctype.h>

#define NOTE_MAX_LEN 500

void rule_violation(rule_check *c, const char *field, const char *format, ...)
{
    gw_json_violation item;
    va_list args;
    snprintf(item.field, sizeof(item.field), "%s%s%s", c->path, *c->path ? "." : "", field);
    va_start(args, format);
    vsnprintf(item.description, sizeof(item.description), format, args);
    va_end(args);
    if (c->rc == GW_OK)
        c->rc = gw_fail_field(c->err, GW_ERR_INVALID_ARGUMENT, item.field, "%s", item.description);
    else if (c->v && c->v->count < GW_ARRAY_LEN(c->v->items))
        c->v->items[c->v->count++] = item;
}

bool rule_is_printable(gw_str s, size_t max)
{
    return s.len >= 1 && s.len <= max && !gw_str_has_control(s) && gw_str_is_utf8(s);
}

bool rule_is_name(gw_str s, size_t max)
{
    if (s.len < 1 || s.len > max || s.ptr[0] == '-')
        return false;
    for (size_t i = 0; i < s.len; i++) {
        if (!islower((unsigned char)s.ptr[i]) && !isdigit((unsigned char)s.ptr[i]) &&
            s.ptr[i] != '-')
            return false;
    }
    return true;
}

void rule_check_note(rule_check *c, const char *note)
{
    if (strlen(note) > NOTE_MAX_LEN || gw_str_has_control(gw_str_of(note)))
        rule_violation(c, "note", "must be at most %d bytes of text without control characters",
                       NOTE_MAX_LEN);
}

void rule_check_tokens(rule_check *c, const char *field, int64_t tokens)
{
    if (tokens < 0 || tokens > 100000000)
        rule_violation(c, field, "must be 0 (not known) to 100000000 tokens");
}
