/* What is due when: repetitions, returns, goodbyes, and patience that ends. */
#include "grant_book_internal.h"

#define REMEMBERED_MS 10000 /* a closed position: a lagging replica may bring it back */

/* One that waits and sees the store go is decided as one that comes then. */
static void give_up_waiting(grant_entry *e, int64_t now_ms)
{
    for (gw_list *node; (node = gw_list_first(&e->waiting));) {
        grant_take *t = GW_CONTAINER_OF(node, grant_part, node)->take;
        grant_book_finish(e->book, t, grant_book_decide_when_lost(e->book, t, now_ms));
    }
}

/* Quarantine and build-up are over by then, or usage is away. */
static void give_up_old(grant_entry *e, int64_t now_ms)
{
    const ledger_timers *t = &e->book->o.timers;

    for (gw_list *node; (node = gw_list_first(&e->waiting));) {
        grant_take *oldest = GW_CONTAINER_OF(node, grant_part, node)->take;
        if (now_ms - oldest->since_ms < t->quarantine_ms + 5 * t->lease_ms)
            break;
        grant_book_finish(e->book, oldest, GRANT_UNAVAILABLE);
    }
}

static void forget_entry(grant_entry *e)
{
    (void)gw_map_remove(e->book->by_subject, gw_str_of(e->g.subject));
    grant_book_free_entry(e);
}

static void sweep_entry(grant_entry *e, int64_t now_ms)
{
    grant *g = &e->g;
    int64_t sweep_ms = e->book->o.timers.sweep_ms;
    bool idle = g->open_count == 0 && (e->book->draining || now_ms - g->used_ms >= sweep_ms);

    grant_note_sweep(g);
    if (g->asking || !gw_list_is_empty(&e->waiting))
        return;
    if (e->closed_ms >= 0) {
        if (e->takes == 0 && now_ms - e->closed_ms >= REMEMBERED_MS)
            forget_entry(e);
    } else if (idle && e->row == 0 && !grant_is_dirty(g)) {
        if (e->takes == 0) /* nothing was ever stated: another ledger refused */
            forget_entry(e);
    } else if (idle) {
        grant_book_state(e, true, now_ms);
    } else if (grant_is_dirty(g) && now_ms - g->stated_ms >= sweep_ms) {
        grant_book_state(e, false, now_ms);
    }
}

static void sweep(grant_book *b, int64_t now_ms)
{
    if (now_ms < b->sweep_at_ms)
        return;
    b->sweep_at_ms = now_ms + b->o.timers.sweep_ms;
    gw_list_each_safe (node, &b->entries)
        sweep_entry(GW_CONTAINER_OF(node, grant_entry, all), now_ms);
}

static void advance_entry(grant_entry *e, int64_t now_ms)
{
    if (e->g.asking && now_ms - e->g.sent_ms >= e->book->o.timers.retry_ms) {
        e->g.sent_ms = now_ms;
        grant_book_send(e, now_ms);
    }
    if (e->give_back && !e->g.asking) {
        e->give_back = false;
        if (gw_list_is_empty(&e->waiting))
            grant_book_state(e, false, now_ms);
    }
    if (grant_book_is_lost(e->book, now_ms))
        give_up_waiting(e, now_ms);
    give_up_old(e, now_ms);
    grant_book_look_again(e);
}

static int64_t due_of(grant_entry *e, int64_t now_ms)
{
    if (e->g.asking)
        return e->g.sent_ms + e->book->o.timers.retry_ms;
    if (!gw_list_is_empty(&e->waiting))
        return GW_MAX(e->retry_at_ms, now_ms + 1);
    gw_list_remove(&e->busy);
    return INT64_MAX;
}

int64_t grant_book_advance(grant_book *b, int64_t now_ms)
{
    int64_t due = grant_book_advance_closings(b, now_ms);

    sweep(b, now_ms);
    gw_list_each (node, &b->busy)
        advance_entry(GW_CONTAINER_OF(node, grant_entry, busy), now_ms);
    grant_book_pump(b, now_ms);
    gw_list_each_safe (node, &b->busy)
        due = GW_MIN(due, due_of(GW_CONTAINER_OF(node, grant_entry, busy), now_ms));
    grant_book_tell_finished(b);
    if (!gw_list_is_empty(&b->entries))
        due = GW_MIN(due, b->sweep_at_ms);
    return due;
}

void grant_book_drain(grant_book *b)
{
    b->draining = true;
    b->sweep_at_ms = INT64_MIN; /* at once */
}
