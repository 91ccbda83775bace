#include "http/server_internal.h"

#include <assert.h>

enum { PARTS_MAX = 24 }; /* of one writev, without framing */
enum { SIZE_LINE_MAX = 18 }; /* 16 digits and the line's end */
enum { ERROR_HEADERS_MAX = 12 }; /* of an answer of the server's own */

/* ---- the request ---- */

gw_str gw_exchange_method(const gw_exchange *x)
{
    return x->method;
}

gw_str gw_exchange_target(const gw_exchange *x)
{
    return x->target;
}

gw_str gw_exchange_path(const gw_exchange *x)
{
    return x->path;
}

gw_str gw_exchange_query(const gw_exchange *x)
{
    return x->query;
}

gw_headers gw_exchange_headers(const gw_exchange *x)
{
    return x->headers;
}

gw_str gw_exchange_body(const gw_exchange *x)
{
    return x->message_is_read ? gw_buf_str(&x->body) : GW_STR_NULL;
}

gw_buf gw_exchange_take_body(gw_exchange *x)
{
    assert(x->message_is_read);
    gw_buf body = x->body;
    x->body = (gw_buf){0};
    x->connection->server->body_bytes -= x->body_charged;
    x->body_charged = 0;
    return body;
}

const gw_ip *gw_exchange_peer(const gw_exchange *x)
{
    return &x->connection->peer;
}

const gw_tls *gw_exchange_tls(const gw_exchange *x)
{
    return x->connection->tls;
}

gw_arena *gw_exchange_arena(gw_exchange *x)
{
    return x->arena;
}

int64_t gw_exchange_arrival_ns(const gw_exchange *x)
{
    return x->arrival_ns;
}

void gw_exchange_set_data(gw_exchange *x, void *data)
{
    x->data = data;
}

void *gw_exchange_data(const gw_exchange *x)
{
    return x->data;
}

bool gw_exchange_expects_body(const gw_exchange *x)
{
    return x->expects_body;
}

void gw_exchange_read_body(gw_exchange *x, size_t max_bytes)
{
    assert(!x->body_is_wanted && x->answer == ANSWER_NONE);
    x->body_is_wanted = true;
    x->body_max = max_bytes;
    connection_schedule(x->connection);
}

/* ---- an answer's head ---- */

/* What only the server may say: how long the message is and what becomes of the connection. */
static bool is_servers_own(gw_str name)
{
    static const gw_str own[] = {{"connection", 10}, {"content-length", 14},    {"date", 4},
                                 {"keep-alive", 10}, {"transfer-encoding", 17}, {"trailer", 7},
                                 {"upgrade", 7}};
    for (size_t i = 0; i < GW_ARRAY_LEN(own); i++)
        if (gw_str_eq_nocase(name, own[i]))
            return true;
    return false;
}

static bool may_be_sent(gw_str name)
{
    return gw_header_name_is_valid(name) && !is_servers_own(name);
}

static void append_headers(gw_buf *out, const gw_response_head *head, gw_log *log)
{
    for (size_t i = 0; i < head->header_count; i++) {
        const gw_header *h = &head->headers[i];
        assert(!head->names_are_constants || may_be_sent(h->name));
        if ((!head->names_are_constants && !may_be_sent(h->name)) ||
            !gw_header_value_is_valid(h->value)) {
            gw_log_warn(log, "response_header_dropped", gw_kv("http.response.header", h->name));
            continue;
        }
        gw_buf_append_str(out, h->name);
        gw_buf_append(out, ": ", 2);
        gw_buf_append_str(out, h->value);
        gw_buf_append(out, "\r\n", 2);
    }
}

static bool status_has_body(int status)
{
    return status != 204 && status != 304;
}

/* The status line and headers of an answer, in the server's scratch buffer; its last part are framing and connection. */
static gw_buf *begin_head(gw_http_server *s, const gw_response_head *head)
{
    gw_buf *out = &s->scratch;
    gw_buf_clear(out);
    gw_buf_append(out, "HTTP/1.1 ", 9);
    gw_buf_append_int(out, head->status);
    gw_buf_append_char(out, ' ');
    gw_buf_append_c(out, gw_http_reason(head->status));
    gw_buf_append(out, "\r\n", 2);
    gw_buf_append_c(out, server_date_line(s));
    append_headers(out, head, s->log);
    return out;
}

static void append_length(gw_buf *out, uint64_t length)
{
    gw_buf_append_c(out, "Content-Length: ");
    gw_buf_append_int(out, (int64_t)length);
    gw_buf_append(out, "\r\n", 2);
}

static void end_head(gw_buf *out, const gw_exchange *x)
{
    if (!x || !x->keeps)
        gw_buf_append_c(out, "Connection: close\r\n");
    else if (x->is_http_1_0)
        gw_buf_append_c(out, "Connection: keep-alive\r\n");
    gw_buf_append(out, "\r\n", 2);
}

