#include "front_http.h"

#include "cors.h"
#include "http_caller.h"
#include "messages_error.h"
#include "relay_metrics.h"
#include "secret_scrub.h"

#include "core/id.h"
#include "http/client_address.h"

#define KEY_SET_PATH    "/.well-known/jwks.json" /* as LibreChat is told */
#define PATH_LOGGED_MAX 100
#define SERVERS_METHODS "GET, HEAD, POST, OPTIONS" /* RFC 9110 §9.3.7 */

/* ---- dialects ---- */

static void describe(openai_error *e, const gw_error *err, caller_dialect dialect)
{
    openai_error_from(e, err);
    if (dialect == DIALECT_ANTHROPIC)
        messages_error_adapt(e);
}

static caller_dialect dialect_of(const gw_exchange *x, relay_endpoint endpoint)
{
    gw_str version = gw_headers_get(gw_exchange_headers(x), "anthropic-version");

    return endpoint_dialect(endpoint, gw_exchange_path(x), version);
}

static gw_str origin_of(const gw_exchange *x)
{
    return gw_headers_get(gw_exchange_headers(x), "origin");
}

/* ---- answers without a request ---- */

#define HEADERS_MAX 12

typedef struct header_list {
    gw_header items[HEADERS_MAX];
    size_t count;
    char request_id[GW_REQUEST_ID_SIZE];
} header_list;

static void add(header_list *l, const char *name, gw_str value)
{
    if (value.len > 0 && l->count < HEADERS_MAX)
        l->items[l->count++] = (gw_header){gw_str_of(name), value};
}

static void add_request_id(header_list *l, caller_dialect dialect)
{
    gw_request_id(l->request_id);
    add(l, "x-request-id", gw_str_of(l->request_id));
    if (dialect == DIALECT_ANTHROPIC)
        add(l, "request-id", gw_str_of(l->request_id));
}

static void add_cors(header_list *l, const front_http *f, const gw_exchange *x,
                     caller_dialect dialect)
{
    gw_str origin = origin_of(x);
    bool may_read = cors_may_read(f->core->origins, NULL, origin);

    if (l->count + CORS_READ_HEADERS <= HEADERS_MAX)
        l->count += cors_read_headers(origin, may_read, dialect, &l->items[l->count]);
}

/* What no request came of is counted and has its line all the same: `x` is NULL before a head was read. */
static void note_refusal(const front_http *f, const gw_exchange *x, relay_endpoint endpoint,
                         const openai_error *e, const char *request_id)
{
    gw_str path = x ? gw_str_slice(gw_exchange_path(x), 0, PATH_LOGGED_MAX) : GW_STR("");
    gw_auto_buf scrubbed = {0}; /* a path may be a key that somebody put in the wrong place */

    secret_scrub(&scrubbed, path, GW_STR(""));
    gw_metric_count(f->core->metrics, M_relay_requests_total,
                    gw_str_of(endpoint_describe(endpoint)->name), GW_STR("unrecognised"));
    gw_log_info(f->core->log, "request_refused", gw_kv("request.id", request_id),
                gw_kv("http.request.method", x ? gw_exchange_method(x) : GW_STR("")),
                gw_kv("url.path", gw_buf_str(&scrubbed)),
                gw_kv("http.response.status_code", e->http_status),
                gw_kv("error.code", gw_status_describe(e->error.code)->openai_code));
}

static void refuse(const front_http *f, gw_exchange *x, relay_endpoint endpoint,
                   const gw_error *err, const char *allow)
{
    caller_dialect dialect = dialect_of(x, endpoint);
    header_list headers = {.count = 0};
    gw_auto_buf body = {0};
    openai_error e;

    describe(&e, err, dialect);
    add_request_id(&headers, dialect);
    add(&headers, "content-type", GW_STR("application/json"));
    add(&headers, "allow", gw_str_of(allow));
    add_cors(&headers, f, x, dialect);
    http_caller_write_failure(dialect, &e, headers.request_id, &body);
    note_refusal(f, x, endpoint, &e, headers.request_id);
    gw_response_head head = {
        .status = e.http_status, .headers = headers.items, .header_count = headers.count};
    gw_exchange_respond(x, &head, gw_buf_str(&body));
}

/*
 * A preflight (Fetch standard §4.8) carries no key: an origin that some key lists may ask. Whether it may with the key it then has is
 * said on the real request, by that key's security.domains.
 */
