#include "spool_writer_internal.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>

#define IDLE_BEFORE_SLEEP_MS 100

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

/* A second's table goes out when the second is over. One that finds the last still here goes on counting, so that none is lost. */
static void roll_live(spool_writer *w)
{
    if (!w->live || w->state.live ||
        live_table_second(w->live) == gw_clock_wall_ms(w->o.clock) / GW_MS_PER_S)
        return;
    w->state.live = gw_steal(&w->live);
    w->news = true;
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
    int64_t due = GW_MIN(spool_writer_commit_due_ms(w), w->disk_look_ms);
    if (atomic_load(&w->reset) != SPOOL_RESET_NONE)
        due = GW_MIN(due, w->retry_at_ms);
    if (w->live) {
        int64_t left = GW_MS_PER_S - gw_clock_wall_ms(w->o.clock) % GW_MS_PER_S;
        due = GW_MIN(due, spool_writer_now_ms(w) + left);
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
    int64_t now = spool_writer_now_ms(w), due = wake_up_ms(w);
    if (now - w->last_busy_ms < IDLE_BEFORE_SLEEP_MS) {
        due = GW_MIN(due, now + w->o.sync_interval_ms);
        if (due > now && !atomic_load(&w->stopping))
            wait_fd(w, due - now);
        return;
    }
    atomic_store(&w->sleeping, true);
    if (!has_work(w)) {
        now = spool_writer_now_ms(w);
        due = wake_up_ms(w);
        if (due > now)
            wait_fd(w, due - now);
    }
    atomic_store(&w->sleeping, false);
}

void spool_writer_turn(spool_writer *w)
{
    spool_writer_collect(w);
    spool_writer_obey_reset(w);
    if (spool_writer_commit_due_ms(w) <= spool_writer_now_ms(w))
        (void)spool_writer_commit(w);
    roll_live(w);
    spool_writer_look_at_disk(w);
    report_news(w);
}

static void commit_last(spool_writer *w)
{
    spool_writer_collect(w);
    if ((w->pending_count || spool_writer_wants_record(w)) && !w->state.damaged)
        (void)spool_writer_commit(w);
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
    spool_writer_set_acked(w, spool_get_info(o->spool)->acked,
                           spool_get_info(o->spool)->acked_event_id);
    w->pending = calloc(flight_table_count(o->table) + 1, sizeof(*w->pending));
    if (!w->pending)
        return gw_fail(err, GW_ERR_NO_MEMORY, "no memory for the spool writer");
    w->event_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (w->event_fd < 0)
        return gw_fail(err, GW_ERR_IO, "eventfd: %s", strerror(errno));
    gw_status rc = gw_mailbox_new(l, &w->mailbox, err);
    if (rc != GW_OK)
        return rc;
    spool_writer_check_bound(w);
    *ret = gw_steal(&w);
    return GW_OK;
}

void spool_writer_add(spool_writer *w, uint32_t slot)
{
    event_figures f;
    gw_str event = flight_slot_event(flight_table_slot(w->o.table, slot));
    spool_writer_add_pending(w, slot, event_read_figures(event, &f) ? &f : NULL);
}

bool spool_writer_commit_now(spool_writer *w)
{
    return w->pending_count == 0 || spool_writer_commit(w);
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
    spool_writer_set_acked(w, seq, event_id);
    atomic_store(&w->registered, true);
    spool_writer_wake(w);
}

void spool_writer_reset(spool_writer *w, spool_reset kind)
{
    atomic_store(&w->reset, (int)kind);
    spool_writer_wake(w);
}
