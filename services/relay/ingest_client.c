#include "ingest_client.h"

#include "core/id.h"

#include "apirelay/usage/v1/ingest_service.pb-c.h"

#include <stdlib.h>
#include <unistd.h>

#define STREAM_PATH       "/apirelay.usage.v1.IngestService/Stream"
#define WELCOME_MAX_MS    5000
#define ACK_MAX_MS        30000
#define TICK_MS           1000
#define BACKOFF_MIN_MS    100
#define BACKOFF_MAX_MS    5000
#define FRAMES_QUEUED_MAX 4 /* handed to the transport and not taken yet */
#define UP_MAX_BYTES      (1U << 20)

typedef Apirelay__Usage__V1__StreamRequest up_frame;
typedef Apirelay__Usage__V1__StreamResponse down_frame;

typedef enum ingest_state {
    IDLE,
    CONNECTING,
    WAIT_WELCOME,
    SENDING,
    BACKOFF,
    RESETTING,
    CLOSING
} ingest_state;

/* A frame sent and not claimed in whole. */
typedef struct sent_frame {
    gw_list node;
    int64_t first_seq;
    uint32_t count, claimed;
    uint16_t sizes[SPOOL_FRAME_EVENTS];
} sent_frame;

struct ingest_client {
    ingest_client_options o;
    gw_loop *loop;
    char *token;
    char host[128];
    ingest_state state;
    spool_info info;
    int64_t next_seq; /* to send */
    int64_t window_bytes, unacked_bytes;
    gw_list sent;
    gw_rpc_client_call *stream;
    gw_timer timer; /* WELCOME, ACK or the end of a backoff */
    gw_timer tick;
    int64_t backoff_ms;
    bool live_sent; /* since the last tick */
    spool_frame *frame;
    gw_arena *arena;
    void (*closed)(void *arg);
    void *closed_arg;
};

static void connect_stream(ingest_client *c);
static void pump(ingest_client *c);

/* ---- ending a stream ---- */

static void forget_sent(ingest_client *c)
{
    for (gw_list *n; (n = gw_list_pop_front(&c->sent));)
        free(GW_CONTAINER_OF(n, sent_frame, node));
    c->unacked_bytes = 0;
}

/* What the stream still says is not listened to: its state is over. */
static void leave(ingest_client *c, ingest_state state)
{
    c->state = state;
    gw_timer_cancel(c->loop, &c->timer);
    forget_sent(c);
    if (c->stream)
        gw_rpc_cancel(c->stream);
}

static void back_off(ingest_client *c)
{
    leave(c, BACKOFF);
    c->backoff_ms = GW_MIN(GW_MAX(c->backoff_ms * 2, BACKOFF_MIN_MS), BACKOFF_MAX_MS);
    int64_t half = c->backoff_ms / 2;
    gw_timer_set(c->loop, &c->timer, half + (int64_t)gw_random_below((uint64_t)half + 1));
}

static void reset_spool(ingest_client *c, ingest_trouble why)
{
    leave(c, RESETTING);
    c->o.reset(c->o.arg, why);
}

static void free_client(void *arg)
{
    ingest_client *c = arg;
    void (*closed)(void *arg) = c->closed;
    void *closed_arg = c->closed_arg;
    forget_sent(c);
    gw_timer_cancel(c->loop, &c->timer);
    gw_timer_cancel(c->loop, &c->tick);
    gw_arena_free(c->arena);
    free(c->frame);
    free(c->token);
    free(c);
    if (closed)
        closed(closed_arg);
}

/* ---- what usage says ---- */

/* Whether the event that usage has at n is the one that this spool has there. */
static bool same_event_at(ingest_client *c, int64_t n, const ProtobufCBinaryData *id)
{
    uint8_t ours[SPOOL_EVENT_ID_SIZE];
    static const uint8_t unknown[SPOOL_EVENT_ID_SIZE];
    int64_t at_ms;
    if (n == 0 || id->len != SPOOL_EVENT_ID_SIZE)
        return true;
    if (n == c->info.acked)
        memcpy(ours, c->info.acked_event_id, sizeof(ours));
    else if (!spool_find(c->o.spool, n, ours, &at_ms))
        return true;
    return memcmp(ours, unknown, sizeof(ours)) == 0 || memcmp(ours, id->data, sizeof(ours)) == 0;
}

