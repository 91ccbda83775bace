/*
 * Load for bench_rpc_echo: so many unary calls in flight, or so many streams with a window of messages each; a new one for each
 * that was answered.
 *
 *   bench_rpc_load --target 127.0.0.1:9104 --kind unary|stream --count N --window N --warmup S --seconds S --watch PID
 *
 * Prints one JSON object: answers a second, CPU of the watched process an answer, and failures, of which there should be none.
 */
#include "load_process.h"

#include "loop/loop.h"
#include "rpc/client.h"
#include "rpc/init.h"

#include "apirelay/auth/v1/key_access_service.pb-c.h"
#include "apirelay/usage/v1/ingest_service.pb-c.h"

#include <stdio.h>
#include <stdlib.h>

#define PAYLOAD_BYTES 64

typedef struct load {
    gw_loop *loop;
    gw_rpc_channel *channel;
    int64_t count, window, warmup_s, seconds, pid;
    bool streams;
    bool is_over; /* nothing new is begun */
    int64_t answers, failures;
    int64_t answers_before, started_ns;
    load_process before;
    gw_timer begin, end;
} load;

typedef struct caller { /* one stream, or the place of one unary call */
    load *l;
    gw_rpc_client_call *stream;
    int64_t seq;
} caller;

static void call_once(caller *c);

static void on_answer(void *arg, gw_status rc, const ProtobufCMessage *response,
                      const gw_error *err)
{
    caller *c = arg;
    (void)response;
    if (c->l->is_over)
        return;
    if (rc == GW_OK)
        c->l->answers++;
    else if (c->l->failures++ == 0)
        (void)fprintf(stderr, "bench_rpc_load: %s\n", err->message);
    call_once(c);
}

static void call_once(caller *c)
{
    static char key_id[PAYLOAD_BYTES + 1] =
        "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";
    Apirelay__Auth__V1__KeyUse use = APIRELAY__AUTH__V1__KEY_USE__INIT;
    Apirelay__Auth__V1__KeyUse *uses[] = {&use};
    Apirelay__Auth__V1__ReportUseRequest q = APIRELAY__AUTH__V1__REPORT_USE_REQUEST__INIT;
    const gw_rpc_call_options o = {
        .path = "/apirelay.auth.v1.KeyAccessService/ReportUse",
        .response = &apirelay__auth__v1__report_use_response__descriptor,
        .wait_for_ready = true,
    };
    use.key_id = key_id;
    q.uses = uses;
    q.n_uses = 1;
    if (!gw_rpc_unary(c->l->channel, &o, &q.base, on_answer, c))
        c->l->failures++;
}

static void send_message(caller *c)
{
    static uint8_t payload[PAYLOAD_BYTES];
    ProtobufCBinaryData event = {.len = sizeof(payload), .data = payload};
    Apirelay__Usage__V1__Events events = APIRELAY__USAGE__V1__EVENTS__INIT;
    Apirelay__Usage__V1__StreamRequest q = APIRELAY__USAGE__V1__STREAM_REQUEST__INIT;
    events.first_seq = ++c->seq;
    events.n_events = 1;
    events.events = &event;
    q.frame_case = APIRELAY__USAGE__V1__STREAM_REQUEST__FRAME_EVENTS;
    q.events = &events;
    gw_rpc_stream_send(c->stream, &q.base);
}

static void on_message(void *arg, const ProtobufCMessage *m)
{
    caller *c = arg;
    (void)m;
    if (c->l->is_over)
        return;
    c->l->answers++;
    send_message(c);
}

static void on_stream_done(void *arg, gw_status rc, const gw_error *err)
{
    caller *c = arg;
    (void)rc;
    if (c->l->is_over)
        return;
    c->l->failures++;
    (void)fprintf(stderr, "bench_rpc_load: %s\n", err ? err->message : "a stream ended");
}

static void open_stream(caller *c)
{
    static const gw_rpc_stream_ops ops = {.message = on_message, .done = on_stream_done};
    const gw_rpc_call_options o = {
        .path = "/apirelay.usage.v1.IngestService/Stream",
        .response = &apirelay__usage__v1__stream_response__descriptor,
        .wait_for_ready = true,
    };
    c->stream = gw_rpc_stream(c->l->channel, &o, NULL, &ops, c);
    for (int64_t i = 0; c->stream && i < c->l->window; i++)
        send_message(c);
}

