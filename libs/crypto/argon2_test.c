#include "crypto/crypto.h"
#include "testing/cmocka.h"

static const gw_argon2_cost cheap = {.memory_kib = 64, .passes = 1, .lanes = 1};

static void a_hashed_secret_verifies_and_another_does_not(void **state)
{
    (void)state;
    char phc[GW_ARGON2_PHC_SIZE];
    assert_int_equal(gw_argon2id_hash(GW_STR("pa\0ss"), cheap, phc, NULL), GW_OK);
    assert_true(gw_argon2id_verify(phc, GW_STR("pa\0ss")));
    assert_false(gw_argon2id_verify(phc, GW_STR("pa\0sS")));
    assert_false(gw_argon2id_verify(phc, GW_STR("pa")));
    assert_false(gw_argon2id_verify(phc, GW_STR_NULL));
}

static void the_default_cost_is_the_documented_one(void **state)
{
    (void)state;
    char phc[GW_ARGON2_PHC_SIZE];
    assert_int_equal(gw_argon2id_hash(GW_STR("password"), gw_argon2_default, phc, NULL), GW_OK);
    assert_true(gw_str_starts_with(gw_str_of(phc), GW_STR("$argon2id$v=19$m=19456,t=2,p=1$")));
    assert_true(gw_argon2id_verify(phc, GW_STR("password")));
}

static void two_hashes_of_a_secret_differ_by_their_salts(void **state)
{
    (void)state;
    char a[GW_ARGON2_PHC_SIZE];
    char b[GW_ARGON2_PHC_SIZE];
    assert_int_equal(gw_argon2id_hash(GW_STR("x"), cheap, a, NULL), GW_OK);
    assert_int_equal(gw_argon2id_hash(GW_STR("x"), cheap, b, NULL), GW_OK);
    assert_string_not_equal(a, b);
}

/* From the reference implementation's own test program: argon2id, v=19, t=2, m=256 KiB, p=1. */
static void a_string_of_the_reference_program_verifies(void **state)
{
    (void)state;
    const char *phc =
        "$argon2id$v=19$m=256,t=2,p=1$c29tZXNhbHQ$nf65EOgLrQMR/uIPnA4rEsF5h7TKyQwu9U1bMCHGi/4";
    assert_true(gw_argon2id_verify(phc, GW_STR("password")));
    assert_false(gw_argon2id_verify(phc, GW_STR("Password")));
}

static void absurd_and_malformed_strings_are_refused(void **state)
{
    (void)state;
#define TAIL "$c29tZXNhbHQ$nf65EOgLrQMR/uIPnA4rEsF5h7TKyQwu9U1bMCHGi/4"
    static const char *const refused[] = {
        "$argon2id$v=19$m=65537,t=2,p=1" TAIL,
        "$argon2id$v=19$m=4294967295,t=2,p=1" TAIL,
        "$argon2id$v=19$m=99999999999999999999,t=2,p=1" TAIL,
        "$argon2id$v=19$m=256,t=11,p=1" TAIL,
        "$argon2id$v=19$m=256,t=0,p=1" TAIL,
        "$argon2id$v=19$m=256,t=2,p=0" TAIL,
        "$argon2id$v=19$m=65536,t=2,p=9" TAIL,
        "$argon2id$v=19$m=-1,t=2,p=1" TAIL,
        "$argon2id$v=16$m=256,t=2,p=1" TAIL,
        "$argon2i$v=19$m=256,t=2,p=1" TAIL,
        "$argon2id$v=19$t=2,m=256,p=1" TAIL,
        "$argon2id$v=19$m=256,t=2,p=1",
        "$argon2id$v=19$m=256,t=2,p=1$",
        "$argon2id$v=19$m=256,t=2,p=1$c29tZXNhbHQ",
        "$argon2id$v=19$m=256,t=2,p=1$????????$nf65EOgLrQMR/uIPnA4rEsF5h7TKyQwu9U1bMCHGi/4",
        "$argon2id$v=19$m=256",
        "password",
        "",
    };
    for (size_t i = 0; i < GW_ARRAY_LEN(refused); i++) {
        if (gw_argon2id_verify(refused[i], GW_STR("password")))
            fail_msg("accepted %s", refused[i]);
    }
    assert_false(gw_argon2id_verify(NULL, GW_STR("password")));
    char endless[400];
    memset(endless, 'A', sizeof(endless));
    memcpy(endless, "$argon2id$v=19$m=256,t=2,p=1$", 29);
    endless[sizeof(endless) - 1] = '\0';
    assert_false(gw_argon2id_verify(endless, GW_STR("password")));
}

static void a_cost_that_could_not_be_verified_is_not_hashed(void **state)
{
    (void)state;
    static const gw_argon2_cost refused[] = {{65537, 1, 1}, {64, 11, 1}, {64, 0, 1},
                                             {64, 1, 0},    {7, 1, 1},   {64, 1, 9}};
    for (size_t i = 0; i < GW_ARRAY_LEN(refused); i++) {
        char phc[GW_ARGON2_PHC_SIZE] = "untouched";
        assert_int_equal(gw_argon2id_hash(GW_STR("x"), refused[i], phc, NULL),
                         GW_ERR_INVALID_ARGUMENT);
        assert_string_equal(phc, "untouched");
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_hashed_secret_verifies_and_another_does_not),
        cmocka_unit_test(the_default_cost_is_the_documented_one),
        cmocka_unit_test(two_hashes_of_a_secret_differ_by_their_salts),
        cmocka_unit_test(a_string_of_the_reference_program_verifies),
        cmocka_unit_test(absurd_and_malformed_strings_are_refused),
        cmocka_unit_test(a_cost_that_could_not_be_verified_is_not_hashed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
