#include "api_key_bson.h"
#include "core/id.h"
#include "key_store.h"

#define KEYS "api_keys"

/* The text itself, whatever it holds: each ASCII character that means something is escaped. */
static void append_contains(bson_t *doc, const char *field, gw_str text)
{
    gw_auto_buf pattern = {0};
    for (size_t i = 0; i < text.len; i++) {
        if (text.ptr[i] && strchr("\\^$.|?*+()[]{}-/#&~", text.ptr[i]))
            gw_buf_append_char(&pattern, '\\');
        gw_buf_append_char(&pattern, text.ptr[i]);
    }
    if (!gw_buf_failed(&pattern) && pattern.data)
        BSON_APPEND_REGEX(doc, field, pattern.data, "i");
}

static void append_search(bson_t *filter, gw_str q)
{
    bson_t either, one;
    BSON_APPEND_ARRAY_BEGIN(filter, "$or", &either);
    BSON_APPEND_DOCUMENT_BEGIN(&either, "0", &one);
    append_contains(&one, "name", q);
    bson_append_document_end(&either, &one);
    BSON_APPEND_DOCUMENT_BEGIN(&either, "1", &one);
    append_contains(&one, "keyId", q);
    bson_append_document_end(&either, &one);
    bson_append_array_end(filter, &either);
}

static void append_filter(bson_t *filter, const key_filter *f)
{
    gw_object_id id;
    bson_t part;
    if (f->status.len) {
        gw_bson_append_str(filter, "status", f->status);
    } else {
        BSON_APPEND_DOCUMENT_BEGIN(filter, "status", &part);
        gw_bson_append_str(&part, "$ne", GW_STR("revoked"));
        bson_append_document_end(filter, &part);
    }
    if (f->client_id.len)
        gw_bson_append_str(filter, "clientId", f->client_id);
    if (gw_object_id_parse(f->user_id, &id))
        gw_bson_append_oid(filter, "userId", &id);
    if (f->q.len)
        append_search(filter, f->q);
    if (gw_object_id_parse(f->after_id, &id)) {
        BSON_APPEND_DOCUMENT_BEGIN(filter, "_id", &part);
        gw_bson_append_oid(&part, "$lt", &id);
        bson_append_document_end(filter, &part);
    }
}

typedef struct listing {
    gw_arena *arena;
    api_key_record *records;
    size_t count, max;
} listing;

static gw_status add_record(void *arg, const bson_t *doc, gw_error *err)
{
    listing *l = arg;
    if (l->count == l->max)
        return GW_OK;
    gw_status rc = api_key_from_bson(l->arena, doc, &l->records[l->count], err);
    if (rc == GW_OK)
        l->count++;
    return rc;
}

gw_status key_store_list(const gw_db *d, gw_arena *a, const key_filter *f, api_key_record *ret,
                         size_t *ret_count, gw_error *err)
{
    gw_db_auto_bson filter = BSON_INITIALIZER, opts = BSON_INITIALIZER;
    listing l = {a, ret, 0, (size_t)f->limit};
    append_filter(&filter, f);
    gw_db_append_page(&opts, "_id", -1, f->limit);
    gw_status rc = gw_db_find(d, KEYS, &filter, &opts, add_record, &l, err);
    if (rc == GW_OK)
        *ret_count = l.count;
    return rc;
}

static gw_status run_bulk(mongoc_bulk_operation_t *bulk, const char *what, gw_error *err)
{
    gw_db_auto_bson reply;
    bson_error_t e;
    bool ok = mongoc_bulk_operation_execute(bulk, &reply, &e) != 0;
    return ok ? GW_OK : gw_mongo_fail(err, &e, &reply, what);
}

gw_status key_store_report_use(const gw_db *d, const key_use *uses, size_t n, gw_error *err)
{
    gw_db_auto_bson opts = BSON_INITIALIZER;
    if (n == 0)
        return GW_OK;
    BSON_APPEND_BOOL(&opts, "ordered", false);
    mongoc_collection_t *c = mongoc_database_get_collection(d->database, KEYS);
    mongoc_bulk_operation_t *bulk = mongoc_collection_create_bulk_operation_with_opts(c, &opts);
    for (size_t i = 0; i < n; i++) {
        gw_db_auto_bson filter = BSON_INITIALIZER, update = BSON_INITIALIZER;
        bson_t part;
        gw_bson_append_str(&filter, "keyId", uses[i].key_id);
        BSON_APPEND_DOCUMENT_BEGIN(&update, "$max", &part);
        BSON_APPEND_DATE_TIME(&part, "lastUsedAt", uses[i].at_ms);
        bson_append_document_end(&update, &part);
        mongoc_bulk_operation_update_one_with_opts(bulk, &filter, &update, NULL, NULL);
    }
    gw_status rc = run_bulk(bulk, "report use of keys", err);
    mongoc_bulk_operation_destroy(bulk);
    mongoc_collection_destroy(c);
    return rc;
}

