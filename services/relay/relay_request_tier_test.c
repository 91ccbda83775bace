/* Service tiers: what a request holds, who is refused, and by what it is billed. */
#include "relay_request_hold_kit.h"

#include "price/price_tier.h"
#include "unpriced_extra.h"

/* The fixture's model with "priority" at twice its prices and "flex" at half of them. */
static fixture *with_tiers(void **state)
{
    static price_tier tiers[2];
    fixture *f = *state;

    tiers[0] = (price_tier){.name = GW_STR("priority"), .price = f->price};
    tiers[0].price.prompt_per_million_nano_usd *= 2;
    tiers[0].price.cached_prompt_per_million_nano_usd *= 2;
    tiers[0].price.completion_per_million_nano_usd *= 2;
    tiers[0].price.reasoning_per_million_nano_usd *= 2;
    tiers[1] = (price_tier){.name = GW_STR("flex"), .price = f->price};
    tiers[1].price.prompt_per_million_nano_usd = 500000;
    tiers[1].price.cached_prompt_per_million_nano_usd = 500000;
    tiers[1].price.completion_per_million_nano_usd /= 2;
    tiers[1].price.reasoning_per_million_nano_usd /= 2;
    f->price.tiers = tiers;
    f->price.tier_count = 2;
    f->r.body.needs.max_tokens = 100;
    f->r.asked = &f->target;
    f->r.price = &f->price;
    return f;
}

static void apply_unasked(fixture *f, size_t i)
{
    ((price_tier *)(uintptr_t)f->price.tiers)[i].applies_unasked = true;
}

static int64_t held(fixture *f, const char *tier)
{
    memset(&ledgers, 0, sizeof(ledgers));
    ledgers.script = &(answer_of_ledger){.outcome = GRANT_CUT};
    f->r.body.service_tier = gw_str_of(tier);
    assert_int_equal(relay_request_take_hold(&f->r), STAGE_FORWARD);
    return ledgers.holds[0].of[LEDGER_COST_MONTH];
}

static void a_hold_is_for_the_dearest_tier_that_may_be_billed(void **state)
{
    fixture *f = with_tiers(state);

    assert_int_equal(held(f, ""), 210);
    assert_int_equal(held(f, "default"), 210);
    assert_int_equal(held(f, "priority"), 420);
    assert_int_equal(held(f, "flex"), 210); /* it may be answered in the standard tier */
    apply_unasked(f, 0);
    assert_int_equal(held(f, ""), 420);
    assert_int_equal(held(f, "auto"), 420);
    assert_int_equal(held(f, "default"), 210);
    assert_int_equal(held(f, "flex"), 210);
}

static void a_tier_that_is_not_passed_on_is_not_held_for(void **state)
{
    fixture *f = with_tiers(state);

    static const provider_kind without[] = {PROVIDER_ANTHROPIC, PROVIDER_GOOGLE,
                                            PROVIDER_LIBRECHAT};
    for (size_t i = 0; i < GW_ARRAY_LEN(without); i++) {
        f->provider.kind = without[i];
        assert_int_equal(held(f, "priority"), 210);
    }
    f->provider.kind = PROVIDER_LOCAL;
    assert_int_equal(held(f, "priority"), 420);
    f->provider.kind = PROVIDER_ANTHROPIC;
    f->r.call.endpoint = ENDPOINT_MESSAGES;
    assert_int_equal(held(f, "priority"), 420);
    f->provider.kind = PROVIDER_OPENAI;
    assert_int_equal(held(f, "priority"), 210);
}

static void a_budget_pays_for_a_shorter_answer_of_a_dearer_tier(void **state)
{
    fixture *f = with_tiers(state);
    const answer_of_ledger script[] = {
        {GRANT_REFUSED, LEDGER_OF_KEY, LEDGER_COST_MONTH, 20 + 4 * 50, 1000, 0},
        {.outcome = GRANT_CUT},
    };

    ledgers.script = script;
    f->r.body.service_tier = GW_STR("priority");
    assert_int_equal(relay_request_take_hold(&f->r), STAGE_FORWARD);
    assert_int_equal(f->r.job.ceiling, 50);
    assert_int_equal(ledgers.holds[1].of[LEDGER_COST_MONTH], 220);
}

