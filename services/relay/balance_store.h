/*
 * Balance store: the seam to LibreChat's balances.
 *
 * Implementations: balance_store_mongo.h; tests bring their own.
 *
 * Thread: the loop's.
 */
#pragma once

#include "librechat_db.h"

#define BALANCE_USER_BYTES 12 /* of LibreChat's user, an ObjectId */

typedef enum balance_state {
    BALANCE_MISSING, /* the user has none */
    BALANCE_EMPTY, /* what it has is spent, or reserved */
    BALANCE_ENOUGH, /* more than 0 credits are free */
} balance_state;

typedef struct balance_store balance_store;
typedef struct balance_query balance_query;

/* Embedded in the caller's struct, which stays until `done`, with `user` and `done` set. */
struct balance_query {
    librechat_read read; /* the store's own */
    uint8_t user[BALANCE_USER_BYTES];
    balance_state state; /* the answer, when rc is GW_OK */
    /* Exactly once, on the loop, never inside find(). */
    void (*done)(balance_query *q, gw_status rc, const gw_error *err);
};

typedef struct balance_store_ops {
    void (*find)(balance_store *s, balance_query *q);
} balance_store_ops;

struct balance_store {
    const balance_store_ops *ops;
};
