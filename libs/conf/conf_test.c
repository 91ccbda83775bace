#include "conf/conf_test_kit.h"

#include "testing/failing_alloc.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static void defaults_fill_every_field(void **state)
{
    (void)state;
    auto_loaded l = load(ARGS(), ENV());
    assert_int_equal(l.rc, GW_OK);
    assert_string_equal(l.conf.title, "plain");
    assert_false(l.conf.verbose);
    assert_int_equal(l.conf.max_in_flight, 1000);
    assert_int_equal(l.conf.delta, 0);
    assert_int_equal(l.conf.metrics_port, 9000);
    assert_string_equal(l.conf.http_listen, "127.0.0.1:8080");
    assert_int_equal(l.conf.upstream_timeout_ms, 60000);
    assert_int_equal(l.conf.body_max_bytes, 32 << 20);
    assert_string_equal(l.conf.redis_password, "hunter2");
    assert_string_equal(l.conf.data_dir, "/var/lib/relay");
    assert_string_equal(l.conf.mongo_uri, "mongodb://127.0.0.1:27117/");
    assert_int_equal(l.conf.origins.n, 0);
    assert_int_equal(l.conf.allow_cidrs.n, 1);
    assert_int_equal(l.conf.allow_cidrs.items[0].prefix, 8);
    assert_string_equal(l.conf.log_level, "info");
    assert_int_equal(l.conf.base.action, GW_CONF_RUN);
    assert_int_equal(l.conf.base.n_args, 0);
}

static void a_flag_beats_the_environment_beats_the_file_beats_the_default(void **state)
{
    (void)state;
    static const char yaml[] = "title: file\nupstream_timeout: 1s\nlog_level: debug\n";
    char *file = write_file(yaml, sizeof(yaml) - 1);
    auto_loaded l = load(ARGS("--config", file, "--title=flag"),
                         ENV("RELAY_TITLE=env", "RELAY_UPSTREAM_TIMEOUT=2s"));
    assert_int_equal(l.rc, GW_OK);
    assert_string_equal(l.conf.title, "flag");
    assert_int_equal(l.conf.upstream_timeout_ms, 2000);
    assert_string_equal(l.conf.log_level, "debug");
    assert_int_equal(l.conf.metrics_port, 9000);

    char config[128];
    (void)snprintf(config, sizeof(config), "RELAY_CONFIG=%s", file);
    auto_loaded by_env = load(ARGS(), ENV(config));
    assert_int_equal(by_env.rc, GW_OK);
    assert_string_equal(by_env.conf.title, "file");
    auto_loaded flag_wins = load(ARGS("--config", file), ENV("RELAY_CONFIG=/nowhere"));
    assert_int_equal(flag_wins.rc, GW_OK);
}

