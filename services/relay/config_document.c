#include "config_document.h"

#include "config_store.h"
#include "message_bson.h"
#include "message_fields.h"

#include "core/clock.h"
#include "core/id.h"

#define ETAG_LEN 16

gw_status config_no_memory(gw_error *err)
{
    return gw_fail(err, GW_ERR_NO_MEMORY, "no memory for the request");
}

static void free_message(void *m)
{
    protobuf_c_message_free_unpacked(m, NULL);
}

gw_status config_document_keep(provider_store *s, const config_collection *c, const bson_t *doc,
                               ProtobufCMessage **ret, gw_error *err)
{
    ProtobufCMessage *m = NULL;
    gw_status rc = message_from_bson(c->descriptor, doc, &m, err);
    if (rc != GW_OK)
        return rc;
    if (!gw_arena_defer(s->arena, free_message, m)) {
        free_message(m);
        return config_no_memory(err);
    }
    *ret = m;
    return GW_OK;
}

gw_status config_document_find(provider_store *s, const config_collection *c, const char *id,
                               ProtobufCMessage **ret, gw_error *err)
{
    gw_db_auto_bson filter = BSON_INITIALIZER;
    gw_db_auto_doc doc = NULL;
    BSON_APPEND_UTF8(&filter, "_id", id);
    gw_status rc = gw_db_find_one(&s->db, c->name, &filter, NULL, &doc, err);
    if (rc == GW_OK && doc)
        rc = config_document_keep(s, c, doc, ret, err);
    return rc;
}

gw_status config_version_raise(provider_store *s, gw_error *err)
{
    gw_db_auto_bson filter = BSON_INITIALIZER, update = BSON_INITIALIZER;
    bson_t inc;
    BSON_APPEND_UTF8(&filter, "_id", "config");
    BSON_APPEND_DOCUMENT_BEGIN(&update, "$inc", &inc);
    BSON_APPEND_INT64(&inc, "version", 1);
    bson_append_document_end(&update, &inc);
    return gw_db_upsert_one(&s->db, VERSIONS_COLLECTION, &filter, &update, err);
}

Google__Protobuf__Timestamp *config_timestamp(provider_store *s)
{
    Google__Protobuf__Timestamp *t = gw_arena_new_of(s->arena, Google__Protobuf__Timestamp);
    if (t) {
        google__protobuf__timestamp__init(t);
        t->seconds = s->now_ms / GW_MS_PER_S;
        t->nanos = (int32_t)(s->now_ms % GW_MS_PER_S) * 1000000;
    }
    return t;
}

bool config_document_stamp(provider_store *s, ProtobufCMessage *m)
{
    char *etag = gw_arena_alloc(s->arena, ETAG_LEN + 1);
    Google__Protobuf__Timestamp *now = config_timestamp(s);
    if (!etag || !now)
        return false;
    gw_random_base62(etag, ETAG_LEN);
    message_set_text(m, "etag", etag);
    message_set_text(m, "source", "api");
    message_set_text(m, "updated_by", s->by);
    *(Google__Protobuf__Timestamp **)message_field(m, "updated_at") = now;
    return true;
}

gw_status config_document_insert(provider_store *s, const config_collection *c, const char *id,
                                 const ProtobufCMessage *m, gw_error *err)
{
    bson_t *members = NULL;
    gw_status rc = message_to_bson(m, &members, err);
    if (rc != GW_OK)
        return rc;
    gw_db_auto_bson doc = BSON_INITIALIZER;
    BSON_APPEND_UTF8(&doc, "_id", id);
    bson_concat(&doc, members);
    bson_destroy(members);
    return gw_db_insert(&s->db, c->name, &doc, err);
}

static gw_status changed_meanwhile(const config_collection *c, gw_error *err)
{
    return gw_fail_field(err, GW_ERR_ABORTED, "etag", "the %s was changed at the same time",
                         c->what);
}

gw_status config_document_replace(provider_store *s, const config_collection *c, const char *id,
                                  const char *etag, const ProtobufCMessage *m, gw_error *err)
{
    bson_t *members = NULL;
    int64_t matched = 0;
    gw_status rc = message_to_bson(m, &members, err);
    if (rc != GW_OK)
        return rc;
    gw_db_auto_bson filter = BSON_INITIALIZER, update = BSON_INITIALIZER;
    BSON_APPEND_UTF8(&filter, "_id", id);
    BSON_APPEND_UTF8(&filter, "etag", etag);
    BSON_APPEND_DOCUMENT(&update, "$set", members);
    bson_destroy(members);
    rc = gw_db_update_one(&s->db, c->name, &filter, &update, &matched, err);
    if (rc == GW_ERR_ALREADY_EXISTS)
        return gw_fail_field(err, rc, c->key_field, "there is such a %s already", c->what);
    return rc == GW_OK && matched == 0 ? changed_meanwhile(c, err) : rc;
}

gw_status config_document_remove(provider_store *s, const config_collection *c, const char *id,
                                 const char *etag, gw_error *err)
{
    gw_db_auto_bson filter = BSON_INITIALIZER;
    int64_t deleted = 0;
    BSON_APPEND_UTF8(&filter, "_id", id);
    BSON_APPEND_UTF8(&filter, "etag", etag);
    gw_status rc = gw_db_delete(&s->db, c->name, &filter, &deleted, err);
    return rc == GW_OK && deleted == 0 ? changed_meanwhile(c, err) : rc;
}
