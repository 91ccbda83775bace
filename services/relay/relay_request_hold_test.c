#include "relay_request_internal.h"

#include "testing/cmocka.h"

#include <string.h>

/* ---- ledgers that answer what the test says ---- */

typedef struct answer_of_ledger {
    grant_outcome outcome;
    ledger_level level;
    ledger_window short_of;
    int64_t left, reset_ms;
} answer_of_ledger;

static struct {
    const answer_of_ledger *script;
    size_t taken, forgotten, settled, left_count;
    ledger_amounts holds[8], real;
    const answer_of_ledger *more_script;
    size_t extended;
    ledger_amounts more[8];
    grant_left left[LEDGER_LEVELS];
} ledgers;

grant_outcome ledger_keeper_take(ledger_keeper *k, const key_policy *p, grant_take *t)
{
    const answer_of_ledger *a = &ledgers.script[ledgers.taken];

    (void)k;
    (void)p;
    ledgers.holds[ledgers.taken++] = t->hold;
    t->short_level = a->level;
    t->short_of = a->short_of;
    t->left = a->left;
    t->reset_ms = a->reset_ms;
    return t->outcome = a->outcome;
}

grant_outcome ledger_keeper_extend(ledger_keeper *k, grant_take *t, grant_take *more)
{
    const answer_of_ledger *a = &ledgers.more_script[ledgers.extended];

    (void)k;
    ledgers.more[ledgers.extended++] = more->hold;
    more->short_level = a->level;
    more->short_of = a->short_of;
    more->left = a->left;
    more->reset_ms = a->reset_ms;
    if (a->outcome == GRANT_CUT)
        for (int d = 0; d < LEDGER_WINDOWS; d++)
            t->hold.of[d] += more->hold.of[d];
    return more->outcome = a->outcome;
}

void ledger_keeper_forget(ledger_keeper *k, grant_take *t)
{
    (void)k;
    (void)t;
    ledgers.forgotten++;
}

void ledger_keeper_settle(ledger_keeper *k, grant_take *t, const ledger_amounts *real)
{
    (void)k;
    (void)t;
    ledgers.settled++;
    ledgers.real = *real;
}

grant_mark ledger_keeper_mark(const ledger_keeper *k, const grant_take *t)
{
    (void)k;
    (void)t;
    return (grant_mark){.wall_ms = 7};
}

size_t ledger_keeper_left(const ledger_keeper *k, const grant_take *t,
                          grant_left ret[LEDGER_LEVELS])
{
    (void)k;
    (void)t;
    memcpy(ret, ledgers.left, sizeof(ledgers.left));
    return ledgers.left_count;
}

size_t ledger_keeper_known(const ledger_keeper *k, const key_policy *p,
                           grant_left ret[LEDGER_LEVELS])
{
    (void)p;
    return ledger_keeper_left(k, NULL, ret);
}

ledger_look *ledger_keeper_look(ledger_keeper *k, const key_policy *p, ledger_seen_fn done,
                                void *arg)
{
    (void)k;
    (void)p;
    (void)done;
    (void)arg;
    return NULL;
}

/* ---- a request as ADMIT finds it ---- */

typedef struct fixture {
    relay_core core;
    relay_config config;
    provider_config provider;
    route_target target;
    model_route route;
    model_price price;
    Apirelay__Auth__V1__KeyPolicy message;
    key_policy policy;
    relay_request r;
} fixture;

static int set_up(void **state)
{
    static fixture f;

    f = (fixture){.provider = {.name = GW_STR("scripted")},
                  .price = {.model = GW_STR("gpt-*"),
                            .provider = GW_STR(""),
                            .prompt_per_million_nano_usd = 1000000,
                            .completion_per_million_nano_usd = 2000000,
                            .cached_prompt_per_million_nano_usd = 1000000,
                            .reasoning_per_million_nano_usd = 2000000}};
    memset(&ledgers, 0, sizeof(ledgers));
    apirelay__auth__v1__key_policy__init(&f.message);
    f.policy.message = &f.message;
    f.target = (route_target){.provider = &f.provider, .upstream_model = GW_STR("")};
    f.route =
        (model_route){.targets = &f.target, .target_count = 1, .default_max_output_tokens = 4096};
    f.config.prices = &f.price;
    f.config.price_count = 1;
    f.r = (relay_request){.core = &f.core,
                          .troubles = &f.core.no_troubles,
                          .arena = gw_arena_new(),
                          .policy = &f.policy,
                          .config = &f.config,
                          .route = &f.route,
                          .target = &f.target,
                          .call = {.endpoint = ENDPOINT_CHAT},
                          .body = {.model = GW_STR("gpt-4o"), .choices = 1},
                          .prompt_estimate = 10,
                          .prompt_most = 10};
    *state = &f;
    return f.r.arena ? 0 : -1;
}

