/* Who waits where, what is asked for them, and how a take comes to its end. */
#include "grant_book_internal.h"
#include "grant_mutant.h"

void grant_book_note_busy(grant_entry *e)
{
    if (!gw_list_is_linked(&e->busy))
        gw_list_push_back(&e->book->busy, &e->busy);
}

/* ---- outcomes ---- */

/* From now on it is part of the hold that it is more for, and points nowhere. */
static void cut_more(grant_take *t, int64_t now_ms)
{
    grant_take *of = t->more_of;

    for (size_t i = 0; i < t->part_count; i++)
        grant_cut_more(&t->parts[i].entry->g, &t->hold, of->parts[i].day, now_ms);
    for (int d = 0; d < LEDGER_WINDOWS; d++)
        of->hold.of[d] += t->hold.of[d];
    grant_book_let_go(t);
}

void grant_book_cut(grant_take *t, int64_t now_ms)
{
    if (t->more_of) {
        cut_more(t, now_ms);
        return;
    }
    for (size_t i = 0; i < t->part_count; i++)
        t->parts[i].day = grant_cut(&t->parts[i].entry->g, &t->hold, now_ms);
}

void grant_book_let_go(grant_take *t)
{
    for (size_t i = 0; i < t->part_count; i++)
        t->parts[i].entry->takes--;
}

void grant_book_leave_queues(grant_take *t)
{
    for (size_t i = 0; i < t->part_count; i++) {
        grant_part *p = &t->parts[i];
        if (!gw_list_is_linked(&p->node))
            continue;
        gw_list_remove(&p->node);
        grant_book_look_again(p->entry);
    }
}

void grant_book_finish(grant_book *b, grant_take *t, grant_outcome outcome)
{
    t->outcome = outcome;
    grant_book_leave_queues(t);
    if (outcome != GRANT_CUT)
        grant_book_let_go(t);
    gw_list_push_back(&b->finished, &t->node);
}

/* Whoever is told may take, settle and forget at once. */
void grant_book_tell_finished(grant_book *b)
{
    if (b->finishing)
        return;
    b->finishing = true;
    for (gw_list *node; (node = gw_list_pop_front(&b->finished));) {
        grant_take *t = GW_CONTAINER_OF(node, grant_take, node);
        t->done(t->arg);
    }
    b->finishing = false;
}

void grant_book_refuse(grant_entry *e, grant_take *t)
{
    for (size_t i = 0; i < t->part_count; i++)
        if (t->parts[i].entry == e)
            t->short_level = t->parts[i].level;
    t->short_of = e->short_of;
    t->left = e->short_left;
    t->limit = t->short_of < LEDGER_WINDOWS ? e->g.limits.window.of[t->short_of] : 0;
    t->reset_ms = e->reset_ms;
    e->book->figures.refused[t->short_level][t->short_of]++;
}

/* Of what it lacks, the ended window: *ret. */
static bool has_ended(const grant_part *p, ledger_window *ret)
{
    const grant *g = &p->entry->g;
    const grant_take *t = p->take;
    int64_t day = t->more_of->parts[p - t->parts].day;

    for (int d = 0; d < LEDGER_WINDOWS; d++) {
        *ret = (ledger_window)d;
        if (t->hold.of[d] > 0 && g->limits.window.of[d] < LEDGER_UNLIMITED &&
            !ledger_same_window(*ret, day, g->day))
            return true;
    }
    return false;
}

bool grant_book_refuse_ended(grant_take *t)
{
    for (size_t i = 0; t->more_of && i < t->part_count; i++) {
        if (IS_MUTANT(MUTANT_MORE_AFTER_MIDNIGHT) || !has_ended(&t->parts[i], &t->short_of))
            continue;
        t->short_level = t->parts[i].level;
        t->left = 0;
        t->limit = t->parts[i].entry->g.limits.window.of[t->short_of];
        t->reset_ms = 0;
        return true;
    }
    return false;
}

/* ---- statements ---- */

static grant_waiting waiting_of(const grant_entry *e)
{
    grant_waiting w = {0};

    gw_list_each (node, &e->waiting) {
        const grant_take *t = GW_CONTAINER_OF(node, grant_part, node)->take;
        if (!w.head) {
            w.head = &t->hold;
            w.head_count = !t->more_of;
        }
        for (int d = 0; d < LEDGER_WINDOWS; d++)
            w.sum.of[d] = GW_MIN(w.sum.of[d] + t->hold.of[d], LEDGER_UNLIMITED);
        w.count += !t->more_of;
    }
    return w;
}

