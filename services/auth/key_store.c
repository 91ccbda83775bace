#include "key_store.h"

#include "api_key_bson.h"
#include "core/id.h"
#include "key_changes.h"
#include "messages.h"

#define KEYS         "api_keys"
#define CHANGE_TRIES 32

gw_status key_store_ensure_indexes(mongoc_database_t *database, gw_error *err)
{
    return gw_mongo_ensure_indexes(
        database, KEYS,
        "[{\"name\":\"keyId_1\",\"key\":{\"keyId\":1},\"unique\":true},"
        "{\"name\":\"generation_1\",\"key\":{\"generation\":1}},"
        "{\"name\":\"clientId_1__id_-1\",\"key\":{\"clientId\":1,\"_id\":-1}},"
        "{\"name\":\"security.domains_1\",\"key\":{\"security.domains\":1},\"sparse\":true},"
        "{\"name\":\"userId_1__id_-1\",\"key\":{\"userId\":1,\"_id\":-1}},"
        "{\"name\":\"previous.expiresAt_1\",\"key\":{\"previous.expiresAt\":1},\"sparse\":true},"
        "{\"name\":\"status_1__id_-1\",\"key\":{\"status\":1,\"_id\":-1}}]",
        err);
}

gw_status key_store_get(const gw_db *d, gw_arena *a, gw_str id, api_key_record *ret, gw_error *err)
{
    gw_db_auto_bson filter = BSON_INITIALIZER;
    gw_db_auto_doc doc = NULL;
    gw_object_id oid;
    if (!gw_object_id_parse(id, &oid))
        return gw_fail_field(err, GW_ERR_INVALID_ARGUMENT, "id", "must be 24 hex digits");
    gw_bson_append_oid(&filter, "_id", &oid);
    gw_status rc = gw_db_find_one(d, KEYS, &filter, NULL, &doc, err);
    if (rc == GW_OK && !doc)
        rc = gw_fail(err, GW_ERR_NOT_FOUND, "no API key has the id " GW_STR_FMT, GW_STR_ARG(id));
    return rc == GW_OK ? api_key_from_bson(a, doc, ret, err) : rc;
}

gw_status key_store_find(const gw_db *d, gw_arena *a, gw_str key_id, bool *ret_found,
                         api_key_record *ret, gw_error *err)
{
    gw_db_auto_bson filter = BSON_INITIALIZER;
    gw_db_auto_doc doc = NULL;
    gw_bson_append_str(&filter, "keyId", key_id);
    gw_status rc = gw_db_find_one(d, KEYS, &filter, NULL, &doc, err);
    if (rc == GW_OK && doc)
        rc = api_key_from_bson(a, doc, ret, err);
    if (rc == GW_OK)
        *ret_found = doc != NULL;
    return rc;
}

gw_status key_store_insert(const gw_db *d, api_key_record *k, int64_t now_ms, gw_error *err)
{
    gw_db_auto_bson doc = BSON_INITIALIZER;
    const change_subject subject = change_subject_of(CHANGE_OF_KEY, gw_str_of(k->view->key_id));
    gw_status rc = key_changes_announce(d, &subject, now_ms, &k->view->generation, err);
    if (rc != GW_OK)
        return rc;
    api_key_to_bson(k, API_KEY_WHOLE, &doc);
    return gw_db_insert(d, KEYS, &doc, err);
}

static void update_of(const api_key_record *k, bool secrets, bson_t *update)
{
    bson_t part;
    BSON_APPEND_DOCUMENT_BEGIN(update, "$set", &part);
    api_key_to_bson(k, secrets ? API_KEY_SECRETS : API_KEY_POLICY, &part);
    bson_append_document_end(update, &part);
    gw_db_auto_bson absent = BSON_INITIALIZER;
    api_key_absent_to_bson(k, &absent);
    if (secrets && k->current.hmac.len == 0)
        gw_bson_append_str(&absent, "verifier", GW_STR(""));
    if (secrets && k->current.phc.len == 0)
        gw_bson_append_str(&absent, "key", GW_STR(""));
    if (!bson_empty(&absent))
        BSON_APPEND_DOCUMENT(update, "$unset", &absent);
}

