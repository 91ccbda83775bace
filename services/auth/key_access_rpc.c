#include "api_key_change.h"
#include "core/map.h"
#include "key_resolution.h"
#include "key_store.h"
#include "messages.h"
#include "op.h"
#include "watch_rpc.h"

#include <apirelay/auth/v1/key_access_service.pb-c.h>

#define PRESENTED_MAX_BYTES 128
#define USES_MAX            10000
#define ORIGINS_MAX         10000

/* ---- Resolve ---- */

static Apirelay__Auth__V1__KeyPolicy *policy_of(const key_resolution *r)
{
    const api_key_view *v = r->record.view;
    gw_arena *a = r->arena;
    Apirelay__Auth__V1__KeyPolicy *p = message_new(a, &apirelay__auth__v1__key_policy__descriptor);
    if (!p)
        return NULL;
    p->key_id = v->key_id;
    p->api_key_id = v->id;
    p->generation = v->generation;
    p->status = v->status;
    p->env = v->env;
    p->name = v->name;
    p->user_id = v->user_id;
    p->client_id = v->client_id;
    p->permissions = v->permissions;
    p->limits = v->limits;
    p->security = v->security;
    p->client_kind = v->client->kind;
    p->on_disconnect = v->on_disconnect;
    p->signing_required = v->signing->required;
    p->signing_secret_sealed.data = (uint8_t *)(uintptr_t)r->record.signing_sealed.ptr;
    p->signing_secret_sealed.len = r->record.signing_sealed.len;
    if (r->record.signing_previous_expires_ms > r->now_ms) {
        p->previous_signing_secret_sealed.data =
            (uint8_t *)(uintptr_t)r->record.signing_previous_sealed.ptr;
        p->previous_signing_secret_sealed.len = r->record.signing_previous_sealed.len;
        p->previous_signing_expires_at = message_time(a, r->record.signing_previous_expires_ms);
    }
    if (v->librechat) {
        p->librechat_origin = v->librechat->origin;
        p->librechat_key_sealed.data = (uint8_t *)(uintptr_t)r->record.librechat_sealed.ptr;
        p->librechat_key_sealed.len = r->record.librechat_sealed.len;
    }
    p->expires_at = message_time(a, api_key_secret_end_ms(&r->record, r->secret));
    p->previous_secret = r->secret != &r->record.current;
    p->cache = v->cache;
    p->privacy = v->privacy;
    p->client_limits = r->shared.client;
    p->owner_limits = r->shared.owner;
    return p;
}

static void resolved(key_resolution *r, gw_status rc, const gw_error *err)
{
    gw_rpc_call *call = r->arg;
    gw_metrics_shard *metrics = r->auth->metrics;
    gw_error stale = {0};
    Apirelay__Auth__V1__ResolveResponse m = APIRELAY__AUTH__V1__RESOLVE_RESPONSE__INIT;
    gw_metric_count(metrics, M_auth_resolves_total,
                    rc != GW_OK ? GW_STR("error")
                    : r->found  ? GW_STR("found")
                                : GW_STR("unknown"));
    if (rc != GW_OK) {
        gw_rpc_fail(call, err);
        return;
    }
    const Apirelay__Auth__V1__ResolveRequest *asked = gw_rpc_call_data(call);
    if (r->found && r->record.view->generation < asked->since_generation) {
        (void)gw_fail(&stale, GW_ERR_UNAVAILABLE, "key %s was read before its newest change",
                      r->record.view->key_id);
        gw_rpc_fail(call, &stale);
        return;
    }
    m.found = r->found;
    m.generation = r->generation;
    m.policy = r->found ? policy_of(r) : NULL;
    gw_rpc_reply(call, &m.base);
}

static void resolve(gw_rpc_call *call, const ProtobufCMessage *request, void *arg)
{
    const Apirelay__Auth__V1__ResolveRequest *r = (const void *)request;
    gw_error err = {0};
    if (r->presented_key.len > PRESENTED_MAX_BYTES) {
        (void)gw_fail_field(&err, GW_ERR_INVALID_ARGUMENT, "presentedKey",
                            "must be at most %d bytes", PRESENTED_MAX_BYTES);
        gw_rpc_fail(call, &err);
        return;
    }
    /* The request lives as long as the call. */
    gw_rpc_call_set_data(call, (void *)(uintptr_t)r);
    key_resolve(arg, gw_str_n(r->presented_key.data, r->presented_key.len), resolved, call);
}

