#include "recorder.h"

#include "ingest_client.h"
#include "relay_metrics.h"
#include "spool_writer.h"

#include "core/id.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#define TICK_MS       1000
#define CLOSE_LOOK_MS 10

struct recorder_lane {
    recorder *recorder;
    writer_lane *rings;
    uint32_t first, count; /* slots of this lane */
    uint32_t *free; /* their indexes, a stack */
    uint32_t free_count;
    bool *is_stream; /* by slot, of the event that opened it */
    uint32_t last_id_second; /* event ids do not go back with the clock */
    atomic_int_least64_t opened; /* written by the lane, read by the recorder's loop */
    atomic_int_least64_t streams;
    atomic_int_least64_t done;
};

struct recorder {
    recorder_options o;
    gw_loop *loop;
    int dir_fd; /* holds the flock */
    flight_table *table;
    spool *spool;
    writer_lane *rings;
    recorder_lane *lanes;
    spool_writer *writer;
    ingest_client *ingest; /* NULL: spool only */
    gw_timer tick;
    atomic_uint_least64_t spool_id; /* for event ids */
    atomic_uint_least32_t id_counter;
    int64_t committed, recovered; /* events; of these found at start */
    /* for recorder_get_stats(), which any lane may ask */
    atomic_int_least64_t tail, acked, bytes;
    atomic_bool disk_failed, full, connected;
    int64_t seen_committed, seen_failures, seen_acked; /* as counted in metrics */
    bool resetting;
    /* closing */
    gw_timer close_look;
    int64_t close_due_ms;
    void (*closed)(void *arg);
    void *closed_arg;
};

/* ---- figures ---- */

static void add_relaxed(atomic_int_least64_t *figure, int64_t delta) /* by its one writer */
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

void recorder_get_stats(const recorder *r, recorder_stats *ret)
{
    *ret = (recorder_stats){.tail = atomic_load_explicit(&r->tail, memory_order_relaxed),
                            .acked = atomic_load_explicit(&r->acked, memory_order_relaxed),
                            .spool_bytes = atomic_load_explicit(&r->bytes, memory_order_relaxed),
                            .open_slots = open_slots(r),
                            .disk_failed = atomic_load(&r->disk_failed),
                            .full = atomic_load(&r->full),
                            .connected = atomic_load(&r->connected)};
}

static void set_gauge(const recorder *r, unsigned metric, int64_t value)
{
    gw_metric_set(r->o.metrics, metric, value, NULL, 0);
}

static void on_tick(void *arg)
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
    set_gauge(r, M_relay_spool_full, s.full);
}

static void count(const recorder *r, unsigned metric, int64_t *seen, int64_t now)
{
    if (r->o.metrics && now > *seen)
        gw_metric_add(r->o.metrics, metric, now - *seen, NULL, 0);
    *seen = now;
}

static void use_spool_id(recorder *r, const spool_info *i)
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

static void on_acked(void *arg, int64_t seq)
{
    recorder *r = arg;
    count(r, M_relay_spool_acked_events_total, &r->seen_acked, seq);
    atomic_store_explicit(&r->acked, seq, memory_order_relaxed);
    atomic_store(&r->connected, true);
    spool_writer_acked(r->writer, seq);
}

static void on_trouble(void *arg, ingest_trouble why)
{
    static const spool_reset kinds[] = {[INGEST_RESTORED] = SPOOL_RESET_RESTART,
                                        [INGEST_COPIED] = SPOOL_RESET_REPLACE,
                                        [INGEST_DAMAGED] = SPOOL_RESET_UNREADABLE};
    ask_reset(arg, kinds[why]);
}

static ingest_gauges gauges_of(void *arg)
{
    const recorder *r = arg;
    return (ingest_gauges){.open_slots = open_slots(r),
                           .open_streams = sum_lanes(r, offsetof(recorder_lane, streams))};
}