/* Unwritten since it was read, and not fenced by a reader that waited too long for `generation`. */
static void append_unchanged(bson_t *filter, const api_key_record *read, int64_t generation)
{
    bson_t part;
    if (read->version)
        BSON_APPEND_INT64(filter, "version", read->version);
    else /* a document that others wrote has none yet, nor a generation */
        BSON_APPEND_NULL(filter, "version");
    if (read->view->generation) {
        BSON_APPEND_DOCUMENT_BEGIN(filter, "generation", &part);
        BSON_APPEND_INT64(&part, "$lt", generation);
        bson_append_document_end(filter, &part);
    } else {
        BSON_APPEND_NULL(filter, "generation");
    }
}

/* Steps 1 and 2 of key_changes.h. *ret_announced is set as soon as the number is taken. */
static gw_status write_change(const gw_db *d, gw_arena *a, api_key_record *k,
                              const key_change_plan *plan, int64_t *ret_announced,
                              bool *ret_written, gw_error *err)
{
    gw_db_auto_bson filter = BSON_INITIALIZER, update = BSON_INITIALIZER;
    gw_object_id id;
    int64_t generation = 0, matched = 0;
    if (!gw_object_id_parse(gw_str_of(k->view->id), &id))
        return gw_fail(err, GW_ERR_INTERNAL, "an API key record has no id");
    const change_subject subject = change_subject_of(CHANGE_OF_KEY, gw_str_of(k->view->key_id));
    gw_status rc = key_changes_announce(d, &subject, plan->now_ms, &generation, err);
    if (rc != GW_OK)
        return rc;
    *ret_announced = generation;
    gw_bson_append_oid(&filter, "_id", &id);
    append_unchanged(&filter, k, generation);
    k->version++;
    k->view->generation = generation;
    k->view->updated_at = message_time(a, plan->now_ms);
    update_of(k, plan->writes_secrets, &update);
    rc = gw_db_update_one(d, KEYS, &filter, &update, &matched, err);
    *ret_written = matched == 1;
    return rc;
}

gw_status key_store_plan(api_key_record *k, gw_arena *a, key_change_plan *plan, bool *ret_changed,
                         gw_error *err)
{
    api_key_refresh_view(a, k, plan->now_ms);
    if (plan->etag.len && !gw_str_eq_c(plan->etag, k->view->etag))
        return gw_fail_field(err, GW_ERR_ABORTED, "etag",
                             "the key was changed by somebody else; its etag is now %s",
                             k->view->etag);
    return plan->apply(plan, a, k, ret_changed, err);
}

/* Tries until no other write comes between. */
static gw_status try_change(const gw_db *d, gw_arena *a, gw_str id, key_change_plan *plan,
                            api_key_record *k, bool *ret_changed, int64_t *ret_announced,
                            gw_error *err)
{
    for (int i = 0; i < CHANGE_TRIES; i++) {
        bool changed = true, written = false;
        gw_status rc = key_store_get(d, a, id, k, err);
        if (rc != GW_OK)
            return rc;
        rc = key_store_plan(k, a, plan, &changed, err);
        if (rc == GW_OK && changed)
            rc = write_change(d, a, k, plan, ret_announced, &written, err);
        if (rc != GW_OK)
            return rc;
        if (written || !changed) {
            *ret_changed = written;
            return GW_OK;
        }
    }
    return gw_fail(err, GW_ERR_ABORTED, "the key is being changed by others; try again");
}

gw_status key_store_change(const gw_db *d, gw_arena *a, gw_str id, key_change_plan *plan,
                           api_key_record *ret, bool *ret_changed, gw_error *err)
{
    api_key_record k = {0};
    int64_t announced = 0;
    bool changed = false;
    gw_error ignored;
    gw_status rc = try_change(d, a, id, plan, &k, &changed, &announced, err);
    /* A number taken and not written holds the readers up: they would fence the key themselves, later.
     * A later number that was written covers it. */
    if (announced && !changed) {
        const change_subject subject = change_subject_of(CHANGE_OF_KEY, gw_str_of(k.view->key_id));
        (void)!key_changes_fence(d, &subject, announced, &ignored);
    }
    if (rc != GW_OK)
        return rc;
    api_key_refresh_view(a, &k, plan->now_ms);
    *ret = k;
    *ret_changed = changed;
    return GW_OK;
}
