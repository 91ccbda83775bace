#include "rest_front.h"

#include "admin_gw_metrics.h"
#include "crypto/crypto.h"
#include "http/client_address.h"
#include "rest_error.h"
#include "rest_stream.h"
#include "session.h"

#include "apirelay/auth/v1/session_service.pb-c.h"

#include <stdlib.h>

#define GET_SESSION_PATH "/apirelay.auth.v1.SessionService/GetSession"
#define NS_PER_S         1e9

/* ---- answers ---- */

static gw_str ended_cookie(rest_exchange *e)
{
    return session_cookie(gw_exchange_arena(e->x), GW_STR(""), 0, e->is_local);
}

/* ---- the call ---- */

gw_rpc_call_options rest_exchange_call_options(rest_exchange *e, const char *path,
                                               const ProtobufCMessageDescriptor *response)
{
    return (gw_rpc_call_options){.path = path,
                                 .response = response,
                                 .credential = e->credential,
                                 .request_id = gw_str_of(e->request_id),
                                 .client_address = gw_str_of(e->client_text),
                                 .forwarder = e->front->service_token,
                                 .further = &e->further,
                                 .retry_after_ms = &e->retry_after_ms};
}

static void call_backend(rest_exchange *e, gw_rpc_channel *channel, const char *path,
                         const ProtobufCMessageDescriptor *response,
                         const ProtobufCMessage *request, gw_rpc_done_fn done)
{
    gw_rpc_call_options o = rest_exchange_call_options(e, path, response);
    o.deadline_ms = e->front->call_timeout_ms;
    e->call = gw_rpc_unary(channel, &o, request, done, e);
    if (e->call)
        return;
    gw_error err;
    (void)gw_fail(&err, GW_ERR_NO_MEMORY, "no memory for a call");
    rest_answer_error(e, &err, NULL);
}

/* True when the call failed, or there is nobody left to answer; both are handled. */
static bool call_is_over(rest_exchange *e, gw_status rc, const gw_error *err)
{
    e->call = NULL;
    if (!e->x) {
        rest_exchange_release(e);
        return true;
    }
    if (rc == GW_OK)
        return false;
    gw_error shown = rest_shown_error(e, rc, err);
    rest_answer_error(e, &shown, &e->further);
    return true;
}

static gw_status write_answer(rest_exchange *e, const ProtobufCMessage *response, rest_answer *a,
                              gw_buf *body, gw_error *err)
{
    const gw_method *m = e->match.route->method;
    gw_str token;
    int64_t max_age_s;
    if (!session_is_sign_in(m)) {
        if (session_is_sign_out(m) && e->by_cookie)
            rest_answer_add(a, "set-cookie", ended_cookie(e));
        return gw_json_write(response, body, err);
    }
    gw_status rc = session_take_sign_in(response, gw_clock_wall_ms(e->front->clock), &token,
                                        &max_age_s, body, err);
    if (rc == GW_OK)
        rest_answer_add(a, "set-cookie",
                        session_cookie(gw_exchange_arena(e->x), token, max_age_s, e->is_local));
    return rc;
}

static void on_answer(void *arg, gw_status rc, const ProtobufCMessage *response,
                      const gw_error *err)
{
    rest_exchange *e = arg;
    gw_auto_buf body = {0};
    rest_answer a = {.header_count = 0};
    gw_error problem;
    if (call_is_over(e, rc, err))
        return;
    rc = write_answer(e, response, &a, &body, &problem);
    if (rc == GW_OK && gw_buf_failed(&body))
        rc = gw_fail(&problem, GW_ERR_NO_MEMORY, "no memory for the answer");
    if (rc == GW_OK)
        rest_answer_json(e, 200, &a, gw_buf_str(&body));
    else
        rest_answer_error(e, &problem, NULL);
    if (body.data && session_is_sign_in(e->match.route->method))
        gw_secret_wipe(body.data, body.len);
}

static void call_rpc(rest_exchange *e)
{
    const route *r = e->match.route;
    gw_exchange *x = e->x;
    bool is_sign_in = session_is_sign_in(r->method);
    gw_json_violations more;
    gw_error err;
    ProtobufCMessage *request = NULL;
    rest_input in = {.match = &e->match,
                     .query = gw_exchange_query(x),
                     .body = gw_exchange_body(x),
                     .if_match = gw_headers_get(gw_exchange_headers(x), "if-match"),
                     .own_fields = is_sign_in ? session_own_fields : NULL};
    if (is_sign_in)
        e->credential = e->front->service_token;
    gw_status rc = rest_call_build(&in, gw_exchange_arena(x), &request, &more, &err);
    if (rc == GW_OK && is_sign_in)
        rc = session_fill_sign_in(request, &e->client,
                                  gw_headers_get(gw_exchange_headers(x), "user-agent"), &err);
    if (rc == GW_OK && r->method->server_streaming)
        rest_stream_start(e, request);
    else if (rc == GW_OK)
        call_backend(e, e->front->backends[r->backend], r->method->path.ptr,
                     r->method->descriptor->output, request, on_answer);
    else
        rest_answer_error(e, &err, &more);
    if (request)
        protobuf_c_message_free_unpacked(request, NULL);
}

