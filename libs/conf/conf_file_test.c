/* Settings and secrets that stand in files. */
#include "conf/conf_test_kit.h"

static void secrets_come_from_files_without_their_newline(void **state)
{
    (void)state;
    static const struct {
        const char *content;
        size_t len;
        const char *secret; /* NULL = refused */
    } cases[] = {
        {"s3cret", 6, "s3cret"}, {"s3cret\n", 7, "s3cret"}, {"s3cret\r\n", 8, "s3cret"},
        {"a\n\n", 3, "a\n"},     {" a ", 3, " a "},         {"a\r", 2, "a\r"},
        {"", 0, NULL},           {"\n", 1, NULL},           {"a\0b", 3, NULL},
    };
    for (size_t i = 0; i < GW_ARRAY_LEN(cases); i++) {
        char *file = write_file(cases[i].content, cases[i].len);
        char env[128];
        (void)snprintf(env, sizeof(env), "RELAY_REDIS_PASSWORD_FILE=%s", file);
        auto_loaded by_flag = load(ARGS("--redis-password-file", file), (char *[]){NULL});
        auto_loaded by_env = load(ARGS(), (char *[]){env, NULL});
        assert_int_equal(by_flag.rc, cases[i].secret ? GW_OK : GW_ERR_INVALID_ARGUMENT);
        assert_int_equal(by_env.rc, by_flag.rc);
        if (cases[i].secret) {
            assert_string_equal(by_flag.conf.redis_password, cases[i].secret);
            assert_string_equal(by_env.conf.redis_password, cases[i].secret);
        }
    }
    char *file = write_file("from the file", 13);
    auto_loaded l = load(ARGS("--redis-password-file", file), ENV()); /* flag over environment */
    assert_string_equal(l.conf.redis_password, "from the file");
}

static void secrets_show_nowhere(void **state)
{
    (void)state;
    static const char yaml[] = "redis_password: hunter2\n";
    auto_loaded flag = load(ARGS("--redis-password=hunter2"), (char *[]){NULL});
    auto_loaded file = load(ARGS("--config", write_file(yaml, sizeof(yaml) - 1)), (char *[]){NULL});
    auto_loaded url =
        load(ARGS("--mongo-uri=mongodb://u:hunter2@h:bad/"), (char *[]){SECRET_ENV, NULL});
    auto_loaded both = load(ARGS(), ENV("RELAY_REDIS_PASSWORD_FILE=/hunter"));
    const loaded *all[] = {&flag, &file, &url, &both};
    for (size_t i = 0; i < GW_ARRAY_LEN(all); i++) {
        assert_int_equal(all[i]->rc, GW_ERR_INVALID_ARGUMENT);
        assert_null(strstr(all[i]->text.data, "hunter2"));
    }
    assert_non_null(strstr(flag.text.data, "use --redis-password-file"));
    assert_non_null(strstr(file.text.data, "use redis_password_file"));
    assert_non_null(strstr(both.text.data, "are both given"));

    auto_loaded ok = load(ARGS("--mongo-uri=mongodb://u:hunter2@h/"), ENV());
    gw_auto_buf printed = {0};
    gw_conf_print(&test_conf_table, &ok.conf, &printed);
    assert_non_null(strstr(printed.data, "redis_password = ***\n"));
    assert_null(strstr(printed.data, "hunter2"));
}

static void files_that_cannot_be_read_are_named(void **state)
{
    (void)state;
    static const struct {
        char *flag, *value;
        const char *message;
    } cases[] = {
        {"--config", "/nowhere/relay.yaml",
         ": cannot open /nowhere/relay.yaml: No such file or directory\n"},
        {"--config", "/tmp", ": cannot read /tmp: Is a directory\n"},
        {"--config", "/dev/zero", ": /dev/zero is larger than 1048576 bytes\n"},
        {"--redis-password-file", "/nowhere",
         "redis_password: cannot open /nowhere: No such file or directory\n"},
        {"--redis-password-file", "/dev/zero",
         "redis_password: /dev/zero is larger than 65536 bytes\n"},
    };
    for (size_t i = 0; i < GW_ARRAY_LEN(cases); i++) {
        auto_loaded l = load(ARGS(cases[i].flag, cases[i].value), ENV());
        assert_int_equal(l.rc, GW_ERR_INVALID_ARGUMENT);
        assert_string_equal(l.text.data, cases[i].message);
    }
}

