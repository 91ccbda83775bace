/*
 * Route trial: ProviderService/TryModelRoute, one small request to the targets of a route, for whoever sets it up.
 *
 * It goes the way of a caller's request from the adapter on: no key, no limits, no usage event. What it learns of a target is told,
 * and not noted: breakers stay as they are.
 *
 * Thread: the loop's.
 */
#pragma once

#include "relay_core.h"

#include "rpc/server.h"

/* Handlers for gw_rpc_server_add(); `arg` is the relay_core. */
extern const gw_rpc_handler route_trial_handlers[];
