/*
 * For the tests of libs/rpc: a server and a client on one loop over loopback, and six rpcs of
 * ours with handlers that do what the request's values say.
 *
 *   ApiKeyService.GetApiKey    unary; the id is what to do: "ok" "bad" "many" "hang" "later" "big",
 *                              "certificate": the names in the caller's,
 *                              "flaky": UNAVAILABLE `failures` times
 *   ApiKeyService.RevokeApiKey the same, but not idempotent; answers nothing
 *   ApiKeyService.ListApiKeys  unary; hangs, has a maximal deadline of 50 ms
 *   KeyAccessService.Watch     from_generation heartbeats, with backpressure; negative: hangs
 *   ApiKeyService.ImportApiKeys  client streaming; answers the keys' names at the end, or at once after
 *                              "enough"; "bad" fails it
 *   IngestService.Stream       echo: Events.first_seq comes back as Ack; with backpressure
 */
#pragma once

#include "rpc/client.h"
#include "rpc/init.h"
#include "rpc/peer.h"
#include "rpc/server.h"
#include "schema/all.h"

#include "testing/cmocka.h"

#include "apirelay/auth/v1/api_key_service.pb-c.h"
#include "apirelay/auth/v1/key_access_service.pb-c.h"
#include "apirelay/usage/v1/ingest_service.pb-c.h"

#include <stdio.h>
#include <stdlib.h>

#define GET_API_KEY    "/apirelay.auth.v1.ApiKeyService/GetApiKey"
#define REVOKE_API_KEY "/apirelay.auth.v1.ApiKeyService/RevokeApiKey"
#define LIST_API_KEYS  "/apirelay.auth.v1.ApiKeyService/ListApiKeys"
#define IMPORT         "/apirelay.auth.v1.ApiKeyService/ImportApiKeys"
#define WATCH          "/apirelay.auth.v1.KeyAccessService/Watch"
#define STREAM         "/apirelay.usage.v1.IngestService/Stream"
#define QUEUE_MAX      8
#define WATCHDOG_MS    30000

typedef struct fixture {
    gw_loop *loop;
    gw_schema *schema;
    gw_metrics *metrics;
    gw_metrics_shard *shard;
    gw_rpc_server *server;
    int64_t connection_age_ms; /* of the next server */
    size_t calls_max; /* likewise */
    const char *host; /* likewise */
    gw_rpc_pump *pump;
    gw_rpc_channel *channel;
    gw_tls_files *server_tls, *client_tls; /* NULL: plain */
    uint16_t port;
    gw_timer watchdog;
    bool server_closed;
    /* what the handlers saw */
    size_t failures; /* of "flaky", still to come */
    size_t started, finished, cancelled, half_closed, most_queued;
    size_t stop_when_started; /* the loop stops then; 0: never */
    size_t stop_when_cancelled; /* likewise */
    gw_rpc_call *hanging;
    char peer[64]; /* of the last call started */
    char names[256]; /* of ImportApiKeys, each followed by a space */
    /* what the client saw */
    size_t done, stop_when_done, messages, writables;
    size_t stop_when_messages; /* 0: never */
    int64_t last_value;
    size_t pause_after; /* messages, 0: never */
    gw_rpc_client_call *stream;
    gw_status rc;
    gw_error err;
    char text[256];
} fixture;

static inline void on_watchdog(void *arg)
{
    (void)arg;
    (void)fprintf(stderr, "the test hangs\n");
    abort();
}

/* ---- server ---- */

static inline void note_start(fixture *f, gw_rpc_call *c)
{
    f->started++;
    gw_str peer = gw_rpc_call_peer(c);
    (void)snprintf(f->peer, sizeof f->peer, GW_STR_FMT, GW_STR_ARG(peer));
    f->hanging = c;
    if (f->stop_when_started && f->started >= f->stop_when_started)
        gw_loop_stop(f->loop);
}

