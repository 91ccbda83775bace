/* Users who are signed in: through the real front, machine and book, with a scripted store in front of a scripted upstream. */
#include "oidc_test_kit.h"
#include "relay_request_secrets_kit.h"

#define CHAT "{\"model\":\"gpt-4o\",\"messages\":[{\"role\":\"user\",\"content\":\"hi\"}]}"
#define JSON                                                                                       \
    "{\"id\":\"c\",\"choices\":[{\"message\":{\"content\":\"hello\"},\"finish_reason\":\"stop\"}]" \
    "}"
#define ERROR "{\"error\":\"Unauthorized\"}"
#define PLAIN "application/json"

static const script good = REPLY(200, PLAIN, JSON), refused = REPLY(401, PLAIN, ERROR);
static EVP_PKEY *pkey;
static char key_id[16];

/* Answers each query as it says, from the loop; or when the test does so. */
static struct scripted_store {
    user_token_store base;
    user_token_query *query;
    gw_loop *loop;
    size_t queries;
    gw_status rc;
    user_token_state state;
    bool holds; /* the loop is stopped instead */
} store;

static void answer_query(void *arg)
{
    user_token_query *q = arg;
    gw_error err = {.code = store.rc};

    store.query = NULL;
    q->state = store.state;
    if (store.rc == GW_OK && store.state == USER_TOKEN_SIGNED)
        gw_buf_appendf(&q->token, "token-of-%02x-%zu", q->user[0], store.queries);
    q->done(q, store.rc, &err);
}

static void scripted_find(user_token_store *s, user_token_query *q)
{
    (void)s;
    store.queries++;
    store.query = q;
    if (store.holds)
        gw_loop_stop(store.loop);
    else
        gw_loop_defer(store.loop, answer_query, q);
}

/* The kit's key is from now on that of this user. */
static void be(kit *k, const char *name, uint8_t user)
{
    (void)snprintf(key_id, sizeof(key_id), "%s", name);
    k->policy->key_id = gw_str_of(key_id);
    k->policy->has_user_oid = true;
    memset(k->policy->user_oid, user, sizeof(k->policy->user_oid));
}

static int make_key(void **state)
{
    (void)state;
    pkey = EVP_RSA_gen(2048);
    return pkey ? 0 : -1;
}

static int drop_key(void **state)
{
    (void)state;
    EVP_PKEY_free(pkey);
    return 0;
}

static int setup(void **state)
{
    static const user_token_store_ops ops = {scripted_find};
    if (kit_setup(state) != 0)
        return -1;
    kit *k = *state;
    oidc_signer *s = signer_of(pkey, NULL, OIDC_ISSUER);
    store = (struct scripted_store){.base = {&ops}, .loop = k->loop, .state = USER_TOKEN_SIGNED};
    const user_token_book_options o = {.store = &store.base, .metrics = k->core.metrics};
    k->core.user_tokens = user_token_book_new(k->loop, &o);
    user_token_book_set_signer(k->core.user_tokens, s);
    oidc_signer_unref(s);
    k->provider.kind = PROVIDER_LIBRECHAT;
    k->provider.sign_in_audience = GW_STR("https://chat.example");
    be(k, "anna", 0xaa);
    return 0;
}

static int teardown(void **state)
{
    kit *k = *state;
    user_token_book *book = k->core.user_tokens;
    int rc = kit_teardown(state);
    user_token_book_free(book);
    return rc;
}

static bool says(const gw_buf *text, const char *what)
{
    return gw_str_contains(gw_buf_str(text), gw_str_of(what));
}

static bool counts(kit *k, const char *sample)
{
    gw_auto_buf out = {0};

    gw_metrics_render(k->metrics, &out);
    return says(&out, sample);
}

/* Asks, and says as whom the upstream was asked, a space after each. */
static void assert_asked_as(kit *k, const script *queue, const char *credentials)
{
    gw_auto_buf seen = {0};

    forget_events(k);
    gw_buf_clear(&k->credentials);
    k->queue = queue;
    k->asked = 0;
    ask(k, "good", CHAT, queue);
    gw_str rest = gw_buf_str(&k->credentials), line = GW_STR("");
    while (gw_str_split(&rest, '\n', &line))
        if (line.len > 0)
            gw_buf_appendf(&seen, "%.*s ",
                           GW_STR_ARG(gw_str_slice(line, strlen("Bearer "), line.len)));
    assert_string_equal(seen.data ? seen.data : "", credentials);
}

static void assert_refused(kit *k, int status, const char *code, const char *words)
{
    assert_int_equal(k->answer.status, status);
    if (!says(&k->answer.body, code) || !says(&k->answer.body, words))
        fail_msg("%s, not %s", k->answer.body.data, words);
}

static void each_user_is_asked_for_by_his_own_token(void **state)
{
    kit *k = *state;
    assert_asked_as(k, &good, "token-of-aa-1 ");
    assert_int_equal(k->answer.status, 200);
    assert_asked_as(k, &good, "token-of-aa-1 "); /* it is remembered */
    be(k, "bert", 0xbb);
    assert_asked_as(k, &good, "token-of-bb-2 ");
}

static void a_librechat_key_of_the_user_is_not_sent_there(void **state)
{
    kit *k = *state;
    char origin[64];
    (void)snprintf(origin, sizeof(origin), "http://127.0.0.1:%u", gw_http_server_port(k->upstream));
    k->core.master_keys = master_keys(MASTER_KEYS);
    policy_of(k)->librechat_key_sealed =
        sealed(k, GW_KEY_SECRET_LIBRECHAT, "sk-anna-0123456789abcdef0123456789abcdef");
    k->policy->librechat_origin = gw_str_of(origin);
    assert_asked_as(k, &good, "token-of-aa-1 ");
    gw_master_keys_free(k->core.master_keys);
    k->core.master_keys = NULL;
    k->policy->librechat_origin = GW_STR("");
}

