#include "fold_runner.h"

#include "fold_store.h"
#include "usage_metrics.h"

#include "core/map.h"

#include <stdlib.h>

#define SOON_MS       100
#define PASS_GAP_MS   500
#define SWEEP_MS      30000
#define DAYS_A_JOB    32
#define WAITING_MAX   20000 /* days; what does not fit is found by the sweep */
#define DIRTY_A_SWEEP 2000
#define LARGE_BYTES   (4u << 20) /* a quarter of what MongoDB takes as one document */
/* Between tries of a day that cannot be folded, twice as long each time: a try reads all of its hours, which may be large. */
#define FAILED_PAUSE_MIN_MS SWEEP_MS
#define FAILED_PAUSE_MAX_MS 600000
#define FAILED_MAX          1000 /* days remembered as such */

typedef struct fold_day_job {
    char id[ROLLUP_ID_SIZE];
    bool tried;
    gw_status rc;
    gw_error error;
    fold_outcome outcome;
} fold_day_job;

/* A day that could not be folded, though the store was there. */
typedef struct failed_day {
    int64_t again_ms, pause_ms;
} failed_day;

struct fold_runner {
    gw_loop *loop;
    doc_pool *pool;
    gw_log *log;
    gw_metrics_shard *metrics;
    gw_map *waiting; /* ids of days; the value says nothing */
    gw_map *failed; /* id of a day -> failed_day */
    gw_timer soon;
    gw_timer sweep;
    int64_t next_pass_ms;
    uint32_t largest_bytes, told_bytes; /* of a document of sums, since the start */
    bool sweep_due;
    bool stopped;
    bool busy;
    /* the job in flight */
    doc_job job;
    int64_t now_ms;
    fold_day_job days[DAYS_A_JOB];
    size_t day_count;
    bool sweeping;
    touched_days found;
};

static void start(fold_runner *r);

static void wait_for(fold_runner *r, gw_str day)
{
    const failed_day *f = (const failed_day *)gw_map_get(r->failed, day);
    if (f && gw_loop_now_ms(r->loop) < f->again_ms)
        return;
    if (gw_map_count(r->waiting) >= WAITING_MAX || !gw_map_put(r->waiting, day, r))
        return;
    if (r->stopped || r->busy || gw_timer_is_armed(&r->soon))
        return;
    int64_t gap_ms = r->next_pass_ms - gw_loop_now_ms(r->loop);
    gw_timer_set(r->loop, &r->soon, GW_MAX(gap_ms, SOON_MS));
}

void fold_runner_touch(fold_runner *r, const touched_days *days)
{
    for (size_t i = 0; i < days->count; i++)
        wait_for(r, gw_str_of(days->ids[i]));
}

/* ---- on a worker ---- */

/* One day's failure is its own: the others are folded. */
static gw_status run_job(doc_job *j, doc_store *store, gw_error *err)
{
    fold_runner *r = GW_CONTAINER_OF(j, fold_runner, job);
    spool_db s = {.store = store, .now_ms = r->now_ms};
    for (size_t i = 0; i < r->day_count; i++) {
        fold_day_job *d = &r->days[i];
        d->tried = true;
        d->rc = fold_store_day(&s, d->id, &d->outcome, &d->error);
        if (d->rc == GW_ERR_UNAVAILABLE) {
            *err = d->error;
            return d->rc;
        }
    }
    return r->sweeping ? fold_store_find_dirty(&s, DIRTY_A_SWEEP, &r->found, err) : GW_OK;
}

/* ---- on the loop ---- */

/* Told again when it has doubled. */
static void note_size(fold_runner *r, const fold_day_job *d)
{
    uint32_t bytes = d->outcome.largest_bytes;
    if (bytes <= r->largest_bytes)
        return;
    if (bytes >= LARGE_BYTES && bytes / 2 >= r->told_bytes) {
        r->told_bytes = bytes;
        gw_log_warn(r->log, "sums_large", gw_kv("day", (const char *)d->id),
                    gw_kv("bytes", (int64_t)bytes));
    }
    r->largest_bytes = bytes;
    gw_metric_set(r->metrics, M_usage_largest_sums_bytes, bytes, NULL, 0);
}

/* Its hours stay dirty, so reports go on reading them. */
static void note_failed(fold_runner *r, const fold_day_job *d)
{
    gw_str id = gw_str_of(d->id);
    failed_day *f = (failed_day *)gw_map_get(r->failed, id);
    gw_log_error(r->log, "fold_failed", gw_kv("day", (const char *)d->id), gw_kv_error(&d->error));
    if (!f && gw_map_count(r->failed) < FAILED_MAX) {
        f = (failed_day *)calloc(1, sizeof(*f));
        if (f && !gw_map_put(r->failed, id, f)) {
            free(f);
            return;
        }
    }
    if (!f)
        return;
    f->pause_ms = GW_MIN(GW_MAX(2 * f->pause_ms, FAILED_PAUSE_MIN_MS), FAILED_PAUSE_MAX_MS);
    f->again_ms = gw_loop_now_ms(r->loop) + f->pause_ms;
}

