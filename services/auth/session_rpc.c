#include "admin_store.h"
#include "core/violations.h"
#include "identity.h"
#include "key_mint.h"
#include "messages.h"
#include "op.h"
#include "password_rpc.h"
#include "session_index.h"
#include "session_list_rpc.h"
#include "sign_in_throttle.h"

#include <apirelay/auth/v1/session_service.pb-c.h>

#include <stdio.h>

#define USERNAME_MAX_BYTES   64
#define PASSWORD_MAX_BYTES   1024
#define USER_AGENT_MAX_BYTES 256

/* Verified against when the name is unknown, so that both take the same time. Fits no password. */
static const char nobody[] = "$argon2id$v=19$m=19456,t=2,p=1$bm9ib2R5bm9ib2R5bm9ibw$"
                             "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";

/*
 * A sign-in: Redis counts the try, a MongoDB worker finds the admin, an Argon2 worker checks the
 * password, a MongoDB worker audits it, Redis takes the session.
 */
typedef struct sign_in {
    op *op;
    gw_mongo_job find;
    bool found;
    admin_user_record user;
    session session;
    indexed_session indexed;
    char token[SESSION_TOKEN_SIZE];
    char csrf[SESSION_CSRF_SIZE];
} sign_in;

static const Apirelay__Auth__V1__CreateSessionRequest *request_of(const sign_in *s)
{
    return (const void *)s->op->request;
}

static void count(const sign_in *s, gw_str outcome)
{
    gw_metric_count(s->op->auth->metrics, M_auth_sign_ins_total, outcome);
}

static gw_status sign_in_run(op *o, const gw_db *d, gw_error *err)
{
    sign_in *s = o->data;
    return admin_store_signed_in(d, gw_str_of(s->user.view->id), o->now_ms, err);
}

static void session_kept(void *arg, gw_status rc, const gw_error *err)
{
    sign_in *s = arg;
    op *o = s->op;
    Apirelay__Auth__V1__CreateSessionResponse m = APIRELAY__AUTH__V1__CREATE_SESSION_RESPONSE__INIT;
    count(s, rc == GW_OK ? GW_STR("ok") : GW_STR("error"));
    if (rc != GW_OK) {
        op_refuse(o, err);
        return;
    }
    sign_in_throttle_succeeded(o->auth->throttle, gw_str_of(request_of(s)->username));
    m.token = s->token;
    m.csrf_token = s->csrf;
    m.expires_at = message_time(o->arena, session_end_ms(&s->session));
    m.admin = s->user.view;
    o->response = &m.base;
    op_reply(o);
}

static void session_indexed(void *arg, gw_status rc, const gw_error *err)
{
    sign_in *s = arg;
    if (rc == GW_OK)
        session_store_put(s->op->auth->redis, gw_str_of(s->indexed.id), &s->session, session_kept,
                          s);
    else
        session_kept(s, rc, err);
}

static void keep_session(op *o)
{
    sign_in *s = o->data;
    session_token_mint(s->token);
    session_id(gw_str_of(s->token), s->indexed.id);
    snprintf(s->indexed.address, sizeof(s->indexed.address), "%s", request_of(s)->address);
    snprintf(s->indexed.user_agent, sizeof(s->indexed.user_agent), "%s", request_of(s)->user_agent);
    session_csrf(gw_str_of(s->token), s->csrf);
    s->session = (session){.epoch = s->user.session_epoch, .created_ms = o->now_ms};
    memcpy(s->session.admin_id, s->user.view->id,
           GW_MIN(strlen(s->user.view->id) + 1, sizeof(s->session.admin_id)));
    session_index_add(o->auth->redis, &s->session, &s->indexed, session_indexed, s);
}

static void refuse_sign_in(sign_in *s)
{
    gw_error err = {0};
    op *o = s->op;
    count(s, GW_STR("refused"));
    /* An unknown name may be a password in the wrong place. */
    gw_log_info(o->auth->log, "sign_in_refused",
                gw_kv("user.name", s->found ? request_of(s)->username : ""),
                gw_kv("client.ip", request_of(s)->address));
    (void)gw_fail(&err, GW_ERR_UNAUTHENTICATED, "name or password is wrong");
    op_refuse(o, &err);
}

static void password_checked(argon2_task *t, gw_status rc, const gw_error *err)
{
    op *o = GW_CONTAINER_OF(t, op, argon2);
    sign_in *s = o->data;
    if (rc != GW_OK) {
        op_refuse(o, err);
        return;
    }
    if (!t->fits || !s->found || strcmp(s->user.view->status, "active") != 0) {
        refuse_sign_in(s);
        return;
    }
    Apirelay__Auth__V1__CreateSessionRequest told = *request_of(s);
    told.password = message_text(o->arena, GW_STR(""));
    o->actor_kind = GW_STR("admin");
    o->actor_id = gw_str_of(s->user.view->id);
    o->actor_name = gw_str_of(s->user.view->username);
    if (*told.address)
        o->address = gw_str_of(told.address);
    op_audit(o, "session.create", s->user.view->id, &told.base);
    o->finish = keep_session;
    op_start(o);
}

static gw_status find_run(gw_mongo_job *j, mongoc_client_t *client, mongoc_database_t *database,
                          gw_error *err)
{
    (void)client;
    sign_in *s = GW_CONTAINER_OF(j, sign_in, find);
    const gw_db d = {database, j->mongo};
    return admin_store_find_username(&d, s->op->arena, gw_str_of(request_of(s)->username),
                                     &s->found, &s->user, err);
}

