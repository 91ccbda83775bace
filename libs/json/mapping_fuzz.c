/*
 * Fuzz target of the JSON mapping. What is read must be writable, read
 * back the same, and survive the wire.
 */
#include "testing/fuzz.h"
#include "json/json_internal.h"

#include <apirelay/auth/v1/api_key_service.pb-c.h>
#include <apirelay/usage/v1/ingest_service.pb-c.h>
#include <apirelay/usage/v1/usage.pb-c.h>
#include <google/protobuf/descriptor.pb-c.h>
#include <google/protobuf/duration.pb-c.h>
#include <google/protobuf/struct.pb-c.h>
#include <stdlib.h>

static void check(const ProtobufCMessageDescriptor *d, gw_str text)
{
    gw_auto_message m = NULL;
    gw_auto_message again = NULL;
    gw_auto_message unpacked = NULL;
    gw_auto_buf first = {0};
    gw_auto_buf second = {0};
    gw_json_violations v;
    gw_error err = {0};

    gw_status rc = gw_json_read(d, text, &m, &v, &err);
    if (rc != GW_OK) {
        fuzz_require(m == NULL && err.code == rc && err.message[0] != '\0');
        return;
    }
    fuzz_require(gw_json_write(m, &first, &err) == GW_OK);
    fuzz_require(gw_json_read(d, gw_buf_str(&first), &again, NULL, &err) == GW_OK);
    fuzz_require(gw_json_write(again, &second, &err) == GW_OK);
    fuzz_require(gw_str_eq(gw_buf_str(&first), gw_buf_str(&second)));

    size_t packed_size = protobuf_c_message_get_packed_size(m);
    uint8_t *packed = (uint8_t *)malloc(packed_size + 1);
    fuzz_require(packed != NULL && protobuf_c_message_pack(m, packed) == packed_size);
    unpacked = protobuf_c_message_unpack(d, NULL, packed_size, packed);
    free(packed);
    fuzz_require(unpacked != NULL);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const ProtobufCMessageDescriptor *const messages[] = {
        &apirelay__auth__v1__update_api_key_request__descriptor,
        &apirelay__usage__v1__usage_request__descriptor,
        &apirelay__usage__v1__stream_response__descriptor,
        &apirelay__usage__v1__live_counter__descriptor,
        &google__protobuf__descriptor_proto__descriptor,
        &google__protobuf__duration__descriptor,
        &google__protobuf__value__descriptor,
    };
    for (size_t i = 0; i < GW_ARRAY_LEN(messages); i++)
        check(messages[i], gw_str_n(data, size));
    return 0;
}
