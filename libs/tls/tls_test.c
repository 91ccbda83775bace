#include "tls_test_kit.h"

#include "testing/failing_alloc.h"

static void both_ends_talk_until_one_says_goodbye(void **state)
{
    fixture *f = *state;
    char got[8];
    size_t len;
    assert_true(meet(f, "server.test"));
    assert_string_equal(gw_tls_version(f->s), "TLSv1.3");
    assert_works(f);
    gw_tls_goodbye(f->s);
    assert_false(gw_tls_is_closed(f->c));
    assert_true(carry(f->s, f->c));
    assert_int_equal(gw_tls_read(f->c, got, sizeof(got), &len, NULL), GW_OK);
    assert_int_equal(len, 0);
    assert_true(gw_tls_is_closed(f->c));
}

static void put_server(fixture *f, const tls_test_spec *spec)
{
    tls_test_identity id = tls_test_make(spec);
    tls_test_put_identity(&f->server_folder, &id);
    tls_test_drop(&id);
    assert_int_equal(gw_tls_files_reload(f->server_files, NULL), GW_OK);
}

static void a_server_that_does_not_prove_itself_is_refused_with_its_reason(void **state)
{
    fixture *f = *state;
    const struct {
        tls_test_spec spec;
        const char *host, *reason;
    } cases[] = {
        {{.san = "DNS:server.test", .days = -1, .issuer = &f->ca}, "server.test", "has expired"},
        {{.san = "DNS:server.test", .from_days = 1, .issuer = &f->ca},
         "server.test",
         "not yet valid"},
        {{.san = "DNS:server.test"}, "server.test", "self-signed certificate"},
        {{.san = "DNS:server.test", .issuer = &f->other_ca},
         "server.test",
         "unable to get local issuer certificate"},
        {{.san = "DNS:other.test", .issuer = &f->ca}, "server.test", "another name"},
        {{.san = "IP:127.0.0.2", .issuer = &f->ca}, "127.0.0.1", "another name"},
        {{.name = "server.test", .issuer = &f->ca}, "server.test", "another name"},
    };
    for (size_t i = 0; i < GW_ARRAY_LEN(cases); i++) {
        put_server(f, &cases[i].spec);
        if (meet(f, cases[i].host) || f->c_rc != GW_ERR_UPSTREAM_FAILED ||
            !strstr(f->c_err.message, cases[i].reason))
            fail_msg("not %s: %s", cases[i].reason, f->c_err.message);
    }
}

static void a_client_proves_itself_when_it_must_and_its_names_are_read(void **state)
{
    fixture *f = *state;
    open_contexts(f, GW_TLS_CLIENTS_MUST_PROVE);
    for (int i = 0; i < 2; i++) { /* a resumed session knows the peer, too */
        gw_buf_clear(&f->names);
        assert_true(meet(f, "server.test"));
        assert_works(f);
        assert_int_equal(gw_tls_was_resumed(f->s), i == 1);
        gw_tls_peer_names(f->s, note_name, &f->names);
        assert_string_equal(f->names.data, "relay spiffe://test/relay ");
    }
}

static void a_client_without_a_certificate_is_refused_only_when_it_must_prove(void **state)
{
    fixture *f = *state;
    const gw_tls_paths only_ca = {.ca_file = f->client_folder.ca};
    drop_connection(f);
    gw_tls_context_free(gw_steal(&f->client));
    gw_tls_files_free(f->client_files);
    assert_int_equal(gw_tls_files_new(f->loop, &only_ca, NULL, &f->client_files, NULL), GW_OK);
    open_contexts(f, GW_TLS_CLIENTS_MAY_PROVE);
    assert_true(meet(f, "server.test"));
    gw_tls_peer_names(f->s, note_name, &f->names);
    assert_int_equal(f->names.len, 0);
    gw_tls_session_fini(&f->session);
    open_contexts(f, GW_TLS_CLIENTS_MUST_PROVE);
    assert_false(meet(f, "server.test"));
    assert_int_equal(f->s_rc, GW_ERR_IO);
    assert_non_null(strstr(f->s_err.message, "peer did not return a certificate"));
}

static void
a_client_whose_certificate_does_not_hold_is_refused_even_if_it_may_have_none(void **state)
{
    fixture *f = *state;
    const struct {
        tls_test_spec spec;
        const char *reason;
    } cases[] = {{{.san = "DNS:relay", .days = -1, .issuer = &f->ca}, "has expired"},
                 {{.san = "DNS:relay", .issuer = &f->other_ca}, "local issuer"},
                 {{.san = "DNS:relay"}, "self-signed"}};
    open_contexts(f, GW_TLS_CLIENTS_MAY_PROVE);
    for (size_t i = 0; i < GW_ARRAY_LEN(cases); i++) {
        tls_test_identity id = tls_test_make(&cases[i].spec);
        tls_test_put_identity(&f->client_folder, &id);
        tls_test_drop(&id);
        assert_int_equal(gw_tls_files_reload(f->client_files, NULL), GW_OK);
        if (meet(f, "server.test") || !strstr(f->s_err.message, cases[i].reason))
            fail_msg("not %s: %s", cases[i].reason, f->s_err.message);
    }
}

static void a_swap_is_for_new_connections_only(void **state)
{
    fixture *f = *state;
    assert_true(meet(f, "server.test"));
    gw_tls *old_s = gw_steal(&f->s), *old_c = gw_steal(&f->c);
    put_server(f, &(tls_test_spec){.san = "DNS:renewed.test", .issuer = &f->ca});
    assert_passes(old_s, old_c, "still here");
    assert_passes(old_c, old_s, "me too");
    assert_false(meet(f, "server.test")); /* a full handshake: tickets ended with the swap */
    assert_true(meet(f, "renewed.test"));
    assert_works(f);
    gw_tls_free(old_s);
    gw_tls_free(old_c);
}

