/*
 * OpenAPI 3.1 document of the management API, from the same descriptors as the routes: paths with
 * parameters, bodies, answers and security; schemas of every message in reach; texts from the
 * comments of the protos.
 *
 * Thread: reentrant.
 */
#pragma once

#include "route_table.h"

/* Appends the document as JSON. GW_ERR_NO_MEMORY. */
GW_CHECK gw_status openapi_write(const gw_schema *schema, const route_table *routes, gw_buf *out,
                                 gw_error *err);