static void drop_claimed(ingest_client *c, int64_t n)
{
    gw_list_each_safe (node, &c->sent) {
        sent_frame *f = GW_CONTAINER_OF(node, sent_frame, node);
        while (f->claimed < f->count && f->first_seq + f->claimed <= n)
            c->unacked_bytes -= f->sizes[f->claimed++];
        if (f->claimed < f->count)
            break;
        gw_list_remove(node);
        free(f);
    }
}

static void note_acked(ingest_client *c, int64_t n, int64_t window_bytes)
{
    if (n > c->info.acked) {
        uint8_t id[SPOOL_EVENT_ID_SIZE] = {0};
        int64_t at_ms;
        if (!spool_find(c->o.spool, n, id, &at_ms))
            memset(id, 0, sizeof(id));
        memcpy(c->info.acked_event_id, id, sizeof(id));
        c->info.acked = n;
        c->backoff_ms = 0;
    }
    c->info.registered = true;
    c->window_bytes = window_bytes;
    c->o.acked(c->o.arg, c->info.acked);
}

static void on_welcome(ingest_client *c, const Apirelay__Usage__V1__Welcome *w)
{
    if (c->state > WAIT_WELCOME)
        return back_off(c);
    if (w->n < c->info.acked) {
        gw_log_error(c->o.log, "usage_claims_lost", gw_kv("acked", c->info.acked),
                     gw_kv("claimed", w->n), gw_kv("events_lost", c->info.acked - w->n));
        return reset_spool(c, INGEST_RESTORED);
    }
    if (w->n > c->info.tail || !same_event_at(c, w->n, &w->last_event_id)) {
        gw_log_error(c->o.log, "spool_rolled_back", gw_kv("claimed", w->n),
                     gw_kv("tail", c->info.tail));
        return reset_spool(c, INGEST_COPIED);
    }
    c->state = SENDING;
    gw_timer_cancel(c->loop, &c->timer);
    note_acked(c, w->n, w->window_bytes);
    c->next_seq = w->n + 1;
    gw_log_info(c->o.log, "usage_welcomed", gw_kv("claimed", w->n), gw_kv("tail", c->info.tail));
    pump(c);
}

static void on_ack(ingest_client *c, const Apirelay__Usage__V1__Ack *a)
{
    if (c->state != SENDING || a->n >= c->next_seq || a->n < c->info.acked) {
        gw_log_error(c->o.log, "usage_ack_refused", gw_kv("claimed", a->n),
                     gw_kv("next", c->next_seq));
        return back_off(c);
    }
    bool moved = a->n > c->info.acked;
    drop_claimed(c, a->n);
    note_acked(c, a->n, a->window_bytes);
    if (gw_list_is_empty(&c->sent))
        gw_timer_cancel(c->loop, &c->timer);
    else if (moved)
        gw_timer_set(c->loop, &c->timer, ACK_MAX_MS);
    pump(c);
}

static void on_error(ingest_client *c, const Apirelay__Usage__V1__Error *e)
{
    gw_log_at(c->o.log,
              e->code == APIRELAY__USAGE__V1__ERROR_CODE__ERROR_CODE_BUSY ? GW_LOG_WARN
                                                                          : GW_LOG_ERROR,
              "usage_refused_spool", gw_kv("code", (int64_t)e->code),
              gw_kv("error.message", (const char *)e->message));
    if (e->code == APIRELAY__USAGE__V1__ERROR_CODE__ERROR_CODE_CONFLICT)
        return reset_spool(c, INGEST_COPIED);
    if (e->code == APIRELAY__USAGE__V1__ERROR_CODE__ERROR_CODE_GONE)
        return reset_spool(c, INGEST_RESTORED);
    if (e->code == APIRELAY__USAGE__V1__ERROR_CODE__ERROR_CODE_FORMAT)
        c->backoff_ms = BACKOFF_MAX_MS; /* until one of both is updated */
    back_off(c);
}

