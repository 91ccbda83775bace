#include "rpc/rpc_fixture.h"

#include "tls/tls_testing.h"

/* An authority, a server and a client with good certificates; tests put others in their place. */
typedef struct tls_fixture {
    fixture *f;
    tls_test_identity ca, other_ca, server, client;
    tls_test_folder server_files, client_files;
} tls_fixture;

#define SERVER_SAN "DNS:auth,IP:127.0.0.1"
#define CLIENT_SAN                                                                                 \
    "DNS:Relay.example,URI:spiffe://apirelay/relay,IP:127.0.0.1,email:usage@example.com"

static int tls_setup(void **state)
{
    tls_fixture *t = calloc(1, sizeof *t);
    assert_non_null(t);
    *state = t;
    t->f = new_fixture();
    t->ca = tls_test_make(&(tls_test_spec){.name = "authority", .is_ca = true});
    t->other_ca = tls_test_make(&(tls_test_spec){.name = "another", .is_ca = true});
    t->server = tls_test_make(&(tls_test_spec){.san = SERVER_SAN, .issuer = &t->ca});
    t->client = tls_test_make(&(tls_test_spec){.san = CLIENT_SAN, .issuer = &t->ca});
    tls_test_folder_make(&t->server_files);
    tls_test_folder_make(&t->client_files);
    tls_test_put_identity(&t->server_files, &t->server);
    tls_test_put_ca(&t->server_files, &t->ca);
    tls_test_put_identity(&t->client_files, &t->client);
    tls_test_put_ca(&t->client_files, &t->ca);
    return 0;
}

static int tls_teardown(void **state)
{
    tls_fixture *t = *state;
    void *f = t->f;
    (void)teardown(&f);
    tls_test_folder_drop(&t->server_files);
    tls_test_folder_drop(&t->client_files);
    tls_test_drop(&t->ca);
    tls_test_drop(&t->other_ca);
    tls_test_drop(&t->server);
    tls_test_drop(&t->client);
    free(t);
    return 0;
}

static gw_tls_files *open_files(fixture *f, const gw_tls_paths *paths)
{
    gw_tls_files *files = NULL;
    gw_error err;
    assert_int_equal(gw_tls_files_new(f->loop, paths, NULL, &files, &err), GW_OK);
    return files;
}

static void start_both(tls_fixture *t)
{
    gw_tls_paths server = tls_test_paths(&t->server_files);
    gw_tls_paths client = tls_test_paths(&t->client_files);
    t->f->server_tls = open_files(t->f, &server);
    t->f->client_tls = open_files(t->f, &client);
    start_server(t->f);
    start_channel(t->f);
}

static void reload(gw_tls_files *files)
{
    gw_error err;
    assert_int_equal(gw_tls_files_reload(files, &err), GW_OK);
}

/* Fails at once when there is no good connection. */
static gw_status call(fixture *f, const char *what)
{
    gw_rpc_call_options o = get_options("good", 20000);
    Apirelay__Auth__V1__GetApiKeyRequest q = APIRELAY__AUTH__V1__GET_API_KEY_REQUEST__INIT;
    o.wait_for_ready = false;
    q.id = (char *)(uintptr_t)what;
    assert_non_null(gw_rpc_unary(f->channel, &o, &q.base, on_unary_done, f));
    run_until_done(f, f->done + 1);
    return f->rc;
}

static void a_server_knows_the_names_in_its_callers_certificate(void **state)
{
    tls_fixture *t = *state;
    start_both(t);
    assert_int_equal(call(t->f, "certificate"), GW_OK);
    assert_string_equal(t->f->text, "certificate DNS:Relay.example URI:spiffe://apirelay/relay");
}

static void a_plain_caller_has_no_certificate(void **state)
{
    tls_fixture *t = *state;
    start_server(t->f);
    start_channel(t->f);
    assert_int_equal(call(t->f, "certificate"), GW_OK);
    assert_string_equal(t->f->text, "none");
}

static void a_caller_may_come_without_a_certificate(void **state)
{
    tls_fixture *t = *state;
    gw_tls_paths server = tls_test_paths(&t->server_files);
    gw_tls_paths client = {.ca_file = t->client_files.ca};
    t->f->server_tls = open_files(t->f, &server);
    t->f->client_tls = open_files(t->f, &client);
    start_server(t->f);
    start_channel(t->f);
    assert_int_equal(call(t->f, "certificate"), GW_OK);
    assert_string_equal(t->f->text, "none");
}

