/*
 * A relay in one process for tests: the real front, request machine, HTTP server and client; a
 * scripted upstream; a key cache and a recorder that the test looks into (their symbols are defined
 * here, so the real ones are not linked).
 */
#pragma once

#include "front_http.h"
#include "nonce_store.h"
#include "relay_metrics.h"
#include "relay_request.h"

#include "http/server.h"
#include "testing/cmocka.h"

#include <stdlib.h>

#define EVENTS_MAX    16
#define EXTRA_HEADERS 4

/* One scripted answer of the upstream. */
typedef struct script {
    int status;
    const char *type;
    const char *parts[8]; /* written one by one; NULL ends */
    const char *retry_after; /* "3" when NULL */
    enum { SCRIPT_END, SCRIPT_CUT, SCRIPT_STALL } then;
} script;

#define REPLY(code, media, ...)                                                                    \
    {                                                                                              \
        .status = (code), .type = (media), .parts = { __VA_ARGS__ }                                \
    }
#define REPLY_CUT(code, media, ...)                                                                \
    {                                                                                              \
        .status = (code), .type = (media), .parts = {__VA_ARGS__}, .then = SCRIPT_CUT              \
    }
#define REPLY_STALL(code, media, ...)                                                              \
    {                                                                                              \
        .status = (code), .type = (media), .parts = {__VA_ARGS__}, .then = SCRIPT_STALL            \
    }

typedef struct answer {
    int status;
    gw_buf head, body;
    bool done;
    gw_status rc;
    size_t events_before; /* recorded when the last byte came */
} answer;

typedef struct kit {
    gw_loop *loop;
    gw_metrics *metrics;
    gw_http_server *upstream, *relay;
    gw_http_client *client, *upstreams;
    relay_core core;
    front_http front;
    provider_config provider;
    route_target target;
    model_route route;
    model_price price;
    gw_str listed[1];
    relay_config config;
    key_policy *policy;
    const script *script; /* of every call, but for */
    const script *queue; /* those of the calls one by one, if set */
    size_t asked; /* calls of the upstream */
    gw_buf trail, credentials; /* their bodies, and the credentials they came with, a line each */
    gw_buf seen; /* body the upstream got */
    bool upstream_closed, upstream_asked;
    bool stop_when_asked;
    usage_event *events[EVENTS_MAX];
    size_t event_count, opened, claimed, repeats, dropped[RECORDER_DROP_REASONS];
    bool has_no_slot, spool_is_full, has_open_row; /* what the recorder says */
    int64_t opened_cost; /* of the event that was opened last, and its basis */
    uint8_t opened_event[EVENT_MAX_BYTES];
    size_t opened_len;
    char opened_basis[16];
    int64_t noted_tokens; /* the progress that was noted last */
    int noted_status;
    gw_timer limit;
    answer answer;
    gw_http_call *call;
    gw_str wait_for; /* stop the loop when the answer has this */
    key_wait *pending;
    gw_header extra[EXTRA_HEADERS]; /* of calls with a key */
    size_t extra_count;
    nonce_outcome nonce; /* what the store says of every one */
    bool holds_nonce; /* the test answers it itself, once the loop has stopped */
    nonce_take *nonce_asked;
    gw_buf nonce_taken; /* the last one asked for, "" when none was */
    size_t offences[2]; /* by what they are */
    bool part_closed;
} kit;

static kit *the_kit; /* for the fakes: they get no argument */

/* ---- fakes ---- */

key_lookup key_cache_authenticate(key_cache *c, gw_str presented, key_wait *wait, key_policy **ret,
                                  gw_error *err)
{
    (void)c;
    if (gw_str_eq_c(presented, "late")) {
        the_kit->pending = wait;
        return KEY_PENDING;
    }
    if (!gw_str_eq_c(presented, "good")) {
        (void)gw_fail(err, GW_ERR_KEY_INVALID, "no such key");
        return KEY_REFUSED;
    }
    *ret = key_policy_ref(the_kit->policy);
    return KEY_FOUND;
}

void key_cache_forget_wait(key_wait *wait)
{
    (void)wait;
    the_kit->pending = NULL;
}

