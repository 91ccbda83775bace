/* What the walk lets pass, protobuf-c unpacks without harm, and packed again it passes again. */
#include "rpc/walk.h"
#include "testing/fuzz.h"

#include "apirelay/auth/v1/api_key_service.pb-c.h"
#include "apirelay/usage/v1/ingest_service.pb-c.h"
#include "google/protobuf/descriptor.pb-c.h"
#include "google/protobuf/struct.pb-c.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const ProtobufCMessageDescriptor *const types[] = {
        &apirelay__auth__v1__update_api_key_request__descriptor,
        &apirelay__usage__v1__stream_request__descriptor,
        &google__protobuf__struct__descriptor, /* nests without end */
        &google__protobuf__file_descriptor_proto__descriptor,
    };
    for (size_t i = 0; i < GW_ARRAY_LEN(types); i++) {
        gw_error err = {0};
        if (gw_walk(types[i], gw_str_n(data, size), &err) != GW_OK) {
            fuzz_require(err.message[0]);
            continue;
        }
        ProtobufCMessage *m = protobuf_c_message_unpack(types[i], NULL, size, data);
        if (!m)
            continue;
        size_t packed_size = protobuf_c_message_get_packed_size(m);
        uint8_t *packed = malloc(packed_size + 1);
        fuzz_require(packed && protobuf_c_message_pack(m, packed) == packed_size);
        fuzz_require(gw_walk(types[i], gw_str_n(packed, packed_size), &err) == GW_OK);
        free(packed);
        protobuf_c_message_free_unpacked(m, NULL);
    }
    return 0;
}
