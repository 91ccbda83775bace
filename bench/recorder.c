/*
 * What recording costs: the request path of the recorder alone, at a steady rate, with the relay's own writer thread and, given a
 * usage (bench_sink), its ingest client.
 *
 *   bench_recorder --dir DIR [--usage 127.0.0.1:9103] [--rate 5000] [--seconds 5]
 *
 * One JSON object: request_ns (p50, p99, mean of claim … done, the clock's own cost taken off), cpu_us (of the whole process an
 * event, less own_cpu_us: what this program's ticks and clocks cost when nothing is recorded), disk_bytes (of the spool's pages an
 * event, none deleted: only without --usage), events, refused, and late_ms and longest_commit_ms: the longest that the loop itself was
 * kept from running, and that a commit took. What was due meanwhile comes at once in the first case, and is refused where it is more than
 * there are slots (2,024); in the second their events wait in their slots, which are used up as well.
 *
 * What the recorder warns of is on stderr. It is a failure when the usage has taken nothing by the end: what was measured is then
 * not what was asked for.
 */
#include "recorder.h"

#include "core/clock.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <unistd.h>

#define TICK_MS      1
#define OWN_MS       1000 /* of the same program that records nothing */
#define CALIBRATIONS 10001
#define GRACE_MS     60000 /* what an earlier run left in the spool goes to the usage, too */

typedef struct run {
    gw_loop *loop;
    recorder *recorder; /* NULL: nothing is recorded */
    bool has_usage, was_taken; /* something was */
    recorder_lane *lane;
    gw_timer tick;
    int64_t rate, started_ms, until_ms;
    int64_t *took_ns;
    size_t count, capacity;
    int64_t refused;
    int64_t ticked_ms, late_ms;
    recorder_stats stats;
    struct rusage before, after;
    double own_cpu_us; /* an event */
} run;

/* What is known before the provider is asked; with what follows about 400 bytes packed, which is ordinary. */
static void fill_opened(usage_event *e, uint8_t id[12])
{
    static uint8_t key[12] = "api-key-0001", user[12] = "user-0000001";
    static char key_id[] = "aB3dE5gH7jK9", request_id[] = "req_0123456789abcdefghijklmnop",
                endpoint[] = "/v1/chat/completions", model[] = "gpt-4o-mini", route[] = "gpt-*",
                provider[] = "openai", method[] = "POST", basis[] = "estimated", book[] = "2026-11",
                ip[] = "2001:db8::1234:5678", agent[] = "OpenAI/Python 2.8.1",
                client[] = "client-of-ours",
                conversation[] = "0b5c2b5e-8f5d-4c57-a2a5-0c2f5c1c2f5c", type[] = "content-type",
                json[] = "application/json", accept[] = "accept", lang[] = "x-stainless-lang",
                python[] = "python";
    static Apirelay__Usage__V1__EventHeader headers[3];
    static Apirelay__Usage__V1__EventHeader *list[] = {&headers[0], &headers[1], &headers[2]};
    char *const texts[][2] = {{type, json}, {accept, json}, {lang, python}};
    for (size_t i = 0; i < GW_ARRAY_LEN(list); i++) {
        apirelay__usage__v1__event_header__init(list[i]);
        list[i]->name = texts[i][0];
        list[i]->value = texts[i][1];
    }
    apirelay__usage__v1__usage_event__init(e);
    e->event_id = (ProtobufCBinaryData){12, id};
    e->api_key_id = (ProtobufCBinaryData){12, key};
    e->user_id = (ProtobufCBinaryData){12, user};
    e->timestamp_ms = gw_clock_wall_ms(&gw_system_clock);
    e->key_id = key_id;
    e->request_id = request_id;
    e->endpoint = endpoint;
    e->model = e->upstream_model = model;
    e->route = route;
    e->provider = provider;
    e->method = method;
    e->price_book_version = book;
    e->ip = ip;
    e->user_agent = agent;
    e->client_id = client;
    e->conversation_id = conversation;
    e->billing_basis = basis;
    e->headers = list;
    e->n_headers = GW_ARRAY_LEN(list);
    e->prompt_estimate_tokens = 812;
    e->attempts = 1;
}

