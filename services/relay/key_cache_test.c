#include "key_cache_internal.h"

#include "rpc/init.h"
#include "rpc/server.h"
#include "schema/all.h"
#include "testing/cmocka.h"
#include "testing/failing_alloc.h"
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

static void answer_resolve(fixture *f, gw_rpc_call *call)
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

static void on_resolve(gw_rpc_call *call, const ProtobufCMessage *request, void *arg)
{
    (void)request;
    fixture *f = arg;
    f->resolves++;
    if (f->hold)
        f->held = call;
    else
        answer_resolve(f, call);
}

static void on_tag_keys(gw_rpc_call *call, const ProtobufCMessage *request, void *arg)
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

static void on_watch(gw_rpc_call *call, const ProtobufCMessage *request, void *arg)
{
    fixture *f = arg;
    f->watch = call;
    f->watches++;
    f->watched_from =
        ((const Apirelay__Auth__V1__WatchRequest *)(const void *)request)->from_generation;
}

static void on_watch_cancelled(gw_rpc_call *call, void *arg)
{
    (void)arg;
    gw_error err;
    (void)gw_fail(&err, GW_ERR_CANCELLED, "gone");
    gw_rpc_fail(call, &err);
}

static void on_watch_finished(gw_rpc_call *call, void *arg)
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

static void allow(void *self, gw_rpc_call *call, const gw_method *method, gw_str credential)
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

static void send_change(fixture *f, const char *key_id, int64_t generation)
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

