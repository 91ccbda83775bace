/*
 * Route trial: ProviderService/TryModelRoute, one small request to the targets of a route, for whoever sets it up.
 *
 * It goes the way of a caller's request from the adapter on: no key, no limits, no usage event. What it learns of a target is told,
 * and not noted: breakers stay as they are. It costs money, so that it stands in the audit log between intent and result.
 *
 * Thread: the loop's.
 */
#pragma once

#include "relay_core.h"

#include "access/audit_act.h"
#include "rpc/server.h"

typedef struct route_trial_rpc {
    relay_core *core;
    const gw_audit_link *audit;
} route_trial_rpc;

/* Handlers for gw_rpc_server_add(); `arg` is the route_trial_rpc. */
extern const gw_rpc_handler route_trial_handlers[];