/* The same text through a flag and through the environment. */
static void good_values_are_taken(void **state)
{
    (void)state;
    static const struct {
        char *flag, *env;
        const char *printed; /* its line of gw_conf_print */
    } cases[] = {
        {"--verbose", "RELAY_VERBOSE=1", "verbose = true\n"},
        {"--verbose=yes", "RELAY_VERBOSE=on", "verbose = true\n"},
        {"--no-verbose", "RELAY_VERBOSE=off", "verbose = false\n"},
        {"--max-in-flight=1", "RELAY_MAX_IN_FLIGHT=1", "max_in_flight = 1\n"},
        {"--max-in-flight=100000", "RELAY_MAX_IN_FLIGHT=100000", "max_in_flight = 100000\n"},
        {"--delta=-9223372036854775808", "RELAY_DELTA=-9223372036854775808",
         "delta = -9223372036854775808\n"},
        {"--metrics-port=0", "RELAY_METRICS_PORT=0", "metrics_port = 0\n"},
        {"--metrics-port=65535", "RELAY_METRICS_PORT=65535", "metrics_port = 65535\n"},
        {"--http-listen=[::1]:0", "RELAY_HTTP_LISTEN=[::1]:0", "http_listen = [::1]:0\n"},
        {"--upstream-timeout=0", "RELAY_UPSTREAM_TIMEOUT=0s", "upstream_timeout = 0ms\n"},
        {"--upstream-timeout=250ms", "RELAY_UPSTREAM_TIMEOUT=250ms", "upstream_timeout = 250ms\n"},
        {"--upstream-timeout=90s", "RELAY_UPSTREAM_TIMEOUT=90000ms", "upstream_timeout = 90s\n"},
        {"--upstream-timeout=120m", "RELAY_UPSTREAM_TIMEOUT=2h", "upstream_timeout = 2h\n"},
        {"--upstream-timeout=7d", "RELAY_UPSTREAM_TIMEOUT=168h", "upstream_timeout = 7d\n"},
        {"--body-max=1", "RELAY_BODY_MAX=1B", "body_max = 1B\n"},
        {"--body-max=65536", "RELAY_BODY_MAX=64KiB", "body_max = 64KiB\n"},
        {"--body-max=2048MiB", "RELAY_BODY_MAX=2GiB", "body_max = 2GiB\n"},
        {"--body-max=3TiB", "RELAY_BODY_MAX=3TiB", "body_max = 3TiB\n"},
        {"--body-max=5MB", "RELAY_BODY_MAX=5000kB", "body_max = 5MB\n"},
        {"--body-max=0", "RELAY_BODY_MAX=0", "body_max = 0\n"},
        {"--data-dir=rel", "RELAY_DATA_DIR=rel", "data_dir = rel\n"},
        {"--mongo-uri=mongodb://u:p@h/?x=y", "RELAY_MONGO_URI=mongodb://u:p@h/?x=y",
         "mongo_uri = mongodb://***@h/?x=y\n"},
        {"--origins= a , b,c", "RELAY_ORIGINS=a,b,c", "origins = a,b,c\n"},
        {"--allow-cidrs=10.0.0.0/8, ::1", "RELAY_ALLOW_CIDRS=10.0.0.0/8,::1/128",
         "allow_cidrs = 10.0.0.0/8,::1/128\n"},
        {"--log-level=error", "RELAY_LOG_LEVEL=error", "log_level = error\n"},
        {"--title=a=b", "RELAY_TITLE=a=b", "title = a=b\n"},
    };
    for (size_t i = 0; i < GW_ARRAY_LEN(cases); i++) {
        auto_loaded by_flag = load(ARGS(cases[i].flag), ENV());
        auto_loaded by_env = load(ARGS(), ENV(cases[i].env));
        if (by_flag.rc != GW_OK || by_env.rc != GW_OK)
            fail_msg("%s: %s%s", cases[i].flag, by_flag.text.data, by_env.text.data);
        gw_auto_buf a = {0};
        gw_auto_buf b = {0};
        gw_conf_print(&test_conf_table, &by_flag.conf, &a);
        gw_conf_print(&test_conf_table, &by_env.conf, &b);
        if (!strstr(a.data, cases[i].printed) || strcmp(a.data, b.data) != 0)
            fail_msg("%s: %s", cases[i].flag, a.data);
        assert_int_equal(gw_conf_diff(&test_conf_table, &by_flag.conf, &by_env.conf, NULL, NULL),
                         0);
    }
}

