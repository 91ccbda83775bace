/*
 * Upstream of the benchmarks: answers chat completions, and the same in other dialects, as script.h says, as fast as it can, and
 * counts.
 *
 *   bench_upstream --listen 127.0.0.1:8090 [--tls-listen 127.0.0.1:8443 --cert FILE --key FILE]
 *
 * GET /_stats answers {"requests", "streams", "chunks", "cancelled"}, as of now.
 */
#include "dialect.h"
#include "script.h"

#include "core/url.h"
#include "http/server.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>

#define BODY_MAX        (64U << 20)
#define FILLER_SIZE     (4U << 20)
#define CONNECTIONS_MAX 30000
#define IDLE_MS         (600LL * 1000)
#define STREAM_TYPE     "text/event-stream"
#define JSON_TYPE       "application/json"

typedef struct upstream {
    gw_loop *loop;
    gw_http_server *server, *tls_server; /* the second one when it is asked for */
    gw_tls_files *tls;
    int64_t requests, streams, chunks, cancelled;
    gw_str content_filler; /* FILLER_SIZE bytes: a longer content is cut to it */
} upstream;

typedef struct stream {
    upstream *u;
    gw_exchange *x;
    const dialect *dialect;
    gw_timer timer;
    int64_t left;
    int64_t started_ns;
    int64_t sent;
    int64_t per_s;
} stream;

static const char answer_text[] =
    "A reverse proxy passes bytes on and knows little about them. A gateway knows who calls, what "
    "they may do and "
    "what it costs, and it must never show the provider's credential to the caller.";

static void respond_json(gw_exchange *x, gw_str body)
{
    const gw_header headers[] = {
        {GW_STR("Content-Type"), GW_STR(JSON_TYPE)},
        {GW_STR("x-request-id"), GW_STR("req_0f5d3f21a7c24a5a8f1f")},
        {GW_STR("openai-processing-ms"), GW_STR("1")},
    };
    gw_exchange_respond(x,
                        &(gw_response_head){.status = 200,
                                            .headers = headers,
                                            .header_count = GW_ARRAY_LEN(headers)},
                        body);
}

/* ---- streams ---- */

static void send_chunk(stream *s)
{
    char text[512];
    const dialect *d = s->dialect;
    int64_t now_ns = gw_clock_mono_ns(&gw_system_clock);
    int len = snprintf(text, sizeof(text), "%s%c%0*" PRId64 " %s",
                       s->sent == 0 ? d->first_start : d->chunk_start, SCRIPT_TIME_MARK,
                       SCRIPT_TIME_DIGITS, now_ns, d->chunk_end);
    gw_str part = gw_str_n(text, (size_t)len);
    gw_exchange_write(s->x, &part, 1);
    s->sent++;
    s->u->chunks++;
}

static void on_stream_timer(void *arg)
{
    stream *s = arg;
    if (s->left == 0) {
        gw_str end = gw_str_of(s->dialect->ending);
        gw_exchange_write(s->x, &end, 1);
        gw_exchange_end(s->x);
        return;
    }
    send_chunk(s);
    s->left--;
    /* By the start's clock, so that a late timer does not make the stream slower. */
    int64_t due_ns = s->started_ns + s->sent * 1000000000 / s->per_s;
    int64_t delay_ms = (due_ns - gw_clock_mono_ns(&gw_system_clock)) / 1000000;
    gw_timer_set(s->u->loop, &s->timer, GW_MAX(delay_ms, 0));
}

static void start_stream(upstream *u, gw_exchange *x, const dialect *d, const script *how)
{
    const gw_header headers[] = {
        {GW_STR("Content-Type"), GW_STR(STREAM_TYPE)},
        {GW_STR("Cache-Control"), GW_STR("no-cache")},
        {GW_STR("x-request-id"), GW_STR("req_0f5d3f21a7c24a5a8f1f")},
    };
    stream *s = gw_arena_new_of(gw_exchange_arena(x), stream);
    if (!s) {
        gw_exchange_abort(x);
        return;
    }
    *s = (stream){.u = u, .x = x, .dialect = d, .left = how->chunks, .per_s = how->chunks_per_s};
    s->started_ns = gw_clock_mono_ns(&gw_system_clock);
    gw_timer_init(&s->timer, on_stream_timer, s);
    gw_exchange_set_data(x, s);
    gw_exchange_start(x,
                      &(gw_response_head){
                          .status = 200, .headers = headers, .header_count = GW_ARRAY_LEN(headers)},
                      -1);
    u->streams++;
    gw_str opening = gw_str_of(d->opening);
    if (opening.len > 0)
        gw_exchange_write(x, &opening, 1);
    on_stream_timer(s);
}

/* ---- requests ---- */

static void respond_completion(upstream *u, gw_exchange *x, const dialect *d, int64_t size)
{
    gw_auto_buf body = {0};
    gw_buf_append_c(&body, d->answer_start);
    if (size > 0)
        gw_buf_append_str(&body, gw_str_slice(u->content_filler, 0, (size_t)size));
    else
        gw_buf_append(&body, answer_text, sizeof(answer_text) - 1);
    gw_buf_append_c(&body, d->answer_end);
    respond_json(x, gw_buf_str(&body));
}

