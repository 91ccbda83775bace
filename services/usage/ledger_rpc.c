/* LedgerService: the barrier, look by look, then the sums. */
#include "fold_runner.h"
#include "ledger_barrier.h"
#include "ledger_sums.h"
#include "query_op.h"
#include "usage_metrics.h"

#include "apirelay/usage/v1/ledger_service.pb-c.h"

#include <stdlib.h>

#define LOOK_EVERY_MS 100
#define DAY_MAX       100000 /* the year 2243 */

typedef struct ledger_call {
    gw_list node;
    usage_queries *queries;
    gw_rpc_call *call;
    gw_mongo_job job;
    gw_timer timer;
    ledger_subject subject;
    int64_t load_id, day;
    bool fresh, stopping, cancelled, busy;
    int64_t now_ms, started_ms;
    /* of the job */
    ledger_barrier barrier;
    bool passed;
    ledger_amounts amounts;
    touched_days touched;
} ledger_call;

static void ledger_call_free(ledger_call *c)
{
    gw_timer_cancel(c->queries->o.loop, &c->timer);
    gw_list_remove(&c->node);
    touched_days_fini(&c->touched);
    free(c);
}

static void fail_call(ledger_call *c, gw_status rc, const char *message)
{
    gw_error err = {0};
    (void)gw_fail(&err, rc, "%s", message);
    gw_rpc_fail(c->call, &err);
    ledger_call_free(c);
}

/* ---- on a worker ---- */

static gw_status run_look(gw_mongo_job *j, mongoc_client_t *client, mongoc_database_t *database,
                          gw_error *err)
{
    (void)client;
    ledger_call *c = GW_CONTAINER_OF(j, ledger_call, job);
    const gw_db d = {database, j->mongo};
    gw_status rc = ledger_barrier_look(&d, &c->barrier, c->now_ms, &c->passed, &c->touched, err);
    if (rc == GW_OK && c->fresh && !c->barrier.is_old)
        c->passed = true;
    return rc == GW_OK && c->passed
               ? ledger_sums_read(&d, &c->subject, c->load_id, c->day, &c->amounts, err)
               : rc;
}

/* ---- on the loop ---- */

static void answer(ledger_call *c)
{
    Apirelay__Usage__V1__LoadLedgerResponse m = APIRELAY__USAGE__V1__LOAD_LEDGER_RESPONSE__INIT;
    bool waited = !c->fresh || c->barrier.is_old;
    if (waited && c->queries->o.metrics)
        gw_metric_observe(
            c->queries->o.metrics, M_usage_ledger_barrier_seconds,
            (double)(gw_loop_now_ms(c->queries->o.loop) - c->started_ms) / GW_MS_PER_S, NULL, 0);
    m.requests_today = c->amounts.requests_today;
    m.tokens_today = c->amounts.tokens_today;
    m.tokens_this_month = c->amounts.tokens_this_month;
    m.cost_nano_usd_this_month = c->amounts.cost_nano_usd_this_month;
    m.spools = waited ? (int32_t)c->barrier.count : 0;
    gw_rpc_reply(c->call, &m.base);
    ledger_call_free(c);
}

static void looked(gw_mongo_job *j, gw_status rc, const gw_error *err)
{
    ledger_call *c = GW_CONTAINER_OF(j, ledger_call, job);
    c->busy = false;
    if (c->queries->o.folds)
        fold_runner_touch(c->queries->o.folds, &c->touched);
    touched_days_fini(&c->touched);
    if (rc != GW_OK) {
        gw_rpc_fail(c->call, err);
        ledger_call_free(c);
    } else if (c->passed) {
        answer(c);
    } else if (c->stopping) {
        fail_call(c, GW_ERR_SHUTTING_DOWN, "this replica is shutting down");
    } else if (c->cancelled) {
        fail_call(c, GW_ERR_UNAVAILABLE, "not every spool has been applied yet");
    } else {
        gw_timer_set(c->queries->o.loop, &c->timer, LOOK_EVERY_MS);
    }
}

static void look(void *arg)
{
    ledger_call *c = arg;
    c->busy = true;
    c->now_ms = gw_clock_wall_ms(gw_loop_clock(c->queries->o.loop));
    c->job = (gw_mongo_job){.run = run_look, .done = looked};
    gw_mongo_submit(c->queries->o.mongo, &c->job);
}

