/*
 * The kit of relay_request_test_kit.h and what stands in it for other parts of the relay: a key cache, a book of offences, nonces, a
 * recorder, a configuration and its models, which the test looks into. Their symbols are defined here, so the real ones are not linked.
 */
#pragma once

#include "front_http.h"
#include "nonce_store.h"
#include "relay_metrics.h"
#include "relay_request.h"

#include "http/server.h"
#include "testing/cmocka.h"

#include <stdlib.h>

#define EVENTS_MAX    16
#define EXTRA_HEADERS 4

/* One scripted answer of the upstream. */
typedef struct script {
    int status;
    const char *type;
    const char *parts[8]; /* written one by one; NULL ends */
    const char *retry_after; /* "3" when NULL */
    enum { SCRIPT_END, SCRIPT_CUT, SCRIPT_STALL } then;
} script;

#define REPLY(code, media, ...)                                                                    \
    {                                                                                              \
        .status = (code), .type = (media), .parts = { __VA_ARGS__ }                                \
    }
#define REPLY_CUT(code, media, ...)                                                                \
    {                                                                                              \
        .status = (code), .type = (media), .parts = {__VA_ARGS__}, .then = SCRIPT_CUT              \
    }
#define REPLY_STALL(code, media, ...)                                                              \
    {                                                                                              \
        .status = (code), .type = (media), .parts = {__VA_ARGS__}, .then = SCRIPT_STALL            \
    }

typedef struct answer {
    int status;
    gw_buf head, body;
    bool done;
    gw_status rc;
    size_t events_before; /* recorded when the last byte came */
} answer;

typedef struct kit {
    gw_loop *loop;
    gw_metrics *metrics;
    gw_http_server *upstream, *relay;
    gw_http_client *client, *upstreams;
    relay_core core;
    front_http front;
    provider_config provider;
    route_target target;
    model_route route;
    model_price price;
    gw_str listed[1];
    relay_config config;
    key_policy *policy;
    const script *script; /* of every call, but for */
    const script *queue; /* those of the calls one by one, if set */
    size_t asked; /* calls of the upstream */
    gw_buf trail, credentials; /* their bodies, and the credentials they came with, a line each */
    gw_buf seen; /* body the upstream got */
    bool upstream_closed, upstream_asked;
    bool stop_when_asked;
    usage_event *events[EVENTS_MAX];
    size_t event_count, opened, claimed, repeats, dropped[RECORDER_DROP_REASONS];
    bool has_no_slot, spool_is_full, has_open_row; /* what the recorder says */
    int64_t opened_cost; /* of the event that was opened last, and its basis */
    uint8_t opened_event[EVENT_MAX_BYTES];
    size_t opened_len;
    char opened_basis[16], opened_tier[16];
    int64_t noted_tokens; /* the progress that was noted last */
    int noted_status;
    gw_timer limit;
    answer answer;
    gw_http_call *call;
    gw_str wait_for; /* stop the loop when the answer has this */
    key_wait *pending;
    uint64_t stamp; /* of the cache of keys */
    gw_header extra[EXTRA_HEADERS]; /* of calls with a key */
    size_t extra_count;
    nonce_outcome nonce; /* what the store says of every one */
    bool holds_nonce; /* the test answers it itself, once the loop has stopped */
    nonce_take *nonce_asked;
    gw_buf nonce_taken; /* the last one asked for, "" when none was */
    int64_t nonce_life_ms;
    size_t offences[2]; /* by what they are */
    bool part_closed;
} kit;

static kit *the_kit; /* for the fakes: they get no argument */

/* ---- fakes ---- */

key_lookup key_cache_authenticate(key_cache *c, gw_str presented, key_wait *wait, key_policy **ret,
                                  gw_error *err)
{
    (void)c;
    if (gw_str_eq_c(presented, "late")) {
        the_kit->pending = wait;
        return KEY_PENDING;
    }
    if (!gw_str_eq_c(presented, "good")) {
        (void)gw_fail(err, GW_ERR_KEY_INVALID, "no such key");
        return KEY_REFUSED;
    }
    *ret = key_policy_ref(the_kit->policy);
    return KEY_FOUND;
}

void key_cache_forget_wait(key_wait *wait)
{
    (void)wait;
    the_kit->pending = NULL;
}

uint64_t key_cache_stamp(const key_cache *c)
{
    (void)c;
    return the_kit->stamp;
}

void key_cache_note_use(key_cache *c, const key_policy *p, int64_t now_wall_ms)
{
    (void)c;
    (void)p;
    (void)now_wall_ms;
}

void offence_book_note(offence_book *b, const key_policy *p, offence what)
{
    (void)b;
    (void)p;
    the_kit->offences[what]++;
}

static void answer_nonce(void *arg)
{
    nonce_take *t = arg;

    t->done(t->arg, the_kit->nonce);
}

