#include "ledger_store_memory_internal.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

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

ledger *memory_ledger(ledger_memory *m, const char *subject)
{
    for (size_t i = 0; i < LEDGERS_MAX; i++)
        if (strcmp(m->ledgers[i].subject, subject) == 0)
            return &m->ledgers[i];
    return NULL;
}

record *memory_record(ledger *l, const char *holder)
{
    for (size_t i = 0; i < LEDGER_RECORDS_MAX; i++)
        if (strcmp(l->records[i].holder, holder) == 0)
            return &l->records[i];
    return NULL;
}

int64_t memory_count_live(const ledger *l)
{
    int64_t n = 0;

    for (size_t i = 0; i < LEDGER_RECORDS_MAX; i++)
        n += l->records[i].holder[0] != '\0' && !l->records[i].dead;
    return n;
}

void memory_rebuild(ledger_memory *m, ledger *l)
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

void memory_roll(ledger_memory *m, ledger *l, int64_t day)
{
    int64_t today = m->now_ms / LEDGER_DAY_MS, to = GW_MAX(today, l->day);

    if (day <= today + 1)
        to = GW_MAX(to, day);
    for (int d = 0; d < LEDGER_WINDOWS; d++)
        if (!ledger_same_window((ledger_window)d, to, l->day))
            l->taken.of[d] = 0;
    l->day = to;
}

void memory_refill(ledger_memory *m, ledger *l)
{
    int64_t cap = l->limits.per_minute * MICRO;
    int64_t top = GW_MAX(cap - l->lent * MICRO, GW_MIN(l->level, 0));
    int64_t dt = GW_MAX(m->now_ms - l->level_at_ms, 0);

    l->level = GW_MIN(top, l->level + l->limits.per_minute * dt * MICRO / 60000);
    l->level_at_ms = GW_MAX(m->now_ms, l->level_at_ms);
}

ledger_loaded ledger_memory_load(ledger_memory *m, const char *subject, int64_t load, int64_t day,
                                 const ledger_amounts *used)
{
    int64_t born = ledger_memory_born(m);
    ledger *l = memory_ledger(m, subject);

    if (!l || l->load != load || l->born != born)
        return LEDGER_LOAD_OLD;
    if (l->ready)
        return LEDGER_LOADED;
    if (m->now_ms < l->wait_until_ms)
        return LEDGER_LOAD_EARLY;
    memory_roll(m, l, m->now_ms / LEDGER_DAY_MS);
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
    ledger *l = copy ? memory_ledger(copy, subject) : NULL;

    *ret = (ledger_standing){.now_ms = m->now_ms};
    if (l && m->born_run == m->run && l->born == m->born_at_ms) {
        memory_roll(copy, l, copy->now_ms / LEDGER_DAY_MS);
        memory_refill(copy, l);
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
    ledger *l = copy ? memory_ledger(copy, subject) : NULL;
    size_t count = 0;

    if (l)
        memory_roll(copy, l, copy->now_ms / LEDGER_DAY_MS);
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
    ledger *l = memory_ledger(m, subject);
    record *r = l ? memory_record(l, holder) : NULL;

    if (!r || r->dead)
        return LEDGER_NOT_THERE;
    if (!is_silent(m, r))
        return LEDGER_NOT_SILENT;
    if (l->born != born)
        memory_rebuild(m, l);
    memory_roll(m, l, m->now_ms / LEDGER_DAY_MS);
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
                               .records = memory_count_live(l)};
        for (size_t k = 0; k < LEDGER_RECORDS_MAX; k++)
            ret->all_records += l->records[k].holder[0] != '\0';
        return true;
    }
    return false;
}
