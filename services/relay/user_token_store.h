/*
 * User token store: the seam to LibreChat's users, each with a token that signs him in.
 *
 * Implementations: user_token_store_mongo.h; tests bring their own.
 *
 * Thread: the loop's.
 */
#pragma once

#include "librechat_db.h"
#include "oidc_signer.h"

#define USER_TOKEN_ID_BYTES 12 /* of LibreChat's user, an ObjectId */

typedef enum user_token_state {
    USER_TOKEN_SIGNED,
    USER_TOKEN_MISSING, /* there is no such user */
    USER_TOKEN_LOCAL, /* he does not sign in over OpenID: LibreChat refuses a token of his */
    USER_TOKEN_ELSEWHERE, /* he does so over another issuer, or over one that LibreChat has not kept: it would not find him */
    USER_TOKEN_AMBIGUOUS, /* LibreChat might find another one by that token */
} user_token_state;

typedef struct user_token_store user_token_store;
typedef struct user_token_query user_token_query;

/* Embedded in the caller's struct, which stays until `done`, with what is the caller's set. */
struct user_token_query {
    librechat_read read; /* the store's own */
    uint8_t user[USER_TOKEN_ID_BYTES];
    gw_str audience; /* the caller's */
    oidc_signer *signer; /* the caller's, until `done` */
    int64_t now_s; /* wall clock: from when on the token holds */
    user_token_state state; /* the answer, when rc is GW_OK */
    gw_buf token; /* when SIGNED; empty before */
    /* Exactly once, on the loop, never inside find(). */
    void (*done)(user_token_query *q, gw_status rc, const gw_error *err);
};

typedef struct user_token_store_ops {
    void (*find)(user_token_store *s, user_token_query *q);
} user_token_store_ops;

struct user_token_store {
    const user_token_store_ops *ops;
};
