/* One stream of a relay: its stages in their order. */
#include "ingest_internal.h"

#include "event_row.h"
#include "usage_metrics.h"

#include "core/fault.h"

#include <stdlib.h>

#define CLAIM_EVENTS_ENOUGH 2000
#define CLAIM_BYTES_ENOUGH  (2 << 20)
#define IDLE_MS             1000
#define STATUS_INTERVAL_MS  900 /* relays tell each second; LoadLedger waits for it */

/* ---- frames to the relay ---- */

static bool can_send(const ingest_stream *st)
{
    return st->call && !st->call_ended;
}

static void send_welcome(ingest_stream *st)
{
    Apirelay__Usage__V1__Welcome w = APIRELAY__USAGE__V1__WELCOME__INIT;
    Apirelay__Usage__V1__StreamResponse r = APIRELAY__USAGE__V1__STREAM_RESPONSE__INIT;
    w.n = st->n;
    w.window_bytes = st->window_bytes;
    if (st->position.has_last_id)
        w.last_event_id = (ProtobufCBinaryData){.len = sizeof(st->position.last_id.bytes),
                                                .data = st->position.last_id.bytes};
    r.frame_case = APIRELAY__USAGE__V1__STREAM_RESPONSE__FRAME_WELCOME;
    r.welcome = &w;
    if (can_send(st))
        gw_rpc_send(st->call, &r.base);
}

static void send_ack(ingest_stream *st, int64_t n)
{
    Apirelay__Usage__V1__Ack ack = APIRELAY__USAGE__V1__ACK__INIT;
    Apirelay__Usage__V1__StreamResponse r = APIRELAY__USAGE__V1__STREAM_RESPONSE__INIT;
    ack.n = n;
    ack.window_bytes = st->window_bytes;
    r.frame_case = APIRELAY__USAGE__V1__STREAM_RESPONSE__FRAME_ACK;
    r.ack = &ack;
    if (can_send(st))
        gw_rpc_send(st->call, &r.base);
}

void ingest_stream_refuse(ingest_stream *st, Apirelay__Usage__V1__ErrorCode code,
                          const char *message)
{
    Apirelay__Usage__V1__Error e = APIRELAY__USAGE__V1__ERROR__INIT;
    Apirelay__Usage__V1__StreamResponse r = APIRELAY__USAGE__V1__STREAM_RESPONSE__INIT;
    if (!can_send(st))
        return;
    gw_log_error(st->in->o.log, "ingest_refused", gw_kv("usage.spool", (const char *)st->hello.id),
                 gw_kv("relay.host", (const char *)st->hello.host),
                 gw_kv("error.message", message));
    gw_metric_count(st->in->o.metrics, M_usage_ingest_ends_total, GW_STR("refused"));
    e.code = code;
    e.message = (char *)(uintptr_t)message;
    r.frame_case = APIRELAY__USAGE__V1__STREAM_RESPONSE__FRAME_ERROR;
    r.error = &e;
    gw_rpc_send(st->call, &r.base);
    st->call_ended = true;
    gw_rpc_finish(st->call);
}

void ingest_stream_fail(ingest_stream *st, const gw_error *err)
{
    if (!can_send(st))
        return;
    /* While MongoDB is away, which libs/mongo has logged once, relays come again and again. */
    bool expected = err->code == GW_ERR_CANCELLED || err->code == GW_ERR_SHUTTING_DOWN ||
                    !doc_pool_is_up(st->in->o.pool);
    if (!expected)
        gw_log_warn(st->in->o.log, "ingest_failed",
                    gw_kv("usage.spool", (const char *)st->hello.id), gw_kv_error(err));
    gw_metric_count(st->in->o.metrics, M_usage_ingest_ends_total,
                    gw_str_of(gw_status_describe(err->code)->name));
    st->call_ended = true;
    gw_rpc_fail(st->call, err);
}

/* The call is over for us, or should be: what is claimed is still applied. */
static bool is_over(const ingest_stream *st)
{
    return !can_send(st) || st->in->stopped;
}

/* ---- HELLO ---- */

