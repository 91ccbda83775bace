#include "api_key_secret_rpc.h"

#include "api_key_change.h"
#include "api_key_rules.h"
#include "core/id.h"
#include "messages.h"

#include <apirelay/auth/v1/api_key_service.pb-c.h>

typedef struct secret_kind {
    const char *place; /* that it is bound to */
    const char *field, *name; /* in errors */
} secret_kind;

static const secret_kind signing = {GW_KEY_SECRET_SIGNING, "signing", "a signing secret"};
static const secret_kind librechat = {GW_KEY_SECRET_LIBRECHAT, "key", "a LibreChat key"};

/* Into the op's arena, for the key with that ApiKey.id. */
static gw_status seal(op *o, const char *id, const secret_kind *kind, gw_str secret, gw_str *ret,
                      gw_error *err)
{
    gw_auto_buf sealed = {0};
    gw_object_id parsed;
    char hex[GW_OBJECT_ID_HEX_SIZE] = "";
    if (!o->auth->master_keys)
        return gw_fail_field(err, GW_ERR_FAILED_PRECONDITION, kind->field,
                             "%s cannot be kept: AUTH_MASTER_KEYS_FILE is not set", kind->name);
    /* As it is stored, whatever its case is here; one that is none is refused by the store. */
    if (gw_object_id_parse(gw_str_of(id), &parsed))
        gw_object_id_format(&parsed, hex);
    gw_status rc =
        gw_key_secret_seal(o->auth->master_keys, gw_str_of(hex), kind->place, secret, &sealed, err);
    if (rc != GW_OK)
        return rc;
    *ret = gw_arena_dup(o->arena, gw_buf_str(&sealed));
    return ret->len ? GW_OK : gw_fail(err, GW_ERR_NO_MEMORY, "out of memory");
}

gw_status api_key_signing_make(op *o, const char *id, char ret_secret[GW_SIGNING_SECRET_LEN + 1],
                               gw_str *ret_sealed, gw_error *err)
{
    gw_signing_secret_mint(ret_secret);
    return seal(o, id, &signing, gw_str_of(ret_secret), ret_sealed, err);
}

static void start_or_refuse(op *o, gw_status rc, const gw_error *err)
{
    if (rc == GW_OK)
        op_start(o);
    else
        op_refuse(o, err);
}

static void no_memory(op *o)
{
    gw_error err = {0};
    (void)gw_fail(&err, GW_ERR_NO_MEMORY, "out of memory");
    op_refuse(o, &err);
}

static gw_status change(op *o, const gw_db *d, const char *id, key_change_plan *plan,
                        api_key_view **ret, gw_error *err)
{
    api_key_record k;
    gw_status rc = key_store_change(d, o->arena, gw_str_of(id), plan, &k, &o->key_changed, err);
    if (rc == GW_OK)
        *ret = k.view;
    return rc;
}

/* What has nothing to check but the key's state. */
typedef struct removal {
    const char *id, *etag, *action;
    gw_status (*apply)(key_change_plan *p, gw_arena *a, api_key_record *k, bool *ret_changed,
                       gw_error *err);
    gw_status (*run)(op *o, const gw_db *d, gw_error *err);
} removal;

static void start_removal(auth *a, gw_rpc_call *call, const ProtobufCMessage *request,
                          const removal *r)
{
    op *o = op_new(a, call, request, r->run);
    if (!o)
        return;
    key_change_plan *plan = gw_arena_new_of(o->arena, key_change_plan);
    if (!plan) {
        no_memory(o);
        return;
    }
    *plan = (key_change_plan){.apply = r->apply, .etag = gw_str_of(r->etag), .now_ms = o->now_ms};
    o->data = plan;
    op_audit(o, r->action, r->id, request);
    op_start(o);
}

/* ---- RotateSigningSecret ---- */

typedef struct rotate_data {
    api_key_signing_rotation change;
    char secret[GW_SIGNING_SECRET_LEN + 1];
} rotate_data;

static gw_status rotate_run(op *o, const gw_db *d, gw_error *err)
{
    const Apirelay__Auth__V1__RotateSigningSecretRequest *r = (const void *)o->request;
    rotate_data *data = o->data;
    Apirelay__Auth__V1__RotateSigningSecretResponse *m =
        message_new(o->arena, &apirelay__auth__v1__rotate_signing_secret_response__descriptor);
    if (!m)
        return gw_fail(err, GW_ERR_NO_MEMORY, "out of memory");
    o->response = &m->base;
    m->signing_secret = data->secret;
    return change(o, d, r->id, &data->change.plan, &m->api_key, err);
}

