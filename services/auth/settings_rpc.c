#include "key_settings_store.h"
#include "messages.h"
#include "op.h"

#include <apirelay/auth/v1/settings_service.pb-c.h>

/* ---- get ---- */

static gw_status get_run(op *o, const gw_db *d, gw_error *err)
{
    key_settings s = {0};
    Apirelay__Auth__V1__GetSettingsResponse *m =
        message_new(o->arena, &apirelay__auth__v1__get_settings_response__descriptor);
    if (!m)
        return gw_fail(err, GW_ERR_NO_MEMORY, "out of memory");
    gw_status rc = key_settings_store_get(d, o->arena, &s, err);
    if (rc == GW_OK)
        m->settings = key_settings_shown(o->arena, &s);
    o->response = &m->base;
    return rc;
}

static void get_settings(gw_rpc_call *call, const ProtobufCMessage *request, void *arg)
{
    op *o = op_new(arg, call, request, get_run);
    if (o)
        op_start(o);
}

/* ---- update ---- */

static gw_status update_run(op *o, const gw_db *d, gw_error *err)
{
    key_settings_update *u = o->data;
    key_settings s = {0};
    Apirelay__Auth__V1__UpdateSettingsResponse *m =
        message_new(o->arena, &apirelay__auth__v1__update_settings_response__descriptor);
    if (!m)
        return gw_fail(err, GW_ERR_NO_MEMORY, "out of memory");
    gw_status rc = key_settings_store_change(d, o->arena, u, &s, err);
    if (rc == GW_OK)
        m->settings = key_settings_shown(o->arena, &s);
    o->response = &m->base;
    return u->violations.count ? op_check(o, &u->violations, err) : rc;
}

static void update_settings(gw_rpc_call *call, const ProtobufCMessage *request, void *arg)
{
    const Apirelay__Auth__V1__UpdateSettingsRequest *r = (const void *)request;
    static const key_settings_view nothing = APIRELAY__AUTH__V1__SETTINGS__INIT;
    op *o = op_new(arg, call, request, update_run);
    gw_error err = {0};
    if (!o)
        return;
    key_settings_update *u = gw_arena_new_of(o->arena, key_settings_update);
    if (!u) {
        (void)gw_fail(&err, GW_ERR_NO_MEMORY, "out of memory");
        op_refuse(o, &err);
        return;
    }
    u->from = r->settings ? r->settings : &nothing;
    if (r->update_mask) {
        u->paths = r->update_mask->paths;
        u->path_count = r->update_mask->n_paths;
    }
    gw_str etag = gw_str_of(r->etag), inner = gw_str_of(u->from->etag);
    u->etag = etag.len ? etag : inner;
    u->now_ms = o->now_ms;
    o->data = u;
    op_audit(o, "settings.update", "settings", request);
    if (etag.len && inner.len && !gw_str_eq(etag, inner)) {
        (void)gw_fail_field(&err, GW_ERR_INVALID_ARGUMENT, "etag", "differs from settings.etag");
        op_refuse(o, &err);
        return;
    }
    op_start(o);
}

#define PATH(method) "/apirelay.auth.v1.SettingsService/" method
const gw_rpc_handler settings_handlers[] = {
    {.path = PATH("GetSettings"), .start = get_settings},
    {.path = PATH("UpdateSettings"), .start = update_settings},
    {0},
};
