/*
 * User token book: tokens that sign LibreChat's users in, each sent for 45 of its 60 s (docs/decisions/044).
 *
 * All who ask for one user at one audience meanwhile share one read, and at most USER_TOKEN_READS_MAX are under way. Who has none is
 * remembered for 5 s. Who waits longer than 2 s is told that it is not known; once that, or a failed read, has happened, others are told so at
 * once until a read succeeds, but for one try a second. Tokens are in no log, and wiped when they are dropped.
 *
 * Log: librechat_users_lost, librechat_users_found. Thread: one loop. The store reads and signs elsewhere.
 */
#pragma once

#include "shared_reads.h"
#include "user_token_store.h"

#include "metrics/metrics.h"

#define USER_TOKEN_READS_MAX 2

#define USER_TOKEN_KEPT_MS                                                                         \
    45000 /* of OIDC_TOKEN_LIFE_S: LibreChat's clock may be ahead, and the way takes time */
#define USER_TOKEN_REFUSE_MS 5000 /* who has none */
#define USER_TOKEN_RETRY_MS  1000 /* between tries while reads fail */
#define USER_TOKEN_WAIT_MS   2000
#define USER_TOKENS_MAX      10000 /* remembered; what was not asked for longest goes first */

typedef enum user_token_answer {
    USER_TOKEN_WAITS, /* `done` follows */
    USER_TOKEN_IS_GIVEN,
    USER_TOKEN_IS_MISSING, /* and the others as in user_token_state */
    USER_TOKEN_IS_LOCAL,
    USER_TOKEN_IS_ELSEWHERE,
    USER_TOKEN_IS_AMBIGUOUS,
    USER_TOKEN_IS_UNKNOWN, /* the user cannot be read at the moment */
} user_token_answer;

typedef struct user_token_book user_token_book;

typedef struct user_token_book_options {
    user_token_store *store; /* borrowed */
    gw_log *log; /* may be NULL, and metrics too */
    gw_metrics_shard *metrics;
} user_token_book_options;

/* NULL when out of memory. Nothing is asked before it has a signer. */
user_token_book *user_token_book_new(gw_loop *l, const user_token_book_options *o);
/* Nobody waits, and the store has answered all it was asked: after gw_mongo_free(). NULL is fine. */
void user_token_book_free(user_token_book *b);
GW_DEFINE_FREEP(user_token_book)

/* Takes a reference. What another one signed is not sent any more. */
void user_token_book_set_signer(user_token_book *b, oidc_signer *s);
/* RFC 7517 §5, of the signer; "" without one. Good until there is another. */
gw_str user_token_book_jwks(const user_token_book *b);

/*
 * GIVEN: *ret, in `arena`, wiped with it. `w` is used when the answer is WAITS, and stays then until `done`, when
 * asking again is worth it, or shared_wait_forget().
 */
user_token_answer user_token_book_get(user_token_book *b, const uint8_t user[USER_TOKEN_ID_BYTES],
                                      gw_str audience, gw_arena *arena, gw_str *ret,
                                      shared_wait *w);
