/*
 * Hour update: the one write by which a claim enters an hour document, guarded by the spool's mark.
 *
 *     filter {_id, "m.<S>": {$not: {$gte: b}}}    upsert: true
 *     update {$inc: {figures}, $set: {"m.<S>": b, dirty, rev}, $setOnInsert: {apiKeyId, date}}
 *
 * Where ledgers have load ids the same is said as a pipeline, which can compare ids: higher replaces,
 * equal adds, lower leaves (rollup.h).
 *
 * Thread: values.
 */
#pragma once

#include "rollup.h"

#include <bson/bson.h>

#define HOUR_MARK_SIZE 16
/* "m.<S>" */
void hour_mark(const char *spool_id, char out[HOUR_MARK_SIZE]);

/* An hour that has this claim in its sums does not match. */
bson_t *hour_filter(const hour_delta *h, const char *mark, int64_t b);
/* `rev`: random at every write. Freed with bson_destroy(); sums_failed(h->sums) tells of memory. */
bson_t *hour_update(hour_delta *h, const char *mark, int64_t b, int64_t rev);