static inline void on_cancelled(gw_rpc_call *c, void *arg)
{
    fixture *f = arg;
    f->cancelled++;
    assert_true(gw_rpc_call_is_cancelled(c));
    gw_error err;
    (void)gw_fail(&err, GW_ERR_CANCELLED, "gone");
    gw_rpc_fail(c, &err);
    if (f->stop_when_cancelled && f->cancelled >= f->stop_when_cancelled)
        gw_loop_stop(f->loop);
}

static inline void on_finished(gw_rpc_call *c, void *arg)
{
    (void)c;
    ((fixture *)arg)->finished++;
}

static inline void reply_with_caller(void *arg)
{
    gw_rpc_call *c = arg;
    Apirelay__Auth__V1__ApiKey key = APIRELAY__AUTH__V1__API_KEY__INIT;
    Apirelay__Auth__V1__GetApiKeyResponse r = APIRELAY__AUTH__V1__GET_API_KEY_RESPONSE__INIT;
    key.name = gw_arena_strdup(gw_rpc_call_arena(c), gw_rpc_call_caller(c)->name);
    r.api_key = &key;
    gw_rpc_reply(c, &r.base);
}

static inline void reply_big(gw_rpc_call *c)
{
    size_t size = 6UL << 20;
    char *text = gw_arena_alloc(gw_rpc_call_arena(c), size);
    memset(text, 'x', size);
    text[size - 1] = '\0';
    Apirelay__Auth__V1__ApiKey key = APIRELAY__AUTH__V1__API_KEY__INIT;
    Apirelay__Auth__V1__GetApiKeyResponse r = APIRELAY__AUTH__V1__GET_API_KEY_RESPONSE__INIT;
    key.name = text;
    r.api_key = &key;
    gw_rpc_reply(c, &r.base);
}

static inline void reply_with_certificate(gw_rpc_call *c)
{
    gw_auto_buf text = {0};
    gw_rpc_peer peer = gw_rpc_call_certificate(c);
    gw_buf_append_str(&text, peer.has_certificate ? GW_STR("certificate") : GW_STR("none"));
    for (size_t i = 0; i < peer.san_count; i++)
        gw_buf_appendf(&text, " %s:" GW_STR_FMT,
                       peer.sans[i].kind == GW_RPC_SAN_DNS ? "DNS" : "URI",
                       GW_STR_ARG(peer.sans[i].value));
    Apirelay__Auth__V1__ApiKey key = APIRELAY__AUTH__V1__API_KEY__INIT;
    Apirelay__Auth__V1__GetApiKeyResponse r = APIRELAY__AUTH__V1__GET_API_KEY_RESPONSE__INIT;
    key.name = text.data;
    r.api_key = &key;
    gw_rpc_reply(c, &r.base);
}

/* 150 bytes, so that a few violations are some hundred bytes. */
static const char long_text[] =
    "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"
    "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx";

/* True when "flaky" failed once more. */
static inline bool fail_flaky(fixture *f, gw_rpc_call *c, gw_str what)
{
    gw_error err;
    if (!gw_str_eq_c(what, "flaky") || f->failures == 0)
        return false;
    f->failures--;
    (void)gw_fail(&err, GW_ERR_UNAVAILABLE, "not now");
    gw_rpc_fail(c, &err);
    return true;
}

