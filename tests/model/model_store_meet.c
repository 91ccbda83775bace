/* Meetings that chance alone brings about too rarely: what is at work is held where it matters, until the others have come as far. */
#include "model_store_internal.h"

#include "rollup.h"
#include "usage_collections.h"

#include "mongo/bson_read.h"

#define PATIENCE     200 /* steps */
#define FOLD_DUE_MS  30000 /* each replica looks for dirty hours */
#define LEAPS_MAX    4
#define SWEEP_DUE_MS 16000 /* after a claim: it is old enough, and it is time for one */

/* ---- a crash that takes back what a sweep has read ---- */

void store_crash_behind_a_sweep(world *w)
{
    if (store.trap == NO_TRAP && !w->draining)
        store.trap = WAITS_FOR_CLAIM;
}

/* It shows, and is not journaled: whoever sweeps takes it for one that was left behind. */
void meet_wrote(world *w, const operation *o)
{
    if (store.trap != WAITS_FOR_CLAIM || !o->wrote || strcmp(o->point, "claim.made_up") != 0)
        return;
    world_trace(w, "the journal hangs as of a claim");
    store.trap = WAITS_FOR_SWEEP;
    store.stuck = true;
    w->mono_ms += SWEEP_DUE_MS;
    w->wall_ms += SWEEP_DUE_MS;
}

/* Its reader goes on when the store is back, and the claim is gone. */
replica *meet_trapped(const operation *o)
{
    bool trapped = store.trap == WAITS_FOR_SWEEP && o->is_find && o->caller && o->found_count &&
                   strcmp(o->point, "sweep.found") == 0;
    return trapped ? o->caller->owner : NULL;
}

void meet_crash(world *w, replica *sweeper)
{
    world_trace(w, "the store crashes behind a sweep's read");
    store.trap = NO_TRAP;
    replica_stop(sweeper);
    store_crash_keeping(w, 0);
    store_restart(w);
}

/* ---- folds of one day, each with half of what the other has ---- */

static bool is_fold_of_a_total(const operation *o)
{
    gw_str id = GW_STR_NULL;
    return o->is_find && strcmp(o->point, "day.read") == 0 && o->found_count > 1 &&
           gw_bson_str(o->found[0], "_id", &id) && gw_str_starts_with(id, GW_STR(ALL_KEYS "|"));
}

/* Now that a second one is half way; or, when there is none, for its sake: it comes with the sweep of another replica. */
static void hold_fold(world *w, operation *o)
{
    o->held = HALF_WAY;
    world_trace(w, "a fold is held half way, beside %u", store.held_count);
    store.claims_at_hold = store.claims_added;
    if (store.held_count++ == 0 && store.leaps < LEAPS_MAX) {
        store.leaps++;
        w->mono_ms += FOLD_DUE_MS;
        w->wall_ms += FOLD_DUE_MS;
    }
}

static void release_folds(world *w)
{
    world_trace(w, "%u folds go on, after %u claims", store.held_count,
                store.claims_added - store.claims_at_hold);
    gw_list_each (node, &store.operations) {
        operation *o = GW_CONTAINER_OF(node, operation, node);
        if (o->held == HALF_WAY)
            o->held = GOES_ON;
    }
    store.held_count = 0;
}

/*
 * In courses of slow reads a fold has read one hour of its day, and waits with another one until a claim has changed some: each may
 * have what the other lacks.
 */
bool meet_holds_up(world *w, operation *o)
{
    if (!w->slow_reads || w->draining || !o->caller || o->held == GOES_ON ||
        o->reread + 1 != o->found_count || !is_fold_of_a_total(o))
        return false;
    if (o->held == NOT_HELD)
        hold_fold(w, o);
    if ((store.held_count > 1 && store.claims_added != store.claims_at_hold) ||
        ++o->patience == PATIENCE)
        release_folds(w);
    return o->held == HALF_WAY;
}

/* The next document to be looked at again: in no order; of two folds the one begins where the other ends. */
size_t meet_next_reread(world *w, const operation *o)
{
    if (!w->slow_reads || !is_fold_of_a_total(o))
        return world_below(w, (unsigned)o->reread);
    return store.held_count % 2 ? 0 : o->reread - 1;
}
