#include "alert_watch.h"

#include "alert_rules.h"
#include "usage_query.h"

#include <stdlib.h>

#define RULES_MAX 1000 /* measured */

static const char alert_indexes[] =
    "[{\"name\":\"firing_once\",\"key\":{\"ruleId\":1},\"unique\":true,"
    "\"partialFilterExpression\":{\"status\":\"firing\"}}]";

struct alert_watch {
    gw_mongo_job job;
    gw_loop *loop;
    gw_mongo *mongo;
    gw_log *log;
    gw_timer timer;
    bool has_indexes, running, again, stopped;
    int64_t now_ms;
};

/* ---- one round, on a worker ---- */

gw_status alerts_resolve(const gw_db *d, const gw_object_id *rule_id, int64_t now_ms, gw_error *err)
{
    gw_db_auto_bson filter = BSON_INITIALIZER, update = BSON_INITIALIZER;
    bson_t set;
    gw_bson_append_oid(&filter, "ruleId", rule_id);
    BSON_APPEND_UTF8(&filter, "status", "firing");
    BSON_APPEND_DOCUMENT_BEGIN(&update, "$set", &set);
    BSON_APPEND_UTF8(&set, "status", "resolved");
    BSON_APPEND_DATE_TIME(&set, "resolvedAt", now_ms);
    bson_append_document_end(&update, &set);
    return gw_db_update_one(d, COLLECTION_ALERTS, &filter, &update, NULL, err);
}

static gw_status raise_alert(const gw_db *d, const alert_rule *r, const gw_object_id *rule_id,
                             double value, int64_t now_ms, gw_error *err)
{
    gw_db_auto_bson filter = BSON_INITIALIZER, update = BSON_INITIALIZER, doc = BSON_INITIALIZER;
    bson_t max;
    int64_t matched = 0;
    gw_bson_append_oid(&filter, "ruleId", rule_id);
    BSON_APPEND_UTF8(&filter, "status", "firing");
    BSON_APPEND_DOCUMENT_BEGIN(&update, "$max", &max);
    BSON_APPEND_DOUBLE(&max, "value", value);
    bson_append_document_end(&update, &max);
    gw_status rc = gw_db_update_one(d, COLLECTION_ALERTS, &filter, &update, &matched, err);
    if (rc != GW_OK || matched > 0)
        return rc;
    alert_append(r, value, now_ms, &doc);
    rc = gw_db_insert(d, COLLECTION_ALERTS, &doc, err);
    return rc == GW_ERR_ALREADY_EXISTS ? GW_OK : rc; /* another replica was first */
}

static gw_status evaluate_rule(const gw_db *d, gw_arena *a, const alert_rule *r, int64_t now_ms,
                               gw_error *err)
{
    gw_object_id rule_id;
    usage_query q = {.from_ms = now_ms - r->window_seconds * GW_MS_PER_S,
                     .to_ms = now_ms,
                     .by = *r->model ? GROUP_MODEL : GROUP_NONE,
                     .durations = true};
    if (!gw_object_id_parse(gw_str_of(r->id), &rule_id) || q.from_ms >= q.to_ms)
        return GW_OK;
    q.one_key = gw_object_id_parse(gw_str_of(r->api_key_id), &q.key);
    usage_report *report = usage_report_new(a, q.by, NULL);
    if (!report)
        return gw_fail(err, GW_ERR_NO_MEMORY, "no memory to measure an alert rule");
    gw_status rc = usage_query_run(d, &q, NULL, report, err);
    if (rc != GW_OK)
        return rc;
    double value = alert_rule_measure(r, report);
    return value >= r->threshold ? raise_alert(d, r, &rule_id, value, now_ms, err)
                                 : alerts_resolve(d, &rule_id, now_ms, err);
}

typedef struct rule_list {
    gw_arena *arena;
    alert_rule **rules;
    size_t count;
} rule_list;