static void a_tier_without_a_price_is_not_for_keys_with_a_budget(void **state)
{
    fixture *f = with_tiers(state);

    f->r.body.service_tier = GW_STR("scale");
    assert_int_equal(relay_request_state_of(&f->r, &f->target), TARGET_READY);
    f->policy.has_budget = true;
    assert_int_equal(relay_request_state_of(&f->r, &f->target), TARGET_UNPRICED);
    f->r.body.service_tier = GW_STR("flex");
    assert_int_equal(relay_request_state_of(&f->r, &f->target), TARGET_READY);
    f->price.tier_count = 0;
    assert_int_equal(relay_request_state_of(&f->r, &f->target), TARGET_UNPRICED);
    static const char *const free_of_it[] = {"", "auto", "default"};
    for (size_t i = 0; i < GW_ARRAY_LEN(free_of_it); i++) {
        f->r.body.service_tier = gw_str_of(free_of_it[i]);
        assert_int_equal(relay_request_state_of(&f->r, &f->target), TARGET_READY);
    }
}

static void what_is_sent_and_has_no_price_is_not_for_keys_with_a_budget(void **state)
{
    static const struct {
        provider_kind kind;
        unsigned extras;
        target_state state;
    } cases[] = {
        {PROVIDER_OPENAI, EXTRA_SOUND_IN, TARGET_UNPRICED},
        {PROVIDER_OPENAI, EXTRA_SEARCH, TARGET_READY}, /* the request has a price */
        {PROVIDER_OPENAI, EXTRA_SEARCH | EXTRA_SOUND_OUT, TARGET_UNPRICED},
        {PROVIDER_GOOGLE, EXTRA_SOUND_IN, TARGET_UNPRICED},
        {PROVIDER_GOOGLE, EXTRA_SEARCH | EXTRA_SOUND_IN, TARGET_UNPRICED},
        {PROVIDER_GOOGLE, EXTRA_SOUND_OUT, TARGET_READY},
        {PROVIDER_ANTHROPIC, EXTRA_SOUND_IN, TARGET_READY},
    };
    fixture *f = *state;

    f->policy.has_budget = true;
    f->price.request_nano_usd = 1;
    for (size_t i = 0; i < GW_ARRAY_LEN(cases); i++) {
        f->provider.kind = cases[i].kind;
        f->r.extras = cases[i].extras;
        assert_int_equal(relay_request_state_of(&f->r, &f->target), cases[i].state);
    }
}

static void an_answer_is_billed_by_the_tier_it_states(void **state)
{
    static const struct {
        const char *asked, *stated, *tier;
        int64_t cost; /* of 10 and 5 tokens; -1: unpriced */
        bool unasked; /* "priority" applies to who leaves it open */
    } cases[] = {
        {"", "", "", 20, false},
        {"", "default", "", 20, false},
        {"priority", "priority", "priority", 40, false},
        {"priority", "default", "", 20, false}, /* beyond its rate */
        {"flex", "flex", "flex", 10, false},
        {"auto", "flex", "flex", 10, false},
        {"auto", "priority", "priority", 40, false}, /* more than was held, but so it is billed */
        {"auto", "auto", "", 20, false}, /* says nothing */
        /* Not stated: the dearest that it may have been. */
        {"priority", "", "priority", 40, false},
        {"flex", "", "", 20, false},
        {"", "", "priority", 40, true},
        {"default", "", "", 20, true},
        {"", "default", "", 20, true},
        /* Tiers that the book does not have. */
        {"scale", "scale", "scale", -1, false},
        {"scale", "", "scale", -1, false},
        {"scale", "default", "", 20, false},
        {"auto", "scale", "scale", 20, false},
    };

    for (size_t i = 0; i < GW_ARRAY_LEN(cases); i++) {
        (void)tear_down(state);
        assert_int_equal(set_up(state), 0);
        fixture *f = with_tiers(state);
        const token_counts t = {.prompt = 10, .completion = 5};
        gw_str tier;
        if (cases[i].unasked)
            apply_unasked(f, 0);
        f->r.body.service_tier = gw_str_of(cases[i].asked);
        usage_tap_tier(&f->r.tap, gw_str_of(cases[i].stated));
        const model_price *p = relay_request_billed_price(&f->r, &t, &tier);
        int64_t cost = p ? price_of(p, &t) : -1;
        if (cost != cases[i].cost || !gw_str_eq_c(tier, cases[i].tier))
            fail_msg("%s, %s: %lld in \"%.*s\"", cases[i].asked, cases[i].stated, (long long)cost,
                     GW_STR_ARG(tier));
        assert_int_equal(relay_request_cost(&f->r, &t), GW_MAX(cost, 0));
        assert_int_equal(relay_request_tier_is_unknown(&f->r),
                         strcmp(cases[i].asked, "auto") == 0 &&
                             strcmp(cases[i].stated, "scale") == 0);
    }
}

