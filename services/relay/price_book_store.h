/*
 * Price book store: the price book in force, and each version there ever was, in MongoDB.
 *
 * A version never changes: a put makes a new one and puts it in force. Where MongoDB has none, the settings' file is shown.
 *
 * Thread: on a worker, inside a gw_mongo_job. Results live in the store's arena.
 */
#pragma once

#include "provider_store.h"

/* version "" = the one in force. */
GW_CHECK gw_status price_book_get(provider_store *s, const char *version, ProtobufCMessage **ret,
                                  gw_error *err);
GW_CHECK gw_status price_book_put(provider_store *s, const entity_change *c, ProtobufCMessage **ret,
                                  gw_error *err);
