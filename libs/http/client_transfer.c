/*
 * A call that libcurl carries from the request's first byte to the answer's last. Deadlines, pausing and the end stay with
 * the call (client_call.c), and what is asked and answered is held to the same rules as on our own connections.
 *
 * libcurl forbids most of its functions inside its callbacks, and a handler may send, pause and cancel in any of them:
 * a transfer starts and goes from the loop, never from where it was asked.
 */
#include "http/client_internal.h"

#include <openssl/ssl.h>
#include <openssl/x509v3.h>

#include <limits.h>
#include <stdlib.h>
#include <string.h>

struct gw_http_transfer {
    gw_http_carrier carrier;
    gw_curl_job job;
    gw_http_client *client;
    gw_http_origin *origin;
    gw_http_call *call; /* NULL once it has let go */
    struct curl_slist *lines; /* of the request's head */
    size_t part; /* next byte of the body to hand over */
    size_t part_offset;
    size_t body_bytes;
    gw_http_head *head; /* while the answer's comes in */
    unsigned minor_version;
    int status;
    bool head_is_whole;
    bool ends_by_close; /* the answer has no framing of its own */
    bool is_running; /* libcurl has it */
    bool is_paused; /* libcurl holds bytes back for us */
    bool is_finished; /* libcurl is through; a paused call hears of it when it goes on */
    CURLcode code; /* then: how it ended */
    bool is_going; /* to be freed by the loop */
    gw_status problem_rc; /* found by our own checks */
    const char *problem;
    char curl_says[CURL_ERROR_SIZE];
};

/* ---- memory ---- */

static CURL *take_easy(gw_http_client *c)
{
    return c->free_easy_count > 0 ? c->free_easy[--c->free_easy_count] : curl_easy_init();
}

static void return_easy(gw_http_client *c, CURL *easy)
{
    if (c->free_easy_count == GW_HTTP_FREE_EASY_MAX) {
        curl_easy_cleanup(easy);
        return;
    }
    curl_easy_reset(easy);
    c->free_easy[c->free_easy_count++] = easy;
}

static void drop_head(gw_http_transfer *t)
{
    if (t->head)
        gw_http_client_return_head(t->client, t->head);
    t->head = NULL;
}

static void free_transfer(void *arg)
{
    gw_http_transfer *t = arg;
    gw_http_client *c = t->client;
    if (t->is_running)
        gw_curl_job_remove(&t->job);
    return_easy(c, t->job.easy);
    curl_slist_free_all(t->lines);
    drop_head(t);
    gw_http_origin_release(t->origin);
    free(t);
    c->connections--;
    gw_http_client_check_closed(c);
}

/* May be called from inside libcurl. */
static void let_go(gw_http_transfer *t)
{
    t->call = NULL;
    if (t->is_going)
        return;
    t->is_going = true;
    gw_loop_defer(t->client->loop, free_transfer, t);
}

/* ---- the request ---- */

static gw_str body_part(const gw_http_call *call, size_t i)
{
    return gw_str_n(call->bufs[i].base,
                    call->bufs[i].len); /* bufs[0] is our own connections' head */
}

static size_t on_send(char *to, size_t size, size_t n, void *arg)
{
    gw_http_transfer *t = arg;
    size_t room = size * n, copied = 0;
    if (!t->call)
        return CURL_READFUNC_ABORT;
    while (copied < room && t->part < t->call->buf_count) {
        gw_str part = body_part(t->call, t->part);
        size_t take = GW_MIN(part.len - t->part_offset, room - copied);
        memcpy(to + copied, part.ptr + t->part_offset, take);
        copied += take;
        t->part_offset += take;
        if (t->part_offset == part.len) {
            t->part++;
            t->part_offset = 0;
        }
    }
    return copied;
}

/* libcurl tries a request anew when a kept connection turns out dead; it then begins from the start. */
static int on_seek(void *arg, curl_off_t offset, int origin)
{
    gw_http_transfer *t = arg;
    if (offset != 0 || origin != SEEK_SET)
        return CURL_SEEKFUNC_CANTSEEK;
    t->part = 1;
    t->part_offset = 0;
    return CURL_SEEKFUNC_OK;
}

