#include "usage_metrics.h"

const gw_metric_info usage_metric_table[USAGE_METRIC_COUNT] = {
#define METRIC(kind, name, labels, help) {GW_METRIC_##kind, #name, labels, help},
#include "usage_metrics.def"
#undef METRIC
};
