#include "admin_store.h"
#include "message_bson.h"
#include "messages.h"

#define KEYS "admin_keys"

static gw_status read_key(gw_arena *a, const bson_t *doc, admin_key_record *ret, gw_error *err)
{
    admin_key_record k = {.view = message_new(a, &apirelay__auth__v1__admin_key__descriptor)};
    gw_str id, hash;
    if (!k.view)
        return gw_fail(err, GW_ERR_NO_MEMORY, "admin key");
    message_from_bson(a, &k.view->base, doc);
    if (!gw_bson_str(doc, "_id", &id) || !gw_bson_binary(doc, "hash", &hash))
        return gw_fail(err, GW_ERR_DATA_LOSS, "a document of admin_keys has no _id or hash");
    if (gw_bson_has(doc, "expiresAt") && !k.view->expires_at)
        return gw_fail(err, GW_ERR_DATA_LOSS, "expiresAt of an admin key is no date");
    k.view->id = message_text(a, id);
    k.hash = gw_arena_dup(a, hash);
    *ret = k;
    return GW_OK;
}

gw_status admin_store_find_key(const gw_db *d, gw_arena *a, gw_str id, bool *ret_found,
                               admin_key_record *ret, gw_error *err)
{
    gw_db_auto_bson filter = BSON_INITIALIZER;
    gw_db_auto_doc doc = NULL;
    gw_bson_append_str(&filter, "_id", id);
    gw_status rc = gw_db_find_one(d, KEYS, &filter, NULL, &doc, err);
    if (rc == GW_OK && doc)
        rc = read_key(a, doc, ret, err);
    if (rc == GW_OK)
        *ret_found = doc != NULL;
    return rc;
}

typedef struct key_listing {
    gw_arena *arena;
    admin_key_record *keys;
    size_t count, max;
} key_listing;

static gw_status add_key(void *arg, const bson_t *doc, gw_error *err)
{
    key_listing *l = arg;
    if (l->count == l->max)
        return GW_OK;
    gw_status rc = read_key(l->arena, doc, &l->keys[l->count], err);
    if (rc == GW_OK)
        l->count++;
    return rc;
}

/* createdAt below, or the same and _id below. */
static void append_after(bson_t *filter, admin_key_position after)
{
    bson_t either, one, part;
    BSON_APPEND_ARRAY_BEGIN(filter, "$or", &either);
    BSON_APPEND_DOCUMENT_BEGIN(&either, "0", &one);
    BSON_APPEND_DOCUMENT_BEGIN(&one, "createdAt", &part);
    BSON_APPEND_DATE_TIME(&part, "$lt", after.created_ms);
    bson_append_document_end(&one, &part);
    bson_append_document_end(&either, &one);
    BSON_APPEND_DOCUMENT_BEGIN(&either, "1", &one);
    BSON_APPEND_DATE_TIME(&one, "createdAt", after.created_ms);
    BSON_APPEND_DOCUMENT_BEGIN(&one, "_id", &part);
    gw_bson_append_str(&part, "$lt", after.id);
    bson_append_document_end(&one, &part);
    bson_append_document_end(&either, &one);
    bson_append_array_end(filter, &either);
}

gw_status admin_store_list_keys(const gw_db *d, gw_arena *a, admin_key_position after,
                                int64_t limit, admin_key_record *ret, size_t *ret_count,
                                gw_error *err)
{
    gw_db_auto_bson filter = BSON_INITIALIZER, opts = BSON_INITIALIZER;
    bson_t sort;
    key_listing l = {a, ret, 0, (size_t)limit};
    if (after.id.len)
        append_after(&filter, after);
    BSON_APPEND_DOCUMENT_BEGIN(&opts, "sort", &sort);
    BSON_APPEND_INT32(&sort, "createdAt", -1);
    BSON_APPEND_INT32(&sort, "_id", -1);
    bson_append_document_end(&opts, &sort);
    BSON_APPEND_INT64(&opts, "limit", limit);
    gw_status rc = gw_db_find(d, KEYS, &filter, &opts, add_key, &l, err);
    if (rc == GW_OK)
        *ret_count = l.count;
    return rc;
}

gw_status admin_store_insert_key(const gw_db *d, const admin_key_record *k, gw_error *err)
{
    gw_db_auto_bson doc = BSON_INITIALIZER;
    gw_bson_append_str(&doc, "_id", gw_str_of(k->view->id));
    BSON_APPEND_BINARY(&doc, "hash", BSON_SUBTYPE_BINARY, (const uint8_t *)k->hash.ptr,
                       (uint32_t)k->hash.len);
    for (unsigned i = 0; i < k->view->base.descriptor->n_fields; i++) {
        const ProtobufCFieldDescriptor *f = &k->view->base.descriptor->fields[i];
        if (strcmp(f->name, "id") != 0)
            message_field_to_bson(&k->view->base, f, &doc);
    }
    return gw_db_insert(d, KEYS, &doc, err);
}

static gw_status update_key(const gw_db *d, gw_str id, const char *operator, const char * field,
                            const bson_value_t *value, gw_error *err)
{
    gw_db_auto_bson filter = BSON_INITIALIZER, update = BSON_INITIALIZER;
    bson_t part;
    gw_bson_append_str(&filter, "_id", id);
    BSON_APPEND_DOCUMENT_BEGIN(&update, operator, & part);
    BSON_APPEND_VALUE(&part, field, value);
    bson_append_document_end(&update, &part);
    return gw_db_update_one(d, KEYS, &filter, &update, NULL, err);
}

gw_status admin_store_revoke_key(const gw_db *d, gw_str id, gw_error *err)
{
    char revoked[] = "revoked";
    bson_value_t value = {.value_type = BSON_TYPE_UTF8};
    value.value.v_utf8.str = revoked;
    value.value.v_utf8.len = sizeof(revoked) - 1;
    return update_key(d, id, "$set", "status", &value, err);
}

gw_status admin_store_key_used(const gw_db *d, gw_str id, int64_t now_ms, gw_error *err)
{
    bson_value_t value = {.value_type = BSON_TYPE_DATE_TIME};
    value.value.v_datetime = now_ms;
    return update_key(d, id, "$max", "lastUsedAt", &value, err);
}