void grant_book_send(grant_entry *e, int64_t now_ms)
{
    grant_book *b = e->book;

    if (b->unanswered_since_ms < 0)
        b->unanswered_since_ms = now_ms;
    b->figures.statements++;
    b->o.ops->state(b->o.arg, &e->g.asked);
}

bool grant_book_open_row(grant_entry *e)
{
    const grant_book_options *o = &e->book->o;

    if (e->row != 0)
        return true;
    e->row = o->ops->row_open(o->arg, o->holder, e->g.subject);
    if (e->row != 0 && e->g.load != 0) /* it goes on after its goodbye: its events say the same */
        o->ops->row_load(o->arg, e->row, e->g.load);
    return e->row != 0;
}

/* Without a row on disk nothing is stated: nobody would close it after a kill. */
void grant_book_state(grant_entry *e, bool bye, int64_t now_ms)
{
    grant_book *b = e->book;
    grant_waiting w = bye ? (grant_waiting){0} : waiting_of(e);

    assert(!e->g.asking);
    if (!grant_book_open_row(e)) {
        e->retry_at_ms = now_ms + GRANT_AGAIN_MAX_MS;
        return;
    }
    e->closed_ms = -1;
    grant_state(&e->g, &w, bye, b->o.holder, ++b->seq, &b->o.timers, now_ms);
    grant_book_note_busy(e);
    grant_book_send(e, now_ms);
}

void grant_book_drop_row(grant_entry *e)
{
    if (e->row != 0)
        e->book->o.ops->row_close(e->book->o.arg, e->row);
    e->row = 0;
}

/* ---- those who wait ---- */

static void wait_at(grant_part *p)
{
    if (!gw_list_is_linked(&p->node))
        gw_list_push_back(&p->entry->waiting, &p->node);
    grant_book_note_busy(p->entry);
    grant_book_look_again(p->entry);
}

static bool fits(const grant_part *p, int64_t now_ms)
{
    const grant_take *t = p->take;

    return t->more_of ? grant_fits_more(&p->entry->g, &t->hold, now_ms)
                      : grant_fits(&p->entry->g, &t->hold, now_ms);
}

/* Nobody is before it at its ledger, and there is enough. */
static bool is_served(const grant_part *p, int64_t now_ms)
{
    const gw_list *first = gw_list_first(&p->entry->waiting);

    return (!first || first == &p->node) && fits(p, now_ms);
}

bool grant_book_is_served(const grant_take *t, int64_t now_ms)
{
    size_t count = IS_MUTANT(MUTANT_ONE_LEVEL_IS_ENOUGH) ? 1 : t->part_count;

    for (size_t i = 0; i < count; i++)
        if (!is_served(&t->parts[i], now_ms))
            return false;
    return true;
}

void grant_book_queue(grant_take *t, int64_t now_ms)
{
    for (size_t i = 0; i < t->part_count; i++)
        if (!is_served(&t->parts[i], now_ms))
            wait_at(&t->parts[i]);
}

/* From now on it waits where it is not served, and only there. */
static void wait_elsewhere(grant_part *here, int64_t now_ms)
{
    grant_take *t = here->take;

    gw_list_remove(&here->node);
    for (size_t i = 0; i < t->part_count; i++)
        if (&t->parts[i] != here && !is_served(&t->parts[i], now_ms))
            wait_at(&t->parts[i]);
}

/* Cuts for those who are served, in their order; asks for the first who must go on waiting here. */
static void pump(grant_entry *e, int64_t now_ms)
{
    for (gw_list *node; (node = gw_list_first(&e->waiting));) {
        grant_part *p = GW_CONTAINER_OF(node, grant_part, node);
        if (grant_book_refuse_ended(p->take)) {
            grant_book_finish(e->book, p->take, GRANT_REFUSED);
            continue;
        }
        if (!fits(p, now_ms))
            break;
        if (!grant_book_is_served(p->take, now_ms)) {
            wait_elsewhere(p, now_ms);
            continue;
        }
        grant_book_cut(p->take, now_ms);
        e->book->figures.cut_bought++;
        grant_book_finish(e->book, p->take, GRANT_CUT);
    }
    if (gw_list_is_empty(&e->waiting))
        return;
    grant_book_note_busy(e);
    if (!e->g.asking && now_ms >= e->retry_at_ms)
        grant_book_state(e, false, now_ms);
}

void grant_book_look_again(grant_entry *e)
{
    if (!gw_list_is_linked(&e->again))
        gw_list_push_back(&e->book->again, &e->again);
}

void grant_book_pump(grant_book *b, int64_t now_ms)
{
    for (gw_list *node; (node = gw_list_pop_front(&b->again));)
        pump(GW_CONTAINER_OF(node, grant_entry, again), now_ms);
}
