/* AccountingService: each call is one job on a worker. */
#include "accounting_lists.h"
#include "accounting_message.h"
#include "doc_store_mongo.h"
#include "fold_runner.h"
#include "query_op.h"
#include "rebuild.h"
#include "rejects.h"
#include "spool_store.h"
#include "time_range.h"
#include "usage_collections.h"
#include "usage_metrics.h"

#define REBUILD_MAX_MS  (31 * GW_MS_PER_DAY)
#define DIFFERENCES_MAX 1000

/* ---- what was touched is folded soon ---- */

typedef struct touching {
    touched_days days;
} touching;

static void fold_touched(query_op *o)
{
    touching *t = o->data; /* first in the data of those who touch days */
    if (o->queries->o.folds)
        fold_runner_touch(o->queries->o.folds, &t->days);
    touched_days_fini(&t->days);
}

/* ---- RebuildHours ---- */

typedef struct rebuild_data {
    touching touching;
    int64_t from_ms, to_ms, retention_ms;
    gw_arena *arena;
    Apirelay__Usage__V1__RebuildHoursResponse *m;
    bool out_of_memory;
} rebuild_data;

static void keep_difference(void *arg, const rebuild_difference *d)
{
    rebuild_data *data = arg;
    if (data->m->n_differences == DIFFERENCES_MAX)
        return;
    Apirelay__Usage__V1__HourDifference *m =
        reply_new(data->arena, &apirelay__usage__v1__hour_difference__descriptor);
    data->out_of_memory = data->out_of_memory || !m;
    if (!m)
        return;
    m->hour = reply_text(data->arena, gw_str_of(d->hour_id));
    m->path = reply_text(data->arena, gw_str_of(d->path));
    m->stored = d->stored;
    m->computed = d->computed;
    data->m->differences[data->m->n_differences++] = m;
}

static gw_status run_rebuild(query_op *o, const gw_db *d, gw_error *err)
{
    const Apirelay__Usage__V1__RebuildHoursRequest *r = (const void *)o->request;
    rebuild_data *data = o->data;
    doc_store_mongo store;
    rebuild_report report;
    spool_db s = {.store = doc_store_mongo_init(&store, d), .now_ms = o->now_ms};
    data->arena = o->arena;
    data->m = reply_new(o->arena, &apirelay__usage__v1__rebuild_hours_response__descriptor);
    if (!data->m)
        return GW_OK;
    data->m->differences =
        gw_arena_array(o->arena, Apirelay__Usage__V1__HourDifference *, DIFFERENCES_MAX);
    if (!data->m->differences)
        return GW_OK;
    const rebuild_options options = {.from_ms = data->from_ms,
                                     .to_ms = data->to_ms,
                                     .retention_ms = data->retention_ms,
                                     .dry_run = r->dry_run,
                                     .on_difference = keep_difference,
                                     .arg = data};
    gw_status rc = rebuild_run(&s, &options, &report, &data->touching.days, err);
    if (rc != GW_OK || data->out_of_memory)
        return rc;
    data->m->hours = report.hours;
    data->m->documents = report.documents;
    data->m->rows = report.rows;
    data->m->differing_documents = report.differing;
    data->m->differing_figures = report.differences;
    data->m->rewritten_documents = report.rewritten;
    data->m->kept_documents = report.kept;
    o->response = &data->m->base;
    return GW_OK;
}

static void rebuilt(query_op *o)
{
    const rebuild_data *data = o->data;
    const usage_queries_options *q = &o->queries->o;
    if (data->m->differing_figures > 0) {
        gw_log_error(q->log, "hours_differed", gw_kv("usage.figures", data->m->differing_figures),
                     gw_kv("usage.documents", data->m->differing_documents),
                     gw_kv("usage.rewritten", data->m->rewritten_documents));
        if (q->metrics)
            gw_metric_add(q->metrics, M_usage_rebuild_differences_total, data->m->differing_figures,
                          NULL, 0);
    }
}

static void rebuild_hours(gw_rpc_call *call, const ProtobufCMessage *request, void *arg)
{
    const Apirelay__Usage__V1__RebuildHoursRequest *r = (const void *)request;
    query_op *o = query_op_new(arg, call, request, run_rebuild, sizeof(rebuild_data));
    gw_violations v = {0};
    gw_error err = {0};
    if (!o)
        return;
    rebuild_data *data = o->data;
    data->retention_ms = o->queries->o.retention_ms; /* on the loop: it may change */
    if (!r->from)
        gw_violations_add(&v, "from", "is required");
    else
        data->from_ms = time_of(r->from, "from", &v);
    if (!r->to)
        gw_violations_add(&v, "to", "is required");
    else
        data->to_ms = time_of(r->to, "to", &v);
    if (r->from && r->to && data->from_ms >= data->to_ms)
        gw_violations_add(&v, "to", "must be after from");
    else if (r->from && r->to && data->to_ms - data->from_ms > REBUILD_MAX_MS)
        gw_violations_add(&v, "to", "must be at most 31 days after from");
    o->finish = rebuilt;
    o->release = fold_touched;
    gw_status rc = gw_violations_split(&v, &err, &o->further);
    if (r->dry_run)
        query_op_start(o, rc, &err);
    else
        query_op_start_audited(o, "accounting.rebuild_hours", "hours", rc, &err);
}

/* ---- LoseSpool ---- */

