#include "http/client_transfer.h"

#include <string.h>

/* ---- the head ---- */

void gw_http_transfer_drop_head(gw_http_transfer *t)
{
    if (t->head)
        gw_http_client_return_head(t->client, t->head);
    t->head = NULL;
}

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
    gw_http_transfer_drop_head(t); /* of a 1xx answer */
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
    gw_headers headers = {.items = t->head->items, .count = t->head->count};
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
    gw_http_transfer_drop_head(t);
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

bool gw_http_transfer_listen(gw_http_transfer *t)
{
    CURL *e = t->job.easy;
    return curl_easy_setopt(e, CURLOPT_HEADERFUNCTION, on_header) == CURLE_OK &&
           curl_easy_setopt(e, CURLOPT_HEADERDATA, t) == CURLE_OK &&
           curl_easy_setopt(e, CURLOPT_WRITEFUNCTION, on_body) == CURLE_OK &&
           curl_easy_setopt(e, CURLOPT_WRITEDATA, t) == CURLE_OK &&
           curl_easy_setopt(e, CURLOPT_ERRORBUFFER, t->curl_says) == CURLE_OK;
}

/* ---- the end ---- */

gw_status gw_http_transfer_judge(gw_http_transfer *t, gw_error *err)
{
    if (t->problem)
        return gw_fail(err, t->problem_rc, "%s", t->problem);
    CURLcode code = t->code;
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
