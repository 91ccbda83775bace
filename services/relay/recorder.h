/*
 * Recorder: usage events from the request path into the flight table, the spool and on to usage
 * (USAGE.md).
 *
 *     claim ─▶ open ─▶ progress … ─▶ done ─▶ (writer thread commits it) ─▶ (ingest client sends, acked) ─▶ gone
 *
 * The request path only stores into a shared mapping: no system call, no wait, no allocation. A
 * process killed with -9 loses nothing that was stored: at the next start DONE slots are appended
 * and OPEN ones become `interrupted` events.
 *
 * Thread: a recorder_lane belongs to one loop; the rest to the loop that made the recorder, but
 * what says otherwise.
 */
#pragma once

#include "core/clock.h"
#include "log/log.h"
#include "loop/loop.h"
#include "metrics/metrics.h"
#include "rpc/client.h"

#include "event_codec.h"
#include "position_table.h"

typedef struct recorder recorder;
typedef struct recorder_lane recorder_lane; /* one loop's range of slots */
typedef struct flight_slot flight_slot; /* one request in flight */

typedef struct recorder_options {
    const char *dir; /* made (0700) when absent; flock'ed exclusively */
    unsigned lanes; /* loops */
    unsigned slots_per_lane; /* RELAY_MAX_INFLIGHT / lanes + 1,024 */
    /* a lane, beyond these: for rows that count refusals, no request takes them */
    unsigned refusal_slots;
    int64_t sync_interval_ms; /* RELAY_SPOOL_SYNC, 10 */
    int64_t spool_max_bytes; /* RELAY_SPOOL_MAX, 2 GiB */
    gw_rpc_channel *usage; /* NULL: spool only (tests) */
    gw_str service_token; /* presented to usage */
    const gw_clock *clock;
    gw_log *log;
    gw_metrics_shard *metrics; /* may be NULL */
    bool without_thread; /* tests: recorder_turn() does what the writer thread does */
} recorder_options;

/* Recovers, then starts the writer thread and the ingest client. GW_ERR_FAILED_PRECONDITION when
 * another process holds `dir`. */
GW_CHECK gw_status recorder_open(gw_loop *l, const recorder_options *o, recorder **ret,
                                 gw_error *err);
recorder_lane *recorder_lane_at(recorder *r, unsigned index);

/* A free slot of this lane, FREE still; NULL when none is free: refuse with GW_ERR_SPOOL_BUSY.
 * Never waits. */
flight_slot *recorder_claim(recorder_lane *lane);
/* Gives back a slot that was claimed and never opened. */
void recorder_release(recorder_lane *lane, flight_slot *slot);

/* 12 bytes for usage_event.event_id: 4 B seconds, 5 B spool id, 3 B counter. Any lane's own thread.
 */
void recorder_event_id(recorder_lane *lane, uint8_t out[12]);

/* Before the first upstream byte: `e` as known so far (prompt_estimate_tokens set). Longer than a
 * slot: cut as the spool cuts, and false. Again before each further attempt: what it says replaces what was said. */
bool recorder_open_event(recorder_lane *lane, flight_slot *slot, const usage_event *e);
/*
 * While streaming: what an interruption would be billed by: tokens delivered so far and the price of them and of the prompt estimate.
 * `status_code` as sent to the client, 0 when none yet.
 */
void recorder_progress(flight_slot *slot, int64_t completion_tokens, int64_t cost_nano_usd,
                       int status_code, int64_t wall_ms);
/* The finished event, before the client gets the end of its answer. The slot is the recorder's
 * afterwards. */
void recorder_done(recorder_lane *lane, flight_slot *slot, const usage_event *e);
/* The same of an event that was opened whole, by what has been learnt since: flight_slot_finish(). False: recorder_done() is due. */
GW_CHECK bool recorder_finish(recorder_lane *lane, flight_slot *slot, const usage_event *rest);

/*
 * A refusal. Of a key's refusals (api_key_id) the first ten of a second have a row each, the rest one together; while slots are
 * short, or the spool is full, all are in one, for as long as that lasts. `slot` as claimed, or NULL: one is found, or none, then the key's next row
 * counts it too (relay_spool_slotless_refusals_total). `e` has outcome "refused" and repeat_count 1.
 */
void recorder_refuse(recorder_lane *lane, flight_slot *slot, const usage_event *e);
/* The same without an event, where a row of this key is open that counts: true, and `slot` (may be NULL) is given back. */
bool recorder_repeat_refusal(recorder_lane *lane, flight_slot *slot, const uint8_t api_key_id[12]);

/* Why an event is not written down. */
typedef enum recorder_drop_reason {
    RECORDER_DROP_DEGRADED, /* RELAY_SPOOL_FULL=degrade */
    RECORDER_DROP_NO_SLOT,
    RECORDER_DROP_REASONS
} recorder_drop_reason;
/* Counts one: relay_spool_dropped_total, and usage is told. */
void recorder_drop(recorder_lane *lane, recorder_drop_reason why);

/* The rows of this relay's positions, by the id of its spool; the recorder's, for as long as it is open. */
position_table *recorder_positions(recorder *r);
/* "<spool id>.<times opened>" as of the start: never given twice. The recorder's; any thread. */
const char *recorder_holder(const recorder *r);
/* What a killed relay left behind, its last events counted in. */
size_t recorder_left_positions(const recorder *r, const ledger_left **ret);

/* Figures for readiness, metrics and limits. */
typedef struct recorder_stats {
    int64_t tail, acked; /* sequence numbers */
    int64_t spool_bytes;
    int64_t open_slots;
    bool disk_failed; /* the last commit failed; DONE slots wait */
    bool disk_low; /* the disk has no room for what spool_max_bytes allows */
    bool filling; /* 80 % of spool_max_bytes reached */
    bool full; /* spool_max_bytes reached: refuse new traffic with GW_ERR_SPOOL_BUSY */
    int64_t claimed; /* events since the start that usage has acknowledged */
    int64_t set_aside; /* spools since the start that were replaced by an empty one */
    int64_t dropped; /* events since the start that were not written down */
    int64_t longest_commit_ms; /* since the start: how long the disk kept events waiting at once */
    bool connected; /* in FLOW with usage */
} recorder_stats;
void recorder_get_stats(const recorder *r, recorder_stats *ret);

void recorder_set_service_token(recorder *r, gw_str service_token); /* for streams to come */

/* One turn of the writer, for tests that run it themselves. */
void recorder_turn(recorder *r);

/* Commits what is done, sends and waits for acks at most `grace_ms`, stops the thread; then
 * `closed(arg)` on the loop and frees. */
void recorder_close(recorder *r, int64_t grace_ms, void (*closed)(void *arg), void *arg);
