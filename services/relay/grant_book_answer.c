/* What the store says of a position, and what follows from it. */
#include "grant_book_internal.h"

#define REFUSED_MS                                                                                 \
    100 /* a refusal is remembered: a flood on an empty budget costs ten statements a second */
#define AGAIN_MIN_MS 20
#define LOAD_MAX_MS  30000
/* Between two build-ups that fail: usage is away, and many ledgers may want one. */
#define LOAD_PAUSE_MIN_MS 100
#define LOAD_PAUSE_MAX_MS 2000

/* ---- SHORT ---- */

/* Open holds here, but for its own, and what others have may still come back. */
static bool may_come_back(const grant_entry *e, const ledger_reply *r, const grant_take *t)
{
    if (r->dimension == LEDGER_BUCKET)
        return false;
    if (r->dimension == LEDGER_SLOTS)
        return r->slots_left + r->others + e->g.open_count >= 1;
    int64_t own = t->more_of ? t->more_of->hold.of[r->dimension] : 0;
    return r->left.of[r->dimension] + r->others + e->g.open.of[r->dimension] - own >=
           t->hold.of[r->dimension];
}

static void note_short(grant_entry *e, const ledger_reply *r, const grant_take *oldest)
{
    e->short_of = r->dimension;
    e->short_left = r->dimension >= LEDGER_WINDOWS
                        ? 0
                        : r->left.of[r->dimension] + GW_MAX(grant_free_of(&e->g, r->dimension), 0);
    e->reset_ms = r->wait_ms;
    e->short_need = grant_need_of(oldest, r->dimension);
}

/* Those who need as much are refused, or wait for one more answer. */
static bool judge_those_who_wait(grant_entry *e, const ledger_reply *r)
{
    bool someone_waits = false;

    gw_list_each_safe (node, &e->waiting) {
        grant_part *p = GW_CONTAINER_OF(node, grant_part, node);
        if (grant_need_of(p->take, r->dimension) < e->short_need)
            continue;
        if (!p->asked_again && may_come_back(e, r, p->take)) {
            p->asked_again = true;
            someone_waits = true;
            continue;
        }
        grant_book_refuse(e, p->take);
        grant_book_finish(e->book, p->take, GRANT_REFUSED);
    }
    return someone_waits;
}

static void on_short(grant_entry *e, const ledger_reply *r, int64_t now_ms)
{
    gw_list *oldest = gw_list_first(&e->waiting);

    if (!oldest)
        return;
    note_short(e, r, GW_CONTAINER_OF(oldest, grant_part, node)->take);
    if (judge_those_who_wait(e, r)) {
        e->retry_at_ms = now_ms + e->book->o.timers.wait_ms;
        return;
    }
    e->refused_until_ms = now_ms + GW_MIN(REFUSED_MS, e->reset_ms);
    e->give_back = grant_is_dirty(&e->g); /* spares never stand in another's way */
    grant_book_note_busy(e);
}

/* ---- all answers ---- */

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
            grant_book_state(e, e->closed_ms >= 0, now_ms);
    }
}

static void on_closed(grant_entry *e, const ledger_reply *r, int64_t now_ms)
{
    const ledger_limits limits = e->g.limits;
    const ledger_reply news = r->state == LEDGER_OK ? *r : e->g.news;
    int64_t news_ms = r->state == LEDGER_OK ? e->g.asked_ms : e->g.news_ms;
    char subject[LEDGER_SUBJECT_SIZE];

    grant_book_drop_row(e);
    if (e->g.open_count > 0 || grant_is_dirty(&e->g)) /* let in while the store was away */
        return;
    memcpy(subject, e->g.subject, sizeof(subject));
    grant_init(&e->g, subject, &limits, now_ms);
    e->g.news = news;
    e->g.news_ms = news_ms;
    if (gw_list_is_empty(&e->waiting))
        e->closed_ms = now_ms;
}

static void note_load_failed(grant_entry *e, int64_t now_ms)
{
    e->book->figures.failed_loads++;
    e->load_pause_ms =
        e->load_pause_ms ? GW_MIN(2 * e->load_pause_ms, LOAD_PAUSE_MAX_MS) : LOAD_PAUSE_MIN_MS;
    e->loading_until_ms = e->retry_at_ms = now_ms + e->load_pause_ms;
    grant_book_note_busy(e);
}