static void bad_values_are_named_with_what_is_allowed(void **state)
{
    (void)state;
    static const struct {
        char *flag;
        const char *message;
    } cases[] = {
        {"--verbose=maybe", "verbose: \"maybe\" from --verbose is not true or false\n"},
        {"--no-verbose=1", "verbose: --no-verbose takes no value\n"},
        {"--max-in-flight=0",
         "max_in_flight: \"0\" from --max-in-flight is not a whole number from 1 to 100000\n"},
        {"--max-in-flight=100001", "from 1 to 100000"},
        {"--max-in-flight=1k", "from 1 to 100000"},
        {"--delta=9223372036854775808",
         "delta: \"9223372036854775808\" from --delta is not a whole number\n"},
        {"--delta=", "a whole number"},
        {"--run-as=no-such-user-here",
         "run_as: \"no-such-user-here\" from --run-as is not a user of"},
        {"--run-as=nobody:no-such-group-here", "a user of this system, or user:group"},
        {"--metrics-port=65536", "a port from 0 to 65535"},
        {"--metrics-port=-1", "a port from 0 to 65535"},
        {"--http-listen=8080", "host:port"},
        {"--http-listen=:8080", "host:port"},
        {"--upstream-timeout=60",
         "upstream_timeout: \"60\" from --upstream-timeout is not a duration such as"},
        {"--upstream-timeout=-1s", "a duration"},
        {"--upstream-timeout=1.5s", "a duration"},
        {"--upstream-timeout=1 s", "a duration"},
        {"--upstream-timeout=1S", "a duration"},
        {"--upstream-timeout=s", "a duration"},
        {"--upstream-timeout=106751991168d", "a duration"},
        {"--body-max=1kib", "a size"},
        {"--body-max=9000000000TiB", "a size"},
        {"--body-max=", "a size"},
        {"--data-dir=", "a path, not empty"},
        {"--mongo-uri=localhost", "mongo_uri: the value from --mongo-uri is not an absolute URL"},
        {"--origins=a,,b", "items separated by commas"},
        {"--origins=a,", "items separated by commas"},
        {"--allow-cidrs=10.0.0.1/8", "blocks such as"},
        {"--allow-cidrs=everyone", "blocks such as"},
        {"--log-level=trace",
         "log_level: \"trace\" from --log-level is not one of debug|info|warn|error\n"},
        {"--log-level=debug|info", "one of"},
        {"--log-level=", "one of"},
        {"--unknown", ": --unknown is no flag of relay"},
        {"--unknown=x", ": --unknown is no flag of relay"},
        {"--upstream-timeout-ms=5s", "is no flag"},
        {"--upstream_timeout=5s", "is no flag"},
        {"--no-title", "is no flag"},
        {"-x", ": -x is no flag of relay"},
        {"--title", "title: --title needs a value\n"},
        {"--=x", "is no flag"},
    };
    for (size_t i = 0; i < GW_ARRAY_LEN(cases); i++) {
        auto_loaded l = load(ARGS(cases[i].flag), ENV());
        if (l.rc != GW_ERR_INVALID_ARGUMENT || l.errs.n != 1 ||
            !strstr(l.text.data, cases[i].message))
            fail_msg("%s: %s", cases[i].flag, l.text.data);
    }
}

static void all_mistakes_are_reported_together(void **state)
{
    (void)state;
    static const char yaml[] = "titel: x\ndata_dir: [a]\n";
    char *file = write_file(yaml, sizeof(yaml) - 1);
    auto_loaded l = load(ARGS("--nope", "--config", file, "--body-max", "big"),
                         (char *[]){"RELAY_TYPO=1", "RELAY_LOG_LEVEL=loud", "OTHER=x", NULL});
    assert_int_equal(l.rc, GW_ERR_INVALID_ARGUMENT);
    static const char *const parts[] = {
        "--nope is no flag",
        "RELAY_TYPO is no setting of relay",
        "/file:1: \"titel\" is no setting",
        "data_dir: ",
        "\"big\" from --body-max",
        "redis_password: is required: set RELAY_REDIS_PASSWORD_FILE",
        "\"loud\" from RELAY_LOG_LEVEL",
    };
    assert_int_equal(l.errs.n, GW_ARRAY_LEN(parts));
    assert_non_null(l.text.data);
    const char *at = l.text.data;
    for (size_t i = 0; i < GW_ARRAY_LEN(parts); i++) {
        const char *found = strstr(at, parts[i]);
        if (found)
            at = found;
        else
            fail_msg("%s is not in: %s", parts[i], at);
    }
}

