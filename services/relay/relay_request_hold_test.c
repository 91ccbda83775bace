/* What a request holds before it is sent, what is refused, and what headers say of it. */
#include "relay_request_hold_kit.h"

static void a_hold_is_the_prompt_and_all_the_output_that_may_come(void **state)
{
    fixture *f = *state;

    ledgers.script = &(answer_of_ledger){.outcome = GRANT_CUT};
    f->r.body.needs.max_tokens = 100;
    f->r.body.completions = 3;
    assert_int_equal(relay_request_take_hold(&f->r), STAGE_FORWARD);
    assert_int_equal(f->r.job.ceiling, 100);
    assert_int_equal(ledgers.holds[0].of[LEDGER_REQUESTS_DAY], 1);
    assert_int_equal(ledgers.holds[0].of[LEDGER_TOKENS_DAY], 310);
    assert_int_equal(ledgers.holds[0].of[LEDGER_TOKENS_MONTH], 310);
    assert_int_equal(ledgers.holds[0].of[LEDGER_COST_MONTH], 10 + 600);
    assert_int_equal(f->r.mark.wall_ms, 7);
}

static void without_a_ceiling_of_the_callers_the_routes_stands_up_to_the_models(void **state)
{
    fixture *f = *state;

    ledgers.script = (const answer_of_ledger[]){{.outcome = GRANT_CUT}, {.outcome = GRANT_CUT}};
    assert_int_equal(relay_request_take_hold(&f->r), STAGE_FORWARD);
    assert_int_equal(f->r.job.ceiling, 4096);
    f->route.max_output_tokens = 1000;
    assert_int_equal(relay_request_take_hold(&f->r), STAGE_FORWARD);
    assert_int_equal(f->r.job.ceiling, 1000);
}

static void a_request_for_no_output_holds_its_prompt_only(void **state)
{
    fixture *f = *state;

    ledgers.script = &(answer_of_ledger){.outcome = GRANT_CUT};
    f->r.body.no_output = true;
    assert_int_equal(relay_request_take_hold(&f->r), STAGE_FORWARD);
    assert_int_equal(f->r.job.ceiling, 0);
    assert_int_equal(ledgers.holds[0].of[LEDGER_TOKENS_DAY], 10);
    f->r.job.policy = f->r.policy;
    f->r.job.body = &f->r.body;
    f->r.job.route = f->r.route;
    assert_int_equal(adapter_ceiling(&f->r.job), 0); /* the caller's 0 goes up as it is */
}

/* What completions echo is their prompt. */
static void output_that_nobody_asked_for_is_watched(void **state)
{
    fixture *f = *state;

    ledgers.script = &(answer_of_ledger){.outcome = GRANT_CUT};
    f->r.call.endpoint = ENDPOINT_COMPLETIONS;
    f->r.body.no_output = true;
    f->r.body.completions = 2;
    f->r.stream = true;
    f->r.output_held = INT64_MAX;
    assert_int_equal(relay_request_take_hold(&f->r), STAGE_FORWARD);
    assert_true(f->r.tap.is_bounded);
    assert_int_equal(f->r.output_held, 2 * 10);
}

/* Sums of what is open have to stay numbers that a ledger can count with. */
static void an_absurd_ceiling_is_no_absurd_hold(void **state)
{
    fixture *f = *state;

    ledgers.script = &(answer_of_ledger){.outcome = GRANT_CUT};
    f->r.stream = true;
    f->r.body.needs.max_tokens = INT64_MAX;
    assert_int_equal(relay_request_take_hold(&f->r), STAGE_FORWARD);
    assert_int_equal(ledgers.holds[0].of[LEDGER_TOKENS_DAY], (int64_t)1 << 40);
    assert_int_equal(ledgers.holds[0].of[LEDGER_COST_MONTH], (int64_t)1 << 47);
    assert_true(f->r.output_held > 0);
}

