/*
 * Auth's health: without auth no request gets past its credential, so the gateway is ready while
 * auth answers its gRPC health check with SERVING. Asked every second.
 *
 * Thread: the loop's.
 */
#pragma once

#include "rpc/client.h"

typedef struct auth_health { /* embedded; outlives the channel */
    gw_loop *loop;
    gw_rpc_channel *auth; /* borrowed */
    gw_log *log;
    void (*changed)(void *arg, bool is_up); /* may be NULL */
    void *arg;
    gw_timer timer;
    gw_rpc_client_call *call;
    bool is_up, was_asked, stopped;
} auth_health;

/* Asks at once. The first five members are filled in. */
void auth_health_start(auth_health *h);
void auth_health_stop(auth_health *h); /* a call in flight is cancelled */
