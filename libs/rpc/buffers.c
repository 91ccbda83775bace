#include "rpc/rpc_internal.h"
#include "rpc/walk.h"

#include <grpc/byte_buffer_reader.h>
#include <stdlib.h>

grpc_byte_buffer *rpc_pack(const ProtobufCMessage *m)
{
    grpc_slice slice = grpc_slice_malloc(protobuf_c_message_get_packed_size(m));
    protobuf_c_message_pack(m, GRPC_SLICE_START_PTR(slice));
    grpc_byte_buffer *b = grpc_raw_byte_buffer_create(&slice, 1);
    grpc_slice_unref(slice);
    return b;
}

/* What a message holds beyond its bytes, about. */
#define SEND_OVERHEAD 256

static size_t held_bytes(grpc_byte_buffer *b)
{
    return grpc_byte_buffer_length(b) + SEND_OVERHEAD;
}

bool rpc_sends_push(gw_list *sends, const ProtobufCMessage *m, size_t *bytes)
{
    rpc_send *s = calloc(1, sizeof *s);
    grpc_byte_buffer *b = s ? rpc_pack(m) : NULL;
    if (!b) {
        free(s);
        return false;
    }
    s->buffer = b;
    *bytes += held_bytes(b);
    gw_list_push_back(sends, &s->node);
    return true;
}

grpc_byte_buffer *rpc_sends_pop(gw_list *sends, size_t *bytes)
{
    gw_list *node = gw_list_pop_front(sends);
    if (!node)
        return NULL;
    rpc_send *s = GW_CONTAINER_OF(node, rpc_send, node);
    grpc_byte_buffer *b = s->buffer;
    *bytes -= held_bytes(b);
    free(s);
    return b;
}

void rpc_sends_drop(gw_list *sends, size_t *bytes)
{
    for (grpc_byte_buffer *b; (b = rpc_sends_pop(sends, bytes)) != NULL;)
        grpc_byte_buffer_destroy(b);
}

static void *arena_alloc(void *arena, size_t size)
{
    return gw_arena_alloc(arena, size);
}

static void arena_keep(void *arena, void *p)
{
    (void)arena;
    (void)p;
}

static gw_status unpack_bytes(const ProtobufCMessageDescriptor *d, gw_str bytes, gw_arena *arena,
                              ProtobufCMessage **ret, gw_error *err)
{
    gw_status rc = gw_walk(d, bytes, err);
    if (rc != GW_OK)
        return rc;
    ProtobufCAllocator allocator = {
        .alloc = arena_alloc, .free = arena_keep, .allocator_data = arena};
    ProtobufCMessage *m =
        protobuf_c_message_unpack(d, &allocator, bytes.len, (const uint8_t *)bytes.ptr);
    if (!m)
        return gw_fail(err, GW_ERR_INVALID_ARGUMENT, "malformed message");
    *ret = m;
    return GW_OK;
}

gw_status rpc_unpack(const ProtobufCMessageDescriptor *d, grpc_byte_buffer *b, size_t max_bytes,
                     gw_arena *arena, ProtobufCMessage **ret, gw_error *err)
{
    size_t len = grpc_byte_buffer_length(b);
    if (len > max_bytes)
        return gw_fail(err, GW_ERR_BODY_TOO_LARGE, "message of %zu bytes, at most %zu are taken",
                       len, max_bytes);
    grpc_byte_buffer_reader reader;
    /* Compression is off on both sides: a small message could otherwise become gigabytes. */
    if (b->data.raw.compression != GRPC_COMPRESS_NONE || !grpc_byte_buffer_reader_init(&reader, b))
        return gw_fail(err, GW_ERR_UNIMPLEMENTED, "compressed messages are not taken");
    grpc_slice *first = NULL;
    gw_status rc;
    if (b->data.raw.slice_buffer.count == 1 && grpc_byte_buffer_reader_peek(&reader, &first)) {
        rc = unpack_bytes(d, rpc_slice_view(first), arena, ret, err);
    } else {
        grpc_slice all = grpc_byte_buffer_reader_readall(&reader);
        rc = unpack_bytes(d, rpc_slice_view(&all), arena, ret, err);
        grpc_slice_unref(all);
    }
    grpc_byte_buffer_reader_destroy(&reader);
    return rc;
}
