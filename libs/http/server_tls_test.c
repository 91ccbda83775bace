/* What is TLS's own at the server; everything else is tested inside TLS by the other tests of the server. */
#include "http/server_test_kit.h"
#include "tls/tls_internal.h" /* for a client that does what ours never does */

enum { HEAD_TIMEOUT_MS = 1000, IDLE_TIMEOUT_MS = 3000 };

static gw_http_server_options options(void)
{
    gw_http_server_options o = gw_http_server_defaults;
    o.head_timeout_ms = HEAD_TIMEOUT_MS;
    o.idle_timeout_ms = IDLE_TIMEOUT_MS;
    o.connections_max = 3;
    return o;
}

static int setup(void **state)
{
    const gw_http_server_options o = options();
    *state = kit_new_tls(&o);
    return 0;
}

static int setup_mutual(void **state)
{
    gw_http_server_options o = options();
    o.tls_clients = GW_TLS_CLIENTS_MUST_PROVE;
    *state = kit_new_tls(&o);
    return 0;
}

static kit_client *meet(kit *k, const char *host)
{
    kit_client *c = kit_client_raw(k);
    kit_client_shake_hands(k, c, host);
    return c;
}

/* A client that has sent the first half of its hello. */
static kit_client *stall(kit *k)
{
    bool done;
    kit_client *c = kit_client_raw(k);
    gw_tls *tls = NULL;
    assert_int_equal(gw_tls_connect(k->client_context, "first.test", NULL, &tls, NULL), GW_OK);
    assert_int_equal(gw_tls_handshake(tls, &done, NULL), GW_OK);
    gw_str hello = gw_tls_output(tls);
    kit_send_raw(c, gw_str_slice(hello, 0, hello.len / 2));
    gw_tls_free(tls);
    kit_client_read(c);
    kit_settle(k);
    return c;
}

static void plain_http_is_told_to_use_https(void **state)
{
    kit *k = *state;
    kit_client *c = kit_client_raw(k);
    kit_client_read(c);
    kit_send(c, GET("/x"));
    kit_wait(k, c->is_ended);
    assert_int_equal(kit_status(c), 400);
    kit_assert_saw(c, "https://");
    assert_int_equal(k->heads, 0);
}

static void what_is_neither_tls_nor_http_is_closed(void **state)
{
    kit *k = *state;
    kit_client *c = kit_client_raw(k);
    kit_client_read(c);
    kit_send(c, "\x16\x03\x01\xff\xff not quite TLS");
    kit_wait(k, c->is_ended);
    assert_int_equal(gw_http_server_connections(k->server), 0);
}

static void a_handshake_that_stalls_is_closed_in_the_time_for_a_head(void **state)
{
    kit *k = *state;
    kit_client *silent = kit_client_raw(k);
    kit_client_read(silent);
    kit_client *c = stall(k);
    kit_advance_ms(k, HEAD_TIMEOUT_MS - 1);
    assert_false(c->is_ended || silent->is_ended);
    kit_advance_ms(k, 1);
    kit_wait(k, c->is_ended && silent->is_ended);
    assert_int_equal(c->in.len, 0);
}

static void the_handshake_counts_as_part_of_the_heads_time(void **state)
{
    kit *k = *state;
    kit_client *c = kit_client_raw(k);
    kit_settle(k);
    kit_advance_ms(k, HEAD_TIMEOUT_MS / 2);
    kit_client_shake_hands(k, c, "first.test");
    kit_send(c, "GET /x HTTP/1.1\r\n");
    kit_settle(k);
    kit_advance_ms(k, HEAD_TIMEOUT_MS / 2);
    kit_wait(k, c->is_ended);
    assert_int_equal(kit_status(c), 408);
}

static void a_client_that_leaves_in_mid_handshake_is_forgotten(void **state)
{
    kit *k = *state;
    kit_client *c = stall(k);
    assert_int_equal(gw_http_server_connections(k->server), 1);
    kit_client_free(c);
    kit_wait(k, gw_http_server_connections(k->server) == 0);
}

