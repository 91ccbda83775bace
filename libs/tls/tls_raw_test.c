/* A raw client, and bytes that were changed: what ours never sends. */
#include "tls_test_kit.h"

#include <openssl/err.h>
#include <openssl/ssl.h>

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

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(old_tls_and_foreign_protocols_are_refused),
        TEST(tls_1_2_works_with_forward_secrecy_and_is_not_renegotiated),
        TEST(what_is_no_tls_is_refused_and_half_a_handshake_waits),
        TEST(a_changed_byte_ends_the_connection),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
