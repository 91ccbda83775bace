/*
 * Key feed: follows key_changes on behalf of this replica's watchers.
 *
 * It reads the log every 200 ms, sooner when poked (by Redis, or by a change made here). After each
 * reading that succeeded the watchers get what is new and a heartbeat, so that a heartbeat always means
 * "read from MongoDB a moment ago"; while reading fails there is none.
 *
 * Thread: the loop's.
 */
#pragma once

#include "change_subject.h"
#include "core/list.h"
#include "mongo/mongo.h"

typedef struct key_feed key_feed;

/* Starts by itself once MongoDB answers. */
GW_CHECK gw_status key_feed_new(gw_loop *l, gw_mongo *m, gw_log *log, key_feed **ret,
                                gw_error *err);
/* No watcher is left. Not while a reading runs: after gw_mongo_free. */
void key_feed_free(key_feed *f);
GW_DEFINE_FREEP(key_feed)

void key_feed_poke(key_feed *f);
/* Stops the timer; no reading starts any more. */
void key_feed_stop(key_feed *f);
bool key_feed_is_ready(const key_feed *f); /* has caught up once */
int64_t key_feed_applied(const key_feed *f); /* newest generation passed on; 0 before ready */

typedef struct key_watcher key_watcher;
struct key_watcher {
    gw_list node; /* the feed's */
    int64_t sent; /* the feed's; set to where the watcher stands by key_feed_watch */
    bool started;
    /* Each may end the watcher (key_feed_unwatch) and returns false then. */
    bool (*changed)(key_watcher *w, const change_subject *subject, int64_t generation);
    bool (*reset)(key_watcher *w, int64_t generation);
    bool (*heartbeat)(key_watcher *w, int64_t generation);
};
/* `from` 0: only what comes. The first event comes with the next reading. */
void key_feed_watch(key_feed *f, key_watcher *w, int64_t from);
void key_feed_unwatch(key_feed *f, key_watcher *w); /* twice is fine */