static void a_drain_waits_for_no_handshake(void **state)
{
    kit *k = *state;
    kit_client *c = stall(k);
    gw_http_server_drain(k->server);
    kit_wait(k, c->is_ended);
}

static void one_connection_too_many_is_closed_without_a_handshake(void **state)
{
    kit *k = *state;
    for (size_t i = 0; i < 3; i++)
        kit_client_new(k);
    kit_client *c = meet(k, "first.test");
    assert_true(c->is_ended);
    assert_false(c->is_secure);
}

static void what_is_whole_ends_with_a_goodbye_and_what_is_cut_does_not(void **state)
{
    kit *k = *state;
    kit_client *whole = kit_client_new(k), *idle = kit_client_new(k), *cut = kit_client_new(k);
    kit_send(whole, "GET /x HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
    kit_wait(k, whole->is_ended);
    assert_true(gw_tls_is_closed(whole->tls));

    kit_send(cut, GET("/hold"));
    kit_wait(k, k->held);
    gw_exchange_start(k->held, &(gw_response_head){.status = 200}, -1);
    gw_exchange_write(k->held, &GW_STR("some"), 1);
    gw_exchange_abort(k->held);
    kit_wait(k, cut->is_ended);
    kit_assert_saw(cut, "some");
    assert_false(gw_tls_is_closed(cut->tls));

    kit_send(idle, GET("/y"));
    kit_wait(k, kit_saw(idle, "GET /y?"));
    kit_advance_ms(k, IDLE_TIMEOUT_MS);
    kit_wait(k, idle->is_ended);
    assert_true(gw_tls_is_closed(idle->tls));
}

static void a_clients_goodbye_in_mid_exchange_means_that_it_is_gone(void **state)
{
    kit *k = *state;
    kit_client *c = kit_client_new(k);
    kit_send(c, GET("/hold"));
    kit_wait(k, k->held);
    gw_tls_goodbye(c->tls);
    kit_flush_tls(c);
    kit_wait(k, !k->held);
    assert_int_equal(k->completed, 0);
}

static void put_server(kit *k, const char *san)
{
    tls_test_identity id = tls_test_make(&(tls_test_spec){.san = san, .issuer = &k->ca});
    tls_test_put_identity(&k->folder, &id);
    tls_test_drop(&id);
}

static void a_new_certificate_is_for_new_connections_and_kept_ones_go_on(void **state)
{
    kit *k = *state;
    kit_client *kept = kit_client_new(k);
    kit_send(kept, GET("/hold"));
    kit_wait(k, k->held);
    put_server(k, "DNS:second.test");
    assert_int_equal(gw_tls_files_reload(k->server_files, NULL), GW_OK);
    kit_answer(k->held, "from before");
    kit_wait(k, kit_saw(kept, "from before"));
    kit_send(kept, GET("/again"));
    kit_wait(k, kit_saw(kept, "GET /again?"));
    kit_client *old_name = meet(k, "first.test");
    assert_non_null(strstr(old_name->err.message, "another name"));
    kit_client *new_name = meet(k, "second.test");
    kit_send(new_name, GET("/new"));
    kit_wait(k, kit_saw(new_name, "GET /new?"));
}

static void a_bad_swap_leaves_the_certificate_before(void **state)
{
    kit *k = *state;
    tls_test_put_key(&k->folder, k->folder.key, &k->ca);
    assert_int_equal(gw_tls_files_reload(k->server_files, NULL), GW_ERR_INVALID_ARGUMENT);
    kit_client *c = meet(k, "first.test");
    kit_send(c, GET("/x"));
    kit_wait(k, kit_saw(c, "GET /x?"));
}

static void take_name(void *arg, gw_str name)
{
    gw_buf_append_str(arg, name);
}

static void a_handler_sees_who_a_client_has_proved_to_be(void **state)
{
    kit *k = *state;
    kit_client *stranger = meet(k, "first.test");
    kit_wait(k, stranger->is_ended); /* in TLS 1.3 a client learns it after its own handshake */
    assert_int_equal(k->heads, 0);
    kit_client_free(stranger);
    kit_settle(k);

    tls_test_identity id = tls_test_make(&(tls_test_spec){.san = "DNS:relay", .issuer = &k->ca});
    gw_tls_context_free(k->client_context);
    gw_tls_files_free(k->client_files);
    put_server(k, "DNS:first.test");
    assert_int_equal(gw_tls_files_reload(k->server_files, NULL), GW_OK);
    tls_test_put_identity(&k->folder, &id); /* not reloaded by the server */
    tls_test_drop(&id);
    const gw_tls_paths paths = tls_test_paths(&k->folder);
    assert_int_equal(gw_tls_files_new(k->loop, &paths, NULL, &k->client_files, NULL), GW_OK);
    assert_int_equal(
        gw_tls_client_context_new(k->client_files, true, NULL, &k->client_context, NULL), GW_OK);
    kit_client *c = meet(k, "first.test");
    gw_auto_buf names = {0};
    kit_send(c, GET("/hold"));
    kit_wait(k, k->held);
    gw_tls_peer_names(gw_exchange_tls(k->held), take_name, &names);
    assert_string_equal(names.data, "relay");
}

/* An answer to each would pile up behind the answer that is not read. */
static void a_client_that_asks_for_key_updates_and_reads_nothing_is_closed(void **state)
{
    kit *k = *state;
    static char block[8192];
    kit_client *c = kit_client_deaf(k);
    kit_send(c, GET("/hold"));
    kit_wait(k, k->held);
    gw_exchange_start(k->held, &(gw_response_head){.status = 200}, -1);
    while (!gw_exchange_is_congested(k->held))
        gw_exchange_write(k->held, &(gw_str){block, sizeof(block)}, 1);
    for (int i = 0; i < 400 && k->held; i++) {
        assert_int_equal(SSL_key_update(c->tls->ssl, SSL_KEY_UPDATE_REQUESTED), 1);
        assert_int_equal(SSL_do_handshake(c->tls->ssl), 1);
        kit_flush_tls(c);
        kit_settle(k);
    }
    kit_wait(k, !k->held);
    assert_int_equal(k->completed, 0);
}

static void a_server_without_a_certificate_does_not_start(void **state)
{
    kit *k = *state;
    gw_http_server_options o = options();
    gw_http_server *s = NULL;
    gw_error err = {0};
    o.tls = k->client_files;
    assert_int_equal(gw_http_server_new(k->loop, &o, &kit_handler, k, NULL, &s, &err),
                     GW_ERR_INVALID_ARGUMENT);
    assert_non_null(strstr(err.message, "certificate"));
    kit_settle(k);
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, setup, kit_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(plain_http_is_told_to_use_https),
        CASE(what_is_neither_tls_nor_http_is_closed),
        CASE(a_handshake_that_stalls_is_closed_in_the_time_for_a_head),
        CASE(the_handshake_counts_as_part_of_the_heads_time),
        CASE(a_client_that_leaves_in_mid_handshake_is_forgotten),
        CASE(a_drain_waits_for_no_handshake),
        CASE(one_connection_too_many_is_closed_without_a_handshake),
        CASE(what_is_whole_ends_with_a_goodbye_and_what_is_cut_does_not),
        CASE(a_clients_goodbye_in_mid_exchange_means_that_it_is_gone),
        CASE(a_new_certificate_is_for_new_connections_and_kept_ones_go_on),
        CASE(a_bad_swap_leaves_the_certificate_before),
        cmocka_unit_test_setup_teardown(a_handler_sees_who_a_client_has_proved_to_be, setup_mutual,
                                        kit_teardown),
        CASE(a_client_that_asks_for_key_updates_and_reads_nothing_is_closed),
        CASE(a_server_without_a_certificate_does_not_start),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
