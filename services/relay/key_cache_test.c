#include "key_cache_test_kit.h"

#include "testing/failing_alloc.h"

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
    uint64_t stamp = key_cache_stamp(f->cache);
    f->generation = 5;
    f->status = "suspended";
    send_change(f, "aAAAAAAAAAAA", 5);
    for (size_t before = f->resolves; f->resolves == before;) {
        uv_run(gw_loop_uv(f->loop), UV_RUN_NOWAIT);
        ask(f, changed);
    }
    assert_string_equal(f->policy_status, "suspended");
    assert_int_equal(ask(f, other), KEY_FOUND);
    assert_true(stamp > 0 && key_cache_stamp(f->cache) > stamp);
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
    uint64_t stamp = key_cache_stamp(f->cache);
    send_limits_change(f, "mobile", "", 5);
    applied(f, 5);
    assert_true(key_cache_stamp(f->cache) > stamp);
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
    assert_int_equal(key_cache_stamp(f->cache), 0);
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