/* ---- what the caller predicts ---- */

static void a_prediction_is_held_for_on_top_of_each_ceiling(void **state)
{
    fixture *f = *state;

    ledgers.script = &(answer_of_ledger){.outcome = GRANT_CUT};
    f->r.body.needs.max_tokens = 100;
    f->r.body.completions = 2;
    f->r.predicted = 30;
    assert_int_equal(relay_request_take_hold(&f->r), STAGE_FORWARD);
    assert_int_equal(f->r.job.ceiling, 100); /* the provider's is not raised by it */
    assert_int_equal(ledgers.holds[0].of[LEDGER_TOKENS_DAY], 10 + 2 * 130);
    assert_int_equal(ledgers.holds[0].of[LEDGER_COST_MONTH], 10 + 2 * 2 * 130);
}

static void a_ceiling_is_cut_to_what_is_left_beside_the_prediction(void **state)
{
    fixture *f = *state;
    const answer_of_ledger script[] = {
        {GRANT_REFUSED, LEDGER_OF_KEY, LEDGER_TOKENS_DAY, 10 + 80, 1000, 0},
        {GRANT_REFUSED, LEDGER_OF_KEY, LEDGER_COST_MONTH, 10 + 2 * 70, 1000, 0},
        {.outcome = GRANT_CUT},
    };

    ledgers.script = script;
    f->r.body.needs.max_tokens = 100;
    f->r.predicted = 30;
    assert_int_equal(relay_request_take_hold(&f->r), STAGE_FORWARD);
    assert_int_equal(ledgers.holds[1].of[LEDGER_TOKENS_DAY], 90);
    assert_int_equal(f->r.job.ceiling, 40);
    assert_int_equal(ledgers.holds[2].of[LEDGER_COST_MONTH], 150);
}

static void a_prediction_that_leaves_no_room_is_refused(void **state)
{
    fixture *f = *state;

    ledgers.script =
        &(answer_of_ledger){GRANT_REFUSED, LEDGER_OF_KEY, LEDGER_TOKENS_DAY, 10 + 30, 1000, 0};
    f->r.body.needs.max_tokens = 100;
    f->r.predicted = 30;
    assert_int_equal(relay_request_take_hold(&f->r), STAGE_SETTLE);
    assert_true(f->r.has_failed);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        HOLD_TEST(a_hold_is_for_the_dearest_tier_that_may_be_billed),
        HOLD_TEST(a_tier_that_is_not_passed_on_is_not_held_for),
        HOLD_TEST(a_budget_pays_for_a_shorter_answer_of_a_dearer_tier),
        HOLD_TEST(a_tier_without_a_price_is_not_for_keys_with_a_budget),
        HOLD_TEST(what_is_sent_and_has_no_price_is_not_for_keys_with_a_budget),
        HOLD_TEST(an_answer_is_billed_by_the_tier_it_states),
        HOLD_TEST(a_prediction_is_held_for_on_top_of_each_ceiling),
        HOLD_TEST(a_ceiling_is_cut_to_what_is_left_beside_the_prediction),
        HOLD_TEST(a_prediction_that_leaves_no_room_is_refused),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
