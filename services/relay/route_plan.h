/*
 * Route plan: which target of a route is asked next.
 *
 * The lowest tier first, by weight among those of a tier that may be asked. Targets that are known to be rate-limited come after
 * all others, whatever their tier. After a failure that may pass the same target is asked again as often as it says (maxRetries),
 * later each time; then every other target has its turn, once.
 *
 *     failure        same target again                           then
 *     FINAL          no                                          nobody
 *     OF_TARGET      no                                          the next
 *     OF_CREDENTIAL  at once, with another credential            the next
 *     PASSING        after a pause, unless it is barred now      the next
 *     LIMITED        at once, with another credential; after a   the next
 *                    pause only if no other target is ready
 *
 * Thread: pure. What is known of targets comes through a view, randomness is a seed that moves on.
 */
#pragma once

#include "relay_config.h"

#define RETRY_PAUSE_MIN_MS 250 /* before the first retry at most, doubled for each further one */
#define RETRY_PAUSE_MAX_MS                                                                         \
    10000 /* nobody's Retry-After is waited for longer: the caller can do that as well */

/* From best to worst; those after TARGET_LIMITED are barred. */
typedef enum target_state {
    TARGET_READY,
    TARGET_LIMITED, /* it said 429 and when to come back */
    TARGET_OPEN, /* its circuit breaker is open */
    TARGET_TOO_DEAR, /* the hold does not cover it */
    TARGET_UNPRICED, /* it, or the service tier asked for, has no price, and the key a budget */
    TARGET_NO_USER_KEY, /* it serves keys with a LibreChat key of their own, and this one has none */
    TARGET_UNUSABLE, /* not set up */
    TARGET_FORBIDDEN, /* not for this key */
} target_state;

typedef struct route_view {
    target_state (*state_of)(void *arg, const route_target *t);
    void *arg;
} route_view;

typedef struct route_plan { /* zeroed: nobody was asked */
    uint32_t taken; /* targets that have had their turn, a bit each */
    uint8_t retries; /* of the one whose turn it is */
    uint8_t others; /* credentials of it that were asked instead of others */
} route_plan;

/* Gives the next target its turn; NULL when none is left that may be asked. */
const route_target *route_plan_next(route_plan *p, const model_route *r, const route_view *v,
                                    uint64_t *seed);

typedef enum attempt_failure {
    FAILURE_FINAL, /* the caller's own mistake, or an answer that may have been made */
    FAILURE_OF_TARGET, /* it will not do this, ever: a parameter, a model it does not have */
    FAILURE_OF_CREDENTIAL, /* not with this one: it was refused */
    FAILURE_PASSING,
    FAILURE_LIMITED,
} attempt_failure;

typedef struct failed_attempt {
    attempt_failure failure;
    int64_t retry_after_ms; /* as it said; -1: nothing */
    int64_t left_ms; /* until the request's deadline */
} failed_attempt;

typedef struct plan_step {
    const route_target *target; /* NULL: give up */
    int64_t pause_ms; /* before it is asked */
} plan_step;

/* What follows on a failure of `t`, whose turn it is. */
plan_step route_plan_after(route_plan *p, const model_route *r, const route_target *t,
                           const failed_attempt *f, const route_view *v, uint64_t *seed);

/* The best of all targets' states: why none of them may be asked. */
target_state route_plan_best(const model_route *r, const route_view *v);