static void on_message(void *arg, const ProtobufCMessage *m)
{
    ingest_client *c = arg;
    const down_frame *d = (const down_frame *)m;
    if (c->state != CONNECTING && c->state != WAIT_WELCOME && c->state != SENDING)
        return;
    switch (d->frame_case) {
    case APIRELAY__USAGE__V1__STREAM_RESPONSE__FRAME_WELCOME:
        return on_welcome(c, d->welcome);
    case APIRELAY__USAGE__V1__STREAM_RESPONSE__FRAME_ACK:
        return on_ack(c, d->ack);
    case APIRELAY__USAGE__V1__STREAM_RESPONSE__FRAME_ERROR:
        return on_error(c, d->error);
    default:
        return; /* of a newer usage */
    }
}

static void on_writable(void *arg)
{
    ingest_client *c = arg;
    if (c->state == CONNECTING)
        c->state = WAIT_WELCOME;
    pump(c);
}

static void on_done(void *arg, gw_status rc, const gw_error *err)
{
    ingest_client *c = arg;
    c->stream = NULL;
    if (c->state == CLOSING)
        return free_client(c);
    if (c->state == RESETTING)
        return;
    if (c->state == BACKOFF) {
        if (!gw_timer_is_armed(&c->timer))
            connect_stream(c); /* the backoff was over before the stream was gone */
        return;
    }
    if (rc != GW_OK && c->state == SENDING)
        gw_log_warn(c->o.log, "usage_stream_lost", gw_kv_error(err));
    else if (rc != GW_OK && c->backoff_ms == 0)
        gw_log_warn(c->o.log, "usage_unreachable", gw_kv_error(err));
    back_off(c);
}

static const gw_rpc_stream_ops stream_ops = {
    .message = on_message, .writable = on_writable, .done = on_done};

/* ---- what we say ---- */

static void send_hello(ingest_client *c)
{
    Apirelay__Usage__V1__Hello h = APIRELAY__USAGE__V1__HELLO__INIT;
    up_frame q = APIRELAY__USAGE__V1__STREAM_REQUEST__INIT;
    h.spool_id = (ProtobufCBinaryData){.len = SPOOL_ID_SIZE, .data = c->info.id};
    h.boot = (ProtobufCBinaryData){.len = SPOOL_BOOT_SIZE, .data = c->info.boot};
    h.registered = c->info.registered;
    h.acked = c->info.acked;
    h.tail = c->info.tail;
    h.oldest = c->info.tail > c->info.acked ? c->info.acked + 1 : 0;
    h.format = SPOOL_FORMAT;
    h.host = c->host;
    q.frame_case = APIRELAY__USAGE__V1__STREAM_REQUEST__FRAME_HELLO;
    q.hello = &h;
    gw_rpc_stream_send(c->stream, &q.base);
}

static void connect_stream(ingest_client *c)
{
    gw_rpc_call_options o = {.path = STREAM_PATH,
                             .response = &apirelay__usage__v1__stream_response__descriptor,
                             .credential = gw_str_of(c->token)};
    c->state = CONNECTING;
    c->stream = gw_rpc_stream(c->o.usage, &o, NULL, &stream_ops, c);
    if (!c->stream)
        return back_off(c);
    gw_timer_set(c->loop, &c->timer, WELCOME_MAX_MS);
    send_hello(c);
}

