/*
 * Grant: a position of this loop with one ledger (ledger.h), and what may be cut from it. Plain values in, decisions out, no I/O.
 *
 *     lent     what the store counts as ours beyond what we stated as spent
 *     have     lent - (spent - spent as stated)
 *     free     have - open: may be cut into holds until the lease ends
 *
 * While a statement is out, `lent` is its floor: that is ours whichever way the statement went, and all else may be gone.
 *
 * A hold is the most that a request may cost, from the cut until it is settled; its of[LEDGER_REQUESTS_DAY] is 1. The request belongs to
 * the day and month of the cut.
 *
 * Invariant: free >= 0 in each window, but for requests that cost more than their hold.
 * Thread: one loop.
 */
#pragma once

#include "ledger.h"

typedef struct grant {
    char subject[LEDGER_SUBJECT_SIZE];
    ledger_limits limits; /* the newest known */
    int64_t load; /* 0 = not known yet */
    int64_t day;
    ledger_amounts spent, stated, open, lent;
    int64_t cuts, cuts_stated, bucket_lent;
    int64_t slots_lent; /* open ones included */
    int64_t open_count;
    int64_t lease_until_ms; /* monotonic, as all times here */
    int64_t used_ms, stated_ms, tight_until_ms;
    bool first; /* no record in the store that we know of */
    ledger_amounts late; /* not yet stated, of no build-up that is known: ledger.h */
    int64_t after_day; /* 0: none */
    ledger_amounts after; /* spent on that day, later than `day`, while the store was away */
    ledger_amounts usual; /* hold, moving average */
    int64_t arrivals; /* since the last sweep */
    int64_t per_1000_sweeps; /* requests, moving average */
    bool asking; /* `asked` has no answer yet */
    ledger_statement asked;
    int64_t asked_ms, sent_ms; /* for the first and the last time */
    ledger_reply news; /* the last answer with figures */
    int64_t news_ms; /* when it was asked for */
} grant;

void grant_init(grant *g, const char *subject, const ledger_limits *limits, int64_t now_ms);

/* Newer ones: what was bought under the limits before goes back with the next statement, before anything is cut from it. */
void grant_set_limits(grant *g, const ledger_limits *limits);

int64_t grant_free_of(const grant *g, ledger_window w);
int64_t grant_bucket_free(const grant *g);
int64_t grant_slots_free(const grant *g);
bool grant_fits(const grant *g, const ledger_amounts *hold, int64_t now_ms);
/* The same of more for a request that is open: neither of the bucket nor of the slots does it need another one. */
bool grant_fits_more(const grant *g, const ledger_amounts *more, int64_t now_ms);
/* For a hold that fits; or one that is to be counted whether it fits or not. Returns its day. */
int64_t grant_cut(grant *g, const ledger_amounts *hold, int64_t now_ms);
/* More for a hold of `day`, in those of its windows that have not ended. It is part of that hold from now on. */
void grant_cut_more(grant *g, const ledger_amounts *more, int64_t day, int64_t now_ms);
/* Turns a hold of `day` into spend: `real` in the hold's own windows. */
void grant_settle(grant *g, const ledger_amounts *hold, int64_t day, const ledger_amounts *real,
                  int64_t now_ms);

/*
 * The same of a request that is let in while the store is away: held against nothing, but counted. What it cost is stated when the
 * store is back: as late where nothing is known of a build-up, as usage has its event under none; else as spent. `day` by the store's
 * clock as far as it is known, 0 if not: then it is that of the first answer.
 */
void grant_cut_unheld(grant *g, int64_t now_ms);
void grant_settle_unheld(grant *g, const ledger_amounts *hold, int64_t day,
                         const ledger_amounts *real, int64_t now_ms);

/* Who waits: the first one's hold, and all of them. */
typedef struct grant_waiting {
    const ledger_amounts *head; /* NULL: nobody */
    ledger_amounts sum;
    int64_t head_count, count; /* requests: who wants more for one that is open is none */
} grant_waiting;

/* Makes the next statement in g->asked; none may be out. Closes the position when `bye`. */
void grant_state(grant *g, const grant_waiting *w, bool bye, const char *holder, int64_t seq,
                 const ledger_timers *t, int64_t now_ms);

typedef enum grant_answer {
    GRANT_IGNORED, /* not the answer to what is asked */
    GRANT_SOLD, /* or only believed: look what fits now */
    GRANT_LATER, /* WAIT, AGAIN */
    GRANT_NEEDS_LOAD,
    GRANT_SHORT,
    GRANT_SWITCHED, /* state again at once; `load` has changed */
    GRANT_LOST, /* the record is gone: a position of its own from here on; state again at once */
    GRANT_CLOSED, /* the bye is done; what came since is a position of its own */
} grant_answer;
grant_answer grant_take_reply(grant *g, const ledger_reply *r, const ledger_timers *t,
                              int64_t now_ms);

/* Once a sweep: the moving average of arrivals. */
void grant_note_sweep(grant *g);
/* Spend or free holds that the store could know of. */
bool grant_is_dirty(const grant *g);
/* The store's wall clock now, within the day of the grant while there is one: without the store what is let in belongs to no grant. Only after an answer. */
int64_t grant_wall_ms(const grant *g, int64_t now_ms);
