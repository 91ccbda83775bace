#include "api_key_change_rpc.h"

#include "api_key_change.h"
#include "core/violations.h"
#include "key_mint.h"
#include "key_settings_store.h"
#include "messages.h"
#include "op.h"

#include <apirelay/auth/v1/api_key_service.pb-c.h>

/* Ends the call when `rc` is an error; else starts the op. */
static void start_or_refuse(op *o, gw_status rc, const gw_error *err)
{
    if (rc == GW_OK)
        op_start(o);
    else
        op_refuse(o, err);
}

static gw_status change(op *o, const gw_db *d, const char *id, key_change_plan *plan,
                        api_key_view **ret, gw_error *err)
{
    api_key_record k;
    gw_status rc = key_store_change(d, o->arena, gw_str_of(id), plan, &k, &o->key_changed, err);
    if (rc != GW_OK)
        return rc;
    key_settings_store_show(d, o->arena, &k, 1, o->now_ms);
    *ret = k.view;
    return GW_OK;
}

static gw_status answer(op *o, void *response, gw_error *err)
{
    o->response = response;
    return response ? GW_OK : gw_fail(err, GW_ERR_NO_MEMORY, "out of memory");
}

/* ---- update ---- */

static gw_status update_run(op *o, const gw_db *d, gw_error *err)
{
    const Apirelay__Auth__V1__UpdateApiKeyRequest *r = (const void *)o->request;
    api_key_update *u = o->data;
    Apirelay__Auth__V1__UpdateApiKeyResponse *m =
        message_new(o->arena, &apirelay__auth__v1__update_api_key_response__descriptor);
    gw_status rc = answer(o, m, err);
    if (rc == GW_OK)
        rc = change(o, d, r->id, &u->plan, &m->api_key, err);
    return u->violations.count ? op_check(o, &u->violations, err) : rc;
}

/* What changes nothing makes no version and stands in no log; what is refused stands there. */
static gw_status update_checked(op *o, const gw_db *d, gw_error *err)
{
    const Apirelay__Auth__V1__UpdateApiKeyRequest *r = (const void *)o->request;
    api_key_update *u = o->data;
    api_key_record k;
    bool changes = true;
    gw_error why;
    if (key_store_get(d, o->arena, gw_str_of(r->id), &k, &why) != GW_OK ||
        key_store_plan(&k, o->arena, &u->plan, &changes, &why) != GW_OK || changes)
        return op_run_audited(o, d, update_run, err);
    Apirelay__Auth__V1__UpdateApiKeyResponse *m =
        message_new(o->arena, &apirelay__auth__v1__update_api_key_response__descriptor);
    gw_status rc = answer(o, m, err);
    if (rc != GW_OK)
        return rc;
    key_settings_store_show(d, o->arena, &k, 1, o->now_ms);
    m->api_key = k.view;
    return GW_OK;
}

void api_key_update_rpc(gw_rpc_call *call, const ProtobufCMessage *request, void *arg)
{
    const Apirelay__Auth__V1__UpdateApiKeyRequest *r = (const void *)request;
    static const api_key_view nothing = APIRELAY__AUTH__V1__API_KEY__INIT;
    op *o = op_new(arg, call, request, update_checked);
    if (!o)
        return;
    gw_error err = {0};
    gw_status rc = GW_OK;
    api_key_update *u = gw_arena_new_of(o->arena, api_key_update);
    if (!u) {
        (void)gw_fail(&err, GW_ERR_NO_MEMORY, "out of memory");
        op_refuse(o, &err);
        return;
    }
    u->from = r->api_key ? r->api_key : &nothing;
    if (r->update_mask) {
        u->paths = r->update_mask->paths;
        u->path_count = r->update_mask->n_paths;
    }
    gw_str etag = gw_str_of(r->etag), inner = gw_str_of(u->from->etag);
    if (etag.len && inner.len && !gw_str_eq(etag, inner))
        rc = gw_fail_field(&err, GW_ERR_INVALID_ARGUMENT, "etag", "differs from apiKey.etag");
    u->plan = (key_change_plan){
        .apply = api_key_update_apply, .etag = etag.len ? etag : inner, .now_ms = o->now_ms};
    o->data = u;
    op_describe(o, "api_key.update", r->id, request);
    start_or_refuse(o, rc, &err);
}

/* ---- status ---- */

static gw_status check_reason(gw_str reason, gw_error *err)
{
    size_t chars = 0;
    for (size_t i = 0; i < reason.len; i++)
        chars += ((unsigned char)reason.ptr[i] & 0xc0) != 0x80;
    if (chars > API_KEY_REASON_MAX_CHARS || gw_str_has_control(reason))
        return gw_fail_field(err, GW_ERR_INVALID_ARGUMENT, "reason",
                             "must have at most %d characters, none of them control characters",
                             API_KEY_REASON_MAX_CHARS);
    return GW_OK;
}