/* ---- CSRF ---- */

static void on_session(void *arg, gw_status rc, const ProtobufCMessage *response,
                       const gw_error *err)
{
    rest_exchange *e = arg;
    if (call_is_over(e, rc, err))
        return;
    const Apirelay__Auth__V1__GetSessionResponse *s =
        (const Apirelay__Auth__V1__GetSessionResponse *)(const void *)response;
    gw_str wanted = gw_str_of(s->csrf_token);
    if (wanted.len > 0 &&
        gw_secret_eq(wanted.ptr, wanted.len, e->csrf_token.ptr, e->csrf_token.len)) {
        call_rpc(e);
        return;
    }
    gw_error problem;
    (void)gw_fail(&problem, GW_ERR_CSRF_FAILED, "X-CSRF-Token is not that of this session");
    rest_answer_error(e, &problem, NULL);
}

static void on_body(gw_exchange *x, void *arg)
{
    rest_exchange *e = gw_exchange_data(x);
    (void)arg;
    if (!e->by_cookie || !edge_is_change(gw_exchange_method(x))) {
        call_rpc(e);
        return;
    }
    Apirelay__Auth__V1__GetSessionRequest request = APIRELAY__AUTH__V1__GET_SESSION_REQUEST__INIT;
    call_backend(e, e->front->backends[ROUTE_AUTH], GET_SESSION_PATH,
                 &apirelay__auth__v1__get_session_response__descriptor, &request.base, on_session);
}

/* ---- the head ---- */

static gw_status find_credential(rest_exchange *e, gw_error *err)
{
    gw_headers h = gw_exchange_headers(e->x);
    if (session_is_sign_in(e->match.route->method))
        return GW_OK; /* our own, as it is when the body is there */
    gw_status rc = edge_bearer(h, &e->credential, err);
    if (rc != GW_OK || e->credential.len > 0)
        return rc;
    e->credential = session_token_of(h, e->is_local);
    e->by_cookie = e->credential.len > 0;
    if (!e->by_cookie)
        return gw_fail(err, GW_ERR_UNAUTHENTICATED, "an admin key or a session is required");
    e->csrf_token = gw_headers_get(h, "x-csrf-token");
    if (edge_is_change(gw_exchange_method(e->x)) && e->csrf_token.len == 0)
        return gw_fail(err, GW_ERR_CSRF_FAILED, "a session's change needs X-CSRF-Token");
    return GW_OK;
}

static bool is_openapi(rest_exchange *e, gw_error *err, gw_status *rc)
{
    gw_str method = gw_exchange_method(e->x);
    if (!gw_str_eq_c(gw_exchange_path(e->x), "/openapi.json"))
        return false;
    *rc = GW_OK;
    if (edge_is_change(method)) {
        e->match.allow = GW_STR("GET, HEAD");
        *rc = gw_fail(err, GW_ERR_METHOD_NOT_ALLOWED, "this path takes GET, HEAD");
    }
    return true;
}

/* GW_OK with no route: the document is asked for. */
static gw_status check_head(rest_exchange *e, gw_error *err)
{
    gw_exchange *x = e->x;
    gw_headers h = gw_exchange_headers(x);
    gw_str method = gw_exchange_method(x);
    gw_status rc = edge_check_host(&e->front->rules, h, err);
    if (rc != GW_OK || is_openapi(e, err, &rc))
        return rc;
    rc = route_table_match(e->front->routes, gw_exchange_arena(x), method, gw_exchange_path(x),
                           &e->match, err);
    if (rc == GW_OK && edge_is_change(method))
        rc = edge_check_change(&e->front->rules, h, gw_exchange_expects_body(x), err);
    return rc == GW_OK ? find_credential(e, err) : rc;
}

