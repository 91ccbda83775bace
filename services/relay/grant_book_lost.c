/*
 * The store is away: limits of windows cannot be kept, so nobody is let in (or everybody, if so set). Rates and slots go on by
 * themselves: each relay that had a part of it has its share, at least one request. What is let in is counted, and stated when the store
 * is back: grant_settle_unheld().
 */
#include "grant_book_internal.h"

#define MINUTE_MS 60000

bool grant_book_is_lost(const grant_book *b, int64_t now_ms)
{
    return b->unanswered_since_ms >= 0 && now_ms - b->unanswered_since_ms >= b->o.timers.lease_ms;
}

static int64_t relays_of(const grant_entry *e)
{
    return GW_MAX(e->g.news.records, 1);
}

/* From an empty bucket: what was in it may have been sold. */
static void refill(grant_entry *e, int64_t now_ms)
{
    int64_t relays = relays_of(e), rate = e->g.limits.per_minute;

    if (!e->local) {
        e->local = true;
        e->local_level = 0;
        e->local_ms = now_ms;
    }
    int64_t passed_ms = GW_MIN(now_ms - e->local_ms, MINUTE_MS);
    e->local_level = GW_MIN(e->local_level + passed_ms * rate * GRANT_MICRO / (MINUTE_MS * relays),
                            GW_MAX(rate / relays, 1) * GRANT_MICRO);
    e->local_ms = now_ms;
}

static bool note_short(grant_entry *e, ledger_window w, int64_t reset_ms)
{
    e->short_of = w;
    e->short_left = 0;
    e->reset_ms = reset_ms;
    return false;
}

static bool has_room(grant_entry *e, int64_t now_ms)
{
    const ledger_limits *l = &e->g.limits;
    int64_t relays = relays_of(e);

    if (l->in_flight > 0 && e->g.open_count >= GW_MAX(l->in_flight / relays, 1))
        return note_short(e, LEDGER_SLOTS, e->book->o.timers.wait_ms);
    if (l->per_minute == 0)
        return true;
    refill(e, now_ms);
    if (e->local_level >= GRANT_MICRO)
        return true;
    return note_short(
        e, LEDGER_BUCKET,
        (GRANT_MICRO - e->local_level) * MINUTE_MS * relays / (l->per_minute * GRANT_MICRO) + 1);
}

/* The store's day now, as far as it is known. */
static int64_t day_of(const grant_book *b, int64_t now_ms)
{
    return b->wall_ms ? (b->wall_ms + now_ms - b->wall_at_ms) / LEDGER_DAY_MS : 0;
}

/* With a row, so that a relay that is killed meanwhile says it by its next start. */
static void cut_unheld(grant_take *t, int64_t now_ms)
{
    t->is_unheld = true;
    for (size_t i = 0; i < t->part_count; i++) {
        grant_entry *e = t->parts[i].entry;
        grant_cut_unheld(&e->g, now_ms);
        t->parts[i].day = day_of(e->book, now_ms);
        e->closed_ms = -1;
        (void)grant_book_open_row(e);
    }
}

grant_outcome grant_book_decide_when_lost(grant_book *b, grant_take *t, int64_t now_ms)
{
    for (size_t i = 0; i < t->part_count; i++)
        if (ledger_has_window(&t->parts[i].entry->g.limits) && !b->o.allow_when_lost)
            return GRANT_UNAVAILABLE;
    for (size_t i = 0; !t->more_of && i < t->part_count; i++)
        if (!has_room(t->parts[i].entry, now_ms)) {
            grant_book_refuse(t->parts[i].entry, t);
            return GRANT_REFUSED;
        }
    for (size_t i = 0; !t->more_of && i < t->part_count; i++)
        if (t->parts[i].entry->g.limits.per_minute > 0)
            t->parts[i].entry->local_level -= GRANT_MICRO;
    t->hold = (ledger_amounts){0};
    if (t->more_of)
        grant_book_cut(t, now_ms);
    else
        cut_unheld(t, now_ms);
    return GRANT_CUT;
}
