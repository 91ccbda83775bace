#include "http/client_test_kit.h"
#include "tls/tls_testing.h"

static const char ok_answer[] = "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello";

static tls_test_identity ca;
static tls_test_folder folder;

static int make_authority(void **state)
{
    (void)state;
    ca = tls_test_make(&(tls_test_spec){.name = "test authority", .is_ca = true});
    tls_test_folder_make(&folder);
    tls_test_put_ca(&folder, &ca);
    return 0;
}

static int drop_authority(void **state)
{
    (void)state;
    tls_test_folder_drop(&folder);
    tls_test_drop(&ca);
    return 0;
}

static int choose_protocol(SSL *ssl, const unsigned char **out, unsigned char *out_len,
                           const unsigned char *in, unsigned in_len, void *arg)
{
    (void)ssl;
    (void)arg;
    static const unsigned char wanted[] = "\x08http/1.1";
    if (in_len != sizeof(wanted) - 1 || memcmp(in, wanted, in_len) != 0)
        return SSL_TLSEXT_ERR_ALERT_FATAL;
    *out = in + 1;
    *out_len = in[0];
    return SSL_TLSEXT_ERR_OK;
}

/* The client anew, with these files. */
static void trust_files(kit *k, const gw_tls_paths *paths)
{
    gw_tls_files *files = NULL;
    gw_http_client_options o = kit_options();
    kit_close_client(k);
    gw_tls_files_free(k->files);
    assert_int_equal(gw_tls_files_new(k->loop, paths, NULL, &files, NULL), GW_OK);
    k->files = o.tls = files;
    kit_open_client(k, o);
}

static void serve_tls(kit *k, const char *san, int days, bool self_signed, int max_version)
{
    tls_test_identity id = tls_test_make(&(tls_test_spec){
        .name = "127.0.0.1", .san = san, .days = days, .issuer = self_signed ? NULL : &ca});
    SSL_CTX *ctx = SSL_CTX_new(TLS_server_method());
    SSL_CTX_set_security_level(ctx, 0);
    SSL_CTX_set_min_proto_version(ctx, TLS1_VERSION);
    SSL_CTX_set_max_proto_version(ctx, max_version);
    SSL_CTX_set_alpn_select_cb(ctx, choose_protocol, NULL);
    SSL_CTX_set_session_id_context(ctx, (const unsigned char *)"t", 1);
    assert_int_equal(SSL_CTX_use_certificate(ctx, id.cert), 1);
    assert_int_equal(SSL_CTX_use_PrivateKey(ctx, id.key), 1);
    tls_test_drop(&id);
    SSL_CTX_free(k->server.tls);
    k->server.tls = ctx;
    k->server.answer = gw_str_of(ok_answer);

    trust_files(k, &(gw_tls_paths){.ca_file = folder.ca});
}

static void get_from(kit *k, kit_call *c, const char *host)
{
    gw_http_request r = kit_request(k, "GET");
    r.url.host = gw_str_of(host);
    kit_start(k, c, &r);
    kit_run(k);
    assert_int_equal(c->dones, 1);
}

static void a_verified_upstream_answers_and_its_connection_is_kept(void **state)
{
    kit *k = *state;
    const int versions[] = {TLS1_2_VERSION, TLS1_3_VERSION};
    for (size_t v = 0; v < GW_ARRAY_LEN(versions); v++) {
        size_t accepted = k->server.accepted;
        serve_tls(k, "IP:127.0.0.1,DNS:localhost", 2, false, versions[v]);
        for (int i = 0; i < 3; i++) {
            kit_auto_call by_ip = {0}, by_name = {0};
            get_from(k, &by_ip, "127.0.0.1");
            kit_assert_ok(&by_ip);
            assert_string_equal(by_ip.body.data, "hello");
            get_from(k, &by_name, "LOCALHOST");
            kit_assert_ok(&by_name);
        }
        assert_int_equal(k->server.accepted - accepted, 2);
    }
}

static void a_certificate_that_does_not_hold_is_refused_with_its_reason(void **state)
{
    kit *k = *state;
    static const struct {
        const char *san, *host, *reason;
        int days;
        bool self_signed;
    } cases[] = {
        {"IP:127.0.0.1", "127.0.0.1", "certificate has expired", -1, false},
        {"IP:127.0.0.1", "127.0.0.1", "self-signed certificate", 2, true},
        {"DNS:other.example", "localhost", "another name", 2, false},
        {"IP:127.0.0.2", "127.0.0.1", "another name", 2, false},
        {"DNS:127.0.0.1", "127.0.0.1", "another name", 2, false},
        {NULL, "127.0.0.1", "another name", 2, false}, /* the subject's CN alone is no proof */
        {"DNS:localhost", "127.0.0.1", "another name", 2, false},
    };
    for (size_t i = 0; i < GW_ARRAY_LEN(cases); i++) {
        serve_tls(k, cases[i].san, cases[i].days, cases[i].self_signed, TLS1_3_VERSION);
        kit_auto_call c = {0};
        size_t requests = k->server.requests;
        get_from(k, &c, cases[i].host);
        if (c.rc != GW_ERR_UPSTREAM_FAILED || !strstr(c.err.message, cases[i].reason))
            fail_msg("case %zu: %s: %s", i, gw_status_describe(c.rc)->name, c.err.message);
        assert_int_equal(k->server.requests, requests);
    }
}

