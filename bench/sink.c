/*
 * Null sink for usage events: takes the relay's ingest stream and acknowledges each frame at once, so that a benchmark of
 * the relay does not measure a database. Who asks what a ledger has used hears: nothing.
 *
 *   bench_sink --listen 127.0.0.1:9103 --ops 127.0.0.1:9203
 *
 * It remembers the position of each spool as long as it runs, of 16 at most: another is refused, and stderr says so. /metrics
 * counts what came.
 */
#include "stand_in.h"

#include "apirelay/usage/v1/ingest_service.pb-c.h"
#include "apirelay/usage/v1/ledger_service.pb-c.h"

#include <stdio.h>

#define WINDOW_BYTES (4LL << 20)
#define SPOOLS_MAX   16
#define SPOOL_ID_LEN 5
#define EVENT_ID_AT  2 /* a packed event begins with its id, a field of 12 bytes */
#define EVENT_ID_LEN 12

enum { M_bench_sink_events_total, M_bench_sink_frames_total, METRIC_COUNT };
static const gw_metric_info metric_table[METRIC_COUNT] = {
    {GW_METRIC_COUNTER, "bench_sink_events_total", "", "events taken"},
    {GW_METRIC_COUNTER, "bench_sink_frames_total", "", "frames they came in"},
};

typedef struct spool {
    uint8_t id[SPOOL_ID_LEN];
    int64_t n; /* newest seq taken */
    uint8_t last_id[EVENT_ID_LEN];
} spool;

typedef struct sink {
    gw_metrics_shard *shard;
    spool spools[SPOOLS_MAX];
    size_t spool_count;
} sink;

static spool *find_spool(sink *s, const ProtobufCBinaryData *id)
{
    if (id->len != SPOOL_ID_LEN)
        return NULL;
    for (size_t i = 0; i < s->spool_count; i++)
        if (memcmp(s->spools[i].id, id->data, SPOOL_ID_LEN) == 0)
            return &s->spools[i];
    if (s->spool_count == SPOOLS_MAX)
        return NULL;
    spool *p = &s->spools[s->spool_count++];
    memcpy(p->id, id->data, SPOOL_ID_LEN);
    return p;
}

/* The relay logs it, too, with its retries. */
static void refuse(gw_rpc_call *call, bool has_good_id)
{
    gw_error err;
    if (has_good_id)
        (void)gw_fail(&err, GW_ERR_OVERLOADED,
                      "bench_sink knows %d spools already, and takes no other", SPOOLS_MAX);
    else
        (void)gw_fail(&err, GW_ERR_INVALID_ARGUMENT, "a spool's id has %d bytes", SPOOL_ID_LEN);
    (void)fprintf(stderr, "bench_sink: a spool is refused: %s\n", err.message);
    gw_rpc_fail(call, &err);
}

static void welcome(sink *s, gw_rpc_call *call, const Apirelay__Usage__V1__Hello *hello)
{
    spool *p = find_spool(s, &hello->spool_id);
    Apirelay__Usage__V1__Welcome w = APIRELAY__USAGE__V1__WELCOME__INIT;
    Apirelay__Usage__V1__StreamResponse r = APIRELAY__USAGE__V1__STREAM_RESPONSE__INIT;
    if (!p) {
        refuse(call, hello->spool_id.len == SPOOL_ID_LEN);
        return;
    }
    gw_rpc_call_set_data(call, p);
    w.n = p->n;
    if (p->n > 0)
        w.last_event_id = (ProtobufCBinaryData){.len = EVENT_ID_LEN, .data = p->last_id};
    w.window_bytes = WINDOW_BYTES;
    r.frame_case = APIRELAY__USAGE__V1__STREAM_RESPONSE__FRAME_WELCOME;
    r.welcome = &w;
    gw_rpc_send(call, &r.base);
}

static void take(sink *s, gw_rpc_call *call, const Apirelay__Usage__V1__Events *e)
{
    Apirelay__Usage__V1__Ack ack = APIRELAY__USAGE__V1__ACK__INIT;
    Apirelay__Usage__V1__StreamResponse r = APIRELAY__USAGE__V1__STREAM_RESPONSE__INIT;
    spool *p = gw_rpc_call_data(call);
    int64_t newest = e->first_seq + (int64_t)e->n_events - 1;
    if (newest > p->n) {
        const ProtobufCBinaryData *last = &e->events[e->n_events - 1];
        if (last->len >= EVENT_ID_AT + EVENT_ID_LEN)
            memcpy(p->last_id, last->data + EVENT_ID_AT, EVENT_ID_LEN);
        gw_metric_add(s->shard, M_bench_sink_events_total, newest - p->n, NULL, 0);
        p->n = newest;
    }
    gw_metric_add(s->shard, M_bench_sink_frames_total, 1, NULL, 0);
    ack.n = p->n;
    ack.window_bytes = WINDOW_BYTES;
    r.frame_case = APIRELAY__USAGE__V1__STREAM_RESPONSE__FRAME_ACK;
    r.ack = &ack;
    gw_rpc_send(call, &r.base);
}

static void on_message(gw_rpc_call *call, const ProtobufCMessage *m, void *arg)
{
    sink *s = arg;
    const Apirelay__Usage__V1__StreamRequest *q = (const Apirelay__Usage__V1__StreamRequest *)m;
    if (q->frame_case == APIRELAY__USAGE__V1__STREAM_REQUEST__FRAME_HELLO)
        welcome(s, call, q->hello);
    else if (q->frame_case == APIRELAY__USAGE__V1__STREAM_REQUEST__FRAME_EVENTS &&
             q->events->n_events > 0 && gw_rpc_call_data(call))
        take(s, call, q->events);
}

static void on_start(gw_rpc_call *call, const ProtobufCMessage *m, void *arg)
{
    (void)call;
    (void)m;
    (void)arg;
}

static void on_half_closed(gw_rpc_call *call, void *arg)
{
    (void)arg;
    gw_rpc_finish(call);
}

static void on_cancelled(gw_rpc_call *call, void *arg)
{
    gw_error err;
    (void)arg;
    (void)gw_fail(&err, GW_ERR_CANCELLED, "the relay is gone");
    gw_rpc_fail(call, &err);
}

static void on_finished(gw_rpc_call *call, void *arg)
{
    (void)call;
    (void)arg;
}

static void load_ledger(gw_rpc_call *call, const ProtobufCMessage *request, void *arg)
{
    Apirelay__Usage__V1__LoadLedgerResponse r = APIRELAY__USAGE__V1__LOAD_LEDGER_RESPONSE__INIT;
    (void)request;
    (void)arg;
    gw_rpc_reply(call, &r.base);
}

static const gw_rpc_handler handlers[] = {
    {.path = "/apirelay.usage.v1.LedgerService/LoadLedger", .start = load_ledger},
    {.path = "/apirelay.usage.v1.IngestService/Stream",
     .start = on_start,
     .message = on_message,
     .half_closed = on_half_closed,
     .cancelled = on_cancelled,
     .finished = on_finished},
    {.path = NULL},
};

static gw_status keep_shard(stand_in *in, void *arg, gw_error *err)
{
    sink *s = arg;
    (void)err;
    s->shard = in->shard;
    return GW_OK;
}

int main(int argc, char **argv)
{
    static sink s;
    static const stand_in_options o = {.name = "bench_sink",
                                       .metrics = metric_table,
                                       .metric_count = METRIC_COUNT,
                                       .handlers = handlers,
                                       .arg = &s,
                                       .starting = keep_shard};
    return stand_in_run(&o, argc, argv);
}