static void only_strange_variables_with_the_prefix_are_mistakes(void **state)
{
    (void)state;
    auto_loaded ok =
        load(ARGS(),
             ENV("HOME=/root", "RELAYX_FOO=1", "RELAY=1", "RELAY_CREDENTIAL_OPENAI=sk-x",
                 "RELAY_URL=http://x", "RELAY_TITLE=", "RELAY_TYPO=", "no equals sign",
                 "RELAY_SERVICE_HOST=10.0.0.1", "RELAY_SERVICE_PORT=8080",
                 "RELAY_SERVICE_PORT_HTTP=8080", "RELAY_PORT=tcp://10.0.0.1:8080",
                 "RELAY_METRICS_PORT=tcp://10.0.0.1:9000",
                 "RELAY_PORT_8080_TCP=tcp://10.0.0.1:8080", "RELAY_PORT_8080_TCP_ADDR=10.0.0.1"));
    if (ok.rc != GW_OK)
        fail_msg("%s", ok.text.data);
    assert_string_equal(ok.conf.title, "plain");
    assert_int_equal(ok.conf.metrics_port, 9000);
    static char *const bad[] = {"RELAY_PORT=8080", "RELAY_URLS=x", "RELAY_=x",
                                "RELAY_UPSTREAM_TIMEOUT_MS=5", "RELAY_TITLE_FILE=/x"};
    for (size_t i = 0; i < GW_ARRAY_LEN(bad); i++) {
        auto_loaded l = load(ARGS(), ENV(bad[i]));
        if (l.rc != GW_ERR_INVALID_ARGUMENT || !strstr(l.text.data, "is no setting of relay"))
            fail_msg("%s: %s", bad[i], l.text.data);
    }
}

static void positional_arguments_come_back_in_order(void **state)
{
    (void)state;
    auto_loaded l = load(
        ARGS("spool", "--verbose", "inspect", "-", "--title", "t", "--", "--not-a-flag"), ENV());
    assert_int_equal(l.rc, GW_OK);
    static const char *const expected[] = {"spool", "inspect", "-", "--not-a-flag"};
    assert_int_equal(l.conf.base.n_args, GW_ARRAY_LEN(expected));
    for (size_t i = 0; i < GW_ARRAY_LEN(expected); i++)
        assert_string_equal(l.conf.base.args[i], expected[i]);
    assert_true(l.conf.verbose);
    assert_string_equal(l.conf.title, "t");
}

static void a_flag_given_twice_is_a_mistake(void **state)
{
    (void)state;
    auto_loaded twice = load(ARGS("--title=a", "--title=b"), ENV());
    assert_string_equal(twice.text.data, "title: --title is given twice\n");
    auto_loaded both = load(ARGS("--verbose", "--no-verbose"), ENV());
    assert_string_equal(both.text.data, "verbose: --verbose and --no-verbose are both given\n");
    auto_loaded files = load(ARGS("--config=/a", "--config=/b"), ENV());
    assert_non_null(strstr(files.text.data, "--config is given twice"));
    auto_loaded hungry = load(ARGS("--title", "--verbose"), ENV());
    assert_string_equal(hungry.text.data, "title: --title needs a value\n");
}

static void help_and_documentation_list_every_setting(void **state)
{
    (void)state;
    auto_loaded l = load(ARGS("--bad", "--help"), (char *[]){"RELAY_TYPO=1", NULL});
    assert_int_equal(l.rc, GW_OK); /* although nothing else is right */
    assert_int_equal(l.conf.base.action, GW_CONF_HELP);
    auto_loaded docs_asked = load(ARGS("--print-docs"), (char *[]){NULL});
    assert_int_equal(docs_asked.conf.base.action, GW_CONF_PRINT_DOCS);
    auto_loaded print_asked = load(ARGS("--print-config"), ENV());
    assert_int_equal(print_asked.conf.base.action, GW_CONF_PRINT);

    gw_auto_buf help = {0};
    gw_auto_buf docs = {0};
    gw_conf_help(&test_conf_table, &help);
    gw_conf_docs(&test_conf_table, &docs);
    assert_memory_equal(help.data, "Usage: relay [flags] [spool inspect]\n", 37);
    static const char *const in_both[] = {"--upstream-timeout",
                                          "RELAY_UPSTREAM_TIMEOUT",
                                          "60s",
                                          "--redis-password-file",
                                          "RELAY_REDIS_PASSWORD_FILE",
                                          "required",
                                          "a whole number from 1 to 100000",
                                          "RELAY_CONFIG",
                                          "least level that is logged"};
    for (size_t i = 0; i < GW_ARRAY_LEN(in_both); i++) {
        assert_non_null(strstr(help.data, in_both[i]));
        assert_non_null(strstr(docs.data, in_both[i]));
    }
    assert_non_null(strstr(
        docs.data, "| `RELAY_UPSTREAM_TIMEOUT` | `--upstream-timeout` | DURATION | `60s` | yes | "
                   "deadline of one whole upstream exchange |\n"));
    assert_non_null(strstr(docs.data, "one of debug\\|info\\|warn\\|error"));
}

