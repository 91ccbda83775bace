#include "grant.h"

#include "grant_mutant.h"

#include <stdio.h>
#include <string.h>

#define FOR_WINDOWS(d) for (int d = 0; d < LEDGER_WINDOWS; d++)

void grant_init(grant *g, const char *subject, const ledger_limits *limits, int64_t now_ms)
{
    *g = (grant){.limits = *limits,
                 .first = true,
                 .lease_until_ms = INT64_MIN,
                 .used_ms = now_ms,
                 .stated_ms = now_ms,
                 .tight_until_ms = INT64_MIN};
    (void)snprintf(g->subject, sizeof(g->subject), "%s", subject);
}

void grant_set_limits(grant *g, const ledger_limits *limits)
{
    g->limits = *limits;
    g->lease_until_ms = INT64_MIN;
}

int64_t grant_free_of(const grant *g, ledger_window w)
{
    return g->lent.of[w] - (g->spent.of[w] - g->stated.of[w]) - g->open.of[w];
}

int64_t grant_bucket_free(const grant *g)
{
    return g->bucket_lent - (g->cuts - g->cuts_stated);
}

int64_t grant_slots_free(const grant *g)
{
    return g->slots_lent - (IS_MUTANT(MUTANT_OPEN_SLOTS_ARE_FREE) ? 0 : g->open_count);
}

bool grant_fits_more(const grant *g, const ledger_amounts *more, int64_t now_ms)
{
    if (now_ms >= g->lease_until_ms)
        return false;
    FOR_WINDOWS(d)
    { /* what is not limited is counted by statements, and waits for none */
        if (g->limits.window.of[d] < LEDGER_UNLIMITED && more->of[d] > 0 &&
            grant_free_of(g, (ledger_window)d) < more->of[d])
            return false;
    }
    return true;
}

bool grant_fits(const grant *g, const ledger_amounts *hold, int64_t now_ms)
{
    return grant_fits_more(g, hold, now_ms) &&
           (g->limits.per_minute == 0 || grant_bucket_free(g) >= 1) &&
           (g->limits.in_flight == 0 || grant_slots_free(g) >= 1);
}

int64_t grant_cut(grant *g, const ledger_amounts *hold, int64_t now_ms)
{
    g->used_ms = now_ms;
    g->open_count++;
    if (g->limits.per_minute > 0)
        g->cuts++;
    FOR_WINDOWS(d)
    {
        g->open.of[d] += hold->of[d];
        g->usual.of[d] =
            g->usual.of[d] == 0 ? hold->of[d] : (g->usual.of[d] * 7 + hold->of[d] + 7) / 8;
    }
    return g->day;
}

void grant_cut_more(grant *g, const ledger_amounts *more, int64_t day, int64_t now_ms)
{
    g->used_ms = now_ms;
    FOR_WINDOWS(d)
    {
        if (ledger_same_window((ledger_window)d, day, g->day) &&
            !IS_MUTANT(MUTANT_MORE_IS_NOT_HELD))
            g->open.of[d] += more->of[d];
    }
}

void grant_settle(grant *g, const ledger_amounts *hold, int64_t day, const ledger_amounts *real,
                  int64_t now_ms)
{
    g->open_count--;
    g->used_ms = now_ms;
    FOR_WINDOWS(d)
    {
        if (!ledger_same_window((ledger_window)d, day, g->day))
            continue;
        g->open.of[d] -= hold->of[d];
        g->spent.of[d] += real->of[d];
    }
}

/*
 * Requests to have holds for until the next statement comes through: those of two sweeps. What has come since the last sweep counts at
 * once, but for one: a key that becomes hot buys three times as much each time, and one that is asked with singly buys singly.
 */
static int64_t target_of(const grant *g, int64_t now_ms)
{
    if (now_ms < g->tight_until_ms)
        return 0;
    return GW_MAX(g->per_1000_sweeps < 1000 ? 0 : 2 * g->per_1000_sweeps / 1000,
                  2 * (g->arrivals - 1));
}

/*
 * What of the free holds stays with the position: all of it for those who wait, else what will be cut soon. After a shortage nothing
 * does: each of many relays would keep for those who wait there what is not enough for one of them.
 */
typedef struct plan {
    int64_t target;
    bool lease_holds, keeps_all;
} plan;

static plan plan_of(const grant *g, const grant_waiting *w, bool bye, int64_t now_ms)
{
    return (plan){.target = bye ? 0 : target_of(g, now_ms),
                  .lease_holds = now_ms < g->lease_until_ms,
                  .keeps_all = w->head && now_ms >= g->tight_until_ms};
}

static int64_t kept(const plan *p, int64_t available, int64_t enough)
{
    if (!p->lease_holds || available <= 0)
        return 0;
    return p->keeps_all ? available : GW_MIN(available, enough);
}

