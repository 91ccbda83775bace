#include "spool_writer_internal.h"

#include "core/fault.h"

#define ACK_INTERVAL_MS 500 /* an ack alone is not worth an fsync each */
#define RETRY_MIN_MS    100
#define RETRY_MAX_MS    2000
#define COLLECT_AHEAD   8
#define DISK_LOOK_MS    5000
#define LOW_PARTS       5 /* of the bound: less room than one of them is low */

/* ---- events ---- */

static void count_live(spool_writer *w, const event_figures *f)
{
    if (!w->live)
        w->live = live_table_new(gw_clock_wall_ms(w->o.clock) / GW_MS_PER_S);
    if (w->live)
        live_table_add(w->live, f);
}

void spool_writer_add_pending(spool_writer *w, uint32_t index, const event_figures *f)
{
    flight_slot *slot = flight_table_slot(w->o.table, index);
    spool_event *e = &w->pending[w->pending_count++];
    *e = (spool_event){.bytes = flight_slot_event(slot),
                       .slot = index,
                       .generation = flight_slot_generation(slot)};
    if (!f)
        return;
    count_live(w, f);
    (void)ledger_event_of(f, &e->spent);
}

static const event_figures *figures_of(const spool_writer *w, unsigned lane, uint32_t index)
{
    return &w->o.lanes[lane].figures[index - lane * w->o.slots_per_lane];
}

/* So many at a time: each is on its way while those before it are looked at. */
static size_t pop_some(spool_writer *w, unsigned lane, uint32_t indexes[COLLECT_AHEAD])
{
    size_t n = 0;
    for (; n < COLLECT_AHEAD && index_ring_pop(&w->o.lanes[lane].done, &indexes[n]); n++) {
        event_figures_expect(figures_of(w, lane, indexes[n]));
        flight_slot_expect(flight_table_slot(w->o.table, indexes[n]));
    }
    return n;
}

void spool_writer_collect(spool_writer *w)
{
    uint32_t indexes[COLLECT_AHEAD];
    for (unsigned i = 0; i < w->o.lane_count; i++)
        for (size_t n; (n = pop_some(w, i, indexes)) > 0;)
            for (size_t k = 0; k < n; k++)
                spool_writer_add_pending(w, indexes[k], figures_of(w, i, indexes[k]));
}

/* ---- room ---- */

void spool_writer_check_bound(spool_writer *w)
{
    int64_t bytes = spool_get_info(w->o.spool)->bytes, max = w->o.max_bytes;
    bool filling = bytes >= max / 5 * 4;
    bool full = bytes >= max || (w->state.full && bytes >= max / 20 * 19);
    if (filling && !w->state.filling)
        gw_log_warn(w->o.log, "spool_filled", gw_kv("bytes", bytes), gw_kv("max_bytes", max));
    if (full && !w->state.full)
        gw_log_error(w->o.log, "spool_full", gw_kv("bytes", bytes), gw_kv("max_bytes", max));
    if (!filling && w->state.filling)
        gw_log_info(w->o.log, "spool_drained", gw_kv("bytes", bytes), gw_kv("max_bytes", max));
    w->state.filling = filling;
    w->state.full = full;
}

/* Room that the disk does not have: a fifth of the bound, or what is left up to it. */
void spool_writer_look_at_disk(spool_writer *w)
{
    if (spool_writer_now_ms(w) < w->disk_look_ms)
        return;
    w->disk_look_ms = spool_writer_now_ms(w) + DISK_LOOK_MS;
    int64_t bytes = spool_get_info(w->o.spool)->bytes,
            free_bytes = spool_disk_free_bytes(w->o.spool);
    bool low = free_bytes < GW_MIN(w->o.max_bytes / LOW_PARTS, w->o.max_bytes - bytes);
    if (low == w->state.disk_low)
        return;
    if (low)
        gw_log_error(w->o.log, "spool_disk_low", gw_kv("free_bytes", free_bytes),
                     gw_kv("bytes", bytes), gw_kv("max_bytes", w->o.max_bytes));
    else
        gw_log_info(w->o.log, "spool_disk_has_room", gw_kv("free_bytes", free_bytes));
    w->state.disk_low = low;
    w->news = true;
}

/* ---- committing ---- */

/* Frees the slots whose events are on disk. */
static void release_committed(spool_writer *w)
{
    size_t kept = 0;
    for (size_t i = 0; i < w->pending_count; i++) {
        spool_event *e = &w->pending[i];
        if (spool_committed(w->o.spool, e->slot) < e->generation) {
            w->pending[kept++] = *e;
            continue;
        }
        flight_slot_free(flight_table_slot(w->o.table, e->slot));
        gw_fault_point("slot.freed");
        if (e->slot / w->o.slots_per_lane < w->o.lane_count)
            index_ring_give(&w->o.lanes[e->slot / w->o.slots_per_lane].freed, e->slot);
    }
    w->state.committed += (int64_t)(w->pending_count - kept);
    w->pending_count = kept;
    flight_table_note_tail(w->o.table, spool_get_info(w->o.spool)->tail);
}