static void a_bad_certificate_of_a_caller_is_refused(void **state)
{
    tls_fixture *t = *state;
    const struct {
        const char *name;
        tls_test_spec spec;
    } cases[] = {
        {"by another authority", {.san = CLIENT_SAN, .issuer = &t->other_ca}},
        {"self-signed", {.san = CLIENT_SAN}},
        {"expired", {.san = CLIENT_SAN, .issuer = &t->ca, .from_days = -9, .days = -1}},
        {"not yet valid", {.san = CLIENT_SAN, .issuer = &t->ca, .from_days = 1, .days = 9}},
    };
    start_both(t);
    for (size_t i = 0; i < GW_ARRAY_LEN(cases); i++) {
        tls_test_identity bad = tls_test_make(&cases[i].spec);
        tls_test_put_identity(&t->client_files, &bad);
        reload(t->f->client_tls);
        if (call(t->f, "ok") != GW_ERR_UNAVAILABLE)
            fail_msg("a certificate %s gives %s", cases[i].name,
                     gw_status_describe(t->f->rc)->name);
        tls_test_drop(&bad);
    }
    tls_test_put_identity(&t->client_files, &t->client);
    reload(t->f->client_tls);
    assert_int_equal(call(t->f, "ok"), GW_OK);
}

/* The server's files are not the channel's: it is made anew. */
static void reconnect(fixture *f)
{
    gw_rpc_channel_free(f->channel);
    start_channel(f);
}

static void a_bad_certificate_of_a_server_is_refused(void **state)
{
    tls_fixture *t = *state;
    const struct {
        const char *name;
        tls_test_spec spec;
    } cases[] = {
        {"by another authority", {.san = SERVER_SAN, .issuer = &t->other_ca}},
        {"self-signed", {.san = SERVER_SAN}},
        {"expired", {.san = SERVER_SAN, .issuer = &t->ca, .from_days = -9, .days = -1}},
        {"for another name", {.san = "DNS:usage,IP:127.0.0.2", .issuer = &t->ca}},
        {"without a name", {.name = "127.0.0.2", .issuer = &t->ca}},
    };
    start_both(t);
    for (size_t i = 0; i < GW_ARRAY_LEN(cases); i++) {
        tls_test_identity bad = tls_test_make(&cases[i].spec);
        tls_test_put_identity(&t->server_files, &bad);
        reload(t->f->server_tls);
        reconnect(t->f);
        if (call(t->f, "ok") != GW_ERR_UNAVAILABLE)
            fail_msg("a certificate %s gives %s", cases[i].name,
                     gw_status_describe(t->f->rc)->name);
        tls_test_drop(&bad);
    }
    tls_test_put_identity(&t->server_files, &t->server);
    reload(t->f->server_tls);
    reconnect(t->f);
    assert_int_equal(call(t->f, "ok"), GW_OK);
}

static void plain_and_tls_do_not_mix(void **state)
{
    tls_fixture *t = *state;
    gw_tls_paths server = tls_test_paths(&t->server_files);
    gw_tls_files *files = open_files(t->f, &server);
    t->f->server_tls = files;
    start_server(t->f);
    start_channel(t->f);
    assert_int_equal(call(t->f, "ok"), GW_ERR_UNAVAILABLE);
}

