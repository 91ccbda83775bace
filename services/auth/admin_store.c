#include "admin_store.h"

#include "core/id.h"
#include "message_bson.h"
#include "messages.h"

#define USERS "admin_users"

gw_status admin_store_ensure_indexes(mongoc_database_t *database, gw_error *err)
{
    gw_status rc = gw_mongo_ensure_indexes(
        database, USERS, "[{\"name\":\"username_1\",\"key\":{\"username\":1},\"unique\":true}]",
        err);
    if (rc == GW_OK)
        rc = gw_mongo_ensure_indexes(
            database, "admin_keys",
            "[{\"name\":\"createdAt_-1\",\"key\":{\"createdAt\":-1,\"_id\":-1}}]", err);
    return rc;
}

static void refresh_etag(gw_arena *a, admin_user_record *u)
{
    u->view->etag = message_text(a, gw_arena_printf(a, "v%lld", (long long)u->version));
}

static gw_status read_user(gw_arena *a, const bson_t *doc, admin_user_record *ret, gw_error *err)
{
    admin_user_record u = {.view = message_new(a, &apirelay__auth__v1__admin_user__descriptor)};
    gw_object_id id;
    gw_str hash = GW_STR("");
    char hex[GW_OBJECT_ID_HEX_SIZE];
    if (!u.view)
        return gw_fail(err, GW_ERR_NO_MEMORY, "admin");
    message_from_bson(a, &u.view->base, doc);
    if (!gw_bson_oid(doc, "_id", &id) || *u.view->username == '\0')
        return gw_fail(err, GW_ERR_DATA_LOSS, "a document of admin_users has no _id or username");
    gw_object_id_format(&id, hex);
    u.view->id = message_text(a, gw_str_of(hex));
    u.view->password_presence_case = 0; /* whatever is stored under that name */
    u.view->password = NULL;
    (void)gw_bson_str(doc, "passwordHash", &hash);
    (void)gw_bson_int64(doc, "sessionEpoch", &u.session_epoch);
    (void)gw_bson_int64(doc, "version", &u.version);
    u.password_hash = gw_arena_dup(a, hash);
    refresh_etag(a, &u);
    *ret = u;
    return GW_OK;
}

static gw_status find_user(const gw_db *d, gw_arena *a, const bson_t *filter, bool *ret_found,
                           admin_user_record *ret, gw_error *err)
{
    gw_db_auto_doc doc = NULL;
    gw_status rc = gw_db_find_one(d, USERS, filter, NULL, &doc, err);
    if (rc == GW_OK && doc)
        rc = read_user(a, doc, ret, err);
    if (rc == GW_OK)
        *ret_found = doc != NULL;
    return rc;
}

gw_status admin_store_find_user(const gw_db *d, gw_arena *a, gw_str id, bool *ret_found,
                                admin_user_record *ret, gw_error *err)
{
    gw_db_auto_bson filter = BSON_INITIALIZER;
    gw_object_id oid;
    if (!gw_object_id_parse(id, &oid)) {
        *ret_found = false;
        return GW_OK;
    }
    gw_bson_append_oid(&filter, "_id", &oid);
    return find_user(d, a, &filter, ret_found, ret, err);
}

gw_status admin_store_find_username(const gw_db *d, gw_arena *a, gw_str username, bool *ret_found,
                                    admin_user_record *ret, gw_error *err)
{
    gw_db_auto_bson filter = BSON_INITIALIZER;
    gw_bson_append_str(&filter, "username", username);
    return find_user(d, a, &filter, ret_found, ret, err);
}

typedef struct user_listing {
    gw_arena *arena;
    admin_user_record *users;
    size_t count, max;
} user_listing;

static gw_status add_user(void *arg, const bson_t *doc, gw_error *err)
{
    user_listing *l = arg;
    if (l->count == l->max)
        return GW_OK;
    gw_status rc = read_user(l->arena, doc, &l->users[l->count], err);
    if (rc == GW_OK)
        l->count++;
    return rc;
}