static void who_cannot_be_signed_in_is_refused_unasked_whatever_the_route_has(void **state)
{
    static const struct {
        user_token_state state;
        const char *words;
    } cases[] = {{USER_TOKEN_MISSING, "has no user of the id"},
                 {USER_TOKEN_LOCAL, "does not sign in over OpenID"},
                 {USER_TOKEN_ELSEWHERE, "by the issuer that the relay signs in for"},
                 {USER_TOKEN_AMBIGUOUS, "another user of the same OpenID name"}};
    kit *k = *state;
    provider_config second = k->provider;
    second.name = GW_STR("second");
    second.sign_in_audience = GW_STR(""); /* it would be asked with its own credential */
    route_target targets[] = {k->target, k->target};
    targets[1].provider = &second;
    targets[1].tier = 1;
    k->route.targets = targets;
    k->route.target_count = 2;
    for (size_t i = 0; i < GW_ARRAY_LEN(cases); i++) {
        be(k, "anna", (uint8_t)i);
        store.state = cases[i].state;
        assert_asked_as(k, &good, "");
        assert_refused(k, 403, "permission_denied", cases[i].words);
        assert_int_equal(k->event_count, 1);
        assert_string_equal(k->events[0]->outcome, "refused");
    }
    k->policy->has_user_oid = false;
    size_t before = store.queries;
    assert_asked_as(k, &good, "");
    assert_refused(k, 403, "permission_denied", "names no LibreChat user");
    assert_int_equal(store.queries, before);
}

static void users_who_cannot_be_read_are_refused_for_now(void **state)
{
    kit *k = *state;
    store.rc = GW_ERR_UNAVAILABLE;
    assert_asked_as(k, &good, "");
    assert_refused(k, 503, "service_unavailable", "cannot be signed in right now");
    assert_true(counts(k, "relay_user_sign_ins_total{answer=\"unknown\"} 1"));
}

static void a_token_that_is_refused_concerns_its_user_alone(void **state)
{
    kit *k = *state;
    target_health_configure(k->core.health, 1, 60000);
    assert_asked_as(k, &refused, "token-of-aa-1 ");
    assert_refused(k, 502, "upstream_auth_error", "refused to sign in the LibreChat user");
    assert_false(says(&k->answer.body, "token-of"));
    assert_true(counts(k, "relay_user_key_failures_total{reason=\"refused\"} 1"));
    assert_false(counts(k, "relay_upstream_auth_errors_total{"));
    assert_int_equal(target_health_open_count(k->core.health), 0);
    be(k, "bert", 0xbb);
    assert_asked_as(k, &good, "token-of-bb-2 ");
    assert_int_equal(k->answer.status, 200);
}

static void an_attempt_that_is_repeated_has_the_token_of_its_time(void **state)
{
    static const script queue[] = {
        {.status = 503, .type = PLAIN, .parts = {ERROR}, .retry_after = "0"},
        REPLY(200, PLAIN, JSON)};
    kit *k = *state;
    k->target.max_retries = 1;
    assert_asked_as(k, queue, "token-of-aa-1 token-of-aa-1 ");
    assert_int_equal(k->answer.status, 200);
}

static void a_caller_who_leaves_meanwhile_leaves_nothing_behind(void **state)
{
    kit *k = *state;
    store.holds = true;
    k->script = &good;
    send_call(k, "POST", "/v1/chat/completions", "good", CHAT);
    run(k); /* until the store is asked */
    assert_non_null(store.query);
    gw_http_cancel(k->call);
    run_until_idle(k);
    assert_int_equal(k->asked, 0);
    answer_query(store.query); /* nobody is told */
    assert_true(gw_list_is_empty(&k->core.requests));
    store.holds = false;
    assert_asked_as(k, &good, "token-of-aa-1 "); /* what came is remembered */
}

static void the_keys_are_shown_to_everybody(void **state)
{
    kit *k = *state;
    send_call(k, "GET", "/.well-known/jwks.json", NULL, NULL);
    run(k);
    assert_int_equal(k->answer.status, 200);
    assert_true(gw_str_eq(gw_buf_str(&k->answer.body), user_token_book_jwks(k->core.user_tokens)));
    assert_int_equal(k->event_count, 0);
    user_token_book *book = k->core.user_tokens;
    k->core.user_tokens = NULL;
    send_call(k, "GET", "/.well-known/jwks.json", NULL, NULL);
    run(k);
    assert_int_equal(k->answer.status, 404);
    k->core.user_tokens = book;
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(each_user_is_asked_for_by_his_own_token),
        TEST(a_librechat_key_of_the_user_is_not_sent_there),
        TEST(who_cannot_be_signed_in_is_refused_unasked_whatever_the_route_has),
        TEST(users_who_cannot_be_read_are_refused_for_now),
        TEST(a_token_that_is_refused_concerns_its_user_alone),
        TEST(an_attempt_that_is_repeated_has_the_token_of_its_time),
        TEST(a_caller_who_leaves_meanwhile_leaves_nothing_behind),
        TEST(the_keys_are_shown_to_everybody),
    };
    return cmocka_run_group_tests(tests, make_key, drop_key);
}