static void yaml_values_are_taken(void **state)
{
    (void)state;
    static const char yaml[] = "# comment\n"
                               "title: \"\"\n"
                               "verbose: yes\n"
                               "max_in_flight: 7\n"
                               "metrics_port: ~\n"
                               "upstream_timeout: 5m\n"
                               "origins: [a, \"b c\", d]\n"
                               "allow_cidrs:\n  - 10.0.0.0/8\n  - ::1\n"
                               "log_level:\n";
    auto_loaded l = load(ARGS("--config", write_file(yaml, sizeof(yaml) - 1)), ENV());
    if (l.rc != GW_OK)
        fail_msg("%s", l.text.data);
    assert_string_equal(l.conf.title, "");
    assert_true(l.conf.verbose);
    assert_int_equal(l.conf.max_in_flight, 7);
    assert_int_equal(l.conf.metrics_port, 9000);
    assert_int_equal(l.conf.upstream_timeout_ms, 300000);
    assert_int_equal(l.conf.origins.n, 3);
    assert_string_equal(l.conf.origins.items[1], "b c");
    assert_int_equal(l.conf.allow_cidrs.n, 2);
    assert_string_equal(l.conf.log_level, "info");

    auto_loaded empty = load(ARGS("--config", write_file("", 0)), ENV());
    assert_int_equal(empty.rc, GW_OK);
    auto_loaded comment = load(ARGS("--config", write_file("# x\n---\n...\n", 12)), ENV());
    assert_int_equal(comment.rc, GW_OK);
}

static void bad_yaml_is_named_with_its_line(void **state)
{
    (void)state;
    static const struct {
        const char *yaml, *message;
    } cases[] = {
        {"title: a\ntitle: b\n", "/file:1 and "},
        {"title: {a: b}\n", "must be a plain value\n"},
        {"origins: {a: b}\n", "must be a plain value or a list\n"},
        {"origins: [[a]]\n", "items must be plain values"},
        {"origins: [\"a,b\"]\n", "items must be plain values"},
        {"title: [a]\n", "must be a plain value\n"},
        {"- a\n", "must be one mapping"},
        {"text\n", "must be one mapping"},
        {"title: a\n---\ntitle: b\n", "must be one document"},
        {"title: a\n\"unclosed\n", ":3: no valid YAML"},
        {"title: *nowhere\n", "no valid YAML"},
        {"\ttitle: a\n", "no valid YAML"},
        {"title: \xff\n", "no valid YAML"},
        {"? [a]\n: b\n", "a key must be the name of a setting"},
        {"upstream_timeout_ms: 5s\n", "\"upstream_timeout_ms\" is no setting"},
        {"upstream-timeout: 5s\n", "\"upstream-timeout\" is no setting"},
        {"config: x\n", "\"config\" is no setting"},
        {"title: \"a\\0b\"\n", "text without NUL bytes"},
        {"max_in_flight: 0\n", "\"0\" from /tmp/conf_test_"},
    };
    for (size_t i = 0; i < GW_ARRAY_LEN(cases); i++) {
        char *file = write_file(cases[i].yaml, strlen(cases[i].yaml));
        auto_loaded l = load(ARGS("--config", file), ENV());
        if (l.rc != GW_ERR_INVALID_ARGUMENT || !strstr(l.text.data, cases[i].message))
            fail_msg("%s: %s", cases[i].yaml, l.text.data);
    }
}

static void the_file_that_settings_came_from_is_known(void **state)
{
    (void)state;
    static const char yaml[] = "title: file\n";
    char *file = write_file(yaml, sizeof(yaml) - 1);
    auto_loaded with = load(ARGS("--config", file), ENV());
    auto_loaded without = load(ARGS(), ENV());
    assert_string_equal(with.conf.base.config_path, file);
    assert_null(without.conf.base.config_path);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(secrets_come_from_files_without_their_newline),
        cmocka_unit_test(secrets_show_nowhere),
        cmocka_unit_test(files_that_cannot_be_read_are_named),
        cmocka_unit_test(yaml_values_are_taken),
        cmocka_unit_test(bad_yaml_is_named_with_its_line),
        cmocka_unit_test(the_file_that_settings_came_from_is_known),
    };
    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