gw_status key_store_drop_ended_secrets(const gw_db *d, int64_t now_ms, int64_t *ret_keys,
                                       gw_error *err)
{
    gw_db_auto_bson filter = BSON_INITIALIZER, update = BSON_INITIALIZER, reply;
    bson_t pull, item, until;
    bson_error_t e;
    BSON_APPEND_DOCUMENT_BEGIN(&filter, "previous.expiresAt", &until);
    BSON_APPEND_DATE_TIME(&until, "$lte", now_ms);
    bson_append_document_end(&filter, &until);
    BSON_APPEND_DOCUMENT_BEGIN(&update, "$pull", &pull);
    BSON_APPEND_DOCUMENT_BEGIN(&pull, "previous", &item);
    BSON_APPEND_DOCUMENT_BEGIN(&item, "expiresAt", &until);
    BSON_APPEND_DATE_TIME(&until, "$lte", now_ms);
    bson_append_document_end(&item, &until);
    bson_append_document_end(&pull, &item);
    bson_append_document_end(&update, &pull);
    mongoc_collection_t *c = mongoc_database_get_collection(d->database, KEYS);
    bool ok = mongoc_collection_update_many(c, &filter, &update, NULL, &reply, &e);
    mongoc_collection_destroy(c);
    if (!ok)
        return gw_mongo_fail(err, &e, &reply, "drop ended secrets of API keys");
    *ret_keys = 0;
    (void)gw_bson_int64(&reply, "modifiedCount", ret_keys);
    return GW_OK;
}

gw_status key_store_keep_verifier(const gw_db *d, gw_str id, const api_key_secret *s, gw_error *err)
{
    gw_db_auto_bson filter = BSON_INITIALIZER, update = BSON_INITIALIZER;
    bson_t part, verifier;
    gw_object_id oid;
    if (!gw_object_id_parse(id, &oid))
        return gw_fail(err, GW_ERR_INTERNAL, "an API key record has no id");
    gw_bson_append_oid(&filter, "_id", &oid);
    gw_bson_append_str(&filter, "key", s->phc);
    BSON_APPEND_DOCUMENT_BEGIN(&update, "$set", &part);
    BSON_APPEND_DOCUMENT_BEGIN(&part, "verifier", &verifier);
    gw_bson_append_str(&verifier, "pepperId", gw_str_n(&s->pepper_id, 1));
    BSON_APPEND_BINARY(&verifier, "hmacSha256", BSON_SUBTYPE_BINARY, (const uint8_t *)s->hmac.ptr,
                       (uint32_t)s->hmac.len);
    bson_append_document_end(&part, &verifier);
    bson_append_document_end(&update, &part);
    return gw_db_update_one(d, KEYS, &filter, &update, NULL, err);
}

gw_status key_store_insert_many(const gw_db *d, const api_key_record *keys, size_t n, gw_error *err)
{
    gw_db_auto_bson opts = BSON_INITIALIZER;
    if (n == 0)
        return GW_OK;
    BSON_APPEND_BOOL(&opts, "ordered", false);
    gw_mongo_append_durable(d->mongo, &opts);
    mongoc_collection_t *c = mongoc_database_get_collection(d->database, KEYS);
    mongoc_bulk_operation_t *bulk = mongoc_collection_create_bulk_operation_with_opts(c, &opts);
    for (size_t i = 0; i < n; i++) {
        gw_db_auto_bson doc = BSON_INITIALIZER;
        api_key_to_bson(&keys[i], API_KEY_WHOLE, &doc);
        mongoc_bulk_operation_insert(bulk, &doc);
    }
    gw_status rc = run_bulk(bulk, "insert API keys", err);
    mongoc_bulk_operation_destroy(bulk);
    mongoc_collection_destroy(c);
    return rc;
}

/* ---- origins ---- */

typedef struct origin_listing {
    void (*each)(void *arg, gw_str origin);
    void *arg;
} origin_listing;

static gw_status add_origins(void *arg, const bson_t *doc, gw_error *err)
{
    const origin_listing *l = arg;
    bson_t array;
    bson_iter_t it;
    (void)err;
    if (!gw_bson_array(doc, "security.domains", &array) || !bson_iter_init(&it, &array))
        return GW_OK;
    while (bson_iter_next(&it)) {
        uint32_t len;
        const char *text = BSON_ITER_HOLDS_UTF8(&it) ? bson_iter_utf8(&it, &len) : NULL;
        if (text)
            l->each(l->arg, gw_str_n(text, len));
    }
    return GW_OK;
}

gw_status key_store_each_origin(const gw_db *d, void (*each)(void *arg, gw_str origin), void *arg,
                                gw_error *err)
{
    gw_db_auto_bson filter = BSON_INITIALIZER, opts = BSON_INITIALIZER;
    bson_t part;
    origin_listing l = {each, arg};
    BSON_APPEND_DOCUMENT_BEGIN(&filter, "security.domains", &part);
    gw_bson_append_str(&part, "$gt", GW_STR("")); /* those alone that list one: by the index */
    bson_append_document_end(&filter, &part);
    BSON_APPEND_DOCUMENT_BEGIN(&filter, "status", &part);
    gw_bson_append_str(&part, "$ne", GW_STR("revoked"));
    bson_append_document_end(&filter, &part);
    BSON_APPEND_DOCUMENT_BEGIN(&opts, "projection", &part);
    BSON_APPEND_INT32(&part, "security.domains", 1);
    bson_append_document_end(&opts, &part);
    return gw_db_find(d, KEYS, &filter, &opts, add_origins, &l, err);
}