static int on_connected(void *arg, char *peer, char *own, int peer_port, int own_port)
{
    gw_http_transfer *t = arg;
    (void)peer, (void)own, (void)peer_port, (void)own_port;
    if (!t->call)
        return CURL_PREREQFUNC_ABORT;
    t->call->was_sent = true;
    gw_http_call_enter(t->call, GW_HTTP_AWAITING);
    return CURL_PREREQFUNC_OK;
}

static bool append_line(gw_http_transfer *t, const char *line)
{
    struct curl_slist *longer = line ? curl_slist_append(t->lines, line) : NULL;
    if (longer)
        t->lines = longer;
    return longer != NULL;
}

/* What libcurl adds of its own accord is taken out: only what was asked for goes out. */
static bool make_lines(gw_http_transfer *t, const gw_http_request *r)
{
    gw_headers given = {r->headers, r->header_count};
    bool fine = append_line(t, "Expect:");
    if (!gw_headers_get(given, "accept").ptr)
        fine = fine && append_line(t, "Accept:");
    if (!gw_headers_get(given, "content-type").ptr)
        fine = fine && append_line(t, "Content-Type:");
    for (size_t i = 0; i < r->header_count && fine; i++) {
        gw_auto_buf line = {0};
        gw_buf_append_str(&line, r->headers[i].name);
        if (r->headers[i].value.len == 0) {
            gw_buf_append_char(&line, ';'); /* how libcurl wants an empty value to be written */
        } else {
            gw_buf_append(&line, ": ", 2);
            gw_buf_append_str(&line, r->headers[i].value);
        }
        fine = !gw_buf_failed(&line) && append_line(t, line.data);
    }
    return fine;
}

static bool set_url(gw_http_transfer *t, const gw_http_request *r)
{
    gw_auto_buf url = {0}, target = {0};
    gw_buf_appendf(&url, "%s://%s/", t->origin->is_tls ? "https" : "http", t->origin->authority);
    gw_buf_append_str(&target, r->target);
    return !gw_buf_failed(&url) && !gw_buf_failed(&target) &&
           curl_easy_setopt(t->job.easy, CURLOPT_URL, url.data) == CURLE_OK &&
           curl_easy_setopt(t->job.easy, CURLOPT_REQUEST_TARGET, target.data) == CURLE_OK;
}

static bool set_method(gw_http_transfer *t, const gw_http_request *r)
{
    CURL *e = t->job.easy;
    const gw_http_call *call = t->call;
    bool fine = true;
    if (call->is_head_method)
        fine = curl_easy_setopt(e, CURLOPT_NOBODY, 1L) == CURLE_OK;
    else if (t->body_bytes > 0 || gw_http_method_has_body(r->method))
        fine =
            curl_easy_setopt(e, CURLOPT_POST, 1L) == CURLE_OK &&
            curl_easy_setopt(e, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)t->body_bytes) == CURLE_OK;
    if (fine && t->body_bytes > 0 && call->buf_count == 2) /* sent from where it lies */
        fine = curl_easy_setopt(e, CURLOPT_POSTFIELDS, call->bufs[1].base) == CURLE_OK;
    return fine && curl_easy_setopt(e, CURLOPT_CUSTOMREQUEST, r->method) == CURLE_OK;
}

/* ---- the answer's head ---- */

static size_t refuse(gw_http_transfer *t, gw_status rc, const char *why)
{
    t->problem_rc = rc;
    t->problem = why;
    return 0;
}