static void fill_rest(usage_event *e)
{
    static char basis[] = "reported", outcome[] = "complete", finish[] = "stop";
    apirelay__usage__v1__usage_event__init(e);
    e->billing_basis = basis;
    e->repeat_count = 1;
    e->outcome = outcome;
    e->finish_reason = finish;
    e->status_code = 200;
    e->duration_ms = 1834;
    e->prompt_tokens = 790;
    e->completion_tokens = 312;
    e->total_tokens = 1102;
    e->cost_nano_usd = 305700;
    e->upstream_accepted = true;
}

/* All that a request asks of the recorder; the events themselves are the request's. */
static bool record(run *r, usage_event *e, uint8_t id[12], const usage_event *rest)
{
    if (!r->recorder)
        return true;
    flight_slot *slot = recorder_claim(r->lane);
    if (!slot)
        return false;
    recorder_event_id(r->lane, id);
    recorder_open_event(r->lane, slot, e);
    for (int i = 1; i <= 3; i++)
        recorder_progress(slot, INT64_C(100) * i, INT64_C(1000) * i, 200, e->timestamp_ms);
    return recorder_finish(r->lane, slot, rest);
}

static void on_closed(void *arg)
{
    run *r = arg;
    r->recorder = NULL;
    gw_loop_stop(r->loop);
}

static void on_tick(void *arg)
{
    run *r = arg;
    uint8_t id[12];
    usage_event e, rest;
    int64_t now_ms = gw_clock_mono_ms(&gw_system_clock);
    r->late_ms = GW_MAX(r->late_ms, now_ms - r->ticked_ms - TICK_MS);
    r->ticked_ms = now_ms;
    int64_t due = (GW_MIN(now_ms, r->until_ms) - r->started_ms) * r->rate / GW_MS_PER_S;
    fill_opened(&e, id);
    fill_rest(&rest);
    while ((int64_t)r->count + r->refused < due && r->count < r->capacity) {
        int64_t start_ns = gw_clock_mono_ns(&gw_system_clock);
        bool recorded = record(r, &e, id, &rest);
        int64_t end_ns = gw_clock_mono_ns(&gw_system_clock);
        if (recorded)
            r->took_ns[r->count++] = end_ns - start_ns;
        else
            r->refused++;
    }
    if (now_ms < r->until_ms) {
        gw_timer_set(r->loop, &r->tick, TICK_MS);
        return;
    }
    (void)getrusage(RUSAGE_SELF, &r->after);
    if (!r->recorder)
        return gw_loop_stop(r->loop);
    recorder_get_stats(r->recorder, &r->stats);
    r->was_taken = !r->has_usage || r->stats.connected || r->stats.claimed > 0;
    recorder_close(r->recorder, r->was_taken ? GRACE_MS : 0, on_closed, r);
}

static int by_size(const void *a, const void *b)
{
    int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
    return (x > y) - (x < y);
}

static int64_t clock_cost_ns(void)
{
    static int64_t took[CALIBRATIONS];
    for (size_t i = 0; i < CALIBRATIONS; i++) {
        int64_t start = gw_clock_mono_ns(&gw_system_clock);
        took[i] = gw_clock_mono_ns(&gw_system_clock) - start;
    }
    qsort(took, CALIBRATIONS, sizeof(took[0]), by_size);
    return took[CALIBRATIONS / 2];
}

static int64_t cpu_us(const struct rusage *u)
{
    return (u->ru_utime.tv_sec + u->ru_stime.tv_sec) * 1000000LL + u->ru_utime.tv_usec +
           u->ru_stime.tv_usec;
}

static double cpu_us_an_event(const run *r)
{
    return (double)(cpu_us(&r->after) - cpu_us(&r->before)) /
           (double)GW_MAX(r->count + (size_t)r->refused, (size_t)1);
}

static void print(run *r)
{
    int64_t clock_ns = clock_cost_ns(), sum = 0;
    double count = (double)GW_MAX(r->count, (size_t)1);
    for (size_t i = 0; i < r->count; i++)
        sum += r->took_ns[i] - clock_ns;
    qsort(r->took_ns, r->count, sizeof(r->took_ns[0]), by_size);
    (void)printf("{\"events\":%zu,\"refused\":%lld,\"late_ms\":%lld,\"longest_commit_ms\":%lld,"
                 "\"request_ns\":{\"p50\":%lld,\"p99\":%lld,\"mean\":%.0f},"
                 "\"cpu_us\":%.2f,\"own_cpu_us\":%.2f",
                 r->count, (long long)r->refused, (long long)r->late_ms,
                 (long long)r->stats.longest_commit_ms,
                 (long long)(r->took_ns[r->count / 2] - clock_ns),
                 (long long)(r->took_ns[r->count * 99 / 100] - clock_ns), (double)sum / count,
                 cpu_us_an_event(r) - r->own_cpu_us, r->own_cpu_us);
    if (!r->has_usage)
        (void)printf(",\"disk_bytes\":%.0f",
                     (double)r->stats.spool_bytes / (double)GW_MAX(r->stats.tail, 1));
    (void)printf("}\n");
}