static void count_reloadable(void *arg, const gw_conf_field *f, const char *name)
{
    gw_buf *names = arg;
    gw_buf_appendf(names, "%s%s ", name, f->flags & CONF_RELOADABLE ? "" : "!");
}

static void differences_are_named(void **state)
{
    (void)state;
    auto_loaded a = load(ARGS(), ENV());
    auto_loaded b = load(ARGS("--origins=x", "--upstream-timeout=1s", "--data-dir=/x",
                              "--allow-cidrs=::1", "--metrics-port=1", "--verbose"),
                         (char *[]){"RELAY_REDIS_PASSWORD=other", NULL});
    gw_auto_buf names = {0};
    assert_int_equal(gw_conf_diff(&test_conf_table, &a.conf, &b.conf, count_reloadable, &names), 7);
    assert_string_equal(
        names.data,
        "verbose metrics_port! upstream_timeout redis_password! data_dir! origins allow_cidrs! ");
}

static void only_reloadable_settings_are_adopted(void **state)
{
    (void)state;
    auto_loaded a = load(ARGS("--origins=a", "--data-dir=/a", "--max-in-flight=1"), ENV());
    auto_loaded b = load(ARGS("--origins=b,c", "--data-dir=/b", "--max-in-flight=2", "--verbose",
                              "--log-level=debug"),
                         ENV());
    gw_conf_adopt(&test_conf_table, &a.conf, &b.conf);
    assert_int_equal(a.conf.origins.n, 2);
    assert_string_equal(a.conf.origins.items[1], "c");
    assert_int_equal(a.conf.max_in_flight, 2);
    assert_true(a.conf.verbose);
    assert_string_equal(a.conf.log_level, "debug");
    assert_string_equal(a.conf.data_dir, "/a");
    gw_auto_buf names = {0};
    assert_int_equal(gw_conf_diff(&test_conf_table, &a.conf, &b.conf, count_reloadable, &names), 1);
    assert_string_equal(names.data, "data_dir! ");
}

static void without_memory_loading_fails_cleanly(void **state)
{
    (void)state;
    static const char yaml[] = "title: file\norigins: [a, b]\n";
    char *file = write_file(yaml, sizeof(yaml) - 1);
    for (size_t n = 1;; n++) {
        gw_failing_alloc_arm(n);
        auto_loaded l = {.rc = GW_ERR_INTERNAL};
        char **argv = ARGS("spool", "--bad", "--config", file, "--allow-cidrs=::1,::2");
        l.rc = gw_conf_load(&test_conf_table, 6, argv, ENV("RELAY_TYPO=x"), &l.conf, &l.errs);
        if (!gw_failing_alloc_disarm()) {
            assert_int_equal(l.rc, GW_ERR_INVALID_ARGUMENT);
            assert_int_equal(l.errs.n, 2);
            break;
        }
        assert_int_equal(l.rc, GW_ERR_NO_MEMORY);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(defaults_fill_every_field),
        cmocka_unit_test(a_flag_beats_the_environment_beats_the_file_beats_the_default),
        cmocka_unit_test(good_values_are_taken),
        cmocka_unit_test(bad_values_are_named_with_what_is_allowed),
        cmocka_unit_test(all_mistakes_are_reported_together),
        cmocka_unit_test(only_strange_variables_with_the_prefix_are_mistakes),
        cmocka_unit_test(positional_arguments_come_back_in_order),
        cmocka_unit_test(a_flag_given_twice_is_a_mistake),
        cmocka_unit_test(help_and_documentation_list_every_setting),
        cmocka_unit_test(differences_are_named),
        cmocka_unit_test(only_reloadable_settings_are_adopted),
        cmocka_unit_test(without_memory_loading_fails_cleanly),
    };
    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
