#include "api_key_change_rpc.h"
#include "api_key_import_rpc.h"
#include "api_key_new.h"
#include "api_key_rules.h"
#include "api_key_secret_rpc.h"
#include "core/id.h"
#include "key_mint.h"
#include "key_settings_store.h"
#include "key_store.h"
#include "messages.h"
#include "op.h"
#include "page.h"

#include <apirelay/auth/v1/api_key_service.pb-c.h>

/* ---- create ---- */

typedef struct create_data {
    api_key_record record;
    minted_key minted;
    char signing_secret[GW_SIGNING_SECRET_LEN + 1]; /* "" when none is made */
} create_data;

/* A key that has to sign is made with what it signs with. */
static gw_status make_signing_secret(op *o, create_data *c, gw_error *err)
{
    if (!c->record.view->signing->required)
        return GW_OK;
    return api_key_signing_make(o, c->record.view->id, c->signing_secret, &c->record.signing_sealed,
                                err);
}

static gw_status create_plan(op *o, const api_key_view *wanted, create_data *c, gw_error *err)
{
    gw_violations v = {0};
    api_key_view *view = message_new(o->arena, &apirelay__auth__v1__api_key__descriptor);
    if (!view)
        return gw_fail(err, GW_ERR_NO_MEMORY, "out of memory");
    gw_status rc = api_key_new_read(o->arena, wanted, o->now_ms, true, view, &v, err);
    if (rc == GW_OK)
        rc = op_check(o, &v, err);
    if (rc == GW_OK)
        rc = key_mint(o->auth->peppers, gw_str_of(view->env), GW_STR(""), &c->minted, err);
    if (rc != GW_OK)
        return rc;
    gw_object_id id;
    char hex[GW_OBJECT_ID_HEX_SIZE];
    gw_object_id_make(&id, o->now_ms);
    gw_object_id_format(&id, hex);
    view->id = message_text(o->arena, gw_str_of(hex));
    view->key_id = message_text(o->arena, gw_str_of(c->minted.key_id));
    view->created_at = view->updated_at = message_time(o->arena, o->now_ms);
    c->record = (api_key_record){.view = view, .version = 1};
    if (!key_mint_secret(o->arena, o->auth->peppers, gw_str_of(c->minted.text), o->now_ms,
                         &c->record.current))
        return gw_fail(err, GW_ERR_INTERNAL, "the minted key does not parse");
    return make_signing_secret(o, c, err);
}

static gw_status create_run(op *o, const gw_db *d, gw_error *err)
{
    create_data *c = o->data;
    c->record.current.phc = gw_str_of(o->argon2.phc);
    key_settings settings;
    gw_status rc = key_settings_store_get(d, o->arena, &settings, err);
    if (rc == GW_OK)
        rc = api_key_new_complete(o->arena, &settings, c->record.view, err);
    if (rc == GW_OK)
        rc = key_store_insert(d, &c->record, o->now_ms, err);
    if (rc != GW_OK)
        return rc;
    api_key_refresh_view(o->arena, &c->record, o->now_ms);
    Apirelay__Auth__V1__CreateApiKeyResponse *m =
        message_new(o->arena, &apirelay__auth__v1__create_api_key_response__descriptor);
    if (!m)
        return gw_fail(err, GW_ERR_NO_MEMORY, "out of memory");
    m->api_key = c->record.view;
    m->key = c->minted.text;
    m->signing_secret = c->signing_secret;
    o->response = &m->base;
    o->key_changed = true;
    return GW_OK;
}

static void create_api_key(gw_rpc_call *call, const ProtobufCMessage *request, void *arg)
{
    const Apirelay__Auth__V1__CreateApiKeyRequest *r = (const void *)request;
    op *o = op_new(arg, call, request, create_run);
    if (!o)
        return;
    gw_error err = {0};
    static const api_key_view nothing = APIRELAY__AUTH__V1__API_KEY__INIT;
    create_data *c = gw_arena_new_of(o->arena, create_data);
    gw_status rc = c ? create_plan(o, r->api_key ? r->api_key : &nothing, c, &err)
                     : gw_fail(&err, GW_ERR_NO_MEMORY, "out of memory");
    if (rc != GW_OK) {
        op_refuse(o, &err);
        return;
    }
    o->data = c;
    op_audit(o, "api_key.create", c->record.view->id, &c->record.view->base);
    op_start_hashed(o, gw_str_of(c->minted.text));
}

/* ---- get and list ---- */

static gw_status get_run(op *o, const gw_db *d, gw_error *err)
{
    const Apirelay__Auth__V1__GetApiKeyRequest *r = (const void *)o->request;
    api_key_record k;
    gw_status rc = key_store_get(d, o->arena, gw_str_of(r->id), &k, err);
    if (rc != GW_OK)
        return rc;
    api_key_refresh_view(o->arena, &k, o->now_ms);
    key_settings_store_show(d, o->arena, &k, 1, o->now_ms);
    Apirelay__Auth__V1__GetApiKeyResponse *m =
        message_new(o->arena, &apirelay__auth__v1__get_api_key_response__descriptor);
    if (!m)
        return gw_fail(err, GW_ERR_NO_MEMORY, "out of memory");
    m->api_key = k.view;
    o->response = &m->base;
    return GW_OK;
}

static void get_api_key(gw_rpc_call *call, const ProtobufCMessage *request, void *arg)
{
    op *o = op_new(arg, call, request, get_run);
    if (o)
        op_start(o);
}

