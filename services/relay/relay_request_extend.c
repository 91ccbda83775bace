/*
 * Streams that outlive their holds. A provider may make more than the ceiling that it was given, or than it was ever told of; its
 * stream is not the caller's fault, so it goes on as long as its limits pay for it:
 *
 *     what was seen is more than held for ─▶ half as much again, from the grants    no I/O when they have it
 *                                         ├▶ bought: the stream goes on meanwhile
 *                                         ├▶ less than that, if less is left
 *                                         └▶ nothing is left: an in-band error, the provider is left, what was made is billed
 *
 * "Seen" is the least that it can be (usage_tap_least()): a stream within its ceiling never comes here.
 */
#include "relay_request_internal.h"

#define STEP_MIN_TOKENS 16 /* less is not worth an extension */
#define SMALLER_MAX     LEDGER_LEVELS /* each level may be the one that has less still */

typedef struct hold_extension {
    grant_take take;
    int64_t output; /* tokens that the hold pays for with it */
    unsigned smaller; /* so often less was tried */
} hold_extension;

/* Beyond what is held, for `output` tokens of the target that answers. */
static void measure_more(const relay_request *r, int64_t output, ledger_amounts *ret)
{
    const ledger_amounts *held = &r->take->hold;
    int64_t billed = relay_request_billed_output(r, output);
    int64_t tokens = GW_MIN(r->prompt_most + billed, LEDGER_UNLIMITED);
    int64_t cost = relay_request_most_cost(r, r->asked, r->price, billed);

    *ret = (ledger_amounts){
        .of = {[LEDGER_TOKENS_DAY] = GW_MAX(tokens - held->of[LEDGER_TOKENS_DAY], 0),
               [LEDGER_TOKENS_MONTH] = GW_MAX(tokens - held->of[LEDGER_TOKENS_MONTH], 0),
               [LEDGER_COST_MONTH] = GW_MAX(cost - held->of[LEDGER_COST_MONTH], 0)}};
}

/* The most output that `left` of a window pays for, from what was seen on. By halves: prices are not to be inverted. */
static int64_t affordable_output(const relay_request *r, ledger_window w, int64_t left)
{
    int64_t fits = usage_tap_least(&r->tap), over = r->extension->output;
    ledger_amounts more;

    while (over - fits > 1) {
        int64_t middle = fits + (over - fits) / 2;
        measure_more(r, middle, &more);
        if (more.of[w] <= left)
            fits = middle;
        else
            over = middle;
    }
    return fits;
}

static void on_extended(void *arg)
{
    relay_request *r = arg;

    r->operations--;
    relay_request_wake(r);
}

static void count(const relay_request *r, const char *outcome)
{
    if (r->core->metrics)
        gw_metric_count(r->core->metrics, M_relay_hold_extensions_total, gw_str_of(outcome));
}

static void ask(relay_request *r)
{
    hold_extension *x = r->extension;

    measure_more(r, x->output, &x->take.hold);
    if (ledger_keeper_extend(r->core->ledgers, r->take, &x->take) == GRANT_WAITS)
        r->operations++;
}

/* False when nothing worth it is left. */
static bool ask_for_less(relay_request *r)
{
    hold_extension *x = r->extension;

    if (x->smaller == SMALLER_MAX || x->take.short_of >= LEDGER_WINDOWS)
        return false;
    int64_t output = affordable_output(r, x->take.short_of, x->take.left);
    if (output < usage_tap_least(&r->tap) + STEP_MIN_TOKENS || output >= x->output)
        return false;
    x->output = output;
    x->smaller++;
    ask(r);
    return true;
}

static void end_stream(relay_request *r)
{
    const hold_extension *x = r->extension;
    openai_error e;
    gw_error err;

    r->hold_is_spent = true;
    if (x && x->take.outcome == GRANT_REFUSED) {
        relay_request_limit_reached(
            r, &x->take, " by this answer, which went on beyond what was held for it and was ended",
            &e);
    } else {
        (void)gw_fail(
            &err, GW_ERR_UNAVAILABLE,
            "this answer went on beyond what was held for it and was ended, as the limits "
            "of this API key cannot be checked right now");
        openai_error_from(&e, &err);
    }
    (void)relay_request_fail_with(r, &e);
}

void relay_request_follow_extension(relay_request *r)
{
    hold_extension *x = r->extension;

    if (!x || x->output == 0)
        return;
    if (r->tap.finished_choices >= r->body.choices) { /* it is at its end meanwhile */
        relay_request_leave_extension(r);
        return;
    }
    while (x->take.outcome == GRANT_REFUSED && ask_for_less(r)) {
    }
    if (x->take.outcome == GRANT_WAITS)
        return;
    if (x->take.outcome == GRANT_CUT) {
        r->output_held = x->output;
        count(r, "extended");
    } else {
        count(r, x->take.outcome == GRANT_REFUSED ? "refused" : "unavailable");
        end_stream(r);
    }
    x->output = 0; /* decided */
}

void relay_request_extend_hold(relay_request *r)
{
    int64_t least = usage_tap_least(&r->tap);

    if (r->mode != ANSWER_EVENTS) /* it is there as a whole: nothing can be left off */
        return;
    if (!r->extension)
        r->extension = gw_arena_new_of(r->arena, hold_extension);
    if (!r->extension) {
        end_stream(r);
        return;
    }
    if (r->extension->output != 0) /* it waits for its answer already */
        return;
    *r->extension = (hold_extension){
        .take = {.done = on_extended, .arg = r},
        .output = GW_MIN(least + GW_MAX(r->output_held / 2, STEP_MIN_TOKENS), LEDGER_UNLIMITED)};
    ask(r);
    relay_request_follow_extension(r);
}

void relay_request_leave_extension(relay_request *r)
{
    hold_extension *x = r->extension;

    if (!x || x->output == 0)
        return;
    x->output = 0;
    if (x->take.outcome != GRANT_WAITS)
        return;
    ledger_keeper_forget(r->core->ledgers, &x->take);
    x->take.outcome = GRANT_UNAVAILABLE;
    r->operations--;
}
