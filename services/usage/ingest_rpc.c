/* Frames of IngestService.Stream: what they say goes into the stream, then the stream is woken. */
#include "ingest_internal.h"

#include "event_row.h"
#include "usage_metrics.h"

#include <stdio.h>
#include <stdlib.h>

#define STREAM_PATH        "/apirelay.usage.v1.IngestService/Stream"
#define FRAME_BYTES_MAX    (1 << 20)
#define WINDOW_BYTES_LEAST (256 << 10)
#define WINDOW_SLACK_BYTES (1 << 20) /* lengths and what was under way */

#define REFUSE(st, code, message)                                                                  \
    ingest_stream_refuse((st), APIRELAY__USAGE__V1__ERROR_CODE__ERROR_CODE_##code, (message))

/* ---- a stream's life ---- */

static void on_collect(void *arg)
{
    ingest_stream *st = (ingest_stream *)arg;
    st->collect_due = true;
    ingest_stream_wake(st);
}

static void on_idle(void *arg)
{
    ingest_stream *st = (ingest_stream *)arg;
    st->idle_due = true;
    ingest_stream_wake(st);
}

static void count_streams(ingest *in)
{
    int64_t n = 0;
    int64_t backlog = 0;
    gw_list_each (node, &in->streams) {
        const ingest_stream *st = GW_CONTAINER_OF(node, ingest_stream, node);
        n++;
        if (st->welcomed)
            backlog += GW_MAX(st->tail - st->n, 0);
    }
    gw_metric_set(in->o.metrics, M_usage_ingest_streams, n, NULL, 0);
    gw_metric_set(in->o.metrics, M_usage_spool_backlog_events, backlog, NULL, 0);
}

static void stream_start(gw_rpc_call *c, const ProtobufCMessage *request, void *arg)
{
    ingest *in = (ingest *)arg;
    ingest_stream *st = (ingest_stream *)calloc(1, sizeof(*st));
    gw_error err;
    (void)request;
    if (!st || in->stopped) {
        free(st);
        (void)gw_fail(&err, in->stopped ? GW_ERR_SHUTTING_DOWN : GW_ERR_NO_MEMORY,
                      "this replica takes no more streams");
        gw_rpc_fail(c, &err);
        return;
    }
    st->in = in;
    st->call = c;
    gw_timer_init(&st->collect_timer, on_collect, st);
    gw_timer_init(&st->idle_timer, on_idle, st);
    gw_list_push_back(&in->streams, &st->node);
    gw_rpc_call_set_data(c, st);
    count_streams(in);
}

void ingest_stream_free(ingest_stream *st)
{
    ingest *in = st->in;
    gw_timer_cancel(in->o.loop, &st->collect_timer);
    gw_timer_cancel(in->o.loop, &st->idle_timer);
    gw_list_remove(&st->node);
    in->memory_left_bytes += st->window_bytes;
    event_queue_fini(&st->waiting);
    claim_fini(&st->claim);
    touched_days_fini(&st->touched);
    free(st);
    count_streams(in);
}

/* ---- frames ---- */

static void take_hello(ingest_stream *st, const Apirelay__Usage__V1__Hello *h)
{
    ingest *in = st->in;
    if (st->has_hello) {
        REFUSE(st, PROTOCOL, "a second hello");
        return;
    }
    if (h->format != EVENT_FORMAT || h->spool_id.len != SPOOL_ID_BYTES ||
        h->boot.len != SPOOL_BOOT_BYTES || h->tail < 0) {
        REFUSE(st, FORMAT, "the hello's format, spool id or boot is not known here");
        return;
    }
    gw_hex_encode(h->spool_id.data, SPOOL_ID_BYTES, st->hello.id);
    memcpy(st->hello.boot, h->boot.data, SPOOL_BOOT_BYTES);
    st->hello.registered = h->registered;
    st->hello.tail = st->tail = h->tail;
    (void)snprintf(st->hello.host, sizeof(st->hello.host), "%.*s",
                   (int)gw_str_utf8_cut(gw_str_of(h->host), sizeof(st->hello.host) - 1), h->host);
    int64_t window = GW_MIN(in->o.limits.window_bytes, in->memory_left_bytes);
    if (window < GW_MIN(WINDOW_BYTES_LEAST, in->o.limits.window_bytes)) {
        REFUSE(st, BUSY, "the memory for streams is given out; try another replica");
        return;
    }
    st->window_bytes = window;
    in->memory_left_bytes -= window;
    st->has_hello = true;
}

static void take_events(ingest_stream *st, const Apirelay__Usage__V1__Events *e)
{
    if (!st->welcomed) {
        REFUSE(st, PROTOCOL, "events before the welcome");
        return;
    }
    int64_t expected =
        st->waiting.count ? st->waiting.first_seq + (int64_t)st->waiting.count : st->n + 1;
    if (e->first_seq < 1 || e->first_seq > expected) {
        REFUSE(st, PROTOCOL, "a gap in the sequence of events");
        return;
    }
    for (size_t i = 0; i < e->n_events; i++) {
        gw_str packed = gw_str_n(e->events[i].data, e->events[i].len);
        if (e->first_seq + (int64_t)i < expected) /* a repeat */
            continue;
        if (!st->waiting.count)
            st->waiting.first_seq = expected;
        if (!event_queue_push(&st->waiting, packed)) {
            gw_error err;
            (void)gw_fail(&err, GW_ERR_NO_MEMORY, "no memory for events");
            ingest_stream_fail(st, &err);
            return;
        }
        expected++;
    }
    st->tail = GW_MAX(st->tail, expected - 1);
    if ((int64_t)event_queue_bytes(&st->waiting) > st->window_bytes + WINDOW_SLACK_BYTES)
        REFUSE(st, PROTOCOL, "more events than the window grants");
}

static void take_status(ingest_stream *st, const Apirelay__Usage__V1__Status *s)
{
    st->status = (spool_status){.tail = s->tail,
                                .oldest = s->oldest,
                                .oldest_timestamp_ms = s->oldest_timestamp_ms,
                                .open_slots = s->open_slots,
                                .dropped = s->dropped,
                                .spool_bytes = s->spool_bytes};
    st->tail = GW_MAX(st->tail, s->tail);
    st->has_new_status = true;
    count_streams(st->in);
}

static void stream_message(gw_rpc_call *c, const ProtobufCMessage *request, void *arg)
{
    ingest *in = (ingest *)arg;
    ingest_stream *st = (ingest_stream *)gw_rpc_call_data(c);
    const Apirelay__Usage__V1__StreamRequest *q =
        (const Apirelay__Usage__V1__StreamRequest *)request;
    if (!st || st->call_ended || in->stopped)
        return;
    switch (q->frame_case) {
    case APIRELAY__USAGE__V1__STREAM_REQUEST__FRAME_HELLO:
        take_hello(st, q->hello);
        break;
    case APIRELAY__USAGE__V1__STREAM_REQUEST__FRAME_EVENTS:
        take_events(st, q->events);
        break;
    case APIRELAY__USAGE__V1__STREAM_REQUEST__FRAME_STATUS:
        take_status(st, q->status);
        break;
    case APIRELAY__USAGE__V1__STREAM_REQUEST__FRAME_LIVE:
        if (in->o.on_live)
            in->o.on_live(in->o.live_arg, q->live);
        return;
    default:
        REFUSE(st, PROTOCOL, "a frame that is not known here");
    }
    ingest_stream_wake(st);
}

static void stream_half_closed(gw_rpc_call *c, void *arg)
{
    ingest_stream *st = (ingest_stream *)gw_rpc_call_data(c);
    (void)arg;
    if (!st)
        return;
    st->half_closed = true;
    if (st->stage == INGEST_HELLO) /* it left without a word */
        REFUSE(st, PROTOCOL, "no hello");
    ingest_stream_wake(st);
}

static void stream_cancelled(gw_rpc_call *c, void *arg)
{
    ingest_stream *st = (ingest_stream *)gw_rpc_call_data(c);
    gw_error err;
    (void)arg;
    (void)gw_fail(&err, GW_ERR_CANCELLED, "the relay has left");
    if (!st)
        return;
    ingest_stream_fail(st, &err);
    ingest_stream_wake(st);
}

static void stream_finished(gw_rpc_call *c, void *arg)
{
    ingest_stream *st = (ingest_stream *)gw_rpc_call_data(c);
    (void)arg;
    if (!st)
        return;
    st->call = NULL;
    ingest_stream_wake(st);
}

const gw_rpc_handler *ingest_handlers(void)
{
    static const gw_rpc_handler handlers[] = {
        {.path = STREAM_PATH,
         .start = stream_start,
         .message = stream_message,
         .half_closed = stream_half_closed,
         .cancelled = stream_cancelled,
         .finished = stream_finished,
         .max_message_bytes = FRAME_BYTES_MAX},
        {.path = NULL},
    };
    return handlers;
}

/* ---- all streams ---- */

gw_status ingest_new(const ingest_options *o, ingest **ret, gw_error *err)
{
    ingest *in = (ingest *)calloc(1, sizeof(*in));
    if (!in)
        return gw_fail(err, GW_ERR_NO_MEMORY, "no memory for the ingest");
    in->names = counted_names_new();
    if (!in->names) {
        free(in);
        return gw_fail(err, GW_ERR_NO_MEMORY, "no memory for the ingest");
    }
    in->o = *o;
    in->memory_left_bytes = o->limits.memory_bytes;
    gw_list_init(&in->streams);
    ingest_start_sweeps(in);
    *ret = in;
    return GW_OK;
}

void ingest_adjust(ingest *in, const ingest_limits *limits)
{
    in->memory_left_bytes += limits->memory_bytes - in->o.limits.memory_bytes;
    in->o.limits = *limits;
}

void ingest_stop(ingest *in)
{
    in->stopped = true;
    gw_timer_cancel(in->o.loop, &in->sweep_timer);
    gw_list_each_safe (node, &in->streams)
        ingest_stream_wake(GW_CONTAINER_OF(node, ingest_stream, node));
}

bool ingest_is_idle(const ingest *in)
{
    return gw_list_is_empty(&in->streams) && !in->sweep;
}

void ingest_cut(ingest *in)
{
    in->cut = true;
}

void ingest_free(ingest *in)
{
    if (!in)
        return;
    gw_timer_cancel(in->o.loop, &in->sweep_timer);
    while (!gw_list_is_empty(&in->streams)) /* their calls and jobs are over */
        ingest_stream_free(GW_CONTAINER_OF(gw_list_first(&in->streams), ingest_stream, node));
    counted_names_free(in->names);
    free(in);
}
