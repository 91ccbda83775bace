/* Users' own LibreChat keys: who is asked as whom, through the real front and machine in front of a scripted upstream. */
#include "relay_request_secrets_kit.h"

#define CHAT "{\"model\":\"gpt-4o\",\"messages\":[{\"role\":\"user\",\"content\":\"hi\"}]}"
#define STREAM                                                                                     \
    "{\"model\":\"gpt-4o\",\"messages\":[{\"role\":\"user\",\"content\":\"hi\"}],\"stream\":true}"
#define JSON                                                                                       \
    "{\"id\":\"c\",\"choices\":[{\"message\":{\"content\":\"hello\"},\"finish_reason\":\"stop\"}]" \
    "}"
#define ERROR "{\"error\":{\"message\":\"no\",\"type\":\"server_error\",\"code\":null}}"
#define QUOTA                                                                                      \
    "{\"error\":{\"message\":\"no\",\"type\":\"insufficient_quota\",\"code\":"                     \
    "\"insufficient_quota\"}}"
#define PLAIN "application/json"
#define SSE   "text/event-stream"
/* As LibreChat tells a failure of its agent's own provider. */
#define DISGUISED                                                                                  \
    "data: {\"id\":\"c\",\"object\":\"chat.completion.chunk\",\"choices\":[{\"index\":0,"          \
    "\"delta\":{\"content\":\"\\n\\nError: 401 no such key\"},\"finish_reason\":\"stop\"}]}\n\n"   \
    "data: [DONE]\n\n"

#define ANNA    "sk-anna-0123456789abcdef0123456789abcdef"
#define BERT    "sk-bert-0123456789abcdef0123456789abcdef"
#define SERVICE "sk-upstream-secret"

static const script good = REPLY(200, PLAIN, JSON);
static provider_config second_provider;
static route_target targets[2];
static char origin[64], key_id[16];

/* The kit's key is from now on that of a user with this LibreChat key; NULL: with none. */
static void be(kit *k, const char *name, const char *librechat_key)
{
    Apirelay__Auth__V1__KeyPolicy *m = policy_of(k);

    free(m->librechat_key_sealed.data);
    m->librechat_key_sealed = (ProtobufCBinaryData){0};
    if (librechat_key)
        m->librechat_key_sealed = sealed(k, GW_KEY_SECRET_LIBRECHAT, librechat_key);
    k->policy->librechat_origin = gw_str_of(librechat_key ? origin : "");
    (void)snprintf(key_id, sizeof(key_id), "%s", name);
    k->policy->key_id = gw_str_of(key_id);
    k->policy->generation++;
}

/* Two targets of the same LibreChat: the second is another provider, at another origin as far as users' keys go. */
static int setup(void **state)
{
    if (kit_setup(state) != 0)
        return -1;
    kit *k = *state;
    k->core.master_keys = master_keys(MASTER_KEYS);
    k->provider.kind = PROVIDER_LIBRECHAT;
    (void)snprintf(origin, sizeof(origin), "http://127.0.0.1:%u", gw_http_server_port(k->upstream));
    second_provider = k->provider;
    second_provider.name = GW_STR("second");
    second_provider.kind = PROVIDER_OPENAI;
    targets[0] = targets[1] = k->target;
    targets[1].provider = &second_provider;
    targets[1].tier = 1;
    k->route.targets = targets;
    be(k, "anna", ANNA);
    return 0;
}

static int teardown(void **state)
{
    gw_master_keys_free(((kit *)*state)->core.master_keys);
    return kit_teardown(state);
}

/* Asks, and says with which credentials the upstream was asked, a space after each. */
static void assert_asked_as(kit *k, const char *body, const script *queue, const char *credentials)
{
    gw_auto_buf seen = {0};

    forget_events(k);
    gw_buf_clear(&k->credentials);
    k->queue = queue;
    k->asked = 0;
    ask(k, "good", body, queue);
    gw_str rest = gw_buf_str(&k->credentials), line = GW_STR("");
    while (gw_str_split(&rest, '\n', &line))
        if (line.len > 0)
            gw_buf_appendf(&seen, "%.*s ",
                           GW_STR_ARG(gw_str_slice(line, strlen("Bearer "), line.len)));
    assert_string_equal(seen.data ? seen.data : "", credentials);
}

static bool says(kit *k, const char *text)
{
    return gw_str_contains(gw_buf_str(&k->answer.body), gw_str_of(text));
}

