/* Which routes would miss a provider. */
#include "provider_store_internal.h"

#include "config_store.h"

static gw_status still_named(gw_str model, gw_error *err)
{
    return gw_fail(err, GW_ERR_FAILED_PRECONDITION,
                   "model route \"" GW_STR_FMT "\" still names this provider", GW_STR_ARG(model));
}

static bool names(const route_message *r, const char *provider)
{
    for (size_t i = 0; i < r->n_targets; i++) {
        if (strcmp(r->targets[i]->provider, provider) == 0)
            return true;
    }
    return false;
}

/* A route of the settings file counts unless one of the API stands in its place. */
static gw_status refuse_if_files(provider_store *s, const char *name, gw_error *err)
{
    for (size_t i = 0; i < s->file->n_models; i++) {
        const route_message *r = s->file->models[i];
        gw_db_auto_bson filter = BSON_INITIALIZER;
        gw_db_auto_doc doc = NULL;
        if (!names(r, name))
            continue;
        BSON_APPEND_UTF8(&filter, "model", r->model);
        gw_status rc = gw_db_find_one(&s->db, ROUTES_COLLECTION, &filter, NULL, &doc, err);
        if (rc != GW_OK || !doc)
            return rc != GW_OK ? rc : still_named(gw_str_of(r->model), err);
    }
    return GW_OK;
}

gw_status provider_refuse_if_used(provider_store *s, const char *name, gw_error *err)
{
    gw_db_auto_bson filter = BSON_INITIALIZER;
    gw_db_auto_doc doc = NULL;
    gw_str model;
    if (entity_in_file(s, ENTITY_PROVIDER, name))
        return GW_OK;
    BSON_APPEND_UTF8(&filter, "targets.provider", name);
    gw_status rc = gw_db_find_one(&s->db, ROUTES_COLLECTION, &filter, NULL, &doc, err);
    if (rc != GW_OK)
        return rc;
    if (doc)
        return still_named(gw_bson_str(doc, "model", &model) ? model : GW_STR("?"), err);
    return refuse_if_files(s, name, err);
}