void key_cache_note_use(key_cache *c, const key_policy *p, int64_t now_wall_ms)
{
    (void)c;
    (void)p;
    (void)now_wall_ms;
}

void offence_book_note(offence_book *b, const key_policy *p, offence what)
{
    (void)b;
    (void)p;
    the_kit->offences[what]++;
}

static void answer_nonce(void *arg)
{
    nonce_take *t = arg;

    t->done(t->arg, the_kit->nonce);
}

void nonce_store_take(gw_redis *redis, gw_str key_id, gw_str nonce, nonce_take *t)
{
    (void)redis;
    (void)key_id;
    gw_buf_clear(&the_kit->nonce_taken);
    gw_buf_append_str(&the_kit->nonce_taken, nonce);
    the_kit->nonce_asked = t;
    if (the_kit->holds_nonce)
        gw_loop_stop(the_kit->loop);
    else
        gw_loop_defer(the_kit->loop, answer_nonce, t);
}

flight_slot *recorder_claim(recorder_lane *lane)
{
    (void)lane;
    if (the_kit->has_no_slot)
        return NULL;
    the_kit->claimed++;
    return (flight_slot *)(void *)the_kit;
}

void recorder_release(recorder_lane *lane, flight_slot *slot)
{
    (void)lane;
    (void)slot;
    the_kit->claimed--;
}

void recorder_event_id(recorder_lane *lane, uint8_t out[12])
{
    (void)lane;
    memset(out, 7, 12);
}

bool recorder_open_event(recorder_lane *lane, flight_slot *slot, const usage_event *e)
{
    (void)lane;
    (void)slot;
    the_kit->opened++;
    the_kit->opened_cost = e->cost_nano_usd;
    (void)snprintf(the_kit->opened_basis, sizeof(the_kit->opened_basis), "%s", e->billing_basis);
    the_kit->opened_len = event_pack(e, the_kit->opened_event, EVENT_MAX_BYTES);
    return true;
}

void recorder_progress(flight_slot *slot, int64_t completion_tokens, int64_t cost_nano_usd,
                       int status_code, int64_t wall_ms)
{
    (void)slot;
    (void)cost_nano_usd;
    (void)wall_ms;
    the_kit->noted_tokens = completion_tokens;
    the_kit->noted_status = status_code;
}

void recorder_done(recorder_lane *lane, flight_slot *slot, const usage_event *e)
{
    size_t size = apirelay__usage__v1__usage_event__get_packed_size(e);
    uint8_t *bytes = malloc(size);

    (void)lane;
    (void)slot;
    assert_true(the_kit->event_count < EVENTS_MAX);
    apirelay__usage__v1__usage_event__pack(e, bytes);
    the_kit->events[the_kit->event_count++] =
        apirelay__usage__v1__usage_event__unpack(NULL, size, bytes);
    free(bytes);
}

/* As the flight table does: what follows stands for what was said before. */
bool recorder_finish(recorder_lane *lane, flight_slot *slot, const usage_event *rest)
{
    size_t len = the_kit->opened_len;

    (void)lane;
    (void)slot;
    assert_true(the_kit->event_count < EVENTS_MAX);
    len += event_pack(rest, the_kit->opened_event + len, EVENT_MAX_BYTES - len);
    the_kit->events[the_kit->event_count++] =
        apirelay__usage__v1__usage_event__unpack(NULL, len, the_kit->opened_event);
    return true;
}

void recorder_refuse(recorder_lane *lane, flight_slot *slot, const usage_event *e)
{
    assert_string_equal(e->outcome, "refused");
    recorder_done(lane, slot, e);
}

bool recorder_repeat_refusal(recorder_lane *lane, flight_slot *slot, const uint8_t api_key_id[12])
{
    (void)lane;
    (void)slot;
    (void)api_key_id;
    the_kit->repeats += the_kit->has_open_row;
    return the_kit->has_open_row;
}

void recorder_drop(recorder_lane *lane, recorder_drop_reason why)
{
    (void)lane;
    the_kit->dropped[why]++;
}

