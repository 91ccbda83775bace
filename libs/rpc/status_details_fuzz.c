/*
 * A peer's `grpc-status-details-bin`: whatever it holds becomes an error with texts of ours (whole
 * characters, terminated), and what we encode we decode.
 */
#include "rpc/rpc_internal.h"
#include "testing/fuzz.h"

#define YEAR_MS    (367LL * 24 * 3600 * 1000)
#define ENCODED_MS 1500

static void decode(grpc_status_code code, gw_str message, gw_str details, gw_error *ret,
                   gw_violations *further, int64_t *ret_retry_after_ms)
{
    grpc_metadata m = {.key = grpc_slice_from_static_string(RPC_DETAILS_KEY),
                       .value = grpc_slice_from_static_buffer(details.ptr, details.len)};
    grpc_metadata_array trailing = {.count = 1, .capacity = 1, .metadata = &m};

    rpc_status_decode(code, message, &trailing, ret, further, ret_retry_after_ms);
    fuzz_require(ret->code != GW_OK && strlen(ret->message) < sizeof(ret->message) &&
                 strlen(ret->field) < sizeof(ret->field));
    fuzz_require(further->count <= GW_VIOLATIONS_MAX);
    fuzz_require(*ret_retry_after_ms >= 0 && *ret_retry_after_ms <= YEAR_MS);
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
    int64_t retry_after_ms = 0;

    decode(code, gw_str_slice(bytes, 0, 100), bytes, &e, &further, &retry_after_ms);
    check_texts(&e, &further);
    rpc_status_encode(&e, &further, ENCODED_MS, &encoded);
    if (gw_buf_failed(&encoded) || !gw_str_is_utf8(gw_str_of(e.message)))
        return 0;
    decode((grpc_status_code)gw_status_describe(e.code)->rpc_code, gw_str_of(e.message),
           gw_buf_str(&encoded), &again, &further_again, &retry_after_ms);
    fuzz_require(retry_after_ms == ENCODED_MS);
    fuzz_require(again.code == e.code && strcmp(again.field, e.field) == 0);
    fuzz_require(further_again.count <= further.count); /* some may not fit a trailer */
    return 0;
}