/* A new authority too: the way from one to another goes over a bundle of both (docs/operate.md). */
static void certificates_change_under_load_without_a_failed_call(void **state)
{
    tls_fixture *t = *state;
    tls_test_identity server =
        tls_test_make(&(tls_test_spec){.san = SERVER_SAN, .issuer = &t->other_ca});
    tls_test_identity client =
        tls_test_make(&(tls_test_spec){.san = "DNS:new", .issuer = &t->other_ca});
    gw_auto_buf bundle = {0};
    tls_test_cert_pem(&t->ca, &bundle);
    tls_test_cert_pem(&t->other_ca, &bundle);
    tls_test_put(&t->server_files, t->server_files.ca, gw_buf_str(&bundle));
    tls_test_put(&t->client_files, t->client_files.ca, gw_buf_str(&bundle));
    start_both(t);
    start_stream(t->f);
    send_events(t->f, 1, 0);
    t->f->stop_when_messages = 1;
    gw_loop_run(t->f->loop);
    for (int round = 0; round < 40; round++) {
        bool is_new = (round / 2) % 2 == 0;
        size_t before = t->f->done;
        for (int i = 0; i < 4; i++)
            (void)start_get(t->f, "later", "slow", 20000);
        tls_test_put_identity(round % 2 ? &t->client_files : &t->server_files,
                              round % 2 ? (is_new ? &client : &t->client)
                                        : (is_new ? &server : &t->server));
        reload(round % 2 ? t->f->client_tls : t->f->server_tls);
        (void)start_get(t->f, "ok", "good", 20000);
        for (int i = 0; i < 5; i++) {
            run_until_done(t->f, before + 1 + (size_t)i);
            assert_int_equal(t->f->rc, GW_OK);
        }
    }
    assert_int_equal(call(t->f, "certificate"), GW_OK);
    assert_string_equal(t->f->text, "certificate DNS:Relay.example URI:spiffe://apirelay/relay");
    /* The stream from before all that is where it was. */
    assert_non_null(t->f->stream);
    send_events(t->f, 2, 0);
    t->f->stop_when_messages = 2;
    gw_loop_run(t->f->loop);
    assert_int_equal(t->f->last_value, 2);
    gw_rpc_stream_close_send(t->f->stream);
    run_until_done(t->f, t->f->done + 1);
    assert_int_equal(t->f->rc, GW_OK);
    tls_test_drop(&server);
    tls_test_drop(&client);
}

/* Else a stream that never got through with a bad certificate would wait for ever, and never take the good one. */
static void who_waits_with_old_files_is_let_go_and_who_is_connected_stays(void **state)
{
    tls_fixture *t = *state;
    start_both(t);
    start_stream(t->f);
    send_events(t->f, 1, 0);
    t->f->stop_when_messages = 1;
    gw_loop_run(t->f->loop);
    gw_rpc_client_call *connected = t->f->stream;

    tls_test_identity bad = tls_test_make(&(tls_test_spec){.san = CLIENT_SAN});
    tls_test_put_identity(&t->client_files, &bad);
    reload(t->f->client_tls);
    start_watch(t->f, 1); /* cannot connect */
    tls_test_put_identity(&t->client_files, &t->client);
    reload(t->f->client_tls);
    run_until_done(t->f, 1);
    assert_int_equal(t->f->rc, GW_ERR_UNAVAILABLE);

    /* The core of this stream was given up before that. */
    t->f->stream = connected;
    send_events(t->f, 2, 0);
    t->f->stop_when_messages = 2;
    gw_loop_run(t->f->loop);
    assert_int_equal(t->f->last_value, 2);
    assert_int_equal(call(t->f, "ok"), GW_OK);
    tls_test_drop(&bad);
}

/* The core takes the whole list for the name, and no certificate would ever do. */
static void a_list_of_addresses_is_no_target_over_tls(void **state)
{
    tls_fixture *t = *state;
    gw_rpc_channel *channel = NULL;
    gw_error err;
    start_both(t);
    assert_int_equal(gw_rpc_channel_new(t->f->pump, "ipv4:127.0.0.1:1,127.0.0.2:1",
                                        t->f->client_tls, NULL, &channel, &err),
                     GW_ERR_INVALID_ARGUMENT);
    assert_non_null(strstr(err.message, "dns:///"));
    assert_null(channel);
}

#define TLS_TEST(name) cmocka_unit_test_setup_teardown(name, tls_setup, tls_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TLS_TEST(a_server_knows_the_names_in_its_callers_certificate),
        TLS_TEST(a_plain_caller_has_no_certificate),
        TLS_TEST(a_caller_may_come_without_a_certificate),
        TLS_TEST(a_bad_certificate_of_a_caller_is_refused),
        TLS_TEST(a_bad_certificate_of_a_server_is_refused),
        TLS_TEST(plain_and_tls_do_not_mix),
        TLS_TEST(a_list_of_addresses_is_no_target_over_tls),
        TLS_TEST(certificates_change_under_load_without_a_failed_call),
        TLS_TEST(who_waits_with_old_files_is_let_go_and_who_is_connected_stays),
    };
    return cmocka_run_group_tests(tests, setup_group, teardown_group);
}
