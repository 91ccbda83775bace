#include "admin_key_rpc.h"
#include "admin_rules.h"
#include "messages.h"
#include "op.h"
#include "page.h"
#include "json/field.h"
#include "json/json.h"

#include <apirelay/auth/v1/admin_service.pb-c.h>

#define FILTERS "admin_users;"

/* The request's view, its defaults when absent. */
static admin_user_view *view_of(op *o, const admin_user_view *asked)
{
    return asked ? message_copy(o->arena, &asked->base)
                 : message_new(o->arena, &apirelay__auth__v1__admin_user__descriptor);
}

static void check_read_only(const admin_user_view *u, gw_violations *v)
{
    if (u->created_at)
        gw_violations_add(v, "createdAt", "is read only");
    if (u->updated_at)
        gw_violations_add(v, "updatedAt", "is read only");
    if (u->last_sign_in_at)
        gw_violations_add(v, "lastSignInAt", "is read only");
    if (*u->id)
        gw_violations_add(v, "id", "is read only");
}

/* ---- the password, in requests only ---- */

static const char *password_of(const admin_user_view *u)
{
    return u->password_presence_case && u->password ? u->password : "";
}

/* Out of the message, so that nothing that is kept, shown or audited has it. */
static gw_str take_password(admin_user_view *u)
{
    gw_str password = gw_str_of(password_of(u));
    u->password_presence_case = 0;
    u->password = NULL;
    return password;
}

/* ---- create ---- */

static gw_status create_run(op *o, const gw_db *d, gw_error *err)
{
    admin_user_record u = {.view = o->data, .password_hash = gw_str_of(o->argon2.phc)};
    Apirelay__Auth__V1__CreateAdminUserResponse *m =
        message_new(o->arena, &apirelay__auth__v1__create_admin_user_response__descriptor);
    if (!m)
        return gw_fail(err, GW_ERR_NO_MEMORY, "out of memory");
    gw_status rc = admin_store_insert_user(d, o->arena, &u, o->now_ms, err);
    o->target = gw_str_of(u.view->id);
    m->admin_user = u.view;
    o->response = &m->base;
    return rc;
}

static void create_admin_user(gw_rpc_call *call, const ProtobufCMessage *request, void *arg)
{
    const Apirelay__Auth__V1__CreateAdminUserRequest *r = (const void *)request;
    op *o = op_new(arg, call, request, create_run);
    if (!o)
        return;
    gw_error err = {0};
    gw_violations v = {0};
    admin_user_view *u = view_of(o, r->admin_user);
    if (!u) {
        (void)gw_fail(&err, GW_ERR_NO_MEMORY, "out of memory");
        op_refuse(o, &err);
        return;
    }
    if (*u->status == '\0')
        u->status = message_text(o->arena, GW_STR("active"));
    admin_check_username(u->username, &v);
    admin_check_role(u->role, &v);
    admin_check_status(u->status, &v);
    admin_check_password(password_of(u), &v);
    check_read_only(u, &v);
    if (op_check(o, &v, &err) != GW_OK) {
        op_refuse(o, &err);
        return;
    }
    gw_str password = take_password(u);
    u->etag = message_text(o->arena, GW_STR(""));
    o->data = u;
    op_audit(o, "admin_user.create", u->username, &u->base);
    op_start_hashed(o, password);
}

/* ---- list ---- */

static gw_status list_run(op *o, const gw_db *d, gw_error *err)
{
    const Apirelay__Auth__V1__ListAdminUsersRequest *r = (const void *)o->request;
    int64_t limit = 0;
    size_t count = 0;
    gw_str after = GW_STR("");
    gw_status rc = page_size(r->page_size, &limit, err);
    if (rc == GW_OK)
        rc = page_position(o->arena, o->auth->peppers, GW_STR(FILTERS), r->cursor, &after, err);
    if (rc != GW_OK)
        return rc;
    size_t room = (size_t)limit + 1;
    Apirelay__Auth__V1__ListAdminUsersResponse *m =
        message_new(o->arena, &apirelay__auth__v1__list_admin_users_response__descriptor);
    admin_user_record *users = gw_arena_array(o->arena, admin_user_record, room);
    admin_user_view **views = gw_arena_array(o->arena, admin_user_view *, room);
    if (!m || !users || !views)
        return gw_fail(err, GW_ERR_NO_MEMORY, "out of memory");
    rc = admin_store_list_users(d, o->arena, after, limit + 1, users, &count, err);
    m->n_admin_users = GW_MIN(count, (size_t)limit);
    m->admin_users = views;
    for (size_t i = 0; i < m->n_admin_users; i++)
        views[i] = users[i].view;
    if (count > (size_t)limit)
        m->next_cursor = page_cursor(o->arena, o->auth->peppers, GW_STR(FILTERS),
                                     gw_str_of(views[limit - 1]->username));
    o->response = &m->base;
    return rc;
}

