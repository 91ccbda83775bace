/*
 * The hold of a request: what it may cost at most, cut in ADMIT from the grants of its key, its client and its owner, as far as they
 * have limits, and turned into spend in SETTLE.
 */
#include "relay_request_internal.h"

#include "price/price_tier.h"

#define OUTPUT_MIN_TOKENS 16 /* less than this is no answer: the budget is at its end */
/* More than any answer is, and few enough that what is open at once stays below 2^53 (LEDGER_UNLIMITED). */
#define HOLD_TOKENS_MAX  ((int64_t)1 << 40)
#define HOLD_COST_MAX    ((int64_t)1 << 47)
#define CEILING_CUTS_MAX LEDGER_LEVELS /* each level may be the one that is shorter still */

/* ---- the most it may cost ---- */

/* The ceiling when neither caller nor budget say one. */
static int64_t usual_ceiling(const relay_request *r)
{
    const model_price *price = relay_request_price(r, r->target);
    const int64_t at_most[] = {key_policy_max_tokens(r->policy), r->route->max_output_tokens,
                               price ? price->max_output_tokens : 0};
    int64_t ceiling = r->route->default_max_output_tokens;

    for (size_t i = 0; i < GW_ARRAY_LEN(at_most); i++)
        if (at_most[i] > 0)
            ceiling = GW_MIN(ceiling, at_most[i]);
    return ceiling;
}

/* By one price, whose kinds of tokens say in which way it is the dearest. */
static int64_t most_by_kinds(const relay_request *r, const model_price *p, int64_t prompt,
                             int64_t output)
{
    token_counts t = {.prompt = prompt, .completion = output, .images = r->images};

    if (p->reasoning_per_million_nano_usd > p->completion_per_million_nano_usd)
        t.reasoning = output;
    if (p->cached_prompt_per_million_nano_usd > p->prompt_per_million_nano_usd)
        t.cached = prompt;
    else if (GW_MAX(p->cache_write_per_million_nano_usd, p->long_cache_write_per_million_nano_usd) >
             p->prompt_per_million_nano_usd)
        t.cache_write = prompt;
    if (p->long_cache_write_per_million_nano_usd > p->cache_write_per_million_nano_usd)
        t.long_cache_write = t.cache_write;
    return GW_MIN(price_of(p, &t), LEDGER_UNLIMITED);
}

/* In one tier. A prompt may turn out shorter than it is held for: of each length the price counts that it may come to. */
static int64_t most_by(const relay_request *r, const model_price *p, int64_t output)
{
    int64_t prompt = r->prompt_most, most = 0;
    size_t lengths = 0;

    while (lengths < p->long_count && p->longs[lengths].above_prompt_tokens < prompt)
        lengths++;
    for (size_t i = lengths; i > 0; i--) {
        const price_long *l = &p->longs[i - 1];
        most = GW_MAX(most, most_by_kinds(r, &l->price, prompt, output));
        prompt = l->above_prompt_tokens;
    }
    return GW_MAX(most, most_by_kinds(r, p, prompt, output));
}

int64_t relay_request_most_cost(const relay_request *r, const route_target *t, const model_price *p,
                                int64_t output)
{
    const model_price *each;
    int64_t most = 0;
    size_t at = 0;

    if (!p)
        return 0;
    if (p->tier_count == 0) /* nearly always */
        return most_by(r, p, output);
    while ((each = price_next_possible(p, relay_request_tier(r, t), &at)))
        most = GW_MAX(most, most_by(r, each, output));
    return most;
}

int64_t relay_request_billed_output(const relay_request *r, int64_t made)
{
    int64_t predicted = relay_bounded_product(r->predicted, r->body.completions);

    return GW_MIN(made + predicted, LEDGER_UNLIMITED);
}

/* Of a ceiling for each completion. */
static int64_t most_output(const relay_request *r, int64_t ceiling)
{
    return relay_request_billed_output(r, relay_bounded_product(ceiling, r->body.completions));
}

/*
 * Of the targets that the request may come to the dearest counts: another one is asked when the first has failed, and there is no
 * time then to buy more. When not even that fits the hold is for the first one, and no dearer one follows it.
 */
static int64_t most_it_costs(const relay_request *r, int64_t output)
{
    const model_route *route = r->route;
    int64_t most = relay_request_most_cost(r, r->target, relay_request_price(r, r->target), output);

    for (size_t i = 0; route->target_count > 1 && !r->holds_for_one && i < route->target_count;
         i++) {
        const route_target *t = &route->targets[i];
        if (t != r->target && relay_request_state_of(r, t) < TARGET_TOO_DEAR)
            most = GW_MAX(most, relay_request_most_cost(r, t, relay_request_price(r, t), output));
    }
    return most;
}

bool relay_request_hold_covers(const relay_request *r, const route_target *t)
{
    if (!r->take || r->take->outcome != GRANT_CUT || r->take->is_unheld)
        return true;
    int64_t output = most_output(r, r->job.ceiling);
    return relay_request_most_cost(r, t, relay_request_price(r, t), output) <=
           r->take->hold.of[LEDGER_COST_MONTH];
}

static void measure_hold(relay_request *r, int64_t ceiling, ledger_amounts *ret)
{
    int64_t output = most_output(r, ceiling);
    int64_t tokens = GW_MIN(r->prompt_most + output, HOLD_TOKENS_MAX);

    *ret = (ledger_amounts){
        .of = {[LEDGER_REQUESTS_DAY] = 1,
               [LEDGER_TOKENS_DAY] = tokens,
               [LEDGER_TOKENS_MONTH] = tokens,
               [LEDGER_COST_MONTH] = GW_MIN(most_it_costs(r, output), HOLD_COST_MAX)}};
}