static bool keep_line(gw_http_transfer *t, gw_str line)
{
    gw_http_head *h = t->head;
    size_t colon = 0;
    while (colon < line.len && line.ptr[colon] != ':')
        colon++;
    if (colon == 0 || colon == line.len || line.ptr[0] == ' ' || line.ptr[0] == '\t' ||
        line.ptr[colon - 1] == ' ' || line.ptr[colon - 1] == '\t') {
        refuse(t, GW_ERR_UPSTREAM_PROTOCOL, "its answer is not HTTP: a malformed header line");
        return false;
    }
    if (h->count == GW_HTTP_ANSWER_HEADERS_MAX - 1) {
        refuse(t, GW_ERR_UPSTREAM_PROTOCOL, "its answer has too many header lines");
        return false;
    }
    if (line.len > t->client->options.head_max_bytes - h->used) {
        refuse(t, GW_ERR_UPSTREAM_PROTOCOL, "its answer's head is too large");
        return false;
    }
    char *kept = h->bytes + h->used;
    memcpy(kept, line.ptr, line.len);
    h->used += line.len;
    h->items[h->count++] = (gw_header){
        gw_str_n(kept, colon), gw_str_trim(gw_str_n(kept + colon + 1, line.len - colon - 1))};
    return true;
}

static bool begin_head(gw_http_transfer *t, gw_str line)
{
    long status = 0;
    curl_easy_getinfo(t->job.easy, CURLINFO_RESPONSE_CODE, &status);
    t->status = (int)status;
    if (!gw_str_starts_with(line, GW_STR("HTTP/1.")) || line.len < 8) {
        refuse(t, GW_ERR_UPSTREAM_PROTOCOL, "its answer is not HTTP/1.x");
        return false;
    }
    t->minor_version = line.ptr[7] == '0' ? 0 : 1;
    drop_head(t); /* of a 1xx answer */
    t->head = gw_http_client_take_head(t->client);
    if (!t->head)
        refuse(t, GW_ERR_NO_MEMORY, "out of memory for the answer's head");
    return t->head != NULL;
}

/* RFC 9110 §8.6: digits alone. libcurl takes the first number it finds, and one that is too large for none. */
static bool length_is_plain(gw_headers headers)
{
    gw_str length = gw_headers_get(headers, "content-length");
    int64_t bytes;
    return !length.ptr || (length.len > 0 && length.ptr[0] >= '0' && length.ptr[0] <= '9' &&
                           gw_str_to_int64(length, &bytes));
}

/* The end of a head: of an interim answer (RFC 9110 §15.2: any number of them may come first), or of the answer. */
static bool end_head(gw_http_transfer *t)
{
    gw_headers headers = {t->head->items, t->head->count};
    const char *problem = gw_http_answer_framing_problem(1, t->minor_version, headers);
    if (!length_is_plain(headers))
        problem = "its answer has a Content-Length that is no number";
    if (t->status == 101)
        problem = "it switched protocols unasked";
    else if (t->status < 100)
        problem = "its status code is out of range";
    if (problem) {
        refuse(t, GW_ERR_UPSTREAM_PROTOCOL, problem);
        return false;
    }
    if (t->status < 200)
        return true;
    t->head_is_whole = true;
    t->ends_by_close = !t->call->is_head_method && t->status != 204 && t->status != 304 &&
                       !gw_headers_get(headers, "content-length").ptr &&
                       !gw_headers_get(headers, "transfer-encoding").ptr;
    gw_http_call_enter(t->call, GW_HTTP_ANSWERING);
    if (t->call->ops.on_head)
        t->call->ops.on_head(t->call, t->status, headers, t->call->arg);
    drop_head(t);
    return t->call != NULL;
}

/* One line a call, its end included; after the body the trailers, which are not kept. */
static size_t on_header(char *at, size_t size, size_t n, void *arg)
{
    gw_http_transfer *t = arg;
    gw_str line = gw_str_n(at, size * n);
    if (!t->call)
        return 0;
    gw_http_call_touch(t->call);
    if (t->head_is_whole)
        return line.len;
    while (line.len > 0 && (line.ptr[line.len - 1] == '\n' || line.ptr[line.len - 1] == '\r'))
        line.len--;
    bool fine;
    if (!t->head || gw_str_starts_with(line, GW_STR("HTTP/")))
        fine = begin_head(t, line);
    else
        fine = line.len > 0 ? keep_line(t, line) : end_head(t);
    return fine ? size * n : 0;
}

