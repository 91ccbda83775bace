/*
 * The recorder against a usage that is scripted: a gRPC server in the same process that keeps a position a spool, as the real one
 * does, and misbehaves as told.
 */
#include "recorder_test_kit.h"

#include "core/map.h"
#include "rpc/init.h"
#include "rpc/server.h"
#include "schema/all.h"

#include "apirelay/usage/v1/ingest_service.pb-c.h"

#include <dirent.h>

#define SPOOLS_MAX 8
#define TIME_SCALE 100

typedef struct known_spool {
    uint8_t id[SPOOL_ID_SIZE];
    uint8_t boot[SPOOL_BOOT_SIZE];
    int64_t n;
    uint8_t last_id[12];
} known_spool;

typedef struct fake_usage {
    kit *k;
    gw_schema *schema;
    gw_rpc_server *server;
    gw_rpc_pump *pump;
    gw_rpc_channel *channel;
    bool server_closed;
    known_spool spools[SPOOLS_MAX];
    size_t spool_count;
    known_spool *current;
    gw_rpc_call *call; /* the stream */
    gw_map *claimed; /* event id -> something */
    int64_t claimed_count;
    /* the script */
    int64_t window;
    int cut_every; /* claims each k-th frame, tells nobody and cuts the stream; 0: never */
    int silent_hellos; /* not answered */
    bool hold_acks; /* claims nothing */
    bool ack_half; /* claims half a frame at first, the rest with the next word */
    int error_at_hello; /* sent once instead of the welcome */
    int64_t welcome_add; /* a lie about n, once */
    bool wrong_last_id; /* once */
    /* what came */
    int hellos, frames, statuses, lives;
    int64_t most_unacked, unacked;
    int64_t live_requests;
    Apirelay__Usage__V1__Status last_status;
    bool was_registered; /* of the last hello */
} fake_usage;

/* ---- the server ---- */

static void say(fake_usage *u, Apirelay__Usage__V1__StreamResponse *r)
{
    gw_rpc_send(u->call, &r->base);
}

static void send_ack(fake_usage *u)
{
    Apirelay__Usage__V1__Ack ack = APIRELAY__USAGE__V1__ACK__INIT;
    Apirelay__Usage__V1__StreamResponse r = APIRELAY__USAGE__V1__STREAM_RESPONSE__INIT;
    ack.n = u->current->n;
    ack.window_bytes = u->window;
    r.frame_case = APIRELAY__USAGE__V1__STREAM_RESPONSE__FRAME_ACK;
    r.ack = &ack;
    say(u, &r);
}

static void send_error(fake_usage *u, int code)
{
    Apirelay__Usage__V1__Error e = APIRELAY__USAGE__V1__ERROR__INIT;
    Apirelay__Usage__V1__StreamResponse r = APIRELAY__USAGE__V1__STREAM_RESPONSE__INIT;
    char text[] = "as scripted";
    e.code = (Apirelay__Usage__V1__ErrorCode)code;
    e.message = text;
    r.frame_case = APIRELAY__USAGE__V1__STREAM_RESPONSE__FRAME_ERROR;
    r.error = &e;
    say(u, &r);
    gw_rpc_finish(u->call);
    u->call = NULL;
}

static void cut(fake_usage *u)
{
    gw_error err;
    (void)gw_fail(&err, GW_ERR_UNAVAILABLE, "cut as scripted");
    gw_rpc_call *call = u->call;
    u->call = NULL;
    gw_rpc_fail(call, &err);
}

static known_spool *find_spool(fake_usage *u, const Apirelay__Usage__V1__Hello *h)
{
    for (size_t i = 0; i < u->spool_count; i++)
        if (memcmp(u->spools[i].id, h->spool_id.data, SPOOL_ID_SIZE) == 0)
            return &u->spools[i];
    assert_true(u->spool_count < SPOOLS_MAX);
    assert_false(h->registered);
    known_spool *s = &u->spools[u->spool_count++];
    memcpy(s->id, h->spool_id.data, SPOOL_ID_SIZE);
    memcpy(s->boot, h->boot.data, SPOOL_BOOT_SIZE);
    return s;
}

