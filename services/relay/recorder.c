#include "recorder_internal.h"

#include "relay_metrics.h"

#include "core/fault.h"

#define TICK_MS       1000
#define CLOSE_LOOK_MS 10

/* ---- figures ---- */

void recorder_add(atomic_int_least64_t *figure, int64_t delta)
{
    atomic_store_explicit(figure, atomic_load_explicit(figure, memory_order_relaxed) + delta,
                          memory_order_relaxed);
}

static int64_t sum_lanes(const recorder *r, size_t offset)
{
    int64_t sum = 0;
    for (unsigned i = 0; i < r->o.lanes; i++) {
        const char *lane = (const char *)&r->lanes[i];
        sum += atomic_load_explicit((const atomic_int_least64_t *)(const void *)(lane + offset),
                                    memory_order_relaxed);
    }
    return sum;
}

static int64_t open_slots(const recorder *r)
{
    return sum_lanes(r, offsetof(recorder_lane, opened));
}

static int64_t dropped(const recorder *r)
{
    int64_t sum = 0;
    for (size_t i = 0; i < RECORDER_DROP_REASONS; i++)
        sum += sum_lanes(r, offsetof(recorder_lane, dropped) + i * sizeof(atomic_int_least64_t));
    return sum;
}

void recorder_set_service_token(recorder *r, gw_str service_token)
{
    if (r->ingest)
        ingest_client_set_token(r->ingest, service_token);
}

void recorder_get_stats(const recorder *r, recorder_stats *ret)
{
    *ret = (recorder_stats){.tail = atomic_load_explicit(&r->tail, memory_order_relaxed),
                            .acked = atomic_load_explicit(&r->acked, memory_order_relaxed),
                            .spool_bytes = atomic_load_explicit(&r->bytes, memory_order_relaxed),
                            .open_slots = open_slots(r),
                            .disk_failed = atomic_load(&r->disk_failed),
                            .disk_low = atomic_load(&r->disk_low),
                            .filling = atomic_load(&r->filling),
                            .full = atomic_load(&r->full),
                            .claimed = atomic_load(&r->claimed),
                            .set_aside = atomic_load(&r->set_aside),
                            .dropped = dropped(r),
                            .longest_commit_ms = atomic_load(&r->longest_commit_ms),
                            .connected = atomic_load(&r->connected)};
}

static void set_gauge(const recorder *r, unsigned metric, int64_t value)
{
    gw_metric_set(r->o.metrics, metric, value, NULL, 0);
}

static void count(const recorder *r, unsigned metric, int64_t *seen, int64_t now)
{
    if (r->o.metrics && now > *seen)
        gw_metric_add(r->o.metrics, metric, now - *seen, NULL, 0);
    *seen = now;
}

static void count_lanes(recorder *r)
{
    static const char *const reasons[RECORDER_DROP_REASONS] = {"degraded", "no_slot"};
    count(r, M_relay_refusals_folded_total, &r->seen_folded,
          sum_lanes(r, offsetof(recorder_lane, folded)));
    count(r, M_relay_refusals_slotless_total, &r->seen_slotless,
          sum_lanes(r, offsetof(recorder_lane, slotless)));
    for (size_t i = 0; i < RECORDER_DROP_REASONS; i++) {
        gw_str reason = gw_str_of(reasons[i]);
        int64_t now =
            sum_lanes(r, offsetof(recorder_lane, dropped) + i * sizeof(atomic_int_least64_t));
        if (now > r->seen_dropped[i])
            gw_metric_add(r->o.metrics, M_relay_spool_dropped_total, now - r->seen_dropped[i],
                          &reason, 1);
        r->seen_dropped[i] = now;
    }
}

