/* Nonces and offences on a real Redis; auth is what the test says. */
#define _GNU_SOURCE /* memfd_create, pipe2 */
#include "nonce_store.h"
#include "offence_book.h"

#include "redis/test_server.h"

/* ---- auth ---- */

static struct {
    size_t asked;
    char rule[32], api_key_id[32];
    int64_t generation;
    gw_rpc_done_fn done; /* NULL: none is under way */
    void *arg;
} auth;

/* In the place of the real one, which is not linked. */
gw_rpc_client_call *gw_rpc_unary(gw_rpc_channel *ch, const gw_rpc_call_options *o,
                                 const ProtobufCMessage *request, gw_rpc_done_fn done, void *arg)
{
    const Apirelay__Auth__V1__SuspendByRuleRequest *m = (const void *)request;

    (void)ch;
    assert_true(gw_str_eq_c(o->credential, "lcsvc_relay"));
    assert_null(auth.done);
    auth.asked++;
    auth.done = done;
    auth.arg = arg;
    auth.generation = m->generation;
    (void)snprintf(auth.rule, sizeof(auth.rule), "%s", m->rule);
    (void)snprintf(auth.api_key_id, sizeof(auth.api_key_id), "%s", m->api_key_id);
    return (gw_rpc_client_call *)(void *)&auth;
}

static void auth_answers(gw_status rc)
{
    Apirelay__Auth__V1__SuspendByRuleResponse m =
        APIRELAY__AUTH__V1__SUSPEND_BY_RULE_RESPONSE__INIT;
    gw_rpc_done_fn done = auth.done;
    gw_error err;

    m.suspended = true;
    auth.done = NULL;
    if (rc != GW_OK)
        (void)gw_fail(&err, rc, "auth does not answer");
    done(auth.arg, rc, rc == GW_OK ? &m.base : NULL, &err);
}

/* ---- the book ---- */

static world *w;
static offence_book *book;

static int setup(void **state)
{
    gw_error err;
    gw_auto_buf url = {0};

    if (set_up_world_with_server(state) != 0)
        return -1;
    w = *state;
    const gw_redis_options redis = options_of(w, &url);
    if (gw_redis_new(w->loop, w->log, &redis, &w->redis, &err) != GW_OK)
        return -1;
    memset(&auth, 0, sizeof(auth));
    const offence_book_options o = {
        .redis = w->redis, .service_token = GW_STR("lcsvc_relay"), .log = w->log};
    return offence_book_new(&o, &book, &err) == GW_OK ? 0 : -1;
}

static int teardown(void **state)
{
    gw_redis_free(w->redis);
    w->redis = NULL;
    if (auth.done)
        auth_answers(GW_ERR_CANCELLED);
    offence_book_free(book);
    return tear_down_world(state);
}

/* A policy whose both rules say `count` times in a minute; 0: without rules. */
static key_policy *policy(int64_t generation, int64_t count)
{
    Apirelay__Auth__V1__KeyPolicy *m = calloc(1, sizeof(*m));
    key_policy *p = NULL;

    apirelay__auth__v1__key_policy__init(m);
    m->key_id = strdup("aAAAAAAAAAAA");
    m->api_key_id = strdup("0123456789abcdef01234567");
    m->status = strdup("active");
    m->generation = generation;
    m->security = calloc(1, sizeof(*m->security));
    apirelay__auth__v1__key_security__init(m->security);
    if (count > 0) {
        Apirelay__Auth__V1__KeyAutoSuspend *s = calloc(1, sizeof(*s));
        apirelay__auth__v1__key_auto_suspend__init(s);
        s->limit_exceeded = calloc(1, sizeof(*s->limit_exceeded));
        s->bad_signatures = calloc(1, sizeof(*s->bad_signatures));
        apirelay__auth__v1__key_auto_suspend_rule__init(s->limit_exceeded);
        apirelay__auth__v1__key_auto_suspend_rule__init(s->bad_signatures);
        s->limit_exceeded->count = s->bad_signatures->count = count;
        s->limit_exceeded->window_seconds = s->bad_signatures->window_seconds = 60;
        m->security->auto_suspend = s;
    }
    assert_int_equal(key_policy_new(m, &p, NULL), GW_OK);
    return p;
}

static bool is_settled(void *arg)
{
    (void)arg;
    return gw_redis_pending(w->redis) == 0;
}

static void note(const key_policy *p, offence what, size_t times)
{
    while (times-- > 0)
        offence_book_note(book, p, what);
    assert_true(wait_until(w, is_settled, NULL));
}

static void the_nth_offence_within_the_window_asks_auth_once(void **state)
{
    key_policy *p = policy(7, 3);

    (void)state;
    note(p, OFFENCE_BAD_SIGNATURE, 1);
    note(p, OFFENCE_LIMIT_EXCEEDED, 2); /* of another rule */
    note(p, OFFENCE_BAD_SIGNATURE, 1);
    assert_int_equal(auth.asked, 0);
    note(p, OFFENCE_BAD_SIGNATURE, 1);
    assert_int_equal(auth.asked, 1);
    assert_string_equal(auth.rule, "bad_signatures");
    assert_string_equal(auth.api_key_id, "0123456789abcdef01234567");
    assert_int_equal(auth.generation, 7);
    note(p, OFFENCE_BAD_SIGNATURE, 5); /* it is being asked */
    auth_answers(GW_OK);
    note(p, OFFENCE_BAD_SIGNATURE, 5); /* it has answered */
    assert_int_equal(auth.asked, 1);
    key_policy_unref(p);
}