static ingest_stage enter_hello(ingest_stream *st)
{
    (void)st;
    return INGEST_HELLO;
}

static ingest_stage resume_hello(ingest_stream *st)
{
    if (is_over(st))
        return INGEST_END;
    return st->has_hello ? INGEST_RESUME : INGEST_HELLO;
}

/* ---- RESUME: where the spool stands; also after a claim whose outcome is not known ---- */

static ingest_stage enter_resume(ingest_stream *st)
{
    ingest_start_step(st, STEP_RESUME);
    return INGEST_RESUME;
}

typedef enum kinship { SAME_SPOOL, OTHER_SPOOL, NOBODY_KNOWS } kinship;

/*
 * Whether what another stream has claimed is what this relay has sent: a copy of the spool in another relay claims under the same id.
 * An acknowledgement would make this one delete events that nobody has. (At the welcome the relay looks itself.)
 */
static kinship compare_at_n(const ingest_stream *st)
{
    gw_object_id ours;
    const spool_position *p = &st->position;
    if (!st->welcomed || p->n <= st->n)
        return SAME_SPOOL;
    gw_str packed = event_queue_at(&st->waiting, p->n);
    if (!packed.ptr)
        return NOBODY_KNOWS;
    bool has_id = event_id_read(packed, &ours);
    return has_id == p->has_last_id && (!has_id || memcmp(&ours, &p->last_id, sizeof(ours)) == 0)
               ? SAME_SPOOL
               : OTHER_SPOOL;
}

static ingest_stage take_position(ingest_stream *st)
{
    static const gw_error lost = {.code = GW_ERR_ABORTED,
                                  .message = "the spool stands before what it sends"};
    static const gw_error overtaken = {
        .code = GW_ERR_ABORTED,
        .message = "another stream has claimed more than this one has sent"};
    kinship kin = compare_at_n(st);
    if (kin == OTHER_SPOOL)
        ingest_stream_refuse(st, APIRELAY__USAGE__V1__ERROR_CODE__ERROR_CODE_CONFLICT,
                             "another relay has claimed other events under this spool's id");
    else if (kin == NOBODY_KNOWS)
        ingest_stream_fail(st, &overtaken);
    if (kin != SAME_SPOOL)
        return INGEST_END;
    st->n = st->finished = st->position.n; /* resume applies and finishes what it finds */
    event_queue_drop_through(&st->waiting, st->n);
    if (st->waiting.count && st->waiting.first_seq != st->n + 1) {
        ingest_stream_fail(st, &lost);
        return INGEST_END;
    }
    bool is_first = !st->welcomed;
    if (is_first)
        send_welcome(st);
    else
        send_ack(st, st->n);
    st->welcomed = true;
    if (GW_MUTANT(WELCOME_UNCONFIRMED) && is_first)
        return enter_resume(st);
    return INGEST_FLOW;
}

static ingest_stage resume_resume(ingest_stream *st)
{
    if (st->busy)
        return INGEST_RESUME;
    st->has_result = false;
    if (st->rc != GW_OK) {
        ingest_stream_fail(st, &st->error);
        return INGEST_END;
    }
    if (st->standing == SPOOL_CONFLICT) {
        ingest_stream_refuse(st, APIRELAY__USAGE__V1__ERROR_CODE__ERROR_CODE_CONFLICT,
                             "the spool is known with another boot");
        return INGEST_END;
    }
    if (st->standing == SPOOL_GONE) {
        ingest_stream_refuse(st, APIRELAY__USAGE__V1__ERROR_CODE__ERROR_CODE_GONE,
                             "the spool says it is registered, and is not known");
        return INGEST_END;
    }
    return is_over(st) ? INGEST_END : take_position(st);
}

/* ---- FLOW: collect ⇄ claim ⇄ apply ---- */

#define NAMES_TOLD_EACH_MS GW_MS_PER_HOUR

