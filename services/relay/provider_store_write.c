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

/*
 * A route may be made while the provider that it names is deleted, each while the other still allowed it. So both are looked at
 * again after the write, and who finds that it does not fit takes the write back: at worst both do.
 */
static gw_status check_again(provider_store *s, const entity_plan *p, gw_error *err)
{
    if (p->kind == ENTITY_ROUTE && p->after)
        return route_refuse_if_astray(s, (const void *)p->after, err);
    if (p->kind == ENTITY_PROVIDER && !p->after)
        return provider_refuse_if_used(s, p->id, err);
    return GW_OK;
}

static gw_status take_back(provider_store *s, const entity_plan *p, gw_error *err)
{
    const config_collection *c = &entity_of(p->kind)->c;
    if (!p->after)
        return config_document_insert(s, c, p->id, p->before, err);
    const char *etag = message_text(p->after, "etag");
    return p->before ? config_document_replace(s, c, p->id, etag, p->before, err)
                     : config_document_remove(s, c, p->id, etag, err);
}

static gw_status keep_if_it_fits(provider_store *s, const entity_plan *p, gw_error *err)
{
    gw_error why;
    gw_status rc = check_again(s, p, &why);
    if (rc != GW_ERR_INVALID_ARGUMENT && rc != GW_ERR_FAILED_PRECONDITION)
        return GW_OK; /* also when it cannot be looked at: the write stands */
    gw_status refused = rc;
    rc = take_back(s, p, err);
    if (rc != GW_OK)
        return rc;
    entity_history_withdraw(s, p);
    *err = why;
    return refused;
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
    gw_error unraised;
    gw_status kept = keep_if_it_fits(s, p, err);
    rc = config_version_raise(s, kept == GW_OK ? err : &unraised);
    if (kept != GW_OK)
        return kept;
    entity_history_tidy(s, p);
    return rc;
}

gw_status provider_store_ensure_indexes(mongoc_database_t *db, gw_error *err)
{
    gw_status rc = gw_mongo_ensure_indexes(
        db, ROUTES_COLLECTION, "[{\"name\":\"model\",\"key\":{\"model\":1},\"unique\":true}]", err);
    return rc == GW_OK ? entity_history_ensure_indexes(db, err) : rc;
}
