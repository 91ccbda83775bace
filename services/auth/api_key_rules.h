/*
 * Rules of an API key's writable fields (DATA.md): ranges, patterns, addresses, money.
 *
 * Thread: pure.
 */
#pragma once

#include "api_key.h"
#include "core/violations.h"

/*
 * Makes the two forms of the cost limit agree: one of them gives the other; both given and unequal is
 * a violation. Works in place. NULL limits are fine.
 */
void api_key_pair_cost_limit(Apirelay__Auth__V1__KeyLimits *limits, gw_violations *v);

/* Every rule on a key with its defaults filled in; all violations are added, in field order. */
void api_key_check(const api_key_view *k, gw_violations *v);

/* The rules on limits alone, with the violations' paths under "limits"; NULL is fine. */
void api_key_check_limits(const Apirelay__Auth__V1__KeyLimits *limits, gw_violations *v);

#define API_KEY_LIBRECHAT_PREFIX_LEN 8 /* of a LibreChat key, shown; LibreChat shows as many */
/* Where a user's LibreChat key may be sent, and the key itself, of which nothing is said. */
void api_key_check_librechat(gw_str origin, gw_str key, gw_violations *v);

/* `security.expiresAt` is still to come; asked when a write sets it. */
void api_key_check_expiry_is_ahead(const api_key_view *k, int64_t now_ms, gw_violations *v);

/* 24 hex digits. */
GW_CHECK bool api_key_id_is_valid(gw_str id);

#define CLIENT_ID_MAX_BYTES 128
/* Printable, without spaces, at most CLIENT_ID_MAX_BYTES; empty is valid: a key may have none. */
GW_CHECK bool api_key_client_id_is_valid(gw_str id);
