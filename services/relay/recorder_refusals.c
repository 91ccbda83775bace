/* Refusals: rows of their own up to ten a second a key, one row that counts the rest (DATA.md). */
#include "recorder_internal.h"

#include <assert.h>

#define ROWS_PER_SECOND 10

static int64_t second_now(const recorder_lane *lane)
{
    return gw_clock_wall_ms(lane->recorder->o.clock) / GW_MS_PER_S;
}

/* Requests find no slot, or the spool is over its bound: what is left is for rows that count. */
static bool is_short(recorder_lane *lane)
{
    return recorder_is_short(lane) || atomic_load(&lane->recorder->full);
}

static void close_row(recorder_lane *lane, refusal_key *k)
{
    flight_slot *slot = k->slot;
    refusal_table_set_slot(&lane->refusals, k, NULL);
    flight_slot_close_fold(slot, recorder_figures(lane, slot));
    recorder_hand_over(lane, slot);
}

static void forget_waiting(recorder_lane *lane, refusal_key *k)
{
    recorder_add(&lane->dropped[RECORDER_DROP_NO_SLOT], k->waiting);
    k->waiting = 0;
}

/* ---- the end of a second ---- */

static void arm(recorder_lane *lane)
{
    int64_t left = GW_MS_PER_S - gw_clock_wall_ms(lane->recorder->o.clock) % GW_MS_PER_S;
    if (!gw_timer_is_armed(&lane->second_over))
        gw_timer_set(lane->loop, &lane->second_over, left);
}

static void on_second_over(void *arg)
{
    recorder_lane *lane = arg;
    int64_t second = second_now(lane);
    bool is_kept = is_short(lane); /* a row a second of each key would use up what is left */
    gw_list_each_safe (node, &lane->refusals.open) {
        refusal_key *k = GW_CONTAINER_OF(node, refusal_key, open);
        if (k->second != second && !is_kept)
            close_row(lane, k);
    }
    if (!gw_list_is_empty(&lane->refusals.open))
        arm(lane);
}

/* ---- one refusal ---- */

static refusal_key *key_of(recorder_lane *lane, const uint8_t id[REFUSAL_KEY_ID_SIZE])
{
    refusal_key *k = refusal_table_find(&lane->refusals, id);
    refusal_key *oldest = k ? NULL : refusal_table_oldest(&lane->refusals);
    if (k)
        return k;
    if (oldest) {
        if (oldest->slot)
            close_row(lane, oldest);
        forget_waiting(lane, oldest);
    }
    return refusal_table_add(&lane->refusals, id);
}

/* Whether the key's open row counts one more. */
static bool repeat(recorder_lane *lane, const refusal_key *k)
{
    if (!k->slot || (k->second != second_now(lane) && !is_short(lane)) ||
        !flight_slot_repeat(k->slot))
        return false;
    recorder_add(&lane->folded, 1);
    return true;
}

/* Rows that count never take more than their reserve: they may be open for long. Room is made by closing the oldest, unless
 * what is closed would wait for the disk. */
static bool may_open_row(recorder_lane *lane)
{
    refusal_table *t = &lane->refusals;
    uint32_t most = lane->recorder->o.refusal_slots;
    gw_list *oldest = gw_list_first(&t->open);
    if (oldest && t->open_count == most && !is_short(lane))
        close_row(lane, GW_CONTAINER_OF(oldest, refusal_key, open));
    return t->open_count < most;
}

static void open_row(recorder_lane *lane, refusal_key *k, flight_slot *slot, const usage_event *e)
{
    usage_event first = *e;
    int64_t repeats = GW_MIN(1 + k->waiting, FLIGHT_REPEATS_MAX);
    first.repeat_count = 0;
    flight_slot_fold(slot, &first, repeats, recorder_figures(lane, slot));
    k->waiting -= repeats - 1;
    recorder_add(&lane->folded, repeats - 1);
    refusal_table_set_slot(&lane->refusals, k, slot);
    arm(lane);
}

bool recorder_repeat_refusal(recorder_lane *lane, flight_slot *slot, const uint8_t api_key_id[12])
{
    refusal_key *k = refusal_table_find(&lane->refusals, api_key_id);
    if (!k || !repeat(lane, k))
        return false;
    if (slot)
        recorder_release(lane, slot);
    return true;
}

void recorder_refuse(recorder_lane *lane, flight_slot *slot, const usage_event *e)
{
    assert(e->api_key_id.len == REFUSAL_KEY_ID_SIZE);
    if (recorder_repeat_refusal(lane, slot, e->api_key_id.data))
        return;
    refusal_key *k = key_of(lane, e->api_key_id.data);
    int64_t second = second_now(lane);
    if (k->slot)
        close_row(lane, k);
    if (k->second != second) {
        k->second = second;
        k->rows = 0;
    }
    bool has_own = k->rows < ROWS_PER_SECOND && k->waiting == 0 && !is_short(lane);
    bool opens = !has_own && may_open_row(lane);
    if (!slot && (has_own || opens))
        slot = recorder_take_slot(lane);
    if (!slot) {
        k->waiting++;
        recorder_add(&lane->slotless, 1);
    } else if (opens) {
        open_row(lane, k, slot, e);
    } else {
        k->rows++;
        recorder_done(lane, slot, e);
    }
}

/* ---- the lane's life ---- */

bool recorder_init_refusals(recorder_lane *lane)
{
    gw_timer_init(&lane->second_over, on_second_over, lane);
    return refusal_table_init(&lane->refusals, REFUSAL_KEYS);
}

void recorder_close_refusals(recorder_lane *lane)
{
    gw_timer_cancel(lane->loop, &lane->second_over);
    for (gw_list *node; (node = gw_list_first(&lane->refusals.open));)
        close_row(lane, GW_CONTAINER_OF(node, refusal_key, open));
    gw_list_each (node, &lane->refusals.recent)
        forget_waiting(lane, GW_CONTAINER_OF(node, refusal_key, recent));
}

void recorder_fini_refusals(recorder_lane *lane)
{
    if (lane->loop)
        gw_timer_cancel(lane->loop, &lane->second_over);
    refusal_table_fini(&lane->refusals);
}
