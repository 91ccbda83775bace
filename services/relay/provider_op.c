#include "provider_op.h"

#include "message_fields.h"

#include <stdlib.h>

#define PAGE_SIZE_DEFAULT 50
#define PAGE_SIZE_MAX     500

static gw_status run_op(gw_mongo_job *job, mongoc_client_t *client, mongoc_database_t *db,
                        gw_error *err)
{
    (void)client;
    provider_op *o = GW_CONTAINER_OF(job, provider_op, job);
    provider_store s = {
        .db = {db, o->rpc->mongo},
        .file = o->file,
        .file_prices = o->file_prices,
        .arena = gw_rpc_call_arena(o->call),
        .by = o->by ? o->by : "",
        .now_ms = gw_clock_wall_ms(&gw_system_clock),
    };
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
    gw_rpc_fail(o->call, err);
    free(o);
}

static void answer_change(config_store_wait *w)
{
    provider_op_answer(GW_CONTAINER_OF(w, provider_op, wait));
}

static void op_done(gw_mongo_job *job, gw_status rc, const gw_error *err)
{
    provider_op *o = GW_CONTAINER_OF(job, provider_op, job);
    if (rc != GW_OK) {
        provider_op_fail(o, err);
    } else if (o->kind->changes && !o->changes_nothing) {
        gw_log_info(o->rpc->log, "relay_config_written",
                    gw_kv("rpc.method", gw_rpc_call_method(o->call)->name),
                    gw_kv("user.name", gw_rpc_call_caller(o->call)->name));
        o->wait.done = answer_change;
        config_store_refresh(o->rpc->config, &o->wait);
    } else if (o->kind->finish) {
        o->kind->finish(o);
    } else {
        provider_op_answer(o);
    }
}

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
    o->job.run = run_op;
    o->job.done = op_done;
    o->rpc = rpc;
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
