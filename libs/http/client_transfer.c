#include "http/client_transfer.h"

#include <stdlib.h>

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

static void free_transfer(void *arg)
{
    gw_http_transfer *t = arg;
    gw_http_client *c = t->client;
    if (t->is_running)
        gw_curl_job_remove(&t->job);
    return_easy(c, t->job.easy);
    for (const struct curl_slist *line = t->lines; line; line = line->next)
        explicit_bzero(line->data, strlen(line->data)); /* a credential is in one, as a rule */
    curl_slist_free_all(t->lines);
    gw_http_transfer_drop_head(t);
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

/* ---- the end ---- */

static void conclude(gw_http_transfer *t)
{
    gw_http_call *call = t->call;
    gw_error err = {0};
    gw_status rc = gw_http_transfer_judge(t, &err);
    if (rc != GW_OK)
        gw_error_prefix(&err, "upstream %s", t->origin->authority);
    let_go(t);
    gw_http_call_end(call, rc, &err);
}

/* A kept connection died under the request, and nothing of an answer came. */
static bool found_it_dead(const gw_http_transfer *t, CURLcode code)
{
    long made = 1; /* connections */
    curl_easy_getinfo(t->job.easy, CURLINFO_NUM_CONNECTS, &made);
    return (code == CURLE_SEND_ERROR || code == CURLE_RECV_ERROR || code == CURLE_GOT_NOTHING) &&
           made == 0 && t->status == 0 && !t->problem;
}

/* libcurl does that by itself, but not for a request whose body is on its way in parts, nor with a fresh connection for certain. */
static bool try_anew(gw_http_transfer *t, CURLcode code)
{
    gw_http_call *call = t->call;
    if (!call || call->was_retried || t->client->closing || !found_it_dead(t, code) ||
        gw_http_transfer_took_its_time(t) ||
        curl_easy_setopt(t->job.easy, CURLOPT_FRESH_CONNECT, 1L) != CURLE_OK)
        return false;
    gw_curl_job_remove(&t->job);
    t->is_running = t->is_paused = call->request_is_sent = false;
    t->part = 1;
    t->part_offset = 0;
    call->was_retried = true;
    gw_http_call_enter(call, GW_HTTP_CONNECTING);
    gw_http_client_schedule(t->client, call);
    return true;
}

static void on_finished(gw_curl_job *j, CURLcode code)
{
    gw_http_transfer *t = GW_CONTAINER_OF(j, gw_http_transfer, job);
    if (try_anew(t, code))
        return;
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
    if (!gw_curl_job_prepare(&t->job, c->transfers, easy, on_finished) ||
        !gw_http_transfer_ask(t, r) || !gw_http_transfer_listen(t)) {
        let_go(t);
        return gw_fail(err, GW_ERR_NO_MEMORY, "libcurl cannot prepare the exchange");
    }
    call->carrier = &t->carrier;
    gw_http_call_enter(call, GW_HTTP_CONNECTING);
    gw_http_client_schedule(c, call);
    return GW_OK;
}