static inline void get_api_key(gw_rpc_call *c, const ProtobufCMessage *request, void *arg)
{
    fixture *f = arg;
    gw_str what = gw_str_of(((const Apirelay__Auth__V1__GetApiKeyRequest *)request)->id);
    note_start(f, c);
    if (fail_flaky(f, c, what))
        return;
    if (gw_str_eq_c(what, "ok") || gw_str_eq_c(what, "flaky")) {
        reply_with_caller(c);
    } else if (gw_str_eq_c(what, "later")) {
        gw_loop_defer(f->loop, reply_with_caller, c);
    } else if (gw_str_eq_c(what, "certificate")) {
        reply_with_certificate(c);
    } else if (gw_str_eq_c(what, "big")) {
        reply_big(c);
    } else if (gw_str_eq_c(what, "bad")) {
        gw_error err;
        (void)gw_fail_field(&err, GW_ERR_MAX_TOKENS_EXCEEDED, "permissions.maxTokens",
                            "%d tokens are too many", 7);
        gw_rpc_fail(c, &err);
    } else if (gw_str_eq_c(what, "wait")) {
        gw_error err;
        (void)gw_fail(&err, GW_ERR_RATE_LIMITED, "too many");
        gw_rpc_set_retry_after(c, 61500);
        gw_rpc_fail(c, &err);
    } else if (gw_str_eq_c(what, "many")) {
        gw_violations v = {0}, further = {0};
        gw_error err;
        gw_violations_add(&v, "name", "is too long");
        for (int i = 0; i < 5; i++)
            gw_violations_add(&v, "models", "entry %d: %.150s", i, long_text);
        if (gw_violations_split(&v, &err, &further) != GW_OK)
            gw_rpc_fail_all(c, &err, &further);
    }
}

static inline void revoke_api_key(gw_rpc_call *c, const ProtobufCMessage *request, void *arg)
{
    fixture *f = arg;
    note_start(f, c);
    if (fail_flaky(f, c, gw_str_of(((const Apirelay__Auth__V1__RevokeApiKeyRequest *)request)->id)))
        return;
    Apirelay__Auth__V1__RevokeApiKeyResponse r = APIRELAY__AUTH__V1__REVOKE_API_KEY_RESPONSE__INIT;
    gw_rpc_reply(c, &r.base);
}

static inline void list_api_keys(gw_rpc_call *c, const ProtobufCMessage *request, void *arg)
{
    (void)request;
    note_start(arg, c);
}

static inline void send_heartbeats(gw_rpc_call *c, fixture *f)
{
    int64_t *left = gw_rpc_call_data(c);
    while (*left > 0 && gw_rpc_call_queued(c) < QUEUE_MAX) {
        Apirelay__Auth__V1__WatchResponse__Heartbeat h =
            APIRELAY__AUTH__V1__WATCH_RESPONSE__HEARTBEAT__INIT;
        Apirelay__Auth__V1__WatchResponse r = APIRELAY__AUTH__V1__WATCH_RESPONSE__INIT;
        h.generation = *left;
        r.event_case = APIRELAY__AUTH__V1__WATCH_RESPONSE__EVENT_HEARTBEAT;
        r.heartbeat = &h;
        gw_rpc_send(c, &r.base);
        f->most_queued = GW_MAX(f->most_queued, gw_rpc_call_queued(c));
        (*left)--;
    }
    if (*left == 0) {
        *left = -1;
        gw_rpc_finish(c);
    }
}

static inline void watch(gw_rpc_call *c, const ProtobufCMessage *request, void *arg)
{
    fixture *f = arg;
    int64_t *left = gw_arena_new_of(gw_rpc_call_arena(c), int64_t);
    *left = ((const Apirelay__Auth__V1__WatchRequest *)request)->from_generation;
    gw_rpc_call_set_data(c, left);
    note_start(f, c);
    if (*left >= 0)
        send_heartbeats(c, f);
}

static inline void watch_writable(gw_rpc_call *c, void *arg)
{
    send_heartbeats(c, arg);
}

static inline void stream_start(gw_rpc_call *c, const ProtobufCMessage *request, void *arg)
{
    assert_null(request);
    note_start(arg, c);
}