static void on_hello(fake_usage *u, const Apirelay__Usage__V1__Hello *h)
{
    u->hellos++;
    u->was_registered = h->registered;
    assert_int_equal(h->spool_id.len, SPOOL_ID_SIZE);
    assert_int_equal(h->boot.len, SPOOL_BOOT_SIZE);
    assert_int_equal(h->format, 1);
    if (u->silent_hellos > 0) {
        u->silent_hellos--;
        return;
    }
    if (u->error_at_hello) {
        int code = u->error_at_hello;
        u->error_at_hello = 0;
        send_error(u, code);
        return;
    }
    u->current = find_spool(u, h);
    assert_memory_equal(u->current->boot, h->boot.data, SPOOL_BOOT_SIZE);
    u->unacked = 0;
    Apirelay__Usage__V1__Welcome w = APIRELAY__USAGE__V1__WELCOME__INIT;
    Apirelay__Usage__V1__StreamResponse r = APIRELAY__USAGE__V1__STREAM_RESPONSE__INIT;
    uint8_t last[12];
    memcpy(last, u->current->last_id, 12);
    last[11] ^= u->wrong_last_id;
    w.n = u->current->n + u->welcome_add;
    if (u->current->n > 0)
        w.last_event_id = (ProtobufCBinaryData){.len = 12, .data = last};
    w.window_bytes = u->window;
    u->welcome_add = 0;
    u->wrong_last_id = false;
    r.frame_case = APIRELAY__USAGE__V1__STREAM_RESPONSE__FRAME_WELCOME;
    r.welcome = &w;
    say(u, &r);
}

static void claim(fake_usage *u, const Apirelay__Usage__V1__Events *e, size_t upto)
{
    for (size_t i = 0; i < upto; i++) {
        int64_t seq = e->first_seq + (int64_t)i;
        u->unacked -= (int64_t)e->events[i].len;
        if (seq <= u->current->n)
            continue;
        assert_int_equal(seq, u->current->n + 1);
        u->current->n = seq;
        gw_str id = gw_str_n(e->events[i].data + 2, 12);
        memcpy(u->current->last_id, id.ptr, 12);
        assert_null(gw_map_get(u->claimed, id)); /* exactly once */
        assert_true(gw_map_put(u->claimed, id, u));
        u->claimed_count++;
    }
}

static void on_events(fake_usage *u, const Apirelay__Usage__V1__Events *e)
{
    u->frames++;
    assert_true(e->n_events > 0 && e->n_events <= 512);
    int64_t bytes = 0;
    for (size_t i = 0; i < e->n_events; i++)
        bytes += (int64_t)e->events[i].len;
    assert_true(bytes <= 256 << 10);
    u->unacked += bytes;
    u->most_unacked = GW_MAX(u->most_unacked, u->unacked);
    if (u->hold_acks)
        return;
    if (u->ack_half) {
        claim(u, e, e->n_events / 2);
        send_ack(u);
    }
    claim(u, e, e->n_events);
    if (u->cut_every && u->frames % u->cut_every == 0)
        cut(u);
    else
        send_ack(u);
}

static void stream_message(gw_rpc_call *c, const ProtobufCMessage *m, void *arg)
{
    fake_usage *u = arg;
    const Apirelay__Usage__V1__StreamRequest *q = (const Apirelay__Usage__V1__StreamRequest *)m;
    if (c != u->call)
        return; /* of a stream that was cut */
    switch (q->frame_case) {
    case APIRELAY__USAGE__V1__STREAM_REQUEST__FRAME_HELLO:
        on_hello(u, q->hello);
        break;
    case APIRELAY__USAGE__V1__STREAM_REQUEST__FRAME_EVENTS:
        on_events(u, q->events);
        break;
    case APIRELAY__USAGE__V1__STREAM_REQUEST__FRAME_STATUS:
        u->statuses++;
        u->last_status = *q->status;
        break;
    case APIRELAY__USAGE__V1__STREAM_REQUEST__FRAME_LIVE:
        u->lives++;
        for (size_t i = 0; i < q->live->n_counters; i++)
            u->live_requests += q->live->counters[i]->requests;
        break;
    default:
        fail();
    }
}

static void stream_start(gw_rpc_call *c, const ProtobufCMessage *m, void *arg)
{
    (void)m;
    ((fake_usage *)arg)->call = c;
}

static void stream_cancelled(gw_rpc_call *c, void *arg)
{
    fake_usage *u = arg;
    gw_error err;
    if (u->call == c)
        u->call = NULL;
    (void)gw_fail(&err, GW_ERR_CANCELLED, "gone");
    gw_rpc_fail(c, &err);
}

static void stream_finished(gw_rpc_call *c, void *arg)
{
    fake_usage *u = arg;
    if (u->call == c)
        u->call = NULL;
}

static const gw_rpc_handler handlers[] = {
    {.path = "/apirelay.usage.v1.IngestService/Stream",
     .start = stream_start,
     .message = stream_message,
     .cancelled = stream_cancelled,
     .finished = stream_finished},
    {.path = NULL},
};

