/*
 * The watch: what keeps the key cache right. Tag keys, the stream of changes, and reports of use back to auth.
 *
 *     (re)connect ─▶ Watch(from the generation applied last) ─▶ Change | Heartbeat | Reset …
 *          ▲                                                        │ ended, or silent for 3 s
 *          └────────────── backoff 0.1 - 2 s, jittered ◀────────────┘
 */
#include "key_cache_internal.h"

#include "core/id.h"

#include <stdlib.h>

#define WATCH_PATH        "/apirelay.auth.v1.KeyAccessService/Watch"
#define TAG_KEYS_PATH     "/apirelay.auth.v1.KeyAccessService/GetTagKeys"
#define REPORT_PATH       "/apirelay.auth.v1.KeyAccessService/ReportUse"
#define BACKOFF_MIN_MS    100
#define BACKOFF_MAX_MS    2000
#define SILENCE_MAX_MS    3000 /* then the stream is given up and opened anew */
#define TAG_REFRESH_MS    60000 /* a new pepper is known to the relay after this at the latest */
#define USE_FLUSH_MS      5000
#define USE_REPORT_MIN_MS 60000 /* once a minute a key (DATA.md, lastUsedAt) */
#define USE_BATCH_MAX     500

bool key_watch_is_alive(const key_cache *c)
{
    return c->heartbeat_ms != 0 && gw_loop_now_ms(c->loop) - c->heartbeat_ms <= KEY_WATCH_ALIVE_MS;
}

/* ---- tag keys ---- */

static void fetch_tag_keys(void *arg);

static gw_status read_tag_keys(key_cache *c, const Apirelay__Auth__V1__GetTagKeysResponse *answer,
                               gw_error *err)
{
    gw_tag_key *keys = calloc(answer->n_tag_keys + 1, sizeof(*keys));
    if (!keys)
        return gw_fail(err, GW_ERR_NO_MEMORY, "no memory for %zu tag keys", answer->n_tag_keys);
    size_t count = 0;
    for (size_t i = 0; i < answer->n_tag_keys; i++) {
        const Apirelay__Auth__V1__TagKey *k = answer->tag_keys[i];
        if (strlen(k->pepper_id) != 1 || k->tag_key.len != GW_TAG_KEY_SIZE)
            continue;
        keys[count].pepper_id = k->pepper_id[0];
        memcpy(keys[count++].key, k->tag_key.data, GW_TAG_KEY_SIZE);
    }
    if (count == 0) {
        free(keys);
        return gw_fail(err, GW_ERR_FAILED_PRECONDITION, "auth has no tag keys");
    }
    if (c->tag_keys)
        gw_secret_wipe(c->tag_keys, c->tag_key_count * sizeof(*c->tag_keys));
    free(c->tag_keys);
    c->tag_keys = keys;
    c->tag_key_count = count;
    return GW_OK;
}

static void tag_keys_done(void *arg, gw_status rc, const ProtobufCMessage *response,
                          const gw_error *err)
{
    key_cache *c = arg;
    gw_error own;
    c->tag_call = NULL;
    if (!key_cache_operation_ended(c))
        return;
    if (rc == GW_OK) {
        rc = read_tag_keys(
            c, (const Apirelay__Auth__V1__GetTagKeysResponse *)(const void *)response, &own);
        err = &own;
    }
    if (rc != GW_OK)
        gw_log_warn(c->options.log, "tag_keys_fetch_failed", gw_kv_error(err));
    gw_timer_set(c->loop, &c->tag_timer, rc == GW_OK ? TAG_REFRESH_MS : BACKOFF_MAX_MS / 4);
}

static void fetch_tag_keys(void *arg)
{
    key_cache *c = arg;
    Apirelay__Auth__V1__GetTagKeysRequest request = APIRELAY__AUTH__V1__GET_TAG_KEYS_REQUEST__INIT;
    gw_rpc_call_options o =
        key_cache_call(c, TAG_KEYS_PATH, &apirelay__auth__v1__get_tag_keys_response__descriptor, 0);
    o.wait_for_ready = true;
    c->tag_call = gw_rpc_unary(c->options.auth, &o, &request.base, tag_keys_done, c);
    if (c->tag_call)
        key_cache_operation_begun(c);
    else
        gw_timer_set(c->loop, &c->tag_timer, BACKOFF_MAX_MS);
}

