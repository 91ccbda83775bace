/*
 * Price book store: the price books of the API in MongoDB, and which of them is in force.
 *
 *     price_books   <version>   the book, written once
 *                   "index"     PriceBookIndex: the books that were accepted, under an etag
 *
 * A version never changes: a put writes a new one, then names it in the index, on the condition that nobody else has meanwhile.
 * One that a crash kept from the index does not count. Where none of the API is in force the settings' file's is.
 *
 * Thread: on a worker, inside a gw_mongo_job. Results live in the store's arena.
 */
#pragma once

#include "price_book_index.h"
#include "provider_store.h"

/* Both are the caller's to change. Empty when there is none. */
GW_CHECK gw_status price_book_index_read(provider_store *s, price_book_index *ret, gw_error *err);
/* A book of the index, by its version. GW_ERR_NOT_FOUND. */
GW_CHECK gw_status price_book_read(provider_store *s, const price_book_index *x, gw_str version,
                                   ProtobufCMessage **ret, gw_error *err);

/* version "" = the one in force now, the file's when none of the API is. Its etag is the index's. */
GW_CHECK gw_status price_book_get(provider_store *s, const char *version, ProtobufCMessage **ret,
                                  gw_error *err);

/* A book that may be stored, and the index that will name it. */
typedef struct price_book_plan {
    price_book_index index; /* as it is stored */
    price_book_message *book; /* with its version */
    price_book_version *entry; /* what the index will say of it */
} price_book_plan;
GW_CHECK gw_status price_book_plan_put(provider_store *s, const entity_change *c,
                                       price_book_plan *ret, gw_error *err);
/* Sets the book's etag. GW_ERR_ABORTED when another one was stored since the plan. */
GW_CHECK gw_status price_book_write(provider_store *s, price_book_plan *p, gw_error *err);

/* The books by which a request of a time in [from, to) was priced, or would be now that later ones are known; by time. */
#define PRICE_BOOKS_MAX  100
#define PRICES_TOTAL_MAX 30000
GW_CHECK gw_status price_book_list_of_span(provider_store *s, int64_t from_ms, int64_t to_ms,
                                           price_book_message ***ret, size_t *ret_count,
                                           gw_error *err);
