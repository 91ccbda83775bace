/*
 * Alert watch: measures every rule each 30 s, opens and resolves its alerts. Every replica does;
 * the unique index on firing alerts keeps them from opening one twice.
 *
 * Thread: the loop's; alerts_resolve() on a worker.
 */
#pragma once

#include "core/id.h"
#include "log/log.h"
#include "mongo/db.h"

#define ALERT_EVERY_MS 30000

typedef struct alert_watch alert_watch;

/* Makes the indexes and begins once MongoDB is up. NULL when out of memory. */
alert_watch *alert_watch_new(gw_loop *l, gw_mongo *mongo, gw_log *log);
void alert_watch_stop(alert_watch *w); /* starts nothing more */
/* Stopped, and after gw_mongo_free(). */
void alert_watch_free(alert_watch *w);
GW_DEFINE_FREEP(alert_watch)
void alert_watch_poke(alert_watch *w); /* rules have changed: measure now */

/* Resolves the firing alert of a rule, if there is one. */
GW_CHECK gw_status alerts_resolve(const gw_db *d, const gw_object_id *rule_id, int64_t now_ms,
                                  gw_error *err);
/* Measures all rules once. The first failure is returned; it does not keep the other rules. */
GW_CHECK gw_status alerts_evaluate(const gw_db *d, int64_t now_ms, gw_error *err);