/* 10 tokens of prompt, by the dearest that the provider may make of them. */
static void a_hold_pays_for_each_use_of_the_providers_cache(void **state)
{
    fixture *f = *state;

    f->r.body.no_output = true;
    assert_int_equal(relay_request_most_cost(&f->r, &f->target, &f->price, 0), 10);
    f->price.cache_write_per_million_nano_usd = 1250000;
    assert_int_equal(relay_request_most_cost(&f->r, &f->target, &f->price, 0),
                     12); /* 12.5 to even */
    f->price.long_cache_write_per_million_nano_usd = 2000000;
    assert_int_equal(relay_request_most_cost(&f->r, &f->target, &f->price, 0), 20);
    f->price.cache_write_per_million_nano_usd = 0;
    assert_int_equal(relay_request_most_cost(&f->r, &f->target, &f->price, 0), 20);
    f->price.cached_prompt_per_million_nano_usd = 3000000;
    assert_int_equal(relay_request_most_cost(&f->r, &f->target, &f->price, 0), 30);
}

/* Key, client and owner may each have less left than the one before. */
static void the_ceiling_is_cut_to_what_each_level_pays_for(void **state)
{
    fixture *f = *state;
    const answer_of_ledger script[] = {
        {GRANT_REFUSED, LEDGER_OF_KEY, LEDGER_TOKENS_DAY, 510, 1000, 0},
        {GRANT_REFUSED, LEDGER_OF_CLIENT, LEDGER_COST_MONTH, 10 + 2 * 200, 1000, 0},
        {.outcome = GRANT_CUT},
    };

    ledgers.script = script;
    assert_int_equal(relay_request_take_hold(&f->r), STAGE_FORWARD);
    assert_int_equal(ledgers.taken, 3);
    assert_int_equal(ledgers.holds[1].of[LEDGER_TOKENS_DAY], 510);
    assert_int_equal(f->r.job.ceiling, 200);
    assert_int_equal(ledgers.holds[2].of[LEDGER_COST_MONTH], 410);
}

static void a_limit_that_shrinks_each_time_is_not_followed_for_ever(void **state)
{
    fixture *f = *state;
    const answer_of_ledger script[] = {
        {GRANT_REFUSED, LEDGER_OF_KEY, LEDGER_TOKENS_DAY, 1000, 1000, 0},
        {GRANT_REFUSED, LEDGER_OF_KEY, LEDGER_TOKENS_DAY, 900, 1000, 0},
        {GRANT_REFUSED, LEDGER_OF_KEY, LEDGER_TOKENS_DAY, 800, 1000, 0},
        {GRANT_REFUSED, LEDGER_OF_KEY, LEDGER_TOKENS_DAY, 700, 1000, 0},
    };

    ledgers.script = script;
    assert_int_equal(relay_request_take_hold(&f->r), STAGE_SETTLE);
    assert_int_equal(ledgers.taken, 4);
    assert_true(f->r.has_failed);
}

/* A second target, three times as dear. */
static void add_dear_target(fixture *f, route_target targets[2], model_price prices[2])
{
    targets[0] = f->target;
    targets[1] =
        (route_target){.provider = &f->provider, .upstream_model = GW_STR("dear"), .tier = 1};
    prices[0] = f->price;
    prices[1] = f->price;
    prices[1].model = GW_STR("dear");
    prices[1].prompt_per_million_nano_usd *= 3;
    prices[1].completion_per_million_nano_usd *= 3;
    f->route.targets = targets;
    f->route.target_count = 2;
    f->config.prices = prices;
    f->config.price_count = 2;
    f->r.target = &targets[0];
    f->r.body.needs.max_tokens = 100;
}

static void the_hold_is_for_the_dearest_target(void **state)
{
    fixture *f = *state;
    route_target targets[2];
    model_price prices[2];

    add_dear_target(f, targets, prices);
    ledgers.script = &(answer_of_ledger){.outcome = GRANT_CUT};
    assert_int_equal(relay_request_take_hold(&f->r), STAGE_FORWARD);
    assert_int_equal(ledgers.holds[0].of[LEDGER_COST_MONTH], 3 * (10 + 200));
    assert_int_equal(relay_request_state_of(&f->r, &targets[1]), TARGET_READY);
}

static void a_target_that_is_not_set_up_makes_no_hold_dearer(void **state)
{
    fixture *f = *state;
    route_target targets[2];
    model_price prices[2];
    provider_config unusable = {.name = GW_STR("other"), .unusable = "no credential"};

    add_dear_target(f, targets, prices);
    targets[1].provider = &unusable;
    ledgers.script = &(answer_of_ledger){.outcome = GRANT_CUT};
    assert_int_equal(relay_request_take_hold(&f->r), STAGE_FORWARD);
    assert_int_equal(ledgers.holds[0].of[LEDGER_COST_MONTH], 10 + 200);
}