static void state_windows(const grant *g, const grant_waiting *w, const plan *p,
                          ledger_statement *st)
{
    FOR_WINDOWS(d)
    {
        int64_t enough = g->usual.of[d] * p->target;
        int64_t keep = kept(p, grant_free_of(g, (ledger_window)d), enough);
        st->floor.of[d] = GW_MAX(g->open.of[d], 0) + keep;
        if (!st->ask)
            continue;
        st->need.of[d] = w->head ? GW_MAX(w->head->of[d] - keep, 0) : 0;
        st->want.of[d] = GW_MAX(w->sum.of[d] + enough - keep, st->need.of[d]);
    }
}

static void state_bucket(const grant *g, const grant_waiting *w, const plan *p,
                         ledger_statement *st)
{
    if (g->limits.per_minute == 0)
        return;
    int64_t keep = kept(p, grant_bucket_free(g), p->target);
    st->bucket_floor = keep;
    if (!st->ask)
        return;
    st->bucket_need = GW_MAX(w->head_count - keep, 0);
    st->bucket_want = GW_MAX(w->count + p->target - keep, st->bucket_need);
}

/* A slot comes back by itself when its request ends, so spares are never used up: a small part of all may lie idle. */
#define SPARE_SLOTS_OF 8

/* Open requests are stated whether they are limited or not: a limit that comes later finds them. */
static void state_slots(const grant *g, const grant_waiting *w, const plan *p, ledger_statement *st)
{
    int64_t loops = GW_MAX(g->news.records, 1);
    int64_t spare = GW_MIN(p->target, g->limits.in_flight / (SPARE_SLOTS_OF * loops)), keep = 0;

    if (g->limits.in_flight > 0)
        keep = kept(p, grant_slots_free(g), spare);
    st->slot_floor = g->open_count + keep;
    if (!st->ask || g->limits.in_flight == 0)
        return;
    st->slot_need = GW_MAX(w->head_count - keep, 0);
    st->slot_want = GW_MAX(w->count + spare - keep, st->slot_need);
}

void grant_state(grant *g, const grant_waiting *w, bool bye, const char *holder, int64_t seq,
                 const ledger_timers *t, int64_t now_ms)
{
    ledger_statement *st = &g->asked;
    const plan p = plan_of(g, w, bye, now_ms);

    (void)t;
    *st = (ledger_statement){.seq = seq,
                             .first = g->first,
                             .bye = bye,
                             .ask = w->head || (p.lease_holds && p.target > 0),
                             .load = g->load,
                             .day = g->day,
                             .spent = g->spent,
                             .late = g->late,
                             .cuts = g->cuts,
                             .limits = g->limits};
    memcpy(st->subject, g->subject, sizeof(st->subject));
    (void)snprintf(st->holder, sizeof(st->holder), "%s", holder);
    state_windows(g, w, &p, st);
    state_bucket(g, w, &p, st);
    state_slots(g, w, &p, st);
    if (IS_MUTANT(MUTANT_SPEND_AS_DIFFERENCE))
        FOR_WINDOWS(d)
        {
            st->spent.of[d] -= g->stated.of[d];
        }
    if (!IS_MUTANT(MUTANT_CUT_WHILE_ASKING)) {
        g->lent = st->floor;
        g->stated = g->spent;
        g->bucket_lent = st->bucket_floor;
        g->slots_lent = st->slot_floor;
        g->cuts_stated = g->cuts;
    }
    g->asking = true;
    g->asked_ms = g->sent_ms = g->stated_ms = now_ms;
}

static void start_over(grant *g, int64_t load)
{
    g->first = true;
    g->load = load;
    g->spent = g->stated = (ledger_amounts){0};
    g->cuts = g->cuts_stated = g->bucket_lent = 0;
    g->slots_lent = g->open_count;
    g->lease_until_ms = INT64_MIN;
    FOR_WINDOWS(d)
    {
        g->lent.of[d] = GW_MAX(g->open.of[d], 0);
    }
}

/*
 * Windows that have ended: open holds of theirs are no business of the new ones. What was let in meanwhile without the store is late where
 * the ledger is still built up: usage may have it.
 */
static void roll_windows(grant *g, int64_t day, bool ready)
{
    FOR_WINDOWS(d)
    {
        if (!ledger_same_window((ledger_window)d, g->day, day))
            g->open.of[d] = g->spent.of[d] = g->stated.of[d] = g->late.of[d] = 0;
        if (g->after_day != 0 && ledger_same_window((ledger_window)d, g->after_day, day))
            (ready ? &g->spent : &g->late)->of[d] += g->after.of[d];
    }
    g->after = (ledger_amounts){0};
    g->after_day = 0;
    g->day = day;
}

