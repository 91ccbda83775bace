#include "metrics_rpc.h"

#include "query_op.h"

#include <apirelay/auth/v1/identity_service.pb-c.h>

#include <stdlib.h>

#define CHECK_PATH "/apirelay.auth.v1.IdentityService/CheckCredential"

#define WATCH_EVERY_MS   1000
#define CHECK_EVERY_MS   5000
#define WATCH_QUEUED_MAX 4 /* answers that a slow reader has not taken; then a second is left out */

typedef struct asked {
    int window_seconds;
    bool one_key;
    gw_object_id key;
} asked;

static gw_status parse(int32_t window_seconds, const char *api_key_id, asked *ret,
                       gw_violations *further, gw_error *err)
{
    gw_violations v = {0};
    if (window_seconds < 0 || window_seconds > LIVE_SECONDS)
        gw_violations_add(&v, "windowSeconds", "must be 1-%d", LIVE_SECONDS);
    ret->one_key = *api_key_id != '\0';
    if (ret->one_key && !gw_object_id_parse(gw_str_of(api_key_id), &ret->key))
        gw_violations_add(&v, "apiKeyId", "must be 24 hex digits");
    ret->window_seconds = window_seconds ? window_seconds : LIVE_SECONDS;
    return gw_violations_split(&v, err, further);
}

/* NULL when out of memory. */
static Apirelay__Usage__V1__GetMetricsResponse *answer_of(gw_arena *a, const asked *q,
                                                          const live *counters, bool of_all)
{
    Apirelay__Usage__V1__GetMetricsResponse *m =
        live_metrics(counters, a, q->window_seconds, q->one_key ? &q->key : NULL);
    if (m)
        m->scope = reply_text(a, of_all ? GW_STR("all") : GW_STR("replica"));
    return m;
}

/* ---- GetMetrics ---- */

typedef struct get_data {
    gw_rpc_call *call;
    asked asked;
} get_data;

static void reply_metrics(void *arg, const live *counters, bool of_all)
{
    const get_data *d = arg;
    gw_error err = {0};
    Apirelay__Usage__V1__GetMetricsResponse *m =
        answer_of(gw_rpc_call_arena(d->call), &d->asked, counters, of_all);
    if (m) {
        gw_rpc_reply(d->call, &m->base);
        return;
    }
    (void)gw_fail(&err, GW_ERR_NO_MEMORY, "no memory for the answer");
    gw_rpc_fail(d->call, &err);
}

void get_metrics(gw_rpc_call *call, const ProtobufCMessage *request, void *arg)
{
    const Apirelay__Usage__V1__GetMetricsRequest *r = (const void *)request;
    const usage_queries *q = arg;
    gw_violations further = {0};
    gw_error err = {0};
    asked asked_for;
    gw_status rc = parse(r->window_seconds, r->api_key_id, &asked_for, &further, &err);
    get_data *d = NULL;
    if (rc == GW_OK) {
        d = gw_arena_new_of(gw_rpc_call_arena(call), get_data);
        if (!d)
            rc = gw_fail(&err, GW_ERR_NO_MEMORY, "no memory for a request");
    }
    if (rc != GW_OK) {
        gw_rpc_fail_all(call, &err, &further);
        return;
    }
    *d = (get_data){call, asked_for};
    live_shared_read(q->live, reply_metrics, d);
}

/* ---- WatchMetrics ---- */

typedef struct watcher watcher;

/* Whether the watcher's credential still is good, asked of auth. */
typedef struct watch_check {
    watcher *of; /* NULL once it is gone: then nobody wants to know */
    gw_rpc_client_call *call;
} watch_check;

struct watcher {
    gw_list node;
    usage_queries *queries;
    gw_rpc_call *call; /* NULL once it has finished */
    asked asked;
    gw_timer timer;
    watch_check *check; /* that is not answered yet; NULL: none */
    int64_t checked_ms; /* when it was asked last, or let in */
    bool reading, ended;
};

static void watcher_free(watcher *w)
{
    if (w->check) {
        w->check->of = NULL;
        gw_rpc_cancel(w->check->call);
    }
    gw_timer_cancel(w->queries->o.loop, &w->timer);
    gw_list_remove(&w->node);
    free(w);
}

static void end_watch(watcher *w, gw_status rc, const char *message)
{
    gw_error err = {0};
    if (w->ended)
        return;
    w->ended = true;
    gw_timer_cancel(w->queries->o.loop, &w->timer);
    (void)gw_fail(&err, rc, "%s", message);
    gw_rpc_fail(w->call, &err);
}

