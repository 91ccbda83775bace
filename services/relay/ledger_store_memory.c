#include "ledger_store_memory.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define TOMBSTONE_MS  60000
#define LEDGERS_MAX   16
#define SLOT_RETRY_MS 1000
#define MICRO         INT64_C(1000000)

typedef struct record {
    char holder[LEDGER_HOLDER_SIZE]; /* "" = none */
    int64_t seq, at_ms, day;
    bool dead, is_void, sold;
    ledger_amounts spent, out;
    int64_t cuts, lent, slots;
} record;

typedef struct ledger {
    char subject[LEDGER_SUBJECT_SIZE]; /* "" = none */
    int64_t load, born, wait_until_ms, day;
    bool fresh, ready;
    ledger_amounts taken;
    int64_t level, level_at_ms, lent;
    int64_t slots, slots_gone, slots_gone_ms; /* gone: of records that had to go */
    ledger_limits limits;
    record records[LEDGER_RECORDS_MAX];
} ledger;

struct ledger_memory {
    ledger_timers timers;
    int64_t now_ms, run;
    int64_t born_run, born_at_ms; /* born_run 0: none */
    ledger ledgers[LEDGERS_MAX];
};

ledger_memory *ledger_memory_new(const ledger_timers *timers)
{
    ledger_memory *m = calloc(1, sizeof(*m));

    if (m) {
        m->timers = *timers;
        m->run = 1;
    }
    return m;
}

void ledger_memory_free(ledger_memory *m)
{
    free(m);
}

void ledger_memory_set_now(ledger_memory *m, int64_t now_ms)
{
    m->now_ms = now_ms;
}

void ledger_memory_set_run(ledger_memory *m, int64_t run)
{
    m->run = run;
}

void ledger_memory_flush(ledger_memory *m)
{
    m->born_run = 0;
    memset(m->ledgers, 0, sizeof(m->ledgers));
}

ledger_memory *ledger_memory_copy(const ledger_memory *m)
{
    ledger_memory *copy = malloc(sizeof(*copy));

    if (copy)
        *copy = *m;
    return copy;
}

void ledger_memory_restore(ledger_memory *m, const ledger_memory *from)
{
    int64_t now_ms = m->now_ms, run = m->run;

    *m = *from;
    m->now_ms = now_ms;
    m->run = run;
}

int64_t ledger_memory_born(ledger_memory *m)
{
    if (m->born_run != m->run) {
        m->born_run = m->run;
        m->born_at_ms = m->now_ms;
    }
    return m->born_at_ms;
}

static ledger *find(ledger_memory *m, const char *subject)
{
    for (size_t i = 0; i < LEDGERS_MAX; i++)
        if (strcmp(m->ledgers[i].subject, subject) == 0)
            return &m->ledgers[i];
    return NULL;
}

static record *find_record(ledger *l, const char *holder)
{
    for (size_t i = 0; i < LEDGER_RECORDS_MAX; i++)
        if (strcmp(l->records[i].holder, holder) == 0)
            return &l->records[i];
    return NULL;
}

static int64_t count_live(const ledger *l)
{
    int64_t n = 0;

    for (size_t i = 0; i < LEDGER_RECORDS_MAX; i++)
        n += l->records[i].holder[0] != '\0' && !l->records[i].dead;
    return n;
}

