/*
 * Grant book: the grants of one loop, the requests that wait for them, and when what is stated to the store (LEDGER.md §4).
 *
 * A request is held against up to LEDGER_LEVELS ledgers: cut from all of them at once, or from none. It waits at those that have not
 * enough for it, first come first served within each; what one of them sold to it meanwhile is free for others, and goes back by itself.
 *
 * No I/O and no clock of its own: who owns it passes the monotonic time and carries its calls out.
 *
 *     take ─▶ cut at once                                      no I/O
 *          └▶ waits ─▶ a statement a ledger, at once ─▶ answers ─▶ cut or refused
 *
 * Thread: one loop.
 */
#pragma once

#include "grant.h"

#include "core/list.h"

typedef struct grant_book grant_book;

/* What the book wants done. Answers come by the calls below, never inside these. */
typedef struct grant_book_ops {
    void (*state)(void *arg, const ledger_statement *st);
    /* What was used without the events of build-up `load`, and the store's load with it. False: it has not begun, as if it had failed. */
    bool (*load)(void *arg, const char *subject, int64_t load, int64_t day, bool fresh);
    /* A position begins: a row that outlives the process, before anything is stated. 0: there is no room. */
    int64_t (*row_open)(void *arg, const char *holder, const char *subject);
    void (*row_load)(void *arg, int64_t row, int64_t load);
    void (*row_close)(void *arg, int64_t row);
} grant_book_ops;

typedef struct grant_book_options {
    const grant_book_ops *ops;
    void *arg;
    ledger_timers timers;
    char holder[LEDGER_HOLDER_SIZE]; /* "<spool id>.<boot>.<loop>": never used twice */
    /* the store is away: windows are not enforced rather than requests refused */
    bool allow_when_lost;
} grant_book_options;

grant_book *grant_book_new(const grant_book_options *o); /* NULL when out of memory */
void grant_book_free(grant_book *b); /* nobody waits */
GW_DEFINE_FREEP(grant_book)

typedef enum grant_outcome {
    GRANT_WAITS,
    GRANT_CUT,
    GRANT_REFUSED, /* `short_level`, `short_of`, `left`, `limit`, `reset_ms` say why */
    GRANT_UNAVAILABLE, /* the store is away */
} grant_outcome;

/* A take's part in one ledger. The book's. */
typedef struct grant_part {
    ledger_level level;
    struct grant_take *take;
    struct grant_entry *entry; /* NULL: out of memory */
    int64_t day; /* of the cut */
    gw_list node; /* of those who wait there */
    bool asked_again;
} grant_part;

/* One request's hold on its way and while it is open; the caller's memory. */
typedef struct grant_take {
    ledger_amounts hold; /* set by the caller */
    void (*done)(
        void *arg); /* the outcome of one that waits is there; not inside a call of the request's */
    void *arg;
    grant_outcome outcome;
    ledger_level short_level;
    ledger_window short_of;
    int64_t left; /* in that dimension, for a smaller hold; may be negative */
    int64_t limit; /* the whole of it, of a window; 0: it is none */
    int64_t reset_ms; /* until waiting helps */
    bool is_unheld; /* cut while the store was away: nothing was held */

    /* the book's */
    struct grant_take *more_of; /* the open one that it is more for; NULL: a request of its own */
    grant_part parts[LEDGER_LEVELS];
    size_t part_count;
    gw_list node;
    int64_t since_ms;
} grant_take;

/*
 * Against `count` ledgers, 1 to LEDGER_LEVELS, no two the same. Outcome GRANT_WAITS: `done` follows, or grant_book_forget(). Cut:
 * grant_book_settle() follows.
 */
grant_outcome grant_book_take(grant_book *b, const ledger_account *accounts, size_t count,
                              grant_take *t, int64_t now_ms);