static void note_reset(recorder *r, const writer_report *w)
{
    char id[2 * SPOOL_ID_SIZE + 1];
    gw_hex_encode(w->info.id, sizeof(w->info.id), id);
    gw_log_warn(r->o.log, "spool_renewed", gw_kv("spool_id", (const char *)id),
                gw_kv("kept_as", (const char *)w->aside), gw_kv("waiting", w->info.tail));
    r->resetting = false;
    r->seen_acked = w->info.acked;
    atomic_store_explicit(&r->acked, w->info.acked, memory_order_relaxed);
    use_spool_id(r, &w->info);
}

static void on_report(void *arg, const writer_report *w)
{
    recorder *r = arg;
    r->committed = w->committed;
    count(r, M_relay_spool_committed_events_total, &r->seen_committed, w->committed);
    count(r, M_relay_spool_commit_failures_total, &r->seen_failures, w->failures);
    atomic_store_explicit(&r->tail, w->info.tail, memory_order_relaxed);
    atomic_store_explicit(&r->bytes, w->info.bytes, memory_order_relaxed);
    atomic_store(&r->disk_failed, w->disk_failed);
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

/* ---- opening ---- */

static gw_status lock_dir(recorder *r, gw_error *err)
{
    const char *dir = r->o.dir;
    if (mkdir(dir, 0700) != 0 && errno != EEXIST)
        return gw_fail(err, GW_ERR_IO, "cannot make %s: %s", dir, strerror(errno));
    r->dir_fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (r->dir_fd < 0)
        return gw_fail(err, GW_ERR_IO, "cannot open %s: %s", dir, strerror(errno));
    if (flock(r->dir_fd, LOCK_EX | LOCK_NB) == 0)
        return GW_OK;
    if (errno == EWOULDBLOCK)
        return gw_fail(err, GW_ERR_FAILED_PRECONDITION, "another process holds %s", dir);
    return gw_fail(err, GW_ERR_IO, "cannot lock %s: %s", dir, strerror(errno));
}

static gw_status open_files(recorder *r, gw_error *err)
{
    bool renamed = false;
    spool_opened how;
    gw_status rc =
        flight_table_open(r->o.dir, r->o.lanes * r->o.slots_per_lane, &r->table, &renamed, err);
    if (rc != GW_OK)
        return rc;
    if (renamed)
        gw_log_error(r->o.log, "flight_table_unreadable", gw_kv("dir", r->o.dir));
    rc = spool_open(r->o.dir, r->o.spool_max_bytes, flight_table_count(r->table), &r->spool, &how,
                    err);
    if (rc != GW_OK)
        return rc;
    if (how.unreadable)
        gw_log_error(r->o.log, "spool_unreadable", gw_kv("kept_as", (const char *)how.aside),
                     gw_kv("last_tail", flight_table_noted_tail(r->table)), gw_kv_error(&how.why));
    use_spool_id(r, spool_get_info(r->spool));
    /* A restart within one second does not meet the ids it gave before. */
    atomic_init(&r->id_counter, spool_get_info(r->spool)->opens << 16);
    return GW_OK;
}

static gw_status make_lanes(recorder *r, gw_error *err)
{
    r->rings = calloc(r->o.lanes, sizeof(*r->rings));
    r->lanes = calloc(r->o.lanes, sizeof(*r->lanes));
    if (!r->rings || !r->lanes)
        return gw_fail(err, GW_ERR_NO_MEMORY, "no memory for the recorder");
    for (unsigned i = 0; i < r->o.lanes; i++) {
        recorder_lane *lane = &r->lanes[i];
        lane->recorder = r;
        lane->rings = &r->rings[i];
        lane->count = r->o.slots_per_lane;
        lane->first = i * lane->count;
        lane->free = calloc(lane->count, sizeof(*lane->free));
        lane->is_stream = calloc(lane->count, sizeof(*lane->is_stream));
        if (!lane->free || !lane->is_stream || !index_ring_init(&lane->rings->done, lane->count) ||
            !index_ring_init(&lane->rings->freed, lane->count))
            return gw_fail(err, GW_ERR_NO_MEMORY, "no memory for the recorder");
    }
    return GW_OK;
}

static gw_status make_writer(recorder *r, gw_error *err)
{
    spool_writer_options w = {.spool = r->spool,
                              .table = r->table,
                              .lanes = r->rings,
                              .lane_count = r->o.lanes,
                              .slots_per_lane = r->o.slots_per_lane,
                              .sync_interval_ms = r->o.sync_interval_ms,
                              .max_bytes = r->o.spool_max_bytes,
                              .clock = r->o.clock,
                              .log = r->o.log,
                              .report = on_report,
                              .arg = r};
    return spool_writer_new(r->loop, &w, &r->writer, err);
}

/* What a killed relay left behind, in one transaction. */
static void recover(recorder *r)
{
    int64_t found[FLIGHT_FOUND_TORN + 1] = {0};
    for (uint32_t i = 0; i < flight_table_count(r->table); i++) {
        flight_found f =
            flight_slot_recover(flight_table_slot(r->table, i), spool_committed(r->spool, i));
        found[f]++;
        if (f == FLIGHT_FOUND_DONE || f == FLIGHT_FOUND_INTERRUPTED)
            spool_writer_add(r->writer, i);
    }
    r->recovered = found[FLIGHT_FOUND_DONE] + found[FLIGHT_FOUND_INTERRUPTED];
    atomic_store(&r->disk_failed, !spool_writer_commit_now(r->writer));
    const spool_info *info = spool_get_info(r->spool);
    char id[2 * SPOOL_ID_SIZE + 1];
    gw_hex_encode(info->id, sizeof(info->id), id);
    gw_log_info(r->o.log, "spool_opened", gw_kv("spool_id", (const char *)id),
                gw_kv("tail", info->tail), gw_kv("acked", info->acked),
                gw_kv("recovered", found[FLIGHT_FOUND_DONE]),
                gw_kv("interrupted", found[FLIGHT_FOUND_INTERRUPTED]),
                gw_kv("torn", found[FLIGHT_FOUND_TORN]));
    if (r->o.metrics && r->recovered)
        gw_metric_add(r->o.metrics, M_relay_spool_recovered_events_total, r->recovered, NULL, 0);
    atomic_store(&r->tail, info->tail);
    atomic_store(&r->acked, info->acked);
    atomic_store(&r->bytes, info->bytes);
    r->seen_acked = info->acked;
}

/* Of each lane the slots that are FREE; lowest on top. What the recovery freed is here, not in the ring. */
static void fill_free_lists(recorder *r)
{
    for (unsigned i = 0; i < r->o.lanes; i++) {
        recorder_lane *lane = &r->lanes[i];
        uint32_t index;
        while (index_ring_pop(&lane->rings->freed, &index)) {
        }
        for (uint32_t k = lane->count; k-- > 0;)
            if (flight_slot_state(flight_table_slot(r->table, lane->first + k)) == FLIGHT_FREE)
                lane->free[lane->free_count++] = lane->first + k;
    }
}

static gw_status start_ingest(recorder *r, gw_error *err)
{
    ingest_client_options o = {.usage = r->o.usage,
                               .service_token = r->o.service_token,
                               .spool = r->spool,
                               .log = r->o.log,
                               .clock = r->o.clock,
                               .acked = on_acked,
                               .reset = on_trouble,
                               .gauges = gauges_of,
                               .arg = r};
    return r->o.usage ? ingest_client_new(r->loop, &o, spool_get_info(r->spool), &r->ingest, err)
                      : GW_OK;
}

/* All but the ingest client is there: it is made last, so that nothing fails after it. */
static void free_recorder(recorder *r)
{
    gw_timer_cancel(r->loop, &r->tick);
    gw_timer_cancel(r->loop, &r->close_look);
    spool_writer_free(r->writer);
    for (unsigned i = 0; r->lanes && i < r->o.lanes; i++) {
        free(r->lanes[i].free);
        free(r->lanes[i].is_stream);
        if (r->lanes[i].rings) {
            index_ring_fini(&r->lanes[i].rings->done);
            index_ring_fini(&r->lanes[i].rings->freed);
        }
    }
    free(r->lanes);
    free(r->rings);
    spool_free(r->spool);
    flight_table_free(r->table);
    if (r->dir_fd >= 0)
        (void)close(r->dir_fd);
    free(r);
}

static gw_status open_recorder(recorder *r, gw_error *err)
{
    gw_status rc = lock_dir(r, err);
    if (rc == GW_OK)
        rc = open_files(r, err);
    if (rc == GW_OK)
        rc = make_lanes(r, err);
    if (rc == GW_OK)
        rc = make_writer(r, err);
    if (rc != GW_OK)
        return rc;
    recover(r);
    fill_free_lists(r);
    rc = start_ingest(r, err);
    if (rc == GW_OK) {
        rc = spool_writer_start(r->writer, err);
        if (rc != GW_OK && r->ingest)
            ingest_client_close(gw_steal(&r->ingest), NULL, NULL);
    }
    return rc;
}

gw_status recorder_open(gw_loop *l, const recorder_options *o, recorder **ret, gw_error *err)
{
    recorder *r = calloc(1, sizeof(*r));
    if (!r)
        return gw_fail(err, GW_ERR_NO_MEMORY, "no memory for the recorder");
    r->o = *o;
    r->loop = l;
    r->dir_fd = -1;
    gw_timer_init(&r->tick, on_tick, r);
    gw_timer_init(&r->close_look, NULL, r);
    gw_status rc = open_recorder(r, err);
    if (rc != GW_OK) {
        free_recorder(r);
        return rc;
    }
    on_tick(r);
    *ret = r;
    return GW_OK;
}

/* ---- the request path ---- */

recorder_lane *recorder_lane_at(recorder *r, unsigned index)
{
    return &r->lanes[index];
}

flight_slot *recorder_claim(recorder_lane *lane)
{
    uint32_t index;
    while (index_ring_pop(&lane->rings->freed, &index))
        lane->free[lane->free_count++] = index;
    if (lane->free_count == 0)
        return NULL;
    return flight_table_slot(lane->recorder->table, lane->free[--lane->free_count]);
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

void recorder_open_event(recorder_lane *lane, flight_slot *slot, const usage_event *e)
{
    flight_slot_open(slot, e);
    lane->is_stream[place_in(lane, slot)] = e->stream;
    add_relaxed(&lane->opened, 1);
    add_relaxed(&lane->streams, e->stream);
}

void recorder_progress(flight_slot *slot, int64_t completion_tokens, int64_t cost_nano_usd,
                       int status_code, int64_t wall_ms)
{
    flight_slot_progress(slot, &(event_progress){.completion_tokens = completion_tokens,
                                                 .cost_nano_usd = cost_nano_usd,
                                                 .last_byte_ms = wall_ms,
                                                 .status_code = status_code});
}

void recorder_done(recorder_lane *lane, flight_slot *slot, const usage_event *e)
{
    uint32_t place = place_in(lane, slot);
    if (flight_slot_state(slot) == FLIGHT_OPEN) {
        add_relaxed(&lane->opened, -1);
        add_relaxed(&lane->streams, -(int64_t)lane->is_stream[place]);
    }
    flight_slot_done(slot, e);
    add_relaxed(&lane->done, 1);
    index_ring_push(&lane->rings->done, lane->first + place);
    spool_writer_wake(lane->recorder->writer);
}

/* ---- closing ---- */

static void finish_closing(void *arg)
{
    recorder *r = arg;
    void (*closed)(void *arg) = r->closed;
    void *closed_arg = r->closed_arg;
    free_recorder(r);
    closed(closed_arg);
}

static bool all_is_claimed(const recorder *r)
{
    if (atomic_load(&r->disk_failed))
        return true; /* what is DONE is safe in the table */
    if (r->committed < r->recovered + sum_lanes(r, offsetof(recorder_lane, done)))
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
    gw_timer_init(&r->close_look, look_whether_claimed, r);
    look_whether_claimed(r);
}
