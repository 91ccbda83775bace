#include "service/service.h"

#define GW_CONF_NAME test_conf
#define GW_CONF_DEF  "service/service_test.def"
#include "conf/conf_struct.h"

#define GW_CONF_NAME    test_conf
#define GW_CONF_DEF     "service/service_test.def"
#define GW_CONF_SERVICE "tested"
#define GW_CONF_PREFIX  "TESTED"
#define GW_CONF_USAGE   "[greet]"
#define GW_CONF_CHECK   gw_service_check_conf
#include "conf/conf_table.h"

#include "testing/cmocka.h"

#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define TOKEN_A     "lcsvc_aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
#define TOKEN_B     "lcsvc_bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb"
#define PATIENCE_MS 20000
#define MOTTO_STUCK "stuck" /* with it the drain never ends, */
#define BIRTH_FAILS "fails" /* with this the start */
#define BIRTH_HANGS "hangs" /* and with this close() */

/* ---- the process: its hooks say in the log when they are called ---- */

typedef struct app {
    gw_service *service;
    const char *motto; /* borrowed, until the next reload */
} app;

static gw_status open_app(void *arg, gw_service *s, gw_error *err)
{
    app *a = arg;
    const test_conf *conf = s->conf;
    a->service = s;
    a->motto = conf->motto;
    if (strcmp(conf->birth, BIRTH_FAILS) == 0)
        return gw_fail(err, GW_ERR_IO, "the address is taken");
    return GW_OK;
}

static bool is_ready(void *arg, const char **reason)
{
    (void)arg;
    (void)reason;
    return true;
}

static void set_serving(void *arg, bool serving)
{
    gw_log_info(((app *)arg)->service->log, serving ? "app_serving" : "app_not_serving");
}

static void reload(void *arg)
{
    app *a = arg;
    const test_conf *conf = a->service->conf;
    gw_log_info(a->service->log, "app_reloaded", gw_kv("before", a->motto),
                gw_kv("motto", conf->motto),
                gw_kv("is_own_token_b", gw_str_eq_c(gw_service_own_token(a->service), TOKEN_B)));
    a->motto = conf->motto;
}

static void drain(void *arg)
{
    app *a = arg;
    gw_log_info(a->service->log, "app_drains");
    if (strcmp(a->motto, MOTTO_STUCK) != 0)
        gw_service_drained(a->service);
}

static void close_app(void *arg)
{
    app *a = arg;
    const test_conf *conf = a->service->conf;
    gw_log_info(a->service->log, "app_closed");
    while (strcmp(conf->birth, BIRTH_HANGS) == 0)
        (void)pause();
}

static bool command(gw_service *s, int *ret_exit_status)
{
    const test_conf *conf = s->conf;
    *ret_exit_status = 7;
    return strcmp(conf->base.args[0], "greet") == 0;
}

static uint64_t descriptors(const void *conf)
{
    return strcmp(((const test_conf *)conf)->birth, "huge") == 0 ? UINT32_MAX : 0;
}

static const gw_service_kind kind = {
    .conf = &test_conf_table,
    .needs_own_token = true,
    .command = command,
    .descriptors = descriptors,
    .open = open_app,
    .is_ready = is_ready,
    .set_serving = set_serving,
    .reload = reload,
    .drain = drain,
    .close = close_app,
    .close_max_ms = PATIENCE_MS,
};

/* ---- the test: starts it, reads its log, sends signals ---- */

typedef struct fixture {
    char folder[32], settings[64], tokens[64], home[64];
    int64_t close_max_ms; /* 0: as of the kind */
    pid_t pid;
    int log_fd;
    char log[65536];
    size_t log_len, seen; /* what was waited for is before `seen` */
} fixture;

static void write_file(const char *path, const char *text)
{
    FILE *f = fopen(path, "we");
    assert_non_null(f);
    assert_true(fputs(text, f) >= 0);
    assert_int_equal(fclose(f), 0);
}

static void write_settings(const fixture *f, const char *further)
{
    char text[512];
    (void)snprintf(text, sizeof(text), "service_tokens_file: %s\nhome: %s\n%s", f->tokens, f->home,
                   further);
    write_file(f->settings, text);
}

static void start(fixture *f, const char *argument)
{
    int fds[2];
    assert_int_equal(pipe(fds), 0);
    f->pid = fork();
    assert_true(f->pid >= 0);
    if (f->pid == 0) {
        char name[] = "tested", flag[] = "--config", word[32] = "";
        char *argv[] = {name, flag, f->settings, argument ? word : NULL, NULL};
        static app a;
        gw_service_kind mine = kind;
        mine.close_max_ms = f->close_max_ms ? f->close_max_ms : kind.close_max_ms;
        if (argument)
            (void)snprintf(word, sizeof(word), "%s", argument);
        (void)dup2(fds[1], STDERR_FILENO);
        _exit(gw_service_main(&mine, &a, argument ? 4 : 3, argv));
    }
    (void)close(fds[1]);
    f->log_fd = fds[0];
}