static void authorize(void *self, gw_rpc_call *c, const gw_method *m, gw_str credential)
{
    (void)self;
    (void)m;
    gw_error err;
    gw_caller caller = {.kind = GW_CALLER_SERVICE, .name = GW_STR("relay")};
    if (gw_str_eq_c(credential, "lcsvc_relay"))
        gw_rpc_authorized(c, GW_OK, &caller, NULL);
    else
        gw_rpc_authorized(c, gw_fail(&err, GW_ERR_UNAUTHENTICATED, "who?"), NULL, &err);
}

/* ---- fixtures ---- */

static int64_t fast_mono_ns(void *self)
{
    (void)self;
    return gw_clock_mono_ns(&gw_system_clock) * TIME_SCALE;
}
static int64_t fast_wall_ms(void *self)
{
    (void)self;
    return gw_clock_wall_ms(&gw_system_clock);
}
static const gw_clock fast_clock = {.mono_ns = fast_mono_ns, .wall_ms = fast_wall_ms};

static int setup_with(void **state, const gw_clock *clock)
{
    assert_int_equal(kit_setup_with(state, clock), 0);
    kit *k = *state;
    fake_usage *u = calloc(1, sizeof(*u));
    gw_error err;
    char target[32];
    assert_non_null(u);
    k->extra = u;
    u->k = k;
    u->window = 4 << 20;
    assert_non_null(u->claimed = gw_map_new(NULL));
    assert_int_equal(gw_schema_all(&u->schema, &err), GW_OK);
    gw_rpc_server_options o = {
        .listen = "127.0.0.1:0", .schema = u->schema, .authorizer = {authorize, u}};
    assert_int_equal(gw_rpc_server_new(k->loop, &o, &u->server, &err), GW_OK);
    assert_int_equal(gw_rpc_server_add(u->server, handlers, u, &err), GW_OK);
    assert_int_equal(gw_rpc_server_start(u->server, &err), GW_OK);
    (void)snprintf(target, sizeof(target), "127.0.0.1:%u", gw_rpc_server_port(u->server));
    assert_int_equal(gw_rpc_pump_new(k->loop, &u->pump, &err), GW_OK);
    assert_int_equal(gw_rpc_channel_new(u->pump, target, NULL, &u->channel, &err), GW_OK);
    return 0;
}

/* Timeouts of seconds pass in hundredths. */
static int setup_fast(void **state)
{
    return setup_with(state, &fast_clock);
}

static int setup_usage(void **state)
{
    return setup_with(state, &gw_system_clock);
}

static void on_server_closed(void *arg)
{
    ((fake_usage *)arg)->server_closed = true;
}

static bool server_is_closed(kit *k)
{
    return ((fake_usage *)k->extra)->server_closed;
}

static int teardown_usage(void **state)
{
    kit *k = *state;
    fake_usage *u = k->extra;
    gw_rpc_channel_free(u->channel);
    gw_rpc_server_close(u->server, 0, on_server_closed, u);
    kit_run_until(k, server_is_closed);
    gw_rpc_pump_free(u->pump);
    gw_schema_free(u->schema);
    gw_map_free(u->claimed);
    free(u);
    return kit_teardown(state);
}

static int setup_group(void **state)
{
    (void)state;
    gw_rpc_init();
    return 0;
}
static int teardown_group(void **state)
{
    (void)state;
    gw_rpc_shutdown();
    return 0;
}

static fake_usage *open_with_usage(kit *k)
{
    fake_usage *u = k->extra;
    recorder_options o = kit_options(k);
    o.usage = u->channel;
    o.service_token = GW_STR("lcsvc_relay");
    o.slots_per_lane = 512;
    kit_open(k, &o);
    return u;
}

static bool all_is_acked(kit *k)
{
    recorder_stats s = kit_stats(k);
    return s.tail >= k->wanted && s.acked == s.tail && s.connected;
}

static void record(kit *k, int n)
{
    for (int i = 0; i < n; i++)
        while (!kit_record(recorder_lane_at(k->recorder, 0), i % 2 == 0))
            kit_wait_tail(k, kit_stats(k).tail + 1);
}

static void wait_acked(kit *k, int64_t tail)
{
    k->wanted = tail;
    kit_run_until(k, all_is_acked);
}

/* ---- tests ---- */

static void events_reach_usage_and_leave_the_spool(void **state)
{
    kit *k = *state;
    fake_usage *u = open_with_usage(k);
    record(k, 1500);
    wait_acked(k, 1500);
    assert_int_equal(u->claimed_count, 1500);
    assert_int_equal(u->hellos, 1);
    kit_close(k, 1000);
    usage_event *left[1];
    assert_int_equal(kit_read_all(k, left, 1), 0);
}