static void begin_load(grant_entry *e, const ledger_reply *r, int64_t now_ms)
{
    grant_book *b = e->book;

    e->retry_at_ms = now_ms + GRANT_AGAIN_MAX_MS;
    if (now_ms < e->loading_until_ms)
        return;
    e->loading_until_ms = now_ms + LOAD_MAX_MS;
    if (r->fresh)
        b->figures.fresh_loads++;
    else
        b->figures.rebuilds++;
    if (!b->o.ops->load(b->o.arg, e->g.subject, r->load, r->day, r->fresh))
        note_load_failed(e, now_ms);
}

static void obey_answer(grant_entry *e, grant_answer a, const ledger_reply *r, int64_t now_ms)
{
    grant_book *b = e->book;

    switch (a) {
    case GRANT_NEEDS_LOAD:
        begin_load(e, r, now_ms);
        break;
    case GRANT_LATER:
        e->retry_at_ms = now_ms + GW_MIN(GW_MAX(r->wait_ms, AGAIN_MIN_MS), GRANT_AGAIN_MAX_MS);
        break;
    case GRANT_SHORT:
        on_short(e, r, now_ms);
        break;
    case GRANT_SWITCHED:
        b->figures.switches++;
        b->figures.late_nano_usd += e->g.late.of[LEDGER_COST_MONTH];
        b->o.ops->row_load(b->o.arg, e->row, e->g.load);
        grant_book_state(e, false, now_ms);
        break;
    case GRANT_LOST:
        b->figures.gone++;
        grant_book_drop_row(e);
        grant_book_state(e, false, now_ms);
        break;
    case GRANT_CLOSED:
        on_closed(e, r, now_ms);
        break;
    default:
        break;
    }
}

static void answer_position(grant_entry *e, const ledger_reply *r, int64_t now_ms)
{
    grant_book *b = e->book;
    int64_t load = e->g.load;
    grant_answer a = grant_take_reply(&e->g, r, &b->o.timers, now_ms);

    if (a == GRANT_IGNORED)
        return;
    if (a != GRANT_SWITCHED && a != GRANT_CLOSED && a != GRANT_LOST && load != e->g.load)
        b->o.ops->row_load(b->o.arg, e->row, e->g.load);
    obey_answer(e, a, r, now_ms);
    see_born(b, ledger_shard_of(gw_str_of(r->subject)), r->born, now_ms);
    grant_book_look_again(e);
    grant_book_pump(b, now_ms);
    grant_book_tell_finished(b);
}

void grant_book_answer(grant_book *b, const ledger_reply *r, int64_t now_ms)
{
    grant_entry *e = gw_map_get(b->by_subject, gw_str_of(r->subject));

    b->unanswered_since_ms = -1;
    b->wall_ms = r->now_ms;
    b->wall_at_ms = now_ms;
    b->figures.replies[r->state]++;
    b->figures.silent += r->silent > 0;
    if (r->seq == LEDGER_SEQ_FINAL)
        grant_book_answer_final(b, r);
    else if (e && strcmp(r->holder, b->o.holder) == 0)
        answer_position(e, r, now_ms);
}

void grant_book_load_failed(grant_book *b, const char *subject, int64_t now_ms)
{
    grant_entry *e = gw_map_get(b->by_subject, gw_str_of(subject));

    if (e)
        note_load_failed(e, now_ms);
}

void grant_book_loaded(grant_book *b, const char *subject, int64_t now_ms)
{
    grant_entry *e = gw_map_get(b->by_subject, gw_str_of(subject));

    if (!e)
        return;
    e->load_pause_ms = 0;
    e->loading_until_ms = now_ms;
    e->retry_at_ms = GW_MIN(e->retry_at_ms, now_ms);
    grant_book_look_again(e);
    grant_book_pump(b, now_ms);
    grant_book_tell_finished(b);
}

void grant_book_born(grant_book *b, const int64_t *born, int64_t now_ms)
{
    for (unsigned i = 0; i < LEDGER_SHARDS; i++)
        see_born(b, i, born[i], now_ms);
}