static void find_done(gw_mongo_job *j, gw_status rc, const gw_error *err)
{
    sign_in *s = GW_CONTAINER_OF(j, sign_in, find);
    op *o = s->op;
    if (rc != GW_OK) {
        op_refuse(o, err);
        return;
    }
    o->argon2.secret = gw_str_of(request_of(s)->password);
    o->argon2.stored = s->found ? s->user.password_hash : gw_str_of(nobody);
    if (o->argon2.stored.len == 0)
        o->argon2.stored = gw_str_of(nobody);
    o->argon2.done = password_checked;
    argon2_pool_run(o->auth->argon2, &o->argon2);
}

static void sign_in_allowed(void *arg, gw_status rc, int64_t retry_after_ms, const gw_error *err)
{
    sign_in *s = arg;
    if (retry_after_ms > 0)
        gw_rpc_set_retry_after(s->op->call, retry_after_ms);
    if (rc != GW_OK) {
        count(s, rc == GW_ERR_RATE_LIMITED ? GW_STR("throttled") : GW_STR("error"));
        op_refuse(s->op, err);
        return;
    }
    s->find = (gw_mongo_job){.run = find_run, .done = find_done};
    gw_mongo_submit(s->op->auth->mongo, &s->find);
}

static void create_session(gw_rpc_call *call, const ProtobufCMessage *request, void *arg)
{
    const Apirelay__Auth__V1__CreateSessionRequest *r = (const void *)request;
    op *o = op_new(arg, call, request, sign_in_run);
    if (!o)
        return;
    gw_error err = {0};
    gw_violations v = {0};
    sign_in *s = gw_arena_new_of(o->arena, sign_in);
    if (*r->username == '\0' || strlen(r->username) > USERNAME_MAX_BYTES)
        gw_violations_add(&v, "username", "must have 1-%d bytes", USERNAME_MAX_BYTES);
    if (*r->password == '\0' || strlen(r->password) > PASSWORD_MAX_BYTES)
        gw_violations_add(&v, "password", "must have 1-%d bytes", PASSWORD_MAX_BYTES);
    if (strlen(r->user_agent) > USER_AGENT_MAX_BYTES)
        gw_violations_add(&v, "userAgent", "must have at most %d bytes", USER_AGENT_MAX_BYTES);
    gw_status rc = s ? op_check(o, &v, &err) : gw_fail(&err, GW_ERR_NO_MEMORY, "out of memory");
    if (rc != GW_OK) {
        op_refuse(o, &err);
        return;
    }
    s->op = o;
    o->data = s;
    sign_in_throttle_try(o->auth->throttle, gw_str_of(r->username), gw_str_of(r->address),
                         sign_in_allowed, s);
}

/* ---- GetSession ---- */

static void session_told(void *arg, gw_status rc, const identity_answer *answer,
                         const admin_user_view *admin, const gw_error *err)
{
    gw_rpc_call *call = arg;
    Apirelay__Auth__V1__GetSessionResponse m = APIRELAY__AUTH__V1__GET_SESSION_RESPONSE__INIT;
    gw_error gone = {0};
    if (rc == GW_OK && (!answer->valid || !admin)) {
        rc = gw_fail(&gone, GW_ERR_UNAUTHENTICATED, "the session has ended");
        err = &gone;
    }
    if (rc != GW_OK) {
        gw_rpc_fail(call, err);
        return;
    }
    m.csrf_token = answer->csrf_token;
    m.expires_at = answer->expires_at;
    m.admin = (admin_user_view *)(uintptr_t)admin;
    gw_rpc_reply(call, &m.base);
}

static void get_session(gw_rpc_call *call, const ProtobufCMessage *request, void *arg)
{
    const gw_identity_question q = {.credential = gw_rpc_call_caller(call)->credential};
    (void)request;
    identity_check(arg, &q, session_told, call);
}

/* ---- DeleteSession ---- */

static gw_status delete_run(op *o, const gw_db *d, gw_error *err)
{
    (void)d;
    o->response = message_new(o->arena, &apirelay__auth__v1__delete_session_response__descriptor);
    return o->response ? GW_OK : gw_fail(err, GW_ERR_NO_MEMORY, "out of memory");
}

static void session_deleted(void *arg, gw_status rc, const gw_error *err)
{
    if (rc == GW_OK)
        op_reply(arg);
    else
        op_refuse(arg, err);
}

static void drop_session(op *o)
{
    char id[SESSION_ID_SIZE];
    session_id(gw_rpc_call_caller(o->call)->credential, id);
    session_store_delete(o->auth->redis, gw_str_of(id), session_deleted, o);
}

static void delete_session(gw_rpc_call *call, const ProtobufCMessage *request, void *arg)
{
    op *o = op_new(arg, call, request, delete_run);
    gw_error err = {0};
    if (!o)
        return;
    if (!session_token_is_shaped(gw_rpc_call_caller(call)->credential)) {
        (void)gw_fail(&err, GW_ERR_FAILED_PRECONDITION,
                      "the call carries an admin key, which has no session");
        op_refuse(o, &err);
        return;
    }
    o->finish = drop_session;
    op_audit(o, "session.delete", gw_rpc_call_caller(call)->id.len ? o->actor_id.ptr : "", NULL);
    op_start(o);
}

#define PATH(method) "/apirelay.auth.v1.SessionService/" method
const gw_rpc_handler session_handlers[] = {
    {.path = PATH("CreateSession"), .start = create_session},
    {.path = PATH("GetSession"), .start = get_session},
    {.path = PATH("DeleteSession"), .start = delete_session},
    {.path = PATH("ChangePassword"), .start = password_change_rpc},
    {.path = PATH("ListSessions"), .start = session_list_rpc},
    {.path = PATH("RevokeSession"), .start = session_revoke_rpc},
    {.path = PATH("RevokeSessions"), .start = session_revoke_all_rpc},
    {0},
};
