#include "access/service_tokens.h"

#include "testing/cmocka.h"

#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#define TOKEN_A "lcsvc_aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
#define TOKEN_B "lcsvc_bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb"
#define TOKEN_C "lcsvc_cccccccccccccccccccccccccccccccccccc"

static gw_status load(const char *text, mode_t mode, gw_log *log, gw_service_tokens **ret,
                      gw_error *err)
{
    char path[] = "/tmp/service_tokens_XXXXXX";
    int fd = mkstemp(path);
    assert_true(fd >= 0);
    assert_int_equal(fchmod(fd, mode), 0);
    assert_int_equal(write(fd, text, strlen(text)), strlen(text));
    assert_int_equal(close(fd), 0);
    gw_status rc = gw_service_tokens_load(path, log, ret, err);
    assert_int_equal(unlink(path), 0);
    return rc;
}

static void tokens_are_found_by_service_and_services_by_token(void **state)
{
    (void)state;
    gw_service_tokens *t = NULL;
    gw_error err;
    assert_int_equal(load("# callers\n\nrelay " TOKEN_A "\nadmin-gw  " TOKEN_B "\nrelay " TOKEN_C,
                          0600, NULL, &t, &err),
                     GW_OK);
    assert_true(gw_str_eq_c(gw_service_tokens_find(t, GW_STR("relay")), TOKEN_A));
    assert_true(gw_str_eq_c(gw_service_tokens_find(t, GW_STR("admin-gw")), TOKEN_B));
    assert_int_equal(gw_service_tokens_find(t, GW_STR("usage")).len, 0);
    assert_true(gw_str_eq_c(gw_service_tokens_match(t, GW_STR(TOKEN_A)), "relay"));
    assert_true(gw_str_eq_c(gw_service_tokens_match(t, GW_STR(TOKEN_C)), "relay"));
    assert_true(gw_str_eq_c(gw_service_tokens_match(t, GW_STR(TOKEN_B)), "admin-gw"));
    assert_int_equal(gw_service_tokens_match(t, GW_STR(TOKEN_B "b")).len, 0);
    assert_int_equal(gw_service_tokens_match(t, GW_STR("")).len, 0);
    gw_service_tokens_free(t);
}

static void bad_lines_are_all_named_by_number_and_never_shown(void **state)
{
    (void)state;
    gw_service_tokens *t = NULL;
    gw_error err;
    assert_int_equal(load("relay " TOKEN_A "\nrelay short\nRelay " TOKEN_B "\n" TOKEN_C
                          "\nusage lcadm_aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\nrelay " TOKEN_A
                          "!\n",
                          0600, NULL, &t, &err),
                     GW_ERR_INVALID_ARGUMENT);
    assert_null(t);
    assert_non_null(strstr(err.message, "line 2, 3, 4, 5, 6"));
    assert_null(strstr(err.message, "aaaa"));
    assert_null(strstr(err.message, "short"));
}

static void a_file_without_tokens_or_none_is_an_error(void **state)
{
    (void)state;
    gw_service_tokens *t = NULL;
    gw_error err;
    assert_int_equal(load("# nothing\n", 0600, NULL, &t, &err), GW_ERR_INVALID_ARGUMENT);
    assert_int_equal(gw_service_tokens_load("/no/such/file", NULL, &t, &err), GW_ERR_IO);
    assert_null(t);
}

static void a_file_that_others_may_read_is_a_warning(void **state)
{
    (void)state;
    int pipe_of_log[2];
    assert_int_equal(pipe(pipe_of_log), 0);
    gw_log *log = gw_log_new("test", pipe_of_log[1], GW_LOG_INFO, &gw_system_clock);
    gw_service_tokens *t = NULL;
    gw_error err;
    assert_int_equal(load("relay " TOKEN_A "\n", 0644, log, &t, &err), GW_OK);
    char line[4096] = {0};
    assert_true(read(pipe_of_log[0], line, sizeof line - 1) > 0);
    assert_non_null(strstr(line, "service_tokens_exposed"));
    assert_null(strstr(line, "aaaa"));
    gw_service_tokens_free(t);
    gw_log_free(log);
    assert_int_equal(close(pipe_of_log[0]) | close(pipe_of_log[1]), 0);
}

/* A file that changes; the second text is what it holds at the reload. */
static gw_status reload(const char *first, const char *second, gw_str needed,
                        gw_service_tokens **ret, bool *changed)
{
    char path[] = "/tmp/service_tokens_XXXXXX";
    gw_error err;
    int fd = mkstemp(path);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, first, strlen(first)), strlen(first));
    assert_int_equal(gw_service_tokens_load(path, NULL, ret, &err), GW_OK);
    assert_int_equal(ftruncate(fd, 0), 0);
    assert_int_equal(pwrite(fd, second, strlen(second), 0), strlen(second));
    gw_status rc = gw_service_tokens_reload(*ret, needed, NULL, changed, &err);
    assert_int_equal(close(fd) | unlink(path), 0);
    return rc;
}

static void a_reload_takes_the_tokens_of_now_and_keeps_borrowed_texts(void **state)
{
    (void)state;
    gw_auto(gw_service_tokens) t = NULL;
    bool changed = false;
    assert_int_equal(reload("relay " TOKEN_A "\n", "relay " TOKEN_B "\nusage " TOKEN_C "\n",
                            GW_STR("relay"), &t, &changed),
                     GW_OK);
    assert_true(changed);
    assert_true(gw_str_eq_c(gw_service_tokens_find(t, GW_STR("relay")), TOKEN_B));
    assert_int_equal(gw_service_tokens_match(t, GW_STR(TOKEN_A)).len, 0);
    assert_true(gw_str_eq_c(gw_service_tokens_match(t, GW_STR(TOKEN_C)), "usage"));
}

static void a_reload_of_a_bad_file_changes_nothing(void **state)
{
    (void)state;
    static const char *const bad[] = {"", "relay short\n", "usage " TOKEN_B "\n"};
    for (size_t i = 0; i < GW_ARRAY_LEN(bad); i++) {
        gw_auto(gw_service_tokens) t = NULL;
        bool changed = false;
        assert_int_equal(reload("relay " TOKEN_A "\n", bad[i], GW_STR("relay"), &t, &changed),
                         GW_ERR_INVALID_ARGUMENT);
        assert_false(changed);
        assert_true(gw_str_eq_c(gw_service_tokens_match(t, GW_STR(TOKEN_A)), "relay"));
    }
}

static void a_reload_of_the_same_file_is_no_change(void **state)
{
    (void)state;
    gw_auto(gw_service_tokens) t = NULL;
    bool changed = true;
    assert_int_equal(reload("relay " TOKEN_A "\n", "relay " TOKEN_A "\n", GW_STR(""), &t, &changed),
                     GW_OK);
    assert_false(changed);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(tokens_are_found_by_service_and_services_by_token),
        cmocka_unit_test(bad_lines_are_all_named_by_number_and_never_shown),
        cmocka_unit_test(a_file_without_tokens_or_none_is_an_error),
        cmocka_unit_test(a_file_that_others_may_read_is_a_warning),
        cmocka_unit_test(a_reload_takes_the_tokens_of_now_and_keeps_borrowed_texts),
        cmocka_unit_test(a_reload_of_a_bad_file_changes_nothing),
        cmocka_unit_test(a_reload_of_the_same_file_is_no_change),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
