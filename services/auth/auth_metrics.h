/*
 * Measurements of auth (auth_metrics.def).
 */
#pragma once

#include "metrics/metrics.h"

enum {
#define METRIC(kind, name, labels, help) M_##name,
#include "auth_metrics.def"
#undef METRIC
    AUTH_METRIC_COUNT
};

extern const gw_metric_info auth_metric_table[AUTH_METRIC_COUNT];
