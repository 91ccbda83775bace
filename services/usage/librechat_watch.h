/*
 * LibreChat watch: joins rows with LibreChat's books (librechat_join.h) every 15 s, again after a second while there is more to do
 * than one pass takes. Every replica does.
 *
 * Thread: the loop's.
 */
#pragma once

#include "log/log.h"
#include "metrics/metrics.h"
#include "mongo/mongo.h"

typedef struct librechat_watch librechat_watch;

typedef struct librechat_watch_options {
    gw_loop *loop;
    gw_mongo *mongo;
    const char *database; /* LibreChat's; ours is that of `mongo`, and may be the same */
    gw_log *log; /* may be NULL */
    gw_metrics_shard *metrics; /* may be NULL */
} librechat_watch_options;

/* Begins once MongoDB is up. Everything is borrowed. NULL when out of memory. */
librechat_watch *librechat_watch_new(const librechat_watch_options *o);
void librechat_watch_stop(librechat_watch *w); /* starts nothing more; NULL is fine */
/* Stopped, and after gw_mongo_free(). */
void librechat_watch_free(librechat_watch *w);
GW_DEFINE_FREEP(librechat_watch)
