#include "http/client_internal.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#define KEPT_HEAD_BYTES   ((size_t)16 * 1024) /* a free call does not hold more */
#define FREE_CALLS_MAX    256
#define HEAD_BYTES_BESIDE 80 /* its fixed words, and a length */

/* ---- what a caller may ask ---- */

static bool is_ours(gw_str name) /* RFC 9112 §6: framing is decided in one place */
{
    static const gw_str ours[] = {
        {"host", 4},        {"content-length", 14}, {"transfer-encoding", 17},
        {"connection", 10}, {"upgrade", 7},         {"keep-alive", 10},
        {"te", 2},          {"trailer", 7},         {"expect", 6},
    };
    for (size_t i = 0; i < GW_ARRAY_LEN(ours); i++)
        if (name.len == ours[i].len && gw_str_eq_nocase(name, ours[i]))
            return true;
    return false;
}

static bool host_is_plain(gw_str host, bool is_v6)
{
    if (host.len == 0 || host.len > 253)
        return false;
    if (is_v6) {
        gw_ip ip;
        return gw_ip_parse(host, &ip);
    }
    for (size_t i = 0; i < host.len; i++) {
        char c = host.ptr[i];
        bool fits = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
                    c == '.' || c == '-' || c == '_';
        if (!fits)
            return false;
    }
    return true;
}

static gw_status check_url(const gw_http_request *r, gw_error *err)
{
    if (!gw_str_eq_c(r->url.scheme, "http") && !gw_str_eq_c(r->url.scheme, "https"))
        return gw_fail_field(err, GW_ERR_INVALID_ARGUMENT, "url",
                             "the scheme must be http or https");
    if (r->url.userinfo.len > 0)
        return gw_fail_field(err, GW_ERR_INVALID_ARGUMENT, "url",
                             "a user in the URL is not allowed");
    if (!host_is_plain(r->url.host, r->url.host_is_v6))
        return gw_fail_field(err, GW_ERR_INVALID_ARGUMENT, "url", "the host is malformed");
    if (r->target.len == 0 || r->target.ptr[0] != '/')
        return gw_fail_field(err, GW_ERR_INVALID_ARGUMENT, "target",
                             "the target must start with /");
    for (size_t i = 0; i < r->target.len; i++)
        if (r->target.ptr[i] <= ' ' || r->target.ptr[i] == 0x7f) /* negative: outside ASCII */
            return gw_fail_field(err, GW_ERR_INVALID_ARGUMENT, "target",
                                 "the target holds a character that must be percent-encoded");
    return GW_OK;
}

gw_status gw_http_call_check(const gw_http_request *r, gw_error *err)
{
    if (!r->method || !gw_header_name_is_valid(gw_str_of(r->method)) ||
        strcmp(r->method, "CONNECT") == 0)
        return gw_fail_field(err, GW_ERR_INVALID_ARGUMENT, "method", "the method is not usable");
    gw_status rc = check_url(r, err);
    if (rc != GW_OK)
        return rc;
    for (size_t i = 0; i < r->header_count; i++) {
        const gw_header *h = &r->headers[i];
        assert(!r->names_are_constants || (gw_header_name_is_valid(h->name) && !is_ours(h->name)));
        if (!r->names_are_constants && !gw_header_name_is_valid(h->name))
            return gw_fail_field(err, GW_ERR_INVALID_ARGUMENT, "headers",
                                 "header name %zu is malformed", i);
        if (!r->names_are_constants && is_ours(h->name))
            return gw_fail_field(err, GW_ERR_INVALID_ARGUMENT, "headers",
                                 "header " GW_STR_FMT " is set by the client itself",
                                 GW_STR_ARG(h->name));
        if (!gw_header_value_is_valid(h->value)) /* the value may be a secret: not shown */
            return gw_fail_field(err, GW_ERR_INVALID_ARGUMENT, "headers",
                                 "the value of header " GW_STR_FMT " holds CR, LF or NUL",
                                 GW_STR_ARG(h->name));
    }
    return GW_OK;
}

/* ---- memory ---- */

static void on_timer(void *arg);

/* Of the life before it has memory alone. */
static void begin(gw_http_call *call, gw_http_client *c)
{
    *call = (gw_http_call){
        .client = c, .head = call->head, .bufs = call->bufs, .buf_cap = call->buf_cap};
    gw_timer_init(&call->timer, on_timer, call);
    gw_list_init(&call->work_node);
    gw_list_push_back(&c->calls, &call->node);
}

gw_http_call *gw_http_call_take(gw_http_client *c)
{
    gw_list *node = gw_list_pop_front(&c->free_calls);
    gw_http_call *call =
        node ? GW_CONTAINER_OF(node, gw_http_call, node) : calloc(1, sizeof(*call));
    if (!call)
        return NULL;
    if (node)
        c->free_call_count--;
    begin(call, c);
    return call;
}

/* It has a credential, as a rule, and the memory is used again. */
static void wipe_head(gw_http_call *call)
{
    if (call->head.data)
        explicit_bzero(call->head.data, call->head.len);
    gw_buf_clear(&call->head);
}

