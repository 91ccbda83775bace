/*
 * What the kernel knows of this process, in the names of the Prometheus client libraries. Private
 * to libs/metrics.
 */
#pragma once

#include "core/str.h"

void gw_process_metrics_render(gw_buf *out); /* a figure that cannot be read is left out */
