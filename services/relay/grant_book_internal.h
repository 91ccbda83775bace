/*
 * What the files of the grant book share. Include only there.
 *
 *     grant_book.c          who takes and who settles
 *     grant_book_queue.c    who waits where, and what is asked for them
 *     grant_book_time.c     what is due when
 *     grant_book_answer.c   what the store says, and what follows from it
 *     grant_book_close.c    what a killed relay left behind
 *     grant_book_lost.c     how it goes on while the store is away
 */
#pragma once

#include "grant_book.h"

#include "core/map.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#define GRANT_AGAIN_MAX_MS 300
#define GRANT_MICRO        INT64_C(1000000)

/* A ledger that this loop has to do with. */
typedef struct grant_entry {
    grant_book *book;
    grant g;
    gw_list all; /* of book->entries */
    gw_list busy; /* of book->busy: something to do before the next sweep */
    gw_list again; /* of book->again: look who of those who wait is served */
    gw_list waiting; /* parts of takes that lack something here */
    int64_t takes; /* waiting anywhere, or open: they point here */
    int64_t row; /* 0: none */
    int64_t retry_at_ms;
    int64_t loading_until_ms; /* a build-up is under way, was lost, or failed a moment ago */
    int64_t load_pause_ms; /* after the last failure; 0: the last one did well */
    bool give_back;
    int64_t closed_ms; /* -1: not closed */
    /* the last refusal */
    int64_t refused_until_ms;
    ledger_window short_of;
    int64_t short_need, short_left, reset_ms;
    /* the bucket while the store is away */
    bool local;
    int64_t local_level, local_ms;
} grant_entry;

struct grant_book {
    gw_list closings; /* grant_book_close.c */
    grant_book_options o;
    gw_map *by_subject;
    gw_list entries, busy, again;
    gw_list finished; /* takes whose done() is due */
    bool finishing, draining;
    int64_t seq;
    int64_t sweep_at_ms;
    int64_t unanswered_since_ms; /* -1: everything stated is answered, or nothing is out */
    int64_t born[LEDGER_SHARDS]; /* 0 = not seen */
    int64_t wall_ms, wall_at_ms; /* the store's clock as of the last answer; 0: none yet */
    grant_book_figures figures;
};

/* What a hold needs of a dimension. */
static inline int64_t grant_need_of(const grant_take *t, ledger_window w)
{
    return w < LEDGER_WINDOWS ? t->hold.of[w] : !t->more_of;
}

void grant_book_free_entry(grant_entry *e);

/* ---- grant_book_queue.c ---- */

/* Something is to be done for it before the next sweep. */
void grant_book_note_busy(grant_entry *e);
/* Nobody is before the take at any of its ledgers, and each has enough. */
bool grant_book_is_served(const grant_take *t, int64_t now_ms);
void grant_book_cut(grant_take *t, int64_t now_ms);
void grant_book_queue(grant_take *t, int64_t now_ms); /* where it is not served */
/* A take that is more for an open one which a limited window has ended for: it comes to nothing. */
bool grant_book_refuse_ended(grant_take *t);
void grant_book_leave_queues(grant_take *t);
void grant_book_let_go(grant_take *t); /* its ledgers may be forgotten */
/* The take comes to nothing at `e`, for what `e` was short of last. */
void grant_book_refuse(grant_entry *e, grant_take *t);
/* Of one that waits: its done() follows, by grant_book_tell_finished(). */
void grant_book_finish(grant_book *b, grant_take *t, grant_outcome outcome);
void grant_book_tell_finished(grant_book *b);

/* Marks a ledger whose position has changed; grant_book_pump() then cuts for those who are served, and asks for the others. */
void grant_book_look_again(grant_entry *e);
void grant_book_pump(grant_book *b, int64_t now_ms);

/* A statement of its position; none is out. */
void grant_book_state(grant_entry *e, bool bye, int64_t now_ms);
void grant_book_send(grant_entry *e, int64_t now_ms); /* it, once more */
/* False: none is free. */
bool grant_book_open_row(grant_entry *e);
void grant_book_drop_row(grant_entry *e);

/* grant_book_close.c */
void grant_book_answer_final(grant_book *b, const ledger_reply *r);
int64_t grant_book_advance_closings(grant_book *b, int64_t now_ms); /* when to call again */
void grant_book_free_closings(grant_book *b);

/* grant_book_lost.c: cut, refused or unavailable. */
grant_outcome grant_book_decide_when_lost(grant_book *b, grant_take *t, int64_t now_ms);
