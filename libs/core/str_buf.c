/* The growable buffer of str.h. */
#include "core/str.h"

#include "core/utf8.h"

#include <stdio.h>
#include <stdlib.h>

enum { FIRST_CAPACITY = 64 };

void gw_buf_fini(gw_buf *b)
{
    free(b->data);
    *b = (gw_buf){0};
}

void gw_buf_clear(gw_buf *b)
{
    b->len = 0;
    b->failed = false;
    if (b->data)
        b->data[0] = '\0';
}

bool gw_buf_failed(const gw_buf *b)
{
    return b->failed;
}

bool gw_buf_reserve(gw_buf *b, size_t extra)
{
    if (b->failed)
        return false;
    size_t need;
    if (__builtin_add_overflow(b->len, extra, &need) || need >= PTRDIFF_MAX) {
        b->failed = true;
        return false;
    }
    need++; /* for the NUL */
    if (need <= b->cap)
        return true;
    size_t cap = GW_MAX(GW_MAX(b->cap * 2, need), FIRST_CAPACITY);
    char *data = realloc(b->data, cap);
    if (!data) {
        b->failed = true;
        return false;
    }
    b->data = data;
    b->cap = cap;
    b->data[b->len] = '\0';
    return true;
}

void gw_buf_append_growing(gw_buf *b, const void *bytes, size_t len)
{
    if (len == 0 || !gw_buf_reserve(b, len))
        return;
    memcpy(b->data + b->len, bytes, len);
    b->len += len;
    b->data[b->len] = '\0';
}

void gw_buf_append_int(gw_buf *b, int64_t value)
{
    char text[GW_INT_TEXT_SIZE];
    gw_buf_append(b, text, gw_int_format(value, text));
}

void gw_buf_appendf(gw_buf *b, const char *format, ...)
{
    if (b->failed)
        return;
    va_list args;
    va_list again;
    va_start(args, format);
    va_copy(again, args);
    size_t room = b->cap - b->len;
    int n = vsnprintf(room > 0 ? b->data + b->len : NULL, room, format, args);
    if (n < 0) {
        b->failed = true;
    } else if ((size_t)n < room) {
        b->len += (size_t)n;
    } else if (gw_buf_reserve(b, (size_t)n)) {
        (void)vsnprintf(b->data + b->len, (size_t)n + 1, format, again);
        b->len += (size_t)n;
    }
    if (b->failed && b->data)
        b->data[b->len] = '\0'; /* a partial write may have overwritten it */
    va_end(again);
    va_end(args);
}

static void append_json_escape(gw_buf *b, unsigned char byte)
{
    switch (byte) {
    case '"':
        gw_buf_append(b, "\\\"", 2);
        break;
    case '\\':
        gw_buf_append(b, "\\\\", 2);
        break;
    case '\b':
        gw_buf_append(b, "\\b", 2);
        break;
    case '\f':
        gw_buf_append(b, "\\f", 2);
        break;
    case '\n':
        gw_buf_append(b, "\\n", 2);
        break;
    case '\r':
        gw_buf_append(b, "\\r", 2);
        break;
    case '\t':
        gw_buf_append(b, "\\t", 2);
        break;
    default:
        gw_buf_appendf(b, "\\u%04x", byte);
        break;
    }
}

void gw_buf_append_json(gw_buf *b, gw_str s)
{
    gw_buf_append_char(b, '"');
    size_t plain = 0; /* start of the run that needs no change */
    size_t at = 0;
    while (at < s.len) {
        at += gw_str_plain_prefix(gw_str_slice(s, at, s.len));
        if (at == s.len)
            break;
        bool ok;
        size_t n = gw_utf8_next(s.ptr + at, s.len - at, &ok);
        unsigned char byte = (unsigned char)s.ptr[at];
        if (ok && byte >= 0x20 && byte != '"' && byte != '\\') {
            at += n;
            continue;
        }
        gw_buf_append_str(b, gw_str_slice(s, plain, at));
        if (ok)
            append_json_escape(b, byte);
        else
            gw_buf_append_c(b, "\xef\xbf\xbd");
        at += n;
        plain = at;
    }
    gw_buf_append_str(b, gw_str_slice(s, plain, at));
    gw_buf_append_char(b, '"');
}

void gw_buf_drop_front(gw_buf *b, size_t len)
{
    len = GW_MIN(len, b->len);
    if (len == 0)
        return;
    memmove(b->data, b->data + len, b->len - len + 1);
    b->len -= len;
}

char *gw_buf_steal(gw_buf *b)
{
    if (!gw_buf_reserve(b, 0)) {
        gw_buf_fini(b);
        return NULL;
    }
    char *data = b->data;
    *b = (gw_buf){0};
    return data;
}
