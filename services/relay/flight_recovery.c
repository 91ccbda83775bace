/* What a slot of the flight table holds after a death, or a power loss: flight_slot_recover(). */
#include "event_pack.h"
#include "flight_table_internal.h"
#include "ledger_event.h"

static bool open_is_whole(const flight_slot *s)
{
    uint64_t generation = flight_slot_generation(s);
    return s->open_len > 0 && s->open_len <= FLIGHT_OPEN_MAX &&
           s->open_sum ==
               flight_open_seal(generation, flight_sum_of(generation, s->bytes, s->open_len));
}

static bool done_is_whole(const flight_slot *s)
{
    uint64_t generation = flight_slot_generation(s);
    uint32_t cap = EVENT_MAX_BYTES - (flight_slot_repeats(s) ? FLIGHT_FOLD_TAIL_BYTES : 0);
    return s->done_at <= FLIGHT_OPEN_MAX && s->done_len > 0 && s->done_len <= cap &&
           s->done_sum ==
               flight_done_seal(generation,
                                flight_sum_of(generation, s->bytes + s->done_at, s->done_len),
                                s->done_at, s->done_len);
}

static void note_loads(event_progress *p, const ledger_event *e, const position_table *positions)
{
    p->key_load_id = position_table_load_of(positions, e->row[LEDGER_OF_KEY]);
    p->client_load_id = position_table_load_of(positions, e->row[LEDGER_OF_CLIENT]);
    p->owner_load_id = position_table_load_of(positions, e->row[LEDGER_OF_OWNER]);
}

static flight_found recover_interrupted(flight_slot *s, const position_table *positions)
{
    if (!open_is_whole(s))
        return FLIGHT_FOUND_TORN;
    event_progress p = {
        .completion_tokens = atomic_load_explicit(&s->completion_tokens, memory_order_relaxed),
        .cost_nano_usd = atomic_load_explicit(&s->cost_nano_usd, memory_order_relaxed),
        .last_byte_ms = atomic_load_explicit(&s->last_byte_ms, memory_order_relaxed),
        .status_code = atomic_load_explicit(&s->status_code, memory_order_relaxed),
    };
    gw_str opened = gw_str_n(s->bytes, s->open_len);
    ledger_event spent;
    if (positions && ledger_event_read(opened, &spent))
        note_loads(&p, &spent, positions);
    size_t len = event_pack_interrupted(opened, &p, s->bytes + FLIGHT_OPEN_MAX, EVENT_MAX_BYTES);
    if (len == 0)
        return FLIGHT_FOUND_TORN;
    flight_slot_seal(s, FLIGHT_OPEN_MAX, (uint32_t)len);
    return FLIGHT_FOUND_INTERRUPTED;
}

static flight_found look(flight_slot *s, uint64_t committed, const position_table *positions)
{
    flight_state state = flight_slot_state(s);
    if (state == FLIGHT_FREE)
        return FLIGHT_FOUND_NOTHING;
    if (flight_slot_generation(s) <= committed)
        return FLIGHT_FOUND_COMMITTED;
    if (state == FLIGHT_DONE && done_is_whole(s))
        return FLIGHT_FOUND_DONE;
    /* An end that is torn (power loss) leaves what was known when it was opened. */
    return recover_interrupted(s, positions);
}

flight_found flight_slot_recover(flight_slot *s, uint64_t committed,
                                 const position_table *positions)
{
    flight_found found = look(s, committed, positions);
    if (found == FLIGHT_FOUND_DONE)
        flight_slot_append_repeats(s);
    if (found == FLIGHT_FOUND_DONE || found == FLIGHT_FOUND_INTERRUPTED)
        return found;
    flight_slot_free(s);
    if (flight_slot_generation(s) < committed)
        atomic_store_explicit(&s->generation, committed, memory_order_relaxed);
    return found;
}
