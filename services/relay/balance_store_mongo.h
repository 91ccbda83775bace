/*
 * Balance store in LibreChat's own MongoDB: its collection `balances`, through a reader that can do nothing but find.
 *
 * Of several documents of a user the oldest counts, as LibreChat has it: tokenCredits less reservedCredits.
 *
 * Thread: the loop's; the reading is on a worker of `m`.
 */
#pragma once

#include "balance_store.h"

/* `database` is LibreChat's, copied; `m` is borrowed. NULL when out of memory. */
balance_store *balance_store_mongo_new(gw_mongo *m, const char *database);
void balance_store_mongo_free(balance_store *s); /* after gw_mongo_free(); NULL is fine */

/* On a worker. */
GW_CHECK gw_status balance_read(gw_db_reader *librechat, const uint8_t user[BALANCE_USER_BYTES],
                                balance_state *ret, gw_error *err);
