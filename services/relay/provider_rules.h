/*
 * Provider rules: what providers, routes and price books may say, whoever says it (settings file or API).
 *
 * Each check returns GW_OK, or GW_ERR_INVALID_ARGUMENT with the first mistake in `err` and the further ones in `v` (may be NULL),
 * as field violations whose paths start with `path` ("providers[2]", "" for a bare message).
 *
 * Thread: pure.
 */
#pragma once

#include "json/json.h"

#include "apirelay/relay/v1/model_route.pb-c.h"
#include "apirelay/relay/v1/price_book.pb-c.h"
#include "apirelay/relay/v1/provider.pb-c.h"

typedef Apirelay__Relay__V1__Provider provider_message;
typedef Apirelay__Relay__V1__ModelRoute route_message;
typedef Apirelay__Relay__V1__PriceBook price_book_message;

#define PROVIDER_TIMEOUT_MAX_MS (24LL * 3600 * 1000)

/* Of what has no message with a note in it; its field is "note". */
GW_CHECK gw_status note_check(const char *note, gw_error *err);
GW_CHECK gw_status provider_check(const provider_message *p, const char *path,
                                  gw_json_violations *v, gw_error *err);
/* The providers that targets name are checked when the snapshot is built, not here. */
GW_CHECK gw_status route_check(const route_message *r, const char *path, gw_json_violations *v,
                               gw_error *err);
GW_CHECK gw_status price_book_check(const price_book_message *b, const char *path,
                                    gw_json_violations *v, gw_error *err);

/* The same of a book that was stored before: its prices may be beyond today's bounds, which price_of() keeps to in any case. */
GW_CHECK gw_status price_book_check_stored(const price_book_message *b, gw_error *err);

/* What a price is the price of, as one text. */
void price_key(const Apirelay__Relay__V1__ModelPrice *p, gw_buf *out);
/* Not two prices of the same model and provider: for books that are written, apart since stored ones may have them. */
GW_CHECK gw_status price_book_check_repeats(const price_book_message *b, const char *path,
                                            gw_json_violations *v, gw_error *err);

/* True when scheme, host or port differ: then a credential has to be stated anew (it would go to somebody else). */
bool provider_origin_changed(const provider_message *before, const provider_message *after);
