/*
 * Targets that are names: a name server on the fixture's loop says what the test wants of them.
 */
#include "rpc/rpc_fixture.h"

#include <uv.h>

#define ADDRESSES_MAX 4
#define DNS_HEAD      12
#define TYPE_A        1
#define FLAGS_OK      0x8180
#define FLAGS_FAILURE 0x8182

typedef struct named {
    fixture *first;
    fixture second; /* at 127.0.0.2, on the same port */
    uv_udp_t socket;
    uint8_t addresses[ADDRESSES_MAX][4];
    size_t count;
    size_t failures; /* answers to come that are SERVFAIL */
    size_t questions;
} named;

/* ---- the name server ---- */

static void put16(uint8_t *at, unsigned value)
{
    at[0] = (uint8_t)(value >> 8);
    at[1] = (uint8_t)value;
}

/* The end of the one question, 0 when there is none. */
static size_t question_end(const uint8_t *q, size_t len)
{
    size_t at = DNS_HEAD;
    while (at < len && q[at] != 0)
        at += 1U + q[at];
    return at + 5 <= len ? at + 5 : 0;
}

static void answer(named *n, const uint8_t *q, size_t len, const struct sockaddr *to)
{
    uint8_t out[512] = {0};
    size_t end = question_end(q, len);
    if (end == 0 || end > 256)
        return;
    bool fails = n->failures > 0;
    bool is_a = q[end - 3] == TYPE_A && q[end - 4] == 0;
    size_t count = !fails && is_a ? n->count : 0;
    memcpy(out, q, end);
    put16(out + 2, fails ? FLAGS_FAILURE : FLAGS_OK);
    put16(out + 4, 1);
    put16(out + 6, (unsigned)count);
    put16(out + 8, 0);
    put16(out + 10, 0);
    for (size_t i = 0; i < count; i++) {
        static const uint8_t head[] = {0xc0, DNS_HEAD, 0, TYPE_A, 0, 1, 0, 0, 0, 0, 0, 4};
        memcpy(out + end, head, sizeof head);
        memcpy(out + end + sizeof head, n->addresses[i], 4);
        end += sizeof head + 4;
    }
    n->questions++;
    if (fails)
        n->failures--;
    uv_buf_t buffer = uv_buf_init((char *)out, (unsigned)end);
    (void)uv_udp_try_send(&n->socket, &buffer, 1, to);
}

static void allocate(uv_handle_t *h, size_t suggested, uv_buf_t *ret)
{
    static char bytes[1024];
    (void)h;
    (void)suggested;
    *ret = uv_buf_init(bytes, sizeof bytes);
}

static void on_question(uv_udp_t *socket, ssize_t len, const uv_buf_t *buffer,
                        const struct sockaddr *from, unsigned flags)
{
    (void)flags;
    if (len > 0 && from)
        answer(socket->data, (const uint8_t *)buffer->base, (size_t)len, from);
}

static void add_address(named *n, uint8_t last)
{
    const uint8_t address[4] = {127, 0, 0, last};
    memcpy(n->addresses[n->count++], address, sizeof address);
}

static int setup_named(void **state)
{
    assert_int_equal(setup(state), 0);
    named *n = calloc(1, sizeof *n);
    assert_non_null(n);
    fixture *f = n->first = *state;
    gw_rpc_channel_free(gw_steal(&f->channel));
    n->second =
        (fixture){.loop = f->loop, .schema = f->schema, .host = "127.0.0.2", .port = f->port};
    struct sockaddr_in here;
    assert_int_equal(uv_ip4_addr("127.0.0.1", 0, &here), 0);
    assert_int_equal(uv_udp_init(gw_loop_uv(f->loop), &n->socket), 0);
    n->socket.data = n;
    assert_int_equal(uv_udp_bind(&n->socket, (const struct sockaddr *)&here, 0), 0);
    assert_int_equal(uv_udp_recv_start(&n->socket, allocate, on_question), 0);
    *state = n;
    return 0;
}

static void on_socket_closed(uv_handle_t *h)
{
    gw_loop_stop(((named *)h->data)->first->loop);
    h->data = NULL;
}

