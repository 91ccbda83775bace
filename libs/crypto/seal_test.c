#include "crypto/crypto.h"
#include "testing/cmocka.h"
#include "testing/failing_alloc.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define KEY_A "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="
#define KEY_B "ICEiIyQlJicoKSorLC0uLzAxMjM0NTY3ODk6Ozw9Pj8="
#define ZEROS "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="

static gw_status load(gw_str text, gw_master_keys **ret, gw_error *err)
{
    char path[] = "/tmp/gw_seal_test_XXXXXX";
    int fd = mkstemp(path);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, text.ptr, text.len), (ssize_t)text.len);
    close(fd);
    gw_status rc = gw_master_keys_load(path, ret, err);
    unlink(path);
    return rc;
}

static void a_sealed_secret_comes_back_under_the_same_place(void **state)
{
    (void)state;
    gw_auto(gw_master_keys) keys = NULL;
    gw_auto_buf sealed = {0};
    gw_auto_buf plain = {0};
    assert_int_equal(load(GW_STR("# ours\n\nk1 " KEY_A "\n"), &keys, NULL), GW_OK);
    gw_buf_append_c(&sealed, "before");
    assert_int_equal(gw_seal(keys, GW_STR("hunter2"), GW_STR("api_keys/1/signing"), &sealed, NULL),
                     GW_OK);
    assert_int_equal(sealed.len, 6 + 1 + 2 + 12 + 7 + 16);
    assert_memory_equal(sealed.data, "before\x02k1", 9);
    gw_str box = gw_str_slice(gw_buf_str(&sealed), 6, sealed.len);
    assert_int_equal(gw_unseal(keys, box, GW_STR("api_keys/1/signing"), &plain, NULL), GW_OK);
    assert_true(gw_str_eq_c(gw_buf_str(&plain), "hunter2"));
    assert_int_equal(gw_unseal(keys, box, GW_STR("api_keys/2/signing"), &plain, NULL),
                     GW_ERR_DATA_LOSS);
    assert_true(gw_str_eq_c(gw_buf_str(&plain), "hunter2"));
}

/* McGrew and Viega's GCM paper, case 14: key, nonce and plaintext of zeros, no AAD. */
static void unsealing_agrees_with_the_gcm_paper(void **state)
{
    (void)state;
    static const char box[] = "\x01z"
                              "\0\0\0\0\0\0\0\0\0\0\0\0"
                              "\xce\xa7\x40\x3d\x4d\x60\x6b\x6e\x07\x4e\xc5\xd3\xba\xf3\x9d\x18"
                              "\xd0\xd1\xc8\xa7\x99\x99\x6b\xf0\x26\x5b\x98\xb5\xd4\x8a\xb9\x19";
    static const char zeros[16] = {0};
    gw_auto(gw_master_keys) keys = NULL;
    gw_auto_buf plain = {0};
    assert_int_equal(load(GW_STR("z " ZEROS), &keys, NULL), GW_OK);
    assert_int_equal(gw_unseal(keys, gw_str_n(box, sizeof(box) - 1), GW_STR_NULL, &plain, NULL),
                     GW_OK);
    assert_int_equal(plain.len, 16);
    assert_memory_equal(plain.data, zeros, 16);
}

static void the_empty_secret_and_a_long_one_can_be_sealed(void **state)
{
    (void)state;
    gw_auto(gw_master_keys) keys = NULL;
    assert_int_equal(load(GW_STR("k1 " KEY_A), &keys, NULL), GW_OK);
    static char text[100000];
    memset(text, 'x', sizeof(text));
    const size_t lengths[] = {0, 1, 15, 16, 17, sizeof(text)};
    for (size_t i = 0; i < GW_ARRAY_LEN(lengths); i++) {
        gw_auto_buf sealed = {0};
        gw_auto_buf plain = {0};
        gw_str secret = gw_str_n(text, lengths[i]);
        assert_int_equal(gw_seal(keys, secret, GW_STR_NULL, &sealed, NULL), GW_OK);
        assert_int_equal(gw_unseal(keys, gw_buf_str(&sealed), GW_STR_NULL, &plain, NULL), GW_OK);
        assert_true(gw_str_eq(gw_buf_str(&plain), secret));
    }
}

static void every_flipped_bit_and_every_cut_is_noticed(void **state)
{
    (void)state;
    gw_auto(gw_master_keys) keys = NULL;
    gw_auto_buf sealed = {0};
    gw_auto_buf plain = {0};
    assert_int_equal(load(GW_STR("k1 " KEY_A "\nk2 " KEY_B "\n"), &keys, NULL), GW_OK);
    assert_int_equal(gw_seal(keys, GW_STR("hunter2"), GW_STR("place"), &sealed, NULL), GW_OK);
    for (size_t bit = 0; bit < sealed.len * 8; bit++) {
        sealed.data[bit / 8] = (char)(sealed.data[bit / 8] ^ (1 << (bit % 8)));
        gw_status rc = gw_unseal(keys, gw_buf_str(&sealed), GW_STR("place"), &plain, NULL);
        if (rc != GW_ERR_DATA_LOSS &&
            !(rc == GW_ERR_FAILED_PRECONDITION && bit < 24)) /* a kid's bit names another key */
            fail_msg("bit %zu gave %s", bit, gw_status_describe(rc)->name);
        sealed.data[bit / 8] = (char)(sealed.data[bit / 8] ^ (1 << (bit % 8)));
    }
    for (size_t len = 0; len < sealed.len; len++)
        assert_int_equal(gw_unseal(keys, gw_str_n(sealed.data, len), GW_STR("place"), &plain, NULL),
                         GW_ERR_DATA_LOSS);
    assert_int_equal(plain.len, 0);
}

