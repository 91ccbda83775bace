#include "key_store.h"

#include "api_key_bson.h"
#include "core/id.h"
#include "key_changes.h"
#include "messages.h"

#define KEYS         "api_keys"
#define CHANGE_TRIES 8

gw_status key_store_ensure_indexes(mongoc_database_t *database, gw_error *err)
{
    return gw_mongo_ensure_indexes(
        database, KEYS,
        "[{\"name\":\"keyId_1\",\"key\":{\"keyId\":1},\"unique\":true},"
        "{\"name\":\"generation_1\",\"key\":{\"generation\":1}},"
        "{\"name\":\"clientId_1__id_-1\",\"key\":{\"clientId\":1,\"_id\":-1}},"
        "{\"name\":\"userId_1__id_-1\",\"key\":{\"userId\":1,\"_id\":-1}},"
        "{\"name\":\"status_1__id_-1\",\"key\":{\"status\":1,\"_id\":-1}}]",
        err);
}

gw_status key_store_get(const db *d, gw_arena *a, gw_str id, api_key_record *ret, gw_error *err)
{
    db_auto_bson filter = BSON_INITIALIZER;
    db_auto_doc doc = NULL;
    gw_object_id oid;
    if (!gw_object_id_parse(id, &oid))
        return gw_fail_field(err, GW_ERR_INVALID_ARGUMENT, "id", "must be 24 hex digits");
    gw_bson_append_oid(&filter, "_id", &oid);
    gw_status rc = db_find_one(d, KEYS, &filter, NULL, &doc, err);
    if (rc == GW_OK && !doc)
        rc = gw_fail(err, GW_ERR_NOT_FOUND, "no API key has the id " GW_STR_FMT, GW_STR_ARG(id));
    return rc == GW_OK ? api_key_from_bson(a, doc, ret, err) : rc;
}

gw_status key_store_find(const db *d, gw_arena *a, gw_str key_id, bool *ret_found,
                         api_key_record *ret, gw_error *err)
{
    db_auto_bson filter = BSON_INITIALIZER;
    db_auto_doc doc = NULL;
    gw_bson_append_str(&filter, "keyId", key_id);
    gw_status rc = db_find_one(d, KEYS, &filter, NULL, &doc, err);
    if (rc == GW_OK && doc)
        rc = api_key_from_bson(a, doc, ret, err);
    if (rc == GW_OK)
        *ret_found = doc != NULL;
    return rc;
}

gw_status key_store_insert(const db *d, api_key_record *k, int64_t now_ms, gw_error *err)
{
    db_auto_bson doc = BSON_INITIALIZER;
    gw_status rc =
        key_changes_announce(d, gw_str_of(k->view->key_id), now_ms, &k->view->generation, err);
    if (rc != GW_OK)
        return rc;
    api_key_to_bson(k, API_KEY_WHOLE, &doc);
    return db_insert(d, KEYS, &doc, err);
}

static void update_of(const api_key_record *k, bool secrets, bson_t *update)
{
    bson_t part;
    BSON_APPEND_DOCUMENT_BEGIN(update, "$set", &part);
    api_key_to_bson(k, secrets ? API_KEY_SECRETS : API_KEY_POLICY, &part);
    bson_append_document_end(update, &part);
    db_auto_bson absent = BSON_INITIALIZER;
    api_key_absent_to_bson(k, &absent);
    if (secrets && k->current.hmac.len == 0)
        gw_bson_append_str(&absent, "verifier", GW_STR(""));
    if (secrets && k->current.phc.len == 0)
        gw_bson_append_str(&absent, "key", GW_STR(""));
    if (!bson_empty(&absent))
        BSON_APPEND_DOCUMENT(update, "$unset", &absent);
}

/* Steps 1 and 2 of key_changes.h for a record read at generation `was`. */
static gw_status write_change(const db *d, api_key_record *k, int64_t was,
                              const key_change_plan *plan, bool *ret_written, gw_error *err)
{
    db_auto_bson filter = BSON_INITIALIZER, update = BSON_INITIALIZER;
    gw_object_id id;
    int64_t generation = 0, matched = 0;
    gw_str key_id = gw_str_of(k->view->key_id);
    gw_status rc = key_changes_announce(d, key_id, plan->now_ms, &generation, err);
    if (rc != GW_OK)
        return rc;
    k->view->generation = generation;
    if (!gw_object_id_parse(gw_str_of(k->view->id), &id))
        return gw_fail(err, GW_ERR_INTERNAL, "an API key record has no id");
    gw_bson_append_oid(&filter, "_id", &id);
    if (was)
        BSON_APPEND_INT64(&filter, "generation", was);
    else /* a document that others wrote has none yet */
        BSON_APPEND_NULL(&filter, "generation");
    update_of(k, plan->writes_secrets, &update);
    rc = db_update_one(d, KEYS, &filter, &update, &matched, err);
    *ret_written = matched == 1;
    /* The number is spent: readers need not wait for it. */
    if (rc == GW_OK && matched == 0)
        rc = key_changes_fence(d, key_id, generation, err);
    return rc;
}

gw_status key_store_change(const db *d, gw_arena *a, gw_str id, key_change_plan *plan,
                           api_key_record *ret, bool *ret_changed, gw_error *err)
{
    for (int i = 0; i < CHANGE_TRIES; i++) {
        api_key_record k;
        bool changed = true, written = false;
        gw_status rc = key_store_get(d, a, id, &k, err);
        if (rc != GW_OK)
            return rc;
        api_key_refresh_view(a, &k, plan->now_ms);
        if (plan->etag.len && !gw_str_eq_c(plan->etag, k.view->etag))
            return gw_fail_field(err, GW_ERR_ABORTED, "etag",
                                 "the key was changed by somebody else; its etag is now %s",
                                 k.view->etag);
        int64_t was = k.view->generation;
        rc = plan->apply(plan, a, &k, &changed, err);
        if (rc != GW_OK)
            return rc;
        if (changed) {
            k.version++;
            k.view->updated_at = message_time(a, plan->now_ms);
            rc = write_change(d, &k, was, plan, &written, err);
            if (rc != GW_OK)
                return rc;
        }
        if (!changed || written) {
            api_key_refresh_view(a, &k, plan->now_ms);
            *ret = k;
            *ret_changed = changed;
            return GW_OK;
        }
    }
    return gw_fail(err, GW_ERR_ABORTED, "the key is being changed by others; try again");
}
