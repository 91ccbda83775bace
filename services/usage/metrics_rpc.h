/*
 * GetMetrics and WatchMetrics of UsageService, answered from live counters (live_shared.h).
 *
 * Thread: the loop's.
 */
#pragma once

#include "usage_queries_internal.h"

void get_metrics(gw_rpc_call *call, const ProtobufCMessage *request, void *arg);
void watch_metrics(gw_rpc_call *call, const ProtobufCMessage *request, void *arg);
void watch_metrics_cancelled(gw_rpc_call *call, void *arg);
void watch_metrics_finished(gw_rpc_call *call, void *arg);
/* Ends those that watch: a replica that shuts down keeps nobody. */
void metrics_stop_watching(usage_queries *q);
