/* Documents of providers, routes and price books: what is read is sound on the wire, and is written and read the same. */
#include "message_bson.h"

#include "rpc/walk.h"
#include "testing/fuzz.h"

#include "apirelay/relay/v1/config_file.pb-c.h"

static void check_sound(const ProtobufCMessage *m)
{
    gw_auto_buf wire = {0};
    size_t size = protobuf_c_message_get_packed_size(m);

    fuzz_require(gw_buf_reserve(&wire, size + 1));
    wire.len = protobuf_c_message_pack(m, (uint8_t *)wire.data);
    fuzz_require(wire.len == size && gw_walk(m->descriptor, gw_buf_str(&wire), NULL) == GW_OK);
}

static void check(const ProtobufCMessageDescriptor *d, const bson_t *document)
{
    ProtobufCMessage *m = NULL;
    ProtobufCMessage *again = NULL;
    bson_t *written = NULL;
    gw_error err = {0};

    gw_status rc = message_from_bson(d, document, &m, &err);
    if (rc != GW_OK) {
        fuzz_require(m == NULL && rc == GW_ERR_DATA_LOSS && err.message[0]);
        return;
    }
    check_sound(m);
    fuzz_require(message_to_bson(m, &written, &err) == GW_OK);
    fuzz_require(message_from_bson(d, written, &again, &err) == GW_OK);
    check_sound(again);
    bson_destroy(written);
    protobuf_c_message_free_unpacked(m, NULL);
    protobuf_c_message_free_unpacked(again, NULL);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    bson_t document;

    if (!bson_init_static(&document, data, size))
        return 0;
    check(&apirelay__relay__v1__provider__descriptor, &document);
    check(&apirelay__relay__v1__model_route__descriptor, &document);
    check(&apirelay__relay__v1__price_book__descriptor, &document);
    return 0;
}
