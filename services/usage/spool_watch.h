/*
 * Spool watch: looks after the spools (spool_care.h) and after replays that stopped in between
 * (rejects.h), every 30 s, or a quarter of the silence that raises an alert if that is shorter. Every
 * replica does.
 *
 * Thread: the loop's.
 */
#pragma once

#include "usage_queries.h"

typedef struct spool_watch spool_watch;

/* Begins once MongoDB is up. `o` is borrowed. NULL when out of memory. */
spool_watch *spool_watch_new(const usage_queries_options *o);
void spool_watch_stop(spool_watch *w); /* starts nothing more */
/* Stopped, and after gw_mongo_free(). */
void spool_watch_free(spool_watch *w);
GW_DEFINE_FREEP(spool_watch)