static bool remember_sent(ingest_client *c, const spool_frame *f)
{
    sent_frame *s = calloc(1, sizeof(*s));
    if (!s)
        return false;
    s->first_seq = f->first_seq;
    s->count = f->count;
    for (uint32_t i = 0; i < f->count; i++)
        s->sizes[i] = (uint16_t)f->events[i].len;
    if (gw_list_is_empty(&c->sent))
        gw_timer_set(c->loop, &c->timer, ACK_MAX_MS);
    gw_list_push_back(&c->sent, &s->node);
    c->unacked_bytes += f->bytes;
    c->next_seq += f->count;
    return true;
}

static bool send_frame(ingest_client *c)
{
    int64_t room = c->window_bytes - c->unacked_bytes;
    spool_frame *f = c->frame;
    gw_error err;
    if (c->next_seq > c->info.tail || room <= 0)
        return false;
    if (spool_read(c->o.spool, c->next_seq, (uint32_t)GW_MIN(room, SPOOL_FRAME_BYTES), f, &err) !=
        GW_OK) {
        gw_log_error(c->o.log, "spool_read_failed", gw_kv_error(&err));
        if (err.code == GW_ERR_DATA_LOSS)
            reset_spool(c, INGEST_DAMAGED);
        else
            back_off(c);
        return false;
    }
    if (f->count == 0)
        return false;
    if (!remember_sent(c, f)) {
        back_off(c);
        return false;
    }
    Apirelay__Usage__V1__Events e = APIRELAY__USAGE__V1__EVENTS__INIT;
    up_frame q = APIRELAY__USAGE__V1__STREAM_REQUEST__INIT;
    e.first_seq = f->first_seq;
    e.n_events = f->count;
    e.events = f->events;
    q.frame_case = APIRELAY__USAGE__V1__STREAM_REQUEST__FRAME_EVENTS;
    q.events = &e;
    gw_rpc_stream_send(c->stream, &q.base);
    return true;
}

static void pump(ingest_client *c)
{
    while (c->state == SENDING && gw_rpc_stream_queued(c->stream) < FRAMES_QUEUED_MAX &&
           send_frame(c)) {
    }
}

static void send_status(ingest_client *c)
{
    Apirelay__Usage__V1__Status s = APIRELAY__USAGE__V1__STATUS__INIT;
    up_frame q = APIRELAY__USAGE__V1__STREAM_REQUEST__INIT;
    ingest_gauges g = c->o.gauges(c->o.arg);
    uint8_t id[SPOOL_EVENT_ID_SIZE];
    s.tail = c->info.tail;
    if (c->info.tail > c->info.acked) {
        s.oldest = c->info.acked + 1;
        if (!spool_find(c->o.spool, s.oldest, id, &s.oldest_timestamp_ms))
            s.oldest_timestamp_ms = 0;
    }
    s.open_slots = g.open_slots;
    s.dropped = g.dropped;
    s.spool_bytes = c->info.bytes;
    q.frame_case = APIRELAY__USAGE__V1__STREAM_REQUEST__FRAME_STATUS;
    q.status = &s;
    gw_rpc_stream_send(c->stream, &q.base);
}

static void send_live_message(ingest_client *c, Apirelay__Usage__V1__Live *m)
{
    up_frame q = APIRELAY__USAGE__V1__STREAM_REQUEST__INIT;
    ingest_gauges g = c->o.gauges(c->o.arg);
    m->open_streams = g.open_streams;
    m->in_flight = g.open_slots;
    q.frame_case = APIRELAY__USAGE__V1__STREAM_REQUEST__FRAME_LIVE;
    q.live = m;
    if (protobuf_c_message_get_packed_size(&q.base) <= UP_MAX_BYTES)
        gw_rpc_stream_send(c->stream, &q.base);
    c->live_sent = true;
}

void ingest_client_send_live(ingest_client *c, const live_table *t)
{
    if (c->state != SENDING || gw_rpc_stream_queued(c->stream) >= FRAMES_QUEUED_MAX)
        return;
    Apirelay__Usage__V1__Live *m = live_table_message(t, c->arena);
    if (m)
        send_live_message(c, m);
    gw_arena_reset(c->arena);
}

