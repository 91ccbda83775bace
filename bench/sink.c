/*
 * Null sink for usage events: takes the relay's ingest stream and acknowledges each frame at once, so that a benchmark of
 * the relay does not measure a database.
 *
 *   bench_sink --listen 127.0.0.1:9103 --ops 127.0.0.1:9203
 *
 * It remembers the position of each spool as long as it runs. /metrics counts what came.
 */
#include "ops/ops.h"
#include "rpc/init.h"
#include "rpc/server.h"
#include "schema/all.h"

#include "apirelay/usage/v1/ingest_service.pb-c.h"

#include <stdio.h>
#include <stdlib.h>

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
    gw_loop *loop;
    gw_schema *schema;
    gw_rpc_server *server;
    gw_ops *ops;
    gw_metrics *metrics;
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

static void refuse(gw_rpc_call *call, const char *why)
{
    gw_error err;
    (void)gw_fail(&err, GW_ERR_INVALID_ARGUMENT, "%s", why);
    gw_rpc_fail(call, &err);
}

static void welcome(sink *s, gw_rpc_call *call, const Apirelay__Usage__V1__Hello *hello)
{
    spool *p = find_spool(s, &hello->spool_id);
    Apirelay__Usage__V1__Welcome w = APIRELAY__USAGE__V1__WELCOME__INIT;
    Apirelay__Usage__V1__StreamResponse r = APIRELAY__USAGE__V1__STREAM_RESPONSE__INIT;
    if (!p) {
        refuse(call, "a spool with 5 bytes of id, and not too many of them");
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

static const gw_rpc_handler handlers[] = {
    {.path = "/apirelay.usage.v1.IngestService/Stream",
     .start = on_start,
     .message = on_message,
     .half_closed = on_half_closed,
     .cancelled = on_cancelled,
     .finished = on_finished},
    {.path = NULL},
};

/* Whoever reaches the sink is the relay under test. */
static void authorize(void *self, gw_rpc_call *c, const gw_method *m, gw_str credential)
{
    (void)self;
    (void)m;
    (void)credential;
    gw_caller caller = {.kind = GW_CALLER_SERVICE, .name = GW_STR("relay")};
    gw_rpc_authorized(c, GW_OK, &caller, NULL);
}

static bool is_ready(void *arg, const char **reason)
{
    (void)arg;
    (void)reason;
    return true;
}

/* ---- life ---- */

static void on_ops_closed(void *arg)
{
    sink *s = arg;
    gw_loop_stop(s->loop);
}

static void on_server_closed(void *arg)
{
    sink *s = arg;
    gw_ops_close(s->ops, on_ops_closed, s);
}

static void drain(void *arg)
{
    sink *s = arg;
    gw_rpc_server_close(s->server, 0, on_server_closed, s);
}

static gw_status start(sink *s, const char *listen, const char *ops, gw_error *err)
{
    gw_status rc = gw_loop_new(&gw_system_clock, &s->loop, err);
    if (rc == GW_OK)
        rc = gw_schema_all(&s->schema, err);
    if (rc != GW_OK)
        return rc;
    s->metrics = gw_metrics_new(metric_table, METRIC_COUNT);
    s->shard = s->metrics ? gw_metrics_shard_new(s->metrics) : NULL;
    if (!s->shard)
        return gw_fail(err, GW_ERR_NO_MEMORY, "no memory for metrics");
    gw_rpc_server_options o = {
        .listen = listen, .schema = s->schema, .authorizer = {authorize, NULL}};
    gw_ops_options ops_options = {.listen = ops, .metrics = s->metrics, .is_ready = is_ready};
    rc = gw_rpc_server_new(s->loop, &o, &s->server, err);
    if (rc == GW_OK)
        rc = gw_rpc_server_add(s->server, handlers, s, err);
    if (rc == GW_OK)
        rc = gw_rpc_server_start(s->server, err);
    return rc == GW_OK ? gw_ops_new(s->loop, &ops_options, NULL, &s->ops, err) : rc;
}

int main(int argc, char **argv)
{
    sink s = {0};
    gw_error err;
    if (argc != 5 || strcmp(argv[1], "--listen") != 0 || strcmp(argv[3], "--ops") != 0) {
        (void)fprintf(stderr, "usage: bench_sink --listen host:port --ops host:port\n");
        return 2;
    }
    if (start(&s, argv[2], argv[4], &err) != GW_OK) {
        (void)fprintf(stderr, "bench_sink: %s\n", err.message);
        return 1;
    }
    gw_rpc_server_set_serving(s.server, true);
    gw_loop_on_signals(s.loop, drain, NULL, &s);
    gw_loop_run(s.loop);
    gw_schema_free(s.schema);
    gw_metrics_free(s.metrics);
    gw_loop_free(s.loop);
    return 0;
}
