/*
 * Ledger: how much of its limits a key, client or owner has used, over all relays and loops. What a position of this loop, the store
 * and their tests have in common.
 *
 * A loop owns a position for a ledger and states the whole of it to the store; the store believes the statement and adjusts its
 * total by the difference. Statements are absolute: settling, returning, buying, repeating and repairing are one operation.
 *
 *     window    what is counted                       amounts, all >= 0 and < 2^53
 *     bucket    requests a minute, as a token bucket: `cap` at once, refilled evenly
 *     slots     requests in flight
 *     spent     S: settled by this position since its first statement
 *     floor     what stays with the position whatever becomes of the statement: open holds and what it goes on cutting
 *     lent      what the store counts as this position's beyond what it has stated as spent
 *
 * Times are ms; days are UTC days since 1970 by the store's clock.
 *
 * Thread: values.
 */
#pragma once

#include "core/clock.h"
#include "core/status.h"
#include "core/str.h"

#define LEDGER_WINDOWS   4
#define LEDGER_UNLIMITED ((int64_t)1 << 53)
#define LEDGER_SEQ_FINAL                                                                           \
    ((int64_t)1 << 52) /* of the statement that closes a dead relay's position */
#define LEDGER_PER_MINUTE_MAX                                                                      \
    ((int64_t)100000000) /* millionths of them stay below 2^53; auth takes no more (api_key_rules.c) */
#define LEDGER_DAY_MS       ((int64_t)86400000)
#define LEDGER_HOLDER_SIZE  48
#define LEDGER_SUBJECT_SIZE 136 /* a client's id has up to 128 bytes */
#define LEDGER_RECORDS_MAX  64
#define LEDGER_SHARDS       64 /* a constant: two values at once would be two ledgers */

typedef enum ledger_window {
    LEDGER_REQUESTS_DAY,
    LEDGER_TOKENS_DAY,
    LEDGER_TOKENS_MONTH,
    LEDGER_COST_MONTH, /* nano-USD */
    LEDGER_BUCKET, /* no window: names the bucket as the dimension that was short */
    LEDGER_SLOTS, /* so do the slots */
    LEDGER_DIMENSIONS,
} ledger_window;

typedef struct ledger_amounts {
    int64_t of[LEDGER_WINDOWS];
} ledger_amounts;

typedef struct ledger_limits {
    int64_t generation; /* of the policy: the higher one wins */
    ledger_amounts window; /* LEDGER_UNLIMITED where there is none */
    int64_t per_minute; /* requests; 0 = no bucket. As many may come at once */
    int64_t in_flight; /* requests; 0 = any number */
} ledger_limits;

/* Whose limits: a request is held against each of them that has any. */
typedef enum ledger_level {
    LEDGER_OF_KEY,
    LEDGER_OF_CLIENT, /* over all keys with its client id */
    LEDGER_OF_OWNER, /* over all keys of its user */
    LEDGER_LEVELS,
} ledger_level;

/* One of the ledgers that a key's requests are held against. */
typedef struct ledger_account {
    ledger_level level;
    char subject
        [LEDGER_SUBJECT_SIZE]; /* "k:" and ApiKey.id, "c:" and the client's id, "o:" and the user's */
    ledger_limits limits;
} ledger_account;

typedef struct ledger_timers {
    int64_t lease_ms; /* how long what was sold may be cut without news */
    int64_t quarantine_ms; /* after the store lost data nothing is sold for so long */
    int64_t retry_ms; /* a statement without an answer is sent again */
    int64_t sweep_ms; /* positions with something to say say it so often */
    int64_t wait_ms; /* how long a request waits for what others may give back */
    /* slots of a silent relay are free after it: no request of its lives so long */
    int64_t lapse_ms;
} ledger_timers;

extern const ledger_timers ledger_timers_defaults;

typedef struct ledger_statement {
    char subject[LEDGER_SUBJECT_SIZE];
    char holder[LEDGER_HOLDER_SIZE];
    int64_t seq; /* ever growing within a holder */
    bool first; /* makes a record where there is none */
    bool final; /* of a dead relay's position */
    bool bye; /* the position closes */
    bool ask; /* buy `need`, and up to `want` if there is plenty */
    int64_t load; /* load id the position knows; 0 = none yet */
    int64_t day; /* of the amounts */
    ledger_amounts spent, floor, need, want;
    ledger_amounts late; /* settled under an earlier load id and unknown to usage */
    int64_t cuts; /* bucket: requests cut since `first` */
    int64_t bucket_floor, bucket_need, bucket_want;
    int64_t slot_floor, slot_need, slot_want;
    ledger_limits limits;
} ledger_statement;