static void cut_streams_neither_lose_nor_double(void **state)
{
    kit *k = *state;
    fake_usage *u = open_with_usage(k);
    u->cut_every = 2;
    for (int64_t tail = 150; tail <= 600; tail += 150) {
        record(k, 150);
        wait_acked(k, tail);
    }
    assert_int_equal(u->claimed_count, 600);
    assert_true(u->hellos > 1);
    kit_close(k, 1000);
}

static void a_restarted_relay_goes_on_where_usage_is(void **state)
{
    kit *k = *state;
    fake_usage *u = open_with_usage(k);
    record(k, 100);
    wait_acked(k, 100);
    u->hold_acks = true;
    record(k, 50);
    kit_close(k, 20);
    u->hold_acks = false;
    u = open_with_usage(k);
    record(k, 10);
    wait_acked(k, 160);
    assert_int_equal(u->claimed_count, 160);
    assert_true(u->was_registered);
    kit_close(k, 1000);
}

static void the_window_is_kept(void **state)
{
    kit *k = *state;
    fake_usage *u = k->extra;
    u->window = 1000;
    u->ack_half = true;
    (void)open_with_usage(k);
    record(k, 400);
    wait_acked(k, 400);
    assert_true(u->most_unacked <= 1000);
    assert_int_equal(u->claimed_count, 400);
    kit_close(k, 1000);
}

static bool has_tail_and_hello(kit *k)
{
    fake_usage *u = k->extra;
    return kit_stats(k).tail >= k->wanted && u->statuses > 0;
}

static void window_zero_stops_and_an_ack_starts_again(void **state)
{
    kit *k = *state;
    fake_usage *u = k->extra;
    u->window = 0;
    (void)open_with_usage(k);
    record(k, 30);
    k->wanted = 30;
    kit_run_until(k, has_tail_and_hello);
    assert_int_equal(u->frames, 0);
    assert_int_equal(u->last_status.tail, 30);
    assert_int_equal(u->last_status.oldest, 1);
    assert_int_equal(u->last_status.oldest_timestamp_ms, 1764000000000);
    u->window = 1 << 20;
    send_ack(u);
    wait_acked(k, 30);
    kit_close(k, 1000);
}

static void a_usage_that_forgot_the_spool_gets_the_rest_under_a_new_id(void **state)
{
    kit *k = *state;
    fake_usage *u = open_with_usage(k);
    record(k, 40);
    wait_acked(k, 40);
    u->hold_acks = true;
    record(k, 25);
    kit_close(k, 20);
    u->hold_acks = false;
    u->error_at_hello = APIRELAY__USAGE__V1__ERROR_CODE__ERROR_CODE_GONE;
    (void)open_with_usage(k);
    wait_acked(k, 25); /* seq begins again at 1 */
    assert_int_equal(kit_stats(k).tail, 25);
    assert_int_equal(u->claimed_count, 65);
    assert_int_equal(u->spool_count, 2);
    record(k, 5);
    wait_acked(k, 30);
    kit_close(k, 1000);
    u = open_with_usage(k); /* the new id stays */
    record(k, 5);
    wait_acked(k, 35);
    assert_int_equal(u->spool_count, 2);
    kit_close(k, 1000);
}

static bool two_spools_and_acked(kit *k)
{
    fake_usage *u = k->extra;
    return u->spool_count == 2 && all_is_acked(k);
}

static void a_restored_usage_with_older_claims_makes_a_new_id(void **state)
{
    kit *k = *state;
    fake_usage *u = open_with_usage(k);
    record(k, 40);
    wait_acked(k, 40);
    u->welcome_add = -10;
    cut(u);
    k->wanted = 0;
    kit_run_until(k, two_spools_and_acked);
    assert_int_equal(kit_stats(k).tail, 0);
    record(k, 7);
    wait_acked(k, 7);
    assert_int_equal(u->spool_count, 2);
    assert_int_equal(u->claimed_count, 47);
    kit_close(k, 1000);
}

static bool has_aside(const kit *k, const char *word)
{
    DIR *d = opendir(k->dir);
    bool found = false;
    for (struct dirent *e; d && (e = readdir(d));)
        found |= strstr(e->d_name, word) != NULL;
    if (d)
        (void)closedir(d);
    return found;
}

static void check_put_aside(kit *k, fake_usage *u)
{
    k->wanted = 0;
    kit_run_until(k, two_spools_and_acked);
    assert_true(has_aside(k, ".conflict"));
    record(k, 5);
    wait_acked(k, 5);
    assert_int_equal(u->claimed_count, 25);
    kit_close(k, 1000);
}

