/*
 * A scripted usage: a gRPC server in the same process that keeps a position a spool, as the real one does, and misbehaves as told.
 */
#pragma once

#include "recorder_test_kit.h"

#include "core/map.h"
#include "rpc/init.h"
#include "rpc/server.h"
#include "schema/all.h"

#include "apirelay/usage/v1/ingest_service.pb-c.h"

#define SPOOLS_MAX 8

typedef struct known_spool {
    uint8_t id[SPOOL_ID_SIZE];
    uint8_t boot[SPOOL_BOOT_SIZE];
    int64_t n;
    uint8_t last_id[12];
} known_spool;

#define FAKE_HELLOS_MAX 8

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
    bool hold_rest; /* after such a half claims nothing */
    int error_at_hello; /* sent once instead of the welcome */
    int64_t welcome_add; /* a lie about n, once */
    bool wrong_last_id; /* once */
    /* what came */
    int hellos, frames, statuses, lives;
    int64_t hello_ms[FAKE_HELLOS_MAX];
    int64_t most_unacked, unacked;
    int64_t live_requests;
    Apirelay__Usage__V1__Status last_status;
    bool was_registered; /* of the last hello */
} fake_usage;

/* ---- the server ---- */

static inline void fake_usage_say(fake_usage *u, Apirelay__Usage__V1__StreamResponse *r)
{
    gw_rpc_send(u->call, &r->base);
}

static inline void fake_usage_send_ack(fake_usage *u)
{
    Apirelay__Usage__V1__Ack ack = APIRELAY__USAGE__V1__ACK__INIT;
    Apirelay__Usage__V1__StreamResponse r = APIRELAY__USAGE__V1__STREAM_RESPONSE__INIT;
    ack.n = u->current->n;
    ack.window_bytes = u->window;
    r.frame_case = APIRELAY__USAGE__V1__STREAM_RESPONSE__FRAME_ACK;
    r.ack = &ack;
    fake_usage_say(u, &r);
}

static inline void fake_usage_send_error(fake_usage *u, int code)
{
    Apirelay__Usage__V1__Error e = APIRELAY__USAGE__V1__ERROR__INIT;
    Apirelay__Usage__V1__StreamResponse r = APIRELAY__USAGE__V1__STREAM_RESPONSE__INIT;
    char text[] = "as scripted";
    e.code = (Apirelay__Usage__V1__ErrorCode)code;
    e.message = text;
    r.frame_case = APIRELAY__USAGE__V1__STREAM_RESPONSE__FRAME_ERROR;
    r.error = &e;
    fake_usage_say(u, &r);
    gw_rpc_finish(u->call);
    u->call = NULL;
}

static inline void fake_usage_cut(fake_usage *u)
{
    gw_error err;
    (void)gw_fail(&err, GW_ERR_UNAVAILABLE, "cut as scripted");
    gw_rpc_call *call = u->call;
    u->call = NULL;
    gw_rpc_fail(call, &err);
}

static inline known_spool *fake_usage_find_spool(fake_usage *u, const Apirelay__Usage__V1__Hello *h)
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

static inline void fake_usage_on_hello(fake_usage *u, const Apirelay__Usage__V1__Hello *h)
{
    if (u->hellos < FAKE_HELLOS_MAX)
        u->hello_ms[u->hellos] = gw_loop_now_ms(u->k->loop);
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
        fake_usage_send_error(u, code);
        return;
    }
    u->current = fake_usage_find_spool(u, h);
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
    fake_usage_say(u, &r);
}

static inline void fake_usage_claim(fake_usage *u, const Apirelay__Usage__V1__Events *e,
                                    size_t upto)
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

static inline void fake_usage_on_events(fake_usage *u, const Apirelay__Usage__V1__Events *e)
{
    u->frames++;
    assert_true(e->n_events > 0 && e->n_events <= 1024);
    int64_t bytes = 0;
    for (size_t i = 0; i < e->n_events; i++)
        bytes += (int64_t)e->events[i].len;
    assert_true(bytes <= 256 << 10);
    u->unacked += bytes;
    u->most_unacked = GW_MAX(u->most_unacked, u->unacked);
    if (u->hold_acks)
        return;
    if (u->ack_half) {
        fake_usage_claim(u, e, e->n_events / 2);
        fake_usage_send_ack(u);
        u->hold_acks = u->hold_rest && e->n_events > 1;
    }
    if (u->hold_acks)
        return;
    fake_usage_claim(u, e, e->n_events);
    if (u->cut_every && u->frames % u->cut_every == 0)
        fake_usage_cut(u);
    else
        fake_usage_send_ack(u);
}

