/*
 * UsageService. GetOwnUsage asks auth for the calling key's limits first; all else is one job on a
 * worker, but for the live counters (metrics_rpc.h).
 */
#include "ledger_sums.h"
#include "limit_states.h"
#include "log_query.h"
#include "metrics_rpc.h"
#include "query_op.h"
#include "usage_query.h"
#include "usage_reply.h"

#include "access/access.h"

#include "apirelay/auth/v1/identity_service.pb-c.h"
#include "apirelay/usage/v1/usage_service.pb-c.h"

#define NO_LOAD       1 /* a load id that nothing has: nothing is left out */
#define DAY_MS        INT64_C(86400000)
#define IDENTITY_PATH "/apirelay.auth.v1.IdentityService/CheckCredential"

typedef struct report_data {
    time_range range;
    const char *time_zone;
    usage_query query;
    time_points points;
    Apirelay__Auth__V1__KeyLimits *limits; /* GetOwnUsage's */
} report_data;

/* ---- what all reports share ---- */

typedef struct report_asked {
    const Google__Protobuf__Timestamp *from, *to;
    const char *group_by, *interval, *time_zone;
} report_asked;

static void plan_report(query_op *o, report_asked asked, bool own, gw_violations *v)
{
    report_data *d = o->data;
    d->range = time_range_of(asked.from, asked.to, asked.interval, o->now_ms, v);
    d->time_zone = asked.time_zone;
    d->query.by = usage_group_by_of(asked.group_by, own, v);
    d->query.from_ms = d->range.from_ms;
    d->query.to_ms = d->range.to_ms;
}

static void plan_key(query_op *o, gw_str api_key_id, gw_violations *v)
{
    report_data *d = o->data;
    d->query.one_key = true;
    if (!gw_object_id_parse(api_key_id, &d->query.key))
        gw_violations_add(v, "apiKeyId", "must be 24 hex digits");
}

static gw_status run_report(query_op *o, const gw_db *db, usage_report **ret, gw_error *err)
{
    report_data *d = o->data;
    gw_auto(time_zone) zone = NULL;
    gw_status rc = time_zone_load(gw_str_of(d->time_zone), &zone, err);
    if (rc == GW_OK)
        rc = time_points_make(&d->range, zone, &d->points, err);
    if (rc != GW_OK)
        return rc;
    usage_report *r = usage_report_new(o->arena, d->query.by, &d->points);
    if (!r)
        return gw_fail(err, GW_ERR_NO_MEMORY, "no memory for a usage report");
    rc = usage_query_run(db, &d->query, &d->points, r, err);
    if (rc == GW_OK)
        *ret = r;
    return rc;
}

/* The members that the three responses have in common, under the same names. */
#define FILL_REPORT(m, p, o)                                                                       \
    do {                                                                                           \
        const report_data *fill_data_ = (o)->data;                                                 \
        (m)->totals = (p).totals;                                                                  \
        (m)->n_groups = (p).n_groups;                                                              \
        (m)->groups = (p).groups;                                                                  \
        (m)->n_series = (p).n_series;                                                              \
        (m)->series = (p).series;                                                                  \
        (m)->from = reply_time((o)->arena, fill_data_->range.from_ms);                             \
        (m)->to = reply_time((o)->arena, fill_data_->range.to_ms);                                 \
        (o)->response = &(m)->base;                                                                \
    } while (0)

static gw_status run_usage_reply(query_op *o, const gw_db *db, usage_reply *ret, gw_error *err)
{
    report_data *d = o->data;
    usage_report *r = NULL;
    gw_status rc = run_report(o, db, &r, err);
    return rc == GW_OK ? usage_reply_of(o->arena, r, &d->points, ret, err) : rc;
}

/* ---- GetUsage ---- */

static gw_status run_get_usage(query_op *o, const gw_db *db, gw_error *err)
{
    usage_reply p = {0};
    gw_status rc = run_usage_reply(o, db, &p, err);
    Apirelay__Usage__V1__GetUsageResponse *m =
        reply_new(o->arena, &apirelay__usage__v1__get_usage_response__descriptor);
    if (rc == GW_OK && m)
        FILL_REPORT(m, p, o);
    return rc;
}

static void get_usage(gw_rpc_call *call, const ProtobufCMessage *request, void *arg)
{
    const Apirelay__Usage__V1__GetUsageRequest *r = (const void *)request;
    query_op *o = query_op_new(arg, call, request, run_get_usage, sizeof(report_data));
    gw_violations v = {0};
    gw_error err = {0};
    if (!o)
        return;
    plan_report(o, (report_asked){r->from, r->to, r->group_by, r->interval, r->time_zone}, false,
                &v);
    query_op_start(o, gw_violations_split(&v, &err, &o->further), &err);
}

/* ---- GetKeyUsage ---- */