static inline void stream_message(gw_rpc_call *c, const ProtobufCMessage *request, void *arg)
{
    fixture *f = arg;
    const Apirelay__Usage__V1__StreamRequest *q =
        (const Apirelay__Usage__V1__StreamRequest *)request;
    assert_int_equal(q->frame_case, APIRELAY__USAGE__V1__STREAM_REQUEST__FRAME_EVENTS);
    Apirelay__Usage__V1__Ack ack = APIRELAY__USAGE__V1__ACK__INIT;
    Apirelay__Usage__V1__StreamResponse r = APIRELAY__USAGE__V1__STREAM_RESPONSE__INIT;
    ack.n = q->events->first_seq;
    r.frame_case = APIRELAY__USAGE__V1__STREAM_RESPONSE__FRAME_ACK;
    r.ack = &ack;
    gw_rpc_send(c, &r.base);
    f->most_queued = GW_MAX(f->most_queued, gw_rpc_call_queued(c));
    if (gw_rpc_call_queued(c) >= QUEUE_MAX)
        gw_rpc_pause(c);
}

static inline void stream_writable(gw_rpc_call *c, void *arg)
{
    (void)arg;
    gw_rpc_resume(c);
}

static inline void stream_half_closed(gw_rpc_call *c, void *arg)
{
    ((fixture *)arg)->half_closed++;
    gw_rpc_finish(c);
}

static inline void import_reply(gw_rpc_call *c, fixture *f)
{
    Apirelay__Auth__V1__ImportedApiKey key = APIRELAY__AUTH__V1__IMPORTED_API_KEY__INIT,
                                       *keys[] = {&key};
    Apirelay__Auth__V1__ImportApiKeysResponse r =
        APIRELAY__AUTH__V1__IMPORT_API_KEYS_RESPONSE__INIT;
    key.key_id = f->names;
    r.n_api_keys = 1, r.api_keys = keys;
    gw_rpc_reply(c, &r.base);
}

static inline void import_message(gw_rpc_call *c, const ProtobufCMessage *request, void *arg)
{
    fixture *f = arg;
    const char *name = ((const Apirelay__Auth__V1__ImportApiKeysRequest *)request)->api_key->name;
    size_t len = strlen(f->names);
    (void)snprintf(f->names + len, sizeof f->names - len, "%s ", name);
    gw_error err;
    if (strcmp(name, "bad") == 0) {
        (void)gw_fail_field(&err, GW_ERR_INVALID_ARGUMENT, "api_key.name", "is bad");
        gw_rpc_fail(c, &err);
    } else if (strcmp(name, "enough") == 0) {
        import_reply(c, f);
    }
}

static inline void import_half_closed(gw_rpc_call *c, void *arg)
{
    ((fixture *)arg)->half_closed++;
    import_reply(c, arg);
}

static const gw_rpc_handler test_handlers[] = {
    {.path = GET_API_KEY, .start = get_api_key, .cancelled = on_cancelled, .finished = on_finished},
    {.path = REVOKE_API_KEY, .start = revoke_api_key, .finished = on_finished},
    {.path = LIST_API_KEYS,
     .start = list_api_keys,
     .cancelled = on_cancelled,
     .finished = on_finished},
    {.path = IMPORT,
     .start = stream_start,
     .message = import_message,
     .half_closed = import_half_closed,
     .cancelled = on_cancelled,
     .finished = on_finished},
    {.path = WATCH,
     .start = watch,
     .writable = watch_writable,
     .cancelled = on_cancelled,
     .finished = on_finished},
    {.path = STREAM,
     .start = stream_start,
     .message = stream_message,
     .half_closed = stream_half_closed,
     .writable = stream_writable,
     .cancelled = on_cancelled,
     .finished = on_finished,
     .max_message_bytes = 64 << 10},
    {.path = NULL},
};

static inline void authorize_later(void *arg)
{
    gw_caller caller = {.kind = GW_CALLER_ADMIN, .name = GW_STR("slow admin")};
    gw_rpc_authorized(arg, GW_OK, &caller, NULL);
}