static bool is_granted_preflight(const front_http *f, const gw_exchange *x)
{
    gw_str method = gw_headers_get(gw_exchange_headers(x), "access-control-request-method");

    return gw_str_eq_c(gw_exchange_method(x), "OPTIONS") && method.len > 0 &&
           cors_may_read(f->core->origins, NULL, origin_of(x));
}

/* `allow` is "" where there is no such path. */
static void answer_options(const front_http *f, gw_exchange *x, relay_endpoint endpoint,
                           const char *allow)
{
    gw_str origin = origin_of(x);
    gw_str wanted = gw_headers_get(gw_exchange_headers(x), "access-control-request-headers");
    header_list headers = {.count = 0};

    add_request_id(&headers, dialect_of(x, endpoint));
    add(&headers, "allow", gw_str_of(allow));
    if (origin.ptr)
        add(&headers, "vary", GW_STR("Origin"));
    if (is_granted_preflight(f, x))
        headers.count +=
            cors_preflight_headers(origin, allow, wanted, &headers.items[headers.count]);
    gw_response_head head = {
        .status = 204, .headers = headers.items, .header_count = headers.count};
    gw_exchange_respond(x, &head, GW_STR(""));
}

/* ---- keys that sign users in ---- */

/* RFC 7517 §5. Whoever checks tokens asks again for a key that he does not know, and else about once a minute. */
static void answer_key_set(const front_http *f, gw_exchange *x)
{
    const char *allow = "GET, HEAD, OPTIONS";
    gw_str method = gw_exchange_method(x);
    header_list headers = {.count = 0};
    GW_UNINITIALIZED gw_error err;

    if (gw_str_eq_c(method, "OPTIONS")) {
        answer_options(f, x, ENDPOINT_NONE, allow);
        return;
    }
    if (!gw_str_eq_c(method, "GET") && !gw_str_eq_c(method, "HEAD")) {
        (void)gw_fail(&err, GW_ERR_METHOD_NOT_ALLOWED, "%s takes GET", KEY_SET_PATH);
        refuse(f, x, ENDPOINT_NONE, &err, allow);
        return;
    }
    add_request_id(&headers, DIALECT_OPENAI);
    add(&headers, "content-type", GW_STR("application/jwk-set+json"));
    add(&headers, "cache-control", GW_STR("public, max-age=60"));
    gw_response_head head = {
        .status = 200, .headers = headers.items, .header_count = headers.count};
    gw_exchange_respond(x, &head, user_token_book_jwks(f->core->user_tokens));
}

/* ---- handler ---- */

static void start_request(front_http *f, gw_exchange *x, relay_endpoint endpoint, gw_str rest)
{
    http_caller *caller = gw_arena_new_of(gw_exchange_arena(x), http_caller);
    gw_headers headers = gw_exchange_headers(x);
    GW_UNINITIALIZED gw_error err;

    if (caller) {
        *caller = (http_caller){
            .sink = {.ops = &http_caller_ops}, .x = x, .dialect = dialect_of(x, endpoint)};
        gw_exchange_set_data(x, caller);
        relay_call call = {
            .endpoint = endpoint,
            .dialect = caller->dialect,
            .method = gw_exchange_method(x),
            .target = gw_exchange_target(x),
            .path = gw_exchange_path(x),
            .query = gw_exchange_query(x),
            .model_id = rest,
            .headers = headers,
            .arena = gw_exchange_arena(x),
            .client = gw_client_address(gw_exchange_peer(x), headers, f->trusted_proxies,
                                        f->trusted_proxy_count),
            .arrival_ns = gw_exchange_arrival_ns(x),
            .deadline_ms = INT64_MAX,
        };
        if (relay_request_start(f->core, &call, &caller->sink, &caller->request))
            return;
    }
    (void)gw_fail(&err, GW_ERR_NO_MEMORY, "the gateway is out of memory");
    refuse(f, x, endpoint, &err, "");
}

