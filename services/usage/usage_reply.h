/*
 * Usage reply: reports as the messages of UsageService, in an arena.
 *
 * Thread: pure.
 */
#pragma once

#include "usage_report.h"

#include "apirelay/usage/v1/usage_service.pb-c.h"

/* What GetUsageResponse, GetKeyUsageResponse and GetOwnUsageResponse have in common. */
typedef struct usage_reply {
    Apirelay__Usage__V1__UsageTotals *totals;
    size_t n_groups, n_series;
    Apirelay__Usage__V1__UsageGroup **groups;
    Apirelay__Usage__V1__UsagePoint **series;
} usage_reply;

GW_CHECK gw_status usage_reply_of(gw_arena *a, usage_report *r, const time_points *points,
                                  usage_reply *ret, gw_error *err);
/* GetCosts: the same report as money. Without from and to. */
GW_CHECK gw_status cost_reply_of(gw_arena *a, usage_report *r, const time_points *points,
                                 Apirelay__Usage__V1__GetCostsResponse **ret, gw_error *err);
