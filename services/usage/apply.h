/*
 * What the steps of the write plan share: how they read, and applying a claim (spool_store.h).
 *
 * Thread: on a worker.
 */
#pragma once

#include "spool_store.h"

/* `readConcern` of one operation: majority where there is a replica set. */
void apply_append_read_concern(const spool_db *s, bson_t *opts);
