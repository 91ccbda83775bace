/*
 * Target health: what one loop knows of targets in trouble, by provider and model as it is sent there.
 *
 * Circuit breaker:
 *
 *     CLOSED ── so many failures in a row ──▶ OPEN ── its period is over ──▶ one request is let through
 *        ▲                                      ▲                                 │            │
 *        └──────────────── it is answered ──────┼─────────────────────────────────┘            │
 *                                               └─ it fails: twice the period, 8 times at most ┘
 *
 * While a request that was let through has no outcome, the next one is let through a period later: one that is cancelled leaves
 * nothing locked. One that was never sent gives its turn back, for it has learned nothing. A 429 opens nothing: its memory says until when its
 * credential is not to be used for that model.
 *
 * Only what is in trouble is known: while nothing is, every question is answered without a look-up. What has had no
 * news for ten minutes is forgotten. Bounded: what does not fit is not known. Thread: one loop; time is passed in, monotonic.
 */
#pragma once

#include "core/str.h"

#include <stdint.h>

typedef struct target_health target_health;

/* NULL when out of memory. */
target_health *target_health_new(void);
void target_health_free(target_health *h); /* NULL is fine */
/* `failures` in a row open a breaker, 0: none opens; `open_ms` > 0 is its first period. Breakers that are open stay so. */
void target_health_configure(target_health *h, int64_t failures, int64_t open_ms);

/* Nothing is in trouble, or `h` is NULL. */
bool target_health_is_quiet(const target_health *h);

typedef struct target_name {
    gw_str provider;
    gw_str model; /* as sent */
} target_name;

/* How long until a request is let through; 0: at once. `h` may be NULL in this and the following: nothing is known. */
int64_t target_health_closed_ms(target_health *h, target_name t, int64_t now_ms);
/* A request is to go to it. Of an open breaker whose period is over it is the one that is let through: its turn; else HEALTH_NO_TURN. */
typedef int64_t health_turn;
#define HEALTH_NO_TURN ((health_turn)0)
GW_CHECK health_turn target_health_chosen(target_health *h, target_name t, int64_t now_ms);
/* It was not sent: the next one is let through at once, unless the turn is over already. HEALTH_NO_TURN is fine. */
void target_health_give_back(target_health *h, target_name t, health_turn turn, int64_t now_ms);

typedef enum health_change { HEALTH_SAME, HEALTH_OPENED, HEALTH_CLOSED } health_change;
GW_CHECK health_change target_health_failed(target_health *h, target_name t, int64_t now_ms);
GW_CHECK health_change target_health_answered(target_health *h, target_name t);
size_t target_health_open_count(const target_health *h);

/* The credential of this name (any bytes, CREDENTIAL_NAME_MAX at most) is not to be used for the model until then. */
#define CREDENTIAL_NAME_MAX 64
void target_health_limit(target_health *h, target_name t, gw_str credential, int64_t now_ms,
                         int64_t until_ms);
bool target_health_is_limited(target_health *h, target_name t, gw_str credential, int64_t now_ms);