static void send_limits_change(fixture *f, const char *client_id, const char *user_id,
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

static void send_heartbeat(fixture *f, int64_t generation)
{
    Apirelay__Auth__V1__WatchResponse__Heartbeat beat =
        APIRELAY__AUTH__V1__WATCH_RESPONSE__HEARTBEAT__INIT;
    Apirelay__Auth__V1__WatchResponse event = APIRELAY__AUTH__V1__WATCH_RESPONSE__INIT;
    beat.generation = generation;
    event.event_case = APIRELAY__AUTH__V1__WATCH_RESPONSE__EVENT_HEARTBEAT;
    event.heartbeat = &beat;
    gw_rpc_send(f->watch, &event.base);
}

static void send_reset(fixture *f, int64_t generation)
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
static gw_str key_text(char out[GW_KEY_MAX_LEN + 1], const char *key_id, char secret)
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

static void on_answer(void *arg, gw_status rc, key_policy *policy, const gw_error *err)
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
static key_lookup ask(fixture *f, gw_str key)
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

static gw_rpc_server *serve(fixture *f, const char *listen)
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

static key_cache *cache_of(fixture *f, size_t max_entries)
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

static int setup(void **state)
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

static void on_server_closed(void *arg)
{
    ((fixture *)arg)->server_closed = true;
}

static int teardown(void **state)
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

/* ---- tests ---- */

static void a_key_is_asked_for_once_whoever_waits(void **state)
{
    fixture *f = *state;
    char text[GW_KEY_MAX_LEN + 1];
    gw_str key = key_text(text, "aAAAAAAAAAAA", 'x');
    f->hold = true;
    for (size_t i = 0; i < GW_ARRAY_LEN(f->waits); i++) {
        key_policy *policy = NULL;
        gw_error err;
        f->waits[i] = (key_wait){.done = on_answer, .arg = f};
        assert_int_equal(key_cache_authenticate(f->cache, key, &f->waits[i], &policy, &err),
                         KEY_PENDING);
    }
    key_cache_forget_wait(&f->waits[9]);
    until(f->held);
    answer_resolve(f, f->held);
    until(f->answers == 9);
    assert_int_equal(f->resolves, 1);
    assert_int_equal(f->rc, GW_OK);
    assert_int_equal(ask(f, key), KEY_FOUND);
    assert_int_equal(f->resolves, 1);
}

/* Else a key suspended between its fetch and the start of the watch would be served for ever. */
static void what_was_fetched_before_the_watch_began_is_asked_for_again(void **state)
{
    fixture *f = *state;
    char text[GW_KEY_MAX_LEN + 1];
    gw_str key = key_text(text, "aAAAAAAAAAAA", 'x');
    key_cache *watched = f->cache;
    size_t watches = f->watches;
    f->cache = cache_of(f, 100);
    until(key_cache_is_ready(f->cache) && f->watches > watches);
    assert_false(key_cache_has_been_watched(f->cache));
    assert_int_equal(ask(f, key), KEY_PENDING);
    assert_int_equal(ask(f, key), KEY_FOUND);
    f->status = "suspended";
    f->generation = 5; /* the watch starts after this change and never tells of it */
    send_heartbeat(f, 5);
    until(f->cache->generation == 5);
    assert_true(key_cache_has_been_watched(f->cache));
    assert_int_equal(ask(f, key), KEY_PENDING);
    assert_string_equal(f->policy_status, "suspended");
    key_cache_free(watched);
}

static void a_malformed_key_or_a_bad_tag_costs_no_question(void **state)
{
    fixture *f = *state;
    char text[GW_KEY_MAX_LEN + 1];
    gw_str key = key_text(text, "aAAAAAAAAAAA", 'x');
    text[key.len - 1] = text[key.len - 1] == 'a' ? 'b' : 'a';
    assert_int_equal(ask(f, key), KEY_REFUSED);
    assert_int_equal(f->rc, GW_ERR_KEY_INVALID);
    assert_int_equal(ask(f, GW_STR("sk-something")), KEY_REFUSED);
    assert_int_equal(ask(f, GW_STR("")), KEY_REFUSED);
    assert_int_equal(f->resolves, 0);
}

static void an_unknown_key_is_remembered_for_a_while(void **state)
{
    fixture *f = *state;
    char text[GW_KEY_MAX_LEN + 1];
    gw_str key = key_text(text, "aAAAAAAAAAAA", 'x');
    f->found = false;
    assert_int_equal(ask(f, key), KEY_PENDING);
    assert_int_equal(f->rc, GW_ERR_KEY_INVALID);
    assert_int_equal(ask(f, key), KEY_REFUSED);
    assert_int_equal(f->resolves, 1);
    gw_fake_clock_advance_ms(&f->time, NEGATIVE_TTL_MS);
    uv_run(gw_loop_uv(f->loop), UV_RUN_NOWAIT);
    f->found = true;
    assert_int_equal(ask(f, key), KEY_PENDING);
    assert_int_equal(f->rc, GW_OK);
}

static void a_change_drops_what_is_cached_of_that_key_only(void **state)
{
    fixture *f = *state;
    char a[GW_KEY_MAX_LEN + 1], b[GW_KEY_MAX_LEN + 1];
    gw_str changed = key_text(a, "aAAAAAAAAAAA", 'x'), other = key_text(b, "aBBBBBBBBBBB", 'x');
    ask(f, changed);
    ask(f, other);
    f->generation = 5;
    f->status = "suspended";
    send_change(f, "aAAAAAAAAAAA", 5);
    for (size_t before = f->resolves; f->resolves == before;) {
        uv_run(gw_loop_uv(f->loop), UV_RUN_NOWAIT);
        ask(f, changed);
    }
    assert_string_equal(f->policy_status, "suspended");
    assert_int_equal(ask(f, other), KEY_FOUND);
}

static void a_key_revoked_while_its_resolve_is_in_flight_stays_revoked(void **state)
{
    fixture *f = *state;
    char text[GW_KEY_MAX_LEN + 1];
    gw_str key = key_text(text, "aAAAAAAAAAAA", 'x');
    f->hold = true;
    assert_int_equal(ask(f, key), KEY_PENDING);
    until(f->held);
    /* The change arrives first, then the answer that was read before it; the heartbeat behind the change shows it was taken. */
    send_change(f, "aAAAAAAAAAAA", 9);
    gw_rpc_call *old_question = f->held;
    f->held = NULL;
    until(gw_rpc_call_queued(f->watch) == 0);
    f->generation = 4;
    answer_resolve(f, old_question);
    until(f->held || f->answers);
    if (f->answers == 0) { /* the outdated answer was not believed: auth is asked again */
        f->generation = 9;
        f->status = "revoked";
        answer_resolve(f, f->held);
        until(f->answers);
    } else { /* it overtook the change on the wire: then the change has to drop it */
        f->hold = false;
        f->generation = 9;
        f->status = "revoked";
        for (size_t before = f->resolves; f->resolves == before;) {
            uv_run(gw_loop_uv(f->loop), UV_RUN_NOWAIT);
            ask(f, key);
        }
    }
    assert_string_equal(f->policy_status, "revoked");
    f->hold = false;
    assert_int_equal(ask(f, key), KEY_FOUND);
    assert_string_equal(f->policy_status, "revoked");
}

/* A question that cannot be asked again for want of memory left who waited waiting for ever. */
static void who_waits_is_answered_when_memory_ends_before_the_second_question(void **state)
{
    fixture *f = *state;
    char text[GW_KEY_MAX_LEN + 1], key_id[GW_KEY_ID_LEN + 1];
    bool has_failed = true;
    size_t refused = 0;
    for (size_t n = 1; has_failed; n++) {
        size_t answers = f->answers, resolves = f->resolves + 1;
        (void)snprintf(key_id, sizeof(key_id), "aB%010zu", n);
        f->hold = true;
        f->held = NULL;
        f->generation = 1;
        assert_int_equal(ask(f, key_text(text, key_id, 'x')), KEY_PENDING);
        until(f->held);
        key_cache_apply_change(f->cache, gw_str_of(key_id), 2);
        f->hold = false;
        answer_resolve(f, f->held); /* from before the change: not believed */
        f->generation = 2;
        gw_failing_alloc_arm(n);
        until(f->answers > answers || f->resolves > resolves);
        has_failed = gw_failing_alloc_disarm();
        until(f->answers > answers);
        assert_int_equal(f->answers, answers + 1);
        refused += f->rc == GW_ERR_UNAVAILABLE;
    }
    assert_int_equal(f->rc, GW_OK);
    assert_true(refused > 0);
}

#define ALICE "65a1b2c3d4e5f60718293a4b"

static void applied(fixture *f, int64_t generation)
{
    until(f->cache->generation == generation);
}

static void a_change_of_limits_drops_all_keys_of_that_client_or_owner_only(void **state)
{
    fixture *f = *state;
    char text[3][GW_KEY_MAX_LEN + 1];
    gw_str mobile = key_text(text[0], "aAAAAAAAAAAA", 'x'),
           also_mobile = key_text(text[1], "aBBBBBBBBBBB", 'x'),
           other = key_text(text[2], "aCCCCCCCCCCC", 'x');
    f->client_id = "mobile";
    f->user_id = ALICE;
    ask(f, mobile);
    ask(f, also_mobile);
    f->client_id = "web";
    f->user_id = "";
    ask(f, other);
    f->client_id = "mobile";
    f->user_id = ALICE;
    f->client_generation = 5;
    send_limits_change(f, "mobile", "", 5);
    applied(f, 5);
    assert_int_equal(ask(f, other), KEY_FOUND);
    assert_int_equal(ask(f, mobile), KEY_PENDING);
    assert_int_equal(ask(f, also_mobile), KEY_PENDING);
    assert_int_equal(ask(f, mobile), KEY_FOUND);
    f->owner_generation = 6;
    send_limits_change(f, "", ALICE, 6);
    applied(f, 6);
    assert_int_equal(ask(f, other), KEY_FOUND);
    assert_int_equal(ask(f, mobile), KEY_PENDING);
    assert_int_equal(f->resolves, 6);
    send_limits_change(f, "mobile", "", 5); /* what is held is as new */
    send_heartbeat(f, 7);
    applied(f, 7);
    assert_int_equal(ask(f, mobile), KEY_FOUND);
}

/* The change comes while auth is asked for a key that nobody knows to be the client's. */
static void limits_set_while_a_resolve_is_in_flight_are_not_missed(void **state)
{
    fixture *f = *state;
    char text[GW_KEY_MAX_LEN + 1];
    gw_str key = key_text(text, "aAAAAAAAAAAA", 'x');
    f->client_id = "mobile";
    f->hold = true;
    assert_int_equal(ask(f, key), KEY_PENDING);
    until(f->held);
    send_limits_change(f, "mobile", "", 5);
    applied(f, 5);
    f->hold = false;
    answer_resolve(f, f->held); /* made before there were limits */
    f->client_generation = 5;
    until(f->answers == 1);
    assert_int_equal(f->resolves, 2);
    assert_int_equal(f->rc, GW_OK);
    assert_int_equal(ask(f, key), KEY_FOUND);
}

static void limits_of_nobody_drop_everything(void **state)
{
    fixture *f = *state;
    char text[GW_KEY_MAX_LEN + 1];
    gw_str key = key_text(text, "aAAAAAAAAAAA", 'x');
    ask(f, key);
    send_limits_change(f, "", "", 5);
    applied(f, 5);
    assert_int_equal(ask(f, key), KEY_PENDING);
}

/* Without memory to remember whose key it is, it is refused: a later change would not find it. */
static void a_key_that_no_group_has_room_for_is_not_kept(void **state)
{
    fixture *f = *state;
    char text[GW_KEY_MAX_LEN + 1], key_id[GW_KEY_ID_LEN + 1];
    bool has_failed = true;
    size_t refused = 0;
    for (size_t n = 1; has_failed; n++) {
        char client_id[32];
        size_t answers = f->answers;
        (void)snprintf(key_id, sizeof(key_id), "aB%010zu", n);
        (void)snprintf(client_id, sizeof(client_id), "client-%zu", n);
        f->client_id = client_id;
        f->hold = true;
        f->held = NULL;
        gw_str key = key_text(text, key_id, 'x');
        assert_int_equal(ask(f, key), KEY_PENDING);
        until(f->held);
        f->hold = false;
        answer_resolve(f, f->held);
        gw_failing_alloc_arm(n);
        until(f->answers > answers);
        has_failed = gw_failing_alloc_disarm();
        refused += f->rc != GW_OK;
        if (f->rc != GW_OK)
            assert_int_equal(ask(f, key), KEY_PENDING);
    }
    assert_int_equal(f->rc, GW_OK);
    assert_true(refused > 0);
}

static void a_reset_drops_everything(void **state)
{
    fixture *f = *state;
    char text[GW_KEY_MAX_LEN + 1];
    gw_str key = key_text(text, "aAAAAAAAAAAA", 'x');
    ask(f, key);
    send_reset(f, 7);
    for (size_t before = f->resolves; f->resolves == before;) {
        uv_run(gw_loop_uv(f->loop), UV_RUN_NOWAIT);
        ask(f, key);
    }
    assert_int_equal(f->rc, GW_OK);
}

static void without_heartbeats_policies_live_for_a_bounded_time(void **state)
{
    fixture *f = *state;
    char text[GW_KEY_MAX_LEN + 1];
    gw_str key = key_text(text, "aAAAAAAAAAAA", 'x');
    ask(f, key);
    gw_fake_clock_advance_ms(&f->time, STALE_MAX_MS - 1);
    uv_run(gw_loop_uv(f->loop), UV_RUN_NOWAIT);
    assert_int_equal(ask(f, key), KEY_FOUND);
    gw_fake_clock_advance_ms(&f->time, 1);
    uv_run(gw_loop_uv(f->loop), UV_RUN_NOWAIT);
    assert_int_equal(ask(f, key), KEY_PENDING);
    assert_int_equal(f->resolves, 2);
}

static void a_lost_watch_goes_on_from_the_last_generation(void **state)
{
    fixture *f = *state;
    char text[GW_KEY_MAX_LEN + 1];
    gw_str key = key_text(text, "aAAAAAAAAAAA", 'x');
    assert_int_equal(f->watched_from, 0);
    ask(f, key);
    f->generation = 42;
    send_heartbeat(f, 41);
    send_change(f, "aAAAAAAAAAAA", 42);
    /* Sent is not yet applied; a question that goes to auth again shows that it was. */
    for (size_t before = f->resolves; f->resolves == before;) {
        uv_run(gw_loop_uv(f->loop), UV_RUN_NOWAIT);
        ask(f, key);
    }
    gw_rpc_finish(f->watch);
    while (f->watches < 2) {
        uv_run(gw_loop_uv(f->loop), UV_RUN_NOWAIT);
        gw_fake_clock_advance_ms(&f->time, 1);
    }
    assert_int_equal(f->watched_from, 42);
}

static void the_least_recently_used_key_makes_room(void **state)
{
    fixture *f = *state;
    char text[3][GW_KEY_MAX_LEN + 1];
    gw_str a = key_text(text[0], "aAAAAAAAAAAA", 'x'), b = key_text(text[1], "aBBBBBBBBBBB", 'x'),
           c = key_text(text[2], "aCCCCCCCCCCC", 'x');
    key_cache_free(f->cache);
    f->watch = NULL;
    f->cache = cache_of(f, 2);
    until(key_cache_is_ready(f->cache) && f->watch);
    send_heartbeat(f, 1);
    ask(f, a);
    ask(f, b);
    assert_int_equal(ask(f, a), KEY_FOUND);
    ask(f, c);
    assert_int_equal(ask(f, a), KEY_FOUND);
    assert_int_equal(ask(f, b), KEY_PENDING);
}

int main(void)
{
#define WITH_AUTH(test) cmocka_unit_test_setup_teardown(test, setup, teardown)
    const struct CMUnitTest tests[] = {
        WITH_AUTH(a_key_is_asked_for_once_whoever_waits),
        WITH_AUTH(what_was_fetched_before_the_watch_began_is_asked_for_again),
        WITH_AUTH(a_malformed_key_or_a_bad_tag_costs_no_question),
        WITH_AUTH(an_unknown_key_is_remembered_for_a_while),
        WITH_AUTH(a_change_drops_what_is_cached_of_that_key_only),
        WITH_AUTH(a_key_revoked_while_its_resolve_is_in_flight_stays_revoked),
        WITH_AUTH(who_waits_is_answered_when_memory_ends_before_the_second_question),
        WITH_AUTH(a_change_of_limits_drops_all_keys_of_that_client_or_owner_only),
        WITH_AUTH(limits_set_while_a_resolve_is_in_flight_are_not_missed),
        WITH_AUTH(limits_of_nobody_drop_everything),
        WITH_AUTH(a_key_that_no_group_has_room_for_is_not_kept),
        WITH_AUTH(a_reset_drops_everything),
        WITH_AUTH(without_heartbeats_policies_live_for_a_bounded_time),
        WITH_AUTH(a_lost_watch_goes_on_from_the_last_generation),
        WITH_AUTH(the_least_recently_used_key_makes_room),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
