#include "access/key_format.h"

#include "crypto/crypto.h"
#include "testing/cmocka.h"

/* Fixed vectors: the pepper of bytes 0, 1, … 31 under the id 'a', checked with an implementation of
 * RFC 5869 and RFC 2104 of its own. */
#define TAG_KEY_HEX "8f891614e82ca20b1007402bb497df9ce3e73292af656b1cba9335ab22dafd11"
#define PROD_KEY    "lc_prod_a0000000000100000000000000000000000000000000956CR7"
#define TEST_KEY    "lc_test_aZyXwVuTsRq0abcdefghijklmnopqrstuvwxyzABCDEF8TGrdR"

static gw_tag_key vector_tag_key(void)
{
    uint8_t pepper[32];
    for (size_t i = 0; i < sizeof(pepper); i++)
        pepper[i] = (uint8_t)i;
    gw_tag_key k = {.pepper_id = 'a'};
    assert_int_equal(
        gw_hkdf_sha256(pepper, sizeof(pepper), GW_STR("tag"), k.key, sizeof(k.key), NULL), GW_OK);
    return k;
}

static void the_tag_key_is_the_fixed_vector(void **state)
{
    (void)state;
    gw_tag_key k = vector_tag_key();
    char hex[65];
    gw_hex_encode(k.key, sizeof(k.key), hex);
    assert_string_equal(hex, TAG_KEY_HEX);
}

static void a_key_splits_into_its_parts(void **state)
{
    (void)state;
    gw_key_parts p;
    assert_true(gw_key_parse(GW_STR(TEST_KEY), &p));
    assert_true(gw_str_eq_c(p.env, "test"));
    assert_true(gw_str_eq_c(p.key_id, "aZyXwVuTsRq0"));
    assert_int_equal(p.pepper_id, 'a');
    assert_true(gw_str_eq_c(p.secret, "abcdefghijklmnopqrstuvwxyzABCDEF"));
    assert_true(gw_str_eq_c(p.tag, "8TGrdR"));
    assert_true(gw_str_eq_c(p.untagged, "lc_test_aZyXwVuTsRq0abcdefghijklmnopqrstuvwxyzABCDEF"));
}

static void the_fixed_keys_carry_their_tags(void **state)
{
    (void)state;
    gw_tag_key k = vector_tag_key();
    const gw_str keys[] = {GW_STR(PROD_KEY), GW_STR(TEST_KEY)};
    for (size_t i = 0; i < GW_ARRAY_LEN(keys); i++) {
        gw_key_parts p;
        char tag[GW_KEY_TAG_LEN + 1];
        assert_true(gw_key_parse(keys[i], &p));
        gw_key_tag(k.key, p.untagged, tag);
        assert_true(gw_str_eq_c(p.tag, tag));
        assert_true(gw_key_tag_is_valid(&k, 1, &p));
    }
}

static void any_changed_character_spoils_the_tag(void **state)
{
    (void)state;
    gw_tag_key k = vector_tag_key();
    for (size_t at = sizeof("lc_prod_") - 1 + 1; at < sizeof(PROD_KEY) - 1; at++) {
        char key[] = PROD_KEY;
        key[at] = key[at] == 'q' ? 'r' : 'q';
        gw_key_parts p;
        assert_true(gw_key_parse(gw_str_of(key), &p));
        assert_false(gw_key_tag_is_valid(&k, 1, &p));
    }
}

static void a_tag_of_an_unknown_pepper_is_not_valid(void **state)
{
    (void)state;
    gw_tag_key k = vector_tag_key();
    k.pepper_id = 'b';
    gw_key_parts p;
    assert_true(gw_key_parse(GW_STR(PROD_KEY), &p));
    assert_false(gw_key_tag_is_valid(&k, 1, &p));
    assert_false(gw_key_tag_is_valid(NULL, 0, &p));
}

static void wrong_shapes_are_refused(void **state)
{
    (void)state;
    static const char body[] = "a0000000000100000000000000000000000000000000956CR7";
    static const struct {
        const char *name, *before, *after;
    } cases[] = {
        {"no prefix", "prod_", ""},
        {"another prefix", "sk_prod_", ""},
        {"upper-case prefix", "LC_prod_", ""},
        {"no env", "lc__", ""},
        {"env of one character", "lc_p_", ""},
        {"env of eleven characters", "lc_abcdefghijk_", ""},
        {"env that starts with a digit", "lc_1a_", ""},
        {"env in upper case", "lc_Prod_", ""},
        {"one character too many", "lc_prod_", "x"},
        {"a space behind", "lc_prod_", " "},
        {"a NUL's stand-in", "lc_prod_", "\n"},
    };
    for (size_t i = 0; i < GW_ARRAY_LEN(cases); i++) {
        gw_auto_buf key = {0};
        gw_key_parts p;
        gw_buf_appendf(&key, "%s%s%s", cases[i].before, body, cases[i].after);
        if (gw_key_parse(gw_buf_str(&key), &p))
            fail_msg("accepted: %s", cases[i].name);
    }
    gw_key_parts p;
    assert_false(gw_key_parse(GW_STR_NULL, &p));
    assert_false(gw_key_parse(GW_STR("lc_"), &p));
    for (size_t len = 0; len < sizeof(PROD_KEY) - 1; len++)
        assert_false(gw_key_parse(gw_str_n(PROD_KEY, len), &p));
}

static void shortest_and_longest_env_fit(void **state)
{
    (void)state;
    gw_key_parts p;
    assert_true(
        gw_key_parse(GW_STR("lc_a1_a0000000000100000000000000000000000000000000956CR7"), &p));
    assert_true(gw_key_parse(
        GW_STR("lc_abcdefghij_a0000000000100000000000000000000000000000000956CR7"), &p));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_tag_key_is_the_fixed_vector),
        cmocka_unit_test(a_key_splits_into_its_parts),
        cmocka_unit_test(the_fixed_keys_carry_their_tags),
        cmocka_unit_test(any_changed_character_spoils_the_tag),
        cmocka_unit_test(a_tag_of_an_unknown_pepper_is_not_valid),
        cmocka_unit_test(wrong_shapes_are_refused),
        cmocka_unit_test(shortest_and_longest_env_fit),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