void recorder_tick(void *arg)
{
    recorder *r = arg;
    gw_timer_set(r->loop, &r->tick, TICK_MS);
    if (r->ingest)
        atomic_store(&r->connected, ingest_client_is_sending(r->ingest));
    if (!r->o.metrics)
        return;
    recorder_stats s;
    recorder_get_stats(r, &s);
    set_gauge(r, M_relay_spool_waiting_events, s.tail - s.acked);
    set_gauge(r, M_relay_spool_size_bytes, s.spool_bytes);
    set_gauge(r, M_relay_spool_open_slots, s.open_slots);
    set_gauge(r, M_relay_spool_connected, s.connected);
    set_gauge(r, M_relay_spool_disk_failed, s.disk_failed);
    set_gauge(r, M_relay_spool_disk_low, s.disk_low);
    set_gauge(r, M_relay_spool_filling, s.filling);
    set_gauge(r, M_relay_spool_full, s.full);
    count_lanes(r);
}

void recorder_use_spool_id(recorder *r, const spool_info *i)
{
    uint64_t id = 0;
    memcpy(&id, i->id, sizeof(i->id));
    atomic_store_explicit(&r->spool_id, id, memory_order_relaxed);
}

/* ---- between writer and ingest client ---- */

static void ask_reset(recorder *r, spool_reset kind)
{
    static const char *const reasons[] = {"", "restored", "copied", "unreadable"};
    if (r->resetting)
        return;
    r->resetting = true;
    if (r->o.metrics)
        gw_metric_count(r->o.metrics, M_relay_spool_resets_total, gw_str_of(reasons[kind]));
    spool_writer_reset(r->writer, kind);
}

void recorder_on_acked(void *arg, int64_t seq, const uint8_t event_id[SPOOL_EVENT_ID_SIZE])
{
    recorder *r = arg;
    recorder_add(&r->claimed, GW_MAX(seq - r->seen_acked, 0));
    count(r, M_relay_spool_acked_events_total, &r->seen_acked, seq);
    atomic_store_explicit(&r->acked, seq, memory_order_relaxed);
    atomic_store(&r->connected, true);
    spool_writer_acked(r->writer, seq, event_id);
}

void recorder_on_trouble(void *arg, ingest_trouble why)
{
    static const spool_reset kinds[] = {[INGEST_RESTORED] = SPOOL_RESET_RESTART,
                                        [INGEST_COPIED] = SPOOL_RESET_REPLACE,
                                        [INGEST_DAMAGED] = SPOOL_RESET_UNREADABLE};
    ask_reset(arg, kinds[why]);
}

/* Finished events that are not in the spool as last reported; each gets a seq behind its tail. */
static int64_t pending(const recorder *r)
{
    return GW_MAX(r->recovered + sum_lanes(r, offsetof(recorder_lane, done)) - r->committed, 0);
}

ingest_gauges recorder_gauges(void *arg)
{
    const recorder *r = arg;
    return (ingest_gauges){.open_slots = open_slots(r),
                           .open_streams = sum_lanes(r, offsetof(recorder_lane, streams)),
                           .dropped = dropped(r),
                           .pending = pending(r)};
}

static void note_reset(recorder *r, const writer_report *w)
{
    char id[2 * SPOOL_ID_SIZE + 1];
    gw_hex_encode(w->info.id, sizeof(w->info.id), id);
    gw_log_warn(r->o.log, "spool_renewed", gw_kv("spool_id", (const char *)id),
                gw_kv("kept_as", (const char *)w->aside), gw_kv("waiting", w->info.tail));
    r->resetting = false;
    recorder_add(&r->set_aside, w->aside[0] != '\0');
    r->seen_acked = w->info.acked;
    atomic_store_explicit(&r->acked, w->info.acked, memory_order_relaxed);
    recorder_use_spool_id(r, &w->info);
}