/* ---- GetTagKeys ---- */

static void get_tag_keys(gw_rpc_call *call, const ProtobufCMessage *request, void *arg)
{
    (void)request;
    auth *a = arg;
    size_t n;
    const gw_tag_key *keys = peppers_tag_keys(a->peppers, &n);
    gw_arena *arena = gw_rpc_call_arena(call);
    Apirelay__Auth__V1__GetTagKeysResponse m = APIRELAY__AUTH__V1__GET_TAG_KEYS_RESPONSE__INIT;
    m.tag_keys = gw_arena_array(arena, Apirelay__Auth__V1__TagKey *, n);
    for (size_t i = 0; m.tag_keys && i < n; i++) {
        Apirelay__Auth__V1__TagKey *k =
            message_new(arena, &apirelay__auth__v1__tag_key__descriptor);
        if (!k)
            break;
        k->pepper_id = message_text(arena, gw_str_n(&keys[i].pepper_id, 1));
        k->tag_key.data = (uint8_t *)(uintptr_t)keys[i].key;
        k->tag_key.len = sizeof(keys[i].key);
        m.tag_keys[m.n_tag_keys++] = k;
    }
    if (m.n_tag_keys == n) {
        gw_rpc_reply(call, &m.base);
        return;
    }
    gw_error err = {0};
    (void)gw_fail(&err, GW_ERR_NO_MEMORY, "out of memory");
    gw_rpc_fail(call, &err);
}

/* ---- ReportUse ---- */

static gw_status report_run(op *o, const gw_db *d, gw_error *err)
{
    const Apirelay__Auth__V1__ReportUseRequest *r = (const void *)o->request;
    o->response = message_new(o->arena, &apirelay__auth__v1__report_use_response__descriptor);
    key_use *uses = gw_arena_array(o->arena, key_use, r->n_uses + 1);
    size_t n = 0;
    if (!o->response || !uses)
        return gw_fail(err, GW_ERR_NO_MEMORY, "out of memory");
    for (size_t i = 0; i < r->n_uses; i++) {
        /* A clock that runs ahead elsewhere does not date a use into the future. */
        int64_t at = GW_MIN(message_time_ms(r->uses[i]->last_used_at), o->now_ms);
        if (at > 0 && *r->uses[i]->key_id)
            uses[n++] = (key_use){gw_str_of(r->uses[i]->key_id), at};
    }
    return key_store_report_use(d, uses, n, err);
}

static void report_use(gw_rpc_call *call, const ProtobufCMessage *request, void *arg)
{
    const Apirelay__Auth__V1__ReportUseRequest *r = (const void *)request;
    op *o = op_new(arg, call, request, report_run);
    if (!o)
        return;
    gw_error err = {0};
    if (r->n_uses <= USES_MAX) {
        op_start(o);
        return;
    }
    (void)gw_fail_field(&err, GW_ERR_INVALID_ARGUMENT, "uses", "must be at most %d", USES_MAX);
    op_refuse(o, &err);
}

/* ---- ListOrigins ---- */

typedef Apirelay__Auth__V1__ListOriginsResponse origins_response;

typedef struct origin_list {
    gw_arena *arena;
    gw_map *seen;
    origins_response *response;
} origin_list;

static void add_origin(void *arg, gw_str origin)
{
    origin_list *l = arg;
    origins_response *m = l->response;
    if (gw_map_get(l->seen, origin))
        return;
    char *text = m->n_origins < ORIGINS_MAX ? message_text(l->arena, origin) : NULL;
    if (!text || *text == '\0' || !gw_map_put(l->seen, origin, text)) {
        m->incomplete = true;
        return;
    }
    m->origins[m->n_origins++] = text;
}