gw_status admin_store_list_users(const gw_db *d, gw_arena *a, gw_str after, int64_t limit,
                                 admin_user_record *ret, size_t *ret_count, gw_error *err)
{
    gw_db_auto_bson filter = BSON_INITIALIZER, opts = BSON_INITIALIZER;
    bson_t part;
    user_listing l = {a, ret, 0, (size_t)limit};
    if (after.len) {
        BSON_APPEND_DOCUMENT_BEGIN(&filter, "username", &part);
        gw_bson_append_str(&part, "$gt", after);
        bson_append_document_end(&filter, &part);
    }
    gw_db_append_page(&opts, "username", 1, limit);
    gw_status rc = gw_db_find(d, USERS, &filter, &opts, add_user, &l, err);
    if (rc == GW_OK)
        *ret_count = l.count;
    return rc;
}

static void user_to_bson(const admin_user_record *u, bson_t *doc)
{
    gw_bson_append_str(doc, "username", gw_str_of(u->view->username));
    gw_bson_append_str(doc, "passwordHash", u->password_hash);
    gw_bson_append_str(doc, "role", gw_str_of(u->view->role));
    gw_bson_append_str(doc, "status", gw_str_of(u->view->status));
    BSON_APPEND_INT64(doc, "sessionEpoch", u->session_epoch);
    BSON_APPEND_INT64(doc, "version", u->version);
    BSON_APPEND_DATE_TIME(doc, "createdAt", message_time_ms(u->view->created_at));
    BSON_APPEND_DATE_TIME(doc, "updatedAt", message_time_ms(u->view->updated_at));
}

gw_status admin_store_restore_user(const gw_db *d, const admin_user_record *u, gw_error *err)
{
    gw_db_auto_bson doc = BSON_INITIALIZER;
    gw_object_id id;
    if (!gw_object_id_parse(gw_str_of(u->view->id), &id))
        return gw_fail(err, GW_ERR_INTERNAL, "an admin record has no id");
    gw_bson_append_oid(&doc, "_id", &id);
    user_to_bson(u, &doc);
    if (u->view->last_sign_in_at)
        BSON_APPEND_DATE_TIME(&doc, "lastSignInAt", message_time_ms(u->view->last_sign_in_at));
    return gw_db_insert(d, USERS, &doc, err);
}

gw_status admin_store_insert_user(const gw_db *d, gw_arena *a, admin_user_record *u, int64_t now_ms,
                                  gw_error *err)
{
    gw_object_id id;
    char hex[GW_OBJECT_ID_HEX_SIZE];
    gw_object_id_make(&id, now_ms);
    gw_object_id_format(&id, hex);
    u->view->id = message_text(a, gw_str_of(hex));
    u->view->created_at = u->view->updated_at = message_time(a, now_ms);
    u->version = 1;
    refresh_etag(a, u);
    gw_status rc = admin_store_restore_user(d, u, err);
    if (rc == GW_ERR_ALREADY_EXISTS)
        return gw_fail_field(err, GW_ERR_ALREADY_EXISTS, "username", "the name %s is taken",
                             u->view->username);
    return rc;
}

static gw_status id_filter(const admin_user_record *u, bson_t *filter, gw_error *err)
{
    gw_object_id id;
    if (!gw_object_id_parse(gw_str_of(u->view->id), &id))
        return gw_fail(err, GW_ERR_INTERNAL, "an admin record has no id");
    gw_bson_append_oid(filter, "_id", &id);
    BSON_APPEND_INT64(filter, "version", u->version);
    return GW_OK;
}