void gw_http_call_free(gw_http_call *call)
{
    wipe_head(call);
    gw_buf_fini(&call->head);
    free(call->bufs);
    free(call->err);
    free(call);
}

void gw_http_call_return(gw_http_call *call)
{
    gw_http_client *c = call->client;
    gw_timer_cancel(c->loop, &call->timer);
    gw_list_remove(&call->work_node);
    gw_list_remove(&call->node);
    if (c->free_call_count == FREE_CALLS_MAX || call->head.cap > KEPT_HEAD_BYTES) {
        gw_http_call_free(call);
        return;
    }
    wipe_head(call);
    gw_list_push_front(&c->free_calls, &call->node);
    c->free_call_count++;
}

/* ---- the request's bytes ---- */

bool gw_http_method_has_body(const char *method)
{
    return strcmp(method, "POST") == 0 || strcmp(method, "PUT") == 0 ||
           strcmp(method, "PATCH") == 0;
}

static size_t head_bytes(const gw_http_origin *o, const gw_http_request *r)
{
    size_t bytes = strlen(r->method) + r->target.len + strlen(o->authority) + HEAD_BYTES_BESIDE;
    for (size_t i = 0; i < r->header_count; i++)
        bytes += r->headers[i].name.len + r->headers[i].value.len + sizeof(": \r\n") - 1;
    return bytes;
}

static void append_head(gw_buf *b, const gw_http_origin *o, const gw_http_request *r,
                        size_t body_bytes)
{
    gw_buf_append_c(b, r->method);
    gw_buf_append_char(b, ' ');
    gw_buf_append_str(b, r->target);
    gw_buf_append_c(b, " HTTP/1.1\r\nHost: ");
    gw_buf_append_c(b, o->authority);
    gw_buf_append(b, "\r\n", 2);
    for (size_t i = 0; i < r->header_count; i++) {
        gw_buf_append_str(b, r->headers[i].name);
        gw_buf_append(b, ": ", 2);
        gw_buf_append_str(b, r->headers[i].value);
        gw_buf_append(b, "\r\n", 2);
    }
    if (body_bytes > 0 || gw_http_method_has_body(r->method)) {
        gw_buf_append_c(b, "Content-Length: ");
        gw_buf_append_int(b, (int64_t)body_bytes);
        gw_buf_append(b, "\r\n", 2);
    }
    gw_buf_append(b, "\r\n", 2);
}

gw_status gw_http_call_format(gw_http_call *call, const gw_http_origin *o, const gw_http_request *r,
                              gw_error *err)
{
    size_t needed = r->body_parts + 1;
    if (needed > call->buf_cap) {
        uv_buf_t *bufs = realloc(call->bufs, needed * sizeof(*bufs));
        if (!bufs)
            return gw_fail(err, GW_ERR_NO_MEMORY, "out of memory for a request");
        call->bufs = bufs;
        call->buf_cap = needed;
    }
    size_t body_bytes = 0;
    call->buf_count = 1;
    for (size_t i = 0; i < r->body_parts; i++) {
        if (r->body[i].len == 0)
            continue;
        /* uv_buf_t has no const; nothing writes through it */
        char *bytes = (char *)(uintptr_t)r->body[i].ptr;
        call->bufs[call->buf_count++] = (uv_buf_t){.base = bytes, .len = r->body[i].len};
        body_bytes += r->body[i].len;
    }
    wipe_head(call);
    (void)gw_buf_reserve(&call->head, head_bytes(o, r)); /* as it grows it leaves copies behind */
    append_head(&call->head, o, r, body_bytes);
    if (gw_buf_failed(&call->head)) {
        gw_buf_fini(&call->head);
        return gw_fail(err, GW_ERR_NO_MEMORY, "out of memory for a request");
    }
    call->bufs[0] = (uv_buf_t){.base = call->head.data, .len = call->head.len};
    call->request_bytes = call->head.len + body_bytes;
    call->is_head_method = strcmp(r->method, "HEAD") == 0;
    return GW_OK;
}

/* ---- deadlines: one lazy timer a call, moved only when a deadline comes nearer ---- */

static int64_t stage_limit_ms(const gw_http_call *call)
{
    if (call->stage == GW_HTTP_CONNECTING)
        return call->timeouts.connect_ms;
    if (call->paused) /* the silence is ours */
        return 0;
    return call->stage == GW_HTTP_AWAITING ? call->timeouts.first_byte_ms : call->timeouts.idle_ms;
}

static int64_t due_ms(const gw_http_call *call)
{
    int64_t limit = stage_limit_ms(call);
    int64_t stage_due = limit > 0 ? call->stage_since_ms + limit : INT64_MAX;
    return GW_MIN(stage_due, call->total_due_ms);
}

static void arm(gw_http_call *call)
{
    gw_loop *l = call->client->loop;
    int64_t due = due_ms(call);
    if (due == INT64_MAX || call->has_ended)
        return;
    if (!gw_timer_is_armed(&call->timer) || call->timer.due_ms > due)
        gw_timer_set(l, &call->timer, GW_MAX(due - gw_loop_now_ms(l), 0));
}