static gw_status keep_loss(void *arg, const bson_t *doc, gw_error *err)
{
    query_op *o = arg;
    Apirelay__Usage__V1__LoseSpoolResponse *m = (void *)o->response;
    m->loss = loss_message(o->arena, doc);
    return m->loss ? GW_OK : gw_fail(err, GW_ERR_NO_MEMORY, "no memory for the answer");
}

static gw_status run_lose(query_op *o, const gw_db *d, gw_error *err)
{
    const Apirelay__Usage__V1__LoseSpoolRequest *r = (const void *)o->request;
    gw_db_auto_bson filter = BSON_INITIALIZER, opts = BSON_INITIALIZER;
    bson_t sort;
    gw_status rc = spool_care_lose(d, r->id, *(gw_str *)o->data, o->now_ms, err);
    if (rc != GW_OK)
        return rc;
    o->response = reply_new(o->arena, &apirelay__usage__v1__lose_spool_response__descriptor);
    if (!o->response)
        return GW_OK;
    gw_bson_append_str(&filter, "S", gw_str_of(r->id));
    BSON_APPEND_DOCUMENT_BEGIN(&opts, "sort", &sort);
    BSON_APPEND_INT32(&sort, "at", -1);
    BSON_APPEND_INT32(&sort, "_id", -1);
    bson_append_document_end(&opts, &sort);
    BSON_APPEND_INT64(&opts, "limit", 1);
    return gw_db_find(d, COLLECTION_LOSSES, &filter, &opts, keep_loss, o, err);
}

static void spool_was_lost(query_op *o)
{
    const Apirelay__Usage__V1__LoseSpoolResponse *m = (const void *)o->response;
    if (m->loss)
        gw_log_error(
            o->queries->o.log, "spool_lost", gw_kv("usage.spool", (const char *)m->loss->spool_id),
            gw_kv("usage.events", m->loss->events), gw_kv("relay.open_slots", m->loss->open_slots),
            gw_kv("admin.name", (const char *)m->loss->written_by));
}

static void lose_spool(gw_rpc_call *call, const ProtobufCMessage *request, void *arg)
{
    const Apirelay__Usage__V1__LoseSpoolRequest *r = (const void *)request;
    query_op *o = query_op_new(arg, call, request, run_lose, sizeof(gw_str));
    gw_error err = {0};
    gw_status rc = GW_OK;
    if (!o)
        return;
    *(gw_str *)o->data = gw_rpc_call_caller(call)->name;
    o->finish = spool_was_lost;
    if (strlen(r->id) >= SPOOL_ID_SIZE)
        rc = gw_fail(&err, GW_ERR_NOT_FOUND, "there is no such spool");
    query_op_start_audited(o, "accounting.lose_spool", r->id, rc, &err);
}

/* ---- ReplayRejects ---- */

typedef struct replay_data {
    touching touching;
    reject_filter filter;
    int64_t retention_ms;
} replay_data;

static gw_status run_replay(query_op *o, const gw_db *d, gw_error *err)
{
    replay_data *data = o->data;
    reject_outcome found;
    gw_status rc = rejects_replay(d, &data->filter, o->now_ms, data->retention_ms, &found,
                                  &data->touching.days, err);
    Apirelay__Usage__V1__ReplayRejectsResponse *m =
        reply_new(o->arena, &apirelay__usage__v1__replay_rejects_response__descriptor);
    if (rc != GW_OK || !m)
        return rc;
    m->replayed = found.replayed;
    m->still_rejected = found.still_rejected;
    m->duplicates = found.duplicates;
    o->response = &m->base;
    return GW_OK;
}

static void replay_rejects(gw_rpc_call *call, const ProtobufCMessage *request, void *arg)
{
    const Apirelay__Usage__V1__ReplayRejectsRequest *r = (const void *)request;
    query_op *o = query_op_new(arg, call, request, run_replay, sizeof(replay_data));
    gw_violations v = {0};
    gw_error err = {0};
    if (!o)
        return;
    replay_data *data = o->data;
    reject_filter *f = &data->filter;
    data->retention_ms = o->queries->o.retention_ms;
    f->has_id = *r->id != '\0';
    if (f->has_id && !gw_object_id_parse(gw_str_of(r->id), &f->id))
        gw_violations_add(&v, "id", "must be 24 hex digits");
    f->reason = gw_str_of(r->reason);
    accounting_check_reason(r->reason, &v);
    if (r->limit < 0 || r->limit > REJECTS_A_REPLAY)
        gw_violations_add(&v, "limit", "must be 1-%d", REJECTS_A_REPLAY);
    f->limit = r->limit ? r->limit : REJECTS_A_REPLAY;
    o->release = fold_touched;
    query_op_start_audited(o, "accounting.replay_rejects", *r->id ? r->id : "rejects",
                           gw_violations_split(&v, &err, &o->further), &err);
}

#define PATH(method) "/apirelay.usage.v1.AccountingService/" method
const gw_rpc_handler accounting_handlers[] = {
    {.path = PATH("RebuildHours"), .start = rebuild_hours},
    {.path = PATH("ListSpools"), .start = list_spools},
    {.path = PATH("LoseSpool"), .start = lose_spool},
    {.path = PATH("ListLosses"), .start = list_losses},
    {.path = PATH("ListRejects"), .start = list_rejects},
    {.path = PATH("ReplayRejects"), .start = replay_rejects},
    {0},
};
