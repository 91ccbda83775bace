/* Heads of answers: status and the headers a caller gets. */
#include "relay_request_internal.h"

#include "cors.h"

static void add(relay_answer *a, const char *name, gw_str value)
{
    if (value.len > 0 && a->header_count < GW_ARRAY_LEN(a->headers))
        a->headers[a->header_count++] = (gw_header){gw_str_of(name), value};
}

/* How often providers were asked. */
static void add_attempts(const relay_request *r, relay_answer *a)
{
    if (r->attempts == 1)
        add(a, "x-relay-attempts", GW_STR("1"));
    else if (r->attempts > 1)
        add(a, "x-relay-attempts", gw_arena_int(r->arena, r->attempts));
}

static void add_cors(const relay_request *r, relay_answer *a)
{
    gw_str origin = gw_headers_get(r->call.headers, "origin");

    if (origin.ptr && a->header_count + CORS_READ_HEADERS <= GW_ARRAY_LEN(a->headers))
        a->header_count +=
            cors_read_headers(origin, cors_may_read(r->core->origins, r->policy, origin),
                              r->call.dialect, &a->headers[a->header_count]);
}

/* Under the name that the SDKs of either dialect look for it by. */
static void add_request_id(const relay_request *r, relay_answer *a)
{
    add(a, "x-request-id", gw_str_of(r->id));
    if (r->call.dialect == DIALECT_ANTHROPIC)
        add(a, "request-id", gw_str_of(r->id));
}

void relay_request_success_head(relay_request *r, relay_answer *a)
{
    a->status = 200;
    add(a, "content-type",
        r->started ? GW_STR("text/event-stream; charset=utf-8") : GW_STR("application/json"));
    add_request_id(r, a);
    if (r->started) {
        add(a, "cache-control", GW_STR("no-cache"));
        add(a, "x-accel-buffering", GW_STR("no"));
    }
    add(a, "openai-processing-ms", r->processing_ms);
    add(a, "openai-version", r->openai_version);
    add(a, "x-relay-ignored-params", r->ignored_params);
    add_attempts(r, a);
    relay_request_add_limits(r, a);
    add_cors(r, a);
}

void relay_request_failure_head(relay_request *r, relay_answer *a)
{
    const openai_error *e = &r->troubles->failure;

    a->status = e->http_status;
    add(a, "content-type", GW_STR("application/json"));
    add_request_id(r, a);
    add(a, "retry-after", e->retry_after);
    add_attempts(r, a);
    if (e->http_status == 401)
        add(a, "www-authenticate", GW_STR("Bearer"));
    /* The SDKs retry 409, 429 and 5xx by themselves; here it would change nothing. */
    if ((!gw_status_describe(e->error.code)->may_retry || r->waiting_does_not_help) &&
        (e->http_status >= 500 || e->http_status == 409 || e->http_status == 429))
        add(a, "x-should-retry", GW_STR("false"));
    relay_request_add_limits(r, a);
    add_cors(r, a);
}

void relay_request_transport_head(relay_request *r, relay_answer *a)
{
    relay_request_add_limits(r, a);
    add_cors(r, a);
}