static void the_first_key_seals_and_older_ones_still_unseal(void **state)
{
    (void)state;
    gw_auto(gw_master_keys) old = NULL;
    gw_auto(gw_master_keys) rotated = NULL;
    gw_auto_buf by_old = {0};
    gw_auto_buf by_new = {0};
    gw_auto_buf plain = {0};
    assert_int_equal(load(GW_STR("2025 " KEY_A "\n"), &old, NULL), GW_OK);
    assert_int_equal(load(GW_STR("2026\t" KEY_B " \r\n2025 " KEY_A "\r\n"), &rotated, NULL), GW_OK);
    assert_int_equal(gw_seal(old, GW_STR("s"), GW_STR_NULL, &by_old, NULL), GW_OK);
    assert_int_equal(gw_seal(rotated, GW_STR("s"), GW_STR_NULL, &by_new, NULL), GW_OK);
    assert_memory_equal(by_new.data,
                        "\x04"
                        "2026",
                        5);
    assert_true(gw_seal_is_newest(rotated, gw_buf_str(&by_new)));
    assert_false(gw_seal_is_newest(rotated, gw_buf_str(&by_old)));
    assert_true(gw_seal_is_newest(old, gw_buf_str(&by_old)));
    assert_false(gw_seal_is_newest(old, GW_STR("\x04"
                                               "2025")));
    assert_int_equal(gw_unseal(rotated, gw_buf_str(&by_old), GW_STR_NULL, &plain, NULL), GW_OK);
    gw_error err = {0};
    assert_int_equal(gw_unseal(old, gw_buf_str(&by_new), GW_STR_NULL, &plain, &err),
                     GW_ERR_FAILED_PRECONDITION);
    assert_non_null(strstr(err.message, "\"2026\""));
}

static void bad_lines_are_named_by_number_and_never_shown(void **state)
{
    (void)state;
    gw_master_keys *keys = NULL;
    gw_error err = {0};
    gw_str text = GW_STR("good " KEY_A "\n"
                         "short c2VjcmV0\n"
                         "# a comment\n"
                         "b@d " KEY_B "\n"
                         "good " KEY_B "\n"
                         "lonely\n"
                         "a-kid-that-is-longer-than-32-characters " KEY_B "\n"
                         "long " KEY_A "AAAA\n");
    assert_int_equal(load(text, &keys, &err), GW_ERR_INVALID_ARGUMENT);
    assert_null(keys);
    assert_non_null(strstr(err.message, "line 2, 4, 5, 6, 7, 8"));
    assert_null(strstr(err.message, "c2VjcmV0"));
    assert_null(strstr(err.message, "lonely"));
}

static void a_file_that_is_missing_empty_or_huge_is_an_error(void **state)
{
    (void)state;
    gw_master_keys *keys = NULL;
    gw_error err = {0};
    assert_int_equal(gw_master_keys_load("/nonexistent/keys", &keys, &err), GW_ERR_NOT_FOUND);
    assert_non_null(strstr(err.message, "/nonexistent/keys"));
    assert_int_equal(gw_master_keys_load("/", &keys, &err), GW_ERR_IO);
    assert_int_equal(load(GW_STR("# nothing\n"), &keys, &err), GW_ERR_INVALID_ARGUMENT);
    static char huge[70000];
    memset(huge, '#', sizeof(huge));
    assert_int_equal(load(gw_str_n(huge, sizeof(huge)), &keys, &err), GW_ERR_INVALID_ARGUMENT);
    assert_null(keys);
}

static void running_out_of_memory_is_an_error_and_leaves_the_output_alone(void **state)
{
    (void)state;
    gw_auto(gw_master_keys) keys = NULL;
    for (size_t n = 1;; n++) {
        gw_auto(gw_master_keys) tried = NULL;
        gw_failing_alloc_arm(n);
        gw_status rc = load(GW_STR("k1 " KEY_A), &tried, NULL);
        if (!gw_failing_alloc_disarm())
            break;
        assert_true(rc == GW_ERR_NO_MEMORY && tried == NULL);
    }
    assert_int_equal(load(GW_STR("k1 " KEY_A), &keys, NULL), GW_OK);
    gw_auto_buf sealed = {0};
    gw_failing_alloc_arm(1);
    gw_status rc = gw_seal(keys, GW_STR("s"), GW_STR_NULL, &sealed, NULL);
    assert_true(gw_failing_alloc_disarm());
    assert_int_equal(rc, GW_ERR_NO_MEMORY);
    assert_int_equal(sealed.len, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_sealed_secret_comes_back_under_the_same_place),
        cmocka_unit_test(unsealing_agrees_with_the_gcm_paper),
        cmocka_unit_test(the_empty_secret_and_a_long_one_can_be_sealed),
        cmocka_unit_test(every_flipped_bit_and_every_cut_is_noticed),
        cmocka_unit_test(the_first_key_seals_and_older_ones_still_unseal),
        cmocka_unit_test(bad_lines_are_named_by_number_and_never_shown),
        cmocka_unit_test(a_file_that_is_missing_empty_or_huge_is_an_error),
        cmocka_unit_test(running_out_of_memory_is_an_error_and_leaves_the_output_alone),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
