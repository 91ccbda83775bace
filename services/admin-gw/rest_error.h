/*
 * Errors of the management API, as AIP-193 writes them: {"error": {code, status, message,
 * details}}. Details are google.rpc messages: BadRequest with every violation (first, when there
 * is one), ErrorInfo with the name of err.def as reason, RequestInfo.
 *
 * Thread: reentrant.
 */
#pragma once

#include "core/status.h"
#include "json/json.h"

/* Appends the body. `more` are the violations beyond the one in `err` and may be NULL;
 * `request_id` "" leaves RequestInfo out. */
void rest_error_write(const gw_error *err, const gw_json_violations *more, gw_str request_id,
                      gw_buf *out);