static size_t on_body(char *at, size_t size, size_t n, void *arg)
{
    gw_http_transfer *t = arg;
    if (!t->call)
        return CURL_WRITEFUNC_ERROR;
    if (t->call->paused) {
        t->is_paused = true; /* libcurl keeps these bytes */
        return CURL_WRITEFUNC_PAUSE;
    }
    gw_http_call_touch(t->call);
    if (t->call->ops.on_body)
        t->call->ops.on_body(t->call, gw_str_n(at, size * n), t->call->arg);
    return t->call ? size * n : CURL_WRITEFUNC_ERROR;
}

/* ---- the end ---- */

static gw_status judge(gw_http_transfer *t, CURLcode code, gw_error *err)
{
    if (t->problem)
        return gw_fail(err, t->problem_rc, "%s", t->problem);
    switch (code) {
    case CURLE_OK:
        /*
         * Over TLS only a close_notify ends such an answer: anybody can cut the TCP connection (RFC 8446 §6.1). libcurl
         * does not tell the two apart.
         */
        if (t->ends_by_close && t->origin->is_tls)
            return gw_fail(err, GW_ERR_UPSTREAM_CUT,
                           "its answer has no length, so that over TLS its end is not certain");
        if (t->head_is_whole)
            return GW_OK;
        return gw_fail(err, GW_ERR_UPSTREAM_CUT,
                       "it closed the connection in the middle of its answer");
    case CURLE_GOT_NOTHING:
        return gw_fail(err, GW_ERR_UPSTREAM_CUT, "it closed the connection before it answered");
    case CURLE_RECV_ERROR:
    case CURLE_SEND_ERROR:
        if (t->origin->is_tls && strstr(t->curl_says, "SSL")) /* an alert, not the end of TCP */
            return gw_fail(err, GW_ERR_UPSTREAM_FAILED, "TLS failed: %s", t->curl_says);
        if (strstr(t->curl_says, "chunked")) /* libcurl has no code of its own for it */
            return gw_fail(err, GW_ERR_UPSTREAM_PROTOCOL, "its answer is not HTTP: %s",
                           t->curl_says);
        __attribute__((fallthrough));
    case CURLE_PARTIAL_FILE:
        return gw_fail(err, GW_ERR_UPSTREAM_CUT,
                       "it closed the connection in the middle of its answer");
    case CURLE_COULDNT_RESOLVE_HOST:
    case CURLE_COULDNT_CONNECT:
    case CURLE_OPERATION_TIMEDOUT:
        return gw_curl_job_describe(&t->job, code, t->origin->host, t->origin->port, err);
    case CURLE_OUT_OF_MEMORY:
        return gw_fail(err, GW_ERR_NO_MEMORY, "out of memory for the exchange");
    case CURLE_PEER_FAILED_VERIFICATION:
        if (strstr(t->curl_says, "mismatch"))
            return gw_fail(err, GW_ERR_UPSTREAM_FAILED,
                           "TLS handshake failed: the certificate is for another name (%s)",
                           t->curl_says);
        __attribute__((fallthrough));
    case CURLE_SSL_CONNECT_ERROR:
    case CURLE_SSL_CERTPROBLEM:
    case CURLE_SSL_CIPHER:
    case CURLE_SSL_CACERT_BADFILE:
    case CURLE_SSL_ISSUER_ERROR:
        return gw_fail(err, GW_ERR_UPSTREAM_FAILED, "TLS handshake failed: %s",
                       *t->curl_says ? t->curl_says : curl_easy_strerror(code));
    default:
        return gw_fail(err, GW_ERR_UPSTREAM_PROTOCOL, "its answer is not HTTP: %s",
                       *t->curl_says ? t->curl_says : curl_easy_strerror(code));
    }
}

static void conclude(gw_http_transfer *t)
{
    gw_http_call *call = t->call;
    gw_error err = {0};
    gw_status rc = judge(t, t->code, &err);
    if (rc != GW_OK)
        gw_error_prefix(&err, "upstream %s", t->origin->authority);
    let_go(t);
    gw_http_call_end(call, rc, &err);
}