void recorder_get_stats(const recorder *r, recorder_stats *ret)
{
    (void)r;
    *ret = (recorder_stats){.full = the_kit->spool_is_full};
}

relay_config *relay_config_ref(const relay_config *c)
{
    return (relay_config *)(uintptr_t)c;
}

void relay_config_unref(relay_config *c)
{
    (void)c;
}

const model_route *relay_config_route(const relay_config *c, gw_str model)
{
    return gw_str_starts_with(model, GW_STR("gpt-")) ? c->routes : NULL;
}

size_t model_names(const relay_config *c, const provider_models *said, size_t said_count,
                   gw_arena *arena, const listed_model **ret)
{
    listed_model *m = gw_arena_new_of(arena, listed_model);

    (void)c;
    (void)said;
    (void)said_count;
    *m = (listed_model){GW_STR("gpt-4o"), GW_STR("openai")};
    *ret = m;
    return 1;
}

bool model_names_need(const relay_config *c, const provider_config *p)
{
    (void)c;
    (void)p;
    return true;
}

size_t model_catalog_said(const model_catalog *m, gw_arena *arena, const provider_models **ret)
{
    (void)m;
    (void)arena;
    (void)ret;
    return 0;
}

/* ---- upstream ---- */

static void upstream_head(gw_exchange *x, void *arg)
{
    kit *k = arg;

    k->upstream_asked = true;
    gw_exchange_set_data(x, k);
    gw_exchange_read_body(x, 1 << 20);
}

static void upstream_body(gw_exchange *x, void *arg)
{
    kit *k = arg;
    const script *s = k->queue ? &k->queue[k->asked] : k->script;
    gw_header headers[] = {
        {GW_STR("content-type"), gw_str_of(s->type)},
        {GW_STR("set-cookie"), GW_STR("a=b")},
        {GW_STR("x-request-id"), GW_STR("theirs")},
        {GW_STR("retry-after"), s->retry_after ? gw_str_of(s->retry_after) : GW_STR("3")},
        {GW_STR("location"), GW_STR("/x")}};
    gw_response_head head = {
        .status = s->status, .headers = headers, .header_count = GW_ARRAY_LEN(headers)};

    gw_buf_clear(&k->seen);
    gw_buf_append_str(&k->seen, gw_exchange_body(x));
    gw_buf_appendf(&k->trail, "%.*s\n", GW_STR_ARG(gw_exchange_body(x)));
    gw_buf_appendf(&k->credentials, "%.*s\n",
                   GW_STR_ARG(gw_headers_get(gw_exchange_headers(x), "authorization")));
    k->asked++;
    if (k->stop_when_asked)
        gw_loop_stop(k->loop);
    if (s->status == 0)
        return; /* never answers */
    gw_exchange_start(x, &head, -1);
    gw_exchange_flush_head(x);
    for (size_t i = 0; s->parts[i]; i++) {
        gw_str part = gw_str_of(s->parts[i]);
        gw_exchange_write(x, &part, 1);
    }
    if (s->then == SCRIPT_END)
        gw_exchange_end(x);
    else if (s->then == SCRIPT_CUT)
        gw_exchange_abort(x);
}

static void upstream_over(gw_exchange *x, bool complete, void *arg)
{
    kit *k = arg;

    (void)x;
    k->upstream_closed = !complete;
}

static const gw_http_handler_ops upstream_ops = {
    .on_head = upstream_head, .on_body = upstream_body, .on_closed = upstream_over};

/* ---- client ---- */

static void client_head(gw_http_call *c, int status, gw_headers headers, void *arg)
{
    kit *k = arg;

    (void)c;
    k->answer.status = status;
    for (size_t i = 0; i < headers.count; i++)
        gw_buf_appendf(&k->answer.head, "%.*s: %.*s\n", GW_STR_ARG(headers.items[i].name),
                       GW_STR_ARG(headers.items[i].value));
}

static void client_body(gw_http_call *c, gw_str bytes, void *arg)
{
    kit *k = arg;

    (void)c;
    gw_buf_append_str(&k->answer.body, bytes);
    if (k->wait_for.len > 0 && gw_str_contains(gw_buf_str(&k->answer.body), k->wait_for))
        gw_loop_stop(k->loop);
}

