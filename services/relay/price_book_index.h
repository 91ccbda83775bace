/*
 * Price book index: which price books there are, and which of them is in force when.
 *
 * In force at a time is the book with the latest effective_from that is not after it; of several with the same the one that was
 * stored last.
 *
 * Thread: pure.
 */
#pragma once

#include "core/str.h"

#include "apirelay/relay/v1/price_book.pb-c.h"

typedef Apirelay__Relay__V1__PriceBookIndex price_book_index;
typedef Apirelay__Relay__V1__PriceBookVersion price_book_version;

/* That take force later; a relay has them all at hand. */
#define PRICE_BOOKS_LATER_MAX 16

int64_t price_time_ms(const Google__Protobuf__Timestamp *t); /* INT64_MIN for NULL: ever */

/* NULL: none is in force yet. */
const price_book_version *price_book_index_at(const price_book_index *x, int64_t at_ms);
const price_book_version *price_book_index_find(const price_book_index *x, gw_str version);
/* How many take force after that. */
size_t price_book_index_later(const price_book_index *x, int64_t at_ms);

/* The books of a period, in the order in which they take force: the one in force at its start, and those that follow within. */
typedef struct price_book_span {
    const price_book_version **items; /* room for all of the index */
    size_t count;
    bool starts; /* the first one was in force at the start */
} price_book_span;
void price_book_index_span(const price_book_index *x, int64_t from_ms, int64_t to_ms,
                           price_book_span *ret);
