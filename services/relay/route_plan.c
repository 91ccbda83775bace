#include "route_plan.h"

/* splitmix64: weights and pauses need no secrecy, and a system call a request would be seen. */
static uint64_t random_below(uint64_t *seed, uint64_t bound)
{
    uint64_t z = *seed += 0x9E3779B97F4A7C15U;

    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9U;
    z = (z ^ (z >> 27)) * 0x94D049BB133111EBU;
    return (z ^ (z >> 31)) % bound;
}

/* ---- whose turn it is ---- */

static bool had_its_turn(const route_plan *p, size_t i)
{
    return p->taken & (1U << i);
}

/* By weight among `bits`, of which there is at least one. */
static size_t draw(const model_route *r, uint32_t bits, uint64_t *seed)
{
    size_t first = (size_t)__builtin_ctz(bits);
    uint64_t sum = 0;

    if ((bits & (bits - 1)) == 0)
        return first;
    for (uint32_t b = bits; b; b &= b - 1)
        sum += r->targets[__builtin_ctz(b)].weight;
    uint64_t ticket = random_below(seed, sum);
    for (uint32_t b = bits; b; b &= b - 1) {
        size_t i = (size_t)__builtin_ctz(b);
        if (ticket < r->targets[i].weight)
            return i;
        ticket -= r->targets[i].weight;
    }
    return first;
}

/* Of the targets in `bits` those of the lowest tier. */
static uint32_t lowest_tier(const model_route *r, uint32_t bits)
{
    uint8_t tier = r->targets[__builtin_ctz(bits)].tier; /* they are in order of it */
    uint32_t of_tier = 0;

    for (uint32_t b = bits; b; b &= b - 1) {
        if (r->targets[__builtin_ctz(b)].tier == tier)
            of_tier |= b & -b;
    }
    return of_tier;
}

static const route_target *give_turn(route_plan *p, const model_route *r, size_t i)
{
    p->taken |= 1U << i;
    p->retries = p->others = 0;
    return &r->targets[i];
}

/* The next one in a state up to `worst`. */
static const route_target *next_of(route_plan *p, const model_route *r, const route_view *v,
                                   target_state worst, uint64_t *seed)
{
    uint32_t by_state[TARGET_LIMITED + 1] = {0};

    for (size_t i = 0; i < r->target_count; i++) {
        if (had_its_turn(p, i))
            continue;
        target_state state = v->state_of(v->arg, &r->targets[i]);
        if (state <= worst)
            by_state[state] |= 1U << i;
    }
    for (size_t s = TARGET_READY; s < GW_ARRAY_LEN(by_state); s++) {
        if (by_state[s])
            return give_turn(p, r, draw(r, lowest_tier(r, by_state[s]), seed));
    }
    return NULL;
}

const route_target *route_plan_next(route_plan *p, const model_route *r, const route_view *v,
                                    uint64_t *seed)
{
    return next_of(p, r, v, TARGET_LIMITED, seed);
}

target_state route_plan_best(const model_route *r, const route_view *v)
{
    target_state best = TARGET_FORBIDDEN;

    for (size_t i = 0; i < r->target_count; i++)
        best = GW_MIN(best, v->state_of(v->arg, &r->targets[i]));
    return best;
}

/* ---- after a failure ---- */

/*
 * Between half of a pause that doubles and the whole of it, so that those who failed together do not come back together. Never
 * before the provider said, and a little after it for the same reason.
 */
static int64_t pause_before(const route_plan *p, int64_t retry_after_ms, uint64_t *seed)
{
    int64_t whole = GW_MIN((int64_t)RETRY_PAUSE_MIN_MS << p->retries, RETRY_PAUSE_MAX_MS);
    int64_t jitter = (int64_t)random_below(seed, (uint64_t)whole / 2 + 1);

    return retry_after_ms >= whole / 2 ? retry_after_ms + jitter : whole / 2 + jitter;
}

/* A pause that the request, the target or our patience has no time for is none. */
static bool fits(int64_t pause_ms, const route_target *t, int64_t left_ms)
{
    return pause_ms <= RETRY_PAUSE_MAX_MS && pause_ms < left_ms &&
           (t->total_timeout_ms == 0 || pause_ms < t->total_timeout_ms);
}

static bool try_again(route_plan *p, const route_target *t, const failed_attempt *f,
                      const route_view *v, uint64_t *seed, plan_step *ret)
{
    if (p->retries >= t->max_retries || v->state_of(v->arg, t) > TARGET_LIMITED)
        return false;
    int64_t pause_ms = pause_before(p, f->retry_after_ms, seed);
    if (!fits(pause_ms, t, f->left_ms))
        return false;
    p->retries++;
    *ret = (plan_step){t, pause_ms};
    return true;
}

/* A credential that fails is limited: a target that is ready all the same has one that is not. */
static bool has_another_credential(route_plan *p, const route_target *t, const route_view *v)
{
    if (v->state_of(v->arg, t) != TARGET_READY || p->others >= CREDENTIALS_MAX - 1)
        return false;
    p->others++;
    return true;
}

static bool is_passing(attempt_failure f)
{
    return f == FAILURE_PASSING || f == FAILURE_LIMITED;
}

plan_step route_plan_after(route_plan *p, const model_route *r, const route_target *t,
                           const failed_attempt *f, const route_view *v, uint64_t *seed)
{
    plan_step step = {0};

    if (f->failure == FAILURE_FINAL)
        return step;
    if ((f->failure == FAILURE_LIMITED || f->failure == FAILURE_OF_CREDENTIAL) &&
        has_another_credential(p, t, v))
        return (plan_step){t, 0};
    if (f->failure == FAILURE_LIMITED)
        step.target = next_of(p, r, v, TARGET_READY, seed);
    if (!step.target && (!is_passing(f->failure) || !try_again(p, t, f, v, seed, &step)))
        step.target = route_plan_next(p, r, v, seed);
    return step;
}