static void
when_the_dearest_does_not_fit_the_hold_is_for_the_first_and_no_dearer_one_follows(void **state)
{
    fixture *f = *state;
    route_target targets[2];
    model_price prices[2];
    const answer_of_ledger script[] = {
        {GRANT_REFUSED, LEDGER_OF_KEY, LEDGER_COST_MONTH, 300, 1000, 0},
        {.outcome = GRANT_CUT},
    };

    add_dear_target(f, targets, prices);
    ledgers.script = script;
    assert_int_equal(relay_request_take_hold(&f->r), STAGE_FORWARD);
    assert_int_equal(ledgers.holds[1].of[LEDGER_COST_MONTH], 10 + 200);
    assert_int_equal(f->r.job.ceiling, 100);
    assert_int_equal(relay_request_state_of(&f->r, &targets[0]), TARGET_READY);
    assert_int_equal(relay_request_state_of(&f->r, &targets[1]), TARGET_TOO_DEAR);
}

static void what_is_let_in_while_the_store_is_away_may_go_to_every_target(void **state)
{
    fixture *f = *state;
    route_target targets[2];
    model_price prices[2];
    gw_auto_buf out = {0};
    gw_metrics *metrics = gw_metrics_new(relay_metric_table, RELAY_METRIC_COUNT);

    add_dear_target(f, targets, prices);
    f->core.metrics = gw_metrics_shard_new(metrics);
    ledgers.is_away = true;
    ledgers.script = &(answer_of_ledger){.outcome = GRANT_CUT};
    assert_int_equal(relay_request_take_hold(&f->r), STAGE_FORWARD);
    assert_int_equal(relay_request_state_of(&f->r, &targets[0]), TARGET_READY);
    assert_int_equal(relay_request_state_of(&f->r, &targets[1]), TARGET_READY);
    f->r.attempts = 1;
    f->r.bill = (relay_bill){.total_tokens = 30, .cost_nano_usd = 50};
    relay_request_settle_hold(&f->r);
    assert_int_equal(ledgers.real.of[LEDGER_COST_MONTH], 50);
    gw_metrics_render(metrics, &out); /* no more than was held: nothing was */
    assert_false(
        gw_str_contains(gw_buf_str(&out), GW_STR("relay_ledger_overrun_nano_usd_total 50")));
    gw_metrics_free(metrics);
}

/* Another attempt has its own price, or none. */
static void a_target_without_a_price_is_not_for_keys_with_a_budget(void **state)
{
    fixture *f = *state;
    route_target targets[2];
    model_price prices[2];

    add_dear_target(f, targets, prices);
    f->config.price_count = 1; /* the second one has none, and the name asked for neither */
    f->r.body.model = GW_STR("alias");
    targets[0].upstream_model = GW_STR("gpt-4o");
    assert_int_equal(relay_request_state_of(&f->r, &targets[1]), TARGET_READY);
    f->policy.has_budget = true;
    assert_int_equal(relay_request_state_of(&f->r, &targets[0]), TARGET_READY);
    assert_int_equal(relay_request_state_of(&f->r, &targets[1]), TARGET_UNPRICED);
    f->r.call.endpoint = ENDPOINT_COUNT_TOKENS; /* costs nothing */
    assert_int_equal(relay_request_state_of(&f->r, &targets[1]), TARGET_READY);
}

static void a_store_that_is_away_is_a_503(void **state)
{
    fixture *f = *state;

    ledgers.script = &(answer_of_ledger){.outcome = GRANT_UNAVAILABLE};
    assert_int_equal(relay_request_take_hold(&f->r), STAGE_SETTLE);
    assert_int_equal(f->r.troubles->failure.http_status, 503);
}

