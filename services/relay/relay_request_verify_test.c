/* Signed requests through the real front and machine; Redis and the cache of keys are the kit's. */
#include "relay_request_secrets_kit.h"

#include "request_signature.h"

#define CHAT "{\"model\":\"gpt-4o\",\"messages\":[{\"role\":\"user\",\"content\":\"hi\"}]}"
#define JSON                                                                                       \
    "{\"id\":\"c\",\"choices\":[{\"message\":{\"content\":\"hello\"},\"finish_reason\":\"stop\"}]" \
    "}"
#define NONCE  "0123456789abcdef"
#define PATH   "/v1/chat/completions"
#define SECRET "lcsig_0123456789abcdefghijklmnopqrstuvwxyzABCDEFG"
#define OLDER  "lcsig_9876543210abcdefghijklmnopqrstuvwxyzABCDEFG"

static const script json = REPLY(200, "application/json", JSON);
static char timestamp[24], signature[80];

static int verify_setup(void **state)
{
    if (kit_setup(state) != 0)
        return -1;
    kit *k = *state;
    k->core.master_keys = master_keys(MASTER_KEYS);
    policy_of(k)->signing_required = true;
    policy_of(k)->signing_secret_sealed = sealed(k, GW_KEY_SECRET_SIGNING, SECRET);
    k->policy->signs = true;
    k->nonce = NONCE_FRESH;
    return 0;
}

static int verify_teardown(void **state)
{
    gw_master_keys_free(((kit *)*state)->core.master_keys);
    return kit_teardown(state);
}

static void sign(kit *k, const char *secret, const char *method, const char *target,
                 const char *body, int64_t at_s)
{
    uint8_t mac[GW_SHA256_SIZE];

    (void)snprintf(timestamp, sizeof(timestamp), "%lld", (long long)at_s);
    const request_signature s = {.timestamp = gw_str_of(timestamp), .nonce = GW_STR(NONCE)};
    const signed_content c = {gw_str_of(method), gw_str_of(target), gw_str_of(body)};
    assert_true(request_signature_mac(&s, &c, gw_str_of(secret), mac));
    (void)snprintf(signature, sizeof(signature), "v1=");
    gw_hex_encode(mac, sizeof(mac), signature + 3);
    k->extra[0] = (gw_header){GW_STR("x-relay-timestamp"), gw_str_of(timestamp)};
    k->extra[1] = (gw_header){GW_STR("x-relay-nonce"), GW_STR(NONCE)};
    k->extra[2] = (gw_header){GW_STR("x-relay-signature"), gw_str_of(signature)};
    k->extra_count = 3;
}

static int64_t now_s(void)
{
    return gw_clock_wall_ms(&gw_system_clock) / 1000;
}

static void assert_refused(kit *k, int status, const char *code, size_t bad_signatures)
{
    assert_int_equal(k->answer.status, status);
    assert_true(gw_str_contains(gw_buf_str(&k->answer.body), gw_str_of(code)));
    assert_false(k->upstream_asked);
    assert_int_equal(k->offences[OFFENCE_BAD_SIGNATURE], bad_signatures);
    assert_int_equal(k->offences[OFFENCE_LIMIT_EXCEEDED], 0);
}

static void a_signed_request_is_served_once_its_nonce_is_new(void **state)
{
    kit *k = *state;

    sign(k, SECRET, "POST", PATH, CHAT, now_s());
    ask(k, "good", CHAT, &json);
    assert_int_equal(k->answer.status, 200);
    assert_string_equal(k->nonce_taken.data, NONCE);
    assert_string_equal(k->seen.data, CHAT);
}

/* Its head may come while the timestamp is good, by a clock that is behind, and its body as late as a request may. */
static void a_nonce_outlives_the_last_replay_that_could_pass(void **state)
{
    kit *k = *state;

    k->core.limits.request_timeout_ms = 20000;
    sign(k, SECRET, "POST", PATH, CHAT, now_s());
    ask(k, "good", CHAT, &json);
    assert_int_equal(k->answer.status, 200);
    assert_int_equal(k->nonce_life_ms, 300000 + 300000 + 60000 + 20000);
}

static void an_endpoint_without_a_body_signs_its_query(void **state)
{
    kit *k = *state;

    sign(k, SECRET, "GET", "/v1/models?x=%20y", "", now_s());
    send_call(k, "GET", "/v1/models?x=%20y", "good", NULL);
    run(k);
    assert_int_equal(k->answer.status, 200);
    send_call(k, "GET", "/v1/models", "good", NULL);
    run(k);
    assert_int_equal(k->answer.status, 401);
}

static void what_does_not_hold_is_refused_before_redis_is_asked(void **state)
{
    kit *k = *state;

    sign(k, OLDER, "POST", PATH, CHAT, now_s());
    ask(k, "good", CHAT, &json);
    assert_refused(k, 401, "invalid_signature", 1);
    sign(k, SECRET, "POST", PATH, CHAT " ", now_s());
    ask(k, "good", CHAT, &json);
    assert_refused(k, 401, "invalid_signature", 2);
    sign(k, SECRET, "POST", PATH, CHAT, now_s() - 310);
    ask(k, "good", CHAT, &json);
    assert_refused(k, 401, "signature_expired", 3);
    k->extra_count = 2;
    ask(k, "good", CHAT, &json);
    assert_refused(k, 401, "invalid_signature", 4);
    assert_int_equal(k->nonce_taken.len, 0);
}

