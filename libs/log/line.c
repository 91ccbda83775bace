#include "log/line.h"

#include <math.h>
#include <stdio.h>

static const char ellipsis[] = "\xe2\x80\xa6";
static const char replacement[] = "\xef\xbf\xbd"; /* U+FFFD */

void gw_log_line_init(gw_log_line *line, char *space, size_t limit)
{
    *line = (gw_log_line){.bytes = space, .limit = limit};
}

void gw_log_line_raw(gw_log_line *line, gw_str json)
{
    if (json.len > line->limit - line->len) {
        line->truncated = true;
        return;
    }
    if (json.len)
        memcpy(line->bytes + line->len, json.ptr, json.len);
    line->len += json.len;
}

/* Bytes of the well-formed character at the start of `s` (RFC 3629 §4), 0 when there is none. */
static size_t character_size(gw_str s)
{
    unsigned char first = (unsigned char)s.ptr[0];
    if (first < 0x80)
        return 1;
    size_t size = first >= 0xf0 ? 4 : first >= 0xe0 ? 3 : 2;
    return size <= s.len && gw_str_is_utf8(gw_str_slice(s, 0, size)) ? size : 0;
}

/*
 * The next character of `s` as it stands in a JSON string: `*encoded` points into `s`, a constant
 * or `space` (>= 8 bytes). C1 controls are escaped with the others: a terminal may obey them.
 */
static size_t encode_character(gw_str s, char *space, gw_str *encoded)
{
    static const char short_escapes[] = {
        ['\b'] = 'b', ['\t'] = 't', ['\n'] = 'n', ['\f'] = 'f', ['\r'] = 'r'};
    unsigned char first = (unsigned char)s.ptr[0];
    size_t size = character_size(s);
    if (size == 0) {
        *encoded = gw_str_n(replacement, sizeof(replacement) - 1);
        return 1;
    }
    *encoded = gw_str_n(s.ptr, size);
    unsigned code = size == 2 && first == 0xc2 ? (unsigned char)s.ptr[1] : first;
    if (first == '"' || first == '\\' || (first < sizeof(short_escapes) && short_escapes[first])) {
        space[0] = '\\';
        space[1] = first == '"' || first == '\\' ? (char)first : short_escapes[first];
        *encoded = gw_str_n(space, 2);
    } else if (first < 0x20 || first == 0x7f || (size == 2 && first == 0xc2 && code < 0xa0)) {
        *encoded = gw_str_n(space, (size_t)snprintf(space, 8, "\\u%04x", code));
    }
    return size;
}

/* Plain bytes stand at `from` to `to` and may be cut anywhere; an ellipsis fits up to `last`. */
static size_t later_fallback(size_t fallback, size_t from, size_t to, size_t last)
{
    return from <= last ? GW_MIN(to, last) : fallback;
}

/* A quoted string in at most `cap` bytes without its last quote, cut at a character when it is longer. */
static void append_escaped(gw_log_line *line, gw_str s, size_t cap)
{
    char *start = line->bytes + line->len;
    size_t len = 1;
    size_t fallback = 1; /* where the ellipsis goes if the rest turns out not to fit */
    size_t ellipsis_len = sizeof(ellipsis) - 1;
    size_t last = cap - ellipsis_len; /* that leaves room for it */
    start[0] = '"';
    while (s.len > 0) {
        char space[8];
        size_t used = gw_str_plain_prefix(s);
        gw_str encoded = gw_str_n(s.ptr, used);
        bool is_plain = used > 0; /* may be cut anywhere */
        if (!is_plain)
            used = encode_character(s, space, &encoded);
        size_t taken = is_plain ? GW_MIN(used, cap - len) : used;
        if (taken < used || len + encoded.len > cap) {
            if (is_plain) {
                memcpy(start + len, s.ptr, taken);
                fallback = later_fallback(fallback, len, len + taken, last);
            }
            memcpy(start + fallback, ellipsis, ellipsis_len);
            len = fallback + ellipsis_len;
            line->truncated = true;
            break;
        }
        memcpy(start + len, encoded.ptr, encoded.len);
        if (is_plain)
            fallback = later_fallback(fallback, len, len + used, last);
        else if (len + encoded.len <= last)
            fallback = len + encoded.len;
        len += encoded.len;
        s = gw_str_slice(s, used, s.len);
    }
    start[len] = '"';
    line->len += len + 1;
}

/* In at most `room` bytes (>= 8). */
static inline void append_string(gw_log_line *line, gw_str s, size_t room)
{
    size_t cap = GW_MIN(room, GW_LOG_VALUE_MAX) - 1; /* the closing quote */
    if (s.len >= cap || gw_str_plain_prefix(s) != s.len) {
        append_escaped(line, s, cap);
        return;
    }
    char *at = line->bytes + line->len; /* nearly all of them */
    at[0] = '"';
    if (s.len > 0)
        memcpy(at + 1, s.ptr, s.len);
    at[s.len + 1] = '"';
    line->len += s.len + 2;
}

enum { SCALAR_MAX = 40 }; /* bytes of a number, with its NUL: there is always room for one */

static void append_double(gw_log_line *line, double value)
{
    if (!isfinite(value)) { /* JSON has no word for it */
        gw_log_line_raw(line, GW_STR("null"));
        return;
    }
    line->len += (size_t)snprintf(line->bytes + line->len, SCALAR_MAX, "%.15g", value);
}

static void append_scalar(gw_log_line *line, const gw_log_field *f)
{
    if (f->kind == GW_LOG_BOOL)
        gw_log_line_raw(line, f->b ? GW_STR("true") : GW_STR("false"));
    else if (f->kind == GW_LOG_INT)
        line->len += gw_int_format(f->i64, line->bytes + line->len);
    else
        append_double(line, f->f64);
}

void gw_log_line_field(gw_log_line *line, const gw_log_field *f)
{
    if (line->limit - line->len < f->name.len + SCALAR_MAX) {
        line->truncated = true;
        return;
    }
    bool is_first = line->len > 0 && line->bytes[line->len - 1] == '{'; /* no comma */
    memcpy(line->bytes + line->len, f->name.ptr + is_first, f->name.len - is_first);
    line->len += f->name.len - is_first;
    if (f->kind == GW_LOG_STR)
        append_string(line, f->str, line->limit - line->len);
    else
        append_scalar(line, f);
}
