/*
 * What provider_store.c (changes) and provider_store_read.c (get, list, the settings file's entries) share.
 */
#pragma once

#include "config_document.h"
#include "entity_history.h"

typedef struct entity {
    config_collection c;
    const char *id_field; /* holds _id */
    const char *fixed[2]; /* fields that never change */
    gw_status (*check)(const ProtobufCMessage *m, gw_violations *v, gw_error *err);
} entity;

const entity *entity_of(entity_kind kind);

/* The settings file's entry of that name or pattern; NULL: none. */
const ProtobufCMessage *entity_in_file(const provider_store *s, entity_kind kind, const char *key);

/*
 * GW_ERR_FAILED_PRECONDITION when a route names this provider. One of the settings file of the same name takes the place of what is
 * deleted: then nobody misses it.
 */
GW_CHECK gw_status provider_refuse_if_used(provider_store *s, const char *name, gw_error *err);
/* GW_ERR_INVALID_ARGUMENT when a target's provider is neither stored nor the settings file's. */
GW_CHECK gw_status route_refuse_if_astray(provider_store *s, const route_message *r, gw_error *err);

static inline gw_status entity_not_found(const entity *e, const char *id, gw_error *err)
{
    return gw_fail(err, GW_ERR_NOT_FOUND, "there is no %s \"%.100s\"", e->c.what, id);
}