void recorder_on_report(void *arg, const writer_report *w)
{
    recorder *r = arg;
    r->committed = w->committed;
    count(r, M_relay_spool_committed_events_total, &r->seen_committed, w->committed);
    count(r, M_relay_spool_commit_failures_total, &r->seen_failures, w->failures);
    atomic_store_explicit(&r->tail, w->info.tail, memory_order_relaxed);
    atomic_store_explicit(&r->bytes, w->info.bytes, memory_order_relaxed);
    atomic_store(&r->longest_commit_ms, w->longest_commit_ms);
    atomic_store(&r->disk_failed, w->disk_failed);
    atomic_store(&r->disk_low, w->disk_low);
    atomic_store(&r->filling, w->filling);
    atomic_store(&r->full, w->full);
    if (w->reset_done)
        note_reset(r, w);
    if (w->damaged && !r->ingest)
        ask_reset(r, SPOOL_RESET_UNREADABLE);
    if (r->ingest) {
        if (w->damaged)
            ingest_client_damaged(r->ingest);
        if (w->reset_done)
            ingest_client_spool_changed(r->ingest, &w->info);
        ingest_client_committed(r->ingest, &w->info);
        if (w->live)
            ingest_client_send_live(r->ingest, w->live);
    }
    live_table_free(w->live);
}

/* ---- the request path ---- */

recorder_lane *recorder_lane_at(recorder *r, unsigned index)
{
    return &r->lanes[index];
}

bool recorder_is_short(recorder_lane *lane)
{
    uint32_t index, reserved = lane->recorder->o.refusal_slots - lane->refusals.open_count;
    while (index_ring_pop(&lane->rings->freed, &index))
        lane->free[lane->free_count++] = index;
    return lane->free_count <= reserved;
}

/* The one after it is on its way meanwhile: the writer had it last. */
flight_slot *recorder_take_slot(recorder_lane *lane)
{
    flight_table *t = lane->recorder->table;
    if (lane->free_count == 0)
        return NULL;
    if (lane->free_count > 1) {
        uint32_t next = lane->free[lane->free_count - 2];
        event_figures_expect_use(&lane->rings->figures[next - lane->first]);
        flight_slot_expect_use(flight_table_slot(t, next));
    }
    return flight_table_slot(t, lane->free[--lane->free_count]);
}

flight_slot *recorder_claim(recorder_lane *lane)
{
    return recorder_is_short(lane) ? NULL : recorder_take_slot(lane);
}

void recorder_release(recorder_lane *lane, flight_slot *slot)
{
    lane->free[lane->free_count++] = flight_table_index(lane->recorder->table, slot);
}

void recorder_event_id(recorder_lane *lane, uint8_t out[12])
{
    recorder *r = lane->recorder;
    uint32_t second = (uint32_t)(gw_clock_wall_ms(r->o.clock) / GW_MS_PER_S);
    uint32_t counter = atomic_fetch_add_explicit(&r->id_counter, 1, memory_order_relaxed);
    uint64_t id = atomic_load_explicit(&r->spool_id, memory_order_relaxed);
    lane->last_id_second = second = GW_MAX(second, lane->last_id_second);
    for (int i = 0; i < 4; i++)
        out[i] = (uint8_t)(second >> (24 - 8 * i));
    memcpy(out + 4, &id, SPOOL_ID_SIZE);
    for (int i = 0; i < 3; i++)
        out[9 + i] = (uint8_t)(counter >> (16 - 8 * i));
}

static uint32_t place_in(const recorder_lane *lane, const flight_slot *slot)
{
    return flight_table_index(lane->recorder->table, slot) - lane->first;
}

event_figures *recorder_figures(const recorder_lane *lane, const flight_slot *slot)
{
    return &lane->rings->figures[place_in(lane, slot)];
}

void recorder_hand_over(recorder_lane *lane, flight_slot *slot)
{
    gw_fault_point("event.done");
    recorder_add(&lane->done, 1);
    index_ring_push(&lane->rings->done, flight_table_index(lane->recorder->table, slot));
    spool_writer_wake(lane->recorder->writer);
}