static void client_done(gw_http_call *c, gw_status rc, const gw_error *err, void *arg)
{
    kit *k = arg;

    (void)c;
    (void)err;
    k->call = NULL;
    k->answer.done = true;
    k->answer.rc = rc;
    k->answer.events_before = k->event_count;
    gw_loop_stop(k->loop);
}

static const gw_http_call_ops client_ops = {
    .on_head = client_head, .on_body = client_body, .on_done = client_done};

static void on_limit(void *arg)
{
    kit *k = arg;

    gw_loop_stop(k->loop);
}

static void on_idle(void *arg)
{
    kit *k = arg;

    gw_loop_stop(k->loop);
}

/* Runs until something stops the loop, five seconds at most. */
static void run(kit *k)
{
    gw_timer_set(k->loop, &k->limit, 5000);
    gw_loop_run(k->loop);
    assert_true(gw_timer_is_armed(&k->limit));
    gw_timer_cancel(k->loop, &k->limit);
}

/* Until no request is left in the machine. */
static inline void run_until_idle(kit *k)
{
    if (gw_list_is_empty(&k->core.requests))
        return;
    k->core.idle = on_idle;
    k->core.idle_arg = k;
    run(k);
    k->core.idle = NULL;
}

static void send_call(kit *k, const char *method, const char *target, const char *key,
                      const char *body)
{
    static gw_str part; /* borrowed until the call is done */
    gw_auto_free char *authorization = NULL;
    gw_buf value = {0};
    gw_header headers[2 + EXTRA_HEADERS] = {{GW_STR("content-type"), GW_STR("application/json")}};
    gw_http_request r = {.method = method,
                         .target = gw_str_of(target),
                         .headers = headers,
                         .header_count = (key ? 2 : 1) + k->extra_count};
    gw_auto_buf url = {0};
    gw_error err = {0};

    gw_buf_appendf(&value, "Bearer %s", key ? key : "");
    authorization = gw_buf_steal(&value);
    headers[1] = (gw_header){GW_STR("authorization"), gw_str_of(authorization)};
    memcpy(headers + 2, k->extra, sizeof(k->extra));
    gw_buf_appendf(&url, "http://127.0.0.1:%u", gw_http_server_port(k->relay));
    assert_int_equal(gw_url_parse(gw_buf_str(&url), &r.url, &err), GW_OK);
    part = gw_str_of(body);
    r.body = &part;
    r.body_parts = body ? 1 : 0;
    gw_buf_clear(&k->answer.head);
    gw_buf_clear(&k->answer.body);
    k->answer.done = false;
    k->answer.status = 0;
    k->upstream_asked = k->upstream_closed = false;
    assert_int_equal(gw_http_send(k->client, &r, &client_ops, k, &k->call, &err), GW_OK);
}

static inline void ask(kit *k, const char *key, const char *body, const script *s)
{
    k->script = s;
    send_call(k, "POST", "/v1/chat/completions", key, body);
    run(k);
}

static void forget_events(kit *k)
{
    for (size_t i = 0; i < k->event_count; i++)
        apirelay__usage__v1__usage_event__free_unpacked(k->events[i], NULL);
    k->event_count = 0;
}

/* ---- life ---- */

