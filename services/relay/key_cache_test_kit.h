/*
 * For tests of the key cache: an auth that is scripted, in the same process, a cache in front of it, and the loop between them.
 */
#pragma once

#include "key_cache_internal.h"

#include "rpc/init.h"
#include "rpc/server.h"
#include "schema/all.h"
#include "testing/cmocka.h"
#include "testing/fake_clock.h"

#include <stdio.h>
#include <stdlib.h>

#define STALE_MAX_MS    60000
#define NEGATIVE_TTL_MS 5000

/* An auth that does as the test says, a cache that asks it, and one caller at a time. */
typedef struct fixture {
    gw_fake_clock time;
    gw_clock clock;
    gw_loop *loop;
    gw_schema *schema;
    gw_rpc_server *server;
    gw_rpc_pump *pump;
    gw_rpc_channel *channel;
    key_cache *cache;
    bool server_closed;
    /* what auth answers and saw */
    bool hold, found;
    int64_t generation;
    const char *status, *client_id, *user_id;
    int64_t client_generation, owner_generation; /* of their limits; 0: none stated */
    gw_rpc_call *held;
    size_t resolves;
    gw_rpc_call *watch;
    size_t watches;
    int64_t watched_from;
    /* what the caller got */
    key_wait waits[10];
    size_t answers;
    gw_status rc;
    char policy_status[16];
} fixture;

static const uint8_t tag_key[GW_TAG_KEY_SIZE] = {1, 2, 3};

/* ---- the scripted auth ---- */

static inline void answer_resolve(fixture *f, gw_rpc_call *call)
{
    static char key_id[] = "aAAAAAAAAAAA", id[] = "0123456789abcdef01234567";
    Apirelay__Auth__V1__KeyPolicy policy = APIRELAY__AUTH__V1__KEY_POLICY__INIT;
    Apirelay__Auth__V1__ResolveResponse r = APIRELAY__AUTH__V1__RESOLVE_RESPONSE__INIT;
    char status[16];
    (void)snprintf(status, sizeof(status), "%s", f->status);
    policy.key_id = key_id;
    policy.api_key_id = id;
    policy.status = status;
    policy.generation = f->generation;
    char client_id[32], user_id[32];
    (void)snprintf(client_id, sizeof(client_id), "%s", f->client_id ? f->client_id : "");
    (void)snprintf(user_id, sizeof(user_id), "%s", f->user_id ? f->user_id : "");
    policy.client_id = client_id;
    policy.user_id = user_id;
    Apirelay__Auth__V1__SharedLimits client = APIRELAY__AUTH__V1__SHARED_LIMITS__INIT,
                                     owner = APIRELAY__AUTH__V1__SHARED_LIMITS__INIT;
    client.generation = f->client_generation;
    owner.generation = f->owner_generation;
    policy.client_limits = f->client_generation ? &client : NULL;
    policy.owner_limits = f->owner_generation ? &owner : NULL;
    r.found = f->found;
    r.policy = f->found ? &policy : NULL;
    r.generation = f->generation;
    gw_rpc_reply(call, &r.base);
}

static inline void on_resolve(gw_rpc_call *call, const ProtobufCMessage *request, void *arg)
{
    (void)request;
    fixture *f = arg;
    f->resolves++;
    if (f->hold)
        f->held = call;
    else
        answer_resolve(f, call);
}

static inline void on_tag_keys(gw_rpc_call *call, const ProtobufCMessage *request, void *arg)
{
    (void)request;
    (void)arg;
    char pepper[] = "a";
    uint8_t bytes[GW_TAG_KEY_SIZE];
    memcpy(bytes, tag_key, sizeof(bytes));
    Apirelay__Auth__V1__TagKey key = APIRELAY__AUTH__V1__TAG_KEY__INIT, *keys[] = {&key};
    Apirelay__Auth__V1__GetTagKeysResponse r = APIRELAY__AUTH__V1__GET_TAG_KEYS_RESPONSE__INIT;
    key.pepper_id = pepper;
    key.tag_key = (ProtobufCBinaryData){sizeof(bytes), bytes};
    r.tag_keys = keys;
    r.n_tag_keys = 1;
    gw_rpc_reply(call, &r.base);
}

static inline void on_watch(gw_rpc_call *call, const ProtobufCMessage *request, void *arg)
{
    fixture *f = arg;
    f->watch = call;
    f->watches++;
    f->watched_from =
        ((const Apirelay__Auth__V1__WatchRequest *)(const void *)request)->from_generation;
}