static void a_copied_spool_is_put_aside_for_a_new_one(void **state)
{
    kit *k = *state;
    fake_usage *u = open_with_usage(k);
    record(k, 20);
    wait_acked(k, 20);
    u->error_at_hello = APIRELAY__USAGE__V1__ERROR_CODE__ERROR_CODE_CONFLICT;
    cut(u);
    check_put_aside(k, u);
}

static void a_usage_ahead_of_the_spool_puts_it_aside(void **state)
{
    kit *k = *state;
    fake_usage *u = open_with_usage(k);
    record(k, 20);
    wait_acked(k, 20);
    u->welcome_add = 1;
    cut(u);
    check_put_aside(k, u);
}

static void another_event_at_the_position_puts_it_aside(void **state)
{
    kit *k = *state;
    fake_usage *u = open_with_usage(k);
    record(k, 20);
    wait_acked(k, 20);
    u->wrong_last_id = true;
    cut(u);
    check_put_aside(k, u);
}

static void a_busy_usage_is_asked_again(void **state)
{
    kit *k = *state;
    fake_usage *u = k->extra;
    u->error_at_hello = APIRELAY__USAGE__V1__ERROR_CODE__ERROR_CODE_BUSY;
    (void)open_with_usage(k);
    record(k, 5);
    wait_acked(k, 5);
    assert_int_equal(u->hellos, 2);
    kit_close(k, 1000);
}

static bool has_live(kit *k)
{
    fake_usage *u = k->extra;
    return u->live_requests >= k->wanted && u->lives > 0;
}

static void live_counters_come_within_seconds(void **state)
{
    kit *k = *state;
    fake_usage *u = open_with_usage(k);
    record(k, 1);
    wait_acked(k, 1);
    k->wanted = 1;
    kit_run_until(k, has_live);
    record(k, 99);
    k->wanted = 100;
    kit_run_until(k, has_live);
    assert_int_equal(u->live_requests, 100);
    kit_close(k, 1000);
}

static void without_usage_the_relay_goes_on_and_closes(void **state)
{
    kit *k = *state;
    fake_usage *u = k->extra;
    u->silent_hellos = 1000;
    (void)open_with_usage(k);
    record(k, 700);
    kit_wait_tail(k, 700);
    assert_false(kit_stats(k).connected);
    kit_close(k, 50);
}

static bool two_hellos_and_acked(kit *k)
{
    return ((fake_usage *)k->extra)->hellos >= 2 && all_is_acked(k);
}

static void a_usage_that_does_not_welcome_is_left(void **state)
{
    kit *k = *state;
    fake_usage *u = k->extra;
    u->silent_hellos = 1;
    (void)open_with_usage(k);
    record(k, 5);
    k->wanted = 5;
    kit_run_until(k, two_hellos_and_acked);
    kit_close(k, 1000);
}

static bool sent_again(kit *k)
{
    fake_usage *u = k->extra;
    if (u->hellos >= 2)
        u->hold_acks = false;
    return u->hellos >= 2 && all_is_acked(k);
}

static void a_usage_that_does_not_ack_is_left(void **state)
{
    kit *k = *state;
    fake_usage *u = k->extra;
    u->hold_acks = true;
    (void)open_with_usage(k);
    record(k, 5);
    k->wanted = 5;
    kit_run_until(k, sent_again);
    assert_int_equal(u->claimed_count, 5);
    kit_close(k, 1000);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup_usage, teardown_usage)
        TEST(events_reach_usage_and_leave_the_spool),
        TEST(cut_streams_neither_lose_nor_double),
        TEST(a_restarted_relay_goes_on_where_usage_is),
        TEST(the_window_is_kept),
        TEST(window_zero_stops_and_an_ack_starts_again),
        TEST(a_usage_that_forgot_the_spool_gets_the_rest_under_a_new_id),
        TEST(a_restored_usage_with_older_claims_makes_a_new_id),
        TEST(a_copied_spool_is_put_aside_for_a_new_one),
        TEST(a_usage_ahead_of_the_spool_puts_it_aside),
        TEST(another_event_at_the_position_puts_it_aside),
        TEST(a_busy_usage_is_asked_again),
        TEST(live_counters_come_within_seconds),
        TEST(without_usage_the_relay_goes_on_and_closes),
#define FAST(name) cmocka_unit_test_setup_teardown(name, setup_fast, teardown_usage)
        FAST(a_usage_that_does_not_welcome_is_left),
        FAST(a_usage_that_does_not_ack_is_left),
    };
    return cmocka_run_group_tests(tests, setup_group, teardown_group);
}