static void assert_refused(kit *k, int status, const char *code)
{
    assert_int_equal(k->answer.status, status);
    if (!says(k, code))
        fail_msg("%s, not %s", k->answer.body.data, code);
    assert_false(says(k, "sk-"));
}

static bool counts(kit *k, const char *sample)
{
    gw_auto_buf out = {0};

    gw_metrics_render(k->metrics, &out);
    return gw_str_contains(gw_buf_str(&out), gw_str_of(sample));
}

static void each_user_is_asked_for_with_his_own_key(void **state)
{
    kit *k = *state;
    assert_asked_as(k, CHAT, &good, ANNA " ");
    assert_int_equal(k->answer.status, 200);
    be(k, "bert", BERT);
    assert_asked_as(k, CHAT, &good, BERT " ");
    be(k, "nobody", NULL);
    assert_asked_as(k, CHAT, &good, SERVICE " ");
}

static void a_users_key_goes_to_a_librechat_at_its_own_origin_alone(void **state)
{
    kit *k = *state;
    k->policy->librechat_origin = GW_STR("http://elsewhere.example");
    assert_asked_as(k, CHAT, &good, SERVICE " ");
    k->policy->librechat_origin = gw_str_of(origin);
    k->provider.kind = PROVIDER_OPENAI;
    assert_asked_as(k, CHAT, &good, SERVICE " ");
}

static void of_several_credentials_none_is_taken_for_a_user(void **state)
{
    kit *k = *state;
    const gw_str more[] = {GW_STR("sk-other")};
    static const script queue[] = {REPLY(401, PLAIN, ERROR), REPLY(200, PLAIN, JSON)};
    k->provider.more_credentials = more;
    k->provider.more_credential_count = 1;
    assert_asked_as(k, CHAT, queue, ANNA " ");
    assert_refused(k, 502, "upstream_auth_error");
}

static void who_lacks_a_key_that_is_required_is_refused_unasked(void **state)
{
    kit *k = *state;
    k->provider.requires_user_key = true;
    assert_asked_as(k, CHAT, &good, ANNA " ");
    be(k, "nobody", NULL);
    assert_asked_as(k, CHAT, &good, "");
    assert_refused(k, 403, "user_key_required");
    assert_true(counts(k, "relay_user_key_failures_total{reason=\"missing\"} 1"));
    k->policy->librechat_origin = GW_STR("http://elsewhere.example");
    assert_asked_as(k, CHAT, &good, "");
    assert_refused(k, 403, "user_key_required");
    k->route.target_count = 2; /* the other one does not require it */
    assert_asked_as(k, CHAT, &good, SERVICE " ");
    assert_int_equal(k->answer.status, 200);
}

static void a_key_that_does_not_open_is_the_end_whatever_the_route_has(void **state)
{
    kit *k = *state;
    gw_auto(gw_master_keys) ours = k->core.master_keys;
    gw_auto(gw_master_keys) other = master_keys(OTHER_MASTER_KEYS);

    (void)ours; /* freed at the end */
    k->route.target_count = 2;
    k->core.master_keys = NULL;
    assert_asked_as(k, CHAT, &good, "");
    assert_refused(k, 503, "service_unavailable");
    k->core.master_keys = other;
    assert_asked_as(k, CHAT, &good, "");
    assert_refused(k, 503, "LibreChat key of this API key cannot be read");
    assert_true(counts(k, "relay_user_key_failures_total{reason=\"unreadable\"} 2"));
    k->core.master_keys = NULL;
}

static void what_was_sealed_and_is_no_key_is_not_sent(void **state)
{
    kit *k = *state;
    be(k, "anna", "sk-a\r\nx-evil: 1");
    assert_asked_as(k, CHAT, &good, "");
    assert_refused(k, 503, "service_unavailable");
}

static void a_refused_key_is_told_to_its_caller_and_alarms_nobody(void **state)
{
    kit *k = *state;
    static const script refused = REPLY(401, PLAIN, ERROR), forbidden = REPLY(403, PLAIN, ERROR),
                        used_up = REPLY(429, PLAIN, QUOTA);

    assert_asked_as(k, CHAT, &refused, ANNA " ");
    assert_refused(k, 502, "upstream_auth_error");
    assert_true(says(k, "the LibreChat key of this API key was refused"));
    assert_asked_as(k, CHAT, &forbidden, ANNA " ");
    assert_refused(k, 502, "upstream_auth_error");
    assert_true(says(k, "its user may not use gpt-4o there"));
    assert_asked_as(k, CHAT, &used_up, ANNA " ");
    assert_refused(k, 429, "upstream_quota_exceeded");
    assert_true(says(k, "the LibreChat user of this API key"));
    assert_true(counts(k, "relay_user_key_failures_total{reason=\"refused\"} 3"));
    assert_false(counts(k, "relay_upstream_auth_errors_total{"));
    be(k, "nobody", NULL);
    assert_asked_as(k, CHAT, &refused, SERVICE " ");
    assert_true(counts(k, "relay_upstream_auth_errors_total{kind=\"librechat\"} 1"));
}

