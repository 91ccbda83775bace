#include "ingest_client_internal.h"

#include "core/fault.h"
#include "crypto/crypto.h"

#include <stdlib.h>
#include <unistd.h>

#define STREAM_PATH    "/apirelay.usage.v1.IngestService/Stream"
#define WELCOME_MIN_MS 5000
#define WELCOME_MAX_MS 30000
#define TICK_MS        1000
#define BACKOFF_MIN_MS 100
#define BACKOFF_MAX_MS 5000

typedef Apirelay__Usage__V1__StreamResponse down_frame;

static void connect_stream(ingest_client *c);

/* ---- ending a stream ---- */

/* What the stream still says is not listened to: its state is over. */
static void leave(ingest_client *c, ingest_state state)
{
    c->state = state;
    gw_timer_cancel(c->loop, &c->timer);
    gw_timer_cancel(c->loop, &c->pace);
    ingest_forget_sent(c);
    if (c->stream)
        gw_rpc_cancel(c->stream);
}

void ingest_back_off(ingest_client *c)
{
    leave(c, BACKOFF);
    c->backoff_ms = GW_MIN(GW_MAX(c->backoff_ms * 2, BACKOFF_MIN_MS), BACKOFF_MAX_MS);
    int64_t half = c->backoff_ms / 2;
    gw_timer_set(c->loop, &c->timer, half + (int64_t)gw_random_below((uint64_t)half + 1));
}

void ingest_reset_spool(ingest_client *c, ingest_trouble why)
{
    leave(c, RESETTING);
    c->o.reset(c->o.arg, why);
}

