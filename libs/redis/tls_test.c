#define _GNU_SOURCE /* memfd_create, pipe2 */

#include "redis/test_server.h"
#include "tls/tls_testing.h"

/* A real redis-server that speaks TLS only. */
typedef struct secure {
    world *w;
    tls_test_folder server_folder, client_folder;
    tls_test_identity ca;
    gw_tls_files *files; /* the client's */
    gw_buf url;
} secure;

static void put_server(secure *s, const char *san, int days)
{
    tls_test_identity id =
        tls_test_make(&(tls_test_spec){.san = san, .days = days, .issuer = &s->ca});
    tls_test_put_identity(&s->server_folder, &id);
    tls_test_put_ca(&s->server_folder, &s->ca);
    tls_test_drop(&id);
}

static void put_client(secure *s)
{
    tls_test_identity id = tls_test_make(&(tls_test_spec){.san = "DNS:auth", .issuer = &s->ca});
    tls_test_put_identity(&s->client_folder, &id);
    tls_test_drop(&id);
}

static void start_tls_server(secure *s, const char *asks_clients)
{
    char port[8];
    snprintf(port, sizeof(port), "%u", s->w->port);
    const tls_test_folder *f = &s->server_folder;
    const char *const settings[] = {"--port",
                                    "0",
                                    "--tls-port",
                                    port,
                                    "--tls-cert-file",
                                    f->cert,
                                    "--tls-key-file",
                                    f->key,
                                    "--tls-ca-cert-file",
                                    f->ca,
                                    "--tls-auth-clients",
                                    asks_clients,
                                    "--requirepass",
                                    "pass",
                                    NULL};
    start_server_with(s->w, settings);
}

static int setup(void **state)
{
    secure *s = calloc(1, sizeof(*s));
    void *made = NULL;
    assert_non_null(s);
    if (set_up_world(&made) != 0)
        return -1;
    s->w = made;
    s->ca = tls_test_make(&(tls_test_spec){.name = "authority", .is_ca = true});
    tls_test_folder_make(&s->server_folder);
    tls_test_folder_make(&s->client_folder);
    put_server(s, "IP:127.0.0.1", 2);
    tls_test_put_ca(&s->client_folder, &s->ca);
    gw_buf_appendf(&s->url, "rediss://:pass@127.0.0.1:%u/3", s->w->port);
    *state = s;
    return 0;
}

static int teardown(void **state)
{
    secure *s = *state;
    void *made = s->w;
    gw_redis_free(gw_steal(&s->w->redis));
    gw_tls_files_free(s->files);
    tls_test_folder_drop(&s->server_folder);
    tls_test_folder_drop(&s->client_folder);
    tls_test_drop(&s->ca);
    gw_buf_fini(&s->url);
    free(s);
    return tear_down_world(&made);
}

static void open_client(secure *s, bool has_certificate)
{
    gw_tls_paths paths = tls_test_paths(&s->client_folder);
    if (!has_certificate)
        paths.cert_file = paths.key_file = NULL;
    assert_int_equal(gw_tls_files_new(s->w->loop, &paths, NULL, &s->files, NULL), GW_OK);
    gw_redis_options o = options_of(s->w, &s->url);
    o.tls = s->files;
    assert_int_equal(gw_redis_new(s->w->loop, s->w->log, &o, &s->w->redis, NULL), GW_OK);
    gw_redis_connect(s->w->redis);
}

static void assert_works(secure *s)
{
    answer a;
    assert_true(wait_until(s->w, redis_is_up, s->w->redis));
    call_and_wait(s->w, s->w->redis, &a, GW_STR("SET"), GW_STR("key"), GW_STR("value"));
    assert_int_equal(a.rc, GW_OK);
    call_and_wait(s->w, s->w->redis, &a, GW_STR("GET"), GW_STR("key"));
    assert_string_equal(a.text, "value");
}

static bool is_logged(void *arg)
{
    return count_in_log(arg, "redis_unavailable") > 0;
}

static void assert_refused(secure *s, const char *reason)
{
    answer a;
    if (!wait_until(s->w, is_logged, s->w) || !strstr(log_text(s->w), reason))
        fail_msg("not %s: %s", reason, log_text(s->w));
    call_and_wait(s->w, s->w->redis, &a, GW_STR("PING"));
    assert_int_equal(a.rc, GW_ERR_UNAVAILABLE);
}

