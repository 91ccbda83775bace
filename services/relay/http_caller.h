/*
 * HTTP caller: an exchange as what a request reads its body from and answers to (relay_sink), in the caller's dialect. Events go out as
 * they are; errors are OpenAI's or Anthropic's.
 *
 * Thread: the exchange's loop.
 */
#pragma once

#include "messages_error.h"
#include "relay_request.h"

#include "core/id.h"
#include "http/server.h"

typedef struct http_caller { /* in the exchange's arena */
    relay_sink sink; /* first: a const sink is read back by its address */
    gw_exchange *x;
    relay_request *request; /* NULL once released */
    caller_dialect dialect;
    char ended_id[GW_REQUEST_ID_SIZE]; /* of a request that has let go; "" before */
    relay_answer *refusal; /* headers of an answer of the server's own; NULL: none */
} http_caller;

extern const relay_sink_ops http_caller_ops;

/* An answer's body. */
void http_caller_write_failure(caller_dialect dialect, const openai_error *e,
                               const char *request_id, gw_buf *out);
