#include "tls/tls.h"

#include "testing/failing_alloc.h"
#include "tls/tls_testing.h"

#include <openssl/err.h>
#include <openssl/ssl.h>

typedef struct fixture {
    gw_loop *loop;
    tls_test_folder server_folder, client_folder;
    tls_test_identity ca, other_ca, server_id, client_id;
    gw_tls_files *server_files, *client_files;
    gw_tls_context *server, *client;
    gw_tls_session session;
    gw_tls *s, *c; /* the two ends of the connection at hand */
    gw_status s_rc, c_rc; /* of its handshake */
    gw_error s_err, c_err;
    gw_buf names;
} fixture;

static void open_files(fixture *f)
{
    const gw_tls_paths server = tls_test_paths(&f->server_folder),
                       client = tls_test_paths(&f->client_folder);
    assert_int_equal(gw_tls_files_new(f->loop, &server, NULL, &f->server_files, NULL), GW_OK);
    assert_int_equal(gw_tls_files_new(f->loop, &client, NULL, &f->client_files, NULL), GW_OK);
}

static void drop_connection(fixture *f)
{
    gw_tls_free(f->s);
    gw_tls_free(f->c);
    f->s = f->c = NULL;
}

static void open_contexts(fixture *f, gw_tls_clients clients)
{
    drop_connection(f); /* connections go before their context */
    gw_tls_context_free(f->server);
    gw_tls_context_free(f->client);
    assert_int_equal(gw_tls_server_context_new(f->server_files, clients, NULL, &f->server, NULL),
                     GW_OK);
    assert_int_equal(gw_tls_client_context_new(f->client_files, true, NULL, &f->client, NULL),
                     GW_OK);
}

static int setup(void **state)
{
    fixture *f = calloc(1, sizeof(*f));
    assert_non_null(f);
    assert_int_equal(gw_loop_new(&gw_system_clock, &f->loop, NULL), GW_OK);
    tls_test_folder_make(&f->server_folder);
    tls_test_folder_make(&f->client_folder);
    f->ca = tls_test_make(&(tls_test_spec){.name = "authority", .is_ca = true});
    f->other_ca = tls_test_make(&(tls_test_spec){.name = "other authority", .is_ca = true});
    f->server_id =
        tls_test_make(&(tls_test_spec){.san = "DNS:server.test,IP:127.0.0.1", .issuer = &f->ca});
    f->client_id = tls_test_make(&(tls_test_spec){
        .san = "DNS:relay,URI:spiffe://test/relay,IP:127.0.0.1", .issuer = &f->ca});
    tls_test_put_identity(&f->server_folder, &f->server_id);
    tls_test_put_ca(&f->server_folder, &f->ca);
    tls_test_put_identity(&f->client_folder, &f->client_id);
    tls_test_put_ca(&f->client_folder, &f->ca);
    open_files(f);
    open_contexts(f, GW_TLS_CLIENTS_ANY);
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    fixture *f = *state;
    drop_connection(f);
    gw_tls_session_fini(&f->session);
    gw_tls_context_free(f->server);
    gw_tls_context_free(f->client);
    gw_tls_files_free(f->server_files);
    gw_tls_files_free(f->client_files);
    gw_loop_free(f->loop);
    tls_test_identity *all[] = {&f->ca, &f->other_ca, &f->server_id, &f->client_id};
    for (size_t i = 0; i < GW_ARRAY_LEN(all); i++)
        tls_test_drop(all[i]);
    tls_test_folder_drop(&f->server_folder);
    tls_test_folder_drop(&f->client_folder);
    gw_buf_fini(&f->names);
    free(f);
    return 0;
}

/* ---- two ends joined ---- */

static bool carry(gw_tls *from, gw_tls *to)
{
    gw_str bytes = gw_tls_output(from);
    if (bytes.len == 0)
        return false;
    assert_int_equal(gw_tls_feed(to, bytes, NULL), GW_OK);
    gw_tls_output_clear(from);
    return true;
}

/* Goes on as long as bytes flow; true when both ends are done. */
static bool shake_hands(fixture *f)
{
    bool s_done = false, c_done = false;
    f->s_rc = f->c_rc = GW_OK;
    do {
        if (f->c_rc == GW_OK)
            f->c_rc = gw_tls_handshake(f->c, &c_done, &f->c_err);
        (void)carry(f->c, f->s);
        if (f->s_rc == GW_OK)
            f->s_rc = gw_tls_handshake(f->s, &s_done, &f->s_err);
    } while (carry(f->s, f->c));
    return s_done && c_done && f->s_rc == GW_OK && f->c_rc == GW_OK;
}

