#include "spool_writer.h"

#include "core/fault.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>

#define IDLE_BEFORE_SLEEP_MS 100
#define ACK_INTERVAL_MS      500 /* an ack alone is not worth an fsync each */
#define RETRY_MIN_MS         100
#define RETRY_MAX_MS         2000
#define COLLECT_AHEAD        8
#define DISK_LOOK_MS         5000
#define LOW_PARTS            5 /* of the bound: less room than one of them is low */

/* A report on its way to the loop; the thread fills the next one when this one has arrived. */
typedef struct outbox {
    gw_message message; /* first */
    spool_writer *writer;
    writer_report report;
    atomic_bool on_its_way;
} outbox;

struct spool_writer {
    spool_writer_options o;
    gw_mailbox *mailbox;
    pthread_t thread;
    bool running;
    int event_fd;
    atomic_bool sleeping, stopping;
    atomic_int_least64_t acked; /* commands, from the loop */
    pthread_mutex_t acked_lock; /* for the moment that both of it are written or read */
    uint8_t acked_event_id[SPOOL_EVENT_ID_SIZE];
    atomic_bool registered;
    atomic_int reset;
    outbox outbox;
    bool closed; /* reports are dropped */

    /* the thread's own */
    spool_event *pending; /* DONE and not committed; their bytes stay in the slots */
    size_t pending_count;
    int64_t last_commit_ms, last_busy_ms, last_record_ms;
    int64_t retry_at_ms, retry_delay_ms; /* after a failure */
    int64_t disk_look_ms; /* when it is due */
    writer_report state;
    bool news;
    live_table *live;
};

static int64_t now_ms(const spool_writer *w)
{
    return gw_clock_mono_ms(w->o.clock);
}

/* ---- reports ---- */

static void deliver_report(gw_message *m)
{
    outbox *b = GW_CONTAINER_OF(m, outbox, message);
    spool_writer *w = b->writer;
    writer_report r = b->report;
    atomic_store(&b->on_its_way, false);
    spool_writer_wake(w); /* it may have more to say */
    if (w->closed)
        live_table_free(r.live);
    else
        w->o.report(w->o.arg, &r);
}

static void drop_report(gw_message *m)
{
    live_table_free(GW_CONTAINER_OF(m, outbox, message)->report.live);
}

static void report_news(spool_writer *w)
{
    if (!w->news || atomic_load(&w->outbox.on_its_way))
        return;
    w->news = false;
    w->state.info = *spool_get_info(w->o.spool);
    w->outbox.report = w->state;
    w->state.live = NULL;
    w->state.reset_done = false;
    atomic_store(&w->outbox.on_its_way, true);
    (void)gw_mailbox_post(w->mailbox, &w->outbox.message);
}

/* ---- committing ---- */

static void count_live(spool_writer *w, const event_figures *f)
{
    if (!w->live)
        w->live = live_table_new(gw_clock_wall_ms(w->o.clock) / GW_MS_PER_S);
    if (w->live)
        live_table_add(w->live, f);
}

/* Its bytes are not looked at: they are for the spool to copy. `f` NULL: nothing is known of it. */
static void add_pending(spool_writer *w, uint32_t index, const event_figures *f)
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

static void collect(spool_writer *w)
{
    uint32_t indexes[COLLECT_AHEAD];
    for (unsigned i = 0; i < w->o.lane_count; i++)
        for (size_t n; (n = pop_some(w, i, indexes)) > 0;)
            for (size_t k = 0; k < n; k++)
                add_pending(w, indexes[k], figures_of(w, i, indexes[k]));
}

/* A second's table goes out when the second is over. One that finds the last still here goes on counting, so that none is lost. */
static void roll_live(spool_writer *w)
{
    if (!w->live || w->state.live ||
        live_table_second(w->live) == gw_clock_wall_ms(w->o.clock) / GW_MS_PER_S)
        return;
    w->state.live = gw_steal(&w->live);
    w->news = true;
}

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

