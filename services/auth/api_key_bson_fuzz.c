/*
 * Documents of api_keys as anything with access to the database may leave them: one that is read is
 * sound on the wire, gives the same document again when written, and takes any update mask.
 */
#include "api_key_bson.h"
#include "api_key_mask.h"

#include "rpc/walk.h"
#include "testing/fuzz.h"

static gw_str pack(const api_key_view *view, gw_buf *out)
{
    size_t size = protobuf_c_message_get_packed_size(&view->base);
    fuzz_require(gw_buf_reserve(out, size + 1));
    out->len = protobuf_c_message_pack(&view->base, (uint8_t *)out->data);
    fuzz_require(out->len == size);
    return gw_buf_str(out);
}

/* Stored numbers of another type become ours: the second document is the first one that must stand. */
static void check_written(gw_arena *a, const api_key_record *k)
{
    bson_t doc = BSON_INITIALIZER;
    bson_t again = BSON_INITIALIZER;
    api_key_record back;
    gw_error err = {0};

    api_key_to_bson(k, API_KEY_WHOLE, &doc);
    fuzz_require(api_key_from_bson(a, &doc, &back, &err) == GW_OK);
    api_key_to_bson(&back, API_KEY_WHOLE, &again);
    fuzz_require(bson_equal(&doc, &again));
    bson_destroy(&doc);
    bson_destroy(&again);
}

/* The key's own texts as paths of a mask. */
static void check_mask(gw_arena *a, const api_key_record *k)
{
    gw_violations v = {0};
    api_key_view to = *k->view;
    gw_auto_buf wire = {0};

    api_key_apply(a, &to, k->view, k->view->permissions->models, k->view->permissions->n_models,
                  API_KEY_UPDATE, &v);
    fuzz_require(v.count <= GW_VIOLATIONS_MAX);
    fuzz_require(gw_walk(&apirelay__auth__v1__api_key__descriptor, pack(&to, &wire), NULL) ==
                 GW_OK);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    gw_auto(gw_arena) a = gw_arena_new();
    api_key_record k = {0};
    gw_auto_buf wire = {0};
    gw_error err = {0};
    bson_t doc;

    fuzz_require(a != NULL);
    if (!bson_init_static(&doc, data, size))
        return 0;
    gw_status rc = api_key_from_bson(a, &doc, &k, &err);
    if (rc != GW_OK) {
        fuzz_require(rc == GW_ERR_DATA_LOSS && err.message[0] && k.view == NULL);
        return 0;
    }
    fuzz_require(k.previous_count <= API_KEY_PREVIOUS_MAX && k.view->permissions &&
                 k.view->limits && k.view->security);
    fuzz_require(gw_walk(&apirelay__auth__v1__api_key__descriptor, pack(k.view, &wire), &err) ==
                 GW_OK);
    for (size_t i = 0; i < k.previous_count; i++)
        (void)api_key_secret_end_ms(&k, &k.previous[i]);
    (void)api_key_secret_end_ms(&k, &k.current);
    api_key_refresh_view(a, &k, 1700000000000);
    check_written(a, &k);
    check_mask(a, &k);
    return 0;
}
