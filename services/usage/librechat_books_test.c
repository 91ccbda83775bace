#include "librechat_books.h"

#include "testing/cmocka.h"

#define SECOND 0x65000000LL

static void add(librechat_booking *b, bson_t *transaction)
{
    librechat_booking_add(b, transaction);
    bson_destroy(transaction);
}

static bson_t *transaction(const char *type, const char *model, double tokens, double credits)
{
    bson_oid_t id;
    bson_oid_init_from_string(&id, "650000000000000000000001");
    return BCON_NEW("_id", BCON_OID(&id), "tokenType", BCON_UTF8(type), "model", BCON_UTF8(model),
                    "rawAmount", BCON_DOUBLE(-tokens), "tokenValue", BCON_DOUBLE(-credits));
}

static void both_sides_of_every_call_are_summed(void **state)
{
    (void)state;
    librechat_booking b = {0};
    add(&b, transaction("prompt", "gpt-4o", 1200, 3000));
    add(&b, transaction("completion", "gpt-4o", 100, 1000));
    add(&b, transaction("prompt", "o3", 40, 80.5));
    add(&b, transaction("completion", "o3", 10, 80.25));
    assert_int_equal(b.transactions, 4);
    assert_int_equal(b.prompt_tokens, 1240);
    assert_int_equal(b.completion_tokens, 110);
    assert_true(b.credits == 4160.75);
    assert_int_equal(librechat_booking_nano_usd(&b), 4160750);
    assert_string_equal(b.model, "gpt-4o");
    assert_int_equal(b.newest_ms, SECOND * 1000);
    assert_false(b.has_user);
}

static void a_prompt_with_a_cache_tells_its_parts(void **state)
{
    (void)state;
    librechat_booking b = {0};
    bson_oid_t user;
    bson_oid_init_from_string(&user, "65f0aa0000000000000000a1");
    add(&b, BCON_NEW("tokenType", BCON_UTF8("prompt"), "rawAmount", BCON_INT32(-100), "inputTokens",
                     BCON_INT32(-30), "readTokens", BCON_INT32(-50), "writeTokens", BCON_INT32(-20),
                     "tokenValue", BCON_INT64(-7), "user", BCON_OID(&user)));
    assert_int_equal(b.prompt_tokens, 100);
    assert_int_equal(b.cache_read_tokens, 50);
    assert_int_equal(b.cache_write_tokens, 20);
    assert_int_equal(librechat_booking_nano_usd(&b), 7000);
    assert_true(b.has_user && b.user.bytes[11] == 0xa1);
    assert_string_equal(b.model, "");
}

static void what_is_not_about_tokens_adds_nothing(void **state)
{
    (void)state;
    librechat_booking b = {0};
    add(&b, transaction("credits", "x", 5, 5));
    add(&b, BCON_NEW("rawAmount", BCON_INT32(-5)));
    assert_int_equal(b.transactions, 0);
    assert_int_equal(librechat_booking_nano_usd(&b), 0);
}

static void odd_amounts_are_bounded(void **state)
{
    (void)state;
    librechat_booking b = {0};
    add(&b, transaction("prompt", "m", -5, -5)); /* a gift is no spend */
    assert_int_equal(b.prompt_tokens, 0);
    assert_int_equal(librechat_booking_nano_usd(&b), 0);
    add(&b, transaction("prompt", "m", 1e300, 1e300));
    assert_int_equal(b.prompt_tokens, 1000000000000);
    assert_int_equal(librechat_booking_nano_usd(&b), 1000000000000000);
    add(&b, BCON_NEW("tokenType", BCON_UTF8("completion"), "rawAmount", BCON_UTF8("-5"),
                     "tokenValue", BCON_NULL));
    assert_int_equal(b.completion_tokens, 0);
    assert_int_equal(b.transactions, 3);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(both_sides_of_every_call_are_summed),
        cmocka_unit_test(a_prompt_with_a_cache_tells_its_parts),
        cmocka_unit_test(what_is_not_about_tokens_adds_nothing),
        cmocka_unit_test(odd_amounts_are_bounded),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
