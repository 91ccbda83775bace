/*
 * Secret sweep: takes the secrets whose grace is over out of the keys' documents, each minute.
 *
 * They are refused from the end of their grace on, whatever is stored (api_key_secret_end_ms()); without the
 * sweep their hashes would rest there until the next regenerate.
 *
 * Thread: the loop's.
 */
#pragma once

#include "auth.h"

typedef struct secret_sweep secret_sweep;
GW_CHECK gw_status secret_sweep_new(auth *a, secret_sweep **ret, gw_error *err);
void secret_sweep_stop(secret_sweep *s);
void secret_sweep_free(secret_sweep *s); /* after gw_mongo_free */
GW_DEFINE_FREEP(secret_sweep)
