#include "session_list_rpc.h"

#include "admin_store.h"
#include "messages.h"
#include "op.h"
#include "session_index.h"

#include <apirelay/auth/v1/session_service.pb-c.h>

typedef Apirelay__Auth__V1__Session session_view;

/* An admin key belongs to nobody here: its maker's sessions are not its own. */
static bool is_own(const gw_caller *c, const char *admin_id)
{
    return c->session_id.len && gw_str_eq_c(c->id, admin_id);
}

static bool may_see(const gw_caller *c, const char *admin_id)
{
    return c->role == GW_ROLE_OWNER || is_own(c, admin_id);
}

static gw_status no_session(const char *id, gw_error *err)
{
    return gw_fail(err, GW_ERR_NOT_FOUND, "no session has the id %s", id);
}

static gw_status find_admin(op *o, const gw_db *d, const char *admin_id, admin_user_record *ret,
                            gw_error *err)
{
    bool found = false;
    gw_status rc = admin_store_find_user(d, o->arena, gw_str_of(admin_id), &found, ret, err);
    if (rc == GW_OK && !found)
        return gw_fail(err, GW_ERR_NOT_FOUND, "no admin has the id %s", admin_id);
    return rc;
}

static void start_or_refuse(op *o, gw_status rc, const gw_error *err)
{
    if (rc == GW_OK)
        op_start(o);
    else
        op_refuse(o, err);
}

/* ---- list ---- */

typedef struct list_data {
    const char *admin_id;
    admin_user_record admin;
} list_data;

static gw_status list_run(op *o, const gw_db *d, gw_error *err)
{
    list_data *l = o->data;
    return find_admin(o, d, l->admin_id, &l->admin, err);
}

static session_view *view_of(op *o, const listed_session *s)
{
    session_view *v = message_new(o->arena, &apirelay__auth__v1__session__descriptor);
    const gw_caller *c = gw_rpc_call_caller(o->call);
    if (!v)
        return NULL;
    v->id = message_text(o->arena, gw_str_of(s->indexed.id));
    v->admin_id = message_text(o->arena, gw_str_of(s->session.admin_id));
    v->created_at = message_time(o->arena, s->session.created_ms);
    v->last_used_at = message_time(
        o->arena, GW_MAX(s->session.created_ms, o->now_ms - (SESSION_IDLE_MS - s->idle_left_ms)));
    v->expires_at = message_time(o->arena, session_end_ms(&s->session));
    v->address = message_text(o->arena, gw_str_of(s->indexed.address));
    v->user_agent = message_text(o->arena, gw_str_of(s->indexed.user_agent));
    v->current = gw_str_eq_c(c->session_id, s->indexed.id);
    return v;
}

static void listed(void *arg, gw_status rc, const listed_session *sessions, size_t count,
                   const gw_error *err)
{
    op *o = arg;
    const list_data *l = o->data;
    gw_error own = {0};
    Apirelay__Auth__V1__ListSessionsResponse *m =
        message_new(o->arena, &apirelay__auth__v1__list_sessions_response__descriptor);
    if (m)
        m->sessions = gw_arena_array(o->arena, session_view *, count + 1);
    if (rc == GW_OK && (!m || !m->sessions)) {
        (void)gw_fail(&own, GW_ERR_NO_MEMORY, "out of memory");
        err = &own;
        rc = GW_ERR_NO_MEMORY;
    }
    if (rc != GW_OK) {
        op_refuse(o, err);
        return;
    }
    for (size_t i = 0; i < count; i++) {
        const session *s = &sessions[i].session;
        bool holds = s->epoch == l->admin.session_epoch && session_end_ms(s) > o->now_ms &&
                     strcmp(s->admin_id, l->admin.view->id) == 0;
        session_view *v = holds ? view_of(o, &sessions[i]) : NULL;
        if (v)
            m->sessions[m->n_sessions++] = v;
    }
    o->response = &m->base;
    op_reply(o);
}

static void list_sessions_of(op *o)
{
    const list_data *l = o->data;
    session_index_list(o->auth->redis, o->arena, l->admin.view->id, listed, o);
}

