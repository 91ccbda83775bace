#include "op.h"

#include "audit_log.h"
#include "messages.h"
#include "json/json.h"

#define TARGET_MAX  256
#define PAYLOAD_MAX (256UL * 1024) /* more than any change has that is not refused */

static void op_free(op *o)
{
    gw_arena *arena = o->arena; /* holds the op itself */
    gw_arena_free(arena);
}

void op_refuse(op *o, const gw_error *err)
{
    gw_rpc_call *call = o->call;
    gw_rpc_fail_all(call, err, o->further);
    op_free(o);
}

gw_status op_check(op *o, const gw_violations *v, gw_error *err)
{
    o->further = v->count > 1 ? gw_arena_new_of(o->arena, gw_violations) : NULL;
    for (size_t i = 1; o->further && i < v->count; i++)
        o->further->items[o->further->count++] = v->items[i];
    const gw_violations first = {.items = {v->items[0]}, .count = v->count ? 1 : 0};
    return gw_violations_status(&first, err);
}

static void describe_actor(op *o)
{
    const gw_caller *c = gw_rpc_call_caller(o->call);
    o->actor_kind = c->kind == GW_CALLER_SERVICE ? GW_STR("service")
                    : c->key_id.len              ? GW_STR("admin_key")
                                                 : GW_STR("admin");
    gw_str id = c->kind == GW_CALLER_SERVICE ? c->name : c->key_id.len ? c->key_id : c->id;
    o->actor_id = gw_arena_dup(o->arena, id);
    o->actor_name = gw_arena_dup(o->arena, c->name);
    o->address = gw_arena_dup(o->arena, c->address);
    gw_str request_id = gw_rpc_call_metadata(o->call, "x-request-id");
    if (request_id.len <= 64 && gw_str_is_utf8(request_id))
        o->request_id = gw_arena_dup(o->arena, request_id);
}

void op_reply(op *o)
{
    gw_rpc_reply(o->call, o->response);
    op_free(o);
}

op *op_new(auth *a, gw_rpc_call *call, const ProtobufCMessage *request,
           gw_status (*run)(op *o, const gw_db *d, gw_error *err))
{
    gw_arena *arena = gw_arena_new();
    op *o = arena ? gw_arena_new_of(arena, op) : NULL;
    if (!o) {
        gw_error err = {0};
        (void)gw_fail(&err, GW_ERR_NO_MEMORY, "out of memory");
        gw_rpc_fail(call, &err);
        gw_arena_free(arena);
        return NULL;
    }
    o->auth = a;
    o->call = call;
    o->arena = arena;
    o->request = request;
    o->now_ms = auth_wall_ms(a);
    o->run = run;
    describe_actor(o);
    return o;
}

void op_audit(op *o, const char *action, const char *target, const ProtobufCMessage *payload)
{
    op_describe(o, action, target, payload);
    o->audited = true;
}

void op_act_as(op *o, gw_str kind, gw_str id)
{
    o->actor_kind = kind;
    o->actor_id = o->actor_name = id;
}

void op_describe(op *o, const char *action, const char *target, const ProtobufCMessage *payload)
{
    gw_auto_buf json = {0};
    gw_error err = {0};
    gw_str whole = gw_str_of(target);
    o->action = action;
    whole.len = gw_str_utf8_cut(whole, TARGET_MAX); /* an id; what is longer is none */
    o->target = gw_arena_dup(o->arena, whole);
    if (!payload || gw_json_write(payload, &json, &err) != GW_OK)
        return;
    o->payload_json = json.len <= PAYLOAD_MAX
                          ? gw_arena_dup(o->arena, gw_buf_str(&json))
                          : gw_arena_printf(o->arena, "{\"omittedBytes\":%zu}", json.len);
}

static gw_status write_audit(op *o, const gw_db *d, const char *phase, const char *outcome,
                             gw_str payload, gw_error *err)
{
    audit_entry *e = message_new(o->arena, &apirelay__auth__v1__audit_entry__descriptor);
    if (!e)
        return gw_fail(err, GW_ERR_NO_MEMORY, "audit entry");
    e->at = message_time(o->arena, gw_clock_wall_ms(&gw_system_clock));
    e->actor_kind = message_text(o->arena, o->actor_kind);
    e->actor_id = message_text(o->arena, o->actor_id);
    e->actor_name = message_text(o->arena, o->actor_name);
    e->address = message_text(o->arena, o->address);
    e->action = message_text(o->arena, gw_str_of(o->action));
    e->target = message_text(o->arena, o->target);
    e->phase = message_text(o->arena, gw_str_of(phase));
    e->outcome = message_text(o->arena, gw_str_of(outcome));
    e->request_id = message_text(o->arena, o->request_id);
    e->payload_json = message_text(o->arena, payload);
    return audit_log_append(d, o->arena, e, err);
}

gw_status op_run_audited(op *o, const gw_db *d,
                         gw_status (*what)(op *o, const gw_db *d, gw_error *err), gw_error *err)
{
    gw_status rc = write_audit(o, d, "intent", "", o->payload_json, err);
    if (rc != GW_OK) {
        (void)gw_error_prefix(err, "nothing was done, the audit log cannot be written");
        return rc;
    }
    rc = what(o, d, err);
    gw_error lost = {0};
    const char *outcome = rc == GW_OK ? "ok" : gw_status_describe(rc)->name;
    if (write_audit(o, d, "result", outcome, GW_STR(""), &lost) != GW_OK)
        gw_log_error(o->auth->log, "audit_result_lost", gw_kv("action", o->action),
                     gw_kv("target", o->target), gw_kv("outcome", outcome), gw_kv_error(&lost));
    return rc;
}

static gw_status op_work(gw_mongo_job *j, mongoc_client_t *client, mongoc_database_t *database,
                         gw_error *err)
{
    (void)client;
    op *o = GW_CONTAINER_OF(j, op, job);
    const gw_db d = {database, j->mongo};
    return o->audited ? op_run_audited(o, &d, o->run, err) : o->run(o, &d, err);
}

static void op_done(gw_mongo_job *j, gw_status rc, const gw_error *err)
{
    op *o = GW_CONTAINER_OF(j, op, job);
    if (o->key_changed)
        auth_key_changed(o->auth);
    if (rc != GW_OK) {
        op_refuse(o, err);
        return;
    }
    if (o->finish)
        o->finish(o);
    else
        op_reply(o);
}

void op_start(op *o)
{
    o->job = (gw_mongo_job){.run = op_work, .done = op_done};
    gw_mongo_submit(o->auth->mongo, &o->job);
}

static void hashed(argon2_task *t, gw_status rc, const gw_error *err)
{
    op *o = GW_CONTAINER_OF(t, op, argon2);
    if (rc == GW_OK)
        op_start(o);
    else
        op_refuse(o, err);
}

void op_start_hashed(op *o, gw_str secret)
{
    o->argon2.secret = secret;
    o->argon2.done = hashed;
    argon2_pool_run(o->auth->argon2, &o->argon2);
}
