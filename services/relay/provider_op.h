/*
 * Provider op: one rpc of ProviderService whose work blocks, from its call to its answer.
 *
 *     loop: handler starts it ─▶ MongoDB worker: run ─▶ loop: finish, or the answer
 *     a change:                                      ─▶ auth: intent ─▶ worker: apply ─▶ auth: result ─▶ in force ─▶ the answer
 *
 * What `run` refuses has changed nothing, and stands in no log. Request and arena are the call's: it lives until the answer is given.
 */
#pragma once

#include "provider_rpc.h"
#include "provider_store.h"

typedef struct provider_op provider_op;

typedef struct provider_op_kind {
    /* On a worker. Of a change: whether it may be made, and what of; it sets `target` and `payload`. */
    gw_status (*run)(provider_op *o, provider_store *s, gw_error *err);
    /* On a worker: makes the change, once its intent stands in the audit log. NULL: a reading. */
    gw_status (*apply)(provider_op *o, provider_store *s, gw_error *err);
    /* On the loop, in place of the answer; ends with provider_op_answer() or _fail(). May be NULL. */
    void (*finish)(provider_op *o);
    entity_kind entity;
    const char *action; /* of a change, in the audit log: "provider.create" */
} provider_op_kind;

struct provider_op {
    gw_mongo_job job;
    provider_rpc *rpc;
    gw_rpc_call *call;
    const ProtobufCMessage *request;
    const char *by; /* the caller's name */
    /* As they were when the call came: the loop may read them again meanwhile. */
    const struct Apirelay__Relay__V1__RelayConfigFile *file;
    const struct Apirelay__Relay__V1__PriceBook *file_prices;
    const provider_op_kind *kind;
    int64_t now_ms, history_keep_ms; /* wall, at the start; as it was set then */
    bool changes_nothing; /* this one, whatever its kind */
    void *data; /* of the kind; in the arena */
    gw_audit_act act;
    const char *target, *payload; /* of the intent; in the arena */
    const char *result_payload; /* NULL: none */
    gw_status rc; /* of apply */
    gw_error error;
    config_store_wait wait; /* until what was written is in force */
    ProtobufCMessage *response;
    gw_violations further; /* beside the error that it fails with */
};

/* `kind` outlives the op. */
void provider_op_start(gw_rpc_call *call, const ProtobufCMessage *request, provider_rpc *rpc,
                       const provider_op_kind *kind);
void provider_op_answer(provider_op *o); /* with `response`; the op is gone */
void provider_op_fail(provider_op *o, const gw_error *err); /* likewise */

/* Sets a message of the answer. */
void provider_op_set(provider_op *o, const char *name, ProtobufCMessage *m);
/* A message as JSON, for the audit log; NULL when it does not fit there. */
const char *provider_op_payload(gw_arena *a, const ProtobufCMessage *m);
/* The condition stands in the request, or as the etag of the message in it. */
const char *provider_op_etag(const ProtobufCMessage *request, const ProtobufCMessage *entity);
GW_CHECK gw_status provider_op_page_size(const ProtobufCMessage *request, size_t *ret,
                                         gw_error *err);

/* A handler `on_<name>` for gw_rpc_handler, of the kind `name`. */
#define PROVIDER_HANDLER(name)                                                                     \
    static void on_##name(gw_rpc_call *call, const ProtobufCMessage *request, void *arg)           \
    {                                                                                              \
        provider_op_start(call, request, arg, &name);                                              \
    }
