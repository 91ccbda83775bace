/*
 * Price book merge: what a new list of prices changes of a book, and the two as one.
 *
 * Thread: pure.
 */
#pragma once

#include "provider_rules.h"

#include "core/arena.h"

typedef Apirelay__Relay__V1__ModelPrice price_message;

typedef struct price_list {
    price_message **items;
    size_t count;
} price_list;

typedef struct price_changes {
    int32_t added, changed, removed;
} price_changes;

/*
 * What comes of `now` over `before`, into *ret, in the arena: `now` alone, or with `keep` what `before` has else, in its order, and
 * then what is new. A price is that of its model and provider. GW_ERR_NO_MEMORY.
 */
GW_CHECK gw_status price_book_merge(gw_arena *a, price_list before, price_list now, bool keep,
                                    price_list *ret, price_changes *changes, gw_error *err);
