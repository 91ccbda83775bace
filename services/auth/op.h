/*
 * Op: one unary rpc whose work blocks, from the call to its answer.
 *
 *     loop: handler makes the op ─▶ (Argon2 worker: a hash) ─▶ MongoDB worker: run ─▶ loop: answer
 *
 * `run` does the work in plain sequence with the stores. An audited op stands in the audit log:
 * the intent before `run`, without which nothing is done, and the result after it.
 *
 * Everything of the op lives in its arena, which only the thread at work touches. A call whose client
 * left is still worked to its end: the change has begun.
 */
#pragma once

#include "auth.h"
#include "core/violations.h"
#include "mongo/db.h"

#include <apirelay/auth/v1/admin.pb-c.h>

typedef struct op op;
struct op {
    gw_mongo_job job;
    argon2_task argon2;
    auth *auth;
    gw_rpc_call *call;
    gw_arena *arena;
    const ProtobufCMessage *request;
    int64_t now_ms; /* wall, at the start */
    /* On a worker. Sets `response` (in the arena). */
    gw_status (*run)(op *o, const gw_db *d, gw_error *err);
    ProtobufCMessage *response;
    /* On the loop, after a run that went well; may be NULL. It takes the op on and ends it later, with
     * op_reply or op_refuse. */
    void (*finish)(op *o);
    bool key_changed; /* set by `run`: tell the feed */
    void *data; /* the handler's */
    gw_violations *further; /* in the arena; NULL: none */

    /* For the audit log; texts are kept. */
    const char *action; /* "api_key.create"; NULL: none */
    bool audited; /* `run` stands between its entries */
    gw_str target; /* an id; `run` may set it for the result */
    gw_str payload_json;
    gw_str actor_kind, actor_id, actor_name, address, request_id;
};

/* NULL when out of memory: the call has failed then. */
op *op_new(auth *a, gw_rpc_call *call, const ProtobufCMessage *request,
           gw_status (*run)(op *o, const gw_db *d, gw_error *err));
/* Marks it for the audit log. The payload is the request as JSON; pass one without secrets. */
void op_audit(op *o, const char *action, const char *target, const ProtobufCMessage *payload);

/*
 * For an op that finds out while it runs whether there is anything to do: op_describe() says what would stand in the log,
 * op_run_audited() runs `what` between the two entries. op_act_as(): it is not the caller who acts.
 */
void op_describe(op *o, const char *action, const char *target, const ProtobufCMessage *payload);
void op_act_as(op *o, gw_str kind, gw_str id);
GW_CHECK gw_status op_run_audited(op *o, const gw_db *d,
                                  gw_status (*what)(op *o, const gw_db *d, gw_error *err),
                                  gw_error *err);

/* Starts; the op ends by itself. */
void op_start(op *o);
/* The same after hashing `secret` (in the op's arena): `argon2.phc` has the hash when `run` begins. */
void op_start_hashed(op *o, gw_str secret);
/* Ends an op with its response. */
void op_reply(op *o);
/* Ends an op that does not run with an error, and the op's `further` violations beside it. */
void op_refuse(op *o, const gw_error *err);

/* GW_OK when there is no violation; else `err` has the first, and the op the others for its answer. */
GW_CHECK gw_status op_check(op *o, const gw_violations *v, gw_error *err);
