/*
 * What a dead relay left behind: a slot's bytes and an event's. A slot is FREE or DONE after its recovery, an event in it is
 * at most EVENT_MAX_BYTES and sound, and so is one made of an interrupted request. The checksums of the first run of an
 * input are its own, those of the second are set right, so that the bytes behind them are looked at too.
 */
#include "flight_table.h"

#include "core/crc32c.h"
#include "rpc/walk.h"
#include "testing/fuzz.h"

static bool is_sound(gw_str packed)
{
    return gw_walk(&apirelay__usage__v1__usage_event__descriptor, packed, NULL) == GW_OK;
}

static void check_event(gw_str packed)
{
    fuzz_require(packed.len > 0 && packed.len <= EVENT_MAX_BYTES);
    fuzz_require(is_sound(packed));
}

/* An event is judged by usage: only what we made of a sound one must be sound. */
static void check_slot(flight_slot *s, uint64_t committed)
{
    bool was_sound = s->open_len <= FLIGHT_OPEN_MAX && is_sound(gw_str_n(s->bytes, s->open_len));
    flight_found found = flight_slot_recover(s, committed, NULL);
    flight_state state = flight_slot_state(s);

    fuzz_require(state == FLIGHT_FREE || state == FLIGHT_DONE);
    fuzz_require((state == FLIGHT_DONE) ==
                 (found == FLIGHT_FOUND_DONE || found == FLIGHT_FOUND_INTERRUPTED));
    fuzz_require(flight_slot_generation(s) >= committed || state == FLIGHT_FREE);
    if (found == FLIGHT_FOUND_INTERRUPTED && was_sound)
        check_event(flight_slot_event(s));
    if (state == FLIGHT_DONE) {
        fuzz_require(flight_slot_event(s).len <= EVENT_MAX_BYTES);
        fuzz_require(flight_slot_recover(s, committed, NULL) ==
                     FLIGHT_FOUND_DONE); /* again: as it is */
    }
}

/* As the table seals them. */
static uint32_t sum(uint64_t generation, const uint8_t *bytes, uint32_t len)
{
    return gw_crc32c(gw_crc32c(0, &generation, sizeof(generation)), bytes, len);
}

static void check_open_event(gw_str packed)
{
    flight_slot s = {.generation = 3, .state = FLIGHT_OPEN};

    s.open_len = (uint32_t)GW_MIN(packed.len, (size_t)FLIGHT_OPEN_MAX);
    if (s.open_len)
        memcpy(s.bytes, packed.ptr, s.open_len);
    s.open_sum = UINT64_C(3) << 32 | sum(3, s.bytes, s.open_len);
    flight_slot_progress(&s, &(event_progress){.completion_tokens = 5, .last_byte_ms = 1});
    check_slot(&s, 2);
}

/* A slot that is DONE by whatever it says, its sum set right. */
static void check_done_slot(const uint8_t *data, size_t size)
{
    flight_slot s = {0};

    memcpy((void *)&s, data, GW_MIN(size, sizeof(s)));
    s.generation = 3;
    s.state = FLIGHT_DONE;
    if (s.done_at <= FLIGHT_OPEN_MAX && s.done_len <= EVENT_MAX_BYTES) {
        uint32_t about[2] = {s.done_at, s.done_len};
        s.done_sum = UINT64_C(3) << 32 |
                     gw_crc32c(sum(3, s.bytes + s.done_at, s.done_len), about, sizeof(about));
    }
    check_slot(&s, 2);
}

static void check_figures(const flight_slot *s, const event_figures *noted)
{
    event_figures there;

    fuzz_require(event_read_figures(flight_slot_event(s), &there));
    fuzz_require(memcmp(noted, &there, sizeof(there)) == 0);
}

static void check_packing(gw_str packed)
{
    uint8_t out[EVENT_MAX_BYTES];

    if (!is_sound(packed))
        return;
    usage_event *e =
        apirelay__usage__v1__usage_event__unpack(NULL, packed.len, (const uint8_t *)packed.ptr);
    if (!e)
        return;
    size_t len = event_pack(e, out, sizeof(out));
    if (len)
        check_event(gw_str_n(out, len));
    flight_slot s = {0};
    event_figures f;
    flight_slot_open(&s, e, &f);
    flight_slot_done(&s, e, &f);
    check_figures(&s, &f);
    check_slot(&s, 0);
    if (flight_slot_open(&s, e, &f) && flight_slot_finish(&s, e, &f)) {
        check_figures(&s, &f);
        check_slot(&s, 0);
    }
    apirelay__usage__v1__usage_event__free_unpacked(e, NULL);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    flight_slot s = {0};

    memcpy((void *)&s, data, GW_MIN(size, sizeof(s)));
    check_slot(&s, 1);
    check_done_slot(data, size);
    check_open_event(gw_str_n(data, size));
    check_packing(gw_str_n(data, size));
    return 0;
}
