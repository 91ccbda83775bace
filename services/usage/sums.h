/*
 * Sums: figures by dotted path, the common form of what rollups add and what folds total.
 *
 *     sums_add(s, GW_STR("metrics.requests.total"), 1);
 *
 * A component that a caller names (a model) is escaped by gw_bson_key_escape() before it goes into
 * a path. Running out of memory is sticky: adds after it do nothing, sums_failed() tells.
 *
 * Thread: one owner.
 */
#pragma once

#include "core/status.h"
#include "core/str.h"

#include <bson/bson.h>

/* Holds at the ends instead of wrapping. */
static inline void sums_add_to(int64_t *to, int64_t v)
{
    if (__builtin_add_overflow(*to, v, to))
        *to = v < 0 ? INT64_MIN : INT64_MAX;
}

typedef struct sums sums;

sums *sums_new(void); /* NULL when out of memory */
void sums_free(sums *s);
GW_DEFINE_FREEP(sums)
bool sums_failed(const sums *s);

/* Adding 0 makes the path, so that it shows. Holds at INT64_MAX instead of wrapping. */
void sums_add(sums *s, gw_str path, int64_t value);
void sums_set_double(sums *s, gw_str path, double value);
/* Makes the path an empty document unless something stands under it, so that readers find the map. */
void sums_ensure_map(sums *s, gw_str path);
int64_t sums_get(const sums *s, gw_str path); /* 0 when absent */
size_t sums_count(const sums *s); /* of its paths */

/* Adds every integer leaf of `doc` under "<prefix>.<its path>"; leaves of other types are not ours
 * to add. */
void sums_add_document(sums *s, gw_str prefix, const bson_t *doc);

/* Calls `each` for what stands directly under "<prefix>." as `name`, in no order. */
void sums_each(const sums *s, gw_str prefix, void (*each)(void *arg, gw_str name, int64_t value),
               void *arg);

void sums_append_flat(sums *s, bson_t *d); /* {"metrics.requests.total": 7, …}, for $inc */
void sums_append_nested(sums *s, bson_t *d); /* {metrics: {requests: {total: 7}}, …} */
