#include "watch_rpc.h"

#include "auth.h"
#include "messages.h"

#include <apirelay/auth/v1/key_access_service.pb-c.h>

#define QUEUED_MAX 20000 /* events: more than the ring can hold at once */

typedef struct watch {
    key_watcher watcher;
    gw_list node; /* in auth.watches */
    auth *auth;
    gw_rpc_call *call;
    bool ended;
} watch;

static void end(watch *w, gw_status rc, const char *why)
{
    gw_error err = {0};
    if (w->ended)
        return;
    w->ended = true;
    key_feed_unwatch(w->auth->feed, &w->watcher);
    (void)gw_fail(&err, rc, "%s", why);
    gw_rpc_fail(w->call, &err);
}

static bool send_event(watch *w, const Apirelay__Auth__V1__WatchResponse *m)
{
    if (gw_rpc_call_queued(w->call) > QUEUED_MAX) {
        end(w, GW_ERR_UNAVAILABLE, "the watch is not being read");
        return false;
    }
    gw_rpc_send(w->call, &m->base);
    return true;
}

static bool key_changed(watch *w, const char *key_id, int64_t generation)
{
    Apirelay__Auth__V1__WatchResponse__Change change =
        APIRELAY__AUTH__V1__WATCH_RESPONSE__CHANGE__INIT;
    Apirelay__Auth__V1__WatchResponse m = APIRELAY__AUTH__V1__WATCH_RESPONSE__INIT;
    change.key_id = (char *)(uintptr_t)key_id;
    change.generation = generation;
    m.event_case = APIRELAY__AUTH__V1__WATCH_RESPONSE__EVENT_CHANGE;
    m.change = &change;
    return send_event(w, &m);
}

static bool changed(key_watcher *k, const change_subject *subject, int64_t generation)
{
    watch *w = GW_CONTAINER_OF(k, watch, watcher);
    if (subject->kind == CHANGE_OF_KEY)
        return key_changed(w, subject->id, generation);
    Apirelay__Auth__V1__WatchResponse__LimitsChange change =
        APIRELAY__AUTH__V1__WATCH_RESPONSE__LIMITS_CHANGE__INIT;
    Apirelay__Auth__V1__WatchResponse m = APIRELAY__AUTH__V1__WATCH_RESPONSE__INIT;
    char *id = (char *)(uintptr_t)subject->id;
    if (subject->kind == CHANGE_OF_CLIENT_LIMITS)
        change.client_id = id;
    else
        change.user_id = id;
    change.generation = generation;
    m.event_case = APIRELAY__AUTH__V1__WATCH_RESPONSE__EVENT_LIMITS_CHANGE;
    m.limits_change = &change;
    return send_event(w, &m);
}

static bool reset(key_watcher *k, int64_t generation)
{
    Apirelay__Auth__V1__WatchResponse__Reset reset_to =
        APIRELAY__AUTH__V1__WATCH_RESPONSE__RESET__INIT;
    Apirelay__Auth__V1__WatchResponse m = APIRELAY__AUTH__V1__WATCH_RESPONSE__INIT;
    reset_to.generation = generation;
    m.event_case = APIRELAY__AUTH__V1__WATCH_RESPONSE__EVENT_RESET;
    m.reset = &reset_to;
    return send_event(GW_CONTAINER_OF(k, watch, watcher), &m);
}

static bool heartbeat(key_watcher *k, int64_t generation)
{
    Apirelay__Auth__V1__WatchResponse__Heartbeat beat =
        APIRELAY__AUTH__V1__WATCH_RESPONSE__HEARTBEAT__INIT;
    Apirelay__Auth__V1__WatchResponse m = APIRELAY__AUTH__V1__WATCH_RESPONSE__INIT;
    beat.generation = generation;
    m.event_case = APIRELAY__AUTH__V1__WATCH_RESPONSE__EVENT_HEARTBEAT;
    m.heartbeat = &beat;
    return send_event(GW_CONTAINER_OF(k, watch, watcher), &m);
}

void watch_rpc_start(gw_rpc_call *call, const ProtobufCMessage *request, void *arg)
{
    const Apirelay__Auth__V1__WatchRequest *r = (const void *)request;
    auth *a = arg;
    gw_error err = {0};
    watch *w = gw_arena_new_of(gw_rpc_call_arena(call), watch);
    if (!w || r->from_generation < 0) {
        (void)gw_fail_field(&err, w ? GW_ERR_INVALID_ARGUMENT : GW_ERR_NO_MEMORY, "fromGeneration",
                            "must be at least 0");
        gw_rpc_fail(call, &err);
        return;
    }
    w->auth = a;
    w->call = call;
    w->watcher = (key_watcher){.changed = changed, .reset = reset, .heartbeat = heartbeat};
    gw_rpc_call_set_data(call, w);
    gw_list_push_back(&a->watches, &w->node);
    gw_metric_set(a->metrics, M_auth_watches, ++a->watch_count, NULL, 0);
    key_feed_watch(a->feed, &w->watcher, r->from_generation);
}

void watch_rpc_cancelled(gw_rpc_call *call, void *arg)
{
    (void)arg;
    watch *w = gw_rpc_call_data(call);
    if (w)
        end(w, GW_ERR_CANCELLED, "the client ended the watch");
}

void watch_rpc_finished(gw_rpc_call *call, void *arg)
{
    (void)arg;
    watch *w = gw_rpc_call_data(call);
    if (!w)
        return;
    key_feed_unwatch(w->auth->feed, &w->watcher);
    gw_list_remove(&w->node);
    gw_metric_set(w->auth->metrics, M_auth_watches, --w->auth->watch_count, NULL, 0);
}

void watch_rpc_end_all(auth *a)
{
    gw_list_each_safe (node, &a->watches) {
        end(GW_CONTAINER_OF(node, watch, node), GW_ERR_SHUTTING_DOWN, "auth is shutting down");
    }
}