/* What was stated as late is known from now on: to the record, or to usage. Of a day that was not known it was not believed. */
static void take_late(grant *g, const ledger_reply *r, bool goes_on)
{
    if (r->ready && g->asked.day == 0) {
        g->day = g->day == 0 ? r->day : g->day;
        return;
    }
    FOR_WINDOWS(d)
    {
        g->late.of[d] -= g->asked.late.of[d];
        if (!r->ready || !goes_on)
            continue;
        g->spent.of[d] += g->asked.late.of[d];
        g->stated.of[d] += g->asked.late.of[d];
    }
}

static void believe_reply(grant *g, const ledger_reply *r, const ledger_timers *t)
{
    g->load = r->load;
    g->first = false;
    g->news = *r;
    g->news_ms = g->asked_ms;
    g->stated = g->asked.spent;
    g->cuts_stated = g->asked.cuts;
    take_late(g, r, true);
    roll_windows(g, r->day, r->ready);
    g->lent = r->lent;
    g->bucket_lent = r->bucket_lent;
    g->slots_lent = r->slots_lent;
    int64_t ends_ms =
        IS_MUTANT(MUTANT_LEASE_PAST_MIDNIGHT) ? t->lease_ms : GW_MIN(t->lease_ms, r->midnight_ms);
    bool is_old = g->asked.limits.generation < g->limits.generation; /* sold under those before */
    g->lease_until_ms = is_old ? INT64_MIN : g->asked_ms + ends_ms;
}

/* After the bye: a position with what was let in since, the store being away. */
static void go_on_after_bye(grant *g, const ledger_reply *r)
{
    if (r->state != LEDGER_GONE)
        take_late(g, r, false);
    FOR_WINDOWS(d)
    {
        g->spent.of[d] -= g->asked.spent.of[d];
    }
    g->cuts -= g->asked.cuts;
    g->cuts_stated = g->bucket_lent = 0;
    g->stated = g->lent = g->open = (ledger_amounts){0};
    g->slots_lent = 0;
    g->first = true;
    g->lease_until_ms = INT64_MIN;
    roll_windows(g, r->day, r->ready);
}

grant_answer grant_take_reply(grant *g, const ledger_reply *r, const ledger_timers *t,
                              int64_t now_ms)
{
    if (!g->asking || r->seq != g->asked.seq || r->state == LEDGER_STALE)
        return GRANT_IGNORED; /* an older copy overtook: ours is still on its way */
    g->asking = false;
    if (g->asked.bye && (r->state == LEDGER_OK || r->state == LEDGER_GONE)) {
        go_on_after_bye(g, r);
        return GRANT_CLOSED;
    }
    switch (r->state) {
    case LEDGER_GONE:
        start_over(g, 0);
        return GRANT_LOST;
    case LEDGER_SWITCH: {
        /* We come late: what usage may not have been told when it said what was used. */
        ledger_amounts late = {0};
        FOR_WINDOWS(d)
        {
            if (r->ready)
                late.of[d] = g->late.of[d] + (g->load != 0 ? g->spent.of[d] : 0);
        }
        start_over(g, r->load);
        g->late = late;
        return GRANT_SWITCHED;
    }
    default:
        break;
    }
    believe_reply(g, r, t);
    switch (r->state) {
    case LEDGER_LOAD:
        return GRANT_NEEDS_LOAD;
    case LEDGER_WAIT:
    case LEDGER_AGAIN:
        return GRANT_LATER;
    case LEDGER_SHORT:
        g->tight_until_ms = now_ms + 3 * t->sweep_ms;
        return GRANT_SHORT;
    default:
        return GRANT_SOLD;
    }
}

/* Quick to rise, slow to fall. */
void grant_note_sweep(grant *g)
{
    int64_t now = g->arrivals * 1000, weight = now > g->per_1000_sweeps ? 8 : 4;

    g->per_1000_sweeps += (now - g->per_1000_sweeps) * weight / 10;
    g->arrivals = 0;
}

bool grant_is_dirty(const grant *g)
{
    FOR_WINDOWS(d)
    {
        if (g->spent.of[d] != g->stated.of[d] || g->late.of[d] > 0 || g->after.of[d] > 0 ||
            grant_free_of(g, (ledger_window)d) > 0)
            return true;
    }
    return g->cuts != g->cuts_stated || grant_bucket_free(g) > 0 || grant_slots_free(g) > 0;
}

int64_t grant_wall_ms(const grant *g, int64_t now_ms)
{
    int64_t start = g->day * LEDGER_DAY_MS;
    int64_t wall = g->news.now_ms + (now_ms - g->news_ms);

    if (now_ms >= g->lease_until_ms)
        return wall;
    return GW_MIN(GW_MAX(wall, start), start + LEDGER_DAY_MS - 1);
}