static gw_status run_get_key_usage(query_op *o, const gw_db *db, gw_error *err)
{
    const Apirelay__Usage__V1__GetKeyUsageRequest *r = (const void *)o->request;
    usage_reply p = {0};
    gw_status rc = run_usage_reply(o, db, &p, err);
    Apirelay__Usage__V1__GetKeyUsageResponse *m =
        reply_new(o->arena, &apirelay__usage__v1__get_key_usage_response__descriptor);
    if (rc != GW_OK || !m)
        return rc;
    FILL_REPORT(m, p, o);
    m->api_key_id = r->api_key_id;
    return GW_OK;
}

static void get_key_usage(gw_rpc_call *call, const ProtobufCMessage *request, void *arg)
{
    const Apirelay__Usage__V1__GetKeyUsageRequest *r = (const void *)request;
    query_op *o = query_op_new(arg, call, request, run_get_key_usage, sizeof(report_data));
    gw_violations v = {0};
    gw_error err = {0};
    if (!o)
        return;
    plan_key(o, gw_str_of(r->api_key_id), &v);
    plan_report(o, (report_asked){r->from, r->to, r->group_by, r->interval, r->time_zone}, false,
                &v);
    query_op_start(o, gw_violations_split(&v, &err, &o->further), &err);
}

/* ---- GetOwnUsage ---- */

/* Of an API key that calls by itself: the relay knows better. */
static gw_status read_states(query_op *o, const gw_db *db,
                             Apirelay__Usage__V1__GetOwnUsageResponse *m, gw_error *err)
{
    const report_data *d = o->data;
    const ledger_subject subject = {.kind = LEDGER_KEY, .id = d->query.key};
    ledger_amounts used = {0};
    gw_status rc = ledger_sums_read(db, &subject, NO_LOAD, o->now_ms / DAY_MS, &used, err);
    if (rc != GW_OK)
        return rc;
    return limit_states_of(o->arena, d->limits, &used, o->now_ms, &m->limit_states,
                           &m->n_limit_states, err);
}

static gw_status run_get_own_usage(query_op *o, const gw_db *db, gw_error *err)
{
    const report_data *d = o->data;
    usage_reply p = {0};
    gw_status rc = run_usage_reply(o, db, &p, err);
    Apirelay__Usage__V1__GetOwnUsageResponse *m =
        reply_new(o->arena, &apirelay__usage__v1__get_own_usage_response__descriptor);
    if (rc != GW_OK || !m)
        return rc;
    FILL_REPORT(m, p, o);
    m->limits = d->limits;
    return d->limits ? read_states(o, db, m, err) : GW_OK;
}

/* A scalar message: its copy shares nothing. */
static Apirelay__Auth__V1__KeyLimits *copy_limits(gw_arena *a,
                                                  const Apirelay__Auth__V1__KeyLimits *limits)
{
    Apirelay__Auth__V1__KeyLimits *copy = reply_new(a, &apirelay__auth__v1__key_limits__descriptor);
    if (copy && limits) {
        *copy = *limits;
        copy->base.n_unknown_fields = 0;
        copy->base.unknown_fields = NULL;
    }
    return copy;
}

static void on_limits(void *arg, gw_status rc, const ProtobufCMessage *response,
                      const gw_error *err)
{
    query_op *o = arg;
    report_data *d = o->data;
    gw_error failure = {0};
    if (rc != GW_OK) {
        gw_log_warn(o->queries->o.log, "key_limits_not_read", gw_kv_error(err));
        rc = gw_fail(&failure, GW_ERR_UNAVAILABLE, "the key's limits cannot be read now");
    } else {
        const Apirelay__Auth__V1__CheckCredentialResponse *r = (const void *)response;
        d->limits = copy_limits(o->arena, r->limits);
        if (!r->valid) /* no longer: it was when the call was let in */
            rc = gw_fail(&failure, GW_ERR_KEY_INVALID, "the API key is not valid");
    }
    query_op_start(o, rc, &failure);
}

static gw_status ask_for_limits(query_op *o, const gw_caller *caller, gw_error *err)
{
    const usage_queries_options *q = &o->queries->o;
    Apirelay__Auth__V1__CheckCredentialRequest request =
        APIRELAY__AUTH__V1__CHECK_CREDENTIAL_REQUEST__INIT;
    request.credential.data = (uint8_t *)(uintptr_t)caller->credential.ptr;
    request.credential.len = caller->credential.len;
    request.peer_address = reply_text(o->arena, gw_access_peer_address(gw_rpc_call_peer(o->call)));
    gw_rpc_call_options options = {.path = IDENTITY_PATH,
                                   .response =
                                       &apirelay__auth__v1__check_credential_response__descriptor,
                                   .credential = q->own_token};
    if (gw_rpc_unary(q->auth, &options, &request.base, on_limits, o))
        return GW_OK;
    return gw_fail(err, GW_ERR_NO_MEMORY, "no memory to ask for the key's limits");
}

