#include "http/client_internal.h"

#include <string.h>

/* What llhttp_cb returns besides 0. */
enum { STOP = HPE_USER, SKIP_BODY = 1 };

static int refuse(gw_http_conn *conn, const char *why)
{
    conn->problem_rc = GW_ERR_UPSTREAM_PROTOCOL;
    conn->problem = why;
    return STOP;
}

static int go_on(const gw_http_conn *conn)
{
    if (!conn->call) /* cancelled inside the callback */
        return STOP;
    return conn->call->paused ? HPE_PAUSED : 0;
}

void gw_http_answer_drop_head(gw_http_conn *conn)
{
    if (!conn->head)
        return;
    gw_http_client_return_head(conn->client, conn->head);
    conn->head = NULL;
}

void gw_http_answer_begin(gw_http_conn *conn)
{
    llhttp_init(&conn->parser, HTTP_RESPONSE, &conn->client->parser_settings);
    conn->parser.data = conn;
    conn->has_answered = false;
    conn->answer_is_whole = false;
    conn->problem = NULL;
    gw_http_answer_drop_head(conn);
}

/* Bytes of a head (or of trailers, which count but are not kept). */
static int store(gw_http_conn *conn, const char *at, size_t len, size_t overhead, const char **ret)
{
    if (!conn->head && !(conn->head = gw_http_client_take_head(conn->client))) {
        conn->problem_rc = GW_ERR_NO_MEMORY;
        conn->problem = "out of memory for the answer's head";
        return STOP;
    }
    gw_http_head *h = conn->head;
    if (len + overhead > conn->client->options.head_max_bytes - h->used)
        return refuse(conn, "its answer's head is too large");
    memcpy(h->bytes + h->used, at, len);
    *ret = h->bytes + h->used;
    h->used += len + overhead;
    return 0;
}

static int on_status(llhttp_t *p, const char *at, size_t len)
{
    const char *stored;
    return store(p->data, at, len, 0, &stored);
}

static int on_field(llhttp_t *p, const char *at, size_t len)
{
    gw_http_conn *conn = p->data;
    const char *stored;
    int rc = store(conn, at, len, 0, &stored);
    if (rc != 0)
        return rc;
    gw_header *line = &conn->head->items[conn->head->count];
    if (!line->name.ptr) {
        if (conn->head->count == GW_HTTP_ANSWER_HEADERS_MAX - 1)
            return refuse(conn, "its answer has too many header lines");
        line->name = gw_str_n(stored, 0);
        line->value = GW_STR_NULL;
    }
    line->name.len += len;
    return 0;
}

static int on_value(llhttp_t *p, const char *at, size_t len)
{
    gw_http_conn *conn = p->data;
    const char *stored;
    int rc = store(conn, at, len, 0, &stored);
    if (rc != 0)
        return rc;
    gw_header *line = &conn->head->items[conn->head->count];
    if (!line->value.ptr)
        line->value = gw_str_n(stored, 0);
    line->value.len += len;
    return 0;
}

static int on_line_end(llhttp_t *p)
{
    gw_http_conn *conn = p->data;
    const char *stored;
    int rc = store(conn, "", 0, 4, &stored); /* ": " and CRLF */
    if (rc != 0)
        return rc;
    gw_http_head *h = conn->head;
    if (!h->items[h->count].value.ptr)
        h->items[h->count].value = GW_STR("");
    h->items[h->count].value = gw_str_trim(h->items[h->count].value);
    h->names |= gw_header_name_bit(h->items[h->count].name);
    h->count++;
    h->items[h->count] = (gw_header){0};
    return 0;
}

const char *gw_http_answer_framing_problem(unsigned major, unsigned minor, gw_headers headers)
{
    if (major != 1)
        return "its answer is not HTTP/1.x";
    size_t codings = gw_headers_count_of(headers, "transfer-encoding");
    if (codings == 0)
        return gw_headers_count_of(headers, "content-length") > 1
                   ? "its answer has several Content-Length"
                   : NULL;
    if (gw_headers_get(headers, "content-length").ptr)
        return "its answer has Content-Length and Transfer-Encoding";
    if (codings > 1 || minor == 0 ||
        !gw_str_eq_nocase(gw_headers_get(headers, "transfer-encoding"), GW_STR("chunked")))
        return "its answer has a Transfer-Encoding other than chunked";
    return NULL;
}

static int on_headers_end(llhttp_t *p)
{
    gw_http_conn *conn = p->data;
    gw_http_call *call = conn->call;
    gw_headers headers = {0};
    if (conn->head)
        headers = (gw_headers){
            .items = conn->head->items, .count = conn->head->count, .names = conn->head->names};
    const char *problem = gw_http_answer_framing_problem(p->http_major, p->http_minor, headers);
    if (problem)
        return refuse(conn, problem);
    if (p->status_code == 101)
        return refuse(conn, "it switched protocols unasked");
    if (p->status_code < 200) { /* RFC 9110 §15.2: any number of them may come first */
        if (p->status_code < 100)
            return refuse(conn, "its status code is out of range");
        gw_http_answer_drop_head(conn);
        return SKIP_BODY; /* RFC 9112 §6.3: it ends with its head, whatever a Content-Length says */
    }
    gw_http_call_enter(call, GW_HTTP_ANSWERING);
    bool skip_body = call->is_head_method;
    if (call->ops.on_head)
        call->ops.on_head(call, p->status_code, headers, call->arg);
    gw_http_answer_drop_head(conn);
    if (skip_body)
        return conn->call ? SKIP_BODY : STOP;
    return go_on(conn);
}

static int on_body(llhttp_t *p, const char *at, size_t len)
{
    gw_http_conn *conn = p->data;
    gw_http_call *call = conn->call;
    if (call->ops.on_body && len > 0) /* resuming without bytes ends an open span of none */
        call->ops.on_body(call, gw_str_n(at, len), call->arg);
    return go_on(conn);
}

static int on_message_end(llhttp_t *p)
{
    gw_http_conn *conn = p->data;
    if (p->status_code < 200)
        return 0;
    conn->keep_alive = llhttp_should_keep_alive(p) == 1;
    conn->answer_is_whole = true;
    return HPE_PAUSED; /* so that bytes after the answer are seen and not parsed */
}

void gw_http_answer_settings(llhttp_settings_t *s)
{
    llhttp_settings_init(s);
    s->on_status = on_status;
    s->on_header_field = on_field;
    s->on_header_value = on_value;
    s->on_header_value_complete = on_line_end;
    s->on_headers_complete = on_headers_end;
    s->on_body = on_body;
    s->on_message_complete = on_message_end;
}
