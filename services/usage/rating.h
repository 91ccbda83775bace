/*
 * Rating: what past requests would have cost by other prices, summed by model, provider and, if asked, key.
 *
 * A row is priced as the relay prices a request: by the book of its time, its provider and the name sent upstream, else the one asked
 * for. Rows without tokens cost nothing by any book and are left out.
 *
 * Thread: one owner; lives as long as its arena. Books and their texts are borrowed.
 */
#pragma once

#include "core/arena.h"
#include "core/status.h"

#include "apirelay/usage/v1/rating_service.pb-c.h"

#include <bson/bson.h>

#define RATING_BOOKS_MAX   100
#define RATING_GROUPS_MAX  1000 /* in an answer */
#define RATING_GROUPS_ROOM 10000 /* that are told apart while rows are read */

typedef struct rating rating;

typedef struct rating_options {
    Apirelay__Relay__V1__PriceBook *const *books; /* in any order */
    size_t book_count; /* at most RATING_BOOKS_MAX */
    bool by_key;
} rating_options;

/* NULL when out of memory. */
rating *rating_new(gw_arena *a, const rating_options *o);
void rating_free(rating *r); /* what is not in the arena; NULL is fine */
GW_DEFINE_FREEP(rating)

/* A document of api_usage. GW_ERR_NO_MEMORY. */
GW_CHECK gw_status rating_add(rating *r, const bson_t *row, gw_error *err);

/* The figures, in the arena; once, last. */
GW_CHECK gw_status rating_reply(rating *r, Apirelay__Usage__V1__RateUsageResponse *ret,
                                gw_error *err);