static void an_unknown_authority_is_refused(void **state)
{
    kit *k = *state;
    serve_tls(k, "IP:127.0.0.1", 2, false, TLS1_3_VERSION);
    kit_close_client(k);
    kit_open_client(k, kit_options());
    kit_auto_call c = {0};
    get_from(k, &c, "127.0.0.1");
    assert_int_equal(c.rc, GW_ERR_UPSTREAM_FAILED);
    assert_non_null(strstr(c.err.message, "unable to get local issuer certificate"));
}

static void old_tls_is_refused(void **state)
{
    kit *k = *state;
    serve_tls(k, "IP:127.0.0.1", 2, false, TLS1_1_VERSION);
    kit_auto_call c = {0};
    get_from(k, &c, "127.0.0.1");
    assert_int_equal(c.rc, GW_ERR_UPSTREAM_FAILED);
    assert_non_null(strstr(c.err.message, "TLS handshake failed"));
}

static void a_plain_server_is_no_tls_server(void **state)
{
    kit *k = *state;
    kit_auto_call c = {0};
    gw_http_request r = kit_request(k, "GET");
    r.url.scheme = GW_STR("https");
    kit_start(k, &c, &r);
    while (gw_list_is_empty(&k->server.peers))
        kit_turn(k);
    kit_peer *p = kit_first_peer(k);
    kit_send(p, GW_STR("HTTP/1.1 400 Bad Request\r\n\r\n"));
    kit_run(k);
    assert_int_equal(c.rc, GW_ERR_UPSTREAM_FAILED);
}

static void sessions_are_resumed(void **state)
{
    kit *k = *state;
    const int versions[] = {TLS1_2_VERSION, TLS1_3_VERSION};
    for (size_t v = 0; v < GW_ARRAY_LEN(versions); v++) {
        serve_tls(k, "IP:127.0.0.1", 2, false, versions[v]);
        k->server.resumed = 0;
        k->server.answer =
            GW_STR("HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 5\r\n\r\nhello");
        for (int i = 0; i < 3; i++) {
            kit_auto_call c = {0};
            get_from(k, &c, "127.0.0.1");
            kit_assert_ok(&c);
        }
        assert_int_equal(k->server.resumed, 2);
    }
}

static void goodbye(kit_peer *p)
{
    kit_send(p, p->server->answer);
    SSL_shutdown(p->ssl);
    kit_flush_tls(p);
    kit_close(p);
}

static void only_a_goodbye_ends_an_answer_framed_by_close(void **state)
{
    kit *k = *state;
    serve_tls(k, "IP:127.0.0.1", 2, false, TLS1_3_VERSION);
    k->server.answer = GW_STR("HTTP/1.1 200 OK\r\n\r\nhello");
    k->server.close_after = true;
    kit_auto_call cut = {0}, whole = {0};
    get_from(k, &cut, "127.0.0.1");
    assert_int_equal(cut.rc, GW_ERR_UPSTREAM_CUT);
    k->server.on_request = goodbye;
    get_from(k, &whole, "127.0.0.1");
    kit_assert_ok(&whole);
    assert_string_equal(whole.body.data, "hello");
}

static void bytes_left_over_in_tls_close_the_connection(void **state)
{
    kit *k = *state;
    serve_tls(k, "IP:127.0.0.1", 2, false, TLS1_3_VERSION);
    k->server.answer =
        GW_STR("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhelloHTTP/1.1 200 OK\r\n");
    kit_auto_call a = {0}, b = {0};
    get_from(k, &a, "127.0.0.1");
    kit_assert_ok(&a);
    get_from(k, &b, "127.0.0.1");
    kit_assert_ok(&b);
    assert_int_equal(k->server.accepted, 2);
}

static void resume(void *arg)
{
    gw_http_resume(((kit_call *)arg)->call);
}

static void pause_a_while(kit_call *c)
{
    gw_http_pause(c->call);
    gw_timer_init(&c->timer, resume, c);
    gw_timer_set(c->k->loop, &c->timer, 0);
}

