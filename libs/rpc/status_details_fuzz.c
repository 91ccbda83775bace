/*
 * A peer's `grpc-status-details-bin`: whatever it holds becomes an error with texts of ours (whole
 * characters, terminated), and what we encode we decode.
 */
#include "rpc/rpc_internal.h"
#include "testing/fuzz.h"

static void decode(grpc_status_code code, gw_str message, gw_str details, gw_error *ret,
                   gw_violations *further)
{
    grpc_metadata m = {.key = grpc_slice_from_static_string(RPC_DETAILS_KEY),
                       .value = grpc_slice_from_static_buffer(details.ptr, details.len)};
    grpc_metadata_array trailing = {.count = 1, .capacity = 1, .metadata = &m};

    rpc_status_decode(code, message, &trailing, ret, further);
    fuzz_require(ret->code != GW_OK && strlen(ret->message) < sizeof(ret->message) &&
                 strlen(ret->field) < sizeof(ret->field));
    fuzz_require(further->count <= GW_VIOLATIONS_MAX);
}

static void check_texts(const gw_error *e, const gw_violations *further)
{
    fuzz_require(gw_str_is_utf8(gw_str_of(e->field)));
    for (size_t i = 0; i < further->count; i++) {
        fuzz_require(gw_str_is_utf8(gw_str_of(further->items[i].field)));
        fuzz_require(gw_str_is_utf8(gw_str_of(further->items[i].description)));
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    gw_str bytes = gw_str_n(data, size);
    grpc_status_code code = size ? (grpc_status_code)(data[0] % 17) : GRPC_STATUS_OK;
    gw_error e = {0};
    gw_error again = {0};
    gw_violations further = {0};
    gw_violations further_again = {0};
    gw_auto_buf encoded = {0};

    decode(code, gw_str_slice(bytes, 0, 100), bytes, &e, &further);
    check_texts(&e, &further);
    rpc_status_encode(&e, &further, 1500, &encoded);
    if (gw_buf_failed(&encoded) || !gw_str_is_utf8(gw_str_of(e.message)))
        return 0;
    decode((grpc_status_code)gw_status_describe(e.code)->rpc_code, gw_str_of(e.message),
           gw_buf_str(&encoded), &again, &further_again);
    fuzz_require(again.code == e.code && strcmp(again.field, e.field) == 0);
    fuzz_require(further_again.count <= further.count); /* some may not fit a trailer */
    return 0;
}