static int teardown_named(void **state)
{
    named *n = *state;
    void *f = n->first;
    gw_rpc_channel_free(gw_steal(&n->first->channel));
    if (n->second.server)
        close_server(&n->second, 0);
    uv_close((uv_handle_t *)&n->socket, on_socket_closed);
    while (n->socket.data)
        gw_loop_run(n->first->loop);
    free(n);
    return teardown(&f);
}

static void open_name(named *n)
{
    struct sockaddr_in here;
    int len = sizeof here;
    char target[96];
    assert_int_equal(uv_udp_getsockname(&n->socket, (struct sockaddr *)&here, &len), 0);
    (void)snprintf(target, sizeof target, "dns://127.0.0.1:%u/auth.test:%u",
                   (unsigned)ntohs(here.sin_port), n->first->port);
    open_channel(n->first, target);
}

/* ---- tests ---- */

static void all_addresses_of_a_name_get_calls(void **state)
{
    named *n = *state;
    start_server(&n->second);
    add_address(n, 1);
    add_address(n, 2);
    open_name(n);
    while (n->first->started == 0 || n->second.started == 0)
        assert_int_equal(get(n->first, "ok", "good", 20000), GW_OK);
}

static void dead_addresses_in_the_list_cost_no_call(void **state)
{
    named *n = *state;
    add_address(n, 3); /* nobody listens there */
    add_address(n, 1);
    add_address(n, 4);
    open_name(n);
    for (int i = 0; i < 20; i++) {
        start_revoke(n->first, "ok", i == 0);
        run_until_done(n->first, n->first->done + 1);
        assert_int_equal(n->first->rc, GW_OK);
    }
}

static void a_name_that_does_not_resolve_fails_calls_and_is_found_later(void **state)
{
    named *n = *state;
    n->failures = SIZE_MAX;
    add_address(n, 1);
    open_name(n);
    start_revoke(n->first, "ok", false);
    run_until_done(n->first, 1);
    assert_int_equal(n->first->rc, GW_ERR_UNAVAILABLE);
    n->failures = 0;
    assert_int_equal(get(n->first, "ok", "good", 20000), GW_OK); /* waits */
}

static void a_name_without_addresses_fails_calls_and_gets_some_later(void **state)
{
    named *n = *state;
    open_name(n);
    start_revoke(n->first, "ok", false);
    run_until_done(n->first, 1);
    assert_int_equal(n->first->rc, GW_ERR_UNAVAILABLE);
    add_address(n, 1);
    assert_int_equal(get(n->first, "ok", "good", 20000), GW_OK);
}

static void a_replica_that_moved_is_found_again(void **state)
{
    named *n = *state;
    add_address(n, 1);
    open_name(n);
    assert_int_equal(get(n->first, "ok", "good", 20000), GW_OK);
    n->count = 0;
    add_address(n, 2);
    start_server(&n->second);
    close_server(n->first, 0);
    assert_int_equal(get(n->first, "ok", "good", 20000), GW_OK);
    assert_int_equal(n->second.started, 1);
}

static void a_name_server_that_flaps_costs_nothing_while_the_replica_lives(void **state)
{
    named *n = *state;
    fixture *f = n->first;
    add_address(n, 1);
    open_name(n);
    assert_int_equal(get(f, "ok", "good", 20000), GW_OK);
    size_t asked = n->questions;
    n->failures = SIZE_MAX;
    close_server(f, 0); /* the connection is lost, and the name asked anew: in vain */
    start_server(f);
    while (n->questions == asked)
        assert_int_equal(get(f, "ok", "good", 20000), GW_OK);
    for (int i = 0; i < 20; i++)
        assert_int_equal(get(f, "ok", "good", 20000), GW_OK);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
#define NAMED(name) cmocka_unit_test_setup_teardown(name, setup_named, teardown_named)
        NAMED(all_addresses_of_a_name_get_calls),
        NAMED(dead_addresses_in_the_list_cost_no_call),
        NAMED(a_name_that_does_not_resolve_fails_calls_and_is_found_later),
        NAMED(a_name_without_addresses_fails_calls_and_gets_some_later),
        NAMED(a_replica_that_moved_is_found_again),
        NAMED(a_name_server_that_flaps_costs_nothing_while_the_replica_lives),
    };
    return cmocka_run_group_tests(tests, setup_group, teardown_group);
}