static void on_head(gw_exchange *x, void *arg)
{
    rest_front *front = arg;
    rest_exchange *e = calloc(1, sizeof *e);
    gw_error err;
    if (!e) {
        gw_exchange_abort(x);
        return;
    }
    e->front = front;
    gw_list_push_back(&front->exchanges, &e->node);
    e->x = x;
    e->is_local = session_is_local(gw_exchange_tls(x) != NULL, gw_exchange_peer(x),
                                   gw_headers_get(gw_exchange_headers(x), "host"));
    e->client = gw_client_address(gw_exchange_peer(x), gw_exchange_headers(x),
                                  front->trusted_proxies, front->trusted_proxy_count);
    gw_ip_format(&e->client, e->client_text);
    gw_request_id(e->request_id);
    gw_exchange_set_data(x, e);
    if (check_head(e, &err) != GW_OK) {
        rest_answer_error(e, &err, NULL);
    } else if (e->match.route) {
        gw_exchange_read_body(x, front->body_max_bytes);
    } else {
        rest_answer a = {.header_count = 0};
        rest_answer_json(e, 200, &a, front->openapi);
    }
}

/* ---- the end ---- */

static void record(const rest_exchange *e, bool complete)
{
    static const char *const classes[] = {"none", "1xx", "2xx", "3xx", "4xx", "5xx"};
    const gw_method *m = e->match.route ? e->match.route->method : NULL;
    gw_str rpc = m ? m->name : GW_STR("none");
    double seconds =
        (double)(gw_clock_mono_ns(e->front->clock) - gw_exchange_arrival_ns(e->x)) / NS_PER_S;
    gw_metric_count(e->front->metrics, M_admin_gw_requests_total, rpc,
                    gw_str_of(classes[e->status / 100]));
    gw_metric_observe(e->front->metrics, M_admin_gw_request_duration_seconds, seconds, &rpc, 1);
    gw_log_info(e->front->log, "request_finished",
                gw_kv("http.request.id", (const char *)e->request_id),
                gw_kv("http.request.method", gw_exchange_method(e->x)),
                gw_kv("url.path", gw_exchange_path(e->x)), gw_kv("rpc.method", rpc),
                gw_kv("http.response.status_code", e->status),
                gw_kv("client.ip", (const char *)e->client_text), gw_kv("complete", complete),
                gw_kv("duration_ms", seconds * (double)GW_MS_PER_S));
}

static void on_drained(gw_exchange *x, void *arg)
{
    rest_exchange *e = gw_exchange_data(x);
    (void)arg;
    if (e)
        rest_stream_drained(e);
}

static void on_closed(gw_exchange *x, bool complete, void *arg)
{
    rest_exchange *e = gw_exchange_data(x);
    (void)arg;
    if (!e)
        return;
    record(e, complete);
    rest_stream_closed(e);
    if (e->call && !edge_is_change(gw_exchange_method(x)))
        gw_rpc_cancel(e->call);
    e->x = NULL;
    rest_exchange_release(e);
}

void rest_front_end_streams(rest_front *front)
{
    front->is_ending = true;
    gw_list_each (node, &front->exchanges)
        rest_stream_cut(GW_CONTAINER_OF(node, rest_exchange, node));
}

void rest_front_end_all(rest_front *front)
{
    gw_list *node = front->exchanges.next;
    while (node != &front->exchanges) {
        rest_exchange *e = GW_CONTAINER_OF(node, rest_exchange, node);
        node = node->next;
        if (e->call)
            gw_rpc_cancel(e->call);
    }
}

static const char *error_id_of(const rest_front *front, const rest_exchange *e)
{
    return e ? e->request_id : front->error_id;
}

/* What the HTTP server refuses by itself. */
static void write_error(gw_exchange *x, const gw_error *err, gw_buf *body,
                        const char **content_type, void *arg)
{
    rest_exchange *e = x ? gw_exchange_data(x) : NULL;
    rest_front *front = arg;
    *content_type = "application/json";
    if (e)
        e->status = gw_status_describe(err->code)->http_status;
    else
        gw_request_id(front->error_id);
    rest_error_write(err, NULL, gw_str_of(error_id_of(front, e)), body);
}

static size_t error_headers(gw_exchange *x, gw_header *out, size_t max, void *arg)
{
    const rest_exchange *e = x ? gw_exchange_data(x) : NULL;
    if (max == 0)
        return 0;
    *out = (gw_header){GW_STR("x-request-id"), gw_str_of(error_id_of(arg, e))};
    return 1;
}

const gw_http_handler_ops rest_front_ops = {.on_head = on_head,
                                            .on_body = on_body,
                                            .on_drained = on_drained,
                                            .on_closed = on_closed,
                                            .write_error = write_error,
                                            .error_headers = error_headers};
