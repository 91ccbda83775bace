#include "relay_metrics.h"

const gw_metric_info relay_metric_table[RELAY_METRIC_COUNT] = {
#define METRIC(kind, name, labels, help) {GW_METRIC_##kind, #name, labels, help},
#include "relay_metrics.def"
#undef METRIC
};