static void count_names(ingest_stream *st)
{
    ingest *in = st->in;
    int64_t now_ms = gw_loop_now_ms(in->o.loop);
    if (!st->names_dropped)
        return;
    gw_metric_add(in->o.metrics, M_usage_names_dropped_total, (int64_t)st->names_dropped, NULL, 0);
    if (in->names_told_ms && now_ms - in->names_told_ms < NAMES_TOLD_EACH_MS)
        return;
    in->names_told_ms = now_ms;
    gw_log_warn(in->o.log, "model_names_full", gw_kv("usage.spool", (const char *)st->hello.id),
                gw_kv("usage.events", st->names_dropped));
}

static void count_claim(ingest_stream *st, gw_str result)
{
    gw_metrics_shard *m = st->in->o.metrics;
    gw_metric_count(m, M_usage_claims_total, result);
    if (!st->claim_is_made)
        return;
    int64_t rejects = (int64_t)st->claim.rejected_count;
    gw_metric_add(m, M_usage_events_total, (int64_t)st->claim.count - rejects,
                  (const gw_str[]){GW_STR("row")}, 1);
    count_names(st);
    if (!rejects)
        return;
    gw_metric_add(m, M_usage_events_total, rejects, (const gw_str[]){GW_STR("reject")}, 1);
    gw_log_error(st->in->o.log, "events_rejected", gw_kv("usage.spool", (const char *)st->hello.id),
                 gw_kv("usage.events", rejects),
                 gw_kv("usage.reason", (const char *)st->claim.rejected[0].reason));
}

/* False when another stream was faster, or nobody knows: then the resume step tells. */
static bool take_claim_result(ingest_stream *st)
{
    st->claim_is_made = st->rc == GW_OK && st->matched;
    count_claim(st, st->claim_is_made ? GW_STR("made")
                    : st->rc == GW_OK ? GW_STR("missed")
                                      : GW_STR("unknown"));
    if (!st->claim_is_made) {
        claim_fini(&st->claim);
        return false;
    }
    st->n = claim_to(&st->claim);
    event_queue_drop_through(&st->waiting, st->n);
    send_ack(st, st->n);
    return true;
}

static bool take_apply_result(ingest_stream *st)
{
    if (st->rc != GW_OK) {
        ingest_stream_fail(st, &st->error);
        return false;
    }
    claim_fini(&st->claim);
    st->claim_is_made = false;
    gw_metric_observe(st->in->o.metrics, M_usage_apply_seconds,
                      (double)(gw_loop_now_ms(st->in->o.loop) - st->started_ms) / GW_MS_PER_S, NULL,
                      0);
    return true;
}

/* What the last step brought; the stage to be in. */
static ingest_stage take_result(ingest_stream *st, ingest_stage here)
{
    if (!st->has_result)
        return here;
    st->has_result = false;
    switch (st->step) {
    case STEP_CLAIM:
        return take_claim_result(st) || here == INGEST_END ? here : INGEST_RESUME;
    case STEP_APPLY:
        return take_apply_result(st) ? here : INGEST_END;
    case STEP_FINISH:
        if (st->rc == GW_OK)
            st->finished = st->n;
        return st->rc == GW_OK ? here : INGEST_END;
    default:
        /* A status may be lost. The next one noted has come after this one was (ledger_barrier.h). */
        st->has_new_status = false;
        return here;
    }
}

static bool should_claim(const ingest_stream *st)
{
    return st->waiting.count > 0 &&
           (st->collect_due || st->half_closed || st->waiting.count >= CLAIM_EVENTS_ENOUGH ||
            event_queue_bytes(&st->waiting) >= CLAIM_BYTES_ENOUGH);
}

static bool start_claim(ingest_stream *st)
{
    gw_error err;
    gw_timer_cancel(st->in->o.loop, &st->collect_timer);
    st->collect_due = false;
    st->matched = false;
    if (claim_take(&st->waiting, &st->claim, &err) != GW_OK) {
        ingest_stream_fail(st, &err);
        return false;
    }
    if (GW_MUTANT(ACK_BEFORE_CLAIM))
        send_ack(st, claim_to(&st->claim));
    ingest_start_step(st, STEP_CLAIM);
    return true;
}