static ledger *make(ledger_memory *m, const char *subject, int64_t load)
{
    ledger *l = find(m, "");

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

static void rebuild(ledger_memory *m, ledger *l)
{
    l->load = GW_MAX(m->now_ms * 1000, l->load + 1);
    l->born = ledger_memory_born(m);
    l->wait_until_ms = l->born + m->timers.quarantine_ms;
    l->fresh = l->ready = false;
    l->taken = (ledger_amounts){0};
    l->level = l->lent = 0;
    l->level_at_ms = m->now_ms;
    l->slots = l->slots_gone;
    for (size_t i = 0; i < LEDGER_RECORDS_MAX; i++) {
        record *r = &l->records[i];
        l->slots += r->slots;
        for (int d = 0; d < LEDGER_WINDOWS; d++) {
            if (!ledger_same_window((ledger_window)d, r->day, l->day))
                r->out.of[d] = 0;
            l->taken.of[d] += r->out.of[d];
        }
        r->spent = (ledger_amounts){0};
        r->day = l->day;
        r->cuts = r->lent = 0;
        r->is_void = true;
    }
}

static void roll(ledger_memory *m, ledger *l, int64_t day)
{
    int64_t today = m->now_ms / LEDGER_DAY_MS, to = GW_MAX(today, l->day);

    if (day <= today + 1)
        to = GW_MAX(to, day);
    for (int d = 0; d < LEDGER_WINDOWS; d++)
        if (!ledger_same_window((ledger_window)d, to, l->day))
            l->taken.of[d] = 0;
    l->day = to;
}

static void refill(ledger_memory *m, ledger *l)
{
    int64_t cap = l->limits.per_minute * MICRO;
    int64_t top = GW_MAX(cap - l->lent * MICRO, GW_MIN(l->level, 0));
    int64_t dt = GW_MAX(m->now_ms - l->level_at_ms, 0);

    l->level = GW_MIN(top, l->level + l->limits.per_minute * dt * MICRO / 60000);
    l->level_at_ms = GW_MAX(m->now_ms, l->level_at_ms);
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
    r = find_record(l, "");
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

static void believe(ledger_memory *m, ledger *l, record *r, const ledger_statement *st)
{
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
        if (st->need.of[d] > 0 && l->taken.of[d] + st->need.of[d] > l->limits.window.of[d])
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
    int64_t parts = 4 * GW_MAX(count_live(l), 1);

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
    ret->records = count_live(l);
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
    ledger *l = find(m, st->subject);

    if (!l) {
        l = make(m, st->subject, st->load);
        if (st->first && !st->final && m->now_ms >= born + quarantine)
            l->fresh = true;
        else
            l->wait_until_ms = GW_MAX(born + quarantine, m->now_ms + (st->first ? 0 : quarantine));
    } else if (l->born != born) {
        rebuild(m, l);
    }
    roll(m, l, st->day);
    if (st->limits.generation > l->limits.generation) {
        bool starts = l->limits.generation < 0 && l->fresh;
        if (l->limits.generation >= 0 && count_live(l) == 0 && st->first && st->load == 0)
            begin_anew(m, l);
        l->limits = st->limits;
        if (starts) {
            l->level = l->limits.per_minute * MICRO;
            l->level_at_ms = m->now_ms;
        }
    }
    refill(m, l);
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
        refill(m, l);
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
    record *r = find_record(l, st->holder);

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

ledger_loaded ledger_memory_load(ledger_memory *m, const char *subject, int64_t load, int64_t day,
                                 const ledger_amounts *used)
{
    int64_t born = ledger_memory_born(m);
    ledger *l = find(m, subject);

    if (!l || l->load != load || l->born != born)
        return LEDGER_LOAD_OLD;
    if (l->ready)
        return LEDGER_LOADED;
    if (m->now_ms < l->wait_until_ms)
        return LEDGER_LOAD_EARLY;
    roll(m, l, m->now_ms / LEDGER_DAY_MS);
    if (l->day != day)
        return LEDGER_LOAD_OLD;
    for (int d = 0; d < LEDGER_WINDOWS; d++)
        l->taken.of[d] += used->of[d];
    l->ready = true;
    return LEDGER_LOADED;
}

void ledger_memory_look(const ledger_memory *m, const char *subject, ledger_standing *ret)
{
    ledger_memory *copy = ledger_memory_copy(m); /* looking rolls and refills */
    ledger *l = copy ? find(copy, subject) : NULL;

    *ret = (ledger_standing){.now_ms = m->now_ms};
    if (l && m->born_run == m->run && l->born == m->born_at_ms) {
        roll(copy, l, copy->now_ms / LEDGER_DAY_MS);
        refill(copy, l);
        *ret = (ledger_standing){.found = true,
                                 .ready = l->ready,
                                 .load = l->load,
                                 .now_ms = m->now_ms,
                                 .taken = l->taken,
                                 .bucket_left = l->level,
                                 .bucket_lent = l->lent,
                                 .slots_lent = l->slots};
        for (size_t i = 0; i < LEDGER_RECORDS_MAX; i++)
            for (int d = 0; d < LEDGER_WINDOWS; d++)
                if (ledger_same_window((ledger_window)d, l->records[i].day, l->day))
                    ret->lent.of[d] += l->records[i].out.of[d];
    }
    ledger_memory_free(copy);
}

/* False: nothing. */
static bool held(const ledger *l, const record *r, ledger_silent *ret)
{
    bool any = r->lent > 0 || r->slots > 0;

    *ret = (ledger_silent){.heard_ms = r->at_ms, .slots = r->slots};
    memcpy(ret->holder, r->holder, sizeof(ret->holder));
    for (int d = 0; d < LEDGER_WINDOWS; d++) {
        if (ledger_same_window((ledger_window)d, r->day, l->day))
            ret->held.of[d] = r->out.of[d];
        any = any || ret->held.of[d] > 0;
    }
    return any;
}

static bool is_silent(const ledger_memory *m, const record *r)
{
    return r->at_ms + m->timers.lapse_ms < m->now_ms;
}

size_t ledger_memory_silent(const ledger_memory *m, const char *subject,
                            ledger_silent ret[LEDGER_RECORDS_MAX])
{
    ledger_memory *copy = ledger_memory_copy(m);
    ledger *l = copy ? find(copy, subject) : NULL;
    size_t count = 0;

    if (l)
        roll(copy, l, copy->now_ms / LEDGER_DAY_MS);
    for (size_t i = 0; l && i < LEDGER_RECORDS_MAX; i++) {
        const record *r = &l->records[i];
        if (r->holder[0] != '\0' && !r->dead && is_silent(m, r) && held(l, r, &ret[count]))
            count++;
    }
    ledger_memory_free(copy);
    return count;
}

ledger_forgiven ledger_memory_forgive(ledger_memory *m, const char *subject, const char *holder,
                                      ledger_silent *ret)
{
    int64_t born = ledger_memory_born(m);
    ledger *l = find(m, subject);
    record *r = l ? find_record(l, holder) : NULL;

    if (!r || r->dead)
        return LEDGER_NOT_THERE;
    if (!is_silent(m, r))
        return LEDGER_NOT_SILENT;
    if (l->born != born)
        rebuild(m, l);
    roll(m, l, m->now_ms / LEDGER_DAY_MS);
    if (!held(l, r, ret))
        return LEDGER_NOT_THERE;
    for (int d = 0; d < LEDGER_WINDOWS; d++) {
        l->taken.of[d] -= ret->held.of[d];
        r->out.of[d] = 0;
    }
    r->cuts += r->lent;
    l->lent -= r->lent;
    r->lent = 0;
    r->is_void = true;
    l->slots -= r->slots;
    r->slots = 0;
    return LEDGER_FORGIVEN;
}

bool ledger_memory_totals(const ledger_memory *m, const char *subject, ledger_totals *ret)
{
    for (size_t i = 0; i < LEDGERS_MAX; i++) {
        const ledger *l = &m->ledgers[i];
        if (strcmp(l->subject, subject) != 0)
            continue;
        *ret = (ledger_totals){.ready = l->ready,
                               .day = l->day,
                               .taken = l->taken,
                               .bucket_lent = l->lent,
                               .slots = l->slots,
                               .records = count_live(l)};
        for (size_t k = 0; k < LEDGER_RECORDS_MAX; k++)
            ret->all_records += l->records[k].holder[0] != '\0';
        return true;
    }
    return false;
}