typedef struct list_data {
    key_filter filter;
    gw_str filters; /* canonical, for the cursor */
} list_data;

static gw_status list_plan(op *o, list_data *l, gw_error *err)
{
    const Apirelay__Auth__V1__ListApiKeysRequest *r = (const void *)o->request;
    gw_auto_buf text = {0};
    gw_violations v = {0};
    static const char *const statuses[] = {"", "active", "suspended", "revoked"};
    bool known = false;
    for (size_t i = 0; i < GW_ARRAY_LEN(statuses); i++)
        known |= strcmp(r->status, statuses[i]) == 0;
    if (!known)
        gw_violations_add(&v, "status", "must be one of active|suspended|revoked");
    if (*r->user_id && !api_key_id_is_valid(gw_str_of(r->user_id)))
        gw_violations_add(&v, "userId", "must be 24 hex digits");
    if (strlen(r->q) > 200)
        gw_violations_add(&v, "q", "must be at most 200 bytes");
    gw_status rc = op_check(o, &v, err);
    if (rc == GW_OK)
        rc = page_size(r->page_size, &l->filter.limit, err);
    if (rc != GW_OK)
        return rc;
    gw_buf_append_c(&text, "api_keys;");
    page_filter(&text, "status", r->status);
    page_filter(&text, "clientId", r->client_id);
    page_filter(&text, "userId", r->user_id);
    page_filter(&text, "q", r->q);
    l->filters = gw_arena_dup(o->arena, gw_buf_str(&text));
    l->filter.status = gw_str_of(r->status);
    l->filter.client_id = gw_str_of(r->client_id);
    l->filter.user_id = gw_str_of(r->user_id);
    l->filter.q = gw_str_of(r->q);
    return page_position(o->arena, o->auth->peppers, l->filters, r->cursor, &l->filter.after_id,
                         err);
}

static gw_status list_run(op *o, const gw_db *d, gw_error *err)
{
    list_data *l = o->data;
    size_t limit = (size_t)l->filter.limit, count = 0;
    Apirelay__Auth__V1__ListApiKeysResponse *m =
        message_new(o->arena, &apirelay__auth__v1__list_api_keys_response__descriptor);
    api_key_record *keys = gw_arena_array(o->arena, api_key_record, limit + 1);
    api_key_view **views = gw_arena_array(o->arena, api_key_view *, limit + 1);
    if (!m || !keys || !views)
        return gw_fail(err, GW_ERR_NO_MEMORY, "out of memory");
    l->filter.limit++; /* one more tells whether a page follows */
    gw_status rc = key_store_list(d, o->arena, &l->filter, keys, &count, err);
    if (rc != GW_OK)
        return rc;
    size_t found = GW_MIN(count, limit);
    for (size_t i = 0; i < found; i++) {
        api_key_refresh_view(o->arena, &keys[i], o->now_ms);
        views[i] = keys[i].view;
    }
    key_settings_store_show(d, o->arena, keys, found, o->now_ms);
    m->n_api_keys = gw_rpc_page_fit((ProtobufCMessage **)(void *)views, found);
    m->api_keys = views;
    if (m->n_api_keys < count)
        m->next_cursor = page_cursor(o->arena, o->auth->peppers, l->filters,
                                     gw_str_of(views[m->n_api_keys - 1]->id));
    o->response = &m->base;
    return GW_OK;
}

static void list_api_keys(gw_rpc_call *call, const ProtobufCMessage *request, void *arg)
{
    op *o = op_new(arg, call, request, list_run);
    if (!o)
        return;
    gw_error err = {0};
    list_data *l = gw_arena_new_of(o->arena, list_data);
    o->data = l;
    gw_status rc = l ? list_plan(o, l, &err) : gw_fail(&err, GW_ERR_NO_MEMORY, "out of memory");
    if (rc != GW_OK)
        op_refuse(o, &err);
    else
        op_start(o);
}

#define PATH(method) "/apirelay.auth.v1.ApiKeyService/" method
const gw_rpc_handler api_key_handlers[] = {
    {.path = PATH("CreateApiKey"), .start = create_api_key},
    {.path = PATH("ImportApiKeys"),
     .start = api_key_import_begin,
     .message = api_key_import_take,
     .half_closed = api_key_import_make,
     .cancelled = api_key_import_cancelled,
     .max_message_bytes = API_KEY_IMPORT_MESSAGE_MAX},
    {.path = PATH("GetApiKey"), .start = get_api_key},
    {.path = PATH("ListApiKeys"), .start = list_api_keys},
    {.path = PATH("UpdateApiKey"), .start = api_key_update_rpc},
    {.path = PATH("RevokeApiKey"), .start = api_key_revoke_rpc},
    {.path = PATH("RegenerateApiKey"), .start = api_key_regenerate_rpc},
    {.path = PATH("RotateSigningSecret"), .start = api_key_rotate_signing_rpc},
    {.path = PATH("RemoveSigningSecret"), .start = api_key_remove_signing_rpc},
    {.path = PATH("SetLibrechatKey"), .start = api_key_set_librechat_rpc},
    {.path = PATH("RemoveLibrechatKey"), .start = api_key_remove_librechat_rpc},
    {.path = PATH("SuspendApiKey"), .start = api_key_suspend_rpc},
    {.path = PATH("ResumeApiKey"), .start = api_key_resume_rpc},
    {0},
};