static int kit_setup(void **state)
{
    kit *k = calloc(1, sizeof(*k));
    gw_http_server_options options = gw_http_server_defaults;
    gw_http_client_options client = gw_http_client_defaults;
    gw_cidr loopback;
    gw_auto_buf url = {0};
    gw_error err;
    Apirelay__Auth__V1__KeyPolicy *message = calloc(1, sizeof(*message));

    the_kit = k;
    *state = k;
    if (!gw_cidr_parse(GW_STR("127.0.0.0/8"), &loopback) ||
        gw_loop_new(&gw_system_clock, &k->loop, &err) != GW_OK)
        return -1;
    options.host = "127.0.0.1";
    options.port = 0;
    client.allow_cidrs = &loopback;
    client.allow_cidr_count = 1;
    apirelay__auth__v1__key_policy__init(message);
    message->key_id = strdup("AAAAAAAAAAAA");
    message->api_key_id = strdup("0123456789abcdef01234567");
    message->status = strdup("active");
    if (relay_core_init(&k->core, &err) != GW_OK ||
        key_policy_new(message, &k->policy, &err) != GW_OK ||
        gw_http_server_new(k->loop, &options, &upstream_ops, k, NULL, &k->upstream, &err) !=
            GW_OK ||
        gw_http_client_new(k->loop, &client, NULL, &k->client, &err) != GW_OK ||
        gw_http_client_new(k->loop, &client, NULL, &k->upstreams, &err) != GW_OK)
        return -1;
    gw_buf_appendf(&url, "http://127.0.0.1:%u", gw_http_server_port(k->upstream));
    k->provider = (provider_config){.name = GW_STR("openai"),
                                    .base_path = GW_STR("/v1"),
                                    .credential = GW_STR("sk-upstream-secret")};
    if (gw_url_parse(gw_str_of(gw_buf_steal(&url)), &k->provider.base_url, &err) != GW_OK)
        return -1;
    k->price = (model_price){.model = GW_STR("*"),
                             .provider = GW_STR(""),
                             .prompt_per_million_nano_usd = 1000000,
                             .completion_per_million_nano_usd = 2000000,
                             .cached_prompt_per_million_nano_usd = 1000000,
                             .reasoning_per_million_nano_usd = 2000000};
    k->target = (route_target){.provider = &k->provider,
                               .upstream_model = GW_STR(""),
                               .first_byte_timeout_ms = 1000,
                               .idle_timeout_ms = 1000};
    k->route = (model_route){.pattern = GW_STR("gpt-*"),
                             .targets = &k->target,
                             .target_count = 1,
                             .owned_by = GW_STR("openai")};
    k->config = (relay_config){.version = GW_STR("1"),
                               .routes = &k->route,
                               .route_count = 1,
                               .prices = &k->price,
                               .price_count = 1,
                               .price_book_version = GW_STR("book-1")};
    k->metrics = gw_metrics_new(relay_metric_table, RELAY_METRIC_COUNT);
    k->core.metrics = gw_metrics_shard_new(k->metrics);
    k->core.loop = k->loop;
    k->core.offences = (offence_book *)(void *)k; /* only handed to the fake */
    k->core.clock = &gw_system_clock;
    k->core.upstreams = k->upstreams;
    k->core.config = &k->config;
    k->front.core = &k->core;
    gw_timer_init(&k->limit, on_limit, k);
    return gw_http_server_new(k->loop, &options, &front_http_ops, &k->front, NULL, &k->relay,
                              &err) == GW_OK
               ? 0
               : -1;
}

static void on_part_closed(void *arg)
{
    kit *k = arg;

    k->part_closed = true;
    gw_loop_stop(k->loop);
}

static void wait_closed(kit *k)
{
    while (!k->part_closed)
        gw_loop_run(k->loop);
    k->part_closed = false;
}

static int kit_teardown(void **state)
{
    kit *k = *state;

    gw_http_server_close(k->relay, on_part_closed, k);
    wait_closed(k);
    gw_http_client_close(k->client, on_part_closed, k);
    wait_closed(k);
    gw_http_client_close(k->upstreams, on_part_closed, k);
    wait_closed(k);
    gw_http_server_close(k->upstream, on_part_closed, k);
    wait_closed(k);
    forget_events(k);
    relay_core_fini(&k->core);
    gw_metrics_free(k->metrics);
    key_policy_unref(k->policy);
    gw_buf_fini(&k->seen);
    gw_buf_fini(&k->trail);
    gw_buf_fini(&k->credentials);
    gw_buf_fini(&k->nonce_taken);
    gw_buf_fini(&k->answer.head);
    gw_buf_fini(&k->answer.body);
    gw_loop_free(k->loop);
    free((void *)(uintptr_t)(k->provider.base_url.scheme.ptr));
    free(k);
    return 0;
}
