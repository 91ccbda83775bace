/* Starting a service with its settings: where the process ends, files are opened and settings are compared. */
#include "conf/conf_test_kit.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static void start_ends_the_process_where_it_should(void **state)
{
    (void)state;
    test_conf conf;
    int status = -1;
    assert_int_equal(setenv("RELAY_REDIS_PASSWORD", "hunter2", 1), 0);
    assert_true(gw_conf_start(&test_conf_table, 1, ARGS(), &conf, &status));
    assert_int_equal(status, -1);
    assert_string_equal(conf.redis_password, "hunter2");
    gw_conf_free(&test_conf_table, &conf);
    assert_null(conf.redis_password);

    int out = dup(1);
    int err = dup(2);
    int null = open("/dev/null", O_WRONLY | O_CLOEXEC);
    (void)fflush(stdout);
    dup2(null, 1);
    dup2(null, 2);
    bool helped = gw_conf_start(&test_conf_table, 2, ARGS("--help"), &conf, &status);
    int help_status = status;
    bool wrong = gw_conf_start(&test_conf_table, 2, ARGS("--nope"), &conf, &status);
    (void)fflush(stdout);
    dup2(out, 1);
    dup2(err, 2);
    close(out);
    close(err);
    close(null);
    assert_int_equal(unsetenv("RELAY_REDIS_PASSWORD"), 0);
    assert_false(helped);
    assert_int_equal(help_status, 0);
    assert_false(wrong);
    assert_int_equal(status, 2);
}

/* What a start with mistakes says. */
static void say(char **argv, char said[512])
{
    test_conf conf;
    int argc = 0, status = -1, err = dup(2);
    FILE *out = tmpfile();
    assert_non_null(out);
    while (argv[argc])
        argc++;
    dup2(fileno(out), 2);
    bool started = gw_conf_start(&test_conf_table, argc, argv, &conf, &status);
    dup2(err, 2);
    close(err);
    rewind(out);
    size_t len = fread(said, 1, 511, out);
    said[len] = '\0';
    (void)fclose(out);
    assert_false(started);
    assert_int_equal(status, 2);
}

static void a_start_opens_the_files_that_it_is_to_read(void **state)
{
    (void)state;
    test_conf conf;
    int status = -1;
    char said[512] = "";
    assert_int_equal(setenv("RELAY_REDIS_PASSWORD", "hunter2", 1), 0);
    auto_loaded reloaded = load(ARGS("--list-file=/nowhere/at-all"), ENV());
    assert_int_equal(reloaded.rc, GW_OK); /* whoever reads it again keeps what was */
    assert_true(gw_conf_start(&test_conf_table, 2, ARGS("--list-file=/dev/null"), &conf, &status));
    gw_conf_free(&test_conf_table, &conf);
    say(ARGS("--list-file=/nowhere/at-all", "--nope"), said);
    assert_int_equal(unsetenv("RELAY_REDIS_PASSWORD"), 0);
    assert_non_null(
        strstr(said, "relay: list_file: cannot open /nowhere/at-all: No such file or directory\n"));
    assert_non_null(strstr(said, "2 mistakes"));
}

static void what_is_wrong_within_files_is_told_at_the_start_and_refuses_no_reload(void **state)
{
    (void)state;
    char said[512] = "";
    assert_int_equal(setenv("RELAY_REDIS_PASSWORD", "hunter2", 1), 0);
    auto_loaded reloaded = load(ARGS("--list-file=/dev/zero"), ENV());
    assert_int_equal(reloaded.rc, GW_OK);
    say(ARGS("--list-file=/dev/zero", "--nope"), said);
    assert_int_equal(unsetenv("RELAY_REDIS_PASSWORD"), 0);
    assert_non_null(strstr(said, "relay: list_file: /dev/zero is no list\n"));
    assert_non_null(strstr(said, "2 mistakes"));
}

static void settings_that_do_not_go_together_are_reported_with_all_others(void **state)
{
    (void)state;
    auto_loaded both = load(ARGS("--cert-file=c", "--key-file=k"), ENV());
    assert_int_equal(both.rc, GW_OK);
    auto_loaded one = load(ARGS("--key-file=k", "--delta=x"), ENV());
    assert_int_equal(one.rc, GW_ERR_INVALID_ARGUMENT);
    assert_int_equal(one.errs.n, 2);
    assert_non_null(strstr(one.text.data, "key_file: needs cert_file\n"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(start_ends_the_process_where_it_should),
        cmocka_unit_test(a_start_opens_the_files_that_it_is_to_read),
        cmocka_unit_test(what_is_wrong_within_files_is_told_at_the_start_and_refuses_no_reload),
        cmocka_unit_test(settings_that_do_not_go_together_are_reported_with_all_others),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