void api_key_rotate_signing_rpc(gw_rpc_call *call, const ProtobufCMessage *request, void *arg)
{
    const Apirelay__Auth__V1__RotateSigningSecretRequest *r = (const void *)request;
    op *o = op_new(arg, call, request, rotate_run);
    if (!o)
        return;
    gw_error err = {0};
    rotate_data *data = gw_arena_new_of(o->arena, rotate_data);
    if (!data) {
        no_memory(o);
        return;
    }
    if (r->grace_seconds_presence_case)
        data->change.grace_s = r->grace_seconds;
    data->change.plan = (key_change_plan){
        .apply = api_key_signing_rotation_apply, .etag = gw_str_of(r->etag), .now_ms = o->now_ms};
    o->data = data;
    op_audit(o, "api_key.rotate_signing_secret", r->id, request);
    gw_status rc = data->change.grace_s < 0 || data->change.grace_s > API_KEY_GRACE_MAX_S
                       ? gw_fail_field(&err, GW_ERR_INVALID_ARGUMENT, "graceSeconds",
                                       "must be 0-%d", API_KEY_GRACE_MAX_S)
                       : api_key_signing_make(o, r->id, data->secret, &data->change.sealed, &err);
    start_or_refuse(o, rc, &err);
}

/* ---- RemoveSigningSecret ---- */

static gw_status remove_run(op *o, const gw_db *d, gw_error *err)
{
    const Apirelay__Auth__V1__RemoveSigningSecretRequest *r = (const void *)o->request;
    Apirelay__Auth__V1__RemoveSigningSecretResponse *m =
        message_new(o->arena, &apirelay__auth__v1__remove_signing_secret_response__descriptor);
    if (!m)
        return gw_fail(err, GW_ERR_NO_MEMORY, "out of memory");
    o->response = &m->base;
    return change(o, d, r->id, o->data, &m->api_key, err);
}

void api_key_remove_signing_rpc(gw_rpc_call *call, const ProtobufCMessage *request, void *arg)
{
    const Apirelay__Auth__V1__RemoveSigningSecretRequest *r = (const void *)request;
    start_removal(arg, call, request,
                  &(removal){.id = r->id,
                             .etag = r->etag,
                             .action = "api_key.remove_signing_secret",
                             .apply = api_key_signing_removal_apply,
                             .run = remove_run});
}

/* ---- SetLibrechatKey ---- */

static gw_status set_librechat_run(op *o, const gw_db *d, gw_error *err)
{
    const Apirelay__Auth__V1__SetLibrechatKeyRequest *r = (const void *)o->request;
    api_key_librechat_setting *s = o->data;
    Apirelay__Auth__V1__SetLibrechatKeyResponse *m =
        message_new(o->arena, &apirelay__auth__v1__set_librechat_key_response__descriptor);
    if (!m)
        return gw_fail(err, GW_ERR_NO_MEMORY, "out of memory");
    o->response = &m->base;
    return change(o, d, r->id, &s->plan, &m->api_key, err);
}

static gw_status check_librechat(op *o, const Apirelay__Auth__V1__SetLibrechatKeyRequest *r,
                                 gw_error *err)
{
    gw_violations v = {0};
    api_key_check_librechat(gw_str_of(r->origin), gw_str_of(r->key), &v);
    return op_check(o, &v, err);
}

void api_key_set_librechat_rpc(gw_rpc_call *call, const ProtobufCMessage *request, void *arg)
{
    const Apirelay__Auth__V1__SetLibrechatKeyRequest *r = (const void *)request;
    op *o = op_new(arg, call, request, set_librechat_run);
    if (!o)
        return;
    gw_error err = {0};
    api_key_librechat_setting *s = gw_arena_new_of(o->arena, api_key_librechat_setting);
    if (!s) {
        no_memory(o);
        return;
    }
    *s = (api_key_librechat_setting){
        .plan = {.apply = api_key_librechat_setting_apply,
                 .etag = gw_str_of(r->etag),
                 .now_ms = o->now_ms},
        .origin = gw_arena_dup(o->arena, gw_str_of(r->origin)),
        .key_prefix = gw_arena_dup(
            o->arena, gw_str_slice(gw_str_of(r->key), 0, API_KEY_LIBRECHAT_PREFIX_LEN))};
    o->data = s;
    Apirelay__Auth__V1__SetLibrechatKeyRequest shown = *r;
    shown.key = message_text(o->arena, s->key_prefix);
    op_audit(o, "api_key.set_librechat_key", r->id, &shown.base);
    gw_status rc = check_librechat(o, r, &err);
    if (rc == GW_OK)
        rc = seal(o, r->id, &librechat, gw_str_of(r->key), &s->sealed, &err);
    start_or_refuse(o, rc, &err);
}

/* ---- RemoveLibrechatKey ---- */

static gw_status remove_librechat_run(op *o, const gw_db *d, gw_error *err)
{
    const Apirelay__Auth__V1__RemoveLibrechatKeyRequest *r = (const void *)o->request;
    Apirelay__Auth__V1__RemoveLibrechatKeyResponse *m =
        message_new(o->arena, &apirelay__auth__v1__remove_librechat_key_response__descriptor);
    if (!m)
        return gw_fail(err, GW_ERR_NO_MEMORY, "out of memory");
    o->response = &m->base;
    return change(o, d, r->id, o->data, &m->api_key, err);
}

void api_key_remove_librechat_rpc(gw_rpc_call *call, const ProtobufCMessage *request, void *arg)
{
    const Apirelay__Auth__V1__RemoveLibrechatKeyRequest *r = (const void *)request;
    start_removal(arg, call, request,
                  &(removal){.id = r->id,
                             .etag = r->etag,
                             .action = "api_key.remove_librechat_key",
                             .apply = api_key_librechat_removal_apply,
                             .run = remove_librechat_run});
}