static void one_that_waits_leaves_the_queue_once(void **state)
{
    fixture *f = *state;

    ledgers.script = &(answer_of_ledger){.outcome = GRANT_WAITS};
    assert_int_equal(relay_request_take_hold(&f->r), STAGE_ADMIT);
    assert_int_equal(f->r.operations, 1);
    relay_request_leave_queue(&f->r);
    relay_request_leave_queue(&f->r);
    relay_request_settle_hold(&f->r);
    assert_int_equal(f->r.operations, 0);
    assert_int_equal(ledgers.forgotten, 1);
    assert_int_equal(ledgers.settled, 0);
}

static void what_no_provider_was_asked_for_costs_nothing(void **state)
{
    fixture *f = *state;

    ledgers.script = (const answer_of_ledger[]){{.outcome = GRANT_CUT}, {.outcome = GRANT_CUT}};
    (void)relay_request_take_hold(&f->r);
    f->r.bill = (relay_bill){.total_tokens = 30, .cost_nano_usd = 50};
    f->r.attempts = 1;
    relay_request_settle_hold(&f->r);
    assert_int_equal(ledgers.real.of[LEDGER_REQUESTS_DAY], 1);
    assert_int_equal(ledgers.real.of[LEDGER_TOKENS_MONTH], 30);
    assert_int_equal(ledgers.real.of[LEDGER_COST_MONTH], 50);
    assert_int_equal(f->r.mark.wall_ms, 7); /* of the cut */
    (void)relay_request_take_hold(&f->r);
    f->r.attempts = 0;
    relay_request_settle_hold(&f->r);
    assert_int_equal(ledgers.real.of[LEDGER_REQUESTS_DAY], 0);
}

static gw_str header_of(const relay_answer *a, const char *name)
{
    for (size_t i = 0; i < a->header_count; i++)
        if (gw_str_eq_c(a->headers[i].name, name))
            return a->headers[i].value;
    return GW_STR("");
}

static void headers_tell_the_limit_that_least_is_left_of(void **state)
{
    fixture *f = *state;
    relay_answer a = {0};
    const ledger_amounts none = {
        {LEDGER_UNLIMITED, LEDGER_UNLIMITED, LEDGER_UNLIMITED, LEDGER_UNLIMITED}};

    ledgers.script = &(answer_of_ledger){.outcome = GRANT_CUT};
    (void)relay_request_take_hold(&f->r);
    ledgers.left_count = 2;
    ledgers.left[0] = (grant_left){.limits = {.window = none, .per_minute = 60},
                                   .bucket_left = 40,
                                   .wall_ms = LEDGER_DAY_MS / 2};
    ledgers.left[0].limits.window.of[LEDGER_TOKENS_DAY] = 1000;
    ledgers.left[0].left.of[LEDGER_TOKENS_DAY] = 900;
    ledgers.left[1] = (grant_left){.limits = {.window = none}, .wall_ms = LEDGER_DAY_MS / 2};
    ledgers.left[1].limits.window.of[LEDGER_REQUESTS_DAY] = 500;
    ledgers.left[1].left.of[LEDGER_REQUESTS_DAY] = 30;
    ledgers.left[1].limits.window.of[LEDGER_TOKENS_MONTH] = 100000;
    ledgers.left[1].left.of[LEDGER_TOKENS_MONTH] = 700;
    relay_request_add_limits(&f->r, &a);
    assert_true(gw_str_eq_c(header_of(&a, "x-ratelimit-limit-requests"), "500"));
    assert_true(gw_str_eq_c(header_of(&a, "x-ratelimit-remaining-requests"), "30"));
    assert_true(gw_str_eq_c(header_of(&a, "x-ratelimit-reset-requests"), "12h0m0s"));
    assert_true(gw_str_eq_c(header_of(&a, "x-ratelimit-limit-tokens"), "100000"));
    assert_true(gw_str_eq_c(header_of(&a, "x-ratelimit-remaining-tokens"), "700"));
}

