/* What the walk lets pass, protobuf-c unpacks without harm. */
#include "rpc/walk.h"

#include "apirelay/auth/v1/api_key_service.pb-c.h"
#include "apirelay/usage/v1/ingest_service.pb-c.h"
#include "google/protobuf/descriptor.pb-c.h"
#include "google/protobuf/struct.pb-c.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const ProtobufCMessageDescriptor *const types[] = {
        &apirelay__auth__v1__update_api_key_request__descriptor,
        &apirelay__usage__v1__stream_request__descriptor,
        &google__protobuf__struct__descriptor, /* nests without end */
        &google__protobuf__file_descriptor_proto__descriptor,
    };
    for (size_t i = 0; i < GW_ARRAY_LEN(types); i++) {
        if (gw_walk(types[i], gw_str_n(data, size), NULL) != GW_OK)
            continue;
        ProtobufCMessage *m = protobuf_c_message_unpack(types[i], NULL, size, data);
        if (m)
            protobuf_c_message_free_unpacked(m, NULL);
    }
    return 0;
}
