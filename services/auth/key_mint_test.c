#include "test_kit.h"

static void a_minted_key_parses_and_carries_its_tag(void **state)
{
    (void)state;
    gw_auto(peppers) p = test_peppers(TEST_PEPPERS);
    minted_key k;
    gw_key_parts parts;
    size_t n;
    assert_int_equal(key_mint(p, GW_STR("prod"), GW_STR(""), &k, NULL), GW_OK);
    assert_true(gw_key_parse(gw_str_of(k.text), &parts));
    assert_true(gw_str_eq_c(parts.env, "prod"));
    assert_true(gw_str_eq_c(parts.key_id, k.key_id));
    assert_int_equal(parts.pepper_id, 'a');
    const gw_tag_key *keys = peppers_tag_keys(p, &n);
    assert_true(gw_key_tag_is_valid(keys, n, &parts));
}

static void no_two_minted_keys_are_alike(void **state)
{
    (void)state;
    gw_auto(peppers) p = test_peppers(TEST_PEPPERS);
    minted_key one, two;
    assert_int_equal(key_mint(p, GW_STR("prod"), GW_STR(""), &one, NULL), GW_OK);
    assert_int_equal(key_mint(p, GW_STR("prod"), GW_STR(""), &two, NULL), GW_OK);
    assert_string_not_equal(one.key_id, two.key_id);
}

static void a_new_secret_keeps_the_id_and_its_pepper(void **state)
{
    (void)state;
    gw_auto(peppers) p = test_peppers(TEST_PEPPERS);
    minted_key k;
    gw_key_parts parts;
    size_t n;
    assert_int_equal(key_mint(p, GW_STR("test"), GW_STR("b23456789012"), &k, NULL), GW_OK);
    assert_string_equal(k.key_id, "b23456789012");
    assert_true(gw_key_parse(gw_str_of(k.text), &parts));
    const gw_tag_key *keys = peppers_tag_keys(p, &n);
    assert_true(gw_key_tag_is_valid(keys, n, &parts));
}

static void an_id_of_a_retired_pepper_gets_no_new_secret(void **state)
{
    (void)state;
    gw_auto(peppers) p = test_peppers(TEST_ONLY_B);
    minted_key k;
    assert_int_equal(key_mint(p, GW_STR("test"), GW_STR("a23456789012"), &k, NULL),
                     GW_ERR_FAILED_PRECONDITION);
}

static void the_longest_env_fits(void **state)
{
    (void)state;
    gw_auto(peppers) p = test_peppers(TEST_PEPPERS);
    minted_key k;
    assert_int_equal(key_mint(p, GW_STR("abcdefghij"), GW_STR(""), &k, NULL), GW_OK);
    assert_int_equal(strlen(k.text), GW_KEY_MAX_LEN);
    assert_int_equal(key_mint(p, GW_STR("No"), GW_STR(""), &k, NULL), GW_ERR_INTERNAL);
}

static void admin_keys_and_session_tokens_keep_their_shape(void **state)
{
    (void)state;
    char key[ADMIN_KEY_SIZE], token[SESSION_TOKEN_SIZE];
    gw_str id;
    admin_key_mint(key);
    session_token_mint(token);
    assert_true(admin_key_parse(gw_str_of(key), &id));
    assert_int_equal(id.len, ADMIN_KEY_ID_LEN);
    assert_true(session_token_is_shaped(gw_str_of(token)));
    assert_false(session_token_is_shaped(gw_str_of(key)));
    assert_false(admin_key_parse(gw_str_of(token), &id));
    key[10] = '-';
    token[10] = ' ';
    assert_false(admin_key_parse(gw_str_of(key), &id));
    assert_false(session_token_is_shaped(gw_str_of(token)));
    assert_false(admin_key_parse(GW_STR("lcadm_"), &id));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_minted_key_parses_and_carries_its_tag),
        cmocka_unit_test(no_two_minted_keys_are_alike),
        cmocka_unit_test(a_new_secret_keeps_the_id_and_its_pepper),
        cmocka_unit_test(an_id_of_a_retired_pepper_gets_no_new_secret),
        cmocka_unit_test(the_longest_env_fits),
        cmocka_unit_test(admin_keys_and_session_tokens_keep_their_shape),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
