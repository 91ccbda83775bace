/* The write of a plan, once it may be made. */
#include "provider_store_internal.h"

#include "config_store.h"
#include "message_fields.h"

static gw_status write_document(provider_store *s, const entity_plan *p, gw_error *err)
{
    const config_collection *c = &entity_of(p->kind)->c;
    if (!p->before)
        return config_document_insert(s, c, p->id, p->after, err);
    const char *etag = message_text(p->before, "etag");
    return p->after ? config_document_replace(s, c, p->id, etag, p->after, err)
                    : config_document_remove(s, c, p->id, etag, err);
}

gw_status entity_write(provider_store *s, const entity_plan *p, gw_error *err)
{
    const entity *e = entity_of(p->kind);
    gw_status rc = entity_history_announce(s, p, err);
    if (rc != GW_OK)
        return rc;
    rc = write_document(s, p, err);
    if (rc == GW_ERR_ALREADY_EXISTS || rc == GW_ERR_ABORTED) /* for certain; else it may be done */
        entity_history_withdraw(s, p);
    if (rc == GW_ERR_ALREADY_EXISTS)
        return gw_fail_field(err, rc, e->c.key_field, "there is a %s \"%.100s\" already", e->c.what,
                             entity_sort_key(p->kind, p->after));
    if (rc != GW_OK)
        return rc;
    rc = config_version_raise(s, err);
    entity_history_tidy(s, p);
    return rc;
}

gw_status provider_store_ensure_indexes(mongoc_database_t *db, gw_error *err)
{
    gw_status rc = gw_mongo_ensure_indexes(
        db, ROUTES_COLLECTION, "[{\"name\":\"model\",\"key\":{\"model\":1},\"unique\":true}]", err);
    return rc == GW_OK ? entity_history_ensure_indexes(db, err) : rc;
}