static void commands_and_their_password_go_over_tls(void **state)
{
    secure *s = *state;
    start_tls_server(s, "no");
    open_client(s, false);
    assert_works(s);
}

static void a_large_value_passes_both_ways(void **state)
{
    secure *s = *state;
    enum { SIZE = 3 * 1024 * 1024 };
    answer a;
    start_tls_server(s, "no");
    open_client(s, false);
    assert_works(s);
    gw_auto_free char *value = malloc(SIZE);
    memset(value, 'v', SIZE);
    call_and_wait(s->w, s->w->redis, &a, GW_STR("SET"), GW_STR("large"), gw_str_n(value, SIZE));
    assert_int_equal(a.rc, GW_OK);
    call_and_wait(s->w, s->w->redis, &a, GW_STR("STRLEN"), GW_STR("large"));
    assert_int_equal(a.integer, SIZE);
    call_and_wait(s->w, s->w->redis, &a, GW_STR("GET"), GW_STR("large"));
    assert_int_equal(a.rc, GW_OK);
    assert_int_equal(a.type, REDIS_REPLY_STRING);
}

static void a_server_that_asks_sees_our_certificate(void **state)
{
    secure *s = *state;
    put_client(s);
    start_tls_server(s, "yes");
    open_client(s, true);
    assert_works(s);
}

static void without_the_certificate_it_asks_for_we_are_refused(void **state)
{
    secure *s = *state;
    start_tls_server(s, "yes");
    open_client(s, false);
    assert_refused(s, "redis at 127.0.0.1"); /* why, or a reset that has overtaken the reason */
    assert_false(gw_redis_is_up(s->w->redis));
    assert_null(strstr(log_text(s->w), "redis_connected"));
}

static void a_server_that_does_not_prove_itself_gets_no_password(void **state)
{
    static const struct {
        const char *san;
        int days;
        const char *reason;
    } cases[] = {{"IP:127.0.0.1", -1, "certificate has expired"},
                 {"IP:127.0.0.2", 2, "another name"},
                 {"DNS:localhost", 2, "another name"}};
    (void)state;
    for (size_t i = 0; i < GW_ARRAY_LEN(cases); i++) {
        void *made = NULL;
        assert_int_equal(setup(&made), 0);
        secure *s = made;
        put_server(s, cases[i].san, cases[i].days);
        start_tls_server(s, "no");
        open_client(s, false);
        assert_refused(s, cases[i].reason);
        assert_null(strstr(log_text(s->w), "pass@"));
        teardown(&made);
    }
}

static void an_unknown_authority_is_refused(void **state)
{
    secure *s = *state;
    tls_test_identity other = tls_test_make(&(tls_test_spec){.name = "other", .is_ca = true});
    tls_test_put_ca(&s->client_folder, &other);
    tls_test_drop(&other);
    start_tls_server(s, "no");
    open_client(s, false);
    assert_refused(s, "certificate");
}

static void a_plain_server_is_never_spoken_to(void **state)
{
    secure *s = *state;
    start_server(s->w, NULL);
    open_client(s, false);
    assert_refused(s, "TLS handshake");
}

static void a_lost_connection_comes_back_over_tls_with_new_authorities(void **state)
{
    secure *s = *state;
    start_tls_server(s, "no");
    open_client(s, false);
    assert_works(s);
    kill_server(s->w);
    assert_true(wait_until(s->w, redis_is_down, s->w->redis));
    tls_test_drop(&s->ca);
    s->ca = tls_test_make(&(tls_test_spec){.name = "new authority", .is_ca = true});
    put_server(s, "IP:127.0.0.1", 2);
    tls_test_put_ca(&s->client_folder, &s->ca);
    assert_int_equal(gw_tls_files_reload(s->files, NULL), GW_OK);
    start_tls_server(s, "no");
    assert_works(s);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(commands_and_their_password_go_over_tls),
        TEST(a_large_value_passes_both_ways),
        TEST(a_server_that_asks_sees_our_certificate),
        TEST(without_the_certificate_it_asks_for_we_are_refused),
        cmocka_unit_test(a_server_that_does_not_prove_itself_gets_no_password),
        TEST(an_unknown_authority_is_refused),
        TEST(a_plain_server_is_never_spoken_to),
        TEST(a_lost_connection_comes_back_over_tls_with_new_authorities),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
