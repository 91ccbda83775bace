#include "grant_book_internal.h"

grant_book *grant_book_new(const grant_book_options *o)
{
    grant_book *b = calloc(1, sizeof(*b));

    if (!b)
        return NULL;
    b->o = *o;
    gw_list_init(&b->entries);
    gw_list_init(&b->busy);
    gw_list_init(&b->again);
    gw_list_init(&b->finished);
    gw_list_init(&b->closings);
    b->unanswered_since_ms = -1;
    b->by_subject = gw_map_new(NULL);
    if (!b->by_subject) {
        free(b);
        return NULL;
    }
    return b;
}

void grant_book_free_entry(grant_entry *e)
{
    gw_list_remove(&e->all);
    gw_list_remove(&e->busy);
    gw_list_remove(&e->again);
    free(e);
}

void grant_book_free(grant_book *b)
{
    if (!b)
        return;
    gw_list_each_safe (node, &b->entries)
        grant_book_free_entry(GW_CONTAINER_OF(node, grant_entry, all));
    grant_book_free_closings(b);
    gw_map_free(b->by_subject);
    free(b);
}

static grant_entry *entry_of(grant_book *b, const ledger_account *a, int64_t now_ms)
{
    grant_entry *e = gw_map_get(b->by_subject, gw_str_of(a->subject));

    if (e)
        return e;
    e = calloc(1, sizeof(*e));
    if (!e)
        return NULL;
    if (!gw_map_put(b->by_subject, gw_str_of(a->subject), e)) {
        free(e);
        return NULL;
    }
    e->book = b;
    e->closed_ms = -1;
    grant_init(&e->g, a->subject, &a->limits, now_ms);
    gw_list_init(&e->waiting);
    gw_list_init(&e->busy);
    gw_list_init(&e->again);
    gw_list_push_back(&b->entries, &e->all);
    return e;
}

/* ---- requests ---- */

static bool is_refused_already(const grant_entry *e, const grant_take *t, int64_t now_ms)
{
    return now_ms < e->refused_until_ms && grant_need_of(t, e->short_of) >= e->short_need;
}

static bool join(grant_book *b, const ledger_account *accounts, size_t count, grant_take *t,
                 int64_t now_ms)
{
    t->part_count = 0;
    t->more_of = NULL;
    t->is_unheld = false;
    t->since_ms = now_ms;
    gw_list_init(&t->node);
    for (size_t i = 0; i < count; i++) {
        grant_entry *e = entry_of(b, &accounts[i], now_ms);
        if (!e)
            return false;
        grant_part *p = &t->parts[t->part_count++];
        *p = (grant_part){.level = accounts[i].level, .take = t, .entry = e};
        gw_list_init(&p->node);
        e->takes++;
        if (accounts[i].limits.generation > e->g.limits.generation)
            grant_set_limits(&e->g, &accounts[i].limits);
        e->g.arrivals++;
        e->g.used_ms = now_ms;
    }
    return true;
}

static bool is_refused_somewhere(grant_take *t, int64_t now_ms)
{
    for (size_t i = 0; i < t->part_count; i++) {
        grant_entry *e = t->parts[i].entry;
        e->local = false;
        if (is_refused_already(e, t, now_ms)) {
            grant_book_refuse(e, t);
            return true;
        }
    }
    return false;
}

static grant_outcome begin_wait(grant_book *b, grant_take *t, int64_t now_ms)
{
    grant_book_queue(t, now_ms);
    grant_book_pump(b, now_ms);
    if (t->outcome != GRANT_WAITS)
        gw_list_remove(&t->node); /* the caller is told by what this returns */
    return t->outcome;
}

static grant_outcome decide(grant_book *b, grant_take *t, int64_t now_ms)
{
    if (grant_book_is_served(t, now_ms)) {
        grant_book_cut(t, now_ms);
        b->figures.cut_from_grant++;
        return GRANT_CUT;
    }
    if (grant_book_is_lost(b, now_ms))
        return grant_book_decide_when_lost(b, t, now_ms);
    return is_refused_somewhere(t, now_ms) ? GRANT_REFUSED : GRANT_WAITS;
}

grant_outcome grant_book_take(grant_book *b, const ledger_account *accounts, size_t count,
                              grant_take *t, int64_t now_ms)
{
    if (join(b, accounts, count, t, now_ms)) {
        t->outcome = decide(b, t, now_ms);
        if (t->outcome == GRANT_WAITS)
            return begin_wait(b, t, now_ms);
    } else {
        t->outcome = GRANT_UNAVAILABLE;
    }
    if (t->outcome != GRANT_CUT)
        grant_book_let_go(t);
    return t->outcome;
}

grant_outcome grant_book_extend(grant_book *b, grant_take *t, grant_take *more, int64_t now_ms)
{
    more->more_of = t;
    more->is_unheld = false;
    more->since_ms = now_ms;
    more->part_count = t->part_count;
    gw_list_init(&more->node);
    for (size_t i = 0; i < t->part_count; i++) {
        grant_part *p = &more->parts[i];
        *p = (grant_part){.level = t->parts[i].level, .take = more, .entry = t->parts[i].entry};
        gw_list_init(&p->node);
        p->entry->takes++;
    }
    more->outcome = grant_book_refuse_ended(more) ? GRANT_REFUSED : decide(b, more, now_ms);
    if (more->outcome == GRANT_WAITS)
        return begin_wait(b, more, now_ms);
    if (more->outcome != GRANT_CUT)
        grant_book_let_go(more);
    return more->outcome;
}

void grant_book_forget(grant_book *b, grant_take *t)
{
    (void)b;
    grant_book_leave_queues(t);
    grant_book_let_go(t);
}

