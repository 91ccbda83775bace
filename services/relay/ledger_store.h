/*
 * Ledger store: where all relays' ledgers are; the seam of ledger_store_redis.c and ledger_store_memory.c.
 *
 * Each call is one atomic operation of the store (statements that leave together may be one, too). It may be lost, late or done twice (each time with the same effect as once);
 * whoever asked asks again. `done` is called at most once for each call: on the loop, never inside the call.
 *
 * Thread: one loop.
 */
#pragma once

#include "ledger.h"

typedef struct ledger_store ledger_store;

/* `reply` is NULL when rc is not GW_OK: GW_ERR_UNAVAILABLE, GW_ERR_DEADLINE_EXCEEDED, … and lives until the call returns. */
typedef void (*ledger_stated_fn)(void *arg, gw_status rc, const ledger_reply *reply);

typedef enum ledger_loaded {
    LEDGER_LOADED,
    LEDGER_LOAD_OLD, /* another build-up, another day: ask again */
    LEDGER_LOAD_EARLY, /* quarantine */
} ledger_loaded;
typedef void (*ledger_loaded_fn)(void *arg, gw_status rc, ledger_loaded how);
/* When the store, as it is now, began for each shard: LEDGER_SHARDS of them, NULL when rc is not GW_OK; and its wall clock. */
typedef void (*ledger_born_fn)(void *arg, gw_status rc, const int64_t *born, int64_t now_ms);

/* Where a ledger stands. */
typedef struct ledger_standing {
    bool found; /* there is one, and no data was lost since it was built up */
    bool ready; /* what was used before is in it */
    int64_t load;
    int64_t now_ms; /* the store's wall clock */
    ledger_amounts taken; /* spent and lent */
    ledger_amounts lent;
    int64_t bucket_left; /* millionths of a request, may be negative */
    int64_t bucket_lent, slots_lent;
} ledger_standing;
/* `s` is NULL when rc is not GW_OK, and lives until the call returns. */
typedef void (*ledger_looked_fn)(void *arg, gw_status rc, const ledger_standing *s);

/* What a relay that is silent for longer than the lapse holds of a ledger, in the windows that are now. */
typedef struct ledger_silent {
    char holder[LEDGER_HOLDER_SIZE];
    int64_t heard_ms; /* last; the store's wall clock */
    ledger_amounts held;
    int64_t slots;
} ledger_silent;
/* `found` is NULL when rc is not GW_OK, and lives until the call returns. */
typedef void (*ledger_silent_fn)(void *arg, gw_status rc, const ledger_silent *found, size_t count);

typedef enum ledger_forgiven {
    LEDGER_FORGIVEN,
    LEDGER_NOT_THERE, /* no such position, or it holds nothing */
    LEDGER_NOT_SILENT,
} ledger_forgiven;
/* `was`: what it held, of LEDGER_FORGIVEN. */
typedef void (*ledger_forgiven_fn)(void *arg, gw_status rc, ledger_forgiven how,
                                   const ledger_silent *was);

typedef struct ledger_store_ops {
    /* Leaves with the others that are stated until flush(): a few dozen are one command. */
    void (*state)(ledger_store *s, const ledger_statement *st, ledger_stated_fn done, void *arg);
    void (*flush)(ledger_store *s);
    /* Adds what was used before the build-up `load` began, if `day` is still the ledger's. False when out of memory: `done` is not called then. */
    bool (*load)(ledger_store *s, const char *subject, int64_t load, int64_t day,
                 const ledger_amounts *used, ledger_loaded_fn done, void *arg);
    void (*born)(ledger_store *s, ledger_born_fn done, void *arg);
    /* False when out of memory: `done` is not called then, else it always is. */
    bool (*look)(ledger_store *s, const char *subject, ledger_looked_fn done, void *arg);
    /* As with look. */
    bool (*silent)(ledger_store *s, const char *subject, ledger_silent_fn done, void *arg);
    bool (*forgive)(ledger_store *s, const char *subject, const char *holder,
                    ledger_forgiven_fn done, void *arg);
    /* Answers still due do not come any more. */
    void (*free)(ledger_store *s);
} ledger_store_ops;

struct ledger_store {
    const ledger_store_ops *ops;
    int64_t state_commands; /* sent so far */
};

static inline void ledger_store_free(ledger_store *s)
{
    if (s)
        s->ops->free(s);
}
