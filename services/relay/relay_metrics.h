/*
 * The relay's measurements (relay_metrics.def).
 */
#pragma once

#include "metrics/metrics.h"

enum {
#define METRIC(kind, name, labels, help) M_##name,
#include "relay_metrics.def"
#undef METRIC
    RELAY_METRIC_COUNT
};

extern const gw_metric_info relay_metric_table[RELAY_METRIC_COUNT];
