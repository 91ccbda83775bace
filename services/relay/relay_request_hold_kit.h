/* For tests of a request and its hold: ledgers that answer what the test says, in place of the keeper's, and a request as ADMIT finds it. */
#pragma once

#include "relay_request_internal.h"

#include "testing/cmocka.h"

#include <string.h>

/* ---- ledgers that answer what the test says ---- */

typedef struct answer_of_ledger {
    grant_outcome outcome;
    ledger_level level;
    ledger_window short_of;
    int64_t left, reset_ms, limit;
} answer_of_ledger;

static struct {
    const answer_of_ledger *script;
    bool is_away; /* what is let in is let in without a hold */
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
    t->limit = a->limit;
    t->reset_ms = a->reset_ms;
    t->is_unheld = ledgers.is_away;
    if (t->is_unheld)
        t->hold = (ledger_amounts){0};
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
                          .body = {.model = GW_STR("gpt-4o"), .choices = 1, .completions = 1},
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

#define HOLD_TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
