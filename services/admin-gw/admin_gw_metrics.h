/*
 * The measurements of admin-gw (admin_gw_metrics.def).
 */
#pragma once

#include "metrics/metrics.h"

enum {
#define METRIC(kind, name, labels, help) M_##name,
#include "admin_gw_metrics.def"
#undef METRIC
    ADMIN_GW_METRIC_COUNT
};

extern const gw_metric_info admin_gw_metric_table[ADMIN_GW_METRIC_COUNT];
