/* LibreChat's balances, looked at before a user's own key is sent: through the real front, machine and book, with a scripted store. */
#include "relay_request_secrets_kit.h"

#define CHAT "{\"model\":\"gpt-4o\",\"messages\":[{\"role\":\"user\",\"content\":\"hi\"}]}"
#define JSON                                                                                       \
    "{\"id\":\"c\",\"choices\":[{\"message\":{\"content\":\"hello\"},\"finish_reason\":\"stop\"}]" \
    "}"
#define PLAIN "application/json"

static const script good = REPLY(200, PLAIN, JSON);
static char origin[64];

/* Answers each query as it says, from the loop; or when the test does so. */
static struct scripted_store {
    balance_store base;
    balance_query *query;
    gw_loop *loop;
    size_t queries;
    gw_status rc;
    balance_state state;
    bool holds; /* the loop is stopped instead */
} store;

static void answer_query(void *arg)
{
    balance_query *q = arg;
    gw_error err = {.code = store.rc};

    store.query = NULL;
    q->state = store.state;
    q->done(q, store.rc, &err);
}

static void scripted_find(balance_store *s, balance_query *q)
{
    (void)s;
    store.queries++;
    store.query = q;
    if (store.holds)
        gw_loop_stop(store.loop);
    else
        gw_loop_defer(store.loop, answer_query, q);
}

static int setup(void **state)
{
    static const balance_store_ops ops = {scripted_find};
    if (kit_setup(state) != 0)
        return -1;
    kit *k = *state;
    store = (struct scripted_store){.base = {&ops}, .loop = k->loop, .state = BALANCE_ENOUGH};
    const balance_book_options o = {.store = &store.base, .metrics = k->core.metrics};
    k->core.balances = balance_book_new(k->loop, &o);
    k->core.master_keys = master_keys(MASTER_KEYS);
    k->provider.kind = PROVIDER_LIBRECHAT;
    k->provider.checks_balance = true;
    (void)snprintf(origin, sizeof(origin), "http://127.0.0.1:%u", gw_http_server_port(k->upstream));
    policy_of(k)->librechat_key_sealed =
        sealed(k, GW_KEY_SECRET_LIBRECHAT, "sk-anna-0123456789abcdef0123456789abcdef");
    k->policy->librechat_origin = gw_str_of(origin);
    k->policy->has_user_oid = true;
    memset(k->policy->user_oid, 0xa, sizeof(k->policy->user_oid));
    return 0;
}

static int teardown(void **state)
{
    kit *k = *state;
    balance_book *book = k->core.balances;
    gw_master_keys_free(k->core.master_keys);
    int rc = kit_teardown(state);
    balance_book_free(book);
    return rc;
}

static bool says(const gw_buf *text, const char *what)
{
    return gw_str_contains(gw_buf_str(text), gw_str_of(what));
}

static void assert_refused(kit *k, int status, const char *code, const char *words)
{
    assert_int_equal(k->answer.status, status);
    assert_true(says(&k->answer.body, code));
    if (!says(&k->answer.body, words))
        fail_msg("%s, not %s", k->answer.body.data, words);
    assert_int_equal(k->asked, 0); /* nothing was sent */
    assert_int_equal(k->event_count, 1);
    assert_string_equal(k->events[0]->outcome, "refused");
    assert_int_equal(k->events[0]->cost_nano_usd, 0);
    forget_events(k);
}

static void who_has_credits_is_served(void **state)
{
    kit *k = *state;
    ask(k, "good", CHAT, &good);
    assert_int_equal(k->answer.status, 200);
    assert_int_equal(store.queries, 1);
    ask(k, "good", CHAT, &good);
    assert_int_equal(k->answer.status, 200);
    assert_int_equal(store.queries, 1); /* it is remembered */
    assert_int_equal(k->asked, 2);
}

