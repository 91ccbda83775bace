#include "user_token_book.h"

#include "oidc_test_kit.h"
#include "relay_metrics.h"

#include "testing/exhaust.h"
#include "testing/fake_clock.h"

#define ASKERS   6
#define AUDIENCE "https://chat.example"

/* A store that answers when the test says so. */
typedef struct fake_store {
    user_token_store base;
    user_token_query *asked[8];
    size_t count;
} fake_store;

typedef struct asker {
    shared_wait wait;
    unsigned told;
} asker;

typedef struct fixture {
    gw_fake_clock time;
    gw_clock clock;
    gw_loop *loop;
    fake_store store;
    gw_metrics *metrics;
    user_token_book *book;
    gw_arena *arena;
    gw_str token; /* the last one given */
    asker askers[ASKERS];
} fixture;

static EVP_PKEY *pkey, *other;
static oidc_signer *signer, *next_signer;

static void fake_find(user_token_store *s, user_token_query *q)
{
    fake_store *f = GW_CONTAINER_OF(s, fake_store, base);
    assert_true(f->count < GW_ARRAY_LEN(f->asked));
    assert_int_equal(q->token.len, 0);
    f->asked[f->count++] = q;
}

/* The oldest question; a token is "t" and the time from when it holds. */
static void answer(fixture *f, gw_status rc, user_token_state state)
{
    gw_error err = {.code = rc};
    user_token_query *q = f->store.asked[0];
    assert_true(f->store.count > 0);
    memmove(f->store.asked, f->store.asked + 1, --f->store.count * sizeof(q));
    q->state = state;
    if (rc == GW_OK && state == USER_TOKEN_SIGNED)
        gw_buf_appendf(&q->token, "t%lld%s", (long long)q->now_s - 1764000000,
                       q->signer == next_signer ? "n" : "");
    q->done(q, rc, &err);
}

static void on_told(void *arg)
{
    ((asker *)arg)->told++;
}

static user_token_answer ask_at(fixture *f, unsigned number, uint8_t user_number, gw_str audience)
{
    asker *a = &f->askers[number];
    const uint8_t user[USER_TOKEN_ID_BYTES] = {[11] = user_number};
    *a = (asker){.wait = {.done = on_told, .arg = a}};
    f->token = GW_STR("");
    return user_token_book_get(f->book, user, audience, f->arena, &f->token, &a->wait);
}

static user_token_answer ask(fixture *f, unsigned number)
{
    return ask_at(f, number, (uint8_t)number, GW_STR(AUDIENCE));
}

static void assert_given(fixture *f, unsigned number, const char *token)
{
    assert_int_equal(ask(f, number), USER_TOKEN_IS_GIVEN);
    assert_string_equal(f->token.ptr, token);
}

static void pass(fixture *f, int64_t ms)
{
    gw_fake_clock_advance_ms(&f->time, ms);
    uv_run(gw_loop_uv(f->loop), UV_RUN_NOWAIT);
}

static bool counts(fixture *f, const char *sample)
{
    gw_auto_buf out = {0};
    gw_metrics_render(f->metrics, &out);
    return gw_str_contains(gw_buf_str(&out), gw_str_of(sample));
}

static int make_keys(void **state)
{
    (void)state;
    pkey = EVP_RSA_gen(2048);
    other = EVP_RSA_gen(2048);
    signer = signer_of(pkey, NULL, OIDC_ISSUER);
    next_signer = signer_of(other, pkey, OIDC_ISSUER);
    return 0;
}

static int drop_keys(void **state)
{
    (void)state;
    oidc_signer_unref(signer);
    oidc_signer_unref(next_signer);
    EVP_PKEY_free(pkey);
    EVP_PKEY_free(other);
    return 0;
}

static int setup(void **state)
{
    static const user_token_store_ops ops = {fake_find};
    static fixture fixed;
    fixture *f = &fixed;
    *f = (fixture){.store.base.ops = &ops, .arena = gw_arena_new()};
    f->clock = gw_fake_clock_init(&f->time, 1764000000000);
    f->metrics = gw_metrics_new(relay_metric_table, RELAY_METRIC_COUNT);
    if (gw_loop_new(&f->clock, &f->loop, NULL) != GW_OK)
        return -1;
    const user_token_book_options o = {.store = &f->store.base,
                                       .metrics = gw_metrics_shard_new(f->metrics)};
    f->book = user_token_book_new(f->loop, &o);
    user_token_book_set_signer(f->book, signer);
    *state = f;
    return f->book ? 0 : -1;
}

static int teardown(void **state)
{
    fixture *f = *state;
    user_token_book_free(f->book);
    gw_arena_free(f->arena);
    gw_metrics_free(f->metrics);
    gw_loop_free(f->loop);
    return 0;
}