static void decide_keeping(gw_exchange *x)
{
    x->keeps = x->wants_keep && x->message_is_read && !x->connection->server->is_draining &&
               x->framing != FRAMING_UNTIL_CLOSE && !x->failed_by_server;
}

static uv_buf_t part_of(gw_str s)
{
    /* libuv writes from it only; its type has no const. */
    union {
        const char *in;
        char *out;
    } pointer = {.in = s.ptr};
    return uv_buf_init(pointer.out, (unsigned)s.len);
}

static bool is_head_request(const gw_exchange *x)
{
    return gw_str_eq(x->method, GW_STR("HEAD"));
}

/* ---- a whole answer ---- */

static void send_whole(connection *c, gw_exchange *x, const gw_response_head *head, gw_str body)
{
    gw_buf *out = begin_head(c->server, head);
    if (status_has_body(head->status))
        append_length(out, body.len);
    end_head(out, x);
    if (gw_buf_failed(out)) {
        connection_break(c);
        return;
    }
    uv_buf_t parts[2] = {part_of(gw_buf_str(out)), part_of(body)};
    bool sends_body = body.len > 0 && status_has_body(head->status) && !(x && is_head_request(x));
    connection_write(c, parts, sends_body ? 2 : 1);
}

void gw_exchange_respond(gw_exchange *x, const gw_response_head *head, gw_str body)
{
    assert(x->answer == ANSWER_NONE && head->status >= 200 && head->status <= 599);
    x->answer = ANSWER_ENDED;
    x->framing = FRAMING_LENGTH;
    decide_keeping(x);
    send_whole(x->connection, x, head, body);
    connection_schedule(x->connection);
}

static gw_str error_body(connection *c, gw_exchange *x, const gw_error *err, gw_buf *body,
                         const char **ret_type)
{
    const gw_http_handler_ops *ops = c->server->ops;
    *ret_type = "text/plain; charset=utf-8";
    if (ops->write_error)
        ops->write_error(x, err, body, ret_type, c->server->arg);
    return gw_buf_failed(body) ? GW_STR("") : gw_buf_str(body);
}

static int error_status(connection *c, gw_exchange *x, const gw_error *err)
{
    const gw_http_handler_ops *ops = c->server->ops;

    return ops->error_status ? ops->error_status(x, err, c->server->arg)
                             : gw_status_describe(err->code)->http_status;
}

void gw_exchange_fail(gw_exchange *x, const gw_error *err, const gw_header *extra,
                      size_t extra_count)
{
    if (x->answer != ANSWER_NONE) {
        gw_exchange_abort(x);
        return;
    }
    gw_auto_buf body = {0};
    const char *type = NULL;
    gw_str text = error_body(x->connection, x, err, &body, &type);
    gw_header *headers = gw_arena_array(x->arena, gw_header, extra_count + 1);
    if (!headers) {
        gw_exchange_abort(x);
        return;
    }
    headers[0] = (gw_header){GW_STR("Content-Type"), gw_str_of(type)};
    for (size_t i = 0; i < extra_count; i++)
        headers[i + 1] = extra[i];
    const gw_response_head head = {.status = error_status(x->connection, x, err),
                                   .headers = headers,
                                   .header_count = extra_count + 1};
    gw_exchange_respond(x, &head, text);
}

void connection_answer_error(connection *c, const gw_error *err)
{
    gw_exchange *x = c->x;
    gw_log_debug(c->server->log, "http_request_refused", gw_kv_error(err));
    connection_stop_reading_request(c);
    if (x) {
        x->failed_by_server = true;
        x->answer = ANSWER_ENDED;
        x->framing = FRAMING_LENGTH;
        x->keeps = false;
    }
    gw_auto_buf body = {0};
    const char *type = NULL;
    gw_exchange *given = x && x->was_given ? x : NULL;
    gw_str text = error_body(c, given, err, &body, &type);
    const gw_http_handler_ops *ops = c->server->ops;
    gw_header headers[1 + ERROR_HEADERS_MAX] = {{GW_STR("Content-Type"), gw_str_of(type)}};
    size_t count = 1;
    if (ops->error_headers)
        count += ops->error_headers(given, headers + 1, ERROR_HEADERS_MAX, c->server->arg);
    const gw_response_head head = {
        .status = error_status(c, given, err), .headers = headers, .header_count = count};
    send_whole(c, x, &head, text);
}

/* ---- a streamed answer ---- */