static inline void test_authorize(void *self, gw_rpc_call *c, const gw_method *m, gw_str credential)
{
    fixture *f = self;
    gw_error err;
    gw_caller caller = {.kind = GW_CALLER_ADMIN, .name = GW_STR("good admin")};
    assert_true(m->access.declared);
    if (gw_str_eq_c(credential, "good"))
        gw_rpc_authorized(c, GW_OK, &caller, NULL);
    else if (gw_str_eq_c(credential, "slow"))
        gw_loop_defer(f->loop, authorize_later, c);
    else if (gw_str_eq_c(credential, "low"))
        gw_rpc_authorized(c, gw_fail(&err, GW_ERR_PERMISSION_DENIED, "not you"), NULL, &err);
    else
        gw_rpc_authorized(c, gw_fail(&err, GW_ERR_UNAUTHENTICATED, "who?"), NULL, &err);
}

static inline void start_server(fixture *f)
{
    char listen[32];
    (void)snprintf(listen, sizeof listen, "%s:%u", f->host, f->port);
    gw_rpc_server_options o = {.listen = listen,
                               .reflection = true,
                               .schema = f->schema,
                               .authorizer = {test_authorize, f},
                               .tls = f->server_tls,
                               .metrics = {f->shard, 0},
                               .connection_age_ms = f->connection_age_ms,
                               .calls_max = f->calls_max};
    gw_error err;
    assert_int_equal(gw_rpc_server_new(f->loop, &o, &f->server, &err), GW_OK);
    assert_int_equal(gw_rpc_server_add(f->server, test_handlers, f, &err), GW_OK);
    assert_int_equal(gw_rpc_server_start(f->server, &err), GW_OK);
    f->port = gw_rpc_server_port(f->server);
    f->server_closed = false;
}

static inline void on_server_closed(void *arg)
{
    fixture *f = arg;
    f->server_closed = true;
    f->server = NULL;
    gw_loop_stop(f->loop);
}

static inline void close_server(fixture *f, int64_t grace_ms)
{
    gw_rpc_server_close(f->server, grace_ms, on_server_closed, f);
    while (!f->server_closed)
        gw_loop_run(f->loop);
}

static const gw_metric_info test_metrics[] = {
#define METRIC(kind, name, labels, help) {GW_METRIC_##kind, #name, labels, help},
#include "rpc/metrics.def"
#undef METRIC
};

static inline void open_channel(fixture *f, const char *target)
{
    gw_error err;
    assert_int_equal(gw_rpc_channel_new(f->pump, target, f->client_tls, NULL, &f->channel, &err),
                     GW_OK);
}

static inline void start_channel(fixture *f)
{
    char target[32];
    (void)snprintf(target, sizeof target, "127.0.0.1:%u", f->port);
    open_channel(f, target);
}

static inline fixture *new_fixture(void)
{
    fixture *f = calloc(1, sizeof *f);
    assert_non_null(f);
    gw_error err;
    assert_int_equal(gw_loop_new(&gw_system_clock, &f->loop, &err), GW_OK);
    assert_int_equal(gw_schema_all(&f->schema, &err), GW_OK);
    /* The schema is this test's own. */
    ((gw_method *)(uintptr_t)gw_schema_method(f->schema, GW_STR(LIST_API_KEYS)))->max_deadline_ms =
        50;
    gw_timer_init(&f->watchdog, on_watchdog, f);
    gw_timer_set(f->loop, &f->watchdog, WATCHDOG_MS);
    f->metrics = gw_metrics_new(test_metrics, GW_ARRAY_LEN(test_metrics));
    f->shard = gw_metrics_shard_new(f->metrics);
    f->host = "127.0.0.1";
    assert_int_equal(gw_rpc_pump_new(f->loop, &f->pump, &err), GW_OK);
    gw_rpc_pump_describe(f->pump, f->schema, (gw_rpc_metrics){f->shard, 0});
    return f;
}

static inline int setup(void **state)
{
    fixture *f = new_fixture();
    *state = f;
    start_server(f);
    start_channel(f);
    return 0;
}