static void a_bad_swap_changes_nothing(void **state)
{
    fixture *f = *state;
    tls_test_put_key(&f->server_folder, f->server_folder.key, &f->client_id);
    assert_int_equal(gw_tls_files_reload(f->server_files, NULL), GW_ERR_INVALID_ARGUMENT);
    assert_true(meet(f, "server.test"));
}

static void a_weak_key_is_refused_at_start_and_in_a_swap(void **state)
{
    fixture *f = *state;
    tls_test_identity weak = {.key = EVP_RSA_gen(512)};
    assert_non_null(weak.key);
    tls_test_identity id =
        tls_test_make(&(tls_test_spec){.san = "DNS:server.test", .issuer = &f->ca});
    weak.cert = X509_dup(id.cert);
    X509_set_pubkey(weak.cert, weak.key);
    assert_true(X509_sign(weak.cert, f->ca.key, EVP_sha256()) > 0);
    tls_test_put_identity(&f->server_folder, &weak);
    assert_int_equal(gw_tls_files_reload(f->server_files, NULL), GW_OK);
    assert_true(meet(f, "server.test")); /* by the key before */
    gw_tls_context *c = NULL;
    gw_error err = {0};
    assert_int_equal(gw_tls_server_context_new(f->server_files, GW_TLS_CLIENTS_ANY, NULL, &c, &err),
                     GW_ERR_INTERNAL);
    assert_non_null(strstr(err.message, "key too small"));
    tls_test_drop(&weak);
    tls_test_drop(&id);
}

static void sessions_are_resumed_until_the_files_change(void **state)
{
    fixture *f = *state;
    assert_true(meet(f, "server.test"));
    assert_false(gw_tls_was_resumed(f->c));
    assert_works(f);
    assert_true(meet(f, "server.test"));
    assert_true(gw_tls_was_resumed(f->c));
    assert_works(f);
    /* The client's authorities change: what they said of the server before is no longer asked. */
    tls_test_put_ca(&f->client_folder, &f->other_ca);
    assert_int_equal(gw_tls_files_reload(f->client_files, NULL), GW_OK);
    assert_false(meet(f, "server.test"));
    if (!strstr(f->c_err.message, "unable to get local issuer certificate"))
        fail_msg("%s", f->c_err.message);
}

static void a_server_without_what_it_needs_is_an_error_at_start(void **state)
{
    fixture *f = *state;
    gw_tls_files *files = NULL;
    gw_tls_context *c = NULL;
    gw_tls_paths paths = {.ca_file = f->server_folder.ca};
    assert_int_equal(gw_tls_files_new(f->loop, &paths, NULL, &files, NULL), GW_OK);
    assert_int_equal(gw_tls_server_context_new(files, GW_TLS_CLIENTS_ANY, NULL, &c, NULL),
                     GW_ERR_INVALID_ARGUMENT);
    gw_tls_files_free(files);
    paths = (gw_tls_paths){f->server_folder.cert, f->server_folder.key, NULL};
    assert_int_equal(gw_tls_files_new(f->loop, &paths, NULL, &files, NULL), GW_OK);
    assert_int_equal(gw_tls_server_context_new(files, GW_TLS_CLIENTS_MUST_PROVE, NULL, &c, NULL),
                     GW_ERR_INVALID_ARGUMENT);
    gw_tls_files_free(files);
}

/* As far as our own memory goes; OpenSSL's comes from its own library. */
static void without_memory_a_connection_fails_cleanly(void **state)
{
    fixture *f = *state;
    for (size_t n = 1;; n++) {
        gw_tls *s = NULL, *c = NULL;
        bool s_done = false, c_done = false;
        gw_failing_alloc_arm(n);
        gw_status rc = gw_tls_accept(f->server, &s, NULL);
        if (rc == GW_OK)
            rc = gw_tls_connect(f->client, "server.test", NULL, &c, NULL);
        for (int turn = 0; turn < 4 && rc == GW_OK && !(s_done && c_done); turn++) {
            rc = gw_tls_handshake(c, &c_done, NULL);
            if (rc == GW_OK)
                rc = gw_tls_feed(s, gw_tls_output(c), NULL);
            gw_tls_output_clear(c);
            if (rc == GW_OK)
                rc = gw_tls_handshake(s, &s_done, NULL);
            if (rc == GW_OK)
                rc = gw_tls_feed(c, gw_tls_output(s), NULL);
            gw_tls_output_clear(s);
        }
        if (rc == GW_OK)
            rc = gw_tls_write(c, GW_STR("hello"), NULL);
        bool failed = gw_failing_alloc_disarm();
        gw_tls_free(s);
        gw_tls_free(c);
        if (!failed) {
            assert_int_equal(rc, GW_OK);
            break;
        }
        assert_int_equal(rc, GW_ERR_NO_MEMORY);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(both_ends_talk_until_one_says_goodbye),
        TEST(a_server_that_does_not_prove_itself_is_refused_with_its_reason),
        TEST(a_client_proves_itself_when_it_must_and_its_names_are_read),
        TEST(a_client_without_a_certificate_is_refused_only_when_it_must_prove),
        TEST(a_client_whose_certificate_does_not_hold_is_refused_even_if_it_may_have_none),
        TEST(a_swap_is_for_new_connections_only),
        TEST(a_bad_swap_changes_nothing),
        TEST(a_weak_key_is_refused_at_start_and_in_a_swap),
        TEST(sessions_are_resumed_until_the_files_change),
        TEST(a_server_without_what_it_needs_is_an_error_at_start),
        TEST(without_memory_a_connection_fails_cleanly),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
