#include "grant_book.h"

#include "core/map.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#define REFUSED_MS                                                                                 \
    100 /* a refusal is remembered: a flood on an empty budget costs ten statements a second */
#define AGAIN_MIN_MS  20
#define AGAIN_MAX_MS  300
#define REMEMBERED_MS 10000 /* a closed position: a lagging replica may bring it back */
#define MICRO         INT64_C(1000000)

typedef struct grant_entry {
    grant_book *book;
    grant g;
    gw_list all; /* of book->entries */
    gw_list busy; /* of book->busy: something to do before the next sweep */
    gw_list waiting; /* takes */
    int64_t row; /* 0: none */
    int64_t retry_at_ms;
    bool loading, give_back;
    int64_t closed_ms; /* -1: not closed */
    /* the last refusal */
    int64_t refused_until_ms;
    ledger_window short_of;
    int64_t short_need, short_left, reset_ms;
    /* the bucket while the store is away */
    bool local;
    int64_t local_level, local_ms;
} grant_entry;

/* A dead relay's position on its way to be closed. */
typedef struct closing {
    gw_list node;
    int64_t row;
    ledger_statement st;
    int64_t sent_ms;
} closing;

struct grant_book {
    gw_list closings;
    grant_book_options o;
    gw_map *by_subject;
    gw_list entries, busy;
    gw_list finished; /* takes whose done() is due */
    bool finishing, draining;
    int64_t seq;
    int64_t sweep_at_ms;
    int64_t unanswered_since_ms; /* -1: everything stated is answered, or nothing is out */
    int64_t born[LEDGER_SHARDS]; /* 0 = not seen */
    grant_book_figures figures;
};