static void on_begin(void *arg)
{
    load *l = arg;
    const int pid = (int)l->pid;
    l->before = load_process_read(&pid, 1);
    l->answers_before = l->answers;
    l->started_ns = gw_clock_mono_ns(&gw_system_clock);
    gw_timer_set(l->loop, &l->end, l->seconds * GW_MS_PER_S);
}

static void on_end(void *arg)
{
    load *l = arg;
    const int pid = (int)l->pid;
    load_process after = load_process_read(&pid, 1);
    double seconds = (double)(gw_clock_mono_ns(&gw_system_clock) - l->started_ns) / 1e9;
    double answers = (double)(l->answers - l->answers_before);
    l->is_over = true;
    (void)printf("{\"per_s\":%.1f,\"cpu_us_each\":%.2f,\"failures\":%lld}\n", answers / seconds,
                 answers > 0 ? (double)(after.cpu_us - l->before.cpu_us) / answers : 0.0,
                 (long long)l->failures);
    gw_loop_stop(l->loop);
}

static gw_status run(load *l, const char *target, gw_error *err)
{
    gw_auto_free caller *callers = calloc((size_t)l->count, sizeof(*callers));
    gw_auto(gw_rpc_pump) pump = NULL;
    gw_auto(gw_rpc_channel) channel = NULL;
    gw_status rc = callers ? gw_rpc_pump_new(l->loop, &pump, err)
                           : gw_fail(err, GW_ERR_NO_MEMORY, "out of memory");
    if (rc == GW_OK)
        rc = gw_rpc_channel_new(pump, target, NULL, NULL, &channel, err);
    if (rc != GW_OK)
        return rc;
    l->channel = channel;
    for (int64_t i = 0; i < l->count; i++) {
        callers[i].l = l;
        if (l->streams)
            open_stream(&callers[i]);
        else
            call_once(&callers[i]);
    }
    gw_timer_init(&l->begin, on_begin, l);
    gw_timer_init(&l->end, on_end, l);
    gw_timer_set(l->loop, &l->begin, l->warmup_s * GW_MS_PER_S);
    gw_loop_run(l->loop);
    return GW_OK;
}

static int64_t *number_named(load *l, const char *flag)
{
    const struct {
        const char *name;
        int64_t *value;
    } numbers[] = {{"--count", &l->count},
                   {"--window", &l->window},
                   {"--warmup", &l->warmup_s},
                   {"--seconds", &l->seconds},
                   {"--watch", &l->pid}};
    for (size_t i = 0; i < GW_ARRAY_LEN(numbers); i++)
        if (strcmp(flag, numbers[i].name) == 0)
            return numbers[i].value;
    return NULL;
}

int main(int argc, char **argv)
{
    const char *target = NULL;
    load l = {.count = 64, .window = 8, .warmup_s = 1, .seconds = 4};
    gw_error err = {0};
    bool ok = true;
    for (int i = 1; i + 1 < argc && ok; i += 2) {
        int64_t *number = number_named(&l, argv[i]);
        if (strcmp(argv[i], "--target") == 0)
            target = argv[i + 1];
        else if (strcmp(argv[i], "--kind") == 0)
            l.streams = strcmp(argv[i + 1], "stream") == 0;
        else
            ok = number && gw_str_to_int64(gw_str_of(argv[i + 1]), number) && *number >= 0;
    }
    if (!ok || !target || l.count < 1 || l.seconds < 1) {
        (void)fprintf(stderr, "usage: bench_rpc_load --target host:port --kind unary|stream "
                              "[--count N --window N --warmup S --seconds S --watch PID]\n");
        return 2;
    }
    gw_status rc = gw_loop_new(&gw_system_clock, &l.loop, &err);
    if (rc == GW_OK)
        rc = run(&l, target, &err);
    if (rc != GW_OK)
        (void)fprintf(stderr, "bench_rpc_load: %s\n", err.message);
    gw_loop_free(l.loop);
    return rc == GW_OK && l.failures == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