static void on_finished(gw_curl_job *j, CURLcode code)
{
    gw_http_transfer *t = GW_CONTAINER_OF(j, gw_http_transfer, job);
    t->is_finished = true;
    t->code = code;
    if (t->call && !t->call->paused) /* without a call the loop frees the transfer */
        conclude(t);
}

/* ---- what a call may ask of its transfer ---- */

static void end_call(gw_http_carrier *k, gw_error *err)
{
    gw_http_transfer *t = GW_CONTAINER_OF(k, gw_http_transfer, carrier);
    gw_http_call *call = t->call;
    gw_error_prefix(err, "upstream %s", t->origin->authority);
    let_go(t);
    gw_http_call_end_later(call, err->code, err);
}

static void drop(gw_http_carrier *k)
{
    let_go(GW_CONTAINER_OF(k, gw_http_transfer, carrier));
}

static void pause_call(gw_http_carrier *k)
{
    (void)k; /* the next bytes are refused: on_body */
}

static void start(gw_http_transfer *t)
{
    if (gw_curl_job_start(&t->job)) {
        t->is_running = true;
        return;
    }
    gw_error err = {0};
    (void)gw_fail(&err, GW_ERR_NO_MEMORY, "libcurl cannot start the exchange");
    end_call(&t->carrier, &err);
}

static void resume(gw_http_carrier *k)
{
    gw_http_transfer *t = GW_CONTAINER_OF(k, gw_http_transfer, carrier);
    if (t->is_finished) {
        conclude(t);
    } else if (!t->is_running) {
        start(t);
    } else if (t->is_paused) {
        t->is_paused = false;
        curl_easy_pause(t->job.easy, CURLPAUSE_CONT); /* a failure ends the transfer: on_finished */
    }
}

static size_t unsent(gw_http_carrier *k)
{
    gw_http_transfer *t = GW_CONTAINER_OF(k, gw_http_transfer, carrier);
    curl_off_t sent = 0;
    curl_easy_getinfo(t->job.easy, CURLINFO_SIZE_UPLOAD_T, &sent);
    if (sent >= 0 && (size_t)sent >= t->body_bytes) {
        t->call->request_is_sent = true;
        return 0;
    }
    return t->body_bytes - (size_t)sent;
}

static const gw_http_carrier_ops transfer_ops = {
    .end = end_call,
    .drop = drop,
    .pause = pause_call,
    .resume = resume,
    .unsent = unsent,
};

/* ---- its beginning ---- */

static bool set_callbacks(gw_http_transfer *t)
{
    CURL *e = t->job.easy;
    return curl_easy_setopt(e, CURLOPT_READFUNCTION, on_send) == CURLE_OK &&
           curl_easy_setopt(e, CURLOPT_READDATA, t) == CURLE_OK &&
           curl_easy_setopt(e, CURLOPT_SEEKFUNCTION, on_seek) == CURLE_OK &&
           curl_easy_setopt(e, CURLOPT_SEEKDATA, t) == CURLE_OK &&
           curl_easy_setopt(e, CURLOPT_PREREQFUNCTION, on_connected) == CURLE_OK &&
           curl_easy_setopt(e, CURLOPT_PREREQDATA, t) == CURLE_OK &&
           curl_easy_setopt(e, CURLOPT_HEADERFUNCTION, on_header) == CURLE_OK &&
           curl_easy_setopt(e, CURLOPT_HEADERDATA, t) == CURLE_OK &&
           curl_easy_setopt(e, CURLOPT_WRITEFUNCTION, on_body) == CURLE_OK &&
           curl_easy_setopt(e, CURLOPT_WRITEDATA, t) == CURLE_OK &&
           curl_easy_setopt(e, CURLOPT_ERRORBUFFER, t->curl_says) == CURLE_OK;
}

