#include "http/sse.h"

#include <stdlib.h>

#define KEPT_BYTES_MAX 4096 /* a quiet stream keeps no more than this */

struct gw_sse_reader {
    gw_sse_event_fn on_event;
    void *arg;
    size_t event_max_bytes;
    gw_buf pending; /* the beginning of an event whose end has not come */
    gw_buf joined; /* data of more than one line */

    /* Where the scan for the blank line stands; it goes on from feed to feed. */
    bool line_has_bytes;
    bool after_cr; /* a LF now belongs to the line end before it */
    bool is_first_event;
};

gw_sse_reader *gw_sse_reader_new(size_t event_max_bytes, gw_sse_event_fn on_event, void *arg)
{
    gw_sse_reader *r = calloc(1, sizeof(*r));
    if (!r)
        return NULL;
    r->on_event = on_event;
    r->arg = arg;
    r->event_max_bytes = event_max_bytes;
    r->is_first_event = true;
    return r;
}

void gw_sse_reader_free(gw_sse_reader *r)
{
    if (!r)
        return;
    gw_buf_fini(&r->pending);
    gw_buf_fini(&r->joined);
    free(r);
}

size_t gw_sse_pending_bytes(const gw_sse_reader *r)
{
    return r->pending.len;
}

/*
 * How many bytes stand before the first CR or LF. In windows, so that lines that all end in the one are not looked
 * through to the end for the other each time.
 */
static size_t line_length(gw_str s)
{
    enum { WINDOW = 256 };
    for (size_t at = 0; at < s.len; at += WINDOW) {
        const char *from = s.ptr + at;
        size_t len = GW_MIN(s.len - at, (size_t)WINDOW);
        const char *lf = memchr(from, '\n', len);
        const char *cr = memchr(from, '\r', lf ? (size_t)(lf - from) : len);
        if (cr || lf)
            return (size_t)((cr ? cr : lf) - s.ptr);
    }
    return s.len;
}

/* How many of `bytes` end the event under way; 0 when its blank line is not among them. */
static size_t find_event_end(gw_sse_reader *r, gw_str bytes)
{
    for (size_t i = 0; i < bytes.len; i++) {
        char c = bytes.ptr[i];
        if (c == '\n' && r->after_cr) {
            r->after_cr = false;
        } else if (c == '\n' || c == '\r') {
            r->after_cr = c == '\r';
            if (!r->line_has_bytes) {
                if (r->after_cr && i + 1 < bytes.len && bytes.ptr[i + 1] == '\n') {
                    r->after_cr = false;
                    i++;
                }
                return i + 1;
            }
            r->line_has_bytes = false;
        } else {
            r->line_has_bytes = true;
            r->after_cr = false;
            i += line_length(gw_str_slice(bytes, i, bytes.len)) - 1;
        }
    }
    return 0;
}

static gw_str next_line(gw_str *rest)
{
    size_t len = line_length(*rest);
    gw_str line = gw_str_n(rest->ptr, len);
    size_t end = len;
    if (end < rest->len && rest->ptr[end++] == '\r' && end < rest->len && rest->ptr[end] == '\n')
        end++;
    *rest = gw_str_slice(*rest, end, rest->len);
    return line;
}

static void add_data(gw_sse_reader *r, gw_sse_event *e, gw_str value)
{
    if (!e->data.ptr) {
        e->data = value;
        return;
    }
    if (e->data.ptr != r->joined.data) {
        gw_buf_clear(&r->joined);
        gw_buf_append_str(&r->joined, e->data);
    }
    gw_buf_append_char(&r->joined, '\n');
    gw_buf_append_str(&r->joined, value);
    e->data = gw_buf_str(&r->joined);
}

static void add_field(gw_sse_reader *r, gw_sse_event *e, gw_str line)
{
    ptrdiff_t colon = gw_str_find(line, ':');
    gw_str name = colon < 0 ? line : gw_str_slice(line, 0, (size_t)colon);
    gw_str value = gw_str_n(line.ptr + line.len, 0);
    if (colon >= 0)
        value = gw_str_n(line.ptr + colon + 1, line.len - (size_t)colon - 1);
    if (value.len > 0 && value.ptr[0] == ' ')
        value = gw_str_n(value.ptr + 1, value.len - 1);
    if (gw_str_eq(name, GW_STR("data")))
        add_data(r, e, value);
    else if (gw_str_eq(name, GW_STR("event")))
        e->name = value;
}