static void check_bound(spool_writer *w)
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
static void look_at_disk(spool_writer *w)
{
    if (now_ms(w) < w->disk_look_ms)
        return;
    w->disk_look_ms = now_ms(w) + DISK_LOOK_MS;
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

static void note_failure(spool_writer *w, const gw_error *err)
{
    if (!w->state.disk_failed)
        gw_log_error(w->o.log, "spool_commit_failed", gw_kv_error(err));
    w->state.disk_failed = true;
    w->state.failures++;
    if (err->code == GW_ERR_DATA_LOSS)
        w->state.damaged = true;
    w->retry_delay_ms = GW_MIN(GW_MAX(w->retry_delay_ms * 2, RETRY_MIN_MS), RETRY_MAX_MS);
    w->retry_at_ms = now_ms(w) + w->retry_delay_ms;
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

static void set_acked(spool_writer *w, int64_t seq, const uint8_t event_id[SPOOL_EVENT_ID_SIZE])
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

static bool commit(spool_writer *w)
{
    gw_error err;
    int64_t now = now_ms(w);
    spool_change c = {
        .events = w->pending, .count = w->pending_count, .registered = atomic_load(&w->registered)};
    get_acked(w, &c);
    w->last_commit_ms = now;
    w->last_record_ms = now;
    if (w->pending_count)
        w->last_busy_ms = now;
    gw_fault_point("spool.commit");
    gw_status rc = spool_write(w->o.spool, &c, &err);
    w->state.longest_commit_ms = GW_MAX(w->state.longest_commit_ms, now_ms(w) - now);
    if (rc != GW_OK) {
        note_failure(w, &err);
        release_committed(w); /* of what does not fit one segment the first part may be there */
        return false;
    }
    gw_fault_point("spool.committed");
    note_success(w);
    release_committed(w);
    check_bound(w);
    return true;
}

static bool wants_record(const spool_writer *w)
{
    const spool_info *i = spool_get_info(w->o.spool);
    return atomic_load(&w->acked) > i->acked || (atomic_load(&w->registered) && !i->registered);
}

/* When the next commit is due; INT64_MAX when there is nothing for it. */
static int64_t commit_due_ms(const spool_writer *w)
{
    int64_t due = INT64_MAX;
    if (w->state.damaged)
        return due; /* a new spool is on its way */
    if (w->pending_count)
        due = w->last_commit_ms + w->o.sync_interval_ms;
    else if (wants_record(w))
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

static void obey_reset(spool_writer *w)
{
    int kind = atomic_load(&w->reset);
    if (kind == SPOOL_RESET_NONE || now_ms(w) < w->retry_at_ms)
        return;
    gw_error err;
    if (reset_spool(w, kind, &err) != GW_OK) {
        note_failure(w, &err);
        if (w->state.damaged && kind == SPOOL_RESET_RESTART)
            atomic_store(&w->reset, SPOOL_RESET_UNREADABLE);
        return;
    }
    note_success(w);
    set_acked(w, spool_get_info(w->o.spool)->acked, spool_get_info(w->o.spool)->acked_event_id);
    atomic_store(&w->registered, spool_get_info(w->o.spool)->registered);
    atomic_store(&w->reset, SPOOL_RESET_NONE);
    w->state.damaged = false;
    w->state.reset_done = true;
    release_committed(w);
    check_bound(w);
}

/* ---- the thread ---- */

static bool has_work(const spool_writer *w)
{
    for (unsigned i = 0; i < w->o.lane_count; i++)
        if (!index_ring_is_empty(&w->o.lanes[i].done))
            return true;
    return (w->news && !atomic_load(&w->outbox.on_its_way)) || atomic_load(&w->stopping);
}

static int64_t wake_up_ms(const spool_writer *w)
{
    int64_t due = GW_MIN(commit_due_ms(w), w->disk_look_ms);
    if (atomic_load(&w->reset) != SPOOL_RESET_NONE)
        due = GW_MIN(due, w->retry_at_ms);
    if (w->live) {
        int64_t left = GW_MS_PER_S - gw_clock_wall_ms(w->o.clock) % GW_MS_PER_S;
        due = GW_MIN(due, now_ms(w) + left);
    }
    return due;
}

static void wait_fd(const spool_writer *w, int64_t delay_ms)
{
    struct pollfd p = {.fd = w->event_fd, .events = POLLIN};
    if (poll(&p, 1, (int)GW_MIN(delay_ms, 60000)) > 0) {
        uint64_t count;
        (void)!read(w->event_fd, &count, sizeof(count));
    }
}

/* Busy, a look each sync interval spares the lanes their wake-ups; idle, the flag asks for one. */
static void wait_for_work(spool_writer *w)
{
    int64_t now = now_ms(w), due = wake_up_ms(w);
    if (now - w->last_busy_ms < IDLE_BEFORE_SLEEP_MS) {
        due = GW_MIN(due, now + w->o.sync_interval_ms);
        if (due > now && !atomic_load(&w->stopping))
            wait_fd(w, due - now);
        return;
    }
    atomic_store(&w->sleeping, true);
    if (!has_work(w)) {
        now = now_ms(w);
        due = wake_up_ms(w);
        if (due > now)
            wait_fd(w, due - now);
    }
    atomic_store(&w->sleeping, false);
}

void spool_writer_turn(spool_writer *w)
{
    collect(w);
    obey_reset(w);
    if (commit_due_ms(w) <= now_ms(w))
        (void)commit(w);
    roll_live(w);
    look_at_disk(w);
    report_news(w);
}

static void commit_last(spool_writer *w)
{
    collect(w);
    if ((w->pending_count || wants_record(w)) && !w->state.damaged)
        (void)commit(w);
}

static void *run(void *arg)
{
    spool_writer *w = arg;
    while (!atomic_load(&w->stopping)) {
        spool_writer_turn(w);
        wait_for_work(w);
    }
    commit_last(w);
    return NULL;
}

/* ---- outside ---- */

gw_status spool_writer_new(gw_loop *l, const spool_writer_options *o, spool_writer **ret,
                           gw_error *err)
{
    gw_auto(spool_writer) w = calloc(1, sizeof(*w));
    if (!w)
        return gw_fail(err, GW_ERR_NO_MEMORY, "no memory for the spool writer");
    w->o = *o;
    w->event_fd = -1;
    w->outbox.writer = w;
    w->outbox.message.deliver = deliver_report;
    w->outbox.message.destroy = drop_report;
    (void)pthread_mutex_init(&w->acked_lock, NULL);
    set_acked(w, spool_get_info(o->spool)->acked, spool_get_info(o->spool)->acked_event_id);
    w->pending = calloc(flight_table_count(o->table) + 1, sizeof(*w->pending));
    if (!w->pending)
        return gw_fail(err, GW_ERR_NO_MEMORY, "no memory for the spool writer");
    w->event_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (w->event_fd < 0)
        return gw_fail(err, GW_ERR_IO, "eventfd: %s", strerror(errno));
    gw_status rc = gw_mailbox_new(l, &w->mailbox, err);
    if (rc != GW_OK)
        return rc;
    check_bound(w);
    *ret = gw_steal(&w);
    return GW_OK;
}

void spool_writer_add(spool_writer *w, uint32_t slot)
{
    event_figures f;
    gw_str event = flight_slot_event(flight_table_slot(w->o.table, slot));
    add_pending(w, slot, event_read_figures(event, &f) ? &f : NULL);
}

bool spool_writer_commit_now(spool_writer *w)
{
    return w->pending_count == 0 || commit(w);
}

gw_status spool_writer_start(spool_writer *w, gw_error *err)
{
    int code = pthread_create(&w->thread, NULL, run, w);
    if (code != 0)
        return gw_fail(err, GW_ERR_IO, "cannot start the spool writer: %s", strerror(code));
    w->running = true;
    return GW_OK;
}

void spool_writer_free(spool_writer *w)
{
    if (!w)
        return;
    w->closed = true;
    atomic_store(&w->stopping, true);
    if (w->running) {
        uint64_t one = 1;
        (void)!write(w->event_fd, &one, sizeof(one));
        (void)pthread_join(w->thread, NULL);
    } else if (w->mailbox) { /* all of it is made */
        commit_last(w);
    }
    if (w->mailbox)
        gw_mailbox_free(w->mailbox);
    live_table_free(w->state.live);
    live_table_free(w->live);
    if (w->event_fd >= 0)
        (void)close(w->event_fd);
    (void)pthread_mutex_destroy(&w->acked_lock);
    free(w->pending);
    free(w);
}

void spool_writer_wake(spool_writer *w)
{
    uint64_t one = 1;
    if (atomic_load(&w->sleeping) && atomic_exchange(&w->sleeping, false))
        (void)!write(w->event_fd, &one, sizeof(one));
}

void spool_writer_acked(spool_writer *w, int64_t seq, const uint8_t event_id[SPOOL_EVENT_ID_SIZE])
{
    set_acked(w, seq, event_id);
    atomic_store(&w->registered, true);
    spool_writer_wake(w);
}

void spool_writer_reset(spool_writer *w, spool_reset kind)
{
    atomic_store(&w->reset, (int)kind);
    spool_writer_wake(w);
}