static void send_metrics(watcher *w, const live *counters, bool of_all)
{
    gw_auto(gw_arena) a = gw_arena_new();
    Apirelay__Usage__V1__WatchMetricsResponse m = APIRELAY__USAGE__V1__WATCH_METRICS_RESPONSE__INIT;
    m.metrics = a ? answer_of(a, &w->asked, counters, of_all) : NULL;
    if (m.metrics)
        gw_rpc_send(w->call, &m.base);
}

static void on_counters(void *arg, const live *counters, bool of_all)
{
    watcher *w = arg;
    w->reading = false;
    if (!w->call) { /* it left while we looked */
        watcher_free(w);
        return;
    }
    if (w->ended)
        return;
    if (gw_rpc_call_queued(w->call) < WATCH_QUEUED_MAX)
        send_metrics(w, counters, of_all);
    gw_timer_set(w->queries->o.loop, &w->timer, WATCH_EVERY_MS);
}

/* While auth does not answer the watch goes on: it was let in. */
static void on_checked(void *arg, gw_status rc, const ProtobufCMessage *response,
                       const gw_error *err)
{
    watch_check *c = arg;
    watcher *w = c->of;
    const Apirelay__Auth__V1__CheckCredentialResponse *r = (const void *)response;
    (void)err;
    free(c);
    if (!w)
        return;
    w->check = NULL;
    if (rc == GW_OK && !r->valid && !w->ended)
        end_watch(w, GW_ERR_UNAUTHENTICATED, "the credential is not valid any more");
}

/*
 * A watch lasts for long: what lets it in may be revoked meanwhile. Nobody need be at work for it, so that a session whose page is left
 * open ends all the same.
 */
static void check_credential(watcher *w)
{
    const usage_queries_options *q = &w->queries->o;
    gw_str credential = gw_rpc_call_caller(w->call)->credential;
    Apirelay__Auth__V1__CheckCredentialRequest request =
        APIRELAY__AUTH__V1__CHECK_CREDENTIAL_REQUEST__INIT;
    const gw_rpc_call_options options = {
        .path = CHECK_PATH,
        .response = &apirelay__auth__v1__check_credential_response__descriptor,
        .credential = q->own_token};
    watch_check *c = w->check ? NULL : calloc(1, sizeof(*c));
    if (!c)
        return;
    request.credential.data = (uint8_t *)(uintptr_t)credential.ptr;
    request.credential.len = credential.len;
    request.unattended = true;
    c->of = w;
    c->call = gw_rpc_unary(q->auth, &options, &request.base, on_checked, c);
    if (!c->call) {
        free(c);
        return;
    }
    w->check = c;
    w->checked_ms = gw_loop_now_ms(q->loop);
}

static void look_again(void *arg)
{
    watcher *w = arg;
    w->reading = true;
    live_shared_read(w->queries->live, on_counters, w);
}

static void a_second_later(void *arg)
{
    watcher *w = arg;
    if (gw_loop_now_ms(w->queries->o.loop) - w->checked_ms >= CHECK_EVERY_MS)
        check_credential(w);
    look_again(w);
}

void watch_metrics(gw_rpc_call *call, const ProtobufCMessage *request, void *arg)
{
    const Apirelay__Usage__V1__WatchMetricsRequest *r = (const void *)request;
    usage_queries *q = arg;
    gw_violations further = {0};
    gw_error err = {0};
    asked asked_for;
    gw_status rc = parse(r->window_seconds, r->api_key_id, &asked_for, &further, &err);
    watcher *w = rc == GW_OK ? calloc(1, sizeof(*w)) : NULL;
    if (rc == GW_OK && !w)
        (void)gw_fail(&err, GW_ERR_NO_MEMORY, "no memory for a watch");
    if (!w) {
        gw_rpc_fail_all(call, &err, &further);
        return;
    }
    w->queries = q;
    w->call = call;
    w->asked = asked_for;
    w->checked_ms = gw_loop_now_ms(q->o.loop);
    gw_timer_init(&w->timer, a_second_later, w);
    gw_list_push_back(&q->watchers, &w->node);
    gw_rpc_call_set_data(call, w);
    look_again(w);
}

void watch_metrics_cancelled(gw_rpc_call *call, void *arg)
{
    watcher *w = gw_rpc_call_data(call);
    (void)arg;
    if (w)
        end_watch(w, GW_ERR_CANCELLED, "the caller has left");
}

void watch_metrics_finished(gw_rpc_call *call, void *arg)
{
    watcher *w = gw_rpc_call_data(call);
    (void)arg;
    if (!w)
        return;
    w->call = NULL;
    w->ended = true;
    if (!w->reading)
        watcher_free(w);
}

void metrics_stop_watching(usage_queries *q)
{
    gw_list_each_safe (node, &q->watchers)
        end_watch(GW_CONTAINER_OF(node, watcher, node), GW_ERR_SHUTTING_DOWN,
                  "this replica is shutting down");
}
