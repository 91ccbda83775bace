/*
 * The service config of our channels, which the core carries out (github.com/grpc/proposal A2, A6, A17):
 * round_robin over all addresses; a replica whose health Watch says NOT_SERVING gets no new call; unary
 * rpcs that their idempotency_level allows are tried again after UNAVAILABLE, with jittered backoff,
 * within the deadline, and while the channel's budget of repetitions lasts. Others never, unless nothing
 * of them was sent. Private to libs/rpc.
 */
#pragma once

#include "schema/schema.h"

/* JSON; nothing is repeated when `schema` is NULL. */
void rpc_service_config_write(const gw_schema *schema, gw_buf *out);
