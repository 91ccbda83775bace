/*
 * What the files of the live counters share: the counters of each second. Not for others.
 *
 *   live.c          figures in
 *   live_metrics.c  sums of a window out
 */
#pragma once

#include "live.h"

#include "core/map.h"

#define KEY_BYTES (sizeof(((gw_object_id *)NULL)->bytes))

enum { SLOTS = 2 * LIVE_SECONDS }; /* also holds what comes late */

typedef struct bucket_count {
    int32_t index;
    int64_t count;
} bucket_count;

typedef struct bucket_list {
    bucket_count *items;
    size_t count, cap;
} bucket_list;

typedef struct figures {
    int64_t requests, errors, prompt, completion, cost_nano_usd;
} figures;

/* One key and model in one second; its name is the key's 12 bytes and the model. */
typedef struct cell {
    figures f;
    bucket_list duration, ttft;
} cell;

typedef struct slot {
    int64_t second;
    bool reported;
    gw_map *cells;
    int64_t open_streams, in_flight;
} slot;

struct live {
    const gw_clock *clock;
    slot slots[SLOTS];
};

static inline int64_t live_now_s(const live *l)
{
    return gw_clock_wall_ms(l->clock) / GW_MS_PER_S;
}

static inline void live_add_sane(int64_t *to, int64_t v)
{
    int64_t sum;
    if (v > 0 && !__builtin_add_overflow(*to, v, &sum))
        *to = sum;
}