static void what_comes_at_once_is_counted_whole(void **state)
{
    key_policy *p = policy(1, 1000);

    (void)state;
    note(p, OFFENCE_LIMIT_EXCEEDED, 999);
    assert_int_equal(auth.asked, 0);
    note(p, OFFENCE_LIMIT_EXCEEDED, 1);
    assert_int_equal(auth.asked, 1);
    assert_string_equal(auth.rule, "limit_exceeded");
    key_policy_unref(p);
}

static void a_change_of_the_key_counts_anew(void **state)
{
    key_policy *before = policy(1, 2), *after = policy(2, 2);

    (void)state;
    note(before, OFFENCE_BAD_SIGNATURE, 1);
    note(after, OFFENCE_BAD_SIGNATURE, 1);
    assert_int_equal(auth.asked, 0);
    note(after, OFFENCE_BAD_SIGNATURE, 1);
    assert_int_equal(auth.asked, 1);
    assert_int_equal(auth.generation, 2);
    key_policy_unref(before);
    key_policy_unref(after);
}

static void when_auth_has_failed_the_next_offence_asks_again(void **state)
{
    key_policy *p = policy(1, 1);

    (void)state;
    note(p, OFFENCE_BAD_SIGNATURE, 1);
    auth_answers(GW_ERR_UNAVAILABLE);
    note(p, OFFENCE_BAD_SIGNATURE, 1);
    assert_int_equal(auth.asked, 2);
    key_policy_unref(p);
}

static void a_key_without_rules_asks_nobody(void **state)
{
    key_policy *p = policy(1, 0);

    (void)state;
    offence_book_note(book, p, OFFENCE_BAD_SIGNATURE);
    assert_int_equal(gw_redis_pending(w->redis), 0);
    assert_false(gw_redis_is_up(w->redis)); /* it was never needed */
    key_policy_unref(p);
}

static void without_redis_nothing_is_counted(void **state)
{
    key_policy *p = policy(1, 1);

    (void)state;
    kill_server(w);
    note(p, OFFENCE_BAD_SIGNATURE, 3);
    assert_int_equal(auth.asked, 0);
    key_policy_unref(p);
}

/* ---- nonces ---- */

typedef struct asked_nonce {
    nonce_take take;
    bool answered;
    nonce_outcome outcome;
} asked_nonce;

static void on_nonce(void *arg, nonce_outcome outcome)
{
    asked_nonce *a = arg;

    assert_false(a->answered);
    a->answered = true;
    a->outcome = outcome;
}

static bool has_outcome(void *arg)
{
    return ((const asked_nonce *)arg)->answered;
}

static nonce_outcome take(const char *key_id, gw_str nonce, int64_t life_ms)
{
    asked_nonce a = {.take = {.done = on_nonce, .arg = &a}};

    nonce_store_take(w->redis, gw_str_of(key_id), nonce, life_ms, &a.take);
    assert_false(a.answered);
    assert_true(wait_until(w, has_outcome, &a));
    return a.outcome;
}

typedef struct asked_life {
    bool answered;
    int64_t ms;
} asked_life;

static void on_life(void *arg, gw_status rc, const redisReply *m)
{
    asked_life *a = arg;

    a->answered = true;
    a->ms = rc == GW_OK ? m->integer : -1;
}

static bool has_life(void *arg)
{
    return ((const asked_life *)arg)->answered;
}

static int64_t life_left_ms(const char *key_id, const char *nonce)
{
    asked_life a = {.ms = -1};
    gw_auto_buf name = {0};

    gw_buf_appendf(&name, "{%s}:nonce:%s", key_id, nonce);
    gw_redis_call(w->redis, on_life, &a, GW_STR("PTTL"), gw_buf_str(&name));
    assert_true(wait_until(w, has_life, &a));
    return a.ms;
}

#define LIFE_MS 1260000

static void a_nonce_is_fresh_once_for_each_key(void **state)
{
    char longest[129];

    (void)state;
    memset(longest, 'n', 128);
    longest[128] = '\0';
    assert_int_equal(take("aAAAAAAAAAAA", GW_STR("0123456789abcdef"), LIFE_MS), NONCE_FRESH);
    assert_int_equal(take("aAAAAAAAAAAA", GW_STR("0123456789abcdef"), LIFE_MS), NONCE_USED);
    assert_int_equal(take("aBBBBBBBBBBB", GW_STR("0123456789abcdef"), LIFE_MS), NONCE_FRESH);
    assert_int_equal(take("aAAAAAAAAAAA", gw_str_of(longest), LIFE_MS), NONCE_FRESH);
    longest[127] = 'x';
    assert_int_equal(take("aAAAAAAAAAAA", gw_str_of(longest), LIFE_MS), NONCE_FRESH);
    int64_t left_ms = life_left_ms("aAAAAAAAAAAA", "0123456789abcdef");
    assert_true(left_ms > LIFE_MS - 60000 && left_ms <= LIFE_MS);
    kill_server(w);
    assert_int_equal(take("aAAAAAAAAAAA", GW_STR("0123456789abcdef"), LIFE_MS), NONCE_UNKNOWN);
}

int main(void)
{
#define WITH(test) cmocka_unit_test_setup_teardown(test, setup, teardown)
    const struct CMUnitTest tests[] = {
        WITH(the_nth_offence_within_the_window_asks_auth_once),
        WITH(what_comes_at_once_is_counted_whole),
        WITH(a_change_of_the_key_counts_anew),
        WITH(when_auth_has_failed_the_next_offence_asks_again),
        WITH(a_key_without_rules_asks_nobody),
        WITH(without_redis_nothing_is_counted),
        WITH(a_nonce_is_fresh_once_for_each_key),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
