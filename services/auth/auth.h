/*
 * Auth: what the parts of the service share. Made by main.c, borrowed by everything else.
 *
 * Thread: the loop's; `peppers` is immutable and shared with workers.
 */
#pragma once

#include "argon2_pool.h"
#include "auth_metrics.h"
#include "key_feed.h"
#include "log/log.h"
#include "mongo/mongo.h"
#include "peppers.h"
#include "redis/redis.h"
#include "rpc/server.h"

typedef struct sign_in_throttle sign_in_throttle;

typedef struct auth {
    gw_loop *loop;
    gw_log *log;
    gw_metrics_shard *metrics;
    const peppers *peppers;
    const gw_master_keys *master_keys; /* that seal what keys have of secrets; NULL: none */
    gw_mongo *mongo;
    gw_redis *redis;
    argon2_pool *argon2;
    key_feed *feed;
    sign_in_throttle *throttle;
    gw_list watches; /* open Watch calls (watch_rpc.c) */
    int64_t watch_count;
} auth;

#define KEY_CHANGES_CHANNEL "apirelay:key_changes"

/* A key was changed here: this replica reads the log now, the others are told through Redis. */
void auth_key_changed(auth *a);

int64_t auth_wall_ms(const auth *a);

/* The handlers of each service, for gw_rpc_server_add with the auth as `arg`. */
extern const gw_rpc_handler api_key_handlers[];
extern const gw_rpc_handler key_access_handlers[];
extern const gw_rpc_handler identity_handlers[];
extern const gw_rpc_handler session_handlers[];
extern const gw_rpc_handler admin_handlers[];
extern const gw_rpc_handler audit_handlers[];
extern const gw_rpc_handler limit_handlers[];
extern const gw_rpc_handler settings_handlers[];

/* Ends every open Watch: its client goes to another replica at once. */
void watch_rpc_end_all(auth *a);