void nonce_store_take(gw_redis *redis, gw_str key_id, gw_str nonce, int64_t life_ms, nonce_take *t)
{
    (void)redis;
    (void)key_id;
    gw_buf_clear(&the_kit->nonce_taken);
    gw_buf_append_str(&the_kit->nonce_taken, nonce);
    the_kit->nonce_life_ms = life_ms;
    the_kit->nonce_asked = t;
    if (the_kit->holds_nonce)
        gw_loop_stop(the_kit->loop);
    else
        gw_loop_defer(the_kit->loop, answer_nonce, t);
}

flight_slot *recorder_claim(recorder_lane *lane)
{
    (void)lane;
    if (the_kit->has_no_slot)
        return NULL;
    the_kit->claimed++;
    return (flight_slot *)(void *)the_kit;
}

void recorder_release(recorder_lane *lane, flight_slot *slot)
{
    (void)lane;
    (void)slot;
    the_kit->claimed--;
}

void recorder_event_id(recorder_lane *lane, uint8_t out[12])
{
    (void)lane;
    memset(out, 7, 12);
}

bool recorder_open_event(recorder_lane *lane, flight_slot *slot, const usage_event *e)
{
    (void)lane;
    (void)slot;
    the_kit->opened++;
    the_kit->opened_cost = e->cost_nano_usd;
    (void)snprintf(the_kit->opened_basis, sizeof(the_kit->opened_basis), "%s", e->billing_basis);
    (void)snprintf(the_kit->opened_tier, sizeof(the_kit->opened_tier), "%s", e->service_tier);
    the_kit->opened_len = event_pack(e, the_kit->opened_event, EVENT_MAX_BYTES);
    return true;
}

void recorder_progress(flight_slot *slot, int64_t completion_tokens, int64_t cost_nano_usd,
                       int status_code, int64_t wall_ms)
{
    (void)slot;
    (void)cost_nano_usd;
    (void)wall_ms;
    the_kit->noted_tokens = completion_tokens;
    the_kit->noted_status = status_code;
}

void recorder_done(recorder_lane *lane, flight_slot *slot, const usage_event *e)
{
    size_t size = apirelay__usage__v1__usage_event__get_packed_size(e);
    uint8_t *bytes = malloc(size);

    (void)lane;
    (void)slot;
    assert_true(the_kit->event_count < EVENTS_MAX);
    apirelay__usage__v1__usage_event__pack(e, bytes);
    the_kit->events[the_kit->event_count++] =
        apirelay__usage__v1__usage_event__unpack(NULL, size, bytes);
    free(bytes);
}

/* As the flight table does: what follows stands for what was said before. */
bool recorder_finish(recorder_lane *lane, flight_slot *slot, const usage_event *rest)
{
    size_t len = the_kit->opened_len;

    (void)lane;
    (void)slot;
    assert_true(the_kit->event_count < EVENTS_MAX);
    len += event_pack(rest, the_kit->opened_event + len, EVENT_MAX_BYTES - len);
    the_kit->events[the_kit->event_count++] =
        apirelay__usage__v1__usage_event__unpack(NULL, len, the_kit->opened_event);
    return true;
}

void recorder_refuse(recorder_lane *lane, flight_slot *slot, const usage_event *e)
{
    assert_string_equal(e->outcome, "refused");
    recorder_done(lane, slot, e);
}

bool recorder_repeat_refusal(recorder_lane *lane, flight_slot *slot, const uint8_t api_key_id[12])
{
    (void)lane;
    (void)slot;
    (void)api_key_id;
    the_kit->repeats += the_kit->has_open_row;
    return the_kit->has_open_row;
}

void recorder_drop(recorder_lane *lane, recorder_drop_reason why)
{
    (void)lane;
    the_kit->dropped[why]++;
}

void recorder_get_stats(const recorder *r, recorder_stats *ret)
{
    (void)r;
    *ret = (recorder_stats){.full = the_kit->spool_is_full};
}

relay_config *relay_config_ref(const relay_config *c)
{
    return (relay_config *)(uintptr_t)c;
}

void relay_config_unref(relay_config *c)
{
    (void)c;
}

const model_route *relay_config_route(const relay_config *c, gw_str model)
{
    return gw_str_starts_with(model, GW_STR("gpt-")) ? c->routes : NULL;
}

size_t model_names(const relay_config *c, const provider_models *said, size_t said_count,
                   gw_arena *arena, const listed_model **ret)
{
    listed_model *m = gw_arena_new_of(arena, listed_model);

    (void)c;
    (void)said;
    (void)said_count;
    *m = (listed_model){GW_STR("gpt-4o"), GW_STR("openai")};
    *ret = m;
    return 1;
}

bool model_names_need(const relay_config *c, const provider_config *p)
{
    (void)c;
    (void)p;
    return true;
}

size_t model_catalog_said(const model_catalog *m, gw_arena *arena, const provider_models **ret)
{
    (void)m;
    (void)arena;
    (void)ret;
    return 0;
}