static void a_token_is_shared_and_sent_for_three_quarters_of_its_life(void **state)
{
    fixture *f = *state;
    for (unsigned i = 0; i < 3; i++)
        assert_int_equal(ask_at(f, i, 0, GW_STR(AUDIENCE)), USER_TOKEN_WAITS);
    assert_int_equal(f->store.count, 1);
    assert_true(gw_str_eq_c(f->store.asked[0]->audience, AUDIENCE));
    pass(f, 1000); /* of its life, too */
    answer(f, GW_OK, USER_TOKEN_SIGNED);
    for (unsigned i = 0; i < 3; i++)
        assert_int_equal(f->askers[i].told, 1);
    assert_given(f, 0, "t0");
    pass(f, USER_TOKEN_KEPT_MS - 1001);
    assert_given(f, 0, "t0");
    pass(f, 1);
    assert_int_equal(ask(f, 0), USER_TOKEN_WAITS);
    answer(f, GW_OK, USER_TOKEN_SIGNED);
    assert_given(f, 0, "t45");
    assert_true(counts(f, "relay_user_sign_ins_total{answer=\"signed\"} 3"));
}

static void each_audience_has_tokens_of_its_own(void **state)
{
    fixture *f = *state;
    assert_int_equal(ask(f, 0), USER_TOKEN_WAITS);
    answer(f, GW_OK, USER_TOKEN_SIGNED);
    pass(f, 1000);
    assert_int_equal(ask_at(f, 1, 0, GW_STR("https://other.example")), USER_TOKEN_WAITS);
    assert_true(gw_str_eq_c(f->store.asked[0]->audience, "https://other.example"));
    answer(f, GW_OK, USER_TOKEN_SIGNED);
    assert_int_equal(ask_at(f, 1, 0, GW_STR("https://other.example")), USER_TOKEN_IS_GIVEN);
    assert_string_equal(f->token.ptr, "t1");
    assert_given(f, 0, "t0");
}

static void who_has_none_is_looked_at_again_soon(void **state)
{
    static const struct {
        user_token_state state;
        user_token_answer answer;
    } cases[] = {{USER_TOKEN_MISSING, USER_TOKEN_IS_MISSING},
                 {USER_TOKEN_LOCAL, USER_TOKEN_IS_LOCAL},
                 {USER_TOKEN_ELSEWHERE, USER_TOKEN_IS_ELSEWHERE},
                 {USER_TOKEN_AMBIGUOUS, USER_TOKEN_IS_AMBIGUOUS}};
    fixture *f = *state;
    for (unsigned i = 0; i < GW_ARRAY_LEN(cases); i++) {
        assert_int_equal(ask(f, i), USER_TOKEN_WAITS);
        answer(f, GW_OK, cases[i].state);
        assert_int_equal(ask(f, i), cases[i].answer);
        pass(f, USER_TOKEN_REFUSE_MS - 1);
        assert_int_equal(ask(f, i), cases[i].answer);
        assert_int_equal(f->token.len, 0);
        pass(f, 1);
        assert_int_equal(ask(f, i), USER_TOKEN_WAITS);
        answer(f, GW_OK, USER_TOKEN_SIGNED);
        assert_int_equal(ask(f, i), USER_TOKEN_IS_GIVEN);
    }
    assert_true(counts(f, "relay_user_sign_ins_total{answer=\"local\"} 2"));
}

static void few_reads_are_under_way_and_the_others_follow(void **state)
{
    fixture *f = *state;
    for (unsigned i = 0; i < 4; i++)
        assert_int_equal(ask(f, i), USER_TOKEN_WAITS);
    assert_int_equal(f->store.count, USER_TOKEN_READS_MAX);
    shared_wait_forget(&f->askers[2].wait); /* nobody wants to know any more */
    answer(f, GW_OK, USER_TOKEN_SIGNED);
    assert_int_equal(f->store.count, 2);
    assert_int_equal(f->store.asked[1]->user[11], 3);
    answer(f, GW_OK, USER_TOKEN_SIGNED);
    answer(f, GW_OK, USER_TOKEN_SIGNED);
    assert_int_equal(f->askers[2].told, 0);
}

static void while_users_cannot_be_read_one_tries_and_who_has_a_token_goes_on(void **state)
{
    fixture *f = *state;
    assert_int_equal(ask(f, 0), USER_TOKEN_WAITS);
    answer(f, GW_OK, USER_TOKEN_SIGNED);
    assert_int_equal(ask(f, 1), USER_TOKEN_WAITS);
    answer(f, GW_ERR_UNAVAILABLE, USER_TOKEN_MISSING);
    assert_int_equal(f->askers[1].told, 1);
    assert_int_equal(ask(f, 1), USER_TOKEN_IS_UNKNOWN);
    assert_given(f, 0, "t0");
    pass(f, USER_TOKEN_RETRY_MS);
    assert_int_equal(ask(f, 1), USER_TOKEN_WAITS);
    assert_int_equal(ask(f, 2), USER_TOKEN_IS_UNKNOWN);
    answer(f, GW_OK, USER_TOKEN_SIGNED);
    assert_int_equal(ask(f, 2), USER_TOKEN_WAITS);
    answer(f, GW_OK, USER_TOKEN_SIGNED);
}