static void note_failure(spool_writer *w, const gw_error *err)
{
    if (!w->state.disk_failed)
        gw_log_error(w->o.log, "spool_commit_failed", gw_kv_error(err));
    w->state.disk_failed = true;
    w->state.failures++;
    if (err->code == GW_ERR_DATA_LOSS)
        w->state.damaged = true;
    w->retry_delay_ms = GW_MIN(GW_MAX(w->retry_delay_ms * 2, RETRY_MIN_MS), RETRY_MAX_MS);
    w->retry_at_ms = spool_writer_now_ms(w) + w->retry_delay_ms;
    w->news = true;
}

static void note_success(spool_writer *w)
{
    if (w->state.disk_failed)
        gw_log_info(w->o.log, "spool_recovered", gw_kv("failures", w->state.failures));
    w->state.disk_failed = false;
    w->retry_delay_ms = 0;
    w->news = true;
}

void spool_writer_set_acked(spool_writer *w, int64_t seq,
                            const uint8_t event_id[SPOOL_EVENT_ID_SIZE])
{
    (void)pthread_mutex_lock(&w->acked_lock);
    atomic_store(&w->acked, seq);
    memcpy(w->acked_event_id, event_id, sizeof(w->acked_event_id));
    (void)pthread_mutex_unlock(&w->acked_lock);
}

static void get_acked(spool_writer *w, spool_change *c)
{
    (void)pthread_mutex_lock(&w->acked_lock);
    c->acked = atomic_load(&w->acked);
    memcpy(c->acked_event_id, w->acked_event_id, sizeof(w->acked_event_id));
    (void)pthread_mutex_unlock(&w->acked_lock);
}

bool spool_writer_commit(spool_writer *w)
{
    gw_error err;
    int64_t now = spool_writer_now_ms(w);
    spool_change c = {
        .events = w->pending, .count = w->pending_count, .registered = atomic_load(&w->registered)};
    get_acked(w, &c);
    w->last_commit_ms = now;
    w->last_record_ms = now;
    if (w->pending_count)
        w->last_busy_ms = now;
    gw_fault_point("spool.commit");
    gw_status rc = spool_write(w->o.spool, &c, &err);
    w->state.longest_commit_ms = GW_MAX(w->state.longest_commit_ms, spool_writer_now_ms(w) - now);
    if (rc != GW_OK) {
        note_failure(w, &err);
        release_committed(w); /* of what does not fit one segment the first part may be there */
        return false;
    }
    gw_fault_point("spool.committed");
    note_success(w);
    release_committed(w);
    spool_writer_check_bound(w);
    return true;
}

bool spool_writer_wants_record(const spool_writer *w)
{
    const spool_info *i = spool_get_info(w->o.spool);
    return atomic_load(&w->acked) > i->acked || (atomic_load(&w->registered) && !i->registered);
}

int64_t spool_writer_commit_due_ms(const spool_writer *w)
{
    int64_t due = INT64_MAX;
    if (w->state.damaged)
        return due; /* a new spool is on its way */
    if (w->pending_count)
        due = w->last_commit_ms + w->o.sync_interval_ms;
    else if (spool_writer_wants_record(w))
        due = w->last_record_ms + ACK_INTERVAL_MS;
    return due != INT64_MAX && w->state.disk_failed ? GW_MAX(due, w->retry_at_ms) : due;
}

/* ---- commands ---- */

static gw_status reset_spool(spool_writer *w, int kind, gw_error *err)
{
    w->state.aside[0] = '\0';
    if (kind == SPOOL_RESET_REPLACE)
        return spool_replace(w->o.spool, "conflict", w->state.aside, err);
    if (kind == SPOOL_RESET_UNREADABLE)
        return spool_repair(w->o.spool, w->state.aside, err);
    /* What was claimed under the old id is not offered again under the new one. */
    spool_change c = {0};
    get_acked(w, &c);
    gw_status rc = spool_write(w->o.spool, &c, err);
    return rc == GW_OK ? spool_restart(w->o.spool, err) : rc;
}

void spool_writer_obey_reset(spool_writer *w)
{
    int kind = atomic_load(&w->reset);
    if (kind == SPOOL_RESET_NONE || spool_writer_now_ms(w) < w->retry_at_ms)
        return;
    gw_error err;
    if (reset_spool(w, kind, &err) != GW_OK) {
        note_failure(w, &err);
        if (w->state.damaged && kind == SPOOL_RESET_RESTART)
            atomic_store(&w->reset, SPOOL_RESET_UNREADABLE);
        return;
    }
    note_success(w);
    spool_writer_set_acked(w, spool_get_info(w->o.spool)->acked,
                           spool_get_info(w->o.spool)->acked_event_id);
    atomic_store(&w->registered, spool_get_info(w->o.spool)->registered);
    atomic_store(&w->reset, SPOOL_RESET_NONE);
    w->state.damaged = false;
    w->state.reset_done = true;
    release_committed(w);
    spool_writer_check_bound(w);
}
