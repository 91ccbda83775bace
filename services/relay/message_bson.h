/*
 * Messages as MongoDB documents: the members of their proto3 JSON. For collections that only we read.
 *
 * Thread: pure.
 */
#pragma once

#include "core/status.h"

#include <bson/bson.h>
#include <protobuf-c/protobuf-c.h>

/* Freed with bson_destroy(). */
GW_CHECK gw_status message_to_bson(const ProtobufCMessage *m, bson_t **ret, gw_error *err);
/* `_id` is left out. Freed with protobuf_c_message_free_unpacked(). GW_ERR_DATA_LOSS when the document does not fit the message. */
GW_CHECK gw_status message_from_bson(const ProtobufCMessageDescriptor *d, const bson_t *document,
                                     ProtobufCMessage **ret, gw_error *err);
