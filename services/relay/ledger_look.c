#include "ledger_look.h"

#include "ledger_usage.h"

#include <stdlib.h>

#define NO_LOAD 1 /* a load id that nothing has: nothing is left out */
#define MICRO   INT64_C(1000000)

typedef struct part {
    ledger_look *look;
    ledger_seen seen;
} part;

struct ledger_look {
    ledger_look_options o;
    part parts[LEDGER_LEVELS];
    size_t waits; /* for so many answers */
    bool cancelled;
    gw_status rc;
};

static void answered(part *p)
{
    ledger_look *l = p->look;
    ledger_seen seen[LEDGER_LEVELS];

    if (--l->waits > 0)
        return;
    for (size_t i = 0; i < l->o.count; i++)
        seen[i] = l->parts[i].seen;
    if (!l->cancelled)
        l->o.done(l->o.arg, l->rc, l->rc == GW_OK ? seen : NULL, l->o.count);
    free(l);
}

/* What the store counts of spend came to it since the build-up that was left out. */
static void on_used(void *arg, gw_status rc, const ledger_amounts *used, const gw_error *err)
{
    part *p = arg;

    (void)err;
    if (rc != GW_OK)
        p->look->rc = rc;
    for (int d = 0; rc == GW_OK && d < LEDGER_WINDOWS; d++)
        p->seen.used.of[d] += used->of[d];
    answered(p);
}

static void ask_usage(part *p, int64_t load)
{
    const ledger_look_options *o = &p->look->o;
    const ledger_question q = {.subject = p->seen.account.subject,
                               .load = load > 0 ? load : NO_LOAD,
                               .day = ledger_day_of(p->seen.now_ms),
                               .fresh = true};

    if (p->look->cancelled || !ledger_has_window(&p->seen.account.limits)) {
        answered(p);
    } else if (!ledger_usage_ask(o->usage, o->service_token, &q, on_used, p)) {
        p->look->rc = GW_ERR_NO_MEMORY;
        answered(p);
    }
}

/* Settled here after the last statement: until the next one the store has it under what is held. */
static void add_unstated(ledger_seen *seen, const ledger_standing *s, const ledger_unstated *own)
{
    int64_t day = ledger_day_of(s->now_ms);

    if (own->load == 0 || own->load != s->load)
        return;
    for (int d = 0; d < LEDGER_WINDOWS; d++) {
        if (!ledger_same_window((ledger_window)d, own->day, day))
            continue;
        seen->used.of[d] += own->spent.of[d];
        seen->held.of[d] -= own->spent.of[d];
    }
    seen->bucket_held = GW_MAX(seen->bucket_held - own->cuts, 0);
}

static void on_looked(void *arg, gw_status rc, const ledger_standing *s)
{
    part *p = arg;
    ledger_seen *seen = &p->seen;

    if (rc == GW_ERR_CANCELLED) { /* the relay goes */
        p->look->rc = rc;
        answered(p);
        return;
    }
    if (rc == GW_OK)
        seen->now_ms = s->now_ms;
    if (rc != GW_OK || !s->found) {
        ask_usage(p, 0);
        return;
    }
    for (int d = 0; d < LEDGER_WINDOWS; d++) {
        seen->held.of[d] = s->lent.of[d];
        seen->used.of[d] = s->taken.of[d] - s->lent.of[d];
    }
    seen->bucket_left = GW_MAX(s->bucket_left / MICRO, 0);
    seen->bucket_held = s->bucket_lent;
    seen->slots_held = s->slots_lent;
    add_unstated(seen, s, &p->look->o.unstated[p - p->look->parts]);
    if (s->ready)
        answered(p);
    else
        ask_usage(p, s->load);
}

ledger_look *ledger_look_begin(const ledger_look_options *o)
{
    ledger_look *l = calloc(1, sizeof(*l));

    if (!l)
        return NULL;
    l->o = *o;
    l->waits = o->count;
    for (size_t i = 0; i < o->count; i++)
        l->parts[i] = (part){.look = l,
                             .seen = {.account = o->accounts[i],
                                      .bucket_left = o->accounts[i].limits.per_minute,
                                      .now_ms = o->now_ms}};
    for (size_t i = 0; i < o->count; i++) {
        part *p = &l->parts[i];
        if (o->store->ops->look(o->store, p->seen.account.subject, on_looked, p))
            continue;
        l->rc = GW_ERR_NO_MEMORY;
        l->waits--;
    }
    if (l->waits == 0) {
        free(l);
        return NULL;
    }
    return l;
}

void ledger_look_cancel(ledger_look *l)
{
    l->cancelled = true;
}