static void nobody_waits_longer_than_two_seconds(void **state)
{
    fixture *f = *state;
    assert_int_equal(ask(f, 0), USER_TOKEN_WAITS);
    pass(f, USER_TOKEN_WAIT_MS);
    assert_int_equal(f->askers[0].told, 1);
    assert_int_equal(ask(f, 0), USER_TOKEN_IS_UNKNOWN);
    answer(f, GW_OK, USER_TOKEN_SIGNED); /* late, and good */
    assert_given(f, 0, "t0");
}

static void with_another_key_every_token_is_signed_anew(void **state)
{
    fixture *f = *state;
    assert_int_equal(ask(f, 0), USER_TOKEN_WAITS);
    answer(f, GW_OK, USER_TOKEN_SIGNED);
    assert_int_equal(ask(f, 1), USER_TOKEN_WAITS); /* under way meanwhile */
    user_token_book_set_signer(f->book, next_signer);
    answer(f, GW_OK, USER_TOKEN_SIGNED);
    assert_int_equal(f->askers[1].told, 0); /* but asked for once more */
    answer(f, GW_OK, USER_TOKEN_SIGNED);
    assert_int_equal(f->askers[1].told, 1);
    assert_given(f, 1, "t0n");
    assert_int_equal(ask(f, 0), USER_TOKEN_WAITS);
    answer(f, GW_OK, USER_TOKEN_SIGNED);
    assert_given(f, 0, "t0n");
}

static void many_users_are_remembered_and_no_more(void **state)
{
    fixture *f = *state;
    gw_str ret;
    for (unsigned i = 0; i < USER_TOKENS_MAX + 50; i++) {
        asker *a = &f->askers[0];
        const uint8_t user[USER_TOKEN_ID_BYTES] = {(uint8_t)(i >> 8), (uint8_t)i, 1};
        *a = (asker){.wait = {.done = on_told, .arg = a}};
        assert_int_equal(
            user_token_book_get(f->book, user, GW_STR(AUDIENCE), f->arena, &ret, &a->wait),
            USER_TOKEN_WAITS);
        answer(f, GW_OK, USER_TOKEN_LOCAL);
    }
    const uint8_t first[USER_TOKEN_ID_BYTES] = {0, 0, 1},
                  last[USER_TOKEN_ID_BYTES] = {(USER_TOKENS_MAX + 49) >> 8,
                                               (USER_TOKENS_MAX + 49) & 0xff, 1};
    shared_wait *w = &f->askers[0].wait;
    assert_int_equal(user_token_book_get(f->book, last, GW_STR(AUDIENCE), f->arena, &ret, w),
                     USER_TOKEN_IS_LOCAL);
    assert_int_equal(user_token_book_get(f->book, first, GW_STR(AUDIENCE), f->arena, &ret, w),
                     USER_TOKEN_WAITS);
    answer(f, GW_OK, USER_TOKEN_LOCAL);
}

static gw_status ask_without_memory(void *arg)
{
    fixture *f = arg;
    static unsigned number = 100;
    asker *a = &f->askers[0];
    const uint8_t user[USER_TOKEN_ID_BYTES] = {
        [10] = (uint8_t)(number >> 8), [11] = (uint8_t)number};
    gw_str ret;
    number++;
    *a = (asker){.wait = {.done = on_told, .arg = a}};
    if (user_token_book_get(f->book, user, GW_STR(AUDIENCE), f->arena, &ret, &a->wait) !=
        USER_TOKEN_WAITS)
        return GW_ERR_NO_MEMORY;
    answer(f, GW_OK, USER_TOKEN_LOCAL);
    return GW_OK;
}

static void without_memory_a_user_is_not_known(void **state)
{
    gw_exhaust(ask_without_memory, *state);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_token_is_shared_and_sent_for_three_quarters_of_its_life),
        TEST(each_audience_has_tokens_of_its_own),
        TEST(who_has_none_is_looked_at_again_soon),
        TEST(few_reads_are_under_way_and_the_others_follow),
        TEST(while_users_cannot_be_read_one_tries_and_who_has_a_token_goes_on),
        TEST(nobody_waits_longer_than_two_seconds),
        TEST(with_another_key_every_token_is_signed_anew),
        TEST(many_users_are_remembered_and_no_more),
        TEST(without_memory_a_user_is_not_known),
    };
    return cmocka_run_group_tests(tests, make_keys, drop_keys);
}