static void list_admin_users(gw_rpc_call *call, const ProtobufCMessage *request, void *arg)
{
    op *o = op_new(arg, call, request, list_run);
    if (o)
        op_start(o);
}

/* ---- update and delete ---- */

typedef struct user_change {
    bool role, status, password; /* which fields are written */
    const admin_user_view *to;
    gw_str etag;
} user_change;

static gw_status find(op *o, const gw_db *d, const char *id, gw_str etag, admin_user_record *ret,
                      gw_error *err)
{
    bool found = false;
    gw_status rc = admin_store_find_user(d, o->arena, gw_str_of(id), &found, ret, err);
    if (rc == GW_OK && !found)
        return gw_fail(err, GW_ERR_NOT_FOUND, "no admin has the id %s", id);
    if (rc == GW_OK && etag.len && !gw_str_eq_c(etag, ret->view->etag))
        return gw_fail_field(err, GW_ERR_ABORTED, "etag", "the admin was changed by somebody else");
    return rc;
}

static bool is_active_owner(const admin_user_view *u)
{
    return strcmp(u->role, "owner") == 0 && strcmp(u->status, "active") == 0;
}

static gw_status last_owner(gw_error *err)
{
    return gw_fail(err, GW_ERR_FAILED_PRECONDITION, "it would leave no active owner");
}

/*
 * Two owners may be removed at the same time, each while the other still counts. So the count is taken
 * again after the write, and who finds none left takes the write back: at worst both do.
 */
static gw_status owners_left(const gw_db *d, bool counts_itself, bool *ret_enough, gw_error *err)
{
    int64_t owners = 0;
    gw_status rc = admin_store_count_owners(d, &owners, err);
    *ret_enough = owners > (counts_itself ? 1 : 0);
    return rc;
}

static gw_status write_user(op *o, const gw_db *d, admin_user_record *u, const user_change *c,
                            gw_error *err)
{
    const admin_user_view before = *u->view;
    const gw_str password_before = u->password_hash;
    bool enough = true;
    if (c->role)
        u->view->role = c->to->role;
    if (c->status)
        u->view->status = c->to->status;
    if (c->password)
        u->password_hash = gw_str_of(o->argon2.phc);
    if (!c->password && strcmp(before.role, u->view->role) == 0 &&
        strcmp(before.status, u->view->status) == 0)
        return GW_OK; /* as it was: no session ends for it */
    u->session_epoch++;
    bool loses = is_active_owner(&before) && !is_active_owner(u->view);
    gw_status rc = loses ? owners_left(d, true, &enough, err) : GW_OK;
    if (rc == GW_OK && !enough)
        return last_owner(err);
    if (rc == GW_OK)
        rc = admin_store_update_user(d, o->arena, u, o->now_ms, err);
    if (rc != GW_OK || !loses)
        return rc;
    rc = owners_left(d, false, &enough, err);
    if (rc != GW_OK || enough)
        return rc;
    u->view->role = before.role;
    u->view->status = before.status;
    u->password_hash = password_before;
    rc = admin_store_update_user(d, o->arena, u, o->now_ms, err);
    return rc == GW_OK ? last_owner(err) : rc;
}

static gw_status update_run(op *o, const gw_db *d, gw_error *err)
{
    const Apirelay__Auth__V1__UpdateAdminUserRequest *r = (const void *)o->request;
    const user_change *c = o->data;
    admin_user_record u;
    Apirelay__Auth__V1__UpdateAdminUserResponse *m =
        message_new(o->arena, &apirelay__auth__v1__update_admin_user_response__descriptor);
    gw_status rc =
        m ? find(o, d, r->id, c->etag, &u, err) : gw_fail(err, GW_ERR_NO_MEMORY, "out of memory");
    if (rc == GW_OK)
        rc = write_user(o, d, &u, c, err);
    if (rc != GW_OK)
        return rc;
    m->admin_user = u.view;
    o->response = &m->base;
    return GW_OK;
}

static void plan_path(gw_str path, user_change *c, gw_violations *v)
{
    const ProtobufCFieldDescriptor *f =
        gw_field_named(&apirelay__auth__v1__admin_user__descriptor, path);
    char name[GW_JSON_NAME_SIZE];
    if (gw_str_eq_c(path, "role"))
        c->role = true;
    else if (gw_str_eq_c(path, "status"))
        c->status = true;
    else if (gw_str_eq_c(path, "password"))
        c->password = true;
    else if (!f)
        gw_violations_add(v, path.ptr, "no such field");
    else if (strcmp(f->name, "etag") != 0) {
        gw_json_name(f->name, name);
        gw_violations_add(v, name, "is read only");
    }
}

