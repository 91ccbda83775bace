/*
 * The configuration of the API as it stands in MongoDB: providers, routes, the price book in force and those that take force later.
 *
 * Thread: blocking; on a worker of libs/mongo.
 */
#pragma once

#include "config_snapshot.h"

#include "mongo/db.h"

/* Counts every change; 0: nothing was ever written. */
GW_CHECK gw_status config_read_version(const gw_db *db, int64_t *ret, gw_error *err);

/*
 * All of it; its version is the caller's to set. A document that another release wrote, or a hand spoilt, is left out and counted: the
 * others still work. Freed with …__free_unpacked().
 */
GW_CHECK gw_status config_read_all(const gw_db *db, config_snapshot **ret, unsigned *ret_skipped,
                                   gw_error *err);