static inline void on_watch_cancelled(gw_rpc_call *call, void *arg)
{
    (void)arg;
    gw_error err;
    (void)gw_fail(&err, GW_ERR_CANCELLED, "gone");
    gw_rpc_fail(call, &err);
}

static inline void on_watch_finished(gw_rpc_call *call, void *arg)
{
    fixture *f = arg;
    if (f->watch == call)
        f->watch = NULL;
}

static const gw_rpc_handler handlers[] = {
    {.path = "/apirelay.auth.v1.KeyAccessService/Resolve", .start = on_resolve},
    {.path = "/apirelay.auth.v1.KeyAccessService/GetTagKeys", .start = on_tag_keys},
    {.path = "/apirelay.auth.v1.KeyAccessService/Watch",
     .start = on_watch,
     .cancelled = on_watch_cancelled,
     .finished = on_watch_finished},
    {.path = NULL},
};

static inline void allow(void *self, gw_rpc_call *call, const gw_method *method, gw_str credential)
{
    (void)self;
    (void)method;
    assert_true(gw_str_eq_c(credential, "lcsvc_relay"));
    gw_rpc_authorized(call, GW_OK, &(gw_caller){.kind = GW_CALLER_SERVICE}, NULL);
}

/* ---- turning the loop ---- */

#define until(condition)                                                                           \
    while (!(condition))                                                                           \
    uv_run(gw_loop_uv(f->loop), UV_RUN_NOWAIT)

static inline void send_change(fixture *f, const char *key_id, int64_t generation)
{
    char id[GW_KEY_ID_LEN + 1];
    (void)snprintf(id, sizeof(id), "%s", key_id);
    Apirelay__Auth__V1__WatchResponse__Change change =
        APIRELAY__AUTH__V1__WATCH_RESPONSE__CHANGE__INIT;
    Apirelay__Auth__V1__WatchResponse event = APIRELAY__AUTH__V1__WATCH_RESPONSE__INIT;
    change.key_id = id;
    change.generation = generation;
    event.event_case = APIRELAY__AUTH__V1__WATCH_RESPONSE__EVENT_CHANGE;
    event.change = &change;
    gw_rpc_send(f->watch, &event.base);
}

static inline void send_limits_change(fixture *f, const char *client_id, const char *user_id,
                                      int64_t generation)
{
    char client[32], user[32];
    (void)snprintf(client, sizeof(client), "%s", client_id);
    (void)snprintf(user, sizeof(user), "%s", user_id);
    Apirelay__Auth__V1__WatchResponse__LimitsChange change =
        APIRELAY__AUTH__V1__WATCH_RESPONSE__LIMITS_CHANGE__INIT;
    Apirelay__Auth__V1__WatchResponse event = APIRELAY__AUTH__V1__WATCH_RESPONSE__INIT;
    change.client_id = client;
    change.user_id = user;
    change.generation = generation;
    event.event_case = APIRELAY__AUTH__V1__WATCH_RESPONSE__EVENT_LIMITS_CHANGE;
    event.limits_change = &change;
    gw_rpc_send(f->watch, &event.base);
}

static inline void send_heartbeat(fixture *f, int64_t generation)
{
    Apirelay__Auth__V1__WatchResponse__Heartbeat beat =
        APIRELAY__AUTH__V1__WATCH_RESPONSE__HEARTBEAT__INIT;
    Apirelay__Auth__V1__WatchResponse event = APIRELAY__AUTH__V1__WATCH_RESPONSE__INIT;
    beat.generation = generation;
    event.event_case = APIRELAY__AUTH__V1__WATCH_RESPONSE__EVENT_HEARTBEAT;
    event.heartbeat = &beat;
    gw_rpc_send(f->watch, &event.base);
}

static inline void send_reset(fixture *f, int64_t generation)
{
    Apirelay__Auth__V1__WatchResponse__Reset reset =
        APIRELAY__AUTH__V1__WATCH_RESPONSE__RESET__INIT;
    Apirelay__Auth__V1__WatchResponse event = APIRELAY__AUTH__V1__WATCH_RESPONSE__INIT;
    reset.generation = generation;
    event.event_case = APIRELAY__AUTH__V1__WATCH_RESPONSE__EVENT_RESET;
    event.reset = &reset;
    gw_rpc_send(f->watch, &event.base);
}

