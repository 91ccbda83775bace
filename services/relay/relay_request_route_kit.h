/*
 * What tests of requests with two targets share, on top of relay_request_test_kit.h: answers of an upstream, the targets, asking.
 */
#pragma once

#include "relay_request_answers.h"

#define ERROR "{\"error\":{\"message\":\"no\",\"type\":\"server_error\",\"code\":null}}"
#define SEED                                                                                       \
    "{\"model\":\"gpt-4o\",\"seed\":1,\"messages\":[{\"role\":\"user\",\"content\":\"hi\"}]}"

#define GOOD        REPLY(200, PLAIN, JSON)
#define GOOD_STREAM REPLY(200, SSE, ROLE, SAID, ENDED, USAGE, DONE)

static provider_config second_provider;
static route_target targets[2];

/* Two targets of the same upstream, "one" and then "two". */
static inline int setup(void **state)
{
    if (kit_setup(state) != 0)
        return -1;
    kit *k = *state;
    second_provider = k->provider;
    second_provider.name = GW_STR("second");
    targets[0] = k->target;
    targets[0].upstream_model = GW_STR("one");
    targets[1] = k->target;
    targets[1].provider = &second_provider;
    targets[1].upstream_model = GW_STR("two");
    targets[1].tier = 1;
    targets[1].first_byte_timeout_ms = targets[1].idle_timeout_ms = 10000;
    k->route.targets = targets;
    k->route.target_count = 2;
    return 0;
}

/* The first target's, for its first answer: short only where nothing comes. */
static inline void set_patience(const script *first)
{
    bool is_silent = first->type[0] == '\0' || first->then == SCRIPT_STALL;
    targets[0].first_byte_timeout_ms = targets[0].idle_timeout_ms = is_silent ? 50 : 10000;
}

static inline void ask_queue(kit *k, const char *body, const script *queue)
{
    set_patience(queue);
    k->queue = queue;
    k->asked = 0;
    gw_buf_clear(&k->trail);
    ask(k, "good", body, queue);
}

static inline void forget_health(kit *k)
{
    target_health_free(k->core.health);
    k->core.health = target_health_new();
}

static inline void ask_script(kit *k, const char *body, const script *s)
{
    set_patience(s);
    k->queue = NULL;
    k->asked = 0;
    gw_buf_clear(&k->trail);
    ask(k, "good", body, s);
}
