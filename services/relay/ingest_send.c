/* What the relay says on the stream: hello, events within the window, status and live counters. */
#include "ingest_client_internal.h"
#include "spool_format.h"

#include "core/fault.h"

#include <stdlib.h>

#define FRAMES_QUEUED_MAX 4 /* handed to the transport and not taken yet */
#define UP_MAX_BYTES      (1U << 20)

typedef Apirelay__Usage__V1__StreamRequest up_frame;

void ingest_forget_sent(ingest_client *c)
{
    for (gw_list *n; (n = gw_list_pop_front(&c->sent));)
        free(GW_CONTAINER_OF(n, sent_frame, node));
    c->unacked_bytes = 0;
}

void ingest_send_hello(ingest_client *c)
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

static bool remember_sent(ingest_client *c, const spool_frame *f)
{
    sent_frame *s = calloc(1, sizeof(*s));
    if (!s)
        return false;
    s->first_seq = f->first_seq;
    s->count = f->count;
    for (uint32_t i = 0; i < f->count; i++)
        s->sizes[i] = (uint16_t)f->events[i].len;
    s->has_last_id = spool_event_id(
        gw_str_n(f->events[f->count - 1].data, f->events[f->count - 1].len), s->last_id);
    if (gw_list_is_empty(&c->sent))
        gw_timer_set(c->loop, &c->timer, INGEST_ACK_MAX_MS);
    gw_list_push_back(&c->sent, &s->node);
    c->unacked_bytes += f->bytes;
    c->next_seq += f->count;
    return true;
}

bool ingest_drop_claimed(ingest_client *c, int64_t n, uint8_t ret_id[SPOOL_EVENT_ID_SIZE])
{
    bool is_known = false;
    gw_list_each_safe (node, &c->sent) {
        sent_frame *f = GW_CONTAINER_OF(node, sent_frame, node);
        while (f->claimed < f->count && f->first_seq + f->claimed <= n)
            c->unacked_bytes -= f->sizes[f->claimed++];
        if (f->claimed < f->count)
            break;
        is_known = f->has_last_id && f->first_seq + f->count - 1 == n;
        memcpy(ret_id, f->last_id, sizeof(f->last_id));
        gw_list_remove(node);
        free(f);
    }
    return is_known;
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
            ingest_reset_spool(c, INGEST_DAMAGED);
        else
            ingest_back_off(c);
        return false;
    }
    if (f->count == 0)
        return false;
    if (!remember_sent(c, f)) {
        ingest_back_off(c);
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
    c->last_frame_ms = gw_loop_now_ms(c->loop);
    gw_fault_point("frame.sent");
    return true;
}

/* Else the timer comes back to it. */
static bool is_due(ingest_client *c)
{
    int64_t waiting = c->info.tail + 1 - c->next_seq;
    int64_t left_ms = c->last_frame_ms + INGEST_PACE_MS - gw_loop_now_ms(c->loop);
    if (waiting >= SPOOL_FRAME_EVENTS || left_ms <= 0)
        return true;
    if (waiting > 0 && !gw_timer_is_armed(&c->pace))
        gw_timer_set(c->loop, &c->pace, left_ms);
    return false;
}

void ingest_pump(ingest_client *c)
{
    while (c->state == SENDING && gw_rpc_stream_queued(c->stream) < FRAMES_QUEUED_MAX &&
           is_due(c) && send_frame(c)) {
    }
}

static void send_status(ingest_client *c)
{
    Apirelay__Usage__V1__Status s = APIRELAY__USAGE__V1__STATUS__INIT;
    up_frame q = APIRELAY__USAGE__V1__STREAM_REQUEST__INIT;
    ingest_gauges g = c->o.gauges(c->o.arg);
    uint8_t id[SPOOL_EVENT_ID_SIZE];
    /* With what is finished but not committed: who waits for all that was settled so far (LoadLedger) waits for that too. */
    s.tail = c->info.tail + g.pending;
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

void ingest_send_second(ingest_client *c)
{
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
