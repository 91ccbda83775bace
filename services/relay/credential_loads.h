/*
 * Credential loads: of providers that have several credentials, how many requests of this loop are under way with each.
 *
 * Providers with one never come here. Credentials are counted by their place in the list: when a configuration changes it, counts
 * are those of the old list until its requests have ended. Thread: one loop.
 */
#pragma once

#include "core/str.h"

#include <stdint.h>

#define CREDENTIALS_MAX 8 /* of a provider */

typedef struct credential_loads credential_loads;

/* NULL when out of memory. */
credential_loads *credential_loads_new(void);
void credential_loads_free(credential_loads *l); /* NULL is fine */

/*
 * The one with the fewest requests of the first `count` (1 to CREDENTIALS_MAX) that are in `usable` (bits; none: of all), in turn
 * when several have as few. Its count goes up, unless there is no memory for it.
 */
unsigned credential_loads_take(credential_loads *l, gw_str provider, unsigned count,
                               uint32_t usable);
void credential_loads_give_back(credential_loads *l, gw_str provider, unsigned credential);