grant_book *grant_book_new(const grant_book_options *o)
{
    grant_book *b = calloc(1, sizeof(*b));

    if (!b)
        return NULL;
    b->o = *o;
    gw_list_init(&b->entries);
    gw_list_init(&b->busy);
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

static void free_entry(grant_entry *e)
{
    gw_list_remove(&e->all);
    gw_list_remove(&e->busy);
    free(e);
}

void grant_book_free(grant_book *b)
{
    if (!b)
        return;
    gw_list_each_safe (node, &b->entries)
        free_entry(GW_CONTAINER_OF(node, grant_entry, all));
    for (gw_list *node; (node = gw_list_pop_front(&b->closings));)
        free(GW_CONTAINER_OF(node, closing, node));
    gw_map_free(b->by_subject);
    free(b);
}

static grant_entry *entry_of(grant_book *b, const char *subject, const ledger_limits *limits,
                             int64_t now_ms)
{
    grant_entry *e = gw_map_get(b->by_subject, gw_str_of(subject));

    if (e)
        return e;
    e = calloc(1, sizeof(*e));
    if (!e)
        return NULL;
    if (!gw_map_put(b->by_subject, gw_str_of(subject), e)) {
        free(e);
        return NULL;
    }
    e->book = b;
    e->closed_ms = -1;
    grant_init(&e->g, subject, limits, now_ms);
    gw_list_init(&e->waiting);
    gw_list_init(&e->busy);
    gw_list_push_back(&b->entries, &e->all);
    return e;
}

static void note_busy(grant_entry *e)
{
    if (!gw_list_is_linked(&e->busy))
        gw_list_push_back(&e->book->busy, &e->busy);
}

/* ---- outcomes ---- */

static void finish(grant_entry *e, grant_take *t, grant_outcome outcome)
{
    t->outcome = outcome;
    gw_list_remove(&t->node);
    gw_list_push_back(&e->book->finished, &t->node);
}

/* Whoever is told may take, settle and forget at once. */
static void tell_finished(grant_book *b)
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

static void refuse(grant_entry *e, grant_take *t)
{
    t->short_of = e->short_of;
    t->left = e->short_left;
    t->reset_ms = e->reset_ms;
    e->book->figures.refused++;
}

static int64_t need_of(const grant_take *t, ledger_window w)
{
    return w == LEDGER_BUCKET ? 1 : t->hold.most.of[w];
}

/* ---- the store is away ---- */

bool grant_book_is_lost(const grant_book *b, int64_t now_ms)
{
    return b->unanswered_since_ms >= 0 && now_ms - b->unanswered_since_ms >= b->o.timers.lease_ms;
}

/* Each relay that had a part of it goes on with its share of the rate, from an empty bucket. */
static bool local_bucket_has_one(grant_entry *e, int64_t now_ms)
{
    int64_t relays = GW_MAX(e->g.news.records, 1), rate = e->g.limits.per_minute;

    if (!e->local) {
        e->local = true;
        e->local_level = 0;
        e->local_ms = now_ms;
    }
    e->local_level = GW_MIN(e->local_level + GW_MIN(now_ms - e->local_ms, 60000) * rate * MICRO /
                                                 (60000 * relays),
                            GW_MAX(rate / relays, 1) * MICRO);
    e->local_ms = now_ms;
    if (e->local_level >= MICRO) {
        e->local_level -= MICRO;
        return true;
    }
    e->short_of = LEDGER_BUCKET;
    e->short_left = 0;
    e->reset_ms = (MICRO - e->local_level) * 60000 * relays / (rate * MICRO) + 1;
    return false;
}

static grant_outcome decide_when_lost(grant_entry *e, grant_take *t, int64_t now_ms)
{
    const ledger_limits *l = &e->g.limits;

    if (ledger_has_window(l) && !e->book->o.allow_when_lost)
        return GRANT_UNAVAILABLE;
    if (l->per_minute > 0 && !local_bucket_has_one(e, now_ms)) {
        refuse(e, t);
        return GRANT_REFUSED;
    }
    t->hold.most = (ledger_amounts){0}; /* nothing is held; what it costs is stated later */
    grant_cut(&e->g, &t->hold, now_ms);
    return GRANT_CUT;
}

/* ---- statements ---- */

static grant_waiting waiting_of(const grant_entry *e)
{
    grant_waiting w = {0};

    gw_list_each (node, &e->waiting) {
        const grant_take *t = GW_CONTAINER_OF(node, grant_take, node);
        if (!w.head)
            w.head = &t->hold;
        for (int d = 0; d < LEDGER_WINDOWS; d++)
            w.sum.of[d] = GW_MIN(w.sum.of[d] + t->hold.most.of[d], LEDGER_UNLIMITED);
        w.count++;
    }
    return w;
}

static void send(grant_entry *e, int64_t now_ms)
{
    grant_book *b = e->book;

    if (b->unanswered_since_ms < 0)
        b->unanswered_since_ms = now_ms;
    b->figures.statements++;
    b->o.ops->state(b->o.arg, &e->g.asked);
}

/* Not when one is out. Without a row on disk nothing is stated: nobody would close it after a kill. */
static void state(grant_entry *e, bool bye, int64_t now_ms)
{
    grant_book *b = e->book;
    grant_waiting w = bye ? (grant_waiting){0} : waiting_of(e);

    assert(!e->g.asking);
    if (e->row == 0)
        e->row = b->o.ops->row_open(b->o.arg, b->o.holder, e->g.subject);
    if (e->row == 0) {
        e->retry_at_ms = now_ms + AGAIN_MAX_MS;
        return;
    }
    e->closed_ms = -1;
    grant_state(&e->g, &w, bye, b->o.holder, ++b->seq, &b->o.timers, now_ms);
    note_busy(e);
    send(e, now_ms);
}

/* Cuts for those who wait, in their order; asks for the first who must go on waiting. */
static void pump(grant_entry *e, int64_t now_ms)
{
    for (gw_list *node; (node = gw_list_first(&e->waiting));) {
        grant_take *t = GW_CONTAINER_OF(node, grant_take, node);
        if (!grant_fits(&e->g, &t->hold, now_ms))
            break;
        grant_cut(&e->g, &t->hold, now_ms);
        e->book->figures.cut_bought++;
        finish(e, t, GRANT_CUT);
    }
    if (gw_list_is_empty(&e->waiting))
        return;
    note_busy(e);
    if (!e->g.asking && now_ms >= e->retry_at_ms)
        state(e, false, now_ms);
}

/* ---- requests ---- */

static bool is_refused_already(const grant_entry *e, const grant_take *t, int64_t now_ms)
{
    return now_ms < e->refused_until_ms && need_of(t, e->short_of) >= e->short_need;
}

grant_outcome grant_book_take(grant_book *b, const char *subject, const ledger_limits *limits,
                              grant_take *t, int64_t now_ms)
{
    grant_entry *e = entry_of(b, subject, limits, now_ms);

    gw_list_init(&t->node);
    t->asked_again = false;
    t->since_ms = now_ms;
    t->entry = e;
    if (!e)
        return t->outcome = GRANT_UNAVAILABLE;
    if (limits->generation > e->g.limits.generation)
        e->g.limits = *limits;
    e->g.arrivals++;
    if (gw_list_is_empty(&e->waiting) && grant_fits(&e->g, &t->hold, now_ms)) {
        grant_cut(&e->g, &t->hold, now_ms);
        b->figures.cut_from_grant++;
        return t->outcome = GRANT_CUT;
    }
    if (grant_book_is_lost(b, now_ms))
        return t->outcome = decide_when_lost(e, t, now_ms);
    e->local = false;
    if (is_refused_already(e, t, now_ms)) {
        refuse(e, t);
        return t->outcome = GRANT_REFUSED;
    }
    t->outcome = GRANT_WAITS;
    gw_list_push_back(&e->waiting, &t->node);
    pump(e, now_ms);
    return t->outcome;
}

void grant_book_forget(grant_book *b, grant_take *t)
{
    (void)b;
    gw_list_remove(&t->node);
}

void grant_book_settle(grant_book *b, grant_take *t, const ledger_amounts *real, int64_t now_ms)
{
    grant_entry *e = t->entry;

    grant_settle(&e->g, &t->hold, real, now_ms);
    pump(e, now_ms);
    tell_finished(b);
}

grant_mark grant_book_mark(const grant_take *t, int64_t now_ms)
{
    const grant_entry *e = t->entry;

    return (grant_mark){.load = e->g.load,
                        .row = e->row,
                        .wall_ms = e->g.news.now_ms ? grant_wall_ms(&e->g, now_ms) : 0};
}

bool grant_book_left(const grant_take *t, int64_t now_ms, grant_left *ret)
{
    const grant *g = t->entry ? &t->entry->g : NULL;

    if (!g || g->news.now_ms == 0)
        return false;
    ret->limits = g->limits;
    ret->wall_ms = grant_wall_ms(g, now_ms);
    for (int d = 0; d < LEDGER_WINDOWS; d++)
        ret->left.of[d] =
            GW_MAX(g->news.left.of[d] + GW_MAX(grant_free_of(g, (ledger_window)d), 0), 0);
    ret->bucket_left = GW_MAX(g->news.bucket_left / MICRO + GW_MAX(grant_bucket_free(g), 0), 0);
    return true;
}

/* ---- what a killed relay left behind ---- */

bool grant_book_close_row(grant_book *b, const ledger_row *row, const ledger_row_sums *sums)
{
    closing *c = calloc(1, sizeof(*c));

    if (!c)
        return false;
    c->row = row->id;
    c->sent_ms = INT64_MIN / 2;
    c->st = (ledger_statement){.seq = LEDGER_SEQ_FINAL,
                               .final = true,
                               .bye = true,
                               .load = row->load,
                               .day = sums->day,
                               .spent = ledger_row_spent(row, sums),
                               .limits = {.generation = -1}};
    memcpy(c->st.subject, row->subject, sizeof(c->st.subject));
    memcpy(c->st.holder, row->holder, sizeof(c->st.holder));
    gw_list_push_back(&b->closings, &c->node);
    return true;
}

static void answer_final(grant_book *b, const ledger_reply *r)
{
    gw_list_each_safe (node, &b->closings) {
        closing *c = GW_CONTAINER_OF(node, closing, node);
        if (strcmp(c->st.subject, r->subject) != 0 || strcmp(c->st.holder, r->holder) != 0)
            continue;
        if (r->state == LEDGER_SWITCH) {
            /* Usage may not have been told of all of it; counting some twice is the safe side. */
            if (r->ready && !c->st.first)
                c->st.late = c->st.spent;
            c->st.first = true;
            c->st.load = r->load;
            c->st.spent = (ledger_amounts){0};
            c->sent_ms = INT64_MIN / 2;
        } else {
            b->o.ops->row_close(b->o.arg, c->row);
            gw_list_remove(&c->node);
            free(c);
        }
        return;
    }
}

static int64_t advance_closings(grant_book *b, int64_t now_ms)
{
    gw_list_each (node, &b->closings) {
        closing *c = GW_CONTAINER_OF(node, closing, node);
        if (now_ms - c->sent_ms < b->o.timers.retry_ms)
            continue;
        c->sent_ms = now_ms;
        b->figures.statements++;
        b->o.ops->state(b->o.arg, &c->st);
    }
    return gw_list_is_empty(&b->closings) ? INT64_MAX : now_ms + b->o.timers.retry_ms;
}

/* ---- answers ---- */

/* Open holds here and what others have may still come back. */
static bool may_come_back(const grant_entry *e, const ledger_reply *r, const grant_take *t)
{
    if (r->dimension == LEDGER_BUCKET)
        return false;
    return r->left.of[r->dimension] + r->others + e->g.open.of[r->dimension] >=
           t->hold.most.of[r->dimension];
}

static void on_short(grant_entry *e, const ledger_reply *r, int64_t now_ms)
{
    const grant_book *b = e->book;
    gw_list *oldest = gw_list_first(&e->waiting);
    bool someone_waits = false;

    if (!oldest)
        return;
    e->short_of = r->dimension;
    e->short_left = r->dimension == LEDGER_BUCKET
                        ? 0
                        : r->left.of[r->dimension] + GW_MAX(grant_free_of(&e->g, r->dimension), 0);
    e->reset_ms = r->wait_ms;
    e->short_need = need_of(GW_CONTAINER_OF(oldest, grant_take, node), r->dimension);
    gw_list_each_safe (node, &e->waiting) {
        grant_take *t = GW_CONTAINER_OF(node, grant_take, node);
        if (need_of(t, r->dimension) < e->short_need)
            continue;
        if (!t->asked_again && may_come_back(e, r, t)) {
            t->asked_again = true;
            someone_waits = true;
            continue;
        }
        refuse(e, t);
        finish(e, t, GRANT_REFUSED);
    }
    if (someone_waits) {
        e->retry_at_ms = now_ms + b->o.timers.wait_ms;
        return;
    }
    e->refused_until_ms = now_ms + GW_MIN(REFUSED_MS, e->reset_ms);
    e->give_back = grant_is_dirty(&e->g); /* spares never stand in another's way */
    note_busy(e);
}

/* Positions restate themselves, and those just closed say so again. */
static void see_born(grant_book *b, unsigned shard, int64_t born, int64_t now_ms)
{
    int64_t before = b->born[shard];

    b->born[shard] = born;
    if (before == 0 || before == born)
        return;
    gw_list_each_safe (node, &b->entries) {
        grant_entry *e = GW_CONTAINER_OF(node, grant_entry, all);
        if (ledger_shard_of(gw_str_of(e->g.subject)) == shard && !e->g.asking)
            state(e, e->closed_ms >= 0, now_ms);
    }
}

static void close_row(grant_entry *e)
{
    if (e->row != 0)
        e->book->o.ops->row_close(e->book->o.arg, e->row);
    e->row = 0;
}

static void on_closed(grant_entry *e, int64_t now_ms)
{
    const ledger_limits limits = e->g.limits;
    const ledger_reply news = e->g.news;
    char subject[LEDGER_SUBJECT_SIZE];

    close_row(e);
    memcpy(subject, e->g.subject, sizeof(subject));
    grant_init(&e->g, subject, &limits, now_ms);
    e->g.news = news;
    if (gw_list_is_empty(&e->waiting))
        e->closed_ms = now_ms;
}

static void obey_answer(grant_entry *e, grant_answer a, const ledger_reply *r, int64_t now_ms)
{
    grant_book *b = e->book;

    switch (a) {
    case GRANT_NEEDS_LOAD:
        e->retry_at_ms = now_ms + AGAIN_MAX_MS;
        if (!e->loading) {
            e->loading = true;
            b->figures.loads++;
            b->o.ops->load(b->o.arg, e->g.subject, r->load, r->day, r->fresh);
        }
        break;
    case GRANT_LATER:
        e->retry_at_ms = now_ms + GW_MIN(GW_MAX(r->wait_ms, AGAIN_MIN_MS), AGAIN_MAX_MS);
        break;
    case GRANT_SHORT:
        on_short(e, r, now_ms);
        break;
    case GRANT_SWITCHED:
        b->figures.switches++;
        b->o.ops->row_load(b->o.arg, e->row, e->g.load);
        state(e, false, now_ms);
        break;
    case GRANT_LOST:
        b->figures.gone++;
        close_row(e);
        state(e, false, now_ms);
        break;
    case GRANT_CLOSED:
        on_closed(e, now_ms);
        break;
    default:
        break;
    }
}

void grant_book_answer(grant_book *b, const ledger_reply *r, int64_t now_ms)
{
    grant_entry *e = gw_map_get(b->by_subject, gw_str_of(r->subject));

    b->unanswered_since_ms = -1;
    if (r->seq == LEDGER_SEQ_FINAL) {
        answer_final(b, r);
        return;
    }
    if (!e || strcmp(r->holder, b->o.holder) != 0)
        return;
    int64_t load = e->g.load;
    grant_answer a = grant_take_reply(&e->g, r, &b->o.timers, now_ms);
    if (a == GRANT_IGNORED)
        return;
    if (a != GRANT_SWITCHED && a != GRANT_CLOSED && a != GRANT_LOST && load != e->g.load)
        b->o.ops->row_load(b->o.arg, e->row, e->g.load);
    obey_answer(e, a, r, now_ms);
    see_born(b, ledger_shard_of(gw_str_of(r->subject)), r->born, now_ms);
    pump(e, now_ms);
    tell_finished(b);
}

void grant_book_loaded(grant_book *b, const char *subject, int64_t now_ms)
{
    grant_entry *e = gw_map_get(b->by_subject, gw_str_of(subject));

    if (!e)
        return;
    e->loading = false;
    e->retry_at_ms = GW_MIN(e->retry_at_ms, now_ms);
    pump(e, now_ms);
    tell_finished(b);
}

void grant_book_born(grant_book *b, const int64_t *born, int64_t now_ms)
{
    for (unsigned i = 0; i < LEDGER_SHARDS; i++)
        see_born(b, i, born[i], now_ms);
}

/* ---- time ---- */

/* One that waits and sees the store go is decided as one that comes then. */
static void give_up_waiting(grant_entry *e, int64_t now_ms)
{
    for (gw_list *node; (node = gw_list_first(&e->waiting));) {
        grant_take *t = GW_CONTAINER_OF(node, grant_take, node);
        finish(e, t, decide_when_lost(e, t, now_ms));
    }
}

/* Quarantine and build-up are over by then, or usage is away. */
static void give_up_old(grant_entry *e, int64_t now_ms)
{
    const ledger_timers *t = &e->book->o.timers;

    for (gw_list *node; (node = gw_list_first(&e->waiting));) {
        grant_take *oldest = GW_CONTAINER_OF(node, grant_take, node);
        if (now_ms - oldest->since_ms < t->quarantine_ms + 5 * t->lease_ms)
            break;
        finish(e, oldest, GRANT_UNAVAILABLE);
    }
}

static void sweep_entry(grant_entry *e, int64_t now_ms)
{
    grant *g = &e->g;
    int64_t sweep_ms = e->book->o.timers.sweep_ms;

    grant_note_sweep(g);
    if (g->asking || !gw_list_is_empty(&e->waiting))
        return;
    if (e->closed_ms >= 0) {
        if (now_ms - e->closed_ms < REMEMBERED_MS)
            return;
        (void)gw_map_remove(e->book->by_subject, gw_str_of(g->subject));
        free_entry(e);
    } else if (g->open_count == 0 && (e->book->draining || now_ms - g->used_ms >= sweep_ms)) {
        state(e, true, now_ms);
    } else if (grant_is_dirty(g) && now_ms - g->stated_ms >= sweep_ms) {
        state(e, false, now_ms);
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

static int64_t advance_entry(grant_entry *e, int64_t now_ms)
{
    const ledger_timers *t = &e->book->o.timers;
    int64_t due = INT64_MAX;

    if (e->g.asking && now_ms - e->g.sent_ms >= t->retry_ms) {
        e->g.sent_ms = now_ms;
        send(e, now_ms);
    }
    if (e->give_back && !e->g.asking) {
        e->give_back = false;
        if (gw_list_is_empty(&e->waiting))
            state(e, false, now_ms);
    }
    if (grant_book_is_lost(e->book, now_ms))
        give_up_waiting(e, now_ms);
    give_up_old(e, now_ms);
    pump(e, now_ms);
    if (e->g.asking)
        due = e->g.sent_ms + t->retry_ms;
    else if (!gw_list_is_empty(&e->waiting))
        due = GW_MAX(e->retry_at_ms, now_ms + 1);
    else
        gw_list_remove(&e->busy);
    return due;
}

int64_t grant_book_advance(grant_book *b, int64_t now_ms)
{
    int64_t due = advance_closings(b, now_ms);

    sweep(b, now_ms);
    gw_list_each_safe (node, &b->busy)
        due = GW_MIN(due, advance_entry(GW_CONTAINER_OF(node, grant_entry, busy), now_ms));
    tell_finished(b);
    if (!gw_list_is_empty(&b->entries))
        due = GW_MIN(due, b->sweep_at_ms);
    return due;
}

void grant_book_drain(grant_book *b)
{
    b->draining = true;
    b->sweep_at_ms = INT64_MIN; /* at once */
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

void grant_book_get_figures(const grant_book *b, grant_book_figures *ret)
{
    *ret = b->figures;
    ret->positions = 0;
    gw_list_each (node, &b->entries)
        ret->positions += GW_CONTAINER_OF(node, grant_entry, all)->closed_ms < 0;
}