static void plan_paths(const Apirelay__Auth__V1__UpdateAdminUserRequest *r, user_change *c,
                       gw_violations *v)
{
    if (!r->update_mask || r->update_mask->n_paths == 0) {
        c->role = *c->to->role != '\0';
        c->status = *c->to->status != '\0';
        c->password = *password_of(c->to) != '\0';
        if (*c->to->username)
            gw_violations_add(v, "username", "is fixed after creation");
        check_read_only(c->to, v);
        return;
    }
    for (size_t i = 0; i < r->update_mask->n_paths; i++)
        plan_path(gw_str_of(r->update_mask->paths[i]), c, v);
}

static void update_admin_user(gw_rpc_call *call, const ProtobufCMessage *request, void *arg)
{
    const Apirelay__Auth__V1__UpdateAdminUserRequest *r = (const void *)request;
    op *o = op_new(arg, call, request, update_run);
    if (!o)
        return;
    gw_error err = {0};
    gw_violations v = {0};
    user_change *c = gw_arena_new_of(o->arena, user_change);
    admin_user_view *to = view_of(o, r->admin_user);
    if (!c || !to) {
        (void)gw_fail(&err, GW_ERR_NO_MEMORY, "out of memory");
        op_refuse(o, &err);
        return;
    }
    c->to = to;
    plan_paths(r, c, &v);
    if (c->role)
        admin_check_role(to->role, &v);
    if (c->status)
        admin_check_status(to->status, &v);
    if (c->password)
        admin_check_password(password_of(to), &v);
    if (*r->etag && *to->etag && strcmp(r->etag, to->etag) != 0)
        gw_violations_add(&v, "etag", "differs from adminUser.etag");
    c->etag = gw_str_of(*r->etag ? r->etag : to->etag);
    if (op_check(o, &v, &err) != GW_OK) {
        op_refuse(o, &err);
        return;
    }
    o->data = c;
    gw_str password = take_password(to);
    op_audit(o, c->password ? "admin_user.update_password" : "admin_user.update", r->id, &to->base);
    if (c->password)
        op_start_hashed(o, password);
    else
        op_start(o);
}

static gw_status delete_run(op *o, const gw_db *d, gw_error *err)
{
    const Apirelay__Auth__V1__DeleteAdminUserRequest *r = (const void *)o->request;
    admin_user_record u;
    bool enough = true;
    o->response =
        message_new(o->arena, &apirelay__auth__v1__delete_admin_user_response__descriptor);
    gw_status rc = o->response ? find(o, d, r->id, gw_str_of(r->etag), &u, err)
                               : gw_fail(err, GW_ERR_NO_MEMORY, "out of memory");
    bool loses = rc == GW_OK && is_active_owner(u.view);
    if (loses)
        rc = owners_left(d, true, &enough, err);
    if (rc == GW_OK && !enough)
        return last_owner(err);
    if (rc == GW_OK)
        rc = admin_store_delete_user(d, &u, err);
    if (rc == GW_OK && loses)
        rc = owners_left(d, false, &enough, err);
    if (rc != GW_OK || enough)
        return rc;
    u.session_epoch++; /* put back, but signed out */
    rc = admin_store_restore_user(d, &u, err);
    return rc == GW_OK ? last_owner(err) : rc;
}

static void delete_admin_user(gw_rpc_call *call, const ProtobufCMessage *request, void *arg)
{
    const Apirelay__Auth__V1__DeleteAdminUserRequest *r = (const void *)request;
    op *o = op_new(arg, call, request, delete_run);
    if (!o)
        return;
    op_audit(o, "admin_user.delete", r->id, request);
    op_start(o);
}

#define PATH(method) "/apirelay.auth.v1.AdminService/" method
const gw_rpc_handler admin_handlers[] = {
    {.path = PATH("CreateAdminUser"), .start = create_admin_user},
    {.path = PATH("ListAdminUsers"), .start = list_admin_users},
    {.path = PATH("UpdateAdminUser"), .start = update_admin_user},
    {.path = PATH("DeleteAdminUser"), .start = delete_admin_user},
    {.path = PATH("CreateAdminKey"), .start = admin_key_create_rpc},
    {.path = PATH("ListAdminKeys"), .start = admin_key_list_rpc},
    {.path = PATH("RevokeAdminKey"), .start = admin_key_revoke_rpc},
    {0},
};
