/*
 * Counted names: which names of models sums are kept by, of all relays together.
 *
 * Each relay bounds the names that its callers make up (its counted_models.h), for itself. Many relays, or one that is started again and
 * again, could fill a document of sums all the same, and one that is full takes no more sums of anybody. So before a claim is made,
 * events with names that are new are looked at: the names of a UTC day, those that are their own route's left out, have
 * COUNTED_NAMES_BYTES in the documents of sums; what comes later is made to count under its route, as a relay makes it. That is said in
 * the event itself, which stands in the claim and the row: every replica sums it up alike, and so does a rebuild.
 *
 * It is of one process, and of the days that were counted in last. What other replicas, and those before it, have counted is read from
 * the day's total, at most once a minute: what is not folded yet is not known.
 *
 * Thread: any; calls may overlap.
 */
#pragma once

#include "spool_store.h"

#define COUNTED_NAMES_BYTES (4 << 20) /* four relays' worth; a quarter of the largest document */

typedef struct counted_names counted_names;

counted_names *counted_names_new(void); /* NULL when out of memory */
void counted_names_free(counted_names *n);
GW_DEFINE_FREEP(counted_names)

/* Of a claim that is judged and not made yet. Returns how many of its events count under their route from now on. */
size_t counted_names_bound(counted_names *n, const spool_db *s, claim *c);