static inline int teardown(void **state)
{
    fixture *f = *state;
    gw_rpc_channel_free(f->channel);
    if (f->server)
        close_server(f, 0);
    gw_rpc_pump_free(f->pump);
    gw_metrics_free(f->metrics);
    gw_tls_files_free(f->server_tls);
    gw_tls_files_free(f->client_tls);
    gw_timer_cancel(f->loop, &f->watchdog);
    gw_loop_free(f->loop);
    gw_schema_free(f->schema);
    free(f);
    return 0;
}

/* gRPC is started once for all tests of a program. */
static inline int setup_group(void **state)
{
    (void)state;
    gw_rpc_init();
    return 0;
}

static inline int teardown_group(void **state)
{
    (void)state;
    gw_rpc_shutdown();
    return 0;
}

/* ---- client ---- */

static inline void note_done(fixture *f, gw_status rc, const gw_error *err)
{
    f->rc = rc;
    if (rc != GW_OK)
        f->err = *err;
    f->done++;
    if (f->done >= f->stop_when_done)
        gw_loop_stop(f->loop);
}

static inline void on_unary_done(void *arg, gw_status rc, const ProtobufCMessage *response,
                                 const gw_error *err)
{
    fixture *f = arg;
    assert_int_equal(response != NULL, rc == GW_OK);
    if (response && response->descriptor == &apirelay__auth__v1__get_api_key_response__descriptor)
        (void)snprintf(f->text, sizeof f->text, "%s",
                       ((const Apirelay__Auth__V1__GetApiKeyResponse *)response)->api_key->name);
    if (response &&
        response->descriptor == &apirelay__auth__v1__import_api_keys_response__descriptor)
        (void)snprintf(
            f->text, sizeof f->text, "%s",
            ((const Apirelay__Auth__V1__ImportApiKeysResponse *)response)->api_keys[0]->key_id);
    note_done(f, rc, err);
}

static inline gw_rpc_call_options get_options(const char *credential, int64_t deadline_ms)
{
    return (gw_rpc_call_options){.path = GET_API_KEY,
                                 .response = &apirelay__auth__v1__get_api_key_response__descriptor,
                                 .credential = gw_str_of(credential),
                                 .deadline_ms = deadline_ms,
                                 .wait_for_ready = true};
}

static inline gw_rpc_client_call *start_get(fixture *f, const char *what, const char *credential,
                                            int64_t deadline_ms)
{
    gw_rpc_call_options o = get_options(credential, deadline_ms);
    Apirelay__Auth__V1__GetApiKeyRequest q = APIRELAY__AUTH__V1__GET_API_KEY_REQUEST__INIT;
    q.id = (char *)(uintptr_t)what;
    gw_rpc_client_call *c = gw_rpc_unary(f->channel, &o, &q.base, on_unary_done, f);
    assert_non_null(c);
    return c;
}

static inline void start_revoke(fixture *f, const char *what, bool wait_for_ready)
{
    gw_rpc_call_options o = {.path = REVOKE_API_KEY,
                             .response = &apirelay__auth__v1__revoke_api_key_response__descriptor,
                             .credential = GW_STR("good"),
                             .deadline_ms = 20000,
                             .wait_for_ready = wait_for_ready};
    Apirelay__Auth__V1__RevokeApiKeyRequest q = APIRELAY__AUTH__V1__REVOKE_API_KEY_REQUEST__INIT;
    q.id = (char *)(uintptr_t)what;
    assert_non_null(gw_rpc_unary(f->channel, &o, &q.base, on_unary_done, f));
}

/* Runs until `n` calls are done. */
static inline void run_until_done(fixture *f, size_t n)
{
    f->stop_when_done = n;
    while (f->done < n)
        gw_loop_run(f->loop);
}

static inline gw_status get(fixture *f, const char *what, const char *credential,
                            int64_t deadline_ms)
{
    (void)start_get(f, what, credential, deadline_ms);
    run_until_done(f, f->done + 1);
    return f->rc;
}

