#include "http/client_transfer.h"

#include <openssl/ssl.h>
#include <openssl/x509v3.h>

#include <limits.h>
#include <string.h>

/* ---- the bytes ---- */

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

bool gw_http_transfer_took_its_time(const gw_http_transfer *t)
{
    return gw_loop_now_ms(t->client->loop) - t->call->stage_since_ms > GW_HTTP_STALE_MS;
}

/* Before the request goes out, also when libcurl tries it anew: it is AWAITING then. */
static int on_connected(void *arg, char *peer, char *own, int peer_port, int own_port)
{
    gw_http_transfer *t = arg;
    (void)peer, (void)own, (void)peer_port, (void)own_port;
    if (!t->call)
        return CURL_PREREQFUNC_ABORT;
    if (t->call->stage == GW_HTTP_AWAITING && gw_http_transfer_took_its_time(t)) {
        t->problem_rc = GW_ERR_UPSTREAM_CUT;
        t->problem = "it closed the connection before it answered";
        return CURL_PREREQFUNC_ABORT;
    }
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
    gw_headers given = {.items = r->headers, .count = r->header_count};
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

/* ---- the rules ---- */

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

bool gw_http_transfer_ask(gw_http_transfer *t, const gw_http_request *r)
{
    CURL *e = t->job.easy;
    return make_lines(t, r) && set_url(t, r) && set_method(t, r) && set_rules(t) &&
           curl_easy_setopt(e, CURLOPT_READFUNCTION, on_send) == CURLE_OK &&
           curl_easy_setopt(e, CURLOPT_READDATA, t) == CURLE_OK &&
           curl_easy_setopt(e, CURLOPT_SEEKFUNCTION, on_seek) == CURLE_OK &&
           curl_easy_setopt(e, CURLOPT_SEEKDATA, t) == CURLE_OK &&
           curl_easy_setopt(e, CURLOPT_PREREQFUNCTION, on_connected) == CURLE_OK &&
           curl_easy_setopt(e, CURLOPT_PREREQDATA, t) == CURLE_OK;
}