/* A good key of `key_id` (12 characters), told from others of it by one letter of its secret. */
static inline gw_str key_text(char out[GW_KEY_MAX_LEN + 1], const char *key_id, char secret)
{
    char untagged[GW_KEY_MAX_LEN - GW_KEY_TAG_LEN], fill[GW_KEY_SECRET_LEN + 1],
        tag[GW_KEY_TAG_LEN + 1];
    memset(fill, secret, GW_KEY_SECRET_LEN);
    fill[GW_KEY_SECRET_LEN] = '\0';
    (void)snprintf(untagged, sizeof(untagged), "lc_prod_%s%s", key_id, fill);
    gw_key_tag(tag_key, gw_str_of(untagged), tag);
    (void)snprintf(out, GW_KEY_MAX_LEN + 1, "%s%s", untagged, tag);
    return gw_str_of(out);
}

static inline void on_answer(void *arg, gw_status rc, key_policy *policy, const gw_error *err)
{
    (void)err;
    fixture *f = arg;
    f->answers++;
    f->rc = rc;
    if (rc == GW_OK)
        (void)snprintf(f->policy_status, sizeof(f->policy_status), "%s", policy->message->status);
    key_policy_unref(policy);
}

/* Asks and, when the answer is to come, waits for it. Tells which way it came. */
static inline key_lookup ask(fixture *f, gw_str key)
{
    key_policy *policy = NULL;
    gw_error err = {0};
    size_t before = f->answers;
    f->waits[0] = (key_wait){.done = on_answer, .arg = f};
    key_lookup way = key_cache_authenticate(f->cache, key, &f->waits[0], &policy, &err);
    if (way == KEY_PENDING && !f->hold)
        until(f->answers > before);
    else if (way == KEY_FOUND)
        on_answer(f, GW_OK, policy, NULL);
    else if (way == KEY_REFUSED)
        f->rc = err.code;
    return way;
}

/* ---- setup ---- */

static inline gw_rpc_server *serve(fixture *f, const char *listen)
{
    gw_error err;
    gw_rpc_server *server = NULL;
    const gw_rpc_server_options o = {
        .listen = listen, .schema = f->schema, .authorizer = {.authorize = allow, .self = f}};
    assert_int_equal(gw_rpc_server_new(f->loop, &o, &server, &err), GW_OK);
    assert_int_equal(gw_rpc_server_add(server, handlers, f, &err), GW_OK);
    if (gw_rpc_server_start(server, &err) != GW_OK)
        fail_msg("%s", err.message);
    return server;
}

static inline key_cache *cache_of(fixture *f, size_t max_entries)
{
    gw_error err;
    key_cache *cache = NULL;
    const key_cache_options o = {.auth = f->channel,
                                 .service_token = GW_STR("lcsvc_relay"),
                                 .stale_max_ms = STALE_MAX_MS,
                                 .negative_ttl_ms = NEGATIVE_TTL_MS,
                                 .max_entries = max_entries,
                                 .resolve_timeout_ms = 10000};
    assert_int_equal(key_cache_new(f->loop, &o, &cache, &err), GW_OK);
    return cache;
}

static inline int setup(void **state)
{
    fixture *f = calloc(1, sizeof(*f));
    gw_error err;
    char target[64];
    if (!f)
        return -1;
    *state = f;
    f->found = true;
    f->status = "active";
    f->generation = 1;
    f->clock = gw_fake_clock_init(&f->time, 1764000000000);
    gw_rpc_init();
    if (gw_schema_all(&f->schema, &err) != GW_OK ||
        gw_loop_new(&f->clock, &f->loop, &err) != GW_OK ||
        gw_rpc_pump_new(f->loop, &f->pump, &err) != GW_OK)
        return -1;
    f->server = serve(f, "127.0.0.1:0");
    (void)snprintf(target, sizeof(target), "127.0.0.1:%u", gw_rpc_server_port(f->server));
    if (gw_rpc_channel_new(f->pump, target, NULL, NULL, &f->channel, &err) != GW_OK)
        return -1;
    f->cache = cache_of(f, 100);
    until(key_cache_is_ready(f->cache) && f->watch);
    send_heartbeat(f, 1);
    until(f->cache->generation == 1);
    return 0;
}

static inline void on_server_closed(void *arg)
{
    ((fixture *)arg)->server_closed = true;
}

static inline int teardown(void **state)
{
    fixture *f = *state;
    key_cache_free(f->cache);
    gw_rpc_server_close(f->server, 0, on_server_closed, f);
    until(f->server_closed);
    gw_rpc_channel_free(f->channel);
    gw_rpc_pump_free(f->pump);
    gw_loop_free(f->loop);
    gw_schema_free(f->schema);
    gw_rpc_shutdown();
    free(f);
    return 0;
}