static gw_status give_event(gw_sse_reader *r, gw_str raw, gw_error *err)
{
    gw_sse_event e = {.name = GW_STR(""), .raw = raw};
    gw_str rest = raw;
    if (r->is_first_event && gw_str_starts_with(rest, GW_STR("\xEF\xBB\xBF")))
        rest = gw_str_slice(rest, 3, rest.len); /* one byte order mark may lead the stream */
    r->is_first_event = false;
    while (rest.len > 0)
        add_field(r, &e, next_line(&rest));
    if (gw_buf_failed(&r->joined))
        return gw_fail(err, GW_ERR_NO_MEMORY, "no memory for an event of %zu bytes", raw.len);
    return r->on_event(r->arg, &e, err);
}

static void empty(gw_buf *b)
{
    if (b->cap > KEPT_BYTES_MAX)
        gw_buf_fini(b);
    else
        gw_buf_clear(b);
}

/* Without the LF of a blank line's CRLF: when that comes alone it finds the event gone already. */
static size_t counted_bytes(gw_str part, bool is_end)
{
    return is_end && gw_str_ends_with(part, GW_STR("\r\n")) ? part.len - 1 : part.len;
}

static gw_status keep(gw_sse_reader *r, gw_str part, size_t count, gw_error *err)
{
    if (count > r->event_max_bytes || r->pending.len > r->event_max_bytes - count)
        return gw_fail(err, GW_ERR_UPSTREAM_PROTOCOL, "an event is longer than %zu bytes",
                       r->event_max_bytes);
    gw_buf_append_str(&r->pending, part);
    if (gw_buf_failed(&r->pending))
        return gw_fail(err, GW_ERR_NO_MEMORY, "no memory for an event");
    return GW_OK;
}

/*
 * The blank line's CR came without its LF, in a stream of CRLF. The event does not wait for it but has it: clients that look for
 * "\r\n\r\n" would see no end of it.
 */
static bool lf_is_to_come(const gw_sse_reader *r, gw_str event)
{
    return r->after_cr && event.len >= 2 && event.ptr[event.len - 2] == '\n';
}

static gw_status give_pending(gw_sse_reader *r, gw_error *err)
{
    if (lf_is_to_come(r, gw_buf_str(&r->pending)))
        gw_buf_append_char(&r->pending, '\n');
    gw_status rc = gw_buf_failed(&r->pending)
                       ? gw_fail(err, GW_ERR_NO_MEMORY, "no memory for an event")
                       : give_event(r, gw_buf_str(&r->pending), err);
    empty(&r->pending);
    return rc;
}

gw_status gw_sse_feed(gw_sse_reader *r, gw_str bytes, gw_error *err)
{
    while (bytes.len > 0) {
        if (r->after_cr && r->pending.len == 0 && bytes.ptr[0] == '\n') {
            /* The event went out at the CR of its blank line rather than wait for a LF that may
             * never come. */
            r->after_cr = false;
            bytes = gw_str_slice(bytes, 1, bytes.len);
            continue;
        }
        size_t end = find_event_end(r, bytes);
        gw_str part = end > 0 ? gw_str_slice(bytes, 0, end) : bytes;
        bytes = gw_str_slice(bytes, part.len, bytes.len);

        size_t count = counted_bytes(part, end > 0);
        gw_status rc;
        if (end > 0 && r->pending.len == 0 && count <= r->event_max_bytes &&
            !lf_is_to_come(r, part)) {
            rc = give_event(r, part, err);
        } else {
            rc = keep(r, part, count, err);
            if (rc == GW_OK && end > 0)
                rc = give_pending(r, err);
        }
        empty(&r->joined);
        if (rc != GW_OK)
            return rc;
    }
    return GW_OK;
}

void gw_sse_append_data(gw_buf *out, gw_str data)
{
    do {
        gw_buf_append_c(out, "data: ");
        gw_buf_append_str(out, next_line(&data));
        gw_buf_append_char(out, '\n');
    } while (data.len > 0);
    gw_buf_append_char(out, '\n');
}
