/*
 * Minting of credentials: API keys, admin keys, session tokens. Each is shown once and never logged.
 *
 * Thread: reentrant.
 */
#pragma once

#include "api_key.h"
#include "peppers.h"

typedef struct minted_key {
    char text[GW_KEY_MAX_LEN + 1];
    char key_id[GW_KEY_ID_LEN + 1];
} minted_key;

/*
 * A new key of `env`. `key_id` "" makes a new id under the current pepper; else the secret is new and
 * the id stays: GW_ERR_FAILED_PRECONDITION when its pepper is retired.
 */
GW_CHECK gw_status key_mint(const peppers *p, gw_str env, gw_str key_id, minted_key *ret,
                            gw_error *err);

/* The stored side of a key, without its Argon2id string: under the pepper its id names, or under the
 * current one when that is retired. False when the key is malformed. */
GW_CHECK bool key_mint_secret(gw_arena *a, const peppers *p, gw_str key, int64_t now_ms,
                              api_key_secret *ret);

#define ADMIN_KEY_ID_LEN     12
#define ADMIN_KEY_SECRET_LEN 32
#define ADMIN_KEY_SIZE       (6 + ADMIN_KEY_ID_LEN + ADMIN_KEY_SECRET_LEN + 1)
/* "lcadm_<id><secret>" */
void admin_key_mint(char out[ADMIN_KEY_SIZE]);
GW_CHECK bool admin_key_parse(gw_str key, gw_str *ret_id);

#define SESSION_TOKEN_SECRET_LEN 43 /* 62^43 > 2^256 */
#define SESSION_TOKEN_SIZE       (6 + SESSION_TOKEN_SECRET_LEN + 1)
/* "lcses_<base62>" */
void session_token_mint(char out[SESSION_TOKEN_SIZE]);
GW_CHECK bool session_token_is_shaped(gw_str token);
