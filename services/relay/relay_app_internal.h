/*
 * What the files of the relay app share. Include only there.
 */
#pragma once

#include "relay_app.h"

#include "balance_store_mongo.h"
#include "chat_rpc.h"
#include "config_store.h"
#include "front_http.h"
#include "ledger_rpc.h"
#include "provider_rpc.h"
#include "relay_conf.h"
#include "relay_metrics.h"
#include "route_trial.h"
#include "user_token_store_mongo.h"

#include "access/access.h"
#include "service/service.h"

typedef struct relay_app {
    gw_service *service;
    const relay_conf *conf;
    gw_log *log;
    gw_loop *loop;
    gw_metrics_shard *shard;
    gw_rpc_pump *pump;
    gw_rpc_channel *auth, *usage;
    gw_mongo *mongo;
    balance_store *balance_store;
    user_token_store *user_token_store;
    config_store *config;
    gw_schema *schema;
    gw_access_checker *access;
    chat_authorizer chat_access;
    gw_audit_link audit;
    provider_rpc providers;
    ledger_rpc silent;
    route_trial_rpc trials;
    recorder *recorder;
    ledger_keeper *ledgers;
    gw_redis *redis; /* nonces and offences; connects when first needed */
    offence_book *offences;
    origin_set *origins;
    key_cache *keys;
    gw_http_client *upstreams;
    model_catalog *catalog;
    user_catalog *users;
    relay_core core;
    front_http front;
    int64_t inflight_bound; /* what the flight table was made for */
    gw_rpc_server *rpc;
    gw_http_server *http;

    gw_timer grace_timer, flush_timer;
    bool draining, rpc_closed, closing;
    int64_t flush_until_ms;
} relay_app;

/* relay_app_start.c: every part, in order. */
GW_CHECK gw_status relay_app_open(void *app, gw_service *service, gw_error *err);
void relay_app_reload(void *app);
uint64_t relay_app_descriptors(const void *conf);

/* relay_app_rpc.c: after all that its services use. */
GW_CHECK gw_status relay_app_open_rpc(relay_app *a, gw_error *err);

/* relay_app_sign_in.c: the keys and tokens that sign users in, with RELAY_OIDC_ISSUER. */
GW_CHECK gw_status relay_app_open_sign_in(relay_app *a, gw_error *err);
void relay_app_reload_signer(relay_app *a); /* files that cannot be used change nothing */

/* relay_app.c */
void relay_app_on_grace_over(void *arg);
void relay_app_flush(void *arg);
void relay_app_on_idle(void *arg);