static void who_has_none_is_refused_as_by_a_spent_budget(void **state)
{
    kit *k = *state;
    store.state = BALANCE_EMPTY;
    ask(k, "good", CHAT, &good);
    assert_true(says(&k->answer.head, "x-should-retry: false"));
    assert_refused(k, 429, "\"code\":\"insufficient_quota\"", "LibreChat balance");
    assert_int_equal(k->offences[OFFENCE_LIMIT_EXCEEDED], 0); /* it is no limit of the key's */
}

static void who_was_never_in_librechat_is_told_so(void **state)
{
    kit *k = *state;
    store.state = BALANCE_MISSING;
    ask(k, "good", CHAT, &good);
    assert_true(says(&k->answer.head, "x-should-retry: false"));
    assert_refused(k, 429, "insufficient_quota", "sign in to LibreChat once");
}

static void a_balance_that_cannot_be_read_bars_nobody_unless_it_is_to(void **state)
{
    kit *k = *state;
    store.rc = GW_ERR_UNAVAILABLE;
    ask(k, "good", CHAT, &good);
    assert_int_equal(k->answer.status, 200);
    forget_events(k);
    k->asked = 0;
    k->core.refuses_unknown_balance = true;
    ask(k, "good", CHAT, &good);
    assert_refused(k, 503, "service_unavailable", "LibreChat balance");
}

static void only_a_users_own_key_at_a_provider_that_says_so_is_looked_at(void **state)
{
    kit *k = *state;
    store.state = BALANCE_EMPTY;
    k->policy->librechat_origin = GW_STR(""); /* the provider's own credential is sent */
    ask(k, "good", CHAT, &good);
    assert_int_equal(k->answer.status, 200);
    k->policy->librechat_origin = gw_str_of(origin);
    k->provider.checks_balance = false;
    ask(k, "good", CHAT, &good);
    assert_int_equal(k->answer.status, 200);
    assert_int_equal(store.queries, 0);
}

static void a_key_of_no_user_is_refused_by_name(void **state)
{
    kit *k = *state;
    k->policy->has_user_oid = false;
    ask(k, "good", CHAT, &good);
    assert_refused(k, 403, "permission", "userId");
    assert_int_equal(store.queries, 0);
}

static void the_refusal_is_final_whatever_targets_the_route_has(void **state)
{
    kit *k = *state;
    route_target targets[] = {k->target, k->target};
    targets[1].tier = 1;
    k->route.targets = targets;
    k->route.target_count = 2;
    store.state = BALANCE_EMPTY; /* another target would not be a way around it */
    ask(k, "good", CHAT, &good);
    assert_refused(k, 429, "insufficient_quota", "LibreChat balance");
    assert_int_equal(store.queries, 1);
}

static void a_caller_who_leaves_meanwhile_leaves_nothing_behind(void **state)
{
    kit *k = *state;
    const target_name name = {k->provider.name, GW_STR("gpt-4o")};
    target_health_configure(k->core.health, 1, 120000); /* it would be the one of a breaker */
    assert_int_equal(target_health_failed(k->core.health, name, gw_loop_now_ms(k->loop) - 120000),
                     HEALTH_OPENED);
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
    ask(k, "good", CHAT, &good);
    assert_int_equal(k->answer.status, 200);
    assert_int_equal(store.queries, 1); /* what came is remembered */
    assert_int_equal(target_health_open_count(k->core.health), 0);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(who_has_credits_is_served),
        TEST(who_has_none_is_refused_as_by_a_spent_budget),
        TEST(who_was_never_in_librechat_is_told_so),
        TEST(a_balance_that_cannot_be_read_bars_nobody_unless_it_is_to),
        TEST(only_a_users_own_key_at_a_provider_that_says_so_is_looked_at),
        TEST(a_key_of_no_user_is_refused_by_name),
        TEST(the_refusal_is_final_whatever_targets_the_route_has),
        TEST(a_caller_who_leaves_meanwhile_leaves_nothing_behind),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
