/*
 * Flight table: the requests in flight, in a shared mapping of a file (USAGE.md). What is stored there survives kill -9 without a
 * system call.
 *
 *     FREE ─▶ OPEN ─▶ DONE ─▶ FREE      (a refusal goes FREE ─▶ DONE)
 *
 * A row that counts many refusals is DONE from its first: each further one is a single store into `repeats`, and the count is
 * written behind the event when the row is closed, or by the recovery.
 *
 * A slot has the event as known when the request was forwarded, and what has been learnt since is written behind it: both together are
 * the finished one. One that replaces it is written further behind.
 *
 *     bytes    opened │ rest                    finished: done_at 0
 *              opened │ … │ another event       replaced: done_at FLIGHT_OPEN_MAX
 *              event                            never opened: done_at 0
 *
 * So a death while the end is being written leaves the beginning whole. The state word is written last. Each use of a slot has a
 * generation; the checksums of both events cover it, so that pages of different ages (power loss) are told apart.
 *
 * Thread: a slot belongs to one thread at a time; who hands it on does so with release and acquire.
 */
#pragma once

#include "event_codec.h"
#include "position_table.h"

#include <stdatomic.h>

#define FLIGHT_HEADER_BYTES 4096
#define FLIGHT_SLOT_BYTES   2048
#define FLIGHT_OPEN_MAX     624
#define FLIGHT_REPEATS_MAX  1000000 /* what usage takes for sound */

typedef enum flight_state { FLIGHT_FREE, FLIGHT_OPEN, FLIGHT_DONE } flight_state;

/* As it stands in the file. What the writer looks at beside the event is one cache line. */
typedef struct flight_slot {
    atomic_uint_least32_t state; /* flight_state */
    atomic_int_least32_t status_code;
    atomic_uint_least64_t generation;
    /* low half of the generation it is of, count; see flight_slot_fold() */
    atomic_uint_least64_t repeats;
    atomic_int_least64_t completion_tokens, cost_nano_usd, last_byte_ms;
    uint32_t done_at, done_len; /* in `bytes` */
    uint64_t done_sum;
    uint64_t open_sum;
    uint32_t open_len; /* from the first of `bytes` on */
    uint8_t bytes[FLIGHT_OPEN_MAX + EVENT_MAX_BYTES];
} flight_slot;

typedef struct flight_table flight_table;

/*
 * Opens `<dir>/flight` with at least `slots` slots, all of their disk space allocated: a hole on a full disk would be a SIGBUS. A
 * file with more slots keeps them. What is no flight table, or cannot be read, is renamed aside; *ret_renamed tells.
 */
GW_CHECK gw_status flight_table_open(const char *dir, uint32_t slots, flight_table **ret,
                                     bool *ret_renamed, gw_error *err);
void flight_table_free(flight_table *t);
GW_DEFINE_FREEP(flight_table)

/* The table is not part of the process's memory until it is used: recovery has looked at every page. Nothing is lost. */
void flight_table_rest(flight_table *t);

uint32_t flight_table_count(const flight_table *t);
flight_slot *flight_table_slot(flight_table *t, uint32_t index);
uint32_t flight_table_index(const flight_table *t, const flight_slot *slot);

/* Tail of the spool as last committed: what an unreadable spool is said to have had. */
void flight_table_note_tail(flight_table *t, int64_t tail);
int64_t flight_table_noted_tail(const flight_table *t);

static inline flight_state flight_slot_state(const flight_slot *s)
{
    return (flight_state)atomic_load_explicit(&s->state, memory_order_acquire);
}
static inline uint64_t flight_slot_generation(const flight_slot *s)
{
    return atomic_load_explicit(&s->generation, memory_order_relaxed);
}

/*
 * What is stored is noted beside it: of a slot that has become DONE `f` is what event_read_figures() finds in its event, views into the
 * slot. From one use of a slot's functions to the next it is the same, and nobody else's.
 *
 * True when all of `e` is there; else it was cut to fit.
 */
bool flight_slot_open(flight_slot *s, const usage_event *e, event_figures *f);
void flight_slot_progress(flight_slot *s, const event_progress *p);
void flight_slot_done(flight_slot *s, const usage_event *e, event_figures *f);
/*
 * The same after an event that was opened whole: `rest` has what has been learnt since. What it says stands for what was said before, as of
 * a field given twice the last counts; where it says nothing (proto3's zeroes) the former stands. False when both do not fit.
 */
GW_CHECK bool flight_slot_finish(flight_slot *s, const usage_event *rest, event_figures *f);
void flight_slot_free(flight_slot *s);

/*
 * FREE ─▶ DONE with an event that stands for `repeats` refusals (1 … FLIGHT_REPEATS_MAX), its own repeat_count 0; then one more
 * each time: false when no more fit. flight_slot_close_fold() comes before flight_slot_event(); of another DONE slot it changes nothing.
 */
void flight_slot_fold(flight_slot *s, const usage_event *e, int64_t repeats, event_figures *f);
bool flight_slot_repeat(flight_slot *s);
int64_t flight_slot_repeats(const flight_slot *s); /* 0: of no fold */
void flight_slot_close_fold(flight_slot *s, event_figures *f);

gw_str flight_slot_event(const flight_slot *s); /* of a DONE slot */

/* Fetches a slot into this processor's cache (a hint, no wait): its event, which another processor wrote, is read next. */
void flight_slot_expect(const flight_slot *s);
void flight_slot_expect_use(const flight_slot *s); /* the same, to open and finish it */

/* What a slot held at start. */
typedef enum flight_found {
    FLIGHT_FOUND_NOTHING,
    FLIGHT_FOUND_COMMITTED, /* in the spool already */
    FLIGHT_FOUND_DONE,
    FLIGHT_FOUND_INTERRUPTED, /* turned into DONE */
    FLIGHT_FOUND_TORN, /* bytes of no one event: lost */
} flight_found;

/* Leaves the slot FREE or DONE, its generation at least `committed`, the last one that the spool holds of this slot. */
/* `positions` may be NULL: else an interrupted event gets the load id that its position has by now. */
flight_found flight_slot_recover(flight_slot *s, uint64_t committed,
                                 const position_table *positions);
