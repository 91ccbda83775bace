/*
 * A relay in one process for tests: the real front, request machine, HTTP server and client; a
 * scripted upstream, a client, and what else there is of a relay in relay_request_test_fakes.h.
 */
#pragma once

#include "relay_request_test_fakes.h"

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
