/*
 * User token store in LibreChat's own MongoDB: its collection `users`, through a reader that can do nothing but find. Read are provider,
 * openidId and openidIssuer, and nothing else of a user.
 *
 * Thread: the loop's; reading and signing are on a worker of `m`.
 */
#pragma once

#include "user_token_store.h"

/* `database` is LibreChat's, copied; `m` is borrowed. NULL when out of memory. */
user_token_store *user_token_store_mongo_new(gw_mongo *m, const char *database);
void user_token_store_mongo_free(user_token_store *s); /* after gw_mongo_free(); NULL is fine */
