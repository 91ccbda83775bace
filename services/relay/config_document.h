/*
 * Config document: what providers, routes and price books have in common in MongoDB. Each is a message's JSON under an _id, changes
 * under its etag as a condition, and is followed by a raise of the version document, so that every relay reads again.
 *
 * Messages returned live in the store's arena. Thread: on a worker, inside a gw_mongo_job.
 */
#pragma once

#include "provider_store.h"

typedef struct config_collection {
    const char *what; /* one of them, for messages */
    const char *name;
    const ProtobufCMessageDescriptor *descriptor;
    const char *key_field; /* unique, sorted by */
} config_collection;

gw_status config_no_memory(gw_error *err);

/* The message of a document just read. */
GW_CHECK gw_status config_document_keep(provider_store *s, const config_collection *c,
                                        const bson_t *doc, ProtobufCMessage **ret, gw_error *err);
/* *ret stays as it is when there is none. */
GW_CHECK gw_status config_document_find(provider_store *s, const config_collection *c,
                                        const char *id, ProtobufCMessage **ret, gw_error *err);
/* GW_ERR_ALREADY_EXISTS when the _id or the key is taken. */
GW_CHECK gw_status config_document_insert(provider_store *s, const config_collection *c,
                                          const char *id, const ProtobufCMessage *m, gw_error *err);
/* GW_ERR_ABORTED when the document no longer has this etag, GW_ERR_ALREADY_EXISTS when the key is taken. */
GW_CHECK gw_status config_document_replace(provider_store *s, const config_collection *c,
                                           const char *id, const char *etag,
                                           const ProtobufCMessage *m, gw_error *err);
/* GW_ERR_ABORTED when the document no longer has this etag. */
GW_CHECK gw_status config_document_remove(provider_store *s, const config_collection *c,
                                          const char *id, const char *etag, gw_error *err);
GW_CHECK gw_status config_version_raise(provider_store *s, gw_error *err);

/* Sets what every write sets: a new etag, the source, the time, who. False when out of memory. */
bool config_document_stamp(provider_store *s, ProtobufCMessage *m);
Google__Protobuf__Timestamp *config_timestamp(provider_store *s); /* now; NULL when out of memory */