bool recorder_open_event(recorder_lane *lane, flight_slot *slot, const usage_event *e)
{
    bool is_open = flight_slot_state(slot) == FLIGHT_OPEN;
    bool is_whole = flight_slot_open(slot, e, recorder_figures(lane, slot));
    gw_fault_point("event.opened");
    if (is_open) /* another attempt of the same request */
        return is_whole;
    lane->is_stream[place_in(lane, slot)] = e->stream;
    recorder_add(&lane->opened, 1);
    recorder_add(&lane->streams, e->stream);
    return is_whole;
}

void recorder_progress(flight_slot *slot, int64_t completion_tokens, int64_t cost_nano_usd,
                       int status_code, int64_t wall_ms)
{
    flight_slot_progress(slot, &(event_progress){.completion_tokens = completion_tokens,
                                                 .cost_nano_usd = cost_nano_usd,
                                                 .last_byte_ms = wall_ms,
                                                 .status_code = status_code});
}

static void count_closed(recorder_lane *lane, const flight_slot *slot)
{
    recorder_add(&lane->opened, -1);
    recorder_add(&lane->streams, -(int64_t)lane->is_stream[place_in(lane, slot)]);
}

void recorder_done(recorder_lane *lane, flight_slot *slot, const usage_event *e)
{
    if (flight_slot_state(slot) == FLIGHT_OPEN)
        count_closed(lane, slot);
    flight_slot_done(slot, e, recorder_figures(lane, slot));
    recorder_hand_over(lane, slot);
}

bool recorder_finish(recorder_lane *lane, flight_slot *slot, const usage_event *rest)
{
    if (!flight_slot_finish(slot, rest, recorder_figures(lane, slot)))
        return false;
    count_closed(lane, slot);
    recorder_hand_over(lane, slot);
    return true;
}

void recorder_drop(recorder_lane *lane, recorder_drop_reason why)
{
    recorder_add(&lane->dropped[why], 1);
}

void recorder_turn(recorder *r)
{
    spool_writer_turn(r->writer);
}

/* ---- closing ---- */

static void finish_closing(void *arg)
{
    recorder *r = arg;
    void (*closed)(void *arg) = r->closed;
    void *closed_arg = r->closed_arg;
    recorder_free(r);
    closed(closed_arg);
}

static bool all_is_claimed(const recorder *r)
{
    if (atomic_load(&r->disk_failed))
        return true; /* what is DONE is safe in the table */
    if (pending(r) > 0)
        return false;
    return !r->ingest || !ingest_client_is_sending(r->ingest) ||
           ingest_client_acked(r->ingest) >= atomic_load(&r->tail);
}

static void look_whether_claimed(void *arg)
{
    recorder *r = arg;
    if (!all_is_claimed(r) && gw_loop_now_ms(r->loop) < r->close_due_ms) {
        gw_timer_set(r->loop, &r->close_look, CLOSE_LOOK_MS);
        return;
    }
    if (r->ingest)
        ingest_client_close(gw_steal(&r->ingest), finish_closing, r);
    else
        gw_loop_defer(r->loop, finish_closing, r);
}

void recorder_close(recorder *r, int64_t grace_ms, void (*closed)(void *arg), void *arg)
{
    r->closed = closed;
    r->closed_arg = arg;
    r->close_due_ms = gw_loop_now_ms(r->loop) + grace_ms;
    for (unsigned i = 0; i < r->o.lanes; i++)
        recorder_close_refusals(&r->lanes[i]);
    gw_timer_init(&r->close_look, look_whether_claimed, r);
    look_whether_claimed(r);
}

/* ---- positions ---- */

position_table *recorder_positions(recorder *r)
{
    return r->positions;
}

const char *recorder_holder(const recorder *r)
{
    return r->holder;
}

size_t recorder_left_positions(const recorder *r, const ledger_left **ret)
{
    *ret = r->left_positions;
    return r->left_position_count;
}
