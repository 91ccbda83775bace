#include "grant_world_internal.h"

#include <stdio.h>

/* I4 */
void world_count_in_flight(world *w, const request *q, int by)
{
    for (int level = 0; level < LEDGER_LEVELS; level++) {
        int l = world_ledger_at(w, q->key, level);
        if (l < 0)
            continue;
        w->in_flight[l] += by;
        if (w->limits[l].in_flight > 0 && w->in_flight[l] > w->limits[l].in_flight &&
            w->profile != WORLD_MIX)
            VIOLATED(w, "%s: %lld in flight", world_subjects[l], (long long)w->in_flight[l]);
    }
}

void world_count_spend(world *w, int ledger, const ledger_amounts *real, int64_t day)
{
    for (int d = 0; d < LEDGER_WINDOWS; d++) {
        int64_t *sum = &w->real[ledger].of_day[world_window_index((ledger_window)d, day)].of[d];
        *sum += real->of[d];
        if (*sum > w->limit_max[ledger].of[d])
            /* NOLINTNEXTLINE(clang-analyzer-core.CallAndMessage): the names are constants */
            VIOLATED(w, "oversold: %s window %d: %lld of %lld", world_subjects[ledger], d,
                     (long long)*sum, (long long)w->limit_max[ledger].of[d]);
    }
}

void world_count_in_bucket(world *w, int ledger)
{
    double cap = (double)w->limits[ledger].per_minute;

    if (cap <= 0)
        return;
    double level = w->bucket[ledger] + cap * (double)(w->now - w->bucket_at[ledger]) / 60000;
    w->bucket[ledger] = GW_MIN(level, cap) - 1;
    w->bucket_at[ledger] = w->now;
    if (w->bucket[ledger] < -0.001 && w->profile != WORLD_REDIS && w->profile != WORLD_MIX)
        VIOLATED(w, "bucket of %s overdrawn: %f", world_subjects[ledger], w->bucket[ledger]);
}

/* I1: what was really used is never above what the store counts; but for rebuilt ledgers, which learn of it. */
void world_check_counted(world *w)
{
    for (int k = 0; k < LEDGERS && w->profile <= WORLD_PART; k++) {
        ledger_totals t;
        if (!world_has_ledger(w, k) || !ledger_memory_totals(w->store, world_subjects[k], &t) ||
            !t.ready || t.day != ledger_day_of(world_wall_ms(w)))
            continue;
        for (int d = 0; d < LEDGER_WINDOWS; d++) {
            int64_t real = w->real[k].of_day[world_window_index((ledger_window)d, t.day)].of[d];
            if (t.taken.of[d] < real)
                VIOLATED(w, "%s window %d: taken %lld, real %lld", world_subjects[k], d,
                         (long long)t.taken.of[d], (long long)real);
        }
    }
}

void world_check_at_rest(world *w)
{
    for (int i = 0; i < w->relay_count; i++) {
        const relay *r = &w->relays[i];
        if (!r->up || !grant_book_is_idle(r->book))
            VIOLATED(w, "relay %d has not come to rest", i);
        else if (r->spool.applied != r->spool.count)
            VIOLATED(w, "relay %d has events that usage has not", i);
    }
    for (int k = 0; k < LEDGERS; k++) {
        ledger_totals t;
        if (!world_has_ledger(w, k) || !ledger_memory_totals(w->store, world_subjects[k], &t) ||
            !t.ready)
            continue;
        ledger_amounts rows = world_usage_of(w, k, t.day, 0);
        for (int d = 0; d < LEDGER_WINDOWS; d++) {
            int64_t real = w->real[k].of_day[world_window_index((ledger_window)d, t.day)].of[d];
            if (t.taken.of[d] < (w->gone ? real : rows.of[d]))
                VIOLATED(w, "%s window %d: taken %lld, rows %lld, real %lld", world_subjects[k], d,
                         (long long)t.taken.of[d], (long long)rows.of[d], (long long)real);
            if (!w->gone && !w->late && t.taken.of[d] != rows.of[d])
                VIOLATED(w, "%s window %d: taken %lld, rows %lld: a leak", world_subjects[k], d,
                         (long long)t.taken.of[d], (long long)rows.of[d]);
            if (!w->gone && rows.of[d] < real)
                VIOLATED(w, "%s window %d: rows %lld, real %lld: lost", world_subjects[k], d,
                         (long long)rows.of[d], (long long)real);
            if (!w->gone && !w->interrupted && rows.of[d] != real)
                VIOLATED(w, "%s window %d: rows %lld, real %lld", world_subjects[k], d,
                         (long long)rows.of[d], (long long)real);
        }
        if (!w->gone && (t.records != 0 || t.bucket_lent != 0 || t.slots != 0))
            VIOLATED(w, "%s: %lld records, %lld bucket tokens, %lld slots are left",
                     world_subjects[k], (long long)t.records, (long long)t.bucket_lent,
                     (long long)t.slots);
        if (t.all_records > LEDGER_RECORDS_MAX)
            VIOLATED(w, "too many records");
    }
}
