/*
 * Query op: one unary rpc whose work blocks, from the call to its answer.
 *
 *     loop: handler makes the op ─▶ MongoDB worker: run ─▶ loop: answer
 *     of a change:               ─▶ auth: intent ─▶ worker: run ─▶ auth: result ─▶ loop: answer
 *
 * Everything of the op lives in its arena, which only the thread at work touches.
 */
#pragma once

#include "usage_queries_internal.h"

#include "access/audit_act.h"
#include "core/arena.h"
#include "mongo/db.h"

#include <google/protobuf/timestamp.pb-c.h>

typedef struct query_op query_op;
struct query_op {
    gw_mongo_job job;
    usage_queries *queries;
    gw_rpc_call *call;
    gw_arena *arena;
    const ProtobufCMessage *request;
    int64_t now_ms; /* wall, at the start */
    /* On a worker. Sets `response` (in the arena). */
    gw_status (*run)(query_op *o, const gw_db *d, gw_error *err);
    ProtobufCMessage *response;
    /* On the loop, after a run that went well, before the answer; may be NULL. */
    void (*finish)(query_op *o);
    /* On the loop, last, whatever became of it; may be NULL. */
    void (*release)(query_op *o);
    gw_violations further; /* beside the one in the error it is started with */
    void *data; /* the handler's */
    /* of one that stands in the audit log */
    gw_audit_act act;
    gw_status rc; /* of the run */
    gw_error error;
};

/* With `data_size` zeroed bytes as its data. NULL when out of memory: the call has failed then. */
query_op *query_op_new(usage_queries *q, gw_rpc_call *call, const ProtobufCMessage *request,
                       gw_status (*run)(query_op *o, const gw_db *d, gw_error *err),
                       size_t data_size);
/* `rc` GW_OK starts it, and it ends by itself; else the call ends with `err`. */
void query_op_start(query_op *o, gw_status rc, const gw_error *err);
/*
 * The same of what an admin changes: its intent stands in the audit log, with the request as payload, before it runs, and its result
 * before the answer. `target` is the request's.
 */
void query_op_start_audited(query_op *o, const char *action, const char *target, gw_status rc,
                            const gw_error *err);

/* ---- messages in the arena; NULL (an empty text) when out of memory ---- */
void *reply_new(gw_arena *a, const ProtobufCMessageDescriptor *d);
char *reply_text(gw_arena *a, gw_str s);
Google__Protobuf__Timestamp *reply_time(gw_arena *a, int64_t wall_ms);

/* ---- pages ---- */
#define PAGE_SIZE_DEFAULT 50
#define PAGE_SIZE_MAX     500

/* A violation of "pageSize" below 0 or over 500; 0 means 50. */
int64_t page_size_of(int32_t asked, gw_violations *v);
/* Appends one filter to a list's canonical text, so that no two lists have the same. */
void page_filter(gw_buf *filters, const char *name, const char *value);
/* The position in `cursor`, "" when there is no cursor. */
GW_CHECK gw_status page_position(query_op *o, gw_str filters, const char *cursor, gw_str *ret,
                                 gw_error *err);
char *page_cursor(query_op *o, gw_str filters, gw_str position);
/* The same for a list in the order of its ids alone. False: no cursor. */
GW_CHECK gw_status page_position_id(query_op *o, gw_str filters, const char *cursor,
                                    gw_object_id *ret, bool *ret_has, gw_error *err);
