#include "http/server_internal.h"

/*
 * llhttp without lenient flags refuses several Content-Lengths, Content-Length beside Transfer-Encoding, obs-fold, bare CR
 * and LF, space before a colon, bad chunk sizes and control characters. What it lets through is refused here.
 */

static gw_exchange *exchange_of(const llhttp_t *p)
{
    const connection *c = p->data;
    return c->x;
}

static int refuse(connection *c, gw_status why)
{
    c->failure = why;
    return HPE_USER;
}

static void extend(const connection *c, span *s, const char *at, size_t len)
{
    if (s->len == 0)
        s->at = (uint32_t)(c->x->raw_len + (size_t)(at - c->in.ptr));
    s->len += (uint32_t)len;
}

static int on_url(llhttp_t *p, const char *at, size_t len)
{
    connection *c = p->data;
    extend(c, &c->x->target_span, at, len);
    return 0;
}

/* Trailers and what chunks bring beside their sizes: nobody asked for it, and it may not be endless. */
static bool count_trailer(connection *c, size_t len)
{
    c->x->trailer_bytes += len;
    return c->x->trailer_bytes <= c->server->options.head_max_bytes;
}

static bool add_span(gw_exchange *x)
{
    if (x->span_count < x->span_cap)
        return true;
    size_t cap = x->span_cap ? x->span_cap * 2 : 16;
    header_span *spans = gw_arena_array(x->arena, header_span, cap);
    if (!spans)
        return false;
    if (x->span_count > 0)
        memcpy(spans, x->spans, x->span_count * sizeof(*spans));
    x->spans = spans;
    x->span_cap = cap;
    return true;
}

static int on_header_field(llhttp_t *p, const char *at, size_t len)
{
    connection *c = p->data;
    gw_exchange *x = c->x;
    if (c->state != STATE_HEAD) /* a trailer */
        return count_trailer(c, len) ? 0 : refuse(c, GW_ERR_HEAD_TOO_LARGE);
    if (x->span_count >= c->server->options.headers_max)
        return refuse(c, GW_ERR_HEAD_TOO_LARGE);
    if (!add_span(x))
        return refuse(c, GW_ERR_NO_MEMORY);
    extend(c, &x->spans[x->span_count].name, at, len);
    return 0;
}

static int on_header_value(llhttp_t *p, const char *at, size_t len)
{
    connection *c = p->data;
    if (c->state != STATE_HEAD)
        return count_trailer(c, len) ? 0 : refuse(c, GW_ERR_HEAD_TOO_LARGE);
    extend(c, &c->x->spans[c->x->span_count].value, at, len);
    return 0;
}

static int on_header_value_complete(llhttp_t *p)
{
    const connection *c = p->data;
    if (c->state == STATE_HEAD)
        c->x->span_count++;
    return 0;
}

static int on_headers_complete(llhttp_t *p)
{
    p->upgrade =
        0; /* no protocol is switched to: an Upgrade is ignored (RFC 9110 §7.8), CONNECT is refused */
    return HPE_PAUSED;
}

static int on_body(llhttp_t *p, const char *at, size_t len)
{
    connection *c = p->data;
    gw_http_server *s = c->server;
    gw_exchange *x = c->x;
    if (len > x->body_max - x->body.len)
        return refuse(c, GW_ERR_BODY_TOO_LARGE);
    size_t held = x->body.len + len;
    if (held > x->body_charged) { /* chunked: paid for as it comes */
        size_t more = held - x->body_charged;
        if (more > server_body_room(s))
            return refuse(c, GW_ERR_OVERLOADED);
        s->body_bytes += more;
        x->body_charged = held;
    }
    gw_buf_append(&x->body, at, len);
    return gw_buf_failed(&x->body) ? refuse(c, GW_ERR_NO_MEMORY) : 0;
}

static int on_chunk_extension(llhttp_t *p, const char *at, size_t len)
{
    (void)at;
    return count_trailer(p->data, len) ? 0 : refuse(p->data, GW_ERR_HEAD_TOO_LARGE);
}

static int on_message_complete(llhttp_t *p)
{
    exchange_of(p)->message_is_read = true;
    return HPE_PAUSED;
}

