/*
 * Events of a stream over REST, as server-sent events (WHATWG HTML §9.2): a message of the rpc is one
 * `data:` line of its JSON; a failure after the start is an event named "error" with the body that
 * the answer would have had (rest_error.h).
 *
 * Thread: reentrant.
 */
#pragma once

#include "core/status.h"
#include "json/json.h"

/* A comment: nothing to a reader, but bytes to whatever stands between. */
#define REST_EVENT_KEEP_ALIVE GW_STR(": keep-alive\n\n")

/* Appends the event; nothing when it fails (GW_ERR_NO_MEMORY, or what gw_json_write says). */
GW_CHECK gw_status rest_event_message(const ProtobufCMessage *m, gw_buf *out, gw_error *err);

/* Appends the event. `more` may be NULL. */
void rest_event_error(const gw_error *why, const gw_json_violations *more, gw_str request_id,
                      gw_buf *out);
