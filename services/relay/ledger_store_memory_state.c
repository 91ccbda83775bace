#include "ledger_store_memory_internal.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define TOMBSTONE_MS  60000
#define SLOT_RETRY_MS 1000

static ledger *make(ledger_memory *m, const char *subject, int64_t load)
{
    ledger *l = memory_ledger(m, "");

    if (!l)
        abort(); /* a test with more ledgers than it may have */
    *l = (ledger){.load = GW_MAX(m->now_ms * 1000, load + 1),
                  .born = ledger_memory_born(m),
                  .wait_until_ms = m->now_ms,
                  .level_at_ms = m->now_ms,
                  .slots_gone_ms = m->now_ms,
                  .limits = {.generation = -1}};
    for (int d = 0; d < LEDGER_WINDOWS; d++)
        l->limits.window.of[d] = LEDGER_UNLIMITED;
    (void)snprintf(l->subject, sizeof(l->subject), "%s", subject);
    return l;
}

static void forget_gone(ledger_memory *m, ledger *l)
{
    if (l->slots_gone == 0 || l->slots_gone_ms + m->timers.lapse_ms >= m->now_ms)
        return;
    l->slots -= l->slots_gone;
    l->slots_gone = 0;
}

static record *make_record(ledger_memory *m, ledger *l, const char *holder)
{
    record *oldest = NULL, *r;

    for (size_t i = 0; i < LEDGER_RECORDS_MAX; i++) {
        r = &l->records[i];
        if (r->dead && r->at_ms + TOMBSTONE_MS < m->now_ms)
            *r = (record){0};
        if (!oldest || r->at_ms < oldest->at_ms)
            oldest = r;
    }
    r = memory_record(l, "");
    if (!r) {
        r = oldest;
        l->lent -= r->lent;
        if (r->slots > 0) {
            l->slots_gone += r->slots;
            l->slots_gone_ms = m->now_ms;
        }
    }
    *r = (record){.at_ms = m->now_ms, .day = l->day};
    (void)snprintf(r->holder, sizeof(r->holder), "%s", holder);
    return r;
}

/* What was used while the store was away is late for a ledger that is built up only now: usage waits for the spools it is in. */
static void await_late(ledger *l, const ledger_statement *st)
{
    for (int d = 0; d < LEDGER_WINDOWS; d++)
        if (!l->ready && st->late.of[d] > 0)
            l->fresh = false;
}

static void believe(ledger_memory *m, ledger *l, record *r, const ledger_statement *st)
{
    await_late(l, st);
    for (int d = 0; d < LEDGER_WINDOWS; d++) {
        bool was = ledger_same_window((ledger_window)d, r->day, l->day);
        bool is = ledger_same_window((ledger_window)d, st->day, l->day);
        int64_t spent = is ? st->spent.of[d] + (l->ready ? st->late.of[d] : 0) : 0;
        int64_t out = is ? st->floor.of[d] : 0;
        l->taken.of[d] += spent + out - (was ? r->spent.of[d] + r->out.of[d] : 0);
        r->spent.of[d] = spent;
        r->out.of[d] = out;
    }
    int64_t back = st->final ? 0 : (r->cuts + r->lent - st->cuts - st->bucket_floor) * MICRO;
    if (back < 0 || !r->is_void)
        l->level += back;
    l->lent += st->bucket_floor - r->lent;
    if (l->level > 0)
        l->level = GW_MIN(l->level, GW_MAX((l->limits.per_minute - l->lent) * MICRO, 0));
    l->slots += st->slot_floor - r->slots;
    r->slots = st->slot_floor;
    r->cuts = st->cuts;
    r->lent = st->bucket_floor;
    r->is_void = r->sold = false;
    r->day = l->day;
    r->seq = st->seq;
    r->at_ms = m->now_ms;
}

/* -1: everything fits. */
static int lacking(const ledger *l, const ledger_statement *st)
{
    for (int d = 0; d < LEDGER_WINDOWS; d++)
        if (st->need.of[d] > 0 && l->limits.window.of[d] < LEDGER_UNLIMITED &&
            l->taken.of[d] + st->need.of[d] > l->limits.window.of[d])
            return d;
    if (l->limits.per_minute > 0 && st->bucket_need > 0 && l->level < st->bucket_need * MICRO)
        return LEDGER_BUCKET;
    bool fits = l->limits.in_flight == 0 || st->slot_need == 0 ||
                l->slots + st->slot_need <= l->limits.in_flight;
    return fits ? -1 : LEDGER_SLOTS;
}