static gw_status keep_rule(void *arg, const bson_t *doc, gw_error *err)
{
    rule_list *l = arg;
    alert_rule *r = alert_rule_of(l->arena, doc);
    if (!r)
        return gw_fail(err, GW_ERR_NO_MEMORY, "no memory for the alert rules");
    if (l->count < RULES_MAX)
        l->rules[l->count++] = r;
    return GW_OK;
}

gw_status alerts_evaluate(const gw_db *d, int64_t now_ms, gw_error *err)
{
    gw_auto(gw_arena) arena = gw_arena_new();
    gw_db_auto_bson filter = BSON_INITIALIZER, opts = BSON_INITIALIZER;
    rule_list l = {.arena = arena};
    if (arena)
        l.rules = gw_arena_array(arena, alert_rule *, RULES_MAX);
    if (!l.rules)
        return gw_fail(err, GW_ERR_NO_MEMORY, "no memory for the alert rules");
    BSON_APPEND_BOOL(&filter, "disabled", false);
    gw_db_append_page(&opts, "_id", -1, RULES_MAX);
    gw_status rc = gw_db_find(d, COLLECTION_ALERT_RULES, &filter, &opts, keep_rule, &l, err);
    for (size_t i = 0; i < l.count; i++) {
        gw_error failure = {0};
        gw_auto(gw_arena) scratch = gw_arena_new();
        gw_status one = scratch ? evaluate_rule(d, scratch, l.rules[i], now_ms, &failure)
                                : gw_fail(&failure, GW_ERR_NO_MEMORY, "no memory for a rule");
        if (one != GW_OK && rc == GW_OK) {
            rc = one;
            *err = failure;
        }
    }
    return rc;
}

/* ---- rounds ---- */

static gw_status run_round(gw_mongo_job *j, mongoc_client_t *client, mongoc_database_t *database,
                           gw_error *err)
{
    (void)client;
    alert_watch *w = GW_CONTAINER_OF(j, alert_watch, job);
    const gw_db d = {database, j->mongo};
    gw_status rc = GW_OK;
    if (!w->has_indexes)
        rc = gw_mongo_ensure_indexes(database, COLLECTION_ALERTS, alert_indexes, err);
    if (rc != GW_OK)
        return rc;
    w->has_indexes = true;
    return alerts_evaluate(&d, w->now_ms, err);
}

static void round_done(gw_mongo_job *j, gw_status rc, const gw_error *err)
{
    alert_watch *w = GW_CONTAINER_OF(j, alert_watch, job);
    w->running = false;
    if (rc != GW_OK && rc != GW_ERR_UNAVAILABLE) /* an outage is told by gw_mongo */
        gw_log_error(w->log, "alert_rules_not_measured", gw_kv_error(err));
    if (!w->stopped)
        gw_timer_set(w->loop, &w->timer, w->again ? 0 : ALERT_EVERY_MS);
    w->again = false;
}

static void start_round(void *arg)
{
    alert_watch *w = arg;
    if (w->stopped || w->running)
        return;
    w->running = true;
    w->now_ms = gw_clock_wall_ms(gw_loop_clock(w->loop));
    w->job = (gw_mongo_job){.run = run_round, .done = round_done};
    gw_mongo_submit(w->mongo, &w->job);
}

alert_watch *alert_watch_new(gw_loop *l, gw_mongo *mongo, gw_log *log)
{
    alert_watch *w = calloc(1, sizeof(*w));
    if (!w)
        return NULL;
    w->loop = l;
    w->mongo = mongo;
    w->log = log;
    gw_timer_init(&w->timer, start_round, w);
    gw_mongo_when_up(mongo, start_round, w);
    return w;
}

void alert_watch_stop(alert_watch *w)
{
    w->stopped = true;
    gw_timer_cancel(w->loop, &w->timer);
}

void alert_watch_free(alert_watch *w)
{
    free(w);
}

void alert_watch_poke(alert_watch *w)
{
    if (w->running)
        w->again = true;
    else if (!w->stopped && w->has_indexes)
        gw_timer_set(w->loop, &w->timer, 0);
}