static inline void fake_usage_stream_message(gw_rpc_call *c, const ProtobufCMessage *m, void *arg)
{
    fake_usage *u = arg;
    const Apirelay__Usage__V1__StreamRequest *q = (const Apirelay__Usage__V1__StreamRequest *)m;
    if (c != u->call)
        return; /* of a stream that was cut */
    switch (q->frame_case) {
    case APIRELAY__USAGE__V1__STREAM_REQUEST__FRAME_HELLO:
        fake_usage_on_hello(u, q->hello);
        break;
    case APIRELAY__USAGE__V1__STREAM_REQUEST__FRAME_EVENTS:
        fake_usage_on_events(u, q->events);
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

static inline void fake_usage_stream_start(gw_rpc_call *c, const ProtobufCMessage *m, void *arg)
{
    (void)m;
    ((fake_usage *)arg)->call = c;
}

static inline void fake_usage_stream_cancelled(gw_rpc_call *c, void *arg)
{
    fake_usage *u = arg;
    gw_error err;
    if (u->call == c)
        u->call = NULL;
    (void)gw_fail(&err, GW_ERR_CANCELLED, "gone");
    gw_rpc_fail(c, &err);
}

static inline void fake_usage_stream_finished(gw_rpc_call *c, void *arg)
{
    fake_usage *u = arg;
    if (u->call == c)
        u->call = NULL;
}

static const gw_rpc_handler fake_usage_handlers[] = {
    {.path = "/apirelay.usage.v1.IngestService/Stream",
     .start = fake_usage_stream_start,
     .message = fake_usage_stream_message,
     .cancelled = fake_usage_stream_cancelled,
     .finished = fake_usage_stream_finished},
    {.path = NULL},
};

static inline void fake_usage_authorize(void *self, gw_rpc_call *c, const gw_method *m,
                                        gw_str credential)
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

static inline int fake_usage_setup(void **state, const gw_clock *clock)
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
        .listen = "127.0.0.1:0", .schema = u->schema, .authorizer = {fake_usage_authorize, u}};
    assert_int_equal(gw_rpc_server_new(k->loop, &o, &u->server, &err), GW_OK);
    assert_int_equal(gw_rpc_server_add(u->server, fake_usage_handlers, u, &err), GW_OK);
    assert_int_equal(gw_rpc_server_start(u->server, &err), GW_OK);
    (void)snprintf(target, sizeof(target), "127.0.0.1:%u", gw_rpc_server_port(u->server));
    assert_int_equal(gw_rpc_pump_new(k->loop, &u->pump, &err), GW_OK);
    assert_int_equal(gw_rpc_channel_new(u->pump, target, NULL, NULL, &u->channel, &err), GW_OK);
    return 0;
}

static inline void fake_usage_on_closed(void *arg)
{
    ((fake_usage *)arg)->server_closed = true;
}

static inline bool fake_usage_is_closed(kit *k)
{
    return ((fake_usage *)k->extra)->server_closed;
}

static inline int fake_usage_teardown(void **state)
{
    kit *k = *state;
    fake_usage *u = k->extra;
    gw_rpc_channel_free(u->channel);
    gw_rpc_server_close(u->server, 0, fake_usage_on_closed, u);
    kit_run_until(k, fake_usage_is_closed);
    gw_rpc_pump_free(u->pump);
    gw_schema_free(u->schema);
    gw_map_free(u->claimed);
    free(u);
    return kit_teardown(state);
}

static inline fake_usage *fake_usage_open(kit *k)
{
    fake_usage *u = k->extra;
    recorder_options o = kit_options(k);
    o.usage = u->channel;
    o.service_token = GW_STR("lcsvc_relay");
    o.slots_per_lane = 512;
    kit_open(k, &o);
    return u;
}