/* Names by SAN only, as on our own connections: libcurl alone would also take the subject's CN (RFC 6125 §6.4.4). */
static CURLcode on_tls_context(CURL *easy, void *context, void *arg)
{
    const gw_http_transfer *t = arg;
    X509_VERIFY_PARAM *param = SSL_CTX_get0_param(context);
    gw_ip ip;
    (void)easy;
    if (gw_ip_parse(gw_str_of(t->origin->host), &ip))
        return X509_VERIFY_PARAM_set1_ip_asc(param, t->origin->host) == 1 ? CURLE_OK
                                                                          : CURLE_OUT_OF_MEMORY;
    X509_VERIFY_PARAM_set_hostflags(param, X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS |
                                               X509_CHECK_FLAG_NEVER_CHECK_SUBJECT);
    return X509_VERIFY_PARAM_set1_host(param, t->origin->host, 0) == 1 ? CURLE_OK
                                                                       : CURLE_OUT_OF_MEMORY;
}

static bool set_pem(CURL *e, CURLoption option, gw_str pem)
{
    struct curl_blob blob = {(char *)(uintptr_t)pem.ptr, pem.len, CURL_BLOB_COPY};
    return pem.len == 0 || curl_easy_setopt(e, option, &blob) == CURLE_OK;
}

static bool set_certificates(CURL *e, const gw_tls_files *files)
{
    if (!files)
        return true;
    const gw_tls_pem *pem = gw_tls_files_pem(files);
    return set_pem(e, CURLOPT_CAINFO_BLOB, pem->ca) &&
           set_pem(e, CURLOPT_SSLCERT_BLOB, pem->cert) && set_pem(e, CURLOPT_SSLKEY_BLOB, pem->key);
}

static bool set_rules(gw_http_transfer *t)
{
    CURL *e = t->job.easy;
    const gw_http_client *c = t->client;
    long idle_s = (long)GW_MAX(c->options.idle_timeout_ms / GW_MS_PER_S, 1);
    return curl_easy_setopt(e, CURLOPT_PROTOCOLS_STR, "http,https") == CURLE_OK &&
           curl_easy_setopt(e, CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_1_1) == CURLE_OK &&
           curl_easy_setopt(e, CURLOPT_SSLVERSION, (long)CURL_SSLVERSION_TLSv1_2) == CURLE_OK &&
           curl_easy_setopt(e, CURLOPT_SSL_CTX_FUNCTION, on_tls_context) == CURLE_OK &&
           curl_easy_setopt(e, CURLOPT_SSL_CTX_DATA, t) == CURLE_OK &&
           set_certificates(e, c->options.tls) &&
           /* Deadlines are the call's; libcurl's own would be 300 s for a connection. */
           curl_easy_setopt(e, CURLOPT_CONNECTTIMEOUT_MS, (long)INT_MAX) == CURLE_OK &&
           curl_easy_setopt(e, CURLOPT_MAXAGE_CONN, idle_s) == CURLE_OK &&
           curl_easy_setopt(e, CURLOPT_HTTPHEADER, t->lines) == CURLE_OK;
}

gw_status gw_http_transfer_open(gw_http_origin *o, gw_http_call *call, const gw_http_request *r,
                                gw_error *err)
{
    gw_http_client *c = o->client;
    gw_http_transfer *t = calloc(1, sizeof(*t));
    CURL *easy = t ? take_easy(c) : NULL;
    if (!easy) {
        free(t);
        return gw_fail(err, GW_ERR_NO_MEMORY, "out of memory for an exchange");
    }
    t->carrier.ops = &transfer_ops;
    t->client = c;
    t->origin = o;
    t->call = call;
    t->part = 1;
    for (size_t i = 1; i < call->buf_count; i++)
        t->body_bytes += call->bufs[i].len;
    c->connections++;
    o->connections++;
    if (!gw_curl_job_prepare(&t->job, c->transfers, easy, on_finished) || !make_lines(t, r) ||
        !set_url(t, r) || !set_method(t, r) || !set_callbacks(t) || !set_rules(t)) {
        let_go(t);
        return gw_fail(err, GW_ERR_NO_MEMORY, "libcurl cannot prepare the exchange");
    }
    call->carrier = &t->carrier;
    gw_http_call_enter(call, GW_HTTP_CONNECTING);
    gw_http_client_schedule(c, call);
    return GW_OK;
}
