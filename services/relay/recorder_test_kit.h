/*
 * For the tests of the recorder and its parts: a directory of their own, a loop with a watchdog, events.
 */
#pragma once

#include "recorder.h"
#include "spool.h"

#include "testing/cmocka.h"
#include "testing/watchdog.h"

#include <fts.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

typedef struct kit {
    char dir[64];
    gw_loop *loop;
    gw_timer watchdog, look;
    int64_t watchdog_ms;
    bool (*until)(struct kit *k);
    recorder *recorder;
    bool closed;
    int64_t wanted;
    void *extra;
} kit;

static inline void kit_remove_tree(char *path)
{
    FTS *tree = fts_open((char *const[]){path, NULL}, FTS_PHYSICAL | FTS_NOCHDIR, NULL);
    for (FTSENT *e; tree && (e = fts_read(tree));)
        if (e->fts_info != FTS_D)
            (void)remove(e->fts_path);
    if (tree)
        (void)fts_close(tree);
}

static inline void kit_look(void *arg)
{
    kit *k = arg;
    if (k->until(k))
        gw_loop_stop(k->loop);
    else
        gw_timer_set(k->loop, &k->look, 2);
}

/* Runs the loop until the condition holds. */
static inline void kit_run_until(kit *k, bool (*until)(kit *k))
{
    k->until = until;
    gw_timer_set(k->loop, &k->look, 0);
    gw_timer_set(k->loop, &k->watchdog, k->watchdog_ms);
    gw_loop_run(k->loop);
}

static inline int kit_setup_with(void **state, const gw_clock *clock)
{
    kit *k = calloc(1, sizeof(*k));
    gw_error err;
    assert_non_null(k);
    (void)snprintf(k->dir, sizeof(k->dir), "/tmp/relay-spool-XXXXXX");
    assert_non_null(mkdtemp(k->dir));
    assert_int_equal(gw_loop_new(clock, &k->loop, &err), GW_OK);
    gw_test_watchdog_init(&k->watchdog);
    gw_timer_init(&k->look, kit_look, k);
    k->watchdog_ms = clock == &gw_system_clock ? GW_TEST_HANGS_MS : 100 * GW_TEST_HANGS_MS;
    *state = k;
    return 0;
}

static inline int kit_setup(void **state)
{
    return kit_setup_with(state, &gw_system_clock);
}

static inline int kit_teardown(void **state)
{
    kit *k = *state;
    gw_timer_cancel(k->loop, &k->watchdog);
    gw_timer_cancel(k->loop, &k->look);
    gw_loop_free(k->loop);
    kit_remove_tree(k->dir);
    free(k);
    return 0;
}

/* An event as the request path makes it; texts and ids are static. */
static inline usage_event kit_event(uint8_t id[12], int64_t prompt_estimate_tokens)
{
    static char key_id[] = "k1", model[] = "gpt-4o", complete[] = "complete",
                reported[] = "reported";
    static uint8_t key[12] = "api-key-0001";
    usage_event e = APIRELAY__USAGE__V1__USAGE_EVENT__INIT;
    e.event_id = (ProtobufCBinaryData){.len = 12, .data = id};
    e.api_key_id = (ProtobufCBinaryData){.len = 12, .data = key};
    e.timestamp_ms = 1764000000000;
    e.key_id = key_id;
    e.model = model;
    e.upstream_accepted = true;
    e.outcome = complete;
    e.billing_basis = reported;
    e.status_code = 200;
    e.duration_ms = 1234;
    e.prompt_estimate_tokens = prompt_estimate_tokens;
    e.cost_nano_usd = 42;
    return e;
}

static inline recorder_options kit_options(const kit *k)
{
    return (recorder_options){.dir = k->dir,
                              .lanes = 1,
                              .slots_per_lane = 64,
                              .sync_interval_ms = 2,
                              .spool_max_bytes = 64 << 20,
                              .clock = &gw_system_clock};
}

static inline void kit_open(kit *k, const recorder_options *o)
{
    gw_error err = {0};
    gw_status rc = recorder_open(k->loop, o, &k->recorder, &err);
    if (rc != GW_OK)
        fail_msg("%s", err.message);
}

static inline void kit_on_closed(void *arg)
{
    kit *k = arg;
    k->closed = true;
    k->recorder = NULL;
}

static inline bool kit_is_closed(kit *k)
{
    return k->closed;
}

static inline void kit_close(kit *k, int64_t grace_ms)
{
    k->closed = false;
    recorder_close(k->recorder, grace_ms, kit_on_closed, k);
    kit_run_until(k, kit_is_closed);
}

/* One request from claim to done; false when there is no slot. */
static inline bool kit_record(recorder_lane *lane, bool forwarded)
{
    uint8_t id[12];
    flight_slot *slot = recorder_claim(lane);
    if (!slot)
        return false;
    recorder_event_id(lane, id);
    usage_event e = kit_event(id, 10);
    if (forwarded) {
        recorder_open_event(lane, slot, &e);
        recorder_progress(slot, 3, 30, 200, 1764000000500);
    }
    recorder_done(lane, slot, &e);
    return true;
}

static inline recorder_stats kit_stats(const kit *k)
{
    recorder_stats s;
    recorder_get_stats(k->recorder, &s);
    return s;
}

static inline bool kit_tail_is_wanted(kit *k)
{
    return kit_stats(k).tail >= k->wanted;
}

static inline void kit_wait_tail(kit *k, int64_t tail)
{
    k->wanted = tail;
    kit_run_until(k, kit_tail_is_wanted);
}

/* All events of the closed spool in `dir`, unpacked; freed by the caller one by one. */
static inline size_t kit_read_all(const kit *k, usage_event **events, size_t max)
{
    char path[96];
    gw_error err;
    spool *s = NULL;
    spool_frame *f = malloc(sizeof(*f));
    (void)snprintf(path, sizeof(path), "%s/spool", k->dir);
    assert_non_null(f);
    assert_int_equal(spool_open_readonly(path, &s, &err), GW_OK);
    size_t n = 0;
    int64_t seq = spool_get_info(s)->acked + 1;
    do {
        assert_int_equal(spool_read(s, seq, SPOOL_FRAME_BYTES, f, &err), GW_OK);
        for (uint32_t i = 0; i < f->count; i++) {
            assert_true(n < max);
            events[n] =
                apirelay__usage__v1__usage_event__unpack(NULL, f->events[i].len, f->events[i].data);
            assert_non_null(events[n++]);
        }
        seq += f->count;
    } while (f->count);
    free(f);
    spool_free(s);
    return n;
}
