#include "auth_metrics.h"

const gw_metric_info auth_metric_table[AUTH_METRIC_COUNT] = {
#define METRIC(kind, name, labels, help) {GW_METRIC_##kind, #name, labels, help},
#include "auth_metrics.def"
#undef METRIC
};
