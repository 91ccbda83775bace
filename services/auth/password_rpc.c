#include "password_rpc.h"

#include "admin_rules.h"
#include "admin_store.h"
#include "messages.h"
#include "op.h"
#include "sign_in_throttle.h"

#include <apirelay/auth/v1/session_service.pb-c.h>

/*
 * Redis counts the try with those of signing in, a MongoDB worker finds the admin, an Argon2 worker checks the
 * current password and another hashes the new one, a MongoDB worker audits and writes it.
 */
typedef struct password_change {
    op *op;
    gw_mongo_job find;
    argon2_task check;
    admin_user_record user;
} password_change;

static const Apirelay__Auth__V1__ChangePasswordRequest *request_of(const password_change *p)
{
    return (const void *)p->op->request;
}

static gw_status change_run(op *o, const gw_db *d, gw_error *err)
{
    password_change *p = o->data;
    o->response = message_new(o->arena, &apirelay__auth__v1__change_password_response__descriptor);
    if (!o->response)
        return gw_fail(err, GW_ERR_NO_MEMORY, "out of memory");
    p->user.password_hash = gw_str_of(o->argon2.phc);
    p->user.session_epoch++;
    return admin_store_update_user(d, o->arena, &p->user, o->now_ms, err);
}

static void changed(op *o)
{
    const password_change *p = o->data;
    sign_in_throttle_succeeded(o->auth->throttle, gw_str_of(p->user.view->username));
    op_reply(o);
}

static void current_checked(argon2_task *t, gw_status rc, const gw_error *err)
{
    password_change *p = GW_CONTAINER_OF(t, password_change, check);
    op *o = p->op;
    gw_error wrong = {0};
    if (rc != GW_OK) {
        op_refuse(o, err);
        return;
    }
    if (!t->fits) {
        /* Not UNAUTHENTICATED: the session is good, and a browser would lose it to that. */
        (void)gw_fail_field(&wrong, GW_ERR_INVALID_ARGUMENT, "currentPassword", "is wrong");
        gw_log_info(o->auth->log, "password_change_refused",
                    gw_kv("user.name", p->user.view->username));
        op_refuse(o, &wrong);
        return;
    }
    o->finish = changed;
    op_audit(o, "admin_user.change_password", p->user.view->id, NULL);
    op_start_hashed(o, gw_str_of(request_of(p)->new_password));
}

static gw_status find_run(gw_mongo_job *j, mongoc_client_t *client, mongoc_database_t *database,
                          gw_error *err)
{
    (void)client;
    password_change *p = GW_CONTAINER_OF(j, password_change, find);
    const gw_db d = {database, j->mongo};
    bool found = false;
    gw_status rc = admin_store_find_user(&d, p->op->arena, p->op->actor_id, &found, &p->user, err);
    if (rc == GW_OK && (!found || p->user.password_hash.len == 0))
        return gw_fail(err, GW_ERR_NOT_FOUND, "the admin is gone");
    return rc;
}

static void find_done(gw_mongo_job *j, gw_status rc, const gw_error *err)
{
    password_change *p = GW_CONTAINER_OF(j, password_change, find);
    if (rc != GW_OK) {
        op_refuse(p->op, err);
        return;
    }
    p->check.secret = gw_str_of(request_of(p)->current_password);
    p->check.stored = p->user.password_hash;
    p->check.done = current_checked;
    argon2_pool_run(p->op->auth->argon2, &p->check);
}

static void try_allowed(void *arg, gw_status rc, int64_t retry_after_ms, const gw_error *err)
{
    password_change *p = arg;
    if (retry_after_ms > 0)
        gw_rpc_set_retry_after(p->op->call, retry_after_ms);
    if (rc != GW_OK) {
        op_refuse(p->op, err);
        return;
    }
    p->find = (gw_mongo_job){.run = find_run, .done = find_done};
    gw_mongo_submit(p->op->auth->mongo, &p->find);
}

static gw_status check(op *o, const Apirelay__Auth__V1__ChangePasswordRequest *r, gw_error *err)
{
    gw_violations found = {0}, v = {0};
    if (*r->current_password == '\0' || strlen(r->current_password) > PASSWORD_MAX_BYTES)
        gw_violations_add(&v, "currentPassword", "must have 1-%d bytes", PASSWORD_MAX_BYTES);
    admin_check_password(r->new_password, &found);
    if (found.count)
        gw_violations_add(&v, "newPassword", "%s", found.items[0].description);
    else if (strcmp(r->new_password, r->current_password) == 0)
        gw_violations_add(&v, "newPassword", "must be another than the current one");
    if (v.count)
        return op_check(o, &v, err);
    if (!gw_rpc_call_caller(o->call)->session_id.len)
        return gw_fail(err, GW_ERR_FAILED_PRECONDITION,
                       "the call carries an admin key, which has no password");
    return GW_OK;
}

void password_change_rpc(gw_rpc_call *call, const ProtobufCMessage *request, void *arg)
{
    op *o = op_new(arg, call, request, change_run);
    gw_error err = {0};
    if (!o)
        return;
    password_change *p = gw_arena_new_of(o->arena, password_change);
    gw_status rc = p ? check(o, (const void *)request, &err)
                     : gw_fail(&err, GW_ERR_NO_MEMORY, "out of memory");
    if (rc != GW_OK) {
        op_refuse(o, &err);
        return;
    }
    p->op = o;
    o->data = p;
    sign_in_throttle_try(o->auth->throttle, o->actor_name, GW_STR(""), try_allowed, p);
}
