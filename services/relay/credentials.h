/*
 * Credentials: the API key a request presents, in `Authorization: Bearer` or `x-api-key`.
 *
 * Thread: values.
 */
#pragma once

#include "core/status.h"
#include "http/message.h"

/*
 * A view of the key. GW_ERR_KEY_INVALID when there is none, another scheme, one of the headers twice,
 * or both and different: which of the two is meant is not ours to guess.
 */
GW_CHECK gw_status credentials_read(gw_headers h, gw_str *ret, gw_error *err);
