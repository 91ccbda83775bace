/*
 * Usage's measurements (usage_metrics.def).
 */
#pragma once

#include "metrics/metrics.h"

enum {
#define METRIC(kind, name, labels, help) M_##name,
#include "usage_metrics.def"
#undef METRIC
    USAGE_METRIC_COUNT
};

extern const gw_metric_info usage_metric_table[USAGE_METRIC_COUNT];