/* {401, 429 and a used-up quota}: the next target is asked instead, by this user and by nobody else. */
static void what_one_user_is_refused_bars_no_other(void **state)
{
    kit *k = *state;
    static const script answers[] = {
        REPLY(401, PLAIN, ERROR),
        {.status = 429, .type = PLAIN, .parts = {ERROR}, .retry_after = "60"},
        REPLY(429, PLAIN, QUOTA),
    };

    k->route.target_count = 2;
    for (size_t i = 0; i < GW_ARRAY_LEN(answers); i++) {
        const script queue[] = {answers[i], good};
        be(k, "anna", ANNA);
        assert_asked_as(k, CHAT, queue, ANNA " " SERVICE " ");
        assert_int_equal(k->answer.status, 200);
        assert_asked_as(k, CHAT, &good, SERVICE " ");
        be(k, "bert", BERT);
        assert_asked_as(k, CHAT, &good, BERT " ");
        be(k, "nobody", NULL);
        assert_asked_as(k, CHAT, &good, SERVICE " ");
        assert_true(gw_str_eq_c(gw_str_of(k->events[0]->provider), "openai"));
        be(k, "anna", ANNA); /* set anew */
        assert_asked_as(k, CHAT, &good, ANNA " ");
    }
}

static void what_the_provider_refuses_of_its_own_bars_no_user(void **state)
{
    kit *k = *state;
    static const script queue[] = {REPLY(401, PLAIN, ERROR), REPLY(200, PLAIN, JSON)};

    k->route.target_count = 2;
    be(k, "nobody", NULL);
    assert_asked_as(k, CHAT, queue, SERVICE " " SERVICE " ");
    be(k, "anna", ANNA);
    assert_asked_as(k, CHAT, &good, ANNA " ");
}

static void a_users_failures_in_answers_open_no_breaker_but_those_of_the_server_do(void **state)
{
    kit *k = *state;
    static const script disguised = REPLY(200, SSE, DISGUISED), in_json = REPLY(200, PLAIN, ERROR),
                        down = REPLY(503, PLAIN, ERROR);

    target_health_configure(k->core.health, 2, 60000);
    for (int i = 0; i < 3; i++) {
        assert_asked_as(k, STREAM, &disguised, ANNA " ");
        assert_refused(k, 502, "401 no such key");
        assert_asked_as(k, CHAT, &in_json, ANNA " ");
    }
    assert_int_equal(target_health_open_count(k->core.health), 0);
    be(k, "nobody", NULL);
    assert_asked_as(k, CHAT, &good, SERVICE " ");
    be(k, "anna", ANNA);
    assert_asked_as(k, CHAT, &down, ANNA " ");
    assert_asked_as(k, CHAT, &down, ANNA " ");
    assert_int_equal(target_health_open_count(k->core.health), 1);
}

static void an_attempt_that_is_repeated_is_repeated_as_the_same_user(void **state)
{
    kit *k = *state;
    static const script queue[] = {
        {.status = 503, .type = PLAIN, .parts = {ERROR}, .retry_after = "0"},
        REPLY(200, PLAIN, JSON)};

    targets[0].max_retries = 1;
    assert_asked_as(k, CHAT, queue, ANNA " " ANNA " ");
    assert_int_equal(k->answer.status, 200);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(each_user_is_asked_for_with_his_own_key),
        TEST(a_users_key_goes_to_a_librechat_at_its_own_origin_alone),
        TEST(of_several_credentials_none_is_taken_for_a_user),
        TEST(who_lacks_a_key_that_is_required_is_refused_unasked),
        TEST(a_key_that_does_not_open_is_the_end_whatever_the_route_has),
        TEST(what_was_sealed_and_is_no_key_is_not_sent),
        TEST(a_refused_key_is_told_to_its_caller_and_alarms_nobody),
        TEST(what_one_user_is_refused_bars_no_other),
        TEST(what_the_provider_refuses_of_its_own_bars_no_user),
        TEST(a_users_failures_in_answers_open_no_breaker_but_those_of_the_server_do),
        TEST(an_attempt_that_is_repeated_is_repeated_as_the_same_user),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