/* Reads on until the log has `text` behind what was waited for last; "" until its end. */
static void await(fixture *f, const char *text)
{
    struct pollfd p = {.fd = f->log_fd, .events = POLLIN};
    const char *at;
    while (!text[0] || !(at = strstr(f->log + f->seen, text))) {
        assert_true(f->log_len < sizeof(f->log) - 1);
        if (poll(&p, 1, PATIENCE_MS) <= 0)
            fail_msg("\"%s\" did not come:\n%s", text, f->log);
        ssize_t n = read(f->log_fd, f->log + f->log_len, sizeof(f->log) - 1 - f->log_len);
        if (n <= 0 && text[0])
            fail_msg("the log ended before \"%s\":\n%s", text, f->log);
        if (n <= 0)
            return;
        f->log_len += (size_t)n;
        f->log[f->log_len] = '\0';
    }
    f->seen = (size_t)(at - f->log) + strlen(text);
}

static void expect_exit(fixture *f, int exit_status)
{
    int status;
    await(f, "");
    assert_int_equal(waitpid(f->pid, &status, 0), f->pid);
    f->pid = 0;
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), exit_status);
}

static void hang_up(fixture *f)
{
    assert_int_equal(kill(f->pid, SIGHUP), 0);
}

static int setup(void **state)
{
    fixture *f = calloc(1, sizeof(*f));
    if (!f)
        return -1;
    *state = f;
    (void)snprintf(f->folder, sizeof(f->folder), "/tmp/service_test_XXXXXX");
    if (!mkdtemp(f->folder))
        return -1;
    (void)snprintf(f->settings, sizeof(f->settings), "%s/settings.yaml", f->folder);
    (void)snprintf(f->tokens, sizeof(f->tokens), "%s/tokens", f->folder);
    (void)snprintf(f->home, sizeof(f->home), "%s/home", f->folder);
    write_file(f->tokens, "tested " TOKEN_A "\n");
    write_settings(f, "");
    f->log_fd = -1;
    return 0;
}

static int teardown(void **state)
{
    fixture *f = *state;
    if (f->pid > 0) {
        (void)kill(f->pid, SIGKILL);
        (void)waitpid(f->pid, NULL, 0);
    }
    if (f->log_fd >= 0)
        (void)close(f->log_fd);
    (void)unlink(f->settings);
    (void)unlink(f->tokens);
    (void)rmdir(f->home);
    (void)rmdir(f->folder);
    free(f);
    return 0;
}

/* ---- start and stop ---- */

static void sigterm_takes_the_process_apart_in_order(void **state)
{
    fixture *f = *state;
    struct stat home;
    start(f, NULL);
    await(f, "service_started");
    assert_int_equal(stat(f->home, &home), 0);
    assert_int_equal(home.st_mode & 0777, 0700);
    assert_int_equal(kill(f->pid, SIGTERM), 0);
    await(f, "shutdown_begun");
    await(f, "app_not_serving");
    await(f, "drain_started");
    await(f, "app_drains");
    await(f, "service_stopped");
    await(f, "app_closed");
    expect_exit(f, 0);
}

static void a_close_that_hangs_is_cut(void **state)
{
    fixture *f = *state;
    f->close_max_ms = 50;
    write_settings(f, "birth: " BIRTH_HANGS "\n");
    start(f, NULL);
    await(f, "service_started");
    assert_int_equal(kill(f->pid, SIGTERM), 0);
    await(f, "app_closed");
    await(f, "close_cut");
    expect_exit(f, 0);
}

static void a_second_signal_ends_a_drain_that_is_stuck(void **state)
{
    fixture *f = *state;
    write_settings(f, "motto: " MOTTO_STUCK "\n");
    start(f, NULL);
    await(f, "service_started");
    assert_int_equal(kill(f->pid, SIGTERM), 0);
    await(f, "app_drains");
    assert_int_equal(kill(f->pid, SIGINT), 0);
    expect_exit(f, 130);
}

static void nothing_is_drained_before_the_delay_is_over(void **state)
{
    fixture *f = *state;
    write_settings(f, "shutdown_delay: 7d\n");
    start(f, NULL);
    await(f, "service_started");
    assert_int_equal(kill(f->pid, SIGTERM), 0);
    await(f, "app_not_serving");
    hang_up(f); /* is not answered any more: the drain must not wait for files */
    assert_int_equal(kill(f->pid, SIGTERM), 0);
    expect_exit(f, 130);
    assert_null(strstr(f->log, "app_drains"));
}