static gw_status parse(const Apirelay__Usage__V1__LoadLedgerRequest *r, gw_arena *a,
                       ledger_subject *ret, gw_violations *further, gw_error *err)
{
    gw_violations v = {0};
    *ret = (ledger_subject){0};
    switch (r->subject_case) {
    case APIRELAY__USAGE__V1__LOAD_LEDGER_REQUEST__SUBJECT_API_KEY_ID:
        ret->kind = LEDGER_KEY;
        if (!gw_object_id_parse(gw_str_of(r->api_key_id), &ret->id))
            gw_violations_add(&v, "apiKeyId", "must be 24 hex digits");
        break;
    case APIRELAY__USAGE__V1__LOAD_LEDGER_REQUEST__SUBJECT_CLIENT_ID:
        ret->kind = LEDGER_CLIENT;
        ret->client = gw_arena_dup(a, gw_str_of(r->client_id));
        if (*r->client_id == '\0')
            gw_violations_add(&v, "clientId", "must not be empty");
        break;
    case APIRELAY__USAGE__V1__LOAD_LEDGER_REQUEST__SUBJECT_USER_ID:
        ret->kind = LEDGER_OWNER;
        if (!gw_object_id_parse(gw_str_of(r->user_id), &ret->id))
            gw_violations_add(&v, "userId", "must be 24 hex digits");
        break;
    default:
        gw_violations_add(&v, "subject", "one of apiKeyId, clientId, userId is required");
    }
    if (r->load_id <= 0)
        gw_violations_add(&v, "loadId", "must be over 0");
    if (r->day < 0 || r->day > DAY_MAX)
        gw_violations_add(&v, "day", "must be 0-%d", DAY_MAX);
    return gw_violations_split(&v, err, further);
}

static void load_ledger(gw_rpc_call *call, const ProtobufCMessage *request, void *arg)
{
    const Apirelay__Usage__V1__LoadLedgerRequest *r = (const void *)request;
    usage_queries *q = arg;
    gw_violations further = {0};
    gw_error err = {0};
    ledger_subject subject;
    gw_status rc = parse(r, gw_rpc_call_arena(call), &subject, &further, &err);
    ledger_call *c = rc == GW_OK ? calloc(1, sizeof(*c)) : NULL;
    if (rc == GW_OK && !c)
        (void)gw_fail(&err, GW_ERR_NO_MEMORY, "no memory for a ledger");
    if (!c) {
        gw_rpc_fail_all(call, &err, &further);
        return;
    }
    c->queries = q;
    c->call = call;
    c->subject = subject;
    c->load_id = r->load_id;
    c->day = r->day;
    c->fresh = r->fresh;
    c->started_ms = gw_loop_now_ms(q->o.loop);
    gw_timer_init(&c->timer, look, c);
    gw_list_push_back(&q->ledger_calls, &c->node);
    look(c);
}

static ledger_call *call_of(usage_queries *q, gw_rpc_call *call)
{
    gw_list_each (node, &q->ledger_calls) {
        ledger_call *c = GW_CONTAINER_OF(node, ledger_call, node);
        if (c->call == call)
            return c;
    }
    return NULL; /* answered, or never begun */
}

static void load_ledger_cancelled(gw_rpc_call *call, void *arg)
{
    ledger_call *c = call_of((usage_queries *)arg, call);
    if (!c)
        return;
    c->cancelled = true;
    if (!c->busy)
        fail_call(c, GW_ERR_UNAVAILABLE, "not every spool has been applied yet");
}

void ledger_stop_waiting(usage_queries *q)
{
    gw_list_each_safe (node, &q->ledger_calls) {
        ledger_call *c = GW_CONTAINER_OF(node, ledger_call, node);
        c->stopping = true;
        if (!c->busy)
            fail_call(c, GW_ERR_SHUTTING_DOWN, "this replica is shutting down");
    }
}

const gw_rpc_handler ledger_handlers[] = {
    {.path = "/apirelay.usage.v1.LedgerService/LoadLedger",
     .start = load_ledger,
     .cancelled = load_ledger_cancelled},
    {0},
};
