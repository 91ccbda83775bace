/*
 * Live shared: the live counters of all replicas, by way of Redis.
 *
 * What a relay reports goes into this replica's own counters and, by one script, into the hash
 * `live:<second>` (live_figure.h), which expires after 120 s. Who reads gets the sum over all
 * replicas, read again for seconds that may still grow; while Redis is away, or none is set, this
 * replica's own. When Redis is back so is the sum; what was reported meanwhile is not in it.
 *
 * Thread: the loop's. Order at the end: no read waits any more (the gRPC server is closed), then
 * live_shared_free().
 */
#pragma once

#include "live.h"

#include "log/log.h"
#include "loop/loop.h"
#include "redis/redis.h"

typedef struct live_shared live_shared;

/* `redis` (borrowed) NULL: this replica's own only. NULL when out of memory. */
live_shared *live_shared_new(gw_loop *l, gw_redis *redis);
void live_shared_free(live_shared *s); /* reads that wait are answered first */
GW_DEFINE_FREEP(live_shared)

void live_shared_add(live_shared *s, const Apirelay__Usage__V1__Live *frame);

/* `counters` are of all replicas, or of this one alone; borrowed until it returns. */
typedef void (*live_shared_fn)(void *arg, const live *counters, bool of_all);
/* Called exactly once, possibly inside. Within a second: reads that come together share one look at
 * Redis. */
void live_shared_read(live_shared *s, live_shared_fn done, void *arg);