static void note_day(fold_runner *r, const fold_day_job *d)
{
    note_size(r, d);
    gw_metric_count(r->metrics, M_usage_folds_total,
                    d->tried && d->rc == GW_OK ? GW_STR("done") : GW_STR("failed"));
    if (!d->tried || d->rc == GW_ERR_UNAVAILABLE) /* the sweep comes back to it */
        return;
    if (d->rc != GW_OK) {
        note_failed(r, d);
        return;
    }
    (void)gw_map_remove(r->failed, gw_str_of(d->id));
    /* A day that another replica folded meanwhile may lack what we have added since. */
    if (!d->outcome.folded)
        wait_for(r, gw_str_of(d->id));
}

/* Those that are clean: another replica folded them, or their hours have expired. */
static void forget_clean_days(fold_runner *r)
{
    gw_map *dirty = gw_map_new(free);
    for (size_t i = 0; dirty && i < r->found.count; i++) {
        gw_str id = gw_str_of(r->found.ids[i]);
        void *f = gw_map_take(r->failed, id);
        if (f && !gw_map_put(dirty, id, f))
            free(f);
    }
    if (!dirty)
        return;
    gw_map_free(r->failed);
    r->failed = dirty;
}

static void job_done(doc_job *j, gw_status rc, const gw_error *err)
{
    fold_runner *r = GW_CONTAINER_OF(j, fold_runner, job);
    r->busy = false;
    if (rc != GW_OK && rc != GW_ERR_UNAVAILABLE)
        gw_log_warn(r->log, "fold_sweep_failed", gw_kv_error(err));
    for (size_t i = 0; i < r->day_count; i++)
        note_day(r, &r->days[i]);
    if (r->sweeping && rc == GW_OK && r->found.count < DIRTY_A_SWEEP) /* it saw all there are */
        forget_clean_days(r);
    gw_metric_set(r->metrics, M_usage_days_unfolded, (int64_t)gw_map_count(r->failed), NULL, 0);
    r->day_count = 0;
    r->sweeping = false;
    fold_runner_touch(r, &r->found);
    touched_days_fini(&r->found);
    if (r->stopped)
        return;
    if (gw_map_count(r->waiting) > 0) {
        int64_t gap_ms = r->next_pass_ms - gw_loop_now_ms(r->loop);
        gw_timer_set(r->loop, &r->soon, GW_MAX(gap_ms, 0));
    } else if (r->sweep_due) {
        start(r);
    }
}

static void take_days(fold_runner *r)
{
    while (r->day_count < DAYS_A_JOB) {
        size_t at = 0;
        gw_str day;
        void *value;
        if (!gw_map_next(r->waiting, &at, &day, &value))
            break;
        fold_day_job *d = &r->days[r->day_count++];
        *d = (fold_day_job){0};
        memcpy(d->id, day.ptr, GW_MIN(day.len, sizeof(d->id) - 1));
        (void)gw_map_remove(r->waiting, gw_str_of(d->id));
    }
}

static void start(fold_runner *r)
{
    if (r->busy || r->stopped)
        return;
    take_days(r);
    r->sweeping = r->sweep_due;
    r->sweep_due = false;
    if (r->day_count == 0 && !r->sweeping)
        return;
    /* A pass that needed several jobs goes on at once; the gap counts from its end. */
    if (gw_map_count(r->waiting) == 0)
        r->next_pass_ms = gw_loop_now_ms(r->loop) + PASS_GAP_MS;
    r->busy = true;
    r->now_ms = gw_clock_wall_ms(gw_loop_clock(r->loop));
    doc_pool_submit(r->pool, &r->job);
}

static void on_soon(void *arg)
{
    start((fold_runner *)arg);
}

static void on_sweep(void *arg)
{
    fold_runner *r = (fold_runner *)arg;
    gw_timer_set(r->loop, &r->sweep, SWEEP_MS);
    r->sweep_due = true;
    start(r);
}

gw_status fold_runner_new(gw_loop *l, doc_pool *pool, gw_log *log, gw_metrics_shard *metrics,
                          fold_runner **ret, gw_error *err)
{
    fold_runner *r = (fold_runner *)calloc(1, sizeof(*r));
    if (r) {
        r->waiting = gw_map_new(NULL);
        r->failed = gw_map_new(free);
    }
    if (!r || !r->waiting || !r->failed) {
        if (r) {
            gw_map_free(r->waiting);
            gw_map_free(r->failed);
        }
        free(r);
        return gw_fail(err, GW_ERR_NO_MEMORY, "no memory for the folds");
    }
    r->loop = l;
    r->pool = pool;
    r->log = log;
    r->metrics = metrics;
    r->job.run = run_job;
    r->job.done = job_done;
    gw_timer_init(&r->soon, on_soon, r);
    gw_timer_init(&r->sweep, on_sweep, r);
    gw_timer_set(l, &r->sweep, SOON_MS);
    *ret = r;
    return GW_OK;
}

void fold_runner_stop(fold_runner *r)
{
    r->stopped = true;
    gw_timer_cancel(r->loop, &r->soon);
    gw_timer_cancel(r->loop, &r->sweep);
}

void fold_runner_free(fold_runner *r)
{
    if (!r)
        return;
    fold_runner_stop(r);
    gw_map_free(r->waiting);
    gw_map_free(r->failed);
    touched_days_fini(&r->found);
    free(r);
}
