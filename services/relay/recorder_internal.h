/*
 * What recorder.c (figures, the request path, closing) and recorder_open.c (locks, files, recovery) share.
 */
#pragma once

#include "ingest_client.h"
#include "recorder.h"
#include "refusal_table.h"
#include "spool_writer.h"

#include "core/id.h"

#define REFUSAL_SLOTS                                                                              \
    256 /* of a lane, beyond slots_per_lane: for rows that count refusals, no request takes them */
#define REFUSAL_KEYS 4096 /* a lane knows of */

struct recorder_lane {
    recorder *recorder;
    gw_loop *loop; /* runs second_over */
    writer_lane *rings;
    uint32_t first, count; /* slots of this lane */
    uint32_t *free; /* their indexes, a stack */
    uint32_t free_count;
    bool *is_stream; /* by slot, of the event that opened it */
    uint32_t last_id_second; /* event ids do not go back with the clock */
    atomic_int_least64_t opened; /* written by the lane, read by the recorder's loop */
    atomic_int_least64_t streams;
    atomic_int_least64_t done;
    refusal_table refusals;
    gw_timer second_over; /* armed while a row is open that counts refusals */
    atomic_int_least64_t folded, slotless; /* refusals counted by another's row; without a slot */
    atomic_int_least64_t dropped[RECORDER_DROP_REASONS];
};

struct recorder {
    recorder_options o;
    gw_loop *loop;
    int dir_fd; /* holds the flock */
    flight_table *table;
    position_table *positions;
    char holder[LEDGER_HOLDER_SIZE];
    ledger_left *left_positions; /* of a killed relay */
    size_t left_position_count;
    spool *spool;
    writer_lane *rings;
    recorder_lane *lanes;
    spool_writer *writer;
    ingest_client *ingest; /* NULL: spool only */
    gw_timer tick;
    atomic_uint_least64_t spool_id; /* for event ids */
    atomic_uint_least32_t id_counter;
    int64_t committed, recovered; /* events; of these found at start */
    /* for recorder_get_stats(), which any lane may ask */
    atomic_int_least64_t tail, acked, bytes, claimed, set_aside, longest_commit_ms;
    atomic_bool disk_failed, disk_low, filling, full, connected;
    int64_t seen_committed, seen_failures, seen_acked; /* as counted in metrics */
    int64_t seen_folded, seen_slotless, seen_dropped[RECORDER_DROP_REASONS];
    bool resetting;
    /* closing */
    gw_timer close_look;
    int64_t close_due_ms;
    void (*closed)(void *arg);
    void *closed_arg;
};

event_figures *recorder_figures(const recorder_lane *lane,
                                const flight_slot *slot); /* of its event */
/* recorder.c: a DONE slot goes to the writer. */
void recorder_hand_over(recorder_lane *lane, flight_slot *slot);
/* Whether there is no slot for a request. Takes back what the writer has freed. */
bool recorder_is_short(recorder_lane *lane);
flight_slot *recorder_take_slot(recorder_lane *lane); /* the last one too; NULL when none is free */
void recorder_add(atomic_int_least64_t *figure, int64_t delta); /* by its one writer */

/* recorder_refusals.c */
GW_CHECK bool recorder_init_refusals(recorder_lane *lane);
void recorder_fini_refusals(recorder_lane *lane);
/* Every row that counts goes to the writer: nothing is refused any more. */
void recorder_close_refusals(recorder_lane *lane);

/* Every TICK_MS, from the opening on. */
void recorder_tick(void *arg);
/* The id by which events are named is the spool's. */
void recorder_use_spool_id(recorder *r, const spool_info *i);

/* What writer and ingest client call back. */
void recorder_on_report(void *arg, const writer_report *w);
void recorder_on_acked(void *arg, int64_t seq, const uint8_t event_id[SPOOL_EVENT_ID_SIZE]);
void recorder_on_trouble(void *arg, ingest_trouble why);
ingest_gauges recorder_gauges(void *arg);

/* The ingest client is gone or was never made: it is made last, so that nothing fails after it. */
void recorder_free(recorder *r);