void gw_exchange_start(gw_exchange *x, const gw_response_head *head, int64_t content_length)
{
    assert(x->answer == ANSWER_NONE && head->status >= 200 && head->status <= 599);
    x->answer = ANSWER_STARTED;
    bool has_body = status_has_body(head->status) && !is_head_request(x);
    if (content_length >= 0)
        x->framing = FRAMING_LENGTH;
    else
        x->framing = x->is_http_1_0 ? FRAMING_UNTIL_CLOSE : FRAMING_CHUNKED;
    x->length_left = content_length;
    decide_keeping(x);

    gw_buf *out = begin_head(x->connection->server, head);
    if (status_has_body(head->status)) {
        if (x->framing == FRAMING_LENGTH)
            append_length(out, (uint64_t)content_length);
        else if (x->framing == FRAMING_CHUNKED)
            gw_buf_append_c(out, "Transfer-Encoding: chunked\r\n");
    }
    end_head(out, x);
    if (!has_body)
        x->framing = FRAMING_NO_BODY;
    if (!gw_buf_failed(out))
        x->head_waiting = gw_arena_dup(x->arena, gw_buf_str(out));
    if (!x->head_waiting.ptr)
        connection_break(x->connection);
}

/* Puts the head in front of `parts` unless it is out already. */
static unsigned put_head(gw_exchange *x, uv_buf_t *parts)
{
    if (x->head_waiting.len == 0)
        return 0;
    parts[0] = part_of(x->head_waiting);
    x->head_waiting = GW_STR_NULL;
    return 1;
}

void gw_exchange_flush_head(gw_exchange *x)
{
    assert(x->answer == ANSWER_STARTED);
    uv_buf_t part;
    unsigned count = put_head(x, &part);
    if (count > 0)
        connection_write(x->connection, &part, count);
}

/* A chunk's size line (RFC 9112 §7.1); its length. */
static unsigned write_size_line(size_t size, char out[SIZE_LINE_MAX])
{
    static const char digits[] = "0123456789abcdef";
    unsigned shift = 0;
    unsigned at = 0;
    while (size >> shift > 15)
        shift += 4;
    for (;; shift -= 4) {
        out[at++] = digits[size >> shift & 15];
        if (shift == 0)
            break;
    }
    out[at++] = '\r';
    out[at++] = '\n';
    return at;
}

/* At most PARTS_MAX parts, `total` > 0 bytes: one chunk, one writev. */
static void write_some(gw_exchange *x, const gw_str *parts, size_t count, size_t total)
{
    static char crlf[] = "\r\n";
    uv_buf_t out[PARTS_MAX + 3];
    char size_line[SIZE_LINE_MAX];
    unsigned n = put_head(x, out);
    bool is_chunk = x->framing == FRAMING_CHUNKED;
    if (is_chunk)
        out[n++] = uv_buf_init(size_line, write_size_line(total, size_line));
    for (size_t i = 0; i < count; i++)
        if (parts[i].len > 0)
            out[n++] = part_of(parts[i]);
    if (is_chunk)
        out[n++] = uv_buf_init(crlf, 2);
    connection_write(x->connection, out, n);
}

void gw_exchange_write(gw_exchange *x, const gw_str *parts, size_t count)
{
    assert(x->answer == ANSWER_STARTED);
    if (x->framing == FRAMING_NO_BODY)
        return;
    while (count > 0) {
        size_t some = GW_MIN(count, (size_t)PARTS_MAX);
        size_t total = 0;
        for (size_t i = 0; i < some; i++)
            total += parts[i].len;
        if (x->framing == FRAMING_LENGTH && total > (uint64_t)x->length_left) {
            gw_log_error(x->connection->server->log, "response_longer_than_announced");
            gw_exchange_abort(x);
            return;
        }
        x->length_left -= (int64_t)total;
        if (total > 0) /* an empty chunk would end the answer */
            write_some(x, parts, some, total);
        parts += some;
        count -= some;
    }
}

void gw_exchange_end(gw_exchange *x)
{
    static char last_chunk[] = "0\r\n\r\n";
    if (x->answer != ANSWER_STARTED) /* aborted by a write that broke the announced length */
        return;
    if (x->framing == FRAMING_LENGTH && x->length_left > 0) {
        gw_log_error(x->connection->server->log, "response_shorter_than_announced");
        gw_exchange_abort(x);
        return;
    }
    uv_buf_t out[2];
    unsigned n = put_head(x, out);
    if (x->framing == FRAMING_CHUNKED)
        out[n++] = uv_buf_init(last_chunk, sizeof(last_chunk) - 1);
    x->answer = ANSWER_ENDED;
    if (n > 0)
        connection_write(x->connection, out, n);
    connection_schedule(x->connection);
}

void gw_exchange_abort(gw_exchange *x)
{
    /* Without a framing of its own an answer ends with the connection: only a RST tells that it was cut. */
    x->connection->resets = x->framing == FRAMING_UNTIL_CLOSE;
    connection_break(x->connection);
}

bool gw_exchange_has_started(const gw_exchange *x)
{
    return x->has_sent;
}

bool gw_exchange_is_congested(const gw_exchange *x)
{
    return gw_exchange_queued_bytes(x) > x->connection->server->options.write_high_water;
}

size_t gw_exchange_queued_bytes(const gw_exchange *x)
{
    return connection_queued_bytes(x->connection);
}