/* ---- the stream of changes ---- */

static void tell_of_change(const key_cache *c)
{
    if (c->options.changed)
        c->options.changed(c->options.changed_arg);
}

/* A watch that goes on from nowhere tells only what comes after its start: what was cached before may have changed meanwhile. */
static void begin_watch(key_cache *c)
{
    if (!c->watch_is_new)
        return;
    c->watch_is_new = false;
    key_cache_apply_reset(c);
    tell_of_change(c);
}

static void on_watch_message(void *arg, const ProtobufCMessage *m)
{
    key_cache *c = arg;
    const Apirelay__Auth__V1__WatchResponse *event =
        (const Apirelay__Auth__V1__WatchResponse *)(const void *)m;
    if (c->closing)
        return;
    begin_watch(c);
    switch (event->event_case) {
    case APIRELAY__AUTH__V1__WATCH_RESPONSE__EVENT_CHANGE:
        key_cache_apply_change(c, gw_str_of(event->change->key_id), event->change->generation);
        c->generation = GW_MAX(c->generation, event->change->generation);
        tell_of_change(c);
        break;
    case APIRELAY__AUTH__V1__WATCH_RESPONSE__EVENT_LIMITS_CHANGE:
        key_cache_apply_limits_change(c, event->limits_change);
        c->generation = GW_MAX(c->generation, event->limits_change->generation);
        break;
    case APIRELAY__AUTH__V1__WATCH_RESPONSE__EVENT_HEARTBEAT:
        c->generation = GW_MAX(c->generation, event->heartbeat->generation);
        break;
    case APIRELAY__AUTH__V1__WATCH_RESPONSE__EVENT_RESET:
        gw_log_info(c->options.log, "key_watch_reset",
                    gw_kv("generation", event->reset->generation));
        key_cache_apply_reset(c);
        c->generation = event->reset->generation;
        tell_of_change(c);
        break;
    default: /* an event of a newer auth: a sign of life all the same */
        break;
    }
    if (!key_watch_is_alive(c))
        gw_log_info(c->options.log, "key_watch_established", gw_kv("generation", c->generation));
    c->heartbeat_ms = gw_loop_now_ms(c->loop);
    c->watch_backoff_ms = BACKOFF_MIN_MS;
}

static void on_watch_done(void *arg, gw_status rc, const gw_error *err)
{
    key_cache *c = arg;
    c->watch = NULL;
    if (!key_cache_operation_ended(c))
        return;
    if (key_watch_is_alive(c)) /* the first failure since it was up: later ones are the same news */
        gw_log_warn(c->options.log, "key_watch_lost",
                    gw_kv("error.message", rc == GW_OK ? "ended by auth" : err->message));
    int64_t delay =
        c->watch_backoff_ms / 2 + (int64_t)gw_random_below((uint64_t)c->watch_backoff_ms / 2 + 1);
    c->watch_backoff_ms = GW_MIN(c->watch_backoff_ms * 2, BACKOFF_MAX_MS);
    gw_timer_set(c->loop, &c->watch_timer, delay);
}

static void open_watch(key_cache *c)
{
    static const gw_rpc_stream_ops ops = {.message = on_watch_message, .done = on_watch_done};
    Apirelay__Auth__V1__WatchRequest request = APIRELAY__AUTH__V1__WATCH_REQUEST__INIT;
    request.from_generation = c->generation;
    c->watch_is_new = c->generation == 0;
    gw_rpc_call_options o =
        key_cache_call(c, WATCH_PATH, &apirelay__auth__v1__watch_response__descriptor, 0);
    c->watch = gw_rpc_stream(c->options.auth, &o, &request.base, &ops, c);
    if (c->watch)
        key_cache_operation_begun(c);
    gw_timer_set(c->loop, &c->watch_timer, SILENCE_MAX_MS);
}

