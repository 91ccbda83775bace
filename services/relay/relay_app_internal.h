/*
 * What the files of the relay app share. Include only there.
 */
#pragma once

#include "relay_app.h"

#include "chat_rpc.h"
#include "config_store.h"
#include "front_http.h"
#include "provider_rpc.h"
#include "relay_metrics.h"

#include "access/access.h"
#include "ops/ops.h"

typedef struct relay_app {
    const relay_conf *conf;
    gw_log *log;
    gw_loop *loop;
    gw_metrics *metrics;
    gw_metrics_shard *shard;
    gw_service_tokens *tokens;
    gw_rpc_pump *pump;
    gw_rpc_channel *auth, *usage;
    gw_mongo *mongo;
    config_store *config;
    gw_schema *schema;
    gw_access_checker *access;
    chat_authorizer chat_access;
    provider_rpc providers;
    recorder *recorder;
    key_cache *keys;
    gw_tls_files *upstream_tls; /* NULL: the system's authorities */
    gw_http_client *upstreams;
    relay_core core;
    front_http front;
    gw_rpc_server *rpc;
    gw_http_server *http;
    gw_ops *ops;

    gw_timer ready_timer, grace_timer, flush_timer;
    bool serving, draining, rpc_closed, closing;
    int64_t flush_until_ms;
} relay_app;

/* relay_app_start.c: everything, in order. On failure the process ends: nothing is taken apart. */
GW_CHECK gw_status relay_app_start(relay_app *a, gw_error *err);

/* relay_app.c */
bool relay_app_is_ready(void *arg, const char **reason);
void relay_app_watch_readiness(void *arg);
void relay_app_on_grace_over(void *arg);
void relay_app_flush(void *arg);
void relay_app_on_idle(void *arg);