static void an_unsigned_request_is_refused_only_when_signing_is_required(void **state)
{
    kit *k = *state;

    ask(k, "good", CHAT, &json);
    assert_refused(k, 401, "signature_required", 0);
    policy_of(k)->signing_required = false;
    ask(k, "good", CHAT, &json);
    assert_int_equal(k->answer.status, 200);
    sign(k, OLDER, "POST", PATH, CHAT, now_s());
    ask(k, "good", CHAT, &json);
    assert_refused(k, 401, "invalid_signature", 1);
}

static void a_header_given_twice_is_400_and_no_offence(void **state)
{
    kit *k = *state;

    sign(k, SECRET, "POST", PATH, CHAT, now_s());
    k->extra[k->extra_count++] = k->extra[1];
    ask(k, "good", CHAT, &json);
    assert_refused(k, 400, "x-relay-nonce", 0);
}

static void a_used_nonce_is_refused_and_a_silent_store_too(void **state)
{
    kit *k = *state;

    sign(k, SECRET, "POST", PATH, CHAT, now_s());
    k->nonce = NONCE_USED;
    ask(k, "good", CHAT, &json);
    assert_refused(k, 401, "nonce_used", 1);
    k->nonce = NONCE_UNKNOWN;
    ask(k, "good", CHAT, &json);
    assert_refused(k, 503, "service_unavailable", 1);
}

static void the_secret_before_holds_until_its_grace_ends(void **state)
{
    kit *k = *state;
    Google__Protobuf__Timestamp *end = calloc(1, sizeof(*end));

    google__protobuf__timestamp__init(end);
    end->seconds = now_s() + 100;
    policy_of(k)->previous_signing_secret_sealed = sealed(k, GW_KEY_SECRET_SIGNING, OLDER);
    policy_of(k)->previous_signing_expires_at = end;
    sign(k, OLDER, "POST", PATH, CHAT, now_s());
    ask(k, "good", CHAT, &json);
    assert_int_equal(k->answer.status, 200);
    end->seconds = now_s() - 1;
    ask(k, "good", CHAT, &json);
    assert_refused(k, 401, "invalid_signature", 1);
}

static void a_secret_that_does_not_open_is_no_fault_of_the_caller(void **state)
{
    kit *k = *state;
    gw_auto(gw_master_keys) ours = k->core.master_keys;
    gw_auto(gw_master_keys) other = master_keys(OTHER_MASTER_KEYS);

    (void)ours; /* freed at the end */
    sign(k, SECRET, "POST", PATH, CHAT, now_s());
    k->core.master_keys = NULL;
    ask(k, "good", CHAT, &json);
    assert_refused(k, 503, "service_unavailable", 0);
    k->core.master_keys = other;
    ask(k, "good", CHAT, &json);
    assert_refused(k, 503, "service_unavailable", 0);
    k->core.master_keys = NULL;
}

/* Redis answers a request that has ended. */
static void who_leaves_before_the_nonce_is_known_asks_nobody(void **state)
{
    kit *k = *state;

    sign(k, SECRET, "POST", PATH, CHAT, now_s());
    k->script = &json;
    k->holds_nonce = true;
    send_call(k, "POST", PATH, "good", CHAT);
    run(k);
    gw_http_cancel(k->call);
    for (int i = 0; i < 1000 && k->event_count == 0; i++)
        uv_run(gw_loop_uv(k->loop), UV_RUN_ONCE);
    assert_int_equal(k->event_count, 1);
    assert_string_equal(k->events[0]->error, "cancelled");
    assert_false(gw_list_is_empty(&k->core.requests)); /* it waits for what it has asked */
    gw_loop_defer(k->loop, answer_nonce, k->nonce_asked);
    run_until_idle(k);
    assert_false(k->upstream_asked);
}

static void a_key_that_does_not_sign_takes_no_notice(void **state)
{
    kit *k = *state;

    policy_of(k)->signing_required = false;
    k->policy->signs = false;
    sign(k, OLDER, "POST", PATH, CHAT, now_s());
    k->extra[k->extra_count++] = k->extra[1];
    ask(k, "good", CHAT, &json);
    assert_int_equal(k->answer.status, 200);
    assert_int_equal(k->nonce_taken.len, 0);
}

#define WITH(test) cmocka_unit_test_setup_teardown(test, verify_setup, verify_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        WITH(a_signed_request_is_served_once_its_nonce_is_new),
        WITH(a_nonce_outlives_the_last_replay_that_could_pass),
        WITH(an_endpoint_without_a_body_signs_its_query),
        WITH(what_does_not_hold_is_refused_before_redis_is_asked),
        WITH(an_unsigned_request_is_refused_only_when_signing_is_required),
        WITH(a_header_given_twice_is_400_and_no_offence),
        WITH(a_used_nonce_is_refused_and_a_silent_store_too),
        WITH(the_secret_before_holds_until_its_grace_ends),
        WITH(a_secret_that_does_not_open_is_no_fault_of_the_caller),
        WITH(who_leaves_before_the_nonce_is_known_asks_nobody),
        WITH(a_key_that_does_not_sign_takes_no_notice),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