/* One timer: opens the stream when there is none, gives it up when it went silent. */
static void on_watch_timer(void *arg)
{
    key_cache *c = arg;
    key_cache_prune_slots(c);
    key_groups_prune(c);
    if (!c->watch) {
        open_watch(c);
        return;
    }
    int64_t silent_ms = gw_loop_now_ms(c->loop) - c->heartbeat_ms;
    if (c->heartbeat_ms == 0 || silent_ms >= SILENCE_MAX_MS)
        gw_rpc_cancel(c->watch); /* on_watch_done opens another */
    else
        gw_timer_set(c->loop, &c->watch_timer, SILENCE_MAX_MS - silent_ms);
}

/* ---- reports of use ---- */

void key_cache_note_use(key_cache *c, const key_policy *p, int64_t now_wall_ms)
{
    key_slot *s = gw_map_get(c->slots, p->key_id);
    if (!s)
        return; /* invalidated meanwhile */
    s->used_wall_ms = GW_MAX(s->used_wall_ms, now_wall_ms);
    if (gw_list_is_linked(&s->use_node) || now_wall_ms - s->reported_wall_ms < USE_REPORT_MIN_MS)
        return;
    gw_list_push_back(&c->used, &s->use_node);
    if (!gw_timer_is_armed(&c->use_timer))
        gw_timer_set(c->loop, &c->use_timer, USE_FLUSH_MS);
}

static void report_done(void *arg, gw_status rc, const ProtobufCMessage *response,
                        const gw_error *err)
{
    (void)response;
    key_cache *c = arg;
    c->use_call = NULL;
    if (!key_cache_operation_ended(c))
        return;
    if (rc != GW_OK) /* a lost report is made good by the next use */
        gw_log_debug(c->options.log, "key_use_report_failed", gw_kv_error(err));
    if (!gw_list_is_empty(&c->used))
        gw_timer_set(c->loop, &c->use_timer, USE_FLUSH_MS);
}

static void report_use(void *arg)
{
    key_cache *c = arg;
    Apirelay__Auth__V1__KeyUse uses[USE_BATCH_MAX], *pointers[USE_BATCH_MAX];
    Google__Protobuf__Timestamp times[USE_BATCH_MAX];
    Apirelay__Auth__V1__ReportUseRequest request = APIRELAY__AUTH__V1__REPORT_USE_REQUEST__INIT;
    request.uses = pointers;
    if (c->use_call)
        return; /* its end arms the timer */
    for (gw_list *node; request.n_uses < USE_BATCH_MAX && (node = gw_list_pop_front(&c->used));) {
        size_t i = request.n_uses++;
        key_slot *s = GW_CONTAINER_OF(node, key_slot, use_node);
        google__protobuf__timestamp__init(&times[i]);
        times[i].seconds = s->used_wall_ms / GW_MS_PER_S;
        times[i].nanos = (int32_t)(s->used_wall_ms % GW_MS_PER_S) * 1000000;
        apirelay__auth__v1__key_use__init(&uses[i]);
        uses[i].key_id = s->key_id;
        uses[i].last_used_at = &times[i];
        pointers[i] = &uses[i];
        s->reported_wall_ms = s->used_wall_ms;
    }
    gw_rpc_call_options o =
        key_cache_call(c, REPORT_PATH, &apirelay__auth__v1__report_use_response__descriptor, 0);
    c->use_call = gw_rpc_unary(c->options.auth, &o, &request.base, report_done, c);
    if (c->use_call)
        key_cache_operation_begun(c);
}

/* ---- life ---- */

void key_watch_start(key_cache *c)
{
    c->watch_backoff_ms = BACKOFF_MIN_MS;
    gw_timer_init(&c->tag_timer, fetch_tag_keys, c);
    gw_timer_init(&c->watch_timer, on_watch_timer, c);
    gw_timer_init(&c->use_timer, report_use, c);
    fetch_tag_keys(c);
    open_watch(c);
}

void key_watch_stop(key_cache *c)
{
    gw_timer_cancel(c->loop, &c->tag_timer);
    gw_timer_cancel(c->loop, &c->watch_timer);
    gw_timer_cancel(c->loop, &c->use_timer);
    if (c->tag_call)
        gw_rpc_cancel(c->tag_call);
    if (c->watch)
        gw_rpc_cancel(c->watch);
    if (c->use_call)
        gw_rpc_cancel(c->use_call);
}
