/*
 * Counted models: which names of models sums are kept by.
 *
 * A route with a glob passes on whatever its callers write, and some providers answer to any name. Each would be a key in the
 * documents of the hour and the day that all requests share; documents have a largest size, and one that is over it takes no
 * more sums of anybody. So names that nobody configured are counted by themselves as long as their keys take COUNTED_MODELS_BYTES
 * a UTC day, those that come first; what comes later counts under its route's pattern. The row has the name all the same.
 *
 * It is of one process, and begins anew with it.
 *
 * Thread: the loop's.
 */
#pragma once

#include "relay_config.h"

/* A sixteenth of the largest document: some 5,000 names as providers have them. */
#define COUNTED_MODELS_BYTES (1 << 20)

typedef struct counted_models counted_models;

counted_models *counted_models_new(void); /* NULL when out of memory */
void counted_models_free(counted_models *m);

/* True: sums of `model`, which `route` passed on, are kept by its name; false also when there is no memory for a new one. */
bool counted_models_take(counted_models *m, const model_route *route, gw_str model,
                         int64_t wall_ms);
