#include "core/violations.h"
#include "key_changes.h"
#include "limit_policy_store.h"
#include "messages.h"
#include "op.h"
#include "page.h"

#include <apirelay/auth/v1/limit_service.pb-c.h>

static void refuse_no_memory(op *o)
{
    gw_error err = {0};
    (void)gw_fail(&err, GW_ERR_NO_MEMORY, "out of memory");
    op_refuse(o, &err);
}

/* What the log calls it: "clients/mobile". */
static const char *target_of(op *o, const char *kind, const char *id)
{
    return message_text(o->arena, gw_arena_printf(o->arena, "%s/%s", kind, id));
}

static gw_status parse_subject(op *o, const char *kind, const char *id, change_subject *ret,
                               gw_error *err)
{
    gw_violations v = {0};
    limit_policy_subject(kind, id, ret, &v);
    return op_check(o, &v, err);
}

static void start_or_refuse(op *o, gw_status rc, const gw_error *err)
{
    if (rc == GW_OK)
        op_start(o);
    else
        op_refuse(o, err);
}

/* ---- get ---- */

static gw_status get_run(op *o, const gw_db *d, gw_error *err)
{
    const Apirelay__Auth__V1__GetLimitPolicyRequest *r = (const void *)o->request;
    limit_policy p = {0};
    Apirelay__Auth__V1__GetLimitPolicyResponse *m =
        message_new(o->arena, &apirelay__auth__v1__get_limit_policy_response__descriptor);
    if (!m)
        return gw_fail(err, GW_ERR_NO_MEMORY, "out of memory");
    gw_status rc = limit_policy_store_get(d, o->arena, o->data, &p, err);
    if (rc == GW_OK && !p.view->limits)
        rc = gw_fail(err, GW_ERR_NOT_FOUND, "no limits are set for %s/%s", r->kind, r->id);
    m->limit_policy = p.view;
    o->response = &m->base;
    return rc;
}

static void get_limit_policy(gw_rpc_call *call, const ProtobufCMessage *request, void *arg)
{
    const Apirelay__Auth__V1__GetLimitPolicyRequest *r = (const void *)request;
    op *o = op_new(arg, call, request, get_run);
    gw_error err = {0};
    if (!o)
        return;
    change_subject *s = gw_arena_new_of(o->arena, change_subject);
    if (!s) {
        refuse_no_memory(o);
        return;
    }
    o->data = s;
    start_or_refuse(o, parse_subject(o, r->kind, r->id, s, &err), &err);
}

/* ---- list ---- */

static gw_str filters_of(op *o, const char *kind)
{
    gw_auto_buf text = {0};
    gw_buf_append_c(&text, "limit_policies;");
    page_filter(&text, "kind", kind);
    return gw_arena_dup(o->arena, gw_buf_str(&text));
}

static gw_str position_of(op *o, const limit_policy *p)
{
    char id[LIMIT_POLICY_ID_SIZE];
    key_changes_limits_id(&p->subject, id);
    return gw_arena_dup(o->arena, gw_str_of(id));
}

static gw_status list_run(op *o, const gw_db *d, gw_error *err)
{
    const Apirelay__Auth__V1__ListLimitPoliciesRequest *r = (const void *)o->request;
    gw_str filters = filters_of(o, r->kind);
    limit_policy_filter f = {.kind = r->kind};
    size_t count = 0;
    gw_status rc = page_size(r->page_size, &f.limit, err);
    if (rc == GW_OK)
        rc = page_position(o->arena, o->auth->peppers, filters, r->cursor, &f.after, err);
    if (rc != GW_OK)
        return rc;
    size_t limit = (size_t)f.limit++; /* one more tells whether a page follows */
    Apirelay__Auth__V1__ListLimitPoliciesResponse *m =
        message_new(o->arena, &apirelay__auth__v1__list_limit_policies_response__descriptor);
    limit_policy *policies = gw_arena_array(o->arena, limit_policy, limit + 1);
    limit_policy_view **views = gw_arena_array(o->arena, limit_policy_view *, limit + 1);
    if (!m || !policies || !views)
        return gw_fail(err, GW_ERR_NO_MEMORY, "out of memory");
    rc = limit_policy_store_list(d, o->arena, &f, policies, &count, err);
    if (rc != GW_OK)
        return rc;
    m->n_limit_policies = GW_MIN(count, limit);
    m->limit_policies = views;
    for (size_t i = 0; i < m->n_limit_policies; i++)
        views[i] = policies[i].view;
    if (count > limit)
        m->next_cursor =
            page_cursor(o->arena, o->auth->peppers, filters, position_of(o, &policies[limit - 1]));
    o->response = &m->base;
    return GW_OK;
}