typedef enum ledger_state {
    LEDGER_OK,
    LEDGER_AGAIN, /* this statement was answered before and had bought nothing */
    LEDGER_STALE, /* a later one was there already */
    LEDGER_SWITCH, /* the ledger was built up again: start over under `load` */
    LEDGER_GONE, /* no record: what the position held is counted as spent */
    LEDGER_WAIT, /* quarantine: ask again in `wait_ms` */
    LEDGER_LOAD, /* usage is to say what was used; ask again then */
    LEDGER_SHORT, /* not sold: `dimension` does not fit */
    LEDGER_STATES,
} ledger_state;

typedef struct ledger_reply {
    ledger_state state;
    /* of the statement */
    char subject[LEDGER_SUBJECT_SIZE];
    char holder[LEDGER_HOLDER_SIZE];
    int64_t seq;
    int64_t load, born, day;
    bool ready, fresh;
    int64_t midnight_ms; /* until the day ends */
    int64_t now_ms; /* the store's wall clock */
    int64_t wait_ms; /* WAIT: until it sells; SHORT: until the dimension resets or refills */
    ledger_amounts lent;
    int64_t bucket_lent, slots_lent;
    ledger_amounts left; /* limit - taken, may be negative */
    int64_t bucket_left; /* millionths of a request, may be negative */
    int64_t slots_left; /* may be negative */
    int64_t records; /* live ones */
    ledger_window dimension; /* of SHORT */
    int64_t others; /* of SHORT: lent to others in that dimension */
    int64_t silent; /* of SHORT: how many of those have said nothing for longer than the lapse */
    int64_t took_us; /* from the call to the reply; 0: not measured */
} ledger_reply;

/* What a position has used and not stated yet: the store counts it as lent. */
typedef struct ledger_unstated {
    int64_t load, day; /* of the position; load 0: it has none, and nothing was used */
    ledger_amounts spent;
    int64_t cuts;
} ledger_unstated;

/*
 * A position's row: what is needed to close it after its relay was killed. Written before the first statement leaves; its sums follow
 * from the events in the spool.
 */
typedef struct ledger_row {
    int64_t id; /* > 0, never used twice within a spool */
    char subject[LEDGER_SUBJECT_SIZE], holder[LEDGER_HOLDER_SIZE];
    int64_t load; /* that the position had; 0 = none yet */
} ledger_row;

/* Sums of the events that name a row; `load` is the newest load id seen. */
typedef struct ledger_row_sums {
    int64_t id, load, day;
    ledger_amounts spent; /* in the windows of `day` */
} ledger_row_sums;

/* A position that a killed relay left behind. */
typedef struct ledger_left {
    ledger_row row;
    ledger_row_sums sums;
} ledger_left;

/* Adds an event: a higher row or load id replaces, an equal one adds, a lower one leaves. */
void ledger_row_add(ledger_row_sums *s, int64_t id, int64_t load, int64_t day,
                    const ledger_amounts *spent);
/* What the row's position had spent under the load id that the row knows. */
ledger_amounts ledger_row_spent(const ledger_row *row, const ledger_row_sums *s);

/* Whether two days share a window: the day itself, or its month. */
bool ledger_same_window(ledger_window w, int64_t day_a, int64_t day_b);
int64_t ledger_month_of(int64_t day); /* wall ms of its start */
int64_t ledger_day_of(int64_t wall_ms);
/* ms from `wall_ms` to the end of the window. */
int64_t ledger_window_ends_ms(ledger_window w, int64_t wall_ms);
unsigned ledger_shard_of(gw_str subject);

static inline bool ledger_has_window(const ledger_limits *l)
{
    for (int d = 0; d < LEDGER_WINDOWS; d++)
        if (l->window.of[d] < LEDGER_UNLIMITED)
            return true;
    return false;
}
static inline bool ledger_has_limit(const ledger_limits *l)
{
    return l->per_minute > 0 || l->in_flight > 0 || ledger_has_window(l);
}
