/*
 * For tests of TLS: two ends of ours that are joined in memory, each with files of its own.
 */
#pragma once

#include "tls/tls.h"

#include "tls/tls_testing.h"

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

static inline void open_files(fixture *f)
{
    const gw_tls_paths server = tls_test_paths(&f->server_folder),
                       client = tls_test_paths(&f->client_folder);
    assert_int_equal(gw_tls_files_new(f->loop, &server, NULL, &f->server_files, NULL), GW_OK);
    assert_int_equal(gw_tls_files_new(f->loop, &client, NULL, &f->client_files, NULL), GW_OK);
}

static inline void drop_connection(fixture *f)
{
    gw_tls_free(f->s);
    gw_tls_free(f->c);
    f->s = f->c = NULL;
}

static inline void open_contexts(fixture *f, gw_tls_clients clients)
{
    drop_connection(f); /* connections go before their context */
    gw_tls_context_free(f->server);
    gw_tls_context_free(f->client);
    assert_int_equal(gw_tls_server_context_new(f->server_files, clients, NULL, &f->server, NULL),
                     GW_OK);
    assert_int_equal(gw_tls_client_context_new(f->client_files, true, NULL, &f->client, NULL),
                     GW_OK);
}

static inline int setup(void **state)
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

static inline int teardown(void **state)
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

static inline bool carry(gw_tls *from, gw_tls *to)
{
    gw_str bytes = gw_tls_output(from);
    if (bytes.len == 0)
        return false;
    assert_int_equal(gw_tls_feed(to, bytes, NULL), GW_OK);
    gw_tls_output_clear(from);
    return true;
}

/* Goes on as long as bytes flow; true when both ends are done. */
static inline bool shake_hands(fixture *f)
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

static inline bool meet(fixture *f, const char *host)
{
    drop_connection(f);
    assert_int_equal(gw_tls_accept(f->server, &f->s, NULL), GW_OK);
    assert_int_equal(gw_tls_connect(f->client, host, &f->session, &f->c, NULL), GW_OK);
    return shake_hands(f);
}

static inline void assert_passes(gw_tls *from, gw_tls *to, const char *text)
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

static inline void assert_works(fixture *f)
{
    assert_passes(f->c, f->s, "a question");
    assert_passes(f->s, f->c, "an answer");
}

static inline void note_name(void *arg, gw_str name)
{
    gw_buf *names = arg;
    gw_buf_append_str(names, name);
    gw_buf_append_char(names, ' ');
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