static void free_client(void *arg)
{
    ingest_client *c = arg;
    void (*closed)(void *arg) = c->closed;
    void *closed_arg = c->closed_arg;
    ingest_forget_sent(c);
    gw_timer_cancel(c->loop, &c->timer);
    gw_timer_cancel(c->loop, &c->tick);
    gw_timer_cancel(c->loop, &c->pace);
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

/* `id` of the event at n; NULL: it is looked up. */
static void note_acked(ingest_client *c, int64_t n, const uint8_t *id, int64_t window_bytes)
{
    if (n > c->info.acked) {
        uint8_t found[SPOOL_EVENT_ID_SIZE] = {0};
        int64_t at_ms;
        if (!id && !spool_find(c->o.spool, n, found, &at_ms))
            memset(found, 0, sizeof(found));
        memcpy(c->info.acked_event_id, id ? id : found, sizeof(found));
        c->info.acked = n;
        c->backoff_ms = 0;
    }
    c->info.registered = true;
    gw_fault_point("ack.taken");
    c->window_bytes = window_bytes;
    c->o.acked(c->o.arg, c->info.acked, c->info.acked_event_id);
}

static void on_welcome(ingest_client *c, const Apirelay__Usage__V1__Welcome *w)
{
    if (c->state > WAIT_WELCOME)
        return ingest_back_off(c);
    if (w->n < c->info.acked) {
        gw_log_error(c->o.log, "usage_claims_lost", gw_kv("acked", c->info.acked),
                     gw_kv("claimed", w->n), gw_kv("events_lost", c->info.acked - w->n));
        return ingest_reset_spool(c, INGEST_RESTORED);
    }
    if (w->n > c->info.tail || !same_event_at(c, w->n, &w->last_event_id)) {
        gw_log_error(c->o.log, "spool_rolled_back", gw_kv("claimed", w->n),
                     gw_kv("tail", c->info.tail));
        return ingest_reset_spool(c, INGEST_COPIED);
    }
    c->state = SENDING;
    c->welcome_ms = WELCOME_MIN_MS;
    gw_timer_cancel(c->loop, &c->timer);
    note_acked(c, w->n, NULL, w->window_bytes);
    c->next_seq = w->n + 1;
    gw_log_info(c->o.log, "usage_welcomed", gw_kv("claimed", w->n), gw_kv("tail", c->info.tail));
    ingest_pump(c);
}

static void on_ack(ingest_client *c, const Apirelay__Usage__V1__Ack *a)
{
    if (c->state != SENDING || a->n >= c->next_seq || a->n < c->info.acked) {
        gw_log_error(c->o.log, "usage_ack_refused", gw_kv("claimed", a->n),
                     gw_kv("next", c->next_seq));
        return ingest_back_off(c);
    }
    bool moved = a->n > c->info.acked;
    uint8_t id[SPOOL_EVENT_ID_SIZE];
    bool is_known = ingest_drop_claimed(c, a->n, id);
    note_acked(c, a->n, is_known ? id : NULL, a->window_bytes);
    if (gw_list_is_empty(&c->sent))
        gw_timer_cancel(c->loop, &c->timer);
    else if (moved)
        gw_timer_set(c->loop, &c->timer, INGEST_ACK_MAX_MS);
    ingest_pump(c);
}

static void on_error(ingest_client *c, const Apirelay__Usage__V1__Error *e)
{
    gw_log_at(c->o.log,
              e->code == APIRELAY__USAGE__V1__ERROR_CODE__ERROR_CODE_BUSY ? GW_LOG_WARN
                                                                          : GW_LOG_ERROR,
              "usage_refused_spool", gw_kv("code", (int64_t)e->code),
              gw_kv("error.message", (const char *)e->message));
    if (e->code == APIRELAY__USAGE__V1__ERROR_CODE__ERROR_CODE_CONFLICT)
        return ingest_reset_spool(c, INGEST_COPIED);
    if (e->code == APIRELAY__USAGE__V1__ERROR_CODE__ERROR_CODE_GONE)
        return ingest_reset_spool(c, INGEST_RESTORED);
    if (e->code == APIRELAY__USAGE__V1__ERROR_CODE__ERROR_CODE_FORMAT)
        c->backoff_ms = BACKOFF_MAX_MS; /* until one of both is updated */
    ingest_back_off(c);
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
    ingest_pump(c);
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
    ingest_back_off(c);
}

static const gw_rpc_stream_ops stream_ops = {
    .message = on_message, .writable = on_writable, .done = on_done};

/* ---- connecting ---- */

static void connect_stream(ingest_client *c)
{
    gw_rpc_call_options o = {.path = STREAM_PATH,
                             .response = &apirelay__usage__v1__stream_response__descriptor,
                             .credential = gw_str_of(c->token)};
    c->state = CONNECTING;
    c->stream = gw_rpc_stream(c->o.usage, &o, NULL, &stream_ops, c);
    if (!c->stream)
        return ingest_back_off(c);
    gw_timer_set(c->loop, &c->timer, c->welcome_ms);
    ingest_send_hello(c);
}

/* ---- timers ---- */

static void on_tick(void *arg)
{
    ingest_client *c = arg;
    gw_timer_set(c->loop, &c->tick, TICK_MS);
    ingest_send_second(c);
}

static void on_pace(void *arg)
{
    ingest_pump(arg);
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
        gw_log_warn(c->o.log, "usage_welcome_missed", gw_kv("after_ms", c->welcome_ms));
        /* Usage works at a greeting to its end, whoever waits: one that takes longer with a slow MongoDB would never be in time. */
        c->welcome_ms = GW_MIN(c->welcome_ms * 2, WELCOME_MAX_MS);
        return ingest_back_off(c);
    case SENDING:
        gw_log_warn(c->o.log, "usage_acks_missed", gw_kv("after_ms", INGEST_ACK_MAX_MS),
                    gw_kv("unacked_bytes", c->unacked_bytes));
        return ingest_back_off(c);
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

void ingest_client_set_token(ingest_client *c, gw_str service_token)
{
    char *token = gw_str_dup(service_token);
    if (!token)
        return; /* the one of before may still be good */
    gw_secret_wipe(c->token, strlen(c->token));
    free(c->token);
    c->token = token;
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
    c->welcome_ms = WELCOME_MIN_MS;
    gw_list_init(&c->sent);
    gw_timer_init(&c->timer, on_timer, c);
    gw_timer_init(&c->tick, on_tick, c);
    gw_timer_init(&c->pace, on_pace, c);
    c->last_frame_ms = gw_loop_now_ms(l) - INGEST_PACE_MS;
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
    ingest_pump(c);
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
        ingest_reset_spool(c, INGEST_DAMAGED);
}

bool ingest_client_is_sending(const ingest_client *c)
{
    return c->state == SENDING;
}

int64_t ingest_client_acked(const ingest_client *c)
{
    return c->info.acked;
}