static void a_start_that_fails_says_why_and_ends_with_1(void **state)
{
    fixture *f = *state;
    write_settings(f, "birth: " BIRTH_FAILS "\n");
    start(f, NULL);
    await(f, "start_failed");
    await(f, "the address is taken");
    expect_exit(f, 1);
    assert_null(strstr(f->log, "app_closed"));
}

static void a_start_needs_a_token_of_its_own_and_enough_descriptors(void **state)
{
    fixture *f = *state;
    write_settings(f, "birth: huge\n");
    start(f, NULL);
    await(f, "open descriptors, the limit is");
    expect_exit(f, 1);
    (void)close(f->log_fd);
    write_settings(f, "");
    write_file(f->tokens, "other " TOKEN_A "\n");
    start(f, NULL);
    await(f, "has no token of tested");
    expect_exit(f, 1);
}

static void mistakes_in_the_settings_end_with_2(void **state)
{
    fixture *f = *state;
    write_settings(f, "log_level: loud\nmottto: x\nrun_as: no-such-user-here\n");
    start(f, NULL);
    await(f, "mottto");
    await(f, "log_level");
    await(f, "run_as");
    await(f, "3 mistakes");
    expect_exit(f, 2);
}

static void a_command_runs_instead_and_an_unknown_one_is_a_mistake(void **state)
{
    fixture *f = *state;
    start(f, "greet");
    expect_exit(f, 7);
    (void)close(f->log_fd);
    start(f, "sing");
    await(f, "unknown command 'sing'; there is ");
    expect_exit(f, 2);
}

/* ---- reload ---- */

static void sighup_takes_over_what_is_reloadable_and_names_the_rest(void **state)
{
    fixture *f = *state;
    start(f, NULL);
    await(f, "service_started");
    write_settings(f, "motto: one\nbirth: later\n");
    hang_up(f);
    await(f, "\"settings.changed\":\"motto\",\"settings.need_restart\":\"birth\"");
    await(f, "\"before\":\"none\",\"motto\":\"one\"");
    write_settings(f, "motto: two\n");
    hang_up(f);
    await(f, "\"settings.changed\":\"motto\",\"settings.need_restart\":\"\"");
    await(f, "\"before\":\"one\",\"motto\":\"two\"");
    assert_int_equal(kill(f->pid, SIGTERM), 0);
    expect_exit(f, 0);
}

static void a_changed_file_needs_no_signal(void **state)
{
    fixture *f = *state;
    start(f, NULL);
    await(f, "service_started");
    write_file(f->tokens, "tested " TOKEN_B "\n");
    await(f, "service_tokens_reloaded");
    await(f, "\"is_own_token_b\":true");
    write_settings(f, "motto: written\n");
    await(f, "\"motto\":\"written\"");
}

static void mistakes_are_named_together_and_change_nothing(void **state)
{
    fixture *f = *state;
    start(f, NULL);
    await(f, "service_started");
    write_settings(f, "motto: new\nlog_level: loud\nshutdown_grace: soon\n");
    hang_up(f);
    await(f, "settings_reload_failed");
    await(f, "log_level");
    await(f, "shutdown_grace");
    await(f, "\"mistakes\":2");
    write_settings(f, "motto: good\n");
    hang_up(f);
    await(f, "\"before\":\"none\",\"motto\":\"good\"");
}

static void tokens_without_ours_are_refused(void **state)
{
    fixture *f = *state;
    start(f, NULL);
    await(f, "service_started");
    write_file(f->tokens, "other " TOKEN_B "\n");
    hang_up(f);
    await(f, "service_tokens_reload_failed");
    await(f, "\"is_own_token_b\":false");
    assert_null(strstr(f->log, "bbbb"));
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(sigterm_takes_the_process_apart_in_order),
        TEST(a_close_that_hangs_is_cut),
        TEST(a_second_signal_ends_a_drain_that_is_stuck),
        TEST(nothing_is_drained_before_the_delay_is_over),
        TEST(a_start_that_fails_says_why_and_ends_with_1),
        TEST(a_start_needs_a_token_of_its_own_and_enough_descriptors),
        TEST(mistakes_in_the_settings_end_with_2),
        TEST(a_command_runs_instead_and_an_unknown_one_is_a_mistake),
        TEST(sighup_takes_over_what_is_reloadable_and_names_the_rest),
        TEST(a_changed_file_needs_no_signal),
        TEST(mistakes_are_named_together_and_change_nothing),
        TEST(tokens_without_ours_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