static bool meet(fixture *f, const char *host)
{
    drop_connection(f);
    assert_int_equal(gw_tls_accept(f->server, &f->s, NULL), GW_OK);
    assert_int_equal(gw_tls_connect(f->client, host, &f->session, &f->c, NULL), GW_OK);
    return shake_hands(f);
}

static void assert_passes(gw_tls *from, gw_tls *to, const char *text)
{
    char got[64];
    size_t len = 0;
    assert_int_equal(gw_tls_write(from, gw_str_of(text), NULL), GW_OK);
    assert_true(carry(from, to));
    assert_int_equal(gw_tls_read(to, got, sizeof(got), &len, NULL), GW_OK);
    assert_true(gw_str_eq_c(gw_str_n(got, len), text));
    assert_int_equal(gw_tls_read(to, got, sizeof(got), &len, NULL), GW_OK);
    assert_int_equal(len, 0);
}

static void assert_works(fixture *f)
{
    assert_passes(f->c, f->s, "a question");
    assert_passes(f->s, f->c, "an answer");
}

static void note_name(void *arg, gw_str name)
{
    gw_buf *names = arg;
    gw_buf_append_str(names, name);
    gw_buf_append_char(names, ' ');
}

/* ---- tests ---- */

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

/* ---- a raw client: what ours never does ---- */

typedef struct raw_client {
    SSL_CTX *ctx;
    SSL *ssl;
} raw_client;

static void raw_close(raw_client *r)
{
    SSL_free(r->ssl);
    SSL_CTX_free(r->ctx);
}

static raw_client raw_open(int max_version, const char *alpn)
{
    raw_client r = {.ctx = SSL_CTX_new(TLS_client_method())};
    SSL_CTX_set_security_level(r.ctx, 0);
    SSL_CTX_set_min_proto_version(r.ctx, TLS1_VERSION);
    SSL_CTX_set_max_proto_version(r.ctx, max_version);
    if (alpn)
        SSL_CTX_set_alpn_protos(r.ctx, (const unsigned char *)alpn, (unsigned)strlen(alpn));
    r.ssl = SSL_new(r.ctx);
    SSL_set_bio(r.ssl, BIO_new(BIO_s_mem()), BIO_new(BIO_s_mem()));
    SSL_set_connect_state(r.ssl);
    return r;
}

/* One way each; the server's verdict. */
static gw_status raw_turn(fixture *f, raw_client *r, bool *done)
{
    char *data = NULL;
    ERR_clear_error();
    (void)SSL_do_handshake(r->ssl);
    long len = BIO_get_mem_data(SSL_get_wbio(r->ssl), &data);
    assert_int_equal(gw_tls_feed(f->s, gw_str_n(data, (size_t)len), NULL), GW_OK);
    (void)BIO_reset(SSL_get_wbio(r->ssl));
    gw_status rc = gw_tls_handshake(f->s, done, &f->s_err);
    gw_str out = gw_tls_output(f->s);
    if (out.len > 0)
        BIO_write(SSL_get_rbio(r->ssl), out.ptr, (int)out.len);
    gw_tls_output_clear(f->s);
    return rc;
}

static gw_status raw_meet(fixture *f, raw_client *r)
{
    bool done = false;
    gw_status rc = GW_OK;
    drop_connection(f);
    assert_int_equal(gw_tls_accept(f->server, &f->s, NULL), GW_OK);
    for (int i = 0; i < 4 && rc == GW_OK && !done; i++)
        rc = raw_turn(f, r, &done);
    return rc;
}

static void old_tls_and_foreign_protocols_are_refused(void **state)
{
    fixture *f = *state;
    raw_client old = raw_open(TLS1_1_VERSION, NULL);
    assert_int_equal(raw_meet(f, &old), GW_ERR_IO);
    assert_non_null(strstr(f->s_err.message, "unsupported protocol"));
    raw_close(&old);
    raw_client h2 = raw_open(TLS1_3_VERSION, "\x02h2");
    assert_int_equal(raw_meet(f, &h2), GW_ERR_IO);
    raw_close(&h2);
    raw_client both = raw_open(TLS1_3_VERSION, "\x02h2\x08http/1.1");
    assert_int_equal(raw_meet(f, &both), GW_OK);
    const unsigned char *chosen;
    unsigned len;
    (void)SSL_do_handshake(both.ssl);
    SSL_get0_alpn_selected(both.ssl, &chosen, &len);
    assert_true(gw_str_eq_c(gw_str_n(chosen, len), "http/1.1"));
    raw_close(&both);
}

