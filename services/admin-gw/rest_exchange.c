#include "rest_exchange.h"

#include "rest_error.h"
#include "session.h"

#include <stdlib.h>

void rest_exchange_release(rest_exchange *e)
{
    if (e->x || e->call)
        return;
    gw_list_remove(&e->node);
    free(e);
}

void rest_answer_add(rest_answer *a, const char *name, gw_str value)
{
    if (value.len > 0 && a->header_count < REST_HEADERS_MAX)
        a->headers[a->header_count++] = (gw_header){gw_str_of(name), value};
}

gw_response_head rest_answer_head(rest_exchange *e, rest_answer *a, int status,
                                  const char *content_type)
{
    rest_answer_add(a, "content-type", gw_str_of(content_type));
    rest_answer_add(a, "cache-control", GW_STR("no-store"));
    rest_answer_add(a, "x-content-type-options", GW_STR("nosniff"));
    rest_answer_add(a, "x-request-id", gw_str_of(e->request_id));
    e->status = status;
    return (gw_response_head){
        .status = status, .headers = a->headers, .header_count = a->header_count};
}

void rest_answer_json(rest_exchange *e, int status, rest_answer *a, gw_str body)
{
    gw_response_head head = rest_answer_head(e, a, status, "application/json");
    gw_exchange_respond(e->x, &head, body);
}

void rest_answer_error(rest_exchange *e, const gw_error *err, const gw_json_violations *more)
{
    gw_auto_buf body = {0};
    rest_answer a = {.header_count = 0};
    int status = gw_status_describe(err->code)->http_status;
    rest_answer_add(&a, "allow", e->match.allow);
    if (e->retry_after_ms > 0)
        rest_answer_add(
            &a, "retry-after",
            gw_arena_int(gw_exchange_arena(e->x), (e->retry_after_ms + 999) / GW_MS_PER_S));
    if (status == 401)
        rest_answer_add(&a, "www-authenticate", GW_STR("Bearer"));
    if (status == 401 && e->by_cookie)
        rest_answer_add(&a, "set-cookie",
                        session_cookie(gw_exchange_arena(e->x), GW_STR(""), 0, e->is_local));
    rest_error_write(err, more, gw_str_of(e->request_id), &body);
    rest_answer_json(e, status, &a, gw_buf_str(&body));
}

gw_error rest_shown_error(const rest_exchange *e, gw_status rc, const gw_error *err)
{
    gw_error shown = *err;
    const char *backend = route_backend_name(e->match.route->backend);
    if (rc == GW_ERR_CANCELLED) /* only we cancel, and only when we go */
        (void)gw_fail(&shown, GW_ERR_SHUTTING_DOWN, "the gateway is shutting down");
    if (rc != GW_ERR_UNAVAILABLE)
        return shown;
    gw_log_warn(e->front->log, "backend_unavailable", gw_kv("backend", backend),
                gw_kv("http.request.id", (const char *)e->request_id), gw_kv_error(err));
    (void)gw_fail(&shown, GW_ERR_UNAVAILABLE, "%s cannot answer now", backend);
    return shown;
}
