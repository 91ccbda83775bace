/*
 * Relay core: what the requests of one loop share.
 *
 * Wiring fills it before the first request; requests borrow it. The configuration is a snapshot that
 * is swapped whole: a request keeps the one it started with.
 *
 * Thread: one loop.
 */
#pragma once

#include "balance_book.h"
#include "counted_models.h"
#include "credential_loads.h"
#include "key_cache.h"
#include "ledger_keeper.h"
#include "model_catalog.h"
#include "model_memo.h"
#include "offence_book.h"
#include "openai_error.h"
#include "origin_set.h"
#include "recorder.h"
#include "relay_config.h"
#include "target_health.h"
#include "usage_tap.h"
#include "user_catalog.h"
#include "user_token_book.h"

#include "crypto/crypto.h"
#include "http/client.h"

typedef struct relay_limits {
    size_t body_max_bytes; /* of a request */
    size_t answer_max_bytes; /* of a JSON answer, held until recorded */
    size_t preamble_max_bytes; /* of a stream's events held before the first content */
    size_t event_max_bytes; /* of one event of a stream */
    int64_t stream_max_bytes; /* of a whole one, as the provider sends it */
    int64_t request_timeout_ms;
    int64_t drain_max_ms; /* how long a stream goes on without its caller */
    int64_t drains_max; /* so many of them at once */
    int64_t keep_alive_ms; /* silence after which a stream shows a sign of life */
    int64_t max_in_flight;
} relay_limits;

extern const relay_limits relay_limits_defaults;

#define RELAY_STAGES_MAX 16

/* What went wrong with a request. Few have any, and 1.5 KiB for each open stream would be seen. */
typedef struct request_troubles {
    gw_error key_err, upstream_err;
    openai_error failure;
} request_troubles;

typedef struct relay_core {
    gw_loop *loop;
    const gw_clock *clock;
    gw_log *log;
    gw_metrics_shard *metrics;
    gw_metric_series *stage_series[RELAY_STAGES_MAX]; /* found when first counted */
    key_cache *keys;
    recorder *recorder;
    recorder_lane *lane;
    gw_redis *redis; /* nonces; NULL: no key signs (tests) */
    gw_master_keys *master_keys; /* that open what keys have sealed; NULL: none */
    int64_t signing_trouble_ms; /* when the log last said that one does not open */
    int64_t user_key_trouble_ms; /* the same of a LibreChat key */
    origin_set *origins; /* for cors.h; NULL: none (tests) */
    balance_book *balances; /* of LibreChat's users; NULL: none is looked at (tests) */
    user_token_book *user_tokens; /* NULL: users are signed in nowhere */
    bool refuses_unknown_balance; /* RELAY_ON_BALANCE_LOSS=refuse */
    model_catalog *catalog; /* of models that providers have; NULL: none is known (tests) */
    user_catalog *users; /* of agents that users may use; NULL: nobody is asked */
    offence_book *offences; /* NULL: nothing is counted (tests) */
    ledger_keeper *ledgers; /* NULL: limits are not enforced (tests) */
    gw_http_client *upstreams;
    gw_rpc_channel *usage; /* for GetOwnUsage; may be NULL */
    gw_str service_token; /* presented to usage */
    relay_limits limits;
    relay_config *config; /* current snapshot; never NULL once serving */
    model_memo *models; /* of `config` */
    counted_models *counted; /* whose sums are kept by name */
    json_scratch scratch;
    gw_arena *event_texts; /* of the event that is being packed */
    uint64_t route_seed; /* of the choice between targets */
    credential_loads *credentials; /* of providers that have several */
    size_t breakers_shown; /* open, as the metric says */
    target_health *health; /* of those in trouble; NULL: nothing is known (tests) */
    openai_error adapter_failure; /* for the moment between an adapter's call and its stage */
    request_troubles no_troubles; /* all zeroes */
    request_troubles last_troubles; /* of whoever finds no memory for its own */
    gw_list requests; /* in flight */
    gw_list spares; /* memory of ended ones, to be used again */
    size_t spare_count;
    int64_t in_flight;
    int64_t drains; /* of them, without their callers */
    bool degrades; /* RELAY_SPOOL_FULL=degrade: keys without limits are served unrecorded */
    bool ending; /* the grace period is over: nothing new starts */
    void (*idle)(void *arg); /* called when the last request has gone, if set */
    void *idle_arg;
} relay_core;

/* Zeroes it but for lists, limits and scratch memory. GW_ERR_NO_MEMORY. */
GW_CHECK gw_status relay_core_init(relay_core *c, gw_error *err);
void relay_core_fini(relay_core *c); /* no request is left */

/* Takes the reference given. */
void relay_core_set_config(relay_core *c, relay_config *config);

/* Shutdown after the grace period: every request ends, streams with an in-band error. */
void relay_core_end_all(relay_core *c);
