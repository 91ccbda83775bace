/*
 * ListSpools, ListLosses and ListRejects of AccountingService: pages of what accounting keeps beside its sums.
 *
 * Thread: the loop's; each call is one job on a worker.
 */
#pragma once

#include "usage_queries_internal.h"

/* Empty is any. */
void accounting_check_reason(const char *reason, gw_violations *v);

void list_spools(gw_rpc_call *call, const ProtobufCMessage *request, void *arg);
void list_losses(gw_rpc_call *call, const ProtobufCMessage *request, void *arg);
void list_rejects(gw_rpc_call *call, const ProtobufCMessage *request, void *arg);
