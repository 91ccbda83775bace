/*
 * Bodies of PUT and PATCH with `?updateMask=`: the input's first line is the query parameter, the rest the body. Each path of
 * a mask is a field of the message and none is the etag; narrowed it names nothing that the body does not.
 */
#include "update_mask.h"

#include "apirelay/auth/v1/api_key_service.pb-c.h"
#include "testing/fuzz.h"

static const ProtobufCMessageDescriptor *const type = &apirelay__auth__v1__api_key__descriptor;

static bool is_in(gw_str path, gw_str mask)
{
    gw_str one;

    while (gw_str_split(&mask, ',', &one)) {
        bool above =
            gw_str_starts_with(path, one) && (path.len == one.len || path.ptr[one.len] == '.');
        if (above)
            return true;
    }
    return false;
}

static void check_mask(gw_str mask)
{
    gw_str rest = mask;
    gw_str path;

    fuzz_require(mask.len > 0);
    while (gw_str_split(&rest, ',', &path)) {
        Apirelay__Auth__V1__ApiKey *root = calloc(1, sizeof(*root));
        ProtobufCMessage *owner;
        const ProtobufCFieldDescriptor *field;
        fuzz_require(root != NULL);
        apirelay__auth__v1__api_key__init(root);
        fuzz_require(!gw_str_eq_c(path, "etag"));
        fuzz_require(gw_json_field_by_path(&root->base, path, &owner, &field, NULL) == GW_OK);
        apirelay__auth__v1__api_key__free_unpacked(root, NULL);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    gw_str body = gw_str_n(data, size);
    gw_str narrow = GW_STR_NULL;
    gw_auto(gw_arena) a = gw_arena_new();
    ProtobufCMessage *m = NULL;
    gw_str mask;
    gw_str narrowed;
    gw_error err = {0};

    fuzz_require(a != NULL);
    if (gw_str_find(body, '\n') >= 0)
        (void)gw_str_split(&body, '\n', &narrow);
    if (gw_json_read(type, body, &m, NULL, &err) != GW_OK)
        return 0; /* refused before its mask is asked for */
    protobuf_c_message_free_unpacked(m, NULL);
    if (update_mask_make(type, body, GW_STR_NULL, a, &mask, &err) != GW_OK) {
        fuzz_require(err.code == GW_ERR_INVALID_ARGUMENT && err.message[0]);
        return 0;
    }
    check_mask(mask);
    if (!narrow.ptr)
        return 0;
    if (update_mask_make(type, body, narrow, a, &narrowed, &err) != GW_OK) {
        fuzz_require(err.code == GW_ERR_INVALID_ARGUMENT && err.message[0]);
        return 0;
    }
    gw_str path;
    gw_str rest = narrowed;
    while (gw_str_split(&rest, ',', &path))
        fuzz_require(is_in(path, mask));
    return 0;
}
