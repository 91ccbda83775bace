/*
 * Hour update: the one write by which a claim enters an hour document, guarded by the spool's mark.
 *
 *     filter {_id, "m.<S>": {$not: {$gte: b}}}    upsert: true
 *     update {$inc: {figures}, $set: {"m.<S>": b, dirty, rev}, $setOnInsert: {apiKeyId, date}}
 *
 * The same is said as a pipeline where ledgers have load ids, which it can compare: higher replaces, equal adds, lower leaves
 * (rollup.h); and where more than HOUR_PATHS_PLAIN figures are added, as servers may look for conflicts among the paths of an
 * $inc by comparing each with each: thousands then take seconds. A sum that would leave its 64 bits stays at the largest number in a
 * pipeline, as in sums.h, while an $inc of it is refused: whoever is refused says it as a pipeline.
 *
 * Thread: values.
 */
#pragma once

#include "rollup.h"

#include <bson/bson.h>

#define HOUR_PATHS_PLAIN 200

#define HOUR_MARK_SIZE 16
/* "m.<S>" */
void hour_mark(const char *spool_id, char out[HOUR_MARK_SIZE]);

/* {apiKeyId, date} */
void hour_append_names(bson_t *d, const hour_delta *h);
/* An hour that has this claim in its sums does not match. */
bson_t *hour_filter(const hour_delta *h, const char *mark, int64_t b);
typedef enum hour_form { HOUR_FORM_FIT, HOUR_FORM_PIPELINE } hour_form;

/* `rev`: random at every write. Freed with bson_destroy(); sums_failed(h->sums) tells of memory. */
bson_t *hour_update(hour_delta *h, hour_form form, const char *mark, int64_t b, int64_t rev);