static void list_limit_policies(gw_rpc_call *call, const ProtobufCMessage *request, void *arg)
{
    const Apirelay__Auth__V1__ListLimitPoliciesRequest *r = (const void *)request;
    op *o = op_new(arg, call, request, list_run);
    gw_error err = {0};
    gw_status rc = GW_OK;
    if (!o)
        return;
    if (*r->kind && strcmp(r->kind, "clients") != 0 && strcmp(r->kind, "users") != 0)
        rc = gw_fail_field(&err, GW_ERR_INVALID_ARGUMENT, "kind", "must be one of clients|users");
    start_or_refuse(o, rc, &err);
}

/* ---- update ---- */

typedef struct update_data {
    change_subject subject;
    limit_policy_update change;
} update_data;

static gw_status update_run(op *o, const gw_db *d, gw_error *err)
{
    update_data *u = o->data;
    limit_policy p = {0};
    Apirelay__Auth__V1__UpdateLimitPolicyResponse *m =
        message_new(o->arena, &apirelay__auth__v1__update_limit_policy_response__descriptor);
    if (!m)
        return gw_fail(err, GW_ERR_NO_MEMORY, "out of memory");
    gw_status rc = limit_policy_store_change(d, o->arena, &u->subject, &u->change.plan, &p,
                                             &o->key_changed, err);
    m->limit_policy = p.view;
    o->response = &m->base;
    return u->change.violations.count ? op_check(o, &u->change.violations, err) : rc;
}

static void update_limit_policy(gw_rpc_call *call, const ProtobufCMessage *request, void *arg)
{
    const Apirelay__Auth__V1__UpdateLimitPolicyRequest *r = (const void *)request;
    static const limit_policy_view nothing = APIRELAY__AUTH__V1__LIMIT_POLICY__INIT;
    op *o = op_new(arg, call, request, update_run);
    gw_error err = {0};
    if (!o)
        return;
    update_data *u = gw_arena_new_of(o->arena, update_data);
    if (!u) {
        refuse_no_memory(o);
        return;
    }
    u->change.from = r->limit_policy ? r->limit_policy : &nothing;
    if (r->update_mask) {
        u->change.paths = r->update_mask->paths;
        u->change.path_count = r->update_mask->n_paths;
    }
    gw_str etag = gw_str_of(r->etag), inner = gw_str_of(u->change.from->etag);
    gw_status rc = parse_subject(o, r->kind, r->id, &u->subject, &err);
    if (rc == GW_OK && etag.len && inner.len && !gw_str_eq(etag, inner))
        rc = gw_fail_field(&err, GW_ERR_INVALID_ARGUMENT, "etag", "differs from limitPolicy.etag");
    u->change.plan = (limit_policy_plan){
        .apply = limit_policy_update_apply, .etag = etag.len ? etag : inner, .now_ms = o->now_ms};
    o->data = u;
    op_audit(o, "limit_policy.update", target_of(o, r->kind, r->id), request);
    start_or_refuse(o, rc, &err);
}

/* ---- delete ---- */

typedef struct delete_data {
    change_subject subject;
    limit_policy_plan plan;
} delete_data;

static gw_status delete_run(op *o, const gw_db *d, gw_error *err)
{
    delete_data *l = o->data;
    limit_policy ignored;
    o->response =
        message_new(o->arena, &apirelay__auth__v1__delete_limit_policy_response__descriptor);
    if (!o->response)
        return gw_fail(err, GW_ERR_NO_MEMORY, "out of memory");
    return limit_policy_store_change(d, o->arena, &l->subject, &l->plan, &ignored, &o->key_changed,
                                     err);
}

static void delete_limit_policy(gw_rpc_call *call, const ProtobufCMessage *request, void *arg)
{
    const Apirelay__Auth__V1__DeleteLimitPolicyRequest *r = (const void *)request;
    op *o = op_new(arg, call, request, delete_run);
    gw_error err = {0};
    if (!o)
        return;
    delete_data *l = gw_arena_new_of(o->arena, delete_data);
    if (!l) {
        refuse_no_memory(o);
        return;
    }
    l->plan = (limit_policy_plan){
        .apply = limit_policy_lift_apply, .etag = gw_str_of(r->etag), .now_ms = o->now_ms};
    o->data = l;
    op_audit(o, "limit_policy.delete", target_of(o, r->kind, r->id), request);
    start_or_refuse(o, parse_subject(o, r->kind, r->id, &l->subject, &err), &err);
}

#define PATH(method) "/apirelay.auth.v1.LimitService/" method
const gw_rpc_handler limit_handlers[] = {
    {.path = PATH("GetLimitPolicy"), .start = get_limit_policy},
    {.path = PATH("ListLimitPolicies"), .start = list_limit_policies},
    {.path = PATH("UpdateLimitPolicy"), .start = update_limit_policy},
    {.path = PATH("DeleteLimitPolicy"), .start = delete_limit_policy},
    {0},
};