/* ---- timers ---- */

static void on_tick(void *arg)
{
    ingest_client *c = arg;
    gw_timer_set(c->loop, &c->tick, TICK_MS);
    if (c->state != SENDING || gw_rpc_stream_queued(c->stream) >= FRAMES_QUEUED_MAX)
        return;
    send_status(c);
    if (!c->live_sent) {
        Apirelay__Usage__V1__Live m = APIRELAY__USAGE__V1__LIVE__INIT;
        m.second = gw_clock_wall_ms(c->o.clock) / GW_MS_PER_S;
        send_live_message(c, &m);
    }
    c->live_sent = false;
}

static void on_timer(void *arg)
{
    ingest_client *c = arg;
    switch (c->state) {
    case IDLE:
    case BACKOFF:
        if (!c->stream) /* else its end connects */
            connect_stream(c);
        return;
    case CONNECTING:
    case WAIT_WELCOME:
        gw_log_warn(c->o.log, "usage_welcome_missed", gw_kv("after_ms", WELCOME_MAX_MS));
        return back_off(c);
    case SENDING:
        gw_log_warn(c->o.log, "usage_acks_missed", gw_kv("after_ms", ACK_MAX_MS),
                    gw_kv("unacked_bytes", c->unacked_bytes));
        return back_off(c);
    case RESETTING:
    case CLOSING:
        return;
    }
}

/* ---- outside ---- */

static gw_status init_client(ingest_client *c, gw_error *err)
{
    c->token = gw_str_dup(c->o.service_token);
    c->frame = malloc(sizeof(*c->frame));
    c->arena = gw_arena_new();
    if (!c->token || !c->frame || !c->arena)
        return gw_fail(err, GW_ERR_NO_MEMORY, "no memory for the ingest client");
    if (gethostname(c->host, sizeof(c->host) - 1) != 0)
        c->host[0] = '\0';
    return GW_OK;
}

gw_status ingest_client_new(gw_loop *l, const ingest_client_options *o, const spool_info *info,
                            ingest_client **ret, gw_error *err)
{
    ingest_client *c = calloc(1, sizeof(*c));
    if (!c)
        return gw_fail(err, GW_ERR_NO_MEMORY, "no memory for the ingest client");
    c->o = *o;
    c->loop = l;
    c->info = *info;
    gw_list_init(&c->sent);
    gw_timer_init(&c->timer, on_timer, c);
    gw_timer_init(&c->tick, on_tick, c);
    gw_status rc = init_client(c, err);
    if (rc != GW_OK) {
        free_client(c);
        return rc;
    }
    gw_timer_set(l, &c->timer, 0);
    gw_timer_set(l, &c->tick, TICK_MS);
    *ret = c;
    return GW_OK;
}

void ingest_client_close(ingest_client *c, void (*closed)(void *arg), void *arg)
{
    c->closed = closed;
    c->closed_arg = arg;
    leave(c, CLOSING);
    gw_timer_cancel(c->loop, &c->tick);
    if (!c->stream)
        gw_loop_defer(c->loop, free_client, c);
}

void ingest_client_committed(ingest_client *c, const spool_info *info)
{
    if (c->state == RESETTING)
        return;
    c->info.tail = info->tail;
    c->info.bytes = info->bytes;
    pump(c);
}

void ingest_client_spool_changed(ingest_client *c, const spool_info *info)
{
    if (c->state != RESETTING)
        return;
    c->info = *info;
    c->backoff_ms = 0;
    c->state = BACKOFF;
    if (!c->stream)
        connect_stream(c); /* else its end does */
}

void ingest_client_damaged(ingest_client *c)
{
    if (c->state != RESETTING && c->state != CLOSING)
        reset_spool(c, INGEST_DAMAGED);
}

bool ingest_client_is_sending(const ingest_client *c)
{
    return c->state == SENDING;
}

int64_t ingest_client_acked(const ingest_client *c)
{
    return c->info.acked;
}