void session_list_rpc(gw_rpc_call *call, const ProtobufCMessage *request, void *arg)
{
    const Apirelay__Auth__V1__ListSessionsRequest *r = (const void *)request;
    const gw_caller *c = gw_rpc_call_caller(call);
    op *o = op_new(arg, call, request, list_run);
    gw_error err = {0};
    gw_status rc = GW_OK;
    if (!o)
        return;
    list_data *l = gw_arena_new_of(o->arena, list_data);
    if (!l)
        rc = gw_fail(&err, GW_ERR_NO_MEMORY, "out of memory");
    else if (*r->admin_id == '\0' && !c->session_id.len)
        rc = gw_fail(&err, GW_ERR_FAILED_PRECONDITION,
                     "the call carries an admin key, which has no sessions: name an adminId");
    else if (*r->admin_id && !may_see(c, r->admin_id))
        rc = gw_fail(&err, GW_ERR_PERMISSION_DENIED, "sessions of others need the role owner");
    else
        l->admin_id = *r->admin_id ? r->admin_id : o->actor_id.ptr;
    o->data = l;
    o->finish = list_sessions_of;
    start_or_refuse(o, rc, &err);
}

/* ---- revoke one ---- */

static gw_status revoke_run(op *o, const gw_db *d, gw_error *err)
{
    (void)d;
    o->response = message_new(o->arena, &apirelay__auth__v1__revoke_session_response__descriptor);
    return o->response ? GW_OK : gw_fail(err, GW_ERR_NO_MEMORY, "out of memory");
}

static void revoked(void *arg, gw_status rc, const gw_error *err)
{
    if (rc == GW_OK)
        op_reply(arg);
    else
        op_refuse(arg, err);
}

static void end_session(op *o)
{
    const Apirelay__Auth__V1__RevokeSessionRequest *r = (const void *)o->request;
    session_store_delete(o->auth->redis, gw_str_of(r->id), revoked, o);
}

static void found_to_revoke(void *arg, gw_status rc, const session *found, const gw_error *err)
{
    op *o = arg;
    const Apirelay__Auth__V1__RevokeSessionRequest *r = (const void *)o->request;
    gw_error none = {0};
    if (rc == GW_OK && (!found || !may_see(gw_rpc_call_caller(o->call), found->admin_id))) {
        rc = no_session(r->id, &none);
        err = &none;
    }
    if (rc == GW_OK)
        op_audit(o, "session.revoke", found->admin_id, o->request);
    start_or_refuse(o, rc, err);
}

void session_revoke_rpc(gw_rpc_call *call, const ProtobufCMessage *request, void *arg)
{
    const Apirelay__Auth__V1__RevokeSessionRequest *r = (const void *)request;
    op *o = op_new(arg, call, request, revoke_run);
    gw_error err = {0};
    if (!o)
        return;
    o->finish = end_session;
    if (session_id_is_shaped(gw_str_of(r->id))) {
        session_store_get(o->auth->redis, gw_str_of(r->id), found_to_revoke, o);
        return;
    }
    (void)gw_fail_field(&err, GW_ERR_INVALID_ARGUMENT, "id", "must be 64 hex digits");
    op_refuse(o, &err);
}

/* ---- revoke all ---- */

static gw_status revoke_all_run(op *o, const gw_db *d, gw_error *err)
{
    const Apirelay__Auth__V1__RevokeSessionsRequest *r = (const void *)o->request;
    admin_user_record u;
    o->response = message_new(o->arena, &apirelay__auth__v1__revoke_sessions_response__descriptor);
    if (!o->response)
        return gw_fail(err, GW_ERR_NO_MEMORY, "out of memory");
    gw_status rc = find_admin(o, d, r->id, &u, err);
    return rc == GW_OK ? admin_store_end_sessions(d, gw_str_of(u.view->id), err) : rc;
}

void session_revoke_all_rpc(gw_rpc_call *call, const ProtobufCMessage *request, void *arg)
{
    const Apirelay__Auth__V1__RevokeSessionsRequest *r = (const void *)request;
    op *o = op_new(arg, call, request, revoke_all_run);
    gw_error err = {0};
    gw_status rc = GW_OK;
    if (!o)
        return;
    if (*r->id == '\0')
        rc = gw_fail_field(&err, GW_ERR_INVALID_ARGUMENT, "id", "must be given");
    else if (!may_see(gw_rpc_call_caller(call), r->id))
        rc = gw_fail(&err, GW_ERR_PERMISSION_DENIED, "sessions of others need the role owner");
    op_audit(o, "session.revoke_all", r->id, NULL);
    start_or_refuse(o, rc, &err);
}