static int tear_down(void **state)
{
    gw_arena_free(((fixture *)*state)->r.arena);
    return 0;
}

static void a_hold_is_the_prompt_and_all_the_output_that_may_come(void **state)
{
    fixture *f = *state;

    ledgers.script = &(answer_of_ledger){.outcome = GRANT_CUT};
    f->r.body.needs.max_tokens = 100;
    f->r.body.choices = 3;
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

/* Key, client and owner may each have less left than the one before. */
static void the_ceiling_is_cut_to_what_each_level_pays_for(void **state)
{
    fixture *f = *state;
    const answer_of_ledger script[] = {
        {GRANT_REFUSED, LEDGER_OF_KEY, LEDGER_TOKENS_DAY, 510, 1000},
        {GRANT_REFUSED, LEDGER_OF_CLIENT, LEDGER_COST_MONTH, 10 + 2 * 200, 1000},
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
        {GRANT_REFUSED, LEDGER_OF_KEY, LEDGER_TOKENS_DAY, 1000, 1000},
        {GRANT_REFUSED, LEDGER_OF_KEY, LEDGER_TOKENS_DAY, 900, 1000},
        {GRANT_REFUSED, LEDGER_OF_KEY, LEDGER_TOKENS_DAY, 800, 1000},
        {GRANT_REFUSED, LEDGER_OF_KEY, LEDGER_TOKENS_DAY, 700, 1000},
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
        {GRANT_REFUSED, LEDGER_OF_KEY, LEDGER_COST_MONTH, 300, 1000},
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

static void a_refusal_names_whose_limit_it_is_and_when_waiting_helps(void **state)
{
    static const struct {
        answer_of_ledger answer;
        const char *param, *code, *says, *retry_after;
        bool waiting_does_not_help;
    } cases[] = {
        {{GRANT_REFUSED, LEDGER_OF_KEY, LEDGER_BUCKET, 0, 1500},
         "limits.requestsPerMinute",
         "rate_limit_exceeded",
         "this API key has",
         "2",
         false},
        {{GRANT_REFUSED, LEDGER_OF_CLIENT, LEDGER_REQUESTS_DAY, 0, 3600000},
         "clientLimits.requestsPerDay",
         "rate_limit_exceeded",
         "the client of",
         "3600",
         true},
        {{GRANT_REFUSED, LEDGER_OF_OWNER, LEDGER_COST_MONTH, 0, 86400000},
         "ownerLimits.costLimit",
         "insufficient_quota",
         "the owner of",
         "86400",
         true},
        {{GRANT_REFUSED, LEDGER_OF_KEY, LEDGER_TOKENS_DAY, 20, 5000},
         "limits.tokensPerDay",
         "rate_limit_exceeded",
         "tokens per day",
         "5",
         false},
        {{GRANT_REFUSED, LEDGER_OF_CLIENT, LEDGER_SLOTS, 0, 1000},
         "clientLimits.requestsInFlight",
         "rate_limit_exceeded",
         "try again in 1 s",
         "1",
         false},
    };

    for (size_t i = 0; i < GW_ARRAY_LEN(cases); i++) {
        (void)tear_down(state);
        assert_int_equal(set_up(state), 0);
        fixture *f = *state;
        ledgers.script = &cases[i].answer;
        assert_int_equal(relay_request_take_hold(&f->r), STAGE_SETTLE);
        const openai_error *e = &f->r.troubles->failure;
        assert_int_equal(e->http_status, 429);
        assert_true(gw_str_eq_c(e->code, cases[i].code));
        assert_string_equal(e->error.field, cases[i].param);
        assert_true(gw_str_eq_c(e->retry_after, cases[i].retry_after));
        assert_non_null(strstr(e->error.message, cases[i].says));
        assert_int_equal(f->r.waiting_does_not_help, cases[i].waiting_does_not_help);
    }
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

/* ---- streams that outlive their holds ---- */

/* It streams under a hold for 10 + 100 tokens, at 10 + 200 nano-USD. */
static relay_request *streaming(fixture *f, const answer_of_ledger *more_script)
{
    relay_request *r = &f->r;

    ledgers.script = &(answer_of_ledger){.outcome = GRANT_CUT};
    ledgers.more_script = more_script;
    r->body.needs.max_tokens = 100;
    r->stream = true;
    r->price = &f->price;
    assert_int_equal(relay_request_take_hold(r), STAGE_FORWARD);
    r->job.policy = r->policy;
    r->job.body = &r->body;
    r->job.route = r->route;
    r->mode = ANSWER_EVENTS;
    r->started = true;
    return r;
}

static void see_words(relay_request *r, int64_t count)
{
    for (; count > 0; count--)
        usage_tap_text(&r->tap, GW_STR(" word"));
    relay_request_watch_hold(r);
}

static void a_stream_within_its_ceiling_asks_for_nothing(void **state)
{
    relay_request *r = streaming(*state, NULL);

    see_words(r, 100);
    see_words(r, TAP_FORGIVEN_WORDS);
    usage_tap_report(&r->tap, &(token_counts){.prompt = 10, .completion = 100}, 110);
    relay_request_watch_hold(r);
    assert_int_equal(ledgers.extended, 0);
    assert_false(r->has_failed);
}

static void a_stream_that_outlives_its_hold_has_more_held_as_long_as_there_is_some(void **state)
{
    const answer_of_ledger script[] = {{.outcome = GRANT_CUT}, {.outcome = GRANT_CUT}};
    relay_request *r = streaming(*state, script);

    see_words(r, 101 + TAP_FORGIVEN_WORDS); /* 101 at the least, and half of 100 */
    assert_int_equal(ledgers.extended, 1);
    assert_int_equal(ledgers.more[0].of[LEDGER_REQUESTS_DAY], 0);
    assert_int_equal(ledgers.more[0].of[LEDGER_TOKENS_DAY], 51);
    assert_int_equal(ledgers.more[0].of[LEDGER_TOKENS_MONTH], 51);
    assert_int_equal(ledgers.more[0].of[LEDGER_COST_MONTH], 102);
    see_words(r, 50);
    assert_int_equal(ledgers.extended, 1);
    usage_tap_report(&r->tap, &(token_counts){.prompt = 10, .completion = 300}, 310);
    relay_request_watch_hold(r); /* what is reported counts as it is */
    assert_int_equal(ledgers.extended, 2);
    assert_int_equal(ledgers.more[1].of[LEDGER_TOKENS_DAY], 300 + 75 - 151);
    assert_false(r->has_failed);
}

static void one_that_says_why_it_ends_is_let_end(void **state)
{
    relay_request *r = streaming(*state, NULL);

    usage_tap_finish(&r->tap, GW_STR("stop"));
    see_words(r, 1000);
    assert_int_equal(ledgers.extended, 0);
}

static void when_nothing_is_left_the_stream_is_ended(void **state)
{
    static const struct {
        answer_of_ledger answer;
        const char *param, *code;
        int status;
    } cases[] = {
        {{GRANT_REFUSED, LEDGER_OF_KEY, LEDGER_COST_MONTH, 10, 1000},
         "limits.costLimit",
         "insufficient_quota",
         429},
        {{GRANT_REFUSED, LEDGER_OF_CLIENT, LEDGER_TOKENS_DAY, 0, 1000},
         "clientLimits.tokensPerDay",
         "rate_limit_exceeded",
         429},
        {{.outcome = GRANT_UNAVAILABLE}, "", "service_unavailable", 503},
    };

    for (size_t i = 0; i < GW_ARRAY_LEN(cases); i++) {
        (void)tear_down(state);
        assert_int_equal(set_up(state), 0);
        relay_request *r = streaming(*state, &cases[i].answer);
        see_words(r, 200);
        const openai_error *e = &r->troubles->failure;
        assert_int_equal(ledgers.extended, 1);
        assert_true(r->has_failed);
        assert_true(r->hold_is_spent);
        assert_false(relay_request_may_try_again(r));
        assert_int_equal(e->http_status, cases[i].status);
        assert_string_equal(gw_str_slice(e->code, 0, e->code.len).ptr, cases[i].code);
        assert_string_equal(e->error.field, cases[i].param);
        /* No ceiling was kept to: the estimate is of what came. */
        assert_int_equal(relay_request_estimated_output(r), 250);
    }
}

static void what_is_left_is_used_before_the_stream_is_ended(void **state)
{
    const answer_of_ledger script[] = {
        {GRANT_REFUSED, LEDGER_OF_KEY, LEDGER_TOKENS_DAY, 40, 1000},
        {GRANT_REFUSED, LEDGER_OF_CLIENT, LEDGER_COST_MONTH, 60, 1000},
        {.outcome = GRANT_CUT},
        {GRANT_REFUSED, LEDGER_OF_KEY, LEDGER_COST_MONTH, 0, 1000},
    };
    relay_request *r = streaming(*state, script);

    see_words(r, 101 + TAP_FORGIVEN_WORDS);
    assert_int_equal(ledgers.extended, 3);
    assert_int_equal(ledgers.more[1].of[LEDGER_TOKENS_DAY], 40);
    assert_int_equal(ledgers.more[2].of[LEDGER_COST_MONTH], 60);
    assert_int_equal(r->output_held, 130);
    see_words(r, 29);
    assert_int_equal(ledgers.extended, 3);
    see_words(r, 1);
    assert_int_equal(ledgers.extended, 4);
    assert_true(r->has_failed);
}

static void a_stream_goes_on_while_more_is_bought_for_it(void **state)
{
    relay_request *r = streaming(*state, &(answer_of_ledger){.outcome = GRANT_WAITS});

    see_words(r, 200);
    see_words(r, 200);
    assert_int_equal(ledgers.extended, 1);
    assert_int_equal(r->operations, 1);
    assert_false(r->has_failed);
    relay_request_leave_extension(r);
    relay_request_leave_extension(r);
    assert_int_equal(r->operations, 0);
    assert_int_equal(ledgers.forgotten, 1);
}

static void an_answer_that_is_there_as_a_whole_is_not_ended(void **state)
{
    relay_request *r = streaming(*state, NULL);

    r->mode = ANSWER_JSON;
    see_words(r, 1000);
    assert_int_equal(ledgers.extended, 0);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(a_hold_is_the_prompt_and_all_the_output_that_may_come),
        TEST(without_a_ceiling_of_the_callers_the_routes_stands_up_to_the_models),
        TEST(a_request_for_no_output_holds_its_prompt_only),
        TEST(the_ceiling_is_cut_to_what_each_level_pays_for),
        TEST(a_limit_that_shrinks_each_time_is_not_followed_for_ever),
        TEST(the_hold_is_for_the_dearest_target),
        TEST(a_target_without_a_price_is_not_for_keys_with_a_budget),
        TEST(a_target_that_is_not_set_up_makes_no_hold_dearer),
        TEST(when_the_dearest_does_not_fit_the_hold_is_for_the_first_and_no_dearer_one_follows),
        TEST(a_refusal_names_whose_limit_it_is_and_when_waiting_helps),
        TEST(a_store_that_is_away_is_a_503),
        TEST(one_that_waits_leaves_the_queue_once),
        TEST(what_no_provider_was_asked_for_costs_nothing),
        TEST(headers_tell_the_limit_that_least_is_left_of),
        TEST(answers_without_a_hold_tell_what_is_known),
        TEST(a_stream_within_its_ceiling_asks_for_nothing),
        TEST(a_stream_that_outlives_its_hold_has_more_held_as_long_as_there_is_some),
        TEST(one_that_says_why_it_ends_is_let_end),
        TEST(when_nothing_is_left_the_stream_is_ended),
        TEST(what_is_left_is_used_before_the_stream_is_ended),
        TEST(a_stream_goes_on_while_more_is_bought_for_it),
        TEST(an_answer_that_is_there_as_a_whole_is_not_ended),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