const llhttp_settings_t request_parser_settings = {
    .on_url = on_url,
    .on_header_field = on_header_field,
    .on_header_value = on_header_value,
    .on_header_value_complete = on_header_value_complete,
    .on_headers_complete = on_headers_complete,
    .on_body = on_body,
    .on_chunk_extension_name = on_chunk_extension,
    .on_chunk_extension_value = on_chunk_extension,
    .on_message_complete = on_message_complete,
};

/* ---- the checks of a whole head ---- */

static gw_str view(gw_str raw, span s)
{
    return gw_str_n(raw.ptr + s.at, s.len);
}

/* uri-host [ ":" port ] of RFC 9110 §7.2, loosely: nothing in it that could end an authority or make two of it. */
static bool host_is_valid(gw_str host)
{
    for (size_t i = 0; i < host.len; i++) {
        unsigned char c = (unsigned char)host.ptr[i];
        if (c <= 0x20 || c >= 0x7f || strchr("/\\@?#,\"<>{}|^`", c))
            return false;
    }
    return true;
}

static gw_status accept_absolute_form(gw_exchange *x, size_t scheme_len, gw_str host, gw_error *err)
{
    gw_str rest = gw_str_slice(x->target, scheme_len, x->target.len);
    size_t authority_len = 0;
    while (authority_len < rest.len && rest.ptr[authority_len] != '/' &&
           rest.ptr[authority_len] != '?')
        authority_len++;
    gw_str authority = gw_str_slice(rest, 0, authority_len);
    if (authority.len == 0 || !host_is_valid(authority))
        return gw_fail(err, GW_ERR_MALFORMED_HTTP,
                       "malformed request: bad authority in the request target");
    if (host.ptr && !gw_str_eq_nocase(authority, host))
        return gw_fail(err, GW_ERR_MALFORMED_HTTP,
                       "malformed request: the target names another host than Host does");
    x->path = gw_str_slice(rest, authority_len, rest.len);
    return GW_OK;
}

static gw_status accept_target(gw_exchange *x, gw_str host, gw_error *err)
{
    if (gw_str_eq(x->method, GW_STR("CONNECT")))
        return gw_fail(err, GW_ERR_METHOD_NOT_ALLOWED, "CONNECT is not served here");
    if (gw_str_find(x->target, '#') >= 0)
        return gw_fail(err, GW_ERR_MALFORMED_HTTP,
                       "malformed request: a fragment in the request target");
    static const gw_str schemes[] = {{"http://", 7}, {"https://", 8}};
    gw_status rc = GW_OK;
    x->path = x->target;
    if (gw_str_eq(x->target, GW_STR("*"))) {
        if (!gw_str_eq(x->method, GW_STR("OPTIONS")))
            return gw_fail(err, GW_ERR_MALFORMED_HTTP,
                           "malformed request: target * is for OPTIONS only");
    } else if (x->target.len == 0 || x->target.ptr[0] != '/') {
        size_t scheme_len = 0;
        for (size_t i = 0; i < GW_ARRAY_LEN(schemes); i++)
            if (gw_str_eq_nocase(gw_str_slice(x->target, 0, schemes[i].len), schemes[i]))
                scheme_len = schemes[i].len;
        if (scheme_len == 0)
            return gw_fail(err, GW_ERR_MALFORMED_HTTP, "malformed request: bad request target");
        rc = accept_absolute_form(x, scheme_len, host, err);
    }
    ptrdiff_t question = gw_str_find(x->path, '?');
    if (question >= 0) {
        x->query = gw_str_slice(x->path, (size_t)question + 1, x->path.len);
        x->path = gw_str_slice(x->path, 0, (size_t)question);
    }
    if (x->path.len == 0)
        x->path = GW_STR("/");
    return rc;
}

typedef struct special_headers { /* those that decide how the message is read */
    gw_str host, coding, expect;
    unsigned hosts, codings, lengths, expects;
} special_headers;

