#include "load_run.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#define LAST_ANSWERS_MS 10000
#define NS_PER_S        1e9

int64_t load_now_ns(void)
{
    return gw_clock_mono_ns(&gw_system_clock);
}

void load_run_end(load_run *r)
{
    gw_loop_stop(r->loop);
}

static load_process read_watched(const load_options *o)
{
    return load_process_read(o->watched, o->watched_count);
}

static void on_window_timer(void *arg)
{
    load_run *r = arg;
    if (r->is_stopping) { /* the last answers do not come */
        load_run_end(r);
    } else if (!r->is_measuring) {
        r->before = read_watched(r->options);
        r->window_start_ns = load_now_ns();
        r->is_measuring = true;
        gw_timer_set(r->loop, &r->window_timer, (int64_t)(r->options->seconds * GW_MS_PER_S));
    } else {
        r->window_ns = load_now_ns() - r->window_start_ns;
        r->after = read_watched(r->options);
        r->is_measuring = false;
        r->is_stopping = true;
        gw_timer_set(r->loop, &r->window_timer, LAST_ANSWERS_MS);
        r->kind->stop(r);
    }
}

void load_run_open_window(load_run *r)
{
    gw_timer_set(r->loop, &r->window_timer, (int64_t)(r->options->warmup_s * GW_MS_PER_S));
}

void load_run_count_answer(load_run *r, int status, int64_t started_ns)
{
    if (status >= 200 && status < 300)
        r->ok++;
    else
        r->refused++;
    if (!r->is_measuring)
        return;
    r->measured++;
    histogram_add(&r->latency, load_now_ns() - started_ns);
}

static void print_histogram(const char *name, const histogram *h)
{
    printf(",\"%s_us\":{\"p50\":%.1f,\"p90\":%.1f,\"p99\":%.1f,\"p999\":%.1f,\"max\":%.1f}", name,
           (double)histogram_percentile(h, 0.5) / 1e3, (double)histogram_percentile(h, 0.9) / 1e3,
           (double)histogram_percentile(h, 0.99) / 1e3,
           (double)histogram_percentile(h, 0.999) / 1e3, (double)h->max_ns / 1e3);
}

static void print_report(const load_run *r)
{
    double seconds = (double)r->window_ns / NS_PER_S;
    printf("{\"kind\":\"%s\",\"sent\":%" PRId64 ",\"ok\":%" PRId64 ",\"refused\":%" PRId64
           ",\"lost\":%" PRId64 ",\"unsent\":%" PRId64 ",\"seconds\":%.3f,\"measured\":%" PRId64
           ",\"chunks\":%" PRId64,
           r->options->mode, r->sent, r->ok, r->refused, r->lost, r->unsent, seconds, r->measured,
           r->chunks);
    printf(",\"per_s\":%.1f,\"cpu_us\":%" PRId64, seconds > 0 ? (double)r->measured / seconds : 0,
           r->after.cpu_us - r->before.cpu_us);
    printf(",\"rss_fresh\":%" PRId64 ",\"rss_bytes\":%" PRId64, r->fresh.rss_bytes,
           r->after.rss_bytes);
    print_histogram("latency", &r->latency);
    print_histogram("first_chunk", &r->first_chunk);
    print_histogram("chunk_delay", &r->chunk_delay);
    printf("}\n");
}

static const load_kind *kind_of(const char *name)
{
    static const struct {
        const char *name;
        const load_kind *kind;
    } kinds[] = {
        {"unary", &load_unary}, {"sse", &load_sse}, {"idle", &load_idle}, {"bad", &load_bad}};
    for (size_t i = 0; i < GW_ARRAY_LEN(kinds); i++)
        if (strcmp(kinds[i].name, name) == 0)
            return kinds[i].kind;
    return NULL;
}

gw_status load_run_all(const load_options *o, gw_error *err)
{
    gw_auto(gw_loop) loop = NULL;
    gw_auto(load_requests) requests = NULL;
    gw_auto(load_target) target = NULL;
    gw_auto_free load_run *r = calloc(1, sizeof(*r)); /* too large for a stack */
    if (!r)
        return gw_fail(err, GW_ERR_NO_MEMORY, "no memory for a run");
    r->options = o;
    r->kind = kind_of(o->mode);
    if (!r->kind)
        return gw_fail(err, GW_ERR_INVALID_ARGUMENT, "no load is called %s", o->mode);
    gw_status rc = gw_loop_new(&gw_system_clock, &loop, err);
    if (rc == GW_OK)
        rc = load_requests_new(o, &requests, err);
    if (rc == GW_OK)
        rc = load_target_new(loop, o->port, o->ca_file, &target, err);
    if (rc != GW_OK)
        return rc;
    r->loop = loop;
    r->requests = requests;
    r->target = target;
    gw_timer_init(&r->window_timer, on_window_timer, r);
    r->fresh = read_watched(o);
    r->kind->start(r);
    gw_loop_run(loop);
    print_report(r);
    (void)fflush(stdout);
    _Exit(EXIT_SUCCESS); /* what is open goes with the process */
}
