#include "grant_world_internal.h"

static void lose_data(world *w, int how)
{
    ledger_memory *from = NULL;
    int64_t before = w->now - world_between(w, 0, how == 0 ? 100 : 300), best = -1;

    if (how == 2 && world_chance(w, 0.5)) {
        ledger_memory_flush(w->store);
        return; /* the same process */
    }
    for (int i = 0; i < SNAPSHOTS; i++)
        if (w->snapshots[i] && w->snapshot_at[i] <= before && w->snapshot_at[i] > best) {
            best = w->snapshot_at[i];
            from = w->snapshots[i];
        }
    if (how == 2 || !from)
        ledger_memory_flush(w->store);
    else
        ledger_memory_restore(w->store, from);
    for (int i = 0; i < SNAPSHOTS; i++) {
        ledger_memory_free(w->snapshots[i]);
        w->snapshots[i] = NULL;
    }
    ledger_memory_set_run(w->store, ++w->run);
    if (how == 1)
        w->skew += world_between(w, -200, 200);
    w->store_up = false;
    world_later(w, world_between(w, 5, 60), STORE_UP, -1);
    if (world_chance(w, 0.4) && w->usage_up) { /* slow or away meanwhile */
        w->usage_up = false;
        world_later(w, world_between(w, 100, w->timers.quarantine_ms + 500), USAGE_UP, -1);
    }
}

static void edit(world *w)
{
    int key =
        w->has_client && world_chance(w, 0.3) ? CLIENT : (int)world_between(w, 0, w->key_count - 1);
    static const double factors[] = {0.3, 0.8, 1.3, 2};

    w->limits[key].generation++;
    for (int d = 0; d < LEDGER_WINDOWS; d++) {
        int64_t *l = &w->limits[key].window.of[d];
        *l = GW_MAX((int64_t)((double)*l * factors[world_between(w, 0, 3)]), 1);
        w->limit_max[key].of[d] = GW_MAX(w->limit_max[key].of[d], *l);
    }
    for (int i = 0; i < w->relay_count; i++) {
        happening *h = world_later(w, world_between(w, 1, 100), EDITED, i);
        h->key = key;
        h->u.limits = w->limits[key];
    }
}

enum { KILL, KILL_GONE, EDIT, NOTHING, USAGE_AWAY, AOF, FAILOVER, FLUSH, DOWN, CUT };

void world_fault(world *w)
{
    static const int kinds[WORLD_PROFILES][8] = {
        [WORLD_NET] = {EDIT, NOTHING, USAGE_AWAY, -1},
        [WORLD_CRASH] = {KILL, KILL, KILL_GONE, EDIT, -1},
        [WORLD_PART] = {CUT, CUT, DOWN, -1},
        [WORLD_REDIS] = {AOF, FLUSH, FAILOVER, DOWN, USAGE_AWAY, -1},
        [WORLD_MIX] = {KILL, AOF, FLUSH, FAILOVER, CUT, DOWN, USAGE_AWAY, -1},
    };
    int64_t gap = world_between(w, 300, 900);
    int count = 0;

    if (w->quiet)
        return;
    while (kinds[w->profile][count] >= 0)
        count++;
    int which = kinds[w->profile][world_between(w, 0, count - 1)];
    int index = (int)world_between(w, 0, w->relay_count - 1);
    int64_t ms = (int64_t[]){50, 400, 1200}[world_between(w, 0, 2)];
    switch (which) {
    case KILL:
    case KILL_GONE:
        world_relay_kill(w, index, which == KILL_GONE);
        gap = w->profile == WORLD_MIX ? world_between(w, 1300, 1800) : gap;
        break;
    case CUT:
        w->relays[index].cut = true;
        world_later(w, ms, HEAL, index)->epoch = -1;
        gap = ms + 300;
        break;
    case DOWN:
        w->store_up = false;
        world_later(w, ms, STORE_UP, -1);
        gap = ms + 500;
        break;
    case USAGE_AWAY:
        w->usage_up = false;
        world_later(w, ms, USAGE_UP, -1);
        gap = ms + 200;
        break;
    case EDIT:
        edit(w);
        break;
    case AOF:
    case FAILOVER:
    case FLUSH:
        lose_data(w, which - AOF);
        gap = w->timers.quarantine_ms + world_between(w, 900, 1500);
        break;
    default:
        break;
    }
    world_later(w, gap, FAULT, -1);
}

/* What no clock may do: a relay that is only cut off has spent what the store does not know of. */
void world_forgive_the_silent(world *w)
{
    ledger_silent found[LEDGER_RECORDS_MAX], was;

    for (int k = 0; k < LEDGERS; k++) {
        size_t count = ledger_memory_silent(w->store, world_subjects[k], found);
        for (size_t i = 0; i < count; i++)
            (void)ledger_memory_forgive(w->store, world_subjects[k], found[i].holder, &was);
    }
}