static gw_status origins_run(op *o, const gw_db *d, gw_error *err)
{
    gw_auto(gw_map) seen = gw_map_new(NULL);
    origins_response *m =
        message_new(o->arena, &apirelay__auth__v1__list_origins_response__descriptor);
    if (m)
        m->origins = gw_arena_array(o->arena, char *, ORIGINS_MAX);
    if (!seen || !m || !m->origins)
        return gw_fail(err, GW_ERR_NO_MEMORY, "out of memory");
    o->response = &m->base;
    return key_store_each_origin(d, add_origin, &(origin_list){o->arena, seen, m}, err);
}

static void list_origins(gw_rpc_call *call, const ProtobufCMessage *request, void *arg)
{
    op *o = op_new(arg, call, request, origins_run);
    if (o)
        op_start(o);
}

/* ---- SuspendByRule ---- */

static gw_status suspend_run(op *o, const gw_db *d, gw_error *err)
{
    const Apirelay__Auth__V1__SuspendByRuleRequest *r = (const void *)o->request;
    api_key_rule_suspension *s = o->data;
    Apirelay__Auth__V1__SuspendByRuleResponse *m =
        message_new(o->arena, &apirelay__auth__v1__suspend_by_rule_response__descriptor);
    api_key_record k;
    if (!m)
        return gw_fail(err, GW_ERR_NO_MEMORY, "out of memory");
    o->response = &m->base;
    gw_status rc =
        key_store_change(d, o->arena, gw_str_of(r->api_key_id), &s->plan, &k, &o->key_changed, err);
    m->suspended = o->key_changed;
    return rc;
}

/* Most calls come too late to change anything: those leave no trace in the audit log. */
static gw_status suspend_checked(op *o, const gw_db *d, gw_error *err)
{
    const Apirelay__Auth__V1__SuspendByRuleRequest *r = (const void *)o->request;
    api_key_rule_suspension *s = o->data;
    api_key_record k;
    bool applies;
    gw_status rc = key_store_get(d, o->arena, gw_str_of(r->api_key_id), &k, err);
    if (rc == GW_OK)
        rc = s->plan.apply(&s->plan, o->arena, &k, &applies, err);
    if (rc != GW_OK)
        return rc;
    if (applies)
        return op_run_audited(o, d, suspend_run, err);
    o->response = message_new(o->arena, &apirelay__auth__v1__suspend_by_rule_response__descriptor);
    return o->response ? GW_OK : gw_fail(err, GW_ERR_NO_MEMORY, "out of memory");
}

static void suspend_by_rule(gw_rpc_call *call, const ProtobufCMessage *request, void *arg)
{
    const Apirelay__Auth__V1__SuspendByRuleRequest *r = (const void *)request;
    op *o = op_new(arg, call, request, suspend_checked);
    if (!o)
        return;
    gw_error err = {0};
    api_key_rule_suspension *s = gw_arena_new_of(o->arena, api_key_rule_suspension);
    if (!s) {
        (void)gw_fail(&err, GW_ERR_NO_MEMORY, "out of memory");
        op_refuse(o, &err);
        return;
    }
    *s = (api_key_rule_suspension){
        .plan = {.apply = api_key_rule_suspension_apply, .now_ms = o->now_ms},
        .rule = gw_str_of(r->rule),
        .generation = r->generation};
    if (!api_key_rule_is_known(s->rule)) {
        (void)gw_fail_field(&err, GW_ERR_INVALID_ARGUMENT, "rule",
                            "must be one of limit_exceeded|bad_signatures");
        op_refuse(o, &err);
        return;
    }
    o->data = s;
    op_describe(o, "api_key.suspend", r->api_key_id, request);
    op_act_as(o, GW_STR("rule"), s->rule);
    op_start(o);
}

#define PATH(method) "/apirelay.auth.v1.KeyAccessService/" method
const gw_rpc_handler key_access_handlers[] = {
    {.path = PATH("Resolve"), .start = resolve},
    {.path = PATH("GetTagKeys"), .start = get_tag_keys},
    {.path = PATH("Watch"),
     .start = watch_rpc_start,
     .cancelled = watch_rpc_cancelled,
     .finished = watch_rpc_finished},
    {.path = PATH("ReportUse"), .start = report_use},
    {.path = PATH("SuspendByRule"), .start = suspend_by_rule},
    {.path = PATH("ListOrigins"), .start = list_origins},
    {0},
};
