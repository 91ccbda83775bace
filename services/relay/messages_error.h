/*
 * Errors as Anthropic's callers read them: `{"type":"error","error":{"type","message","details":{"error_code"}},"request_id"}`.
 *
 * `error_code` is what OpenAI's callers get as `code`. The SDKs choose their exception by the HTTP status, and wait and try again at 529 as they do at OpenAI's 503.
 *
 * Thread: values.
 */
#pragma once

#include "openai_error.h"

/* Gives a failure the status and the type that Anthropic has for it. */
void messages_error_adapt(openai_error *e);

/* Appends the JSON object. The parameter at fault, which has no member of its own, stands in the message. */
void messages_error_write(const openai_error *e, gw_str request_id, gw_buf *out);
/* Appends the in-band form of a stream that fails: `event: error`; no message_stop follows it. */
void messages_error_write_event(const openai_error *e, gw_str request_id, gw_buf *out);