static void on_head(gw_exchange *x, void *arg)
{
    front_http *f = arg;
    gw_str rest;
    gw_str method = gw_exchange_method(x);
    relay_endpoint endpoint = endpoint_find(gw_exchange_path(x), &rest);
    const endpoint_info *info = endpoint_describe(endpoint);
    GW_UNINITIALIZED gw_error err;

    if (f->core->user_tokens && gw_str_eq_c(gw_exchange_path(x), KEY_SET_PATH)) {
        answer_key_set(f, x);
    } else if (endpoint == ENDPOINT_NONE && gw_str_eq_c(gw_exchange_path(x), "*")) {
        answer_options(f, x, endpoint, SERVERS_METHODS);
    } else if (endpoint == ENDPOINT_NONE && is_granted_preflight(f, x)) {
        answer_options(f, x, endpoint, ""); /* without it no page would get to see the 404 */
    } else if (endpoint == ENDPOINT_NONE) {
        (void)gw_fail(&err, GW_ERR_NOT_FOUND, "there is no %.*s",
                      GW_STR_ARG(gw_str_slice(gw_exchange_path(x), 0, 100)));
        refuse(f, x, endpoint, &err, "");
    } else if (gw_str_eq_c(method, "OPTIONS")) {
        answer_options(f, x, endpoint, info->allow);
    } else if (!gw_str_eq_c(method, info->method) &&
               !(gw_str_eq_c(method, "HEAD") && gw_str_eq_c(gw_str_of(info->method), "GET"))) {
        (void)gw_fail(&err, GW_ERR_METHOD_NOT_ALLOWED, "%s takes %s", info->path, info->method);
        refuse(f, x, endpoint, &err, info->allow);
    } else {
        start_request(f, x, endpoint, rest);
    }
}

static void on_body(gw_exchange *x, void *arg)
{
    http_caller *caller = gw_exchange_data(x);

    (void)arg;
    if (caller && caller->request)
        relay_request_body_arrived(caller->request, gw_exchange_body(x));
}

static void on_drained(gw_exchange *x, void *arg)
{
    http_caller *caller = gw_exchange_data(x);

    (void)arg;
    if (caller && caller->request)
        relay_request_drained(caller->request);
}

static void on_closed(gw_exchange *x, bool complete, void *arg)
{
    http_caller *caller = gw_exchange_data(x);

    (void)complete;
    (void)arg;
    if (caller && caller->request)
        relay_request_caller_gone(caller->request);
}

/* Of the request that the server refused, else of the answer without one. */
static const char *id_of(const front_http *f, const http_caller *caller)
{
    return caller && caller->ended_id[0] != '\0' ? caller->ended_id : f->error_id;
}

/* Also for what the server refuses by itself (a body too large or too slow): that is recorded too. */
static void write_error(gw_exchange *x, const gw_error *err, gw_buf *body,
                        const char **content_type, void *arg)
{
    http_caller *caller = x ? gw_exchange_data(x) : NULL;
    caller_dialect dialect = caller ? caller->dialect : DIALECT_OPENAI;
    front_http *f = arg;
    openai_error e;

    gw_request_id(f->error_id);
    if (caller && caller->request) {
        caller->refusal = gw_arena_new_of(gw_exchange_arena(x), relay_answer);
        if (caller->refusal)
            relay_request_transport_head(caller->request, caller->refusal);
        relay_request_refused_by_transport(caller->request, err);
    }
    describe(&e, err, dialect);
    if (!caller)
        note_refusal(f, x, ENDPOINT_NONE, &e, f->error_id);
    http_caller_write_failure(dialect, &e, id_of(f, caller), body);
    *content_type = "application/json";
}

static int error_status(gw_exchange *x, const gw_error *err, void *arg)
{
    const http_caller *caller = x ? gw_exchange_data(x) : NULL;
    openai_error e;

    (void)arg;
    describe(&e, err, caller ? caller->dialect : DIALECT_OPENAI);
    return e.http_status;
}

/* After write_error. x-request-id stands on every answer, whoever gives it. */
static size_t error_headers(gw_exchange *x, gw_header *out, size_t max, void *arg)
{
    const http_caller *caller = x ? gw_exchange_data(x) : NULL;
    size_t count = 0;

    if (max > count)
        out[count++] = (gw_header){GW_STR("x-request-id"), gw_str_of(id_of(arg, caller))};
    if (max > count && caller && caller->dialect == DIALECT_ANTHROPIC)
        out[count++] = (gw_header){GW_STR("request-id"), gw_str_of(id_of(arg, caller))};
    for (size_t i = 0; caller && caller->refusal && i < caller->refusal->header_count; i++)
        if (max > count)
            out[count++] = caller->refusal->headers[i];
    return count;
}

const gw_http_handler_ops front_http_ops = {
    .on_head = on_head,
    .on_body = on_body,
    .on_drained = on_drained,
    .on_closed = on_closed,
    .write_error = write_error,
    .error_status = error_status,
    .error_headers = error_headers,
};