static inline void on_stream_message(void *arg, const ProtobufCMessage *m)
{
    fixture *f = arg;
    f->messages++;
    if (m->descriptor == &apirelay__auth__v1__watch_response__descriptor)
        f->last_value = ((const Apirelay__Auth__V1__WatchResponse *)m)->heartbeat->generation;
    else
        f->last_value = ((const Apirelay__Usage__V1__StreamResponse *)m)->ack->n;
    if (f->pause_after && f->messages == f->pause_after)
        gw_rpc_stream_pause(f->stream);
    if (f->stop_when_messages && f->messages == f->stop_when_messages)
        gw_loop_stop(f->loop);
}

static inline void on_stream_writable(void *arg)
{
    ((fixture *)arg)->writables++;
}

static inline void on_stream_done(void *arg, gw_status rc, const gw_error *err)
{
    fixture *f = arg;
    f->stream = NULL;
    note_done(f, rc, err);
}

static const gw_rpc_stream_ops test_stream_ops = {
    .message = on_stream_message, .writable = on_stream_writable, .done = on_stream_done};

static inline void start_watch(fixture *f, int64_t heartbeats)
{
    gw_rpc_call_options o = {.path = WATCH,
                             .response = &apirelay__auth__v1__watch_response__descriptor,
                             .credential = GW_STR("good"),
                             .wait_for_ready = true};
    Apirelay__Auth__V1__WatchRequest q = APIRELAY__AUTH__V1__WATCH_REQUEST__INIT;
    q.from_generation = heartbeats;
    f->stream = gw_rpc_stream(f->channel, &o, &q.base, &test_stream_ops, f);
    assert_non_null(f->stream);
}

static inline void start_stream(fixture *f)
{
    gw_rpc_call_options o = {.path = STREAM,
                             .response = &apirelay__usage__v1__stream_response__descriptor,
                             .credential = GW_STR("good"),
                             .wait_for_ready = true};
    f->stream = gw_rpc_stream(f->channel, &o, NULL, &test_stream_ops, f);
    assert_non_null(f->stream);
}

static inline void send_events(fixture *f, int64_t seq, size_t padding)
{
    Apirelay__Usage__V1__Events e = APIRELAY__USAGE__V1__EVENTS__INIT;
    Apirelay__Usage__V1__StreamRequest q = APIRELAY__USAGE__V1__STREAM_REQUEST__INIT;
    uint8_t *bytes = calloc(1, padding + 1);
    ProtobufCBinaryData event = {.len = padding, .data = bytes};
    e.first_seq = seq;
    e.n_events = 1;
    e.events = &event;
    q.frame_case = APIRELAY__USAGE__V1__STREAM_REQUEST__FRAME_EVENTS;
    q.events = &e;
    gw_rpc_stream_send(f->stream, &q.base);
    free(bytes);
}

static inline void start_import(fixture *f, const char *credential, int64_t deadline_ms)
{
    gw_rpc_call_options o = {.path = IMPORT,
                             .response = &apirelay__auth__v1__import_api_keys_response__descriptor,
                             .credential = gw_str_of(credential),
                             .deadline_ms = deadline_ms,
                             .wait_for_ready = true};
    f->stream = gw_rpc_send_stream(f->channel, &o, on_stream_writable, on_unary_done, f);
    assert_non_null(f->stream);
}

static inline void send_key(fixture *f, const char *name)
{
    Apirelay__Auth__V1__ApiKey key = APIRELAY__AUTH__V1__API_KEY__INIT;
    Apirelay__Auth__V1__ImportApiKeysRequest q = APIRELAY__AUTH__V1__IMPORT_API_KEYS_REQUEST__INIT;
    key.name = (char *)(uintptr_t)name;
    q.api_key = &key;
    gw_rpc_stream_send(f->stream, &q.base);
}
