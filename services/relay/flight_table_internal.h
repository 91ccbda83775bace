/*
 * What tells a whole event in a slot from a torn one (flight_table.h), for who writes it and for the recovery. Include only there.
 */
#pragma once

#include "flight_table.h"

#include "core/crc32c.h"

#define FLIGHT_REPEAT_VARINT_BYTES 4
#define FLIGHT_FOLD_TAIL_BYTES     (2 + FLIGHT_REPEAT_VARINT_BYTES) /* behind the event of a fold */

/* With the generation: bytes of an earlier use of the slot never pass. */
static inline uint32_t flight_sum_of(uint64_t generation, const uint8_t *bytes, uint32_t len)
{
    return gw_crc32c(gw_crc32c(0, &generation, sizeof(generation)), bytes, len);
}

static inline uint64_t flight_open_seal(uint64_t generation, uint32_t sum)
{
    return generation << 32 | sum;
}

/* With its place: the opened event alone never passes for a finished one. */
static inline uint64_t flight_done_seal(uint64_t generation, uint32_t sum, uint32_t at,
                                        uint32_t len)
{
    uint32_t about[2] = {at, len};
    return generation << 32 | gw_crc32c(sum, about, sizeof(about));
}

/* The slot is DONE with what is packed at `s->bytes + at`. */
void flight_slot_seal(flight_slot *s, uint32_t at, uint32_t len);

/* repeat_count, as a varint of fixed length: of a field given twice the last counts. The sum does not cover it, so that a death
 * meanwhile leaves the event whole and the recovery writes the same again. Of a slot that is no fold nothing. */
void flight_slot_append_repeats(flight_slot *s);