static void start(run *r, int64_t for_ms)
{
    r->count = 0;
    r->started_ms = r->ticked_ms = gw_clock_mono_ms(&gw_system_clock);
    r->late_ms = 0;
    r->until_ms = r->started_ms + for_ms;
    (void)getrusage(RUSAGE_SELF, &r->before);
    gw_timer_init(&r->tick, on_tick, r);
    gw_timer_set(r->loop, &r->tick, TICK_MS);
}

static gw_status run_all(run *r, recorder_options *o, const char *target, int64_t seconds,
                         gw_error *err)
{
    gw_auto(gw_rpc_pump) pump = NULL;
    gw_auto(gw_rpc_channel) usage = NULL;
    r->has_usage = target != NULL;
    start(r, OWN_MS);
    gw_loop_run(r->loop);
    r->own_cpu_us = cpu_us_an_event(r);
    gw_status rc = target ? gw_rpc_pump_new(r->loop, &pump, err) : GW_OK;
    if (rc == GW_OK && target)
        rc = gw_rpc_channel_new(pump, target, NULL, NULL, &usage, err);
    o->usage = usage;
    if (rc == GW_OK)
        rc = recorder_open(r->loop, o, &r->recorder, err);
    if (rc != GW_OK)
        return rc;
    r->lane = recorder_lane_at(r->recorder, 0);
    start(r, seconds * GW_MS_PER_S);
    while (r->recorder)
        gw_loop_run(r->loop);
    return r->was_taken ? GW_OK
                        : gw_fail(err, GW_ERR_UNAVAILABLE, "the usage at %s took nothing", target);
}

static int64_t number(const char *text)
{
    int64_t n = 0;
    return gw_str_to_int64(gw_str_of(text), &n) ? n : 0;
}

int main(int argc, char **argv)
{
    const char *dir = NULL, *target = NULL;
    int64_t seconds = 5;
    run r = {.rate = 5000};
    gw_error err = {0};
    gw_auto(gw_log) log =
        gw_log_new("bench_recorder", STDERR_FILENO, GW_LOG_WARN, &gw_system_clock);
    for (int i = 1; i + 1 < argc; i += 2) {
        if (strcmp(argv[i], "--dir") == 0)
            dir = argv[i + 1];
        else if (strcmp(argv[i], "--usage") == 0)
            target = argv[i + 1];
        else if (strcmp(argv[i], "--rate") == 0)
            r.rate = number(argv[i + 1]);
        else if (strcmp(argv[i], "--seconds") == 0)
            seconds = number(argv[i + 1]);
    }
    if (!dir || r.rate < 1 || seconds < 1) {
        (void)fprintf(stderr,
                      "bench_recorder --dir DIR [--usage TARGET] [--rate N] [--seconds N]\n");
        return 2;
    }
    recorder_options o = {.dir = dir,
                          .log = log,
                          .lanes = 1,
                          .slots_per_lane = 2024,
                          .refusal_slots = 256,
                          .sync_interval_ms = 10,
                          .spool_max_bytes = 2LL << 30,
                          .clock = &gw_system_clock};
    r.capacity = (size_t)(r.rate * seconds) + 1;
    r.took_ns = calloc(r.capacity, sizeof(*r.took_ns));
    gw_status rc = r.took_ns ? gw_loop_new(&gw_system_clock, &r.loop, &err)
                             : gw_fail(&err, GW_ERR_NO_MEMORY, "out of memory");
    if (rc == GW_OK)
        rc = run_all(&r, &o, target, seconds, &err);
    if (rc == GW_OK)
        print(&r);
    else
        (void)fprintf(stderr, "bench_recorder: %s\n", err.message);
    if (r.loop)
        gw_loop_free(r.loop);
    free(r.took_ns);
    return rc == GW_OK ? EXIT_SUCCESS : EXIT_FAILURE;
}