static void start_status_change(auth *a, gw_rpc_call *call, const ProtobufCMessage *request,
                                gw_status (*run)(op *o, const gw_db *d, gw_error *err),
                                api_key_status_change change, const char *action, const char *id)
{
    op *o = op_new(a, call, request, run);
    if (!o)
        return;
    gw_error err = {0};
    gw_status rc = check_reason(change.reason, &err);
    api_key_status_change *c = gw_arena_new_of(o->arena, api_key_status_change);
    if (!c) {
        (void)gw_fail(&err, GW_ERR_NO_MEMORY, "out of memory");
        op_refuse(o, &err);
        return;
    }
    *c = change;
    c->plan.apply = api_key_status_apply;
    c->plan.now_ms = o->now_ms;
    c->reason_is_given = c->reason.len > 0;
    if (strcmp(c->status, "active") != 0 && c->reason.len == 0)
        c->reason = gw_arena_printf(o->arena, "by " GW_STR_FMT, GW_STR_ARG(o->actor_name));
    o->data = c;
    op_audit(o, action, id, request);
    start_or_refuse(o, rc, &err);
}

#define STATUS_RPC(Name, name, new_status, reason_text)                                            \
    static gw_status name##_run(op *o, const gw_db *d, gw_error *err)                              \
    {                                                                                              \
        const Apirelay__Auth__V1__##Name##ApiKeyRequest *r = (const void *)o->request;             \
        api_key_status_change *c = o->data;                                                        \
        Apirelay__Auth__V1__##Name##ApiKeyResponse *m =                                            \
            message_new(o->arena, &apirelay__auth__v1__##name##_api_key_response__descriptor);     \
        gw_status rc = answer(o, m, err);                                                          \
        return rc == GW_OK ? change(o, d, r->id, &c->plan, &m->api_key, err) : rc;                 \
    }                                                                                              \
    void api_key_##name##_rpc(gw_rpc_call *call, const ProtobufCMessage *request, void *arg)       \
    {                                                                                              \
        const Apirelay__Auth__V1__##Name##ApiKeyRequest *r = (const void *)request;                \
        start_status_change(arg, call, request, name##_run,                                        \
                            (api_key_status_change){.status = (new_status),                        \
                                                    .reason = gw_str_of(reason_text),              \
                                                    .plan.etag = gw_str_of(r->etag)},              \
                            "api_key." #name, r->id);                                              \
    }

STATUS_RPC(Revoke, revoke, "revoked", r->reason)
STATUS_RPC(Suspend, suspend, "suspended", r->reason)
STATUS_RPC(Resume, resume, "active", "")

/* ---- regenerate ---- */

typedef struct regenerate_data {
    api_key_regeneration change;
    minted_key minted;
} regenerate_data;

/*
 * The key's env and id are known once it is read, so this one hash runs on the MongoDB worker between
 * reading and writing: 30 ms, and no more at once than there are such workers.
 */
static gw_status regenerate_run(op *o, const gw_db *d, gw_error *err)
{
    const Apirelay__Auth__V1__RegenerateApiKeyRequest *r = (const void *)o->request;
    regenerate_data *g = o->data;
    api_key_record k;
    Apirelay__Auth__V1__RegenerateApiKeyResponse *m =
        message_new(o->arena, &apirelay__auth__v1__regenerate_api_key_response__descriptor);
    gw_status rc = answer(o, m, err);
    if (rc == GW_OK)
        rc = key_store_get(d, o->arena, gw_str_of(r->id), &k, err);
    if (rc == GW_OK)
        rc = key_mint(o->auth->peppers, gw_str_of(k.view->env), gw_str_of(k.view->key_id),
                      &g->minted, err);
    if (rc != GW_OK)
        return rc;
    gw_str key = gw_str_of(g->minted.text);
    if (!key_mint_secret(o->arena, o->auth->peppers, key, o->now_ms, &g->change.secret))
        return gw_fail(err, GW_ERR_INTERNAL, "the minted key does not parse");
    rc = gw_argon2id_hash(key, gw_argon2_default, o->argon2.phc, err);
    g->change.secret.phc = gw_str_of(o->argon2.phc);
    if (rc == GW_OK)
        rc = change(o, d, r->id, &g->change.plan, &m->api_key, err);
    m->key = g->minted.text;
    return rc;
}

void api_key_regenerate_rpc(gw_rpc_call *call, const ProtobufCMessage *request, void *arg)
{
    const Apirelay__Auth__V1__RegenerateApiKeyRequest *r = (const void *)request;
    op *o = op_new(arg, call, request, regenerate_run);
    if (!o)
        return;
    gw_error err = {0};
    gw_status rc = GW_OK;
    regenerate_data *g = gw_arena_new_of(o->arena, regenerate_data);
    if (!g) {
        (void)gw_fail(&err, GW_ERR_NO_MEMORY, "out of memory");
        op_refuse(o, &err);
        return;
    }
    if (r->grace_seconds_presence_case)
        g->change.grace_s = r->grace_seconds;
    if (g->change.grace_s < 0 || g->change.grace_s > API_KEY_GRACE_MAX_S)
        rc = gw_fail_field(&err, GW_ERR_INVALID_ARGUMENT, "graceSeconds", "must be 0-%d",
                           API_KEY_GRACE_MAX_S);
    g->change.plan = (key_change_plan){.apply = api_key_regenerate_apply,
                                       .etag = gw_str_of(r->etag),
                                       .writes_secrets = true,
                                       .now_ms = o->now_ms};
    o->data = g;
    op_audit(o, "api_key.regenerate", r->id, request);
    start_or_refuse(o, rc, &err);
}