/* Whatever the relay's own clock says: midnight is the store's. */
static void anthropics_callers_are_told_when_a_limit_is_whole_again(void **state)
{
    fixture *f = *state;
    relay_answer a = {0};

    ledgers.script = &(answer_of_ledger){.outcome = GRANT_CUT};
    (void)relay_request_take_hold(&f->r);
    f->r.call.dialect = DIALECT_ANTHROPIC;
    ledgers.left_count = 1;
    ledgers.left[0] = (grant_left){
        .limits = {.window = {{LEDGER_UNLIMITED, 1000, LEDGER_UNLIMITED, LEDGER_UNLIMITED}},
                   .per_minute = 60},
        .left = {{0, 900, 0, 0}},
        .bucket_left = 59,
        .wall_ms = LEDGER_DAY_MS - 1500};
    relay_request_add_limits(&f->r, &a);
    assert_true(
        gw_str_eq_c(header_of(&a, "anthropic-ratelimit-tokens-reset"), "1970-01-02T00:00:00.000Z"));
    assert_true(gw_str_eq_c(header_of(&a, "anthropic-ratelimit-requests-reset"),
                            "1970-01-02T00:00:00.000Z"));
}

/* Refused before anything was held, or a list of models: the limits, and what is left where this relay knows it. */
static void answers_without_a_hold_tell_what_is_known(void **state)
{
    fixture *f = *state;
    relay_answer a = {0}, b = {0}, c = {0};
    const ledger_amounts none = {
        {LEDGER_UNLIMITED, LEDGER_UNLIMITED, LEDGER_UNLIMITED, LEDGER_UNLIMITED}};

    f->policy.ledger_count = 2;
    f->core.ledgers = (ledger_keeper *)f; /* the functions above do not look at it */
    ledgers.left_count = 2;
    ledgers.left[0] =
        (grant_left){.limits = {.window = none, .per_minute = 60}, .bucket_left = 40, .wall_ms = 1};
    ledgers.left[1] = (grant_left){.limits = {.window = none}};
    ledgers.left[1].limits.window.of[LEDGER_TOKENS_DAY] = 1000;
    relay_request_add_limits(&f->r, &a); /* a key that may not call is told nothing */
    assert_int_equal(a.header_count, 0);
    f->r.key_may_call = true;
    relay_request_add_limits(&f->r, &b);
    assert_true(gw_str_eq_c(header_of(&b, "x-ratelimit-remaining-requests"), "40"));
    assert_true(gw_str_eq_c(header_of(&b, "x-ratelimit-limit-tokens"), "1000"));
    assert_int_equal(header_of(&b, "x-ratelimit-remaining-tokens").len, 0);
    /* A smaller limit that nothing is known of may be the tighter one. */
    ledgers.left[1].limits.per_minute = 30;
    relay_request_add_limits(&f->r, &c);
    assert_true(gw_str_eq_c(header_of(&c, "x-ratelimit-limit-requests"), "30"));
    assert_int_equal(header_of(&c, "x-ratelimit-remaining-requests").len, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        HOLD_TEST(a_hold_is_the_prompt_and_all_the_output_that_may_come),
        HOLD_TEST(without_a_ceiling_of_the_callers_the_routes_stands_up_to_the_models),
        HOLD_TEST(a_request_for_no_output_holds_its_prompt_only),
        HOLD_TEST(output_that_nobody_asked_for_is_watched),
        HOLD_TEST(an_absurd_ceiling_is_no_absurd_hold),
        HOLD_TEST(a_hold_pays_for_each_use_of_the_providers_cache),
        HOLD_TEST(the_ceiling_is_cut_to_what_each_level_pays_for),
        HOLD_TEST(a_limit_that_shrinks_each_time_is_not_followed_for_ever),
        HOLD_TEST(the_hold_is_for_the_dearest_target),
        HOLD_TEST(a_target_without_a_price_is_not_for_keys_with_a_budget),
        HOLD_TEST(a_target_that_is_not_set_up_makes_no_hold_dearer),
        HOLD_TEST(
            when_the_dearest_does_not_fit_the_hold_is_for_the_first_and_no_dearer_one_follows),
        HOLD_TEST(what_is_let_in_while_the_store_is_away_may_go_to_every_target),
        HOLD_TEST(a_store_that_is_away_is_a_503),
        HOLD_TEST(one_that_waits_leaves_the_queue_once),
        HOLD_TEST(what_no_provider_was_asked_for_costs_nothing),
        HOLD_TEST(headers_tell_the_limit_that_least_is_left_of),
        HOLD_TEST(anthropics_callers_are_told_when_a_limit_is_whole_again),
        HOLD_TEST(answers_without_a_hold_tell_what_is_known),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