static void sweep(ledger_memory *m, ledger *l, const record *own)
{
    for (size_t i = 0; i < LEDGER_RECORDS_MAX; i++) {
        record *r = &l->records[i];
        if (r == own || r->dead)
            continue;
        if (r->lent > 0 && r->at_ms + m->timers.lease_ms < m->now_ms) {
            r->cuts += r->lent;
            l->lent -= r->lent;
            r->lent = 0;
            r->is_void = true;
        }
        if (r->slots > 0 && r->at_ms + m->timers.lapse_ms < m->now_ms) {
            l->slots -= r->slots;
            r->slots = 0;
        }
    }
}

static int64_t share_of(int64_t need, int64_t want, int64_t left, int64_t parts)
{
    return need + GW_MAX(GW_MIN(want - need, left / parts), 0);
}

static void sell(ledger *l, record *r, const ledger_statement *st)
{
    int64_t parts = 4 * GW_MAX(memory_count_live(l), 1);

    for (int d = 0; d < LEDGER_WINDOWS; d++) {
        int64_t left = l->limits.window.of[d] - l->taken.of[d] - st->need.of[d];
        int64_t got = share_of(st->need.of[d], st->want.of[d], left, parts);
        l->taken.of[d] += got;
        r->out.of[d] += got;
    }
    if (l->limits.per_minute > 0) {
        int64_t left = l->level / MICRO - st->bucket_need;
        int64_t got = share_of(st->bucket_need, st->bucket_want, left, parts);
        l->level -= got * MICRO;
        l->lent += got;
        r->lent += got;
    }
    if (l->limits.in_flight > 0) {
        int64_t left = l->limits.in_flight - l->slots - st->slot_need;
        int64_t got = share_of(st->slot_need, st->slot_want, left, parts);
        l->slots += got;
        r->slots += got;
    }
    r->sold = true;
}

static void answer(ledger_memory *m, const ledger *l, const record *r, ledger_state state,
                   ledger_reply *ret)
{
    ret->state = state;
    ret->load = l->load;
    ret->ready = l->ready;
    ret->fresh = l->fresh;
    ret->born = l->born;
    ret->day = l->day;
    ret->midnight_ms = (l->day + 1) * LEDGER_DAY_MS - m->now_ms;
    ret->now_ms = m->now_ms;
    if (r) {
        for (int d = 0; d < LEDGER_WINDOWS; d++) /* an ended window's are nobody's */
            if (ledger_same_window((ledger_window)d, r->day, l->day))
                ret->lent.of[d] = r->out.of[d];
        ret->bucket_lent = r->lent;
        ret->slots_lent = r->slots;
    }
    for (int d = 0; d < LEDGER_WINDOWS; d++)
        ret->left.of[d] = l->limits.window.of[d] - l->taken.of[d];
    ret->bucket_left = l->level;
    ret->slots_left = l->limits.in_flight - l->slots;
    ret->records = memory_count_live(l);
}

static void answer_short(ledger_memory *m, ledger *l, const record *own, int dimension,
                         ledger_reply *ret)
{
    answer(m, l, own, LEDGER_SHORT, ret);
    ret->dimension = (ledger_window)dimension;
    if (dimension == LEDGER_BUCKET) {
        int64_t per_minute = GW_MAX(l->limits.per_minute, 1);
        int64_t missing = GW_MAX(MICRO - l->level, 0) * 60000;
        ret->wait_ms = (missing + per_minute * MICRO - 1) / (per_minute * MICRO);
    } else if (dimension == LEDGER_SLOTS) {
        ret->wait_ms = SLOT_RETRY_MS;
    } else {
        int64_t day = l->day + 1;
        while (dimension >= LEDGER_TOKENS_MONTH &&
               ledger_same_window(LEDGER_COST_MONTH, day, l->day))
            day++;
        ret->wait_ms = day * LEDGER_DAY_MS - m->now_ms;
    }
    for (size_t i = 0; i < LEDGER_RECORDS_MAX; i++) {
        const record *r = &l->records[i];
        if (r == own || r->dead || r->holder[0] == '\0')
            continue;
        int64_t has = 0;
        if (dimension == LEDGER_BUCKET)
            has = r->lent;
        else if (dimension == LEDGER_SLOTS)
            has = r->slots;
        else if (ledger_same_window((ledger_window)dimension, r->day, l->day))
            has = r->out.of[dimension];
        ret->others += has;
        ret->silent += has > 0 && r->at_ms + m->timers.lapse_ms < m->now_ms;
    }
}