static void large_bodies_pass_both_ways(void **state)
{
    kit *k = *state;
    const size_t bytes = (size_t)4 * 1024 * 1024;
    gw_auto_buf answer = {0};
    gw_auto_free char *big = malloc(bytes);
    for (size_t i = 0; i < bytes; i++)
        big[i] = (char)('a' + i % 23);
    gw_buf_appendf(&answer, "HTTP/1.1 200 OK\r\nContent-Length: %zu\r\n\r\n", bytes);
    gw_buf_append(&answer, big, bytes);
    serve_tls(k, "IP:127.0.0.1", 2, false, TLS1_3_VERSION);
    k->server.answer = gw_buf_str(&answer);
    gw_str body[] = {gw_str_n(big, 5), gw_str_n(big + 5, bytes - 5)};
    gw_http_request r = kit_request(k, "POST");
    r.body = body;
    r.body_parts = 2;
    for (int i = 0; i < 2; i++) { /* fresh, then kept; once with pauses */
        kit_auto_call c = {.in_body = i == 1 ? pause_a_while : NULL};
        kit_start(k, &c, &r);
        kit_run(k);
        gw_timer_cancel(k->loop, &c.timer);
        kit_assert_ok(&c);
        assert_true(gw_str_eq(gw_buf_str(&c.body), gw_str_n(big, bytes)));
        gw_str got = gw_buf_str(&k->server.last_request);
        assert_true(gw_str_eq(gw_str_slice(got, got.len - bytes, got.len), gw_str_n(big, bytes)));
    }
    assert_int_equal(k->server.accepted, 1);
}

static void a_server_that_asks_sees_the_clients_own_certificate(void **state)
{
    kit *k = *state;
    tls_test_identity own = tls_test_make(&(tls_test_spec){.san = "DNS:relay", .issuer = &ca});
    tls_test_put_identity(&folder, &own);
    tls_test_drop(&own);
    serve_tls(k, "IP:127.0.0.1", 2, false, TLS1_3_VERSION);
    X509_STORE_add_cert(SSL_CTX_get_cert_store(k->server.tls), ca.cert);
    SSL_CTX_set_verify(k->server.tls, SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT, NULL);
    kit_auto_call without = {0}, with = {0};
    get_from(k, &without, "127.0.0.1");
    assert_int_equal(without.rc, GW_ERR_UPSTREAM_FAILED);
    const gw_tls_paths paths = tls_test_paths(&folder);
    trust_files(k, &paths);
    get_from(k, &with, "127.0.0.1");
    kit_assert_ok(&with);
}

static void changed_authorities_hold_for_new_connections_only(void **state)
{
    kit *k = *state;
    tls_test_identity other = tls_test_make(&(tls_test_spec){.name = "other", .is_ca = true});
    serve_tls(k, "IP:127.0.0.1", 2, false, TLS1_3_VERSION);
    kit_auto_call first = {0}, kept = {0}, fresh = {0};
    get_from(k, &first, "127.0.0.1");
    kit_assert_ok(&first);
    tls_test_put_ca(&folder, &other);
    assert_int_equal(gw_tls_files_reload(k->files, NULL), GW_OK);
    get_from(k, &kept, "127.0.0.1");
    kit_assert_ok(&kept);
    assert_int_equal(k->server.accepted, 1);
    kit_close(kit_first_peer(k));
    while (!gw_list_is_empty(&k->server.peers))
        kit_turn(k);
    get_from(k, &fresh, "127.0.0.1");
    assert_int_equal(fresh.rc, GW_ERR_UPSTREAM_FAILED);
    assert_non_null(strstr(fresh.err.message, "unable to get local issuer certificate"));
    tls_test_put_ca(&folder, &ca);
    tls_test_drop(&other);
}

static void an_answer_framed_by_close_is_never_sure_to_be_whole(void **state)
{
    kit *k = *state;
    serve_tls(k, "IP:127.0.0.1", 2, false, TLS1_3_VERSION);
    k->server.answer = GW_STR("HTTP/1.1 200 OK\r\n\r\nhello");
    k->server.close_after = true;
    kit_auto_call cut = {0}, whole = {0};
    get_from(k, &cut, "127.0.0.1");
    assert_int_equal(cut.rc, GW_ERR_UPSTREAM_CUT);
    k->server.on_request = goodbye;
    get_from(k, &whole, "127.0.0.1");
    assert_int_equal(whole.rc, GW_ERR_UPSTREAM_CUT);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        KIT_TEST_BOTH(a_verified_upstream_answers_and_its_connection_is_kept),
        KIT_TEST_BOTH(a_certificate_that_does_not_hold_is_refused_with_its_reason),
        KIT_TEST_BOTH(an_unknown_authority_is_refused),
        KIT_TEST_BOTH(old_tls_is_refused),
        KIT_TEST_BOTH(a_plain_server_is_no_tls_server),
        KIT_TEST(sessions_are_resumed),
        KIT_TEST(only_a_goodbye_ends_an_answer_framed_by_close),
        KIT_TEST_CURL(an_answer_framed_by_close_is_never_sure_to_be_whole),
        KIT_TEST(bytes_left_over_in_tls_close_the_connection),
        KIT_TEST_BOTH(large_bodies_pass_both_ways),
        KIT_TEST_BOTH(a_server_that_asks_sees_the_clients_own_certificate),
        KIT_TEST(changed_authorities_hold_for_new_connections_only),
    };
    return cmocka_run_group_tests(tests, make_authority, drop_authority);
}
