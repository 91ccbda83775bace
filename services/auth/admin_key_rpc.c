#include "admin_key_rpc.h"

#include "admin_rules.h"
#include "key_mint.h"
#include "messages.h"
#include "op.h"
#include "page.h"

#include <apirelay/auth/v1/admin_service.pb-c.h>

#define FILTERS "admin_keys;"

/* ---- create ---- */

typedef struct key_data {
    admin_key_record record;
    char text[ADMIN_KEY_SIZE];
} key_data;

static gw_status create_run(op *o, const gw_db *d, gw_error *err)
{
    key_data *k = o->data;
    Apirelay__Auth__V1__CreateAdminKeyResponse *m =
        message_new(o->arena, &apirelay__auth__v1__create_admin_key_response__descriptor);
    if (!m)
        return gw_fail(err, GW_ERR_NO_MEMORY, "out of memory");
    m->admin_key = k->record.view;
    m->key = k->text;
    o->response = &m->base;
    return admin_store_insert_key(d, &k->record, err);
}

static gw_status create_plan(op *o, key_data *k, gw_error *err)
{
    const Apirelay__Auth__V1__CreateAdminKeyRequest *r = (const void *)o->request;
    const gw_caller *caller = gw_rpc_call_caller(o->call);
    gw_violations v = {0};
    uint8_t hash[GW_SHA256_SIZE];
    gw_str id;
    admin_key_view *view = r->admin_key
                               ? message_copy(o->arena, &r->admin_key->base)
                               : message_new(o->arena, &apirelay__auth__v1__admin_key__descriptor);
    if (!view)
        return gw_fail(err, GW_ERR_NO_MEMORY, "out of memory");
    admin_check_key(view, o->now_ms, &v);
    if (admin_role_rank(view->role) > (int)caller->role)
        gw_violations_add(&v, "role", "is above the maker's");
    gw_status rc = op_check(o, &v, err);
    if (rc != GW_OK)
        return rc;
    admin_key_mint(k->text);
    if (!admin_key_parse(gw_str_of(k->text), &id))
        return gw_fail(err, GW_ERR_INTERNAL, "the minted admin key does not parse");
    gw_sha256(k->text, strlen(k->text), hash);
    k->record.hash = gw_arena_dup(o->arena, gw_str_n(hash, sizeof(hash)));
    k->record.view = view;
    view->id = message_text(o->arena, id);
    view->status = message_text(o->arena, GW_STR("active"));
    view->created_at = message_time(o->arena, o->now_ms);
    view->created_by = message_text(o->arena, o->actor_id);
    return GW_OK;
}

void admin_key_create_rpc(gw_rpc_call *call, const ProtobufCMessage *request, void *arg)
{
    op *o = op_new(arg, call, request, create_run);
    if (!o)
        return;
    gw_error err = {0};
    key_data *k = gw_arena_new_of(o->arena, key_data);
    gw_status rc = k ? create_plan(o, k, &err) : gw_fail(&err, GW_ERR_NO_MEMORY, "out of memory");
    if (rc != GW_OK) {
        op_refuse(o, &err);
        return;
    }
    o->data = k;
    op_audit(o, "admin_key.create", k->record.view->id, &k->record.view->base);
    op_start(o);
}

/* ---- list ---- */

/* "<created ms> <id>" */
static gw_status read_position(op *o, const char *cursor, admin_key_position *ret, gw_error *err)
{
    gw_str text, created;
    gw_status rc = page_position(o->arena, o->auth->peppers, GW_STR(FILTERS), cursor, &text, err);
    if (rc != GW_OK || text.len == 0)
        return rc;
    if (!gw_str_split(&text, ' ', &created) || !gw_str_to_int64(created, &ret->created_ms))
        return gw_fail_field(err, GW_ERR_INVALID_ARGUMENT, "cursor", "not a cursor of this list");
    ret->id = text;
    return GW_OK;
}

static gw_status list_run(op *o, const gw_db *d, gw_error *err)
{
    const Apirelay__Auth__V1__ListAdminKeysRequest *r = (const void *)o->request;
    admin_key_position after = {0};
    int64_t limit = 0;
    size_t count = 0;
    gw_status rc = page_size(r->page_size, &limit, err);
    if (rc == GW_OK)
        rc = read_position(o, r->cursor, &after, err);
    if (rc != GW_OK)
        return rc;
    size_t room = (size_t)limit + 1;
    Apirelay__Auth__V1__ListAdminKeysResponse *m =
        message_new(o->arena, &apirelay__auth__v1__list_admin_keys_response__descriptor);
    admin_key_record *keys = gw_arena_array(o->arena, admin_key_record, room);
    admin_key_view **views = gw_arena_array(o->arena, admin_key_view *, room);
    if (!m || !keys || !views)
        return gw_fail(err, GW_ERR_NO_MEMORY, "out of memory");
    rc = admin_store_list_keys(d, o->arena, after, limit + 1, keys, &count, err);
    m->n_admin_keys = GW_MIN(count, (size_t)limit);
    m->admin_keys = views;
    for (size_t i = 0; i < m->n_admin_keys; i++)
        views[i] = keys[i].view;
    if (count > (size_t)limit) {
        const admin_key_view *last = views[limit - 1];
        m->next_cursor =
            page_cursor(o->arena, o->auth->peppers, GW_STR(FILTERS),
                        gw_arena_printf(o->arena, "%lld %s",
                                        (long long)message_time_ms(last->created_at), last->id));
    }
    o->response = &m->base;
    return rc;
}

void admin_key_list_rpc(gw_rpc_call *call, const ProtobufCMessage *request, void *arg)
{
    op *o = op_new(arg, call, request, list_run);
    if (o)
        op_start(o);
}

/* ---- revoke ---- */

static gw_status revoke_run(op *o, const gw_db *d, gw_error *err)
{
    const Apirelay__Auth__V1__RevokeAdminKeyRequest *r = (const void *)o->request;
    admin_key_record k;
    bool found = false;
    Apirelay__Auth__V1__RevokeAdminKeyResponse *m =
        message_new(o->arena, &apirelay__auth__v1__revoke_admin_key_response__descriptor);
    if (!m)
        return gw_fail(err, GW_ERR_NO_MEMORY, "out of memory");
    gw_status rc = admin_store_find_key(d, o->arena, gw_str_of(r->id), &found, &k, err);
    if (rc == GW_OK && !found)
        return gw_fail(err, GW_ERR_NOT_FOUND, "no admin key has the id %s", r->id);
    if (rc == GW_OK)
        rc = admin_store_revoke_key(d, gw_str_of(r->id), err);
    if (rc != GW_OK)
        return rc;
    k.view->status = message_text(o->arena, GW_STR("revoked"));
    m->admin_key = k.view;
    o->response = &m->base;
    return GW_OK;
}

void admin_key_revoke_rpc(gw_rpc_call *call, const ProtobufCMessage *request, void *arg)
{
    const Apirelay__Auth__V1__RevokeAdminKeyRequest *r = (const void *)request;
    op *o = op_new(arg, call, request, revoke_run);
    if (!o)
        return;
    op_audit(o, "admin_key.revoke", r->id, request);
    op_start(o);
}