void gw_http_call_enter(gw_http_call *call, gw_http_stage stage)
{
    call->stage = stage;
    gw_http_call_touch(call);
    arm(call);
}

void gw_http_call_touch(gw_http_call *call)
{
    call->stage_since_ms = gw_loop_now_ms(call->client->loop);
}

/* A slow upload that moves is no silence of the upstream. */
static bool upload_moved(gw_http_call *call)
{
    if (call->stage != GW_HTTP_AWAITING || call->request_is_sent || !call->carrier)
        return false;
    size_t unsent = call->carrier->ops->unsent(call->carrier);
    bool moved = unsent != call->unsent_seen;
    call->unsent_seen = unsent;
    return moved;
}

static void fail(gw_http_call *call, const char *format, ...) GW_PRINTF(2, 3);
static void fail(gw_http_call *call, const char *format, ...)
{
    gw_error err = {0};
    va_list args;
    va_start(args, format);
    gw_vfail(&err, GW_ERR_UPSTREAM_TIMEOUT, format, args);
    va_end(args);
    call->carrier->ops->end(call->carrier, &err);
}

static void fail_stage(gw_http_call *call)
{
    long long limit = stage_limit_ms(call);
    if (call->stage == GW_HTTP_CONNECTING)
        fail(call, "no connection within %lld ms", limit);
    else if (call->stage == GW_HTTP_ANSWERING)
        fail(call, "no answer byte for %lld ms", limit);
    else if (call->request_is_sent)
        fail(call, "no answer within %lld ms", limit);
    else
        fail(call, "it took no request byte for %lld ms", limit);
}

static void on_timer(void *arg)
{
    gw_http_call *call = arg;
    int64_t now = gw_loop_now_ms(call->client->loop);
    if (now >= call->total_due_ms) {
        fail(call, "the whole exchange took more than %lld ms", (long long)call->timeouts.total_ms);
        return;
    }
    if (now >= due_ms(call)) {
        if (!upload_moved(call)) {
            fail_stage(call);
            return;
        }
        gw_http_call_touch(call);
    }
    arm(call);
}

/* ---- the end ---- */

void gw_http_call_end(gw_http_call *call, gw_status rc, const gw_error *err)
{
    gw_http_client *c = call->client;
    call->has_ended = true;
    call->carrier = NULL;
    gw_timer_cancel(c->loop, &call->timer);
    call->ops.on_done(call, rc, rc == GW_OK ? NULL : err, call->arg);
    gw_http_call_return(call);
    gw_http_client_check_closed(c);
}

void gw_http_call_end_later(gw_http_call *call, gw_status rc, const gw_error *err)
{
    call->has_ended = true;
    call->carrier = NULL;
    call->rc = rc;
    call->err = malloc(sizeof(*call->err)); /* rare, and large beside what an open call holds */
    if (call->err)
        *call->err = *err;
    gw_timer_cancel(call->client->loop, &call->timer);
    gw_http_client_schedule(call->client, call);
}

void gw_http_cancel(gw_http_call *call)
{
    if (call->has_ended)
        return;
    gw_http_carrier *carrier = call->carrier;
    gw_error err;
    gw_status rc = gw_fail(&err, GW_ERR_CANCELLED, "the call was cancelled");
    gw_http_call_end_later(call, rc, &err);
    if (carrier)
        carrier->ops->drop(carrier);
}

static void tell_end(gw_http_call *call)
{
    gw_auto_free gw_error *kept = gw_steal(&call->err);
    gw_error err;
    if (!kept)
        (void)gw_fail(&err, call->rc, "no memory is left to say why");
    gw_http_call_end(call, call->rc, kept ? kept : &err);
}

void gw_http_call_work(gw_http_call *call)
{
    if (call->has_ended)
        tell_end(call);
    else if (call->is_put_off)
        gw_http_conn_send(GW_CONTAINER_OF(call->carrier, gw_http_conn, carrier));
    else if (!call->paused && call->carrier)
        call->carrier->ops->resume(call->carrier);
}

void gw_http_pause(gw_http_call *call)
{
    if (call->has_ended || call->paused)
        return;
    call->paused = true;
    if (call->carrier)
        call->carrier->ops->pause(call->carrier);
}

void gw_http_resume(gw_http_call *call)
{
    if (call->has_ended || !call->paused)
        return;
    call->paused = false;
    gw_http_call_touch(call);
    arm(call);
    gw_http_client_schedule(call->client, call);
}

bool gw_http_release_request(gw_http_call *call)
{
    bool is_final = call->stage == GW_HTTP_ANSWERING; /* nothing is sent again */
    if (!is_final || !call->request_is_sent || call->has_ended)
        return false;
    wipe_head(call);
    gw_buf_fini(&call->head);
    call->buf_count = 0;
    return true;
}

bool gw_http_call_was_sent(const gw_http_call *call)
{
    return call->was_sent;
}