/* What `left` of the dimension pays for, as output tokens a completion. */
static int64_t affordable_ceiling(const relay_request *r, ledger_window w, int64_t left)
{
    int64_t fits = 0, over = r->job.ceiling;

    if (w != LEDGER_COST_MONTH)
        return (left - r->prompt_most) / r->body.completions - r->predicted;
    while (over - fits > 1) { /* by halves: prices are not to be inverted */
        int64_t middle = fits + (over - fits) / 2;
        int64_t output = most_output(r, middle);
        if (most_it_costs(r, output) <= left)
            fits = middle;
        else
            over = middle;
    }
    return fits;
}

/* ---- ADMIT ---- */

static void on_taken(void *arg)
{
    relay_request *r = arg;

    r->operations--;
    relay_request_wake(r);
}

static relay_stage refuse(relay_request *r)
{
    ledger_amounts least;

    measure_hold(r, GW_MIN(r->job.ceiling, OUTPUT_MIN_TOKENS), &least);
    return relay_request_refuse_hold(r, &least);
}

static relay_stage take_hold(relay_request *r);

/* Not even that fits: what is left may pay for the first target, or for a shorter answer. */
static relay_stage try_smaller(relay_request *r)
{
    const grant_take *t = r->take;

    if (t->short_of == LEDGER_COST_MONTH && r->route->target_count > 1 && !r->holds_for_one) {
        r->holds_for_one = true;
        return take_hold(r);
    }
    if (r->ceiling_cuts == CEILING_CUTS_MAX || r->job.ceiling == 0 ||
        t->short_of == LEDGER_REQUESTS_DAY || t->short_of >= LEDGER_WINDOWS)
        return refuse(r);
    int64_t ceiling = affordable_ceiling(r, t->short_of, t->left);
    if (ceiling < OUTPUT_MIN_TOKENS || ceiling >= r->job.ceiling)
        return refuse(r);
    r->job.ceiling = ceiling;
    r->ceiling_cuts++;
    return take_hold(r);
}

/* An answer may begin with its prompt (echo of completions): that is no output. */
static void watch_output(relay_request *r)
{
    bool may_echo = r->call.endpoint == ENDPOINT_COMPLETIONS;

    if ((r->job.ceiling == 0 && !r->body.no_output) || !r->stream)
        return;
    r->tap.is_bounded = true;
    r->output_held = relay_bounded_product(GW_MIN(r->job.ceiling, LEDGER_UNLIMITED) +
                                               (may_echo ? r->prompt_most : 0),
                                           r->body.completions);
}

static relay_stage follow_outcome(relay_request *r)
{
    gw_error err;

    switch (r->take->outcome) {
    case GRANT_WAITS:
        return STAGE_ADMIT;
    case GRANT_CUT:
        r->mark = ledger_keeper_mark(r->core->ledgers, r->take);
        watch_output(r);
        return STAGE_FORWARD;
    case GRANT_REFUSED:
        return try_smaller(r);
    default:
        (void)gw_fail(&err, GW_ERR_UNAVAILABLE,
                      "the limits of this API key cannot be checked right now");
        return relay_request_fail(r, &err);
    }
}

static relay_stage take_hold(relay_request *r)
{
    measure_hold(r, r->job.ceiling, &r->take->hold);
    if (ledger_keeper_take(r->core->ledgers, r->policy, r->take) == GRANT_WAITS)
        r->operations++;
    return follow_outcome(r);
}

relay_stage relay_request_take_hold(relay_request *r)
{
    gw_error err;

    r->take = gw_arena_new_of(r->arena, grant_take);
    if (!r->take) {
        (void)relay_request_no_memory(&err);
        return relay_request_fail(r, &err);
    }
    r->take->done = on_taken;
    r->take->arg = r;
    if (r->call.endpoint != ENDPOINT_EMBEDDINGS && !r->body.no_output)
        r->job.ceiling = r->body.needs.max_tokens > 0 ? r->body.needs.max_tokens : usual_ceiling(r);
    return take_hold(r);
}

relay_stage relay_request_resume_hold(relay_request *r)
{
    return r->take ? follow_outcome(r) : STAGE_ADMIT;
}

/* ---- SETTLE ---- */

void relay_request_leave_queue(relay_request *r)
{
    if (!r->take || r->take->outcome != GRANT_WAITS)
        return;
    ledger_keeper_forget(r->core->ledgers, r->take);
    r->take->outcome = GRANT_UNAVAILABLE;
    r->operations--;
}

void relay_request_settle_hold(relay_request *r)
{
    const relay_bill *b = &r->bill;

    if (!r->take || r->take->outcome != GRANT_CUT)
        return;
    ledger_amounts real = {.of = {[LEDGER_REQUESTS_DAY] = 1,
                                  [LEDGER_TOKENS_DAY] = b->total_tokens,
                                  [LEDGER_TOKENS_MONTH] = b->total_tokens,
                                  [LEDGER_COST_MONTH] = b->cost_nano_usd}};
    int64_t overrun = b->cost_nano_usd - r->take->hold.of[LEDGER_COST_MONTH];
    if (overrun > 0 && !r->take->is_unheld && r->core->metrics)
        gw_metric_add(r->core->metrics, M_relay_ledger_overrun_nano_usd_total, overrun, NULL, 0);
    if (r->attempts == 0) /* its row counts for no ledger */
        real = (ledger_amounts){0};
    int64_t wall_ms = r->mark.wall_ms; /* of the cut */
    r->mark = ledger_keeper_mark(r->core->ledgers, r->take);
    r->mark.wall_ms = wall_ms;
    ledger_keeper_settle(r->core->ledgers, r->take, &real);
}