void grant_book_settle(grant_book *b, grant_take *t, const ledger_amounts *real, int64_t now_ms)
{
    for (size_t i = 0; i < t->part_count; i++) {
        grant_part *p = &t->parts[i];
        (t->is_unheld ? grant_settle_unheld : grant_settle)(&p->entry->g, &t->hold, p->day, real,
                                                            now_ms);
        if (gw_list_is_empty(&p->entry->waiting))
            continue;
        if (p->entry->short_of ==
            LEDGER_SLOTS) /* here is one: what else is lacking may be had now */
            p->entry->retry_at_ms = GW_MIN(p->entry->retry_at_ms, now_ms);
        grant_book_look_again(p->entry);
    }
    grant_book_let_go(t);
    grant_book_pump(b, now_ms);
    grant_book_tell_finished(b);
}

grant_mark grant_book_mark(const grant_take *t, int64_t now_ms)
{
    grant_mark m = {0};

    for (size_t i = 0; i < t->part_count; i++) {
        const grant_part *p = &t->parts[i];
        m.load[p->level] = p->entry->g.load;
        m.row[p->level] = p->entry->row;
        if (m.wall_ms == 0 && p->entry->g.news.now_ms)
            m.wall_ms = grant_wall_ms(&p->entry->g, now_ms);
    }
    return m;
}

static void tell_left(const grant_entry *e, int64_t now_ms, grant_left *ret)
{
    const grant *g = &e->g;

    *ret = (grant_left){.limits = g->limits, .wall_ms = grant_wall_ms(g, now_ms)};
    for (int d = 0; d < LEDGER_WINDOWS; d++)
        ret->left.of[d] =
            GW_MAX(g->news.left.of[d] + GW_MAX(grant_free_of(g, (ledger_window)d), 0), 0);
    ret->bucket_left =
        GW_MAX(g->news.bucket_left / GRANT_MICRO + GW_MAX(grant_bucket_free(g), 0), 0);
    if (e->local) /* the store is away: what was in its bucket is not ours */
        ret->bucket_left = e->local_level / GRANT_MICRO;
}

size_t grant_book_left(const grant_take *t, int64_t now_ms, grant_left ret[LEDGER_LEVELS])
{
    size_t count = 0;

    for (size_t i = 0; i < t->part_count; i++) {
        const grant_entry *e = t->parts[i].entry;
        if (e->g.news.now_ms > 0)
            tell_left(e, now_ms, &ret[count++]);
    }
    return count;
}

/* Of a position that is closed: as its last answer said, and what has come back since by the clock alone. */
static void tell_closed(const grant_entry *e, int64_t now_ms, grant_left *ret)
{
    const ledger_reply *news = &e->g.news;
    const ledger_limits *l = &e->g.limits;
    int64_t passed_ms = now_ms - e->closed_ms;
    int64_t refilled = news->bucket_left + l->per_minute * passed_ms * GRANT_MICRO / 60000;

    *ret = (grant_left){.limits = *l, .wall_ms = news->now_ms + passed_ms};
    for (int d = 0; d < LEDGER_WINDOWS; d++)
        ret->left.of[d] =
            ledger_same_window((ledger_window)d, news->day, ret->wall_ms / LEDGER_DAY_MS)
                ? GW_MAX(news->left.of[d], 0)
                : l->window.of[d];
    ret->bucket_left = GW_MIN(GW_MAX(refilled / GRANT_MICRO, 0), l->per_minute);
}

size_t grant_book_known(const grant_book *b, const ledger_account *accounts, size_t count,
                        int64_t now_ms, grant_left ret[LEDGER_LEVELS])
{
    for (size_t i = 0; i < count; i++) {
        const grant_entry *e = gw_map_get(b->by_subject, gw_str_of(accounts[i].subject));
        if (!e || e->g.news.now_ms == 0)
            ret[i] = (grant_left){.limits = accounts[i].limits};
        else if (e->closed_ms >= 0 && !e->local)
            tell_closed(e, now_ms, &ret[i]);
        else
            tell_left(e, now_ms, &ret[i]);
    }
    return count;
}

void grant_book_unstated(const grant_book *b, const ledger_account *accounts, size_t count,
                         ledger_unstated ret[LEDGER_LEVELS])
{
    for (size_t i = 0; i < count; i++) {
        const grant_entry *e = gw_map_get(b->by_subject, gw_str_of(accounts[i].subject));
        ret[i] = (ledger_unstated){0};
        if (!e)
            continue;
        ret[i].load = e->g.load;
        ret[i].day = e->g.day;
        ret[i].cuts = e->g.cuts - e->g.cuts_stated;
        for (int d = 0; d < LEDGER_WINDOWS; d++)
            ret[i].spent.of[d] = e->g.spent.of[d] - e->g.stated.of[d];
    }
}

bool grant_book_is_idle(const grant_book *b)
{
    if (!gw_list_is_empty(&b->closings))
        return false;
    gw_list_each (node, &b->entries)
        if (GW_CONTAINER_OF(node, grant_entry, all)->closed_ms < 0)
            return false;
    return true;
}

const grant_book_figures *grant_book_get_figures(const grant_book *b)
{
    return &b->figures;
}

void grant_book_stand(const grant_book *b, grant_book_standing *ret)
{
    *ret = (grant_book_standing){0};
    gw_list_each (node, &b->closings)
        ret->rows++;
    gw_list_each (node, &b->entries) {
        const grant_entry *e = GW_CONTAINER_OF(node, grant_entry, all);
        ret->positions += e->closed_ms < 0;
        ret->rows += e->row != 0;
        ret->open_nano_usd += e->g.open.of[LEDGER_COST_MONTH];
        ret->free_nano_usd += GW_MAX(grant_free_of(&e->g, LEDGER_COST_MONTH), 0);
    }
}