static void respond_stats(const upstream *u, gw_exchange *x)
{
    respond_json(x, gw_arena_printf(gw_exchange_arena(x),
                                    "{\"requests\":%" PRId64 ",\"streams\":%" PRId64
                                    ",\"chunks\":%" PRId64 ",\"cancelled\":%" PRId64 "}",
                                    u->requests, u->streams, u->chunks, u->cancelled));
}

static void on_head(gw_exchange *x, void *arg)
{
    upstream *u = arg;
    if (gw_str_eq_c(gw_exchange_path(x), "/_stats"))
        respond_stats(u, x);
    else
        gw_exchange_read_body(x, BODY_MAX);
}

static void on_body(gw_exchange *x, void *arg)
{
    upstream *u = arg;
    gw_str path = gw_exchange_path(x);
    const dialect *d = dialect_of_path(path);
    gw_str model = dialect_model_of_path(path);
    script how = {0};
    if (model.len == 0)
        how = script_of_body(gw_exchange_body(x));
    else if (gw_percent_decode(gw_exchange_arena(x), model, false, &model))
        how = script_of_model(model);
    u->requests++;
    if (how.chunks > 0)
        start_stream(u, x, d, &how);
    else
        respond_completion(u, x, d, how.size_bytes);
}

static void on_closed(gw_exchange *x, bool complete, void *arg)
{
    upstream *u = arg;
    stream *s = gw_exchange_data(x);
    if (s)
        gw_timer_cancel(u->loop, &s->timer);
    if (!complete)
        u->cancelled++;
}

static const gw_http_handler_ops handler = {
    .on_head = on_head, .on_body = on_body, .on_closed = on_closed};

static void on_server_closed(void *arg)
{
    upstream *u = arg;
    gw_loop_stop(u->loop);
}

static void close_plain(void *arg)
{
    upstream *u = arg;
    gw_http_server_close(u->server, on_server_closed, u);
}

static void drain(void *arg)
{
    upstream *u = arg;
    if (u->tls_server)
        gw_http_server_close(u->tls_server, close_plain, u);
    else
        close_plain(u);
}

typedef struct places {
    const char *listen, *tls_listen;
    gw_tls_paths files;
} places;

static gw_status listen_at(upstream *u, const char *place, gw_http_server **ret, gw_error *err)
{
    gw_http_server_options o = gw_http_server_defaults;
    gw_str host;
    if (!gw_host_port_split(gw_str_of(place), &host, &o.port))
        return gw_fail(err, GW_ERR_INVALID_ARGUMENT, "%s is not host:port", place);
    gw_auto_free char *address = gw_str_dup(host);
    o.host = address;
    o.idle_timeout_ms = IDLE_MS;
    o.connections_max = CONNECTIONS_MAX;
    o.tls = u->tls;
    return gw_http_server_new(u->loop, &o, &handler, u, NULL, ret, err);
}

static gw_status listen_all(upstream *u, const places *p, gw_error *err)
{
    gw_status rc = listen_at(u, p->listen, &u->server, err);
    if (rc != GW_OK || !p->tls_listen)
        return rc;
    rc = gw_tls_files_new(u->loop, &p->files, NULL, &u->tls, err);
    return rc == GW_OK ? listen_at(u, p->tls_listen, &u->tls_server, err) : rc;
}

static gw_status run(const places *p, gw_error *err)
{
    gw_auto_free char *filler = malloc(FILLER_SIZE);
    gw_auto(gw_loop) loop = NULL;
    upstream u = {0};
    if (!filler)
        return gw_fail(err, GW_ERR_NO_MEMORY, "no memory");
    memset(filler, 'x', FILLER_SIZE);
    u.content_filler = gw_str_n(filler, FILLER_SIZE);
    gw_status rc = gw_loop_new(&gw_system_clock, &loop, err);
    if (rc != GW_OK)
        return rc;
    u.loop = loop;
    rc = listen_all(&u, p, err);
    if (rc != GW_OK)
        return rc;
    gw_loop_on_signals(loop, drain, NULL, &u);
    gw_loop_run(loop);
    gw_tls_files_free(u.tls);
    return GW_OK;
}

static bool read_arguments(int argc, char **argv, places *p)
{
    const struct {
        const char *name;
        const char **value;
    } known[] = {{"--listen", &p->listen},
                 {"--tls-listen", &p->tls_listen},
                 {"--cert", &p->files.cert_file},
                 {"--key", &p->files.key_file}};
    for (int i = 1; i < argc; i += 2) {
        size_t k = 0;
        while (k < GW_ARRAY_LEN(known) && strcmp(known[k].name, argv[i]) != 0)
            k++;
        if (k == GW_ARRAY_LEN(known) || i + 1 == argc)
            return false;
        *known[k].value = argv[i + 1];
    }
    return p->listen != NULL;
}

int main(int argc, char **argv)
{
    places p = {0};
    struct rlimit files;
    gw_error err;
    if (!read_arguments(argc, argv, &p)) {
        (void)fprintf(stderr, "usage: bench_upstream --listen host:port [--tls-listen host:port "
                              "--cert FILE --key FILE]\n");
        return 2;
    }
    if (getrlimit(RLIMIT_NOFILE, &files) == 0) {
        files.rlim_cur = files.rlim_max;
        (void)setrlimit(RLIMIT_NOFILE, &files);
    }
    if (run(&p, &err) != GW_OK) {
        (void)fprintf(stderr, "bench_upstream: %s\n", err.message);
        return 1;
    }
    return 0;
}