/* Limits that are new to a ledger nobody has a position with: there may have been none meanwhile, and nothing counted. */
static void begin_anew(ledger_memory *m, ledger *l)
{
    l->load = GW_MAX(m->now_ms * 1000, l->load + 1);
    l->fresh = l->ready = false;
    l->taken = (ledger_amounts){0};
}

static ledger *open_ledger(ledger_memory *m, const ledger_statement *st)
{
    int64_t born = ledger_memory_born(m), quarantine = m->timers.quarantine_ms;
    ledger *l = memory_ledger(m, st->subject);

    if (!l) {
        l = make(m, st->subject, st->load);
        if (st->first && !st->final && m->now_ms >= born + quarantine)
            l->fresh = true;
        else
            l->wait_until_ms = GW_MAX(born + quarantine, m->now_ms + (st->first ? 0 : quarantine));
    } else if (l->born != born) {
        memory_rebuild(m, l);
    }
    memory_roll(m, l, st->day);
    if (st->limits.generation > l->limits.generation) {
        bool starts = l->limits.generation < 0 && l->fresh;
        if (l->limits.generation >= 0 && memory_count_live(l) == 0 && st->first && st->load == 0)
            begin_anew(m, l);
        l->limits = st->limits;
        if (starts) {
            l->level = l->limits.per_minute * MICRO;
            l->level_at_ms = m->now_ms;
        }
    }
    memory_refill(m, l);
    forget_gone(m, l);
    return l;
}

static void buy(ledger_memory *m, ledger *l, record *r, const ledger_statement *st,
                ledger_reply *ret)
{
    if (m->now_ms < l->wait_until_ms) {
        answer(m, l, r, LEDGER_WAIT, ret);
        ret->wait_ms = l->wait_until_ms - m->now_ms;
        return;
    }
    if (!l->ready && ledger_has_window(&l->limits)) {
        answer(m, l, r, LEDGER_LOAD, ret);
        return;
    }
    int dimension = lacking(l, st);
    if (dimension == LEDGER_BUCKET || dimension == LEDGER_SLOTS) {
        sweep(m, l, r);
        memory_refill(m, l);
        dimension = lacking(l, st);
    }
    if (dimension >= 0) {
        answer_short(m, l, r, dimension, ret);
        return;
    }
    sell(l, r, st);
    answer(m, l, r, LEDGER_OK, ret);
}

void ledger_memory_state(ledger_memory *m, const ledger_statement *st, ledger_reply *ret)
{
    ledger *l = open_ledger(m, st);
    record *r = memory_record(l, st->holder);

    *ret = (ledger_reply){.seq = st->seq};
    memcpy(ret->subject, st->subject, sizeof(ret->subject));
    memcpy(ret->holder, st->holder, sizeof(ret->holder));
    if (r && st->seq < r->seq) {
        answer(m, l, r, LEDGER_STALE, ret);
    } else if (st->load != l->load && (st->load != 0 || !st->first)) {
        answer(m, l, r, LEDGER_SWITCH, ret);
    } else if (r && st->seq == r->seq) {
        answer(m, l, r, r->sold || r->dead ? LEDGER_OK : LEDGER_AGAIN, ret);
    } else if ((!r || r->dead) && !st->first) {
        answer(m, l, r, LEDGER_GONE, ret);
    } else {
        if (!r)
            r = make_record(m, l, st->holder);
        else if (r->dead) {
            char holder[LEDGER_HOLDER_SIZE];
            memcpy(holder, r->holder, sizeof(holder));
            *r = (record){.at_ms = m->now_ms, .day = l->day};
            memcpy(r->holder, holder, sizeof(holder));
        }
        believe(m, l, r, st);
        if (st->bye) {
            r->dead = true;
            r->spent = (ledger_amounts){0};
            r->cuts = 0;
        }
        if (!st->bye && st->ask) {
            buy(m, l, r, st, ret);
            return;
        }
        r->sold = true;
        answer(m, l, r, LEDGER_OK, ret);
    }
}