static void notice(special_headers *s, const gw_header *h)
{
    switch (h->name.len) {
    case sizeof("host") - 1:
        if (gw_str_eq_nocase(h->name, GW_STR("host"))) {
            s->host = h->value;
            s->hosts++;
        }
        break;
    case sizeof("expect") - 1:
        if (gw_str_eq_nocase(h->name, GW_STR("expect"))) {
            s->expect = h->value;
            s->expects++;
        }
        break;
    case sizeof("content-length") - 1:
        if (gw_str_eq_nocase(h->name, GW_STR("content-length")))
            s->lengths++;
        break;
    case sizeof("transfer-encoding") - 1:
        if (gw_str_eq_nocase(h->name, GW_STR("transfer-encoding"))) {
            s->coding = h->value;
            s->codings++;
        }
        break;
    default:
        break;
    }
}

static gw_status build_headers(gw_exchange *x, gw_str raw, special_headers *special, gw_error *err)
{
    gw_header *items = gw_arena_array(x->arena, gw_header, x->span_count);
    if (!items && x->span_count > 0)
        return gw_fail(err, GW_ERR_NO_MEMORY, "no memory for a request's headers");
    uint64_t names = 0;
    for (size_t i = 0; i < x->span_count; i++) {
        items[i] =
            (gw_header){view(raw, x->spans[i].name), gw_str_trim(view(raw, x->spans[i].value))};
        names |= gw_header_name_bit(items[i].name);
        notice(special, &items[i]);
    }
    x->headers = (gw_headers){.items = items, .count = x->span_count, .names = names};
    return GW_OK;
}

static gw_status accept_framing(gw_exchange *x, const llhttp_t *p, const special_headers *h,
                                gw_error *err)
{
    if (h->lengths > 1 || (h->lengths > 0 && h->codings > 0))
        return gw_fail(err, GW_ERR_MALFORMED_HTTP, "malformed request: more than one length");
    if (h->codings > 0 &&
        (h->codings > 1 || x->is_http_1_0 || !gw_str_eq_nocase(h->coding, GW_STR("chunked"))))
        return gw_fail(err, GW_ERR_MALFORMED_HTTP,
                       "malformed request: the only transfer coding is chunked");
    x->expects_body = h->codings > 0 || ((p->flags & F_CONTENT_LENGTH) && p->content_length > 0);
    if (h->expects > 0 && !x->is_http_1_0) {
        if (h->expects > 1 || !gw_str_eq_nocase(h->expect, GW_STR("100-continue")))
            return gw_fail(err, GW_ERR_EXPECTATION_FAILED, "the only expectation is 100-continue");
        x->expects_continue = x->expects_body;
    }
    return GW_OK;
}

/* method SP target SP "HTTP/1.": llhttp takes more than one space, and the names of other protocols. */
static bool request_line_is_plain(const gw_exchange *x, gw_str raw)
{
    size_t target_end = (size_t)x->target_span.at + x->target_span.len;
    return x->target_span.at == x->method.len + 1 &&
           gw_str_starts_with(gw_str_slice(raw, target_end, raw.len), GW_STR(" HTTP/1."));
}

gw_status request_accept(gw_exchange *x, gw_str raw, gw_error *err)
{
    const llhttp_t *p = &x->connection->parser;
    if (p->http_major != 1 || p->http_minor > 1)
        return gw_fail(err, GW_ERR_MALFORMED_HTTP,
                       "malformed request: only HTTP/1.0 and HTTP/1.1 are spoken here");
    x->is_http_1_0 = p->http_minor == 0;
    x->wants_keep = !(p->flags & F_CONNECTION_CLOSE) &&
                    (!x->is_http_1_0 || (p->flags & F_CONNECTION_KEEP_ALIVE));
    x->method = gw_str_of(llhttp_method_name((llhttp_method_t)p->method));
    x->target = view(raw, x->target_span);
    if (!request_line_is_plain(x, raw))
        return gw_fail(err, GW_ERR_MALFORMED_HTTP, "malformed request: bad request line");

    special_headers special = {0};
    gw_status rc = build_headers(x, raw, &special, err);
    if (rc != GW_OK)
        return rc;
    if (special.hosts > 1 || (special.hosts == 0 && !x->is_http_1_0) ||
        !host_is_valid(special.host))
        return gw_fail(err, GW_ERR_MALFORMED_HTTP, "malformed request: exactly one Host is needed");
    rc = accept_framing(x, p, &special, err);
    if (rc != GW_OK)
        return rc;
    return accept_target(x, special.hosts > 0 ? special.host : GW_STR_NULL, err);
}
