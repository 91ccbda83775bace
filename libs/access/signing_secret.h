/*
 * Signing secret of an API key: what its requests are signed with (HMAC-SHA256). auth makes and seals it, the relay opens it
 * for each request (key_secret.h, GW_KEY_SECRET_SIGNING).
 *
 *     lcsig_<base62:43>            the HMAC key is this text itself, prefix included
 *
 * Thread: reentrant.
 */
#pragma once

#include "access/key_secret.h"

#define GW_SIGNING_SECRET_PREFIX "lcsig_"
#define GW_SIGNING_SECRET_LEN    (6 + 43) /* 62^43 > 2^256 */

/* A new one, NUL-terminated. */
void gw_signing_secret_mint(char out[GW_SIGNING_SECRET_LEN + 1]);
