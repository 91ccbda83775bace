#include "provider_op.h"

#include "message_fields.h"

#include "json/json.h"

#include <stdlib.h>

#define PAGE_SIZE_DEFAULT 50
#define PAGE_SIZE_MAX     500

static provider_store store_of(provider_op *o, mongoc_database_t *db)
{
    return (provider_store){
        .db = {db, o->rpc->mongo},
        .file = o->file,
        .file_prices = o->file_prices,
        .arena = gw_rpc_call_arena(o->call),
        .by = o->by ? o->by : "",
        .now_ms = o->now_ms,
        .history_keep_ms = o->history_keep_ms,
        .further = &o->further,
    };
}

static gw_status run_op(gw_mongo_job *job, mongoc_client_t *client, mongoc_database_t *db,
                        gw_error *err)
{
    (void)client;
    provider_op *o = GW_CONTAINER_OF(job, provider_op, job);
    provider_store s = store_of(o, db);
    o->response = message_make(s.arena, gw_rpc_call_method(o->call)->descriptor->output);
    if (!o->response)
        return gw_fail(err, GW_ERR_NO_MEMORY, "no memory for the answer");
    return o->kind->run(o, &s, err);
}

void provider_op_answer(provider_op *o)
{
    gw_rpc_reply(o->call, o->response);
    free(o);
}

void provider_op_fail(provider_op *o, const gw_error *err)
{
    gw_rpc_fail_all(o->call, err, &o->further);
    free(o);
}

static void answer_change(config_store_wait *w)
{
    provider_op_answer(GW_CONTAINER_OF(w, provider_op, wait));
}

/* ---- a change ---- */

static void on_act_ended(gw_audit_act *a)
{
    provider_op *o = GW_CONTAINER_OF(a, provider_op, act);
    if (o->rc != GW_OK) {
        provider_op_fail(o, &o->error);
        return;
    }
    gw_log_info(o->rpc->log, "relay_config_written",
                gw_kv("rpc.method", gw_rpc_call_method(o->call)->name), gw_kv("target", o->target),
                gw_kv("user.name", gw_rpc_call_caller(o->call)->name));
    o->wait.done = answer_change;
    config_store_refresh(o->rpc->config, &o->wait);
}

static void apply_done(gw_mongo_job *job, gw_status rc, const gw_error *err)
{
    provider_op *o = GW_CONTAINER_OF(job, provider_op, job);
    const char *payload = rc == GW_OK ? o->result_payload : NULL;
    o->rc = rc;
    if (rc != GW_OK)
        o->error = *err;
    gw_audit_act_end(&o->act, rc == GW_OK ? "ok" : gw_status_describe(rc)->name,
                     payload ? payload : "");
}

static gw_status apply_op(gw_mongo_job *job, mongoc_client_t *client, mongoc_database_t *db,
                          gw_error *err)
{
    (void)client;
    provider_op *o = GW_CONTAINER_OF(job, provider_op, job);
    provider_store s = store_of(o, db);
    return o->kind->apply(o, &s, err);
}

static void on_act_begun(gw_audit_act *a, gw_status rc, const gw_error *err)
{
    provider_op *o = GW_CONTAINER_OF(a, provider_op, act);
    if (rc != GW_OK) {
        provider_op_fail(o, err);
        return;
    }
    o->job = (gw_mongo_job){.run = apply_op, .done = apply_done};
    gw_mongo_submit(o->rpc->mongo, &o->job);
}

static void begin_change(provider_op *o)
{
    o->act = (gw_audit_act){.link = o->rpc->audit,
                            .call = o->call,
                            .action = o->kind->action,
                            .target = o->target,
                            .begun = on_act_begun,
                            .ended = on_act_ended};
    gw_audit_act_begin(&o->act, o->payload ? o->payload : "");
}

static void run_done(gw_mongo_job *job, gw_status rc, const gw_error *err)
{
    provider_op *o = GW_CONTAINER_OF(job, provider_op, job);
    if (rc != GW_OK)
        provider_op_fail(o, err);
    else if (o->kind->apply && !o->changes_nothing)
        begin_change(o);
    else if (o->kind->finish)
        o->kind->finish(o);
    else
        provider_op_answer(o);
}

/* ---- both ---- */

void provider_op_start(gw_rpc_call *call, const ProtobufCMessage *request, provider_rpc *rpc,
                       const provider_op_kind *kind)
{
    provider_op *o = calloc(1, sizeof(*o));
    gw_error err;
    if (!o) {
        gw_fail(&err, GW_ERR_NO_MEMORY, "no memory for the request");
        gw_rpc_fail(call, &err);
        return;
    }
    o->job = (gw_mongo_job){.run = run_op, .done = run_done};
    o->rpc = rpc;
    o->now_ms = gw_clock_wall_ms(&gw_system_clock);
    o->history_keep_ms = rpc->history_keep_ms;
    o->call = call;
    o->request = request;
    o->kind = kind;
    o->by = gw_arena_strdup(gw_rpc_call_arena(call), gw_rpc_call_caller(call)->name);
    o->file = config_store_file(rpc->config);
    o->file_prices = config_store_file_prices(rpc->config);
    gw_mongo_submit(rpc->mongo, &o->job);
}

void provider_op_set(provider_op *o, const char *name, ProtobufCMessage *m)
{
    *(ProtobufCMessage **)message_field(o->response, name) = m;
}

const char *provider_op_payload(gw_arena *a, const ProtobufCMessage *m)
{
    gw_auto_buf json = {0};
    gw_error err;
    if (gw_json_write(m, &json, &err) != GW_OK || json.len > GW_AUDIT_PAYLOAD_MAX)
        return NULL;
    return gw_arena_strdup(a, gw_buf_str(&json));
}

const char *provider_op_etag(const ProtobufCMessage *request, const ProtobufCMessage *entity)
{
    const char *etag = message_text(request, "etag");
    return *etag == '\0' && entity ? message_text(entity, "etag") : etag;
}

gw_status provider_op_page_size(const ProtobufCMessage *request, size_t *ret, gw_error *err)
{
    int32_t size =
        *(const int32_t *)message_field((ProtobufCMessage *)(uintptr_t)request, "page_size");
    if (size < 0 || size > PAGE_SIZE_MAX)
        return gw_fail_field(err, GW_ERR_INVALID_ARGUMENT, "pageSize", "must be 1 to %d",
                             PAGE_SIZE_MAX);
    *ret = size ? (size_t)size : PAGE_SIZE_DEFAULT;
    return GW_OK;
}