/*
 * `more->hold` on top of the hold of `t`, which is cut: outcomes as above, of all of its ledgers or none. Once cut it is part of the hold
 * of `t` and `more` is the caller's again; while it waits, grant_book_forget(more) comes before `t` is settled. It takes no turn of the
 * bucket and no slot. Refused, too, when a limited window of `t` has ended: what is bought now would be another day's.
 */
grant_outcome grant_book_extend(grant_book *b, grant_take *t, grant_take *more, int64_t now_ms);
void grant_book_forget(grant_book *b, grant_take *t); /* one that waits */
void grant_book_settle(grant_book *b, grant_take *t, const ledger_amounts *real, int64_t now_ms);

/* At start: closes a position that a killed relay left behind, by one statement that is repeated until it is answered; then its row.
 * False when out of memory. */
GW_CHECK bool grant_book_close_row(grant_book *b, const ledger_row *row,
                                   const ledger_row_sums *sums);

/* What a usage event of an open hold carries. */
typedef struct grant_mark {
    int64_t load[LEDGER_LEVELS], row[LEDGER_LEVELS]; /* 0: no such ledger */
    int64_t wall_ms; /* the store's time; 0 = not known */
} grant_mark;
grant_mark grant_book_mark(const grant_take *t, int64_t now_ms);

/* What is left of a ledger's limits, for the headers of its answers. */
typedef struct grant_left {
    ledger_limits limits;
    ledger_amounts left;
    int64_t bucket_left; /* requests */
    int64_t wall_ms; /* the store's time; 0: only the limits are known */
} grant_left;
/* Of those of a take that was cut or refused; returns how many of them are known. */
size_t grant_book_left(const grant_take *t, int64_t now_ms, grant_left ret[LEDGER_LEVELS]);
/* Of ledgers that nothing is taken of, each as far as it is known; asks nobody. Returns `count`. */
size_t grant_book_known(const grant_book *b, const ledger_account *accounts, size_t count,
                        int64_t now_ms, grant_left ret[LEDGER_LEVELS]);

/* What was settled and let in here since the last statement of each; nothing is asked. */
void grant_book_unstated(const grant_book *b, const ledger_account *accounts, size_t count,
                         ledger_unstated ret[LEDGER_LEVELS]);

void grant_book_answer(grant_book *b, const ledger_reply *r, int64_t now_ms);
void grant_book_loaded(grant_book *b, const char *subject, int64_t now_ms);
/* It is tried again after a pause that grows with each failure. */
void grant_book_load_failed(grant_book *b, const char *subject, int64_t now_ms);
/* The once-a-second look at the births of all shards. */
void grant_book_born(grant_book *b, const int64_t *born, int64_t now_ms);

/* Does what is due; returns when to call again (INT64_MAX: not before something happens). */
int64_t grant_book_advance(grant_book *b, int64_t now_ms);
/* From now on positions close as soon as nothing is open, whoever asked for more. */
void grant_book_drain(grant_book *b);
bool grant_book_is_lost(const grant_book *b, int64_t now_ms);
bool grant_book_is_idle(const grant_book *b); /* every position is closed */

/* Counted since the book began. */
typedef struct grant_book_figures {
    int64_t statements; /* sent, repetitions included */
    int64_t replies[LEDGER_STATES];
    int64_t cut_from_grant, cut_bought;
    int64_t refused[LEDGER_LEVELS][LEDGER_DIMENSIONS];
    int64_t fresh_loads, rebuilds; /* begun */
    int64_t failed_loads;
    int64_t switches, gone, finals;
    int64_t late_nano_usd;
    int64_t silent; /* statements that found their ledger short while silent relays hold of it */
} grant_book_figures;
const grant_book_figures *grant_book_get_figures(const grant_book *b); /* the book's */

/* How the positions stand now; looks at each of them. */
typedef struct grant_book_standing {
    int64_t positions; /* open in the store */
    int64_t rows;
    int64_t open_nano_usd, free_nano_usd;
} grant_book_standing;
void grant_book_stand(const grant_book *b, grant_book_standing *ret);