gw_status admin_store_update_user(const gw_db *d, gw_arena *a, admin_user_record *u, int64_t now_ms,
                                  gw_error *err)
{
    gw_db_auto_bson filter = BSON_INITIALIZER, update = BSON_INITIALIZER;
    bson_t set;
    int64_t matched = 0;
    gw_status rc = id_filter(u, &filter, err);
    if (rc != GW_OK)
        return rc;
    u->version++;
    u->view->updated_at = message_time(a, now_ms);
    BSON_APPEND_DOCUMENT_BEGIN(&update, "$set", &set);
    user_to_bson(u, &set);
    bson_append_document_end(&update, &set);
    rc = gw_db_update_one(d, USERS, &filter, &update, &matched, err);
    if (rc == GW_OK && matched == 0)
        return gw_fail(err, GW_ERR_ABORTED, "the admin was changed by somebody else");
    refresh_etag(a, u);
    return rc;
}

/* The version grows with it: a write that read the epoch of before would set it back. */
gw_status admin_store_end_sessions(const gw_db *d, gw_str id, gw_error *err)
{
    gw_db_auto_bson filter = BSON_INITIALIZER, update = BSON_INITIALIZER;
    bson_t part;
    gw_object_id oid;
    int64_t matched = 0;
    if (!gw_object_id_parse(id, &oid))
        return gw_fail(err, GW_ERR_INTERNAL, "an admin record has no id");
    gw_bson_append_oid(&filter, "_id", &oid);
    BSON_APPEND_DOCUMENT_BEGIN(&update, "$inc", &part);
    BSON_APPEND_INT64(&part, "sessionEpoch", 1);
    BSON_APPEND_INT64(&part, "version", 1);
    bson_append_document_end(&update, &part);
    gw_status rc = gw_db_update_one(d, USERS, &filter, &update, &matched, err);
    if (rc == GW_OK && matched == 0)
        return gw_fail(err, GW_ERR_NOT_FOUND, "no admin has the id " GW_STR_FMT, GW_STR_ARG(id));
    return rc;
}

gw_status admin_store_delete_user(const gw_db *d, const admin_user_record *u, gw_error *err)
{
    gw_db_auto_bson filter = BSON_INITIALIZER;
    int64_t deleted = 0;
    gw_status rc = id_filter(u, &filter, err);
    if (rc == GW_OK)
        rc = gw_db_delete(d, USERS, &filter, &deleted, err);
    if (rc == GW_OK && deleted == 0)
        return gw_fail(err, GW_ERR_ABORTED, "the admin was changed by somebody else");
    return rc;
}

static gw_status count_one(void *arg, const bson_t *doc, gw_error *err)
{
    (void)doc;
    (void)err;
    ++*(int64_t *)arg;
    return GW_OK;
}

gw_status admin_store_count_owners(const gw_db *d, int64_t *ret_active, gw_error *err)
{
    gw_db_auto_bson filter = BSON_INITIALIZER;
    int64_t count = 0;
    gw_bson_append_str(&filter, "role", GW_STR("owner"));
    gw_bson_append_str(&filter, "status", GW_STR("active"));
    gw_status rc = gw_db_find(d, USERS, &filter, NULL, count_one, &count, err);
    if (rc == GW_OK)
        *ret_active = count;
    return rc;
}

gw_status admin_store_has_users(const gw_db *d, bool *ret, gw_error *err)
{
    gw_db_auto_bson filter = BSON_INITIALIZER;
    gw_db_auto_doc doc = NULL;
    gw_status rc = gw_db_find_one(d, USERS, &filter, NULL, &doc, err);
    if (rc == GW_OK)
        *ret = doc != NULL;
    return rc;
}

gw_status admin_store_signed_in(const gw_db *d, gw_str id, int64_t now_ms, gw_error *err)
{
    gw_db_auto_bson filter = BSON_INITIALIZER, update = BSON_INITIALIZER;
    bson_t part;
    gw_object_id oid;
    if (!gw_object_id_parse(id, &oid))
        return gw_fail(err, GW_ERR_INTERNAL, "an admin record has no id");
    gw_bson_append_oid(&filter, "_id", &oid);
    BSON_APPEND_DOCUMENT_BEGIN(&update, "$max", &part);
    BSON_APPEND_DATE_TIME(&part, "lastSignInAt", now_ms);
    bson_append_document_end(&update, &part);
    return gw_db_update_one(d, USERS, &filter, &update, NULL, err);
}
