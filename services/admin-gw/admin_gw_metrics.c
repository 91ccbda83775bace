#include "admin_gw_metrics.h"

const gw_metric_info admin_gw_metric_table[ADMIN_GW_METRIC_COUNT] = {
#define METRIC(kind, name, labels, help) {GW_METRIC_##kind, #name, labels, help},
#include "admin_gw_metrics.def"
#undef METRIC
};
