/* Opening a recorder: the lock, the files, the lanes, and what a killed relay left behind. */
#include "recorder_internal.h"

#include "relay_metrics.h"

#include "core/fault.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

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

static uint32_t slots_of_lane(const recorder *r)
{
    return r->o.slots_per_lane + r->o.refusal_slots;
}

/* Of the spool as it was opened: from the writer's first turn on its figures are the writer's. */
static gw_status open_positions(recorder *r, gw_error *err)
{
    const spool_info *i = spool_get_info(r->spool);
    char name[2 * SPOOL_ID_SIZE + 1];
    gw_hex_encode(i->id, SPOOL_ID_SIZE, name);
    (void)snprintf(r->holder, sizeof(r->holder), "%s.%u", name, (unsigned)i->opens);
    return position_table_open(r->o.dir, gw_str_of(name), &r->positions, err);
}

static gw_status open_files(recorder *r, gw_error *err)
{
    bool renamed = false;
    spool_opened how;
    gw_status rc =
        flight_table_open(r->o.dir, r->o.lanes * slots_of_lane(r), &r->table, &renamed, err);
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
    else if (flight_table_noted_tail(r->table) > spool_get_info(r->spool)->tail)
        gw_log_error(r->o.log, "spool_tail_lost",
                     gw_kv("last_tail", flight_table_noted_tail(r->table)),
                     gw_kv("tail", spool_get_info(r->spool)->tail));
    flight_table_note_tail(r->table, spool_get_info(r->spool)->tail);
    recorder_use_spool_id(r, spool_get_info(r->spool));
    rc = open_positions(r, err);
    if (rc != GW_OK)
        return rc;
    /* A restart within one second does not meet the ids it gave before; a copy of this disk in another relay, which has opened it as
     * often, does not meet ours. */
    atomic_init(&r->id_counter,
                (spool_get_info(r->spool)->opens << 16) + (uint32_t)gw_random_below(1 << 15));
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
        lane->loop = r->loop;
        lane->count = slots_of_lane(r);
        lane->first = i * lane->count;
        lane->free = calloc(lane->count, sizeof(*lane->free));
        lane->is_stream = calloc(lane->count, sizeof(*lane->is_stream));
        lane->rings->figures = calloc(lane->count, sizeof(*lane->rings->figures));
        if (!lane->free || !lane->is_stream || !lane->rings->figures ||
            !recorder_init_refusals(lane) || !index_ring_init(&lane->rings->done, lane->count) ||
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
                              .slots_per_lane = slots_of_lane(r),
                              .sync_interval_ms = r->o.sync_interval_ms,
                              .max_bytes = r->o.spool_max_bytes,
                              .clock = r->o.clock,
                              .log = r->o.log,
                              .report = recorder_on_report,
                              .arg = r};
    return spool_writer_new(r->loop, &w, &r->writer, err);
}

/* What a killed relay left behind, in one commit. */
static void recover(recorder *r)
{
    int64_t found[FLIGHT_FOUND_TORN + 1] = {0};
    for (uint32_t i = 0; i < flight_table_count(r->table); i++) {
        uint64_t committed =
            GW_MUTANT(RECOVERY_WITHOUT_GENERATION) ? 0 : spool_committed(r->spool, i);
        flight_found f =
            flight_slot_recover(flight_table_slot(r->table, i), committed, r->positions);
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

/*
 * The positions of the killed relay. Without the events that are still to be committed their sums are too low: then the rows stay, and
 * what they hold stays counted until the next start.
 */
static gw_status find_left_positions(recorder *r, gw_error *err)
{
    uint32_t at = 0;
    size_t count = 0;
    ledger_row row;

    while (position_table_next(r->positions, &at, &row))
        count++;
    if (count == 0 || atomic_load(&r->disk_failed))
        return GW_OK;
    r->left_positions = calloc(count, sizeof(*r->left_positions));
    if (!r->left_positions)
        return gw_fail(err, GW_ERR_NO_MEMORY, "no memory for the positions left behind");
    for (at = 0; r->left_position_count < count && position_table_next(r->positions, &at, &row);) {
        ledger_left *left = &r->left_positions[r->left_position_count++];
        left->row = row;
        gw_status rc = spool_read_position(r->spool, row.id, &left->sums, err);
        if (rc != GW_OK)
            return rc;
    }
    gw_log_info(r->o.log, "positions_found", gw_kv("positions", (int64_t)count));
    return GW_OK;
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
    flight_table_rest(r->table);
}

static gw_status start_ingest(recorder *r, gw_error *err)
{
    ingest_client_options o = {.usage = r->o.usage,
                               .service_token = r->o.service_token,
                               .spool = r->spool,
                               .log = r->o.log,
                               .clock = r->o.clock,
                               .acked = recorder_on_acked,
                               .reset = recorder_on_trouble,
                               .gauges = recorder_gauges,
                               .arg = r};
    return r->o.usage ? ingest_client_new(r->loop, &o, spool_get_info(r->spool), &r->ingest, err)
                      : GW_OK;
}

void recorder_free(recorder *r)
{
    gw_timer_cancel(r->loop, &r->tick);
    gw_timer_cancel(r->loop, &r->close_look);
    spool_writer_free(r->writer);
    for (unsigned i = 0; r->lanes && i < r->o.lanes; i++) {
        recorder_fini_refusals(&r->lanes[i]);
        free(r->lanes[i].free);
        free(r->lanes[i].is_stream);
        if (r->lanes[i].rings) {
            index_ring_fini(&r->lanes[i].rings->done);
            index_ring_fini(&r->lanes[i].rings->freed);
            free(r->lanes[i].rings->figures);
        }
    }
    free(r->lanes);
    free(r->rings);
    spool_free(r->spool);
    flight_table_free(r->table);
    position_table_free(r->positions);
    free(r->left_positions);
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
    rc = find_left_positions(r, err);
    if (rc != GW_OK)
        return rc;
    fill_free_lists(r);
    rc = start_ingest(r, err);
    if (rc == GW_OK && !r->o.without_thread) {
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
    gw_timer_init(&r->tick, recorder_tick, r);
    gw_timer_init(&r->close_look, NULL, r);
    gw_status rc = open_recorder(r, err);
    if (rc != GW_OK) {
        recorder_free(r);
        return rc;
    }
    recorder_tick(r);
    *ret = r;
    return GW_OK;
}
