#include "api_key_import_rpc.h"

#include "key_import.h"
#include "messages.h"
#include "op.h"

#include <apirelay/auth/v1/api_key_service.pb-c.h>

#define KEYS_MAX  1000
#define BYTES_MAX (4UL << 20)

typedef struct import_call {
    api_key_record records[KEYS_MAX];
    minted_key minted[KEYS_MAX];
    size_t count, bytes;
    size_t hashed;
    bool taking; /* messages may still come */
} import_call;

typedef Apirelay__Auth__V1__ImportApiKeysResponse import_response;

/* `with_keys` false: for the audit log, which has no secrets. */
static import_response *response_of(gw_arena *a, const import_call *c, bool with_keys)
{
    import_response *r = message_new(a, &apirelay__auth__v1__import_api_keys_response__descriptor);
    Apirelay__Auth__V1__ImportedApiKey *keys =
        gw_arena_array(a, Apirelay__Auth__V1__ImportedApiKey, c->count);
    if (!r || !keys)
        return NULL;
    r->api_keys = gw_arena_array(a, Apirelay__Auth__V1__ImportedApiKey *, c->count);
    for (size_t i = 0; r->api_keys && i < c->count; i++) {
        apirelay__auth__v1__imported_api_key__init(&keys[i]);
        keys[i].id = c->records[i].view->id;
        keys[i].key_id = c->records[i].view->key_id;
        if (with_keys)
            keys[i].key = (char *)(uintptr_t)c->minted[i].text;
        r->api_keys[r->n_api_keys++] = &keys[i];
    }
    return r->api_keys ? r : NULL;
}

static gw_status store(op *o, const gw_db *d, gw_error *err)
{
    import_call *c = o->data;
    gw_status rc = key_import_store(d, o->arena, c->records, c->count, o->now_ms, err);
    if (rc != GW_OK)
        return rc;
    import_response *r = response_of(o->arena, c, true);
    if (!r)
        return gw_fail(err, GW_ERR_NO_MEMORY, "out of memory");
    o->response = &r->base;
    o->key_changed = true;
    return GW_OK;
}

void api_key_import_begin(gw_rpc_call *call, const ProtobufCMessage *request, void *arg)
{
    (void)request; /* they come one by one */
    op *o = op_new(arg, call, NULL, store);
    if (!o)
        return;
    import_call *c = gw_arena_new_of(o->arena, import_call);
    if (!c) {
        gw_error err;
        (void)gw_fail(&err, GW_ERR_NO_MEMORY, "out of memory");
        op_refuse(o, &err);
        return;
    }
    c->taking = true;
    o->data = c;
    gw_rpc_call_set_data(call, o);
}

static gw_status take(op *o, const Apirelay__Auth__V1__ImportApiKeysRequest *r, gw_error *err)
{
    static const api_key_view nothing = APIRELAY__AUTH__V1__API_KEY__INIT;
    import_call *c = o->data;
    c->bytes += protobuf_c_message_get_packed_size(&r->base);
    if (c->count == KEYS_MAX)
        return gw_fail(err, GW_ERR_INVALID_ARGUMENT, "more than %d keys", KEYS_MAX);
    if (c->bytes > BYTES_MAX)
        return gw_fail(err, GW_ERR_BODY_TOO_LARGE, "more than %lu bytes of keys", BYTES_MAX);
    gw_status rc = key_import_read(o->arena, o->auth->peppers, r->api_key ? r->api_key : &nothing,
                                   gw_str_of(r->key), o->now_ms, &c->records[c->count],
                                   &c->minted[c->count], err);
    if (rc == GW_OK)
        c->count++;
    else
        (void)gw_error_prefix(err, "key %zu, nothing was made", c->count + 1);
    return rc;
}

void api_key_import_take(gw_rpc_call *call, const ProtobufCMessage *request, void *arg)
{
    (void)arg;
    op *o = gw_rpc_call_data(call);
    gw_error err = {0};
    if (take(o, (const void *)request, &err) != GW_OK)
        op_refuse(o, &err);
}

/* One at a time: the pool is there for sign-ins too. */
static void hash_next(op *o);

static void hashed(argon2_task *t, gw_status rc, const gw_error *err)
{
    op *o = GW_CONTAINER_OF(t, op, argon2);
    import_call *c = o->data;
    gw_error gone;
    if (rc != GW_OK) {
        op_refuse(o, err);
    } else if (gw_rpc_call_is_cancelled(o->call)) {
        (void)gw_fail(&gone, GW_ERR_CANCELLED, "the caller left before the keys were made");
        op_refuse(o, &gone);
    } else {
        c->records[c->hashed++].current.phc = gw_arena_dup(o->arena, gw_str_of(t->phc));
        hash_next(o);
    }
}

static void hash_next(op *o)
{
    import_call *c = o->data;
    if (c->hashed == c->count) {
        op_start(o);
        return;
    }
    o->argon2.secret = gw_str_of(c->minted[c->hashed].text);
    o->argon2.done = hashed;
    argon2_pool_run(o->auth->argon2, &o->argon2);
}

void api_key_import_make(gw_rpc_call *call, void *arg)
{
    (void)arg;
    op *o = gw_rpc_call_data(call);
    import_call *c = o->data;
    gw_error err;
    c->taking = false;
    if (c->count == 0) {
        (void)gw_fail(&err, GW_ERR_INVALID_ARGUMENT, "no keys");
        op_refuse(o, &err);
        return;
    }
    import_response *listed = response_of(o->arena, c, false);
    if (!listed) {
        (void)gw_fail(&err, GW_ERR_NO_MEMORY, "out of memory");
        op_refuse(o, &err);
        return;
    }
    op_audit(o, "api_key.import", "", &listed->base);
    hash_next(o);
}

/* What has begun sees it for itself. */
void api_key_import_cancelled(gw_rpc_call *call, void *arg)
{
    (void)arg;
    op *o = gw_rpc_call_data(call);
    const import_call *c = o->data;
    gw_error err;
    if (!c->taking)
        return;
    (void)gw_fail(&err, GW_ERR_CANCELLED, "the caller left");
    op_refuse(o, &err);
}