static void tls_1_2_works_with_forward_secrecy_and_is_not_renegotiated(void **state)
{
    fixture *f = *state;
    char got[8];
    size_t len;
    raw_client r = raw_open(TLS1_2_VERSION, NULL);
    assert_int_equal(raw_meet(f, &r), GW_OK);
    assert_int_equal(SSL_do_handshake(r.ssl), 1);
    assert_string_equal(gw_tls_version(f->s), "TLSv1.2");
    assert_true(strstr(SSL_get_cipher(r.ssl), "ECDHE") == SSL_get_cipher(r.ssl));
    assert_int_equal(SSL_renegotiate(r.ssl), 1);
    (void)SSL_do_handshake(r.ssl);
    char *data = NULL;
    long wanted = BIO_get_mem_data(SSL_get_wbio(r.ssl), &data);
    assert_true(wanted > 0);
    assert_int_equal(gw_tls_feed(f->s, gw_str_n(data, (size_t)wanted), NULL), GW_OK);
    assert_int_equal(gw_tls_read(f->s, got, sizeof(got), &len, NULL), GW_OK);
    gw_str alert = gw_tls_output(f->s); /* no_renegotiation, and nothing of a handshake */
    assert_true(alert.len > 0 && alert.ptr[0] == 21);
    raw_close(&r);
    raw_client weak = raw_open(TLS1_2_VERSION, NULL);
    SSL_set_cipher_list(weak.ssl, "AES128-SHA:ECDHE-ECDSA-AES128-SHA");
    assert_int_equal(raw_meet(f, &weak), GW_ERR_IO);
    raw_close(&weak);
}

static void what_is_no_tls_is_refused_and_half_a_handshake_waits(void **state)
{
    fixture *f = *state;
    bool done = true;
    assert_int_equal(gw_tls_accept(f->server, &f->s, NULL), GW_OK);
    assert_int_equal(gw_tls_feed(f->s, GW_STR("SSH-2.0-OpenSSH_9.2\r\n"), NULL), GW_OK);
    assert_int_equal(gw_tls_handshake(f->s, &done, &f->s_err), GW_ERR_IO);

    drop_connection(f);
    assert_int_equal(gw_tls_accept(f->server, &f->s, NULL), GW_OK);
    assert_int_equal(gw_tls_connect(f->client, "server.test", NULL, &f->c, NULL), GW_OK);
    assert_int_equal(gw_tls_handshake(f->c, &done, NULL), GW_OK);
    gw_str hello = gw_tls_output(f->c);
    for (size_t i = 0; i < hello.len; i++) { /* byte by byte */
        assert_int_equal(gw_tls_output(f->s).len, 0);
        assert_int_equal(gw_tls_feed(f->s, gw_str_slice(hello, i, i + 1), NULL), GW_OK);
        assert_int_equal(gw_tls_handshake(f->s, &done, NULL), GW_OK);
        assert_false(done);
    }
    gw_tls_output_clear(f->c);
    assert_true(gw_tls_output(f->s).len > 0);
    gw_tls_goodbye(f->s); /* nothing to say before the handshake is done */
    assert_true(carry(f->s, f->c));
    assert_true(shake_hands(f));
}

static void a_changed_byte_ends_the_connection(void **state)
{
    fixture *f = *state;
    char got[8], wire[256];
    size_t len;
    assert_true(meet(f, "server.test"));
    assert_int_equal(gw_tls_write(f->c, GW_STR("hello"), NULL), GW_OK);
    gw_str out = gw_tls_output(f->c);
    assert_true(out.len < sizeof(wire));
    memcpy(wire, out.ptr, out.len);
    wire[out.len - 1] ^= 1;
    assert_int_equal(gw_tls_feed(f->s, gw_str_n(wire, out.len), NULL), GW_OK);
    assert_int_equal(gw_tls_read(f->s, got, sizeof(got), &len, &f->s_err), GW_ERR_IO);
    assert_int_equal(len, 0);
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

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

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
        TEST(old_tls_and_foreign_protocols_are_refused),
        TEST(tls_1_2_works_with_forward_secrecy_and_is_not_renegotiated),
        TEST(what_is_no_tls_is_refused_and_half_a_handshake_waits),
        TEST(a_changed_byte_ends_the_connection),
        TEST(a_server_without_what_it_needs_is_an_error_at_start),
        TEST(without_memory_a_connection_fails_cleanly),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