static void arm(ingest_stream *st, gw_timer *t, int64_t delay_ms)
{
    if (!gw_timer_is_armed(t))
        gw_timer_set(st->in->o.loop, t, delay_ms);
}

static bool status_is_due(const ingest_stream *st)
{
    return st->has_new_status &&
           gw_loop_now_ms(st->in->o.loop) >= st->status_noted_ms + STATUS_INTERVAL_MS;
}

/* Nothing waits: says done, notes the status, or ends with a relay that has sent all. */
static ingest_stage rest(ingest_stream *st)
{
    if (st->finished < st->n && (st->idle_due || st->half_closed)) {
        st->idle_due = false;
        ingest_start_step(st, STEP_FINISH);
    } else if (st->half_closed) {
        st->call_ended = true;
        gw_rpc_finish(st->call);
        return INGEST_END;
    } else if (st->finished < st->n) {
        arm(st, &st->idle_timer, IDLE_MS);
    }
    return INGEST_FLOW;
}

static ingest_stage resume_flow(ingest_stream *st)
{
    if (st->busy)
        return INGEST_FLOW;
    ingest_stage next = take_result(st, INGEST_FLOW);
    if (next != INGEST_FLOW)
        return next;
    if (is_over(st))
        return INGEST_END;
    if (st->claim_is_made) {
        ingest_start_step(st, STEP_APPLY);
    } else if (status_is_due(st)) { /* a busy stream tells it, too */
        st->status_noted_ms = gw_loop_now_ms(st->in->o.loop);
        ingest_start_step(st, STEP_STATUS);
    } else if (should_claim(st)) {
        return start_claim(st) ? INGEST_FLOW : INGEST_END;
    } else if (st->waiting.count > 0) {
        st->idle_due = false;
        gw_timer_cancel(st->in->o.loop, &st->idle_timer);
        arm(st, &st->collect_timer, st->in->o.limits.claim_delay_ms);
    } else {
        return rest(st);
    }
    return INGEST_FLOW;
}

static ingest_stage enter_flow(ingest_stream *st)
{
    return resume_flow(st);
}

/* ---- END: applies what is claimed, says done, goes ---- */

static ingest_stage resume_end(ingest_stream *st)
{
    if (st->busy)
        return INGEST_END;
    bool had_result = st->has_result;
    (void)take_result(st, INGEST_END);
    if ((had_result && st->rc != GW_OK) || st->in->cut)
        return INGEST_END; /* left for a resume or a sweep */
    if (st->claim_is_made)
        ingest_start_step(st, STEP_APPLY);
    else if (st->finished < st->n)
        ingest_start_step(st, STEP_FINISH);
    return INGEST_END;
}

static ingest_stage enter_end(ingest_stream *st)
{
    static const gw_error stopping = {.code = GW_ERR_SHUTTING_DOWN,
                                      .message = "this replica is shutting down"};
    gw_timer_cancel(st->in->o.loop, &st->collect_timer);
    gw_timer_cancel(st->in->o.loop, &st->idle_timer);
    event_queue_clear(&st->waiting);
    ingest_stream_fail(st, st->rc == GW_OK ? &stopping : &st->error);
    /* A failed step ends here; its claim is left for a resume or a sweep. */
    return st->busy || st->rc == GW_OK ? resume_end(st) : INGEST_END;
}

/* ---- turning ---- */

static const struct {
    ingest_stage (*enter)(ingest_stream *st);
    ingest_stage (*resume)(ingest_stream *st);
} stages[] = {
#define X(name, function) [INGEST_##name] = {enter_##function, resume_##function},
    INGEST_STAGES(X)
#undef X
};

void ingest_stream_wake(ingest_stream *st)
{
    if (st->running) {
        st->woken = true;
        return;
    }
    st->running = true;
    do {
        st->woken = false;
        ingest_stage next = stages[st->stage].resume(st);
        while (next != st->stage) {
            st->stage = next;
            next = stages[next].enter(st);
        }
    } while (st->woken);
    if (st->stage == INGEST_END && !st->busy && !st->call) {
        ingest_stream_free(st);
        return;
    }
    st->running = false;
}
