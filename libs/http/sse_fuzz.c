/*
 * The event reader gives the same events however the bytes are cut (and their LF after a CR may come
 * with the cut: the raw bytes are compared without CR and LF); what it gives is made of bytes that
 * came, in their order.
 */
#include "http/sse.h"
#include "testing/fuzz.h"

#define EVENT_MAX 256

typedef struct heard {
    gw_buf events; /* name, data and raw of each */
    size_t raw_bytes;
    gw_status rc;
} heard;

static void append_without_line_ends(gw_buf *out, gw_str s)
{
    for (size_t i = 0; i < s.len; i++)
        if (s.ptr[i] != '\r' && s.ptr[i] != '\n')
            gw_buf_append_char(out, s.ptr[i]);
}

static gw_status on_event(void *arg, const gw_sse_event *e, gw_error *err)
{
    heard *h = arg;
    (void)err;
    fuzz_require(e->raw.len > 0 && e->raw.len <= EVENT_MAX + 1);
    fuzz_require(gw_str_find(e->name, '\n') < 0 && gw_str_find(e->name, '\r') < 0);
    fuzz_require(gw_str_find(e->data, '\r') < 0);
    char last = e->raw.ptr[e->raw.len - 1];
    fuzz_require(last == '\n' || last == '\r');
    gw_buf_append_str(&h->events, e->name);
    gw_buf_append_char(&h->events, e->data.ptr ? '=' : '-');
    gw_buf_append_str(&h->events, e->data);
    gw_buf_append_char(&h->events, '|');
    append_without_line_ends(&h->events, e->raw);
    gw_buf_append_char(&h->events, '\n');
    h->raw_bytes += e->raw.len;
    return GW_OK;
}

static heard listen_to(fuzz_pieces pieces)
{
    heard h = {.rc = GW_OK};
    gw_auto(gw_sse_reader) r = gw_sse_reader_new(EVENT_MAX, on_event, &h);
    gw_error err = {0};
    gw_str piece;

    fuzz_require(r != NULL);
    while (h.rc == GW_OK && fuzz_next_piece(&pieces, &piece)) {
        h.rc = gw_sse_feed(r, piece, &err);
        fuzz_require(gw_sse_pending_bytes(r) <= EVENT_MAX + 1);
    }
    fuzz_require(h.rc == GW_OK || (h.rc == GW_ERR_UPSTREAM_PROTOCOL && err.message[0]));
    return h;
}

/* What the writer makes of a text, the reader reads. */
static void check_written(gw_str text)
{
    gw_auto_buf wire = {0};
    gw_sse_append_data(&wire, text);
    if (wire.len > EVENT_MAX)
        return;
    heard h = listen_to((fuzz_pieces){.rest = gw_buf_str(&wire)});
    fuzz_require(h.rc == GW_OK && h.raw_bytes == wire.len);
    gw_buf_fini(&h.events);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    fuzz_pieces pieces = fuzz_pieces_of(data, size);
    gw_str whole = pieces.rest;
    heard cut = listen_to(pieces);
    heard at_once = listen_to((fuzz_pieces){.rest = whole});
    heard bytewise = listen_to((fuzz_pieces){.rest = whole, .lengths = GW_STR("\1")});

    fuzz_require(cut.rc == at_once.rc && bytewise.rc == at_once.rc);
    fuzz_require(gw_str_eq(gw_buf_str(&cut.events), gw_buf_str(&at_once.events)));
    fuzz_require(gw_str_eq(gw_buf_str(&bytewise.events), gw_buf_str(&at_once.events)));
    check_written(whole);
    gw_buf_fini(&cut.events);
    gw_buf_fini(&at_once.events);
    gw_buf_fini(&bytewise.events);
    return 0;
}