static void get_own_usage(gw_rpc_call *call, const ProtobufCMessage *request, void *arg)
{
    const Apirelay__Usage__V1__GetOwnUsageRequest *r = (const void *)request;
    const gw_caller *caller = gw_rpc_call_caller(call);
    query_op *o = query_op_new(arg, call, request, run_get_own_usage, sizeof(report_data));
    gw_violations v = {0};
    gw_error err = {0};
    if (!o)
        return;
    /* The relay has checked the key, its address list included, and knows its limits. */
    bool from_relay = caller->kind == GW_CALLER_SERVICE;
    if (!from_relay && *r->api_key_id)
        gw_violations_add(&v, "apiKeyId", "may not be given with an API key");
    plan_key(o, from_relay ? gw_str_of(r->api_key_id) : caller->id, &v);
    plan_report(o, (report_asked){r->from, r->to, r->group_by, r->interval, r->time_zone}, true,
                &v);
    gw_status rc = gw_violations_split(&v, &err, &o->further);
    if (rc == GW_OK && !from_relay)
        rc = ask_for_limits(o, caller, &err);
    if (rc != GW_OK || from_relay)
        query_op_start(o, rc, &err);
}

/* ---- GetCosts ---- */

static gw_status run_get_costs(query_op *o, const gw_db *db, gw_error *err)
{
    report_data *d = o->data;
    usage_report *r = NULL;
    Apirelay__Usage__V1__GetCostsResponse *m = NULL;
    gw_status rc = run_report(o, db, &r, err);
    if (rc == GW_OK)
        rc = cost_reply_of(o->arena, r, &d->points, &m, err);
    if (rc != GW_OK)
        return rc;
    m->from = reply_time(o->arena, d->range.from_ms);
    m->to = reply_time(o->arena, d->range.to_ms);
    o->response = &m->base;
    return GW_OK;
}

static void get_costs(gw_rpc_call *call, const ProtobufCMessage *request, void *arg)
{
    const Apirelay__Usage__V1__GetCostsRequest *r = (const void *)request;
    query_op *o = query_op_new(arg, call, request, run_get_costs, sizeof(report_data));
    gw_violations v = {0};
    gw_error err = {0};
    if (!o)
        return;
    plan_report(o, (report_asked){r->from, r->to, r->group_by, r->interval, r->time_zone}, false,
                &v);
    query_op_start(o, gw_violations_split(&v, &err, &o->further), &err);
}

/* ---- ListLogs ---- */

typedef struct logs_data {
    log_query query;
    gw_str filters; /* canonical, for the cursor */
} logs_data;

static gw_status plan_logs(query_op *o, gw_error *err)
{
    const Apirelay__Usage__V1__ListLogsRequest *r = (const void *)o->request;
    logs_data *d = o->data;
    gw_violations v = {0};
    gw_auto_buf text = {0};
    gw_str position;
    log_query_of(r, o->now_ms, &d->query, &v);
    d->query.limit = page_size_of(r->page_size, &v);
    gw_status rc = gw_violations_split(&v, err, &o->further);
    if (rc != GW_OK)
        return rc;
    log_query_describe(r, &text);
    d->filters = gw_arena_dup(o->arena, gw_buf_str(&text));
    rc = page_position(o, d->filters, r->cursor, &position, err);
    if (rc == GW_OK && position.len && !log_position_parse(position, &d->query.after))
        rc = gw_fail_field(err, GW_ERR_INVALID_ARGUMENT, "cursor", "is not of this list");
    d->query.has_after = position.len > 0;
    return rc;
}

static gw_status run_list_logs(query_op *o, const gw_db *db, gw_error *err)
{
    logs_data *d = o->data;
    Apirelay__Usage__V1__ListLogsResponse *m =
        reply_new(o->arena, &apirelay__usage__v1__list_logs_response__descriptor);
    bool more = false;
    log_position last;
    if (!m)
        return GW_OK;
    gw_status rc = log_query_run(db, o->arena, &d->query, &m->logs, &m->n_logs, &last, &more, err);
    if (rc != GW_OK)
        return rc;
    if (more) {
        char position[LOG_POSITION_SIZE];
        log_position_format(&last, position);
        m->next_cursor = page_cursor(o, d->filters, gw_str_of(position));
    }
    o->response = &m->base;
    return GW_OK;
}

static void list_logs(gw_rpc_call *call, const ProtobufCMessage *request, void *arg)
{
    query_op *o = query_op_new(arg, call, request, run_list_logs, sizeof(logs_data));
    gw_error err = {0};
    if (o)
        query_op_start(o, plan_logs(o, &err), &err);
}

#define PATH(method) "/apirelay.usage.v1.UsageService/" method
const gw_rpc_handler usage_handlers[] = {
    {.path = PATH("GetUsage"), .start = get_usage},
    {.path = PATH("GetKeyUsage"), .start = get_key_usage},
    {.path = PATH("GetOwnUsage"), .start = get_own_usage},
    {.path = PATH("GetMetrics"), .start = get_metrics},
    {.path = PATH("WatchMetrics"),
     .start = watch_metrics,
     .cancelled = watch_metrics_cancelled,
     .finished = watch_metrics_finished},
    {.path = PATH("GetCosts"), .start = get_costs},
    {.path = PATH("ListLogs"), .start = list_logs},
    {0},
};
