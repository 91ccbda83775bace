#include "limit_policy_store.h"

#include "api_key_bson.h"
#include "core/id.h"
#include "key_changes.h"
#include "message_bson.h"
#include "messages.h"

#include <stdio.h>

#define POLICIES     "limit_policies"
#define CHANGE_TRIES 32

gw_status limit_policy_store_ensure_indexes(mongoc_database_t *database, gw_error *err)
{
    return gw_mongo_ensure_indexes(database, POLICIES,
                                   "[{\"name\":\"generation_1\",\"key\":{\"generation\":1}}]", err);
}

/* ---- documents ---- */

static void append_id(bson_t *doc, const change_subject *s)
{
    char id[LIMIT_POLICY_ID_SIZE];
    key_changes_limits_id(s, id);
    gw_bson_append_str(doc, "_id", gw_str_of(id));
}

static void append_policy(const limit_policy *p, bson_t *doc)
{
    gw_object_id id;
    bson_t limits;
    if (p->subject.kind == CHANGE_OF_CLIENT_LIMITS)
        gw_bson_append_str(doc, "clientId", gw_str_of(p->subject.id));
    else if (gw_object_id_parse(gw_str_of(p->subject.id), &id))
        gw_bson_append_oid(doc, "userId", &id);
    if (p->view->limits) {
        BSON_APPEND_DOCUMENT_BEGIN(doc, "limits", &limits);
        message_to_bson(&p->view->limits->base, &limits);
        bson_append_document_end(doc, &limits);
    }
    BSON_APPEND_INT64(doc, "generation", p->view->generation);
    BSON_APPEND_INT64(doc, "version", p->version);
    BSON_APPEND_DATE_TIME(doc, "createdAt", message_time_ms(p->view->created_at));
    BSON_APPEND_DATE_TIME(doc, "updatedAt", message_time_ms(p->view->updated_at));
}

/* From the stored id, which also a fenced document has. */
static bool read_subject(const bson_t *doc, change_subject *ret)
{
    gw_str id, kind;
    if (!gw_bson_str(doc, "_id", &id) || !gw_str_split(&id, ':', &kind))
        return false;
    *ret = change_subject_of(
        gw_str_eq_c(kind, "client") ? CHANGE_OF_CLIENT_LIMITS : CHANGE_OF_OWNER_LIMITS, id);
    return true;
}

static gw_status read_policy(gw_arena *a, const bson_t *doc, limit_policy *ret, gw_error *err)
{
    change_subject subject;
    api_key_view parts;
    int64_t ms;
    if (!read_subject(doc, &subject))
        return gw_fail(err, GW_ERR_DATA_LOSS, "a document of limit_policies has no _id of ours");
    limit_policy p = limit_policy_none(a, &subject);
    if (!p.view)
        return gw_fail(err, GW_ERR_NO_MEMORY, "limits");
    gw_status rc = api_key_parts_from_bson(a, doc, &parts, err);
    if (rc != GW_OK)
        return rc;
    p.view->limits = parts.limits;
    p.is_stored = true;
    (void)gw_bson_int64(doc, "generation", &p.view->generation);
    (void)gw_bson_int64(doc, "version", &p.version);
    if (gw_bson_date_ms(doc, "createdAt", &ms))
        p.view->created_at = message_time(a, ms);
    if (gw_bson_date_ms(doc, "updatedAt", &ms))
        p.view->updated_at = message_time(a, ms);
    limit_policy_refresh_view(a, &p);
    *ret = p;
    return GW_OK;
}

/* ---- reading ---- */

gw_status limit_policy_store_get(const gw_db *d, gw_arena *a, const change_subject *s,
                                 limit_policy *ret, gw_error *err)
{
    gw_db_auto_bson filter = BSON_INITIALIZER;
    gw_db_auto_doc doc = NULL;
    append_id(&filter, s);
    gw_status rc = gw_db_find_one(d, POLICIES, &filter, NULL, &doc, err);
    if (rc == GW_OK && doc)
        return read_policy(a, doc, ret, err);
    limit_policy none = rc == GW_OK ? limit_policy_none(a, s) : (limit_policy){0};
    if (rc == GW_OK && !none.view)
        rc = gw_fail(err, GW_ERR_NO_MEMORY, "limits");
    if (rc == GW_OK)
        *ret = none;
    return rc;
}

typedef struct listing {
    gw_arena *arena;
    limit_policy *policies;
    size_t count, max;
} listing;

static gw_status add_policy(void *arg, const bson_t *doc, gw_error *err)
{
    listing *l = arg;
    if (l->count == l->max)
        return GW_OK;
    gw_status rc = read_policy(l->arena, doc, &l->policies[l->count], err);
    if (rc == GW_OK)
        l->count++;
    return rc;
}

gw_status limit_policy_store_list(const gw_db *d, gw_arena *a, const limit_policy_filter *f,
                                  limit_policy *ret, size_t *ret_count, gw_error *err)
{
    gw_db_auto_bson filter = BSON_INITIALIZER, opts = BSON_INITIALIZER;
    listing l = {a, ret, 0, (size_t)f->limit};
    bool clients = strcmp(f->kind, "clients") == 0, users = strcmp(f->kind, "users") == 0;
    gw_str first = clients ? GW_STR("client:") : users ? GW_STR("owner:") : GW_STR("");
    bson_t part;
    BSON_APPEND_DOCUMENT_BEGIN(&filter, "limits", &part);
    BSON_APPEND_BOOL(&part, "$exists", true);
    bson_append_document_end(&filter, &part);
    BSON_APPEND_DOCUMENT_BEGIN(&filter, "_id", &part);
    gw_bson_append_str(&part, "$gt", f->after.len ? f->after : first);
    if (clients || users) /* ';' follows ':' */
        gw_bson_append_str(&part, "$lt", clients ? GW_STR("client;") : GW_STR("owner;"));
    bson_append_document_end(&filter, &part);
    gw_db_append_page(&opts, "_id", 1, f->limit);
    gw_status rc = gw_db_find(d, POLICIES, &filter, &opts, add_policy, &l, err);
    if (rc == GW_OK)
        *ret_count = l.count;
    return rc;
}

/* ---- what a relay is told ---- */

static gw_status shared_of(gw_arena *a, const limit_policy *p,
                           Apirelay__Auth__V1__SharedLimits **ret, gw_error *err)
{
    Apirelay__Auth__V1__SharedLimits *s =
        message_new(a, &apirelay__auth__v1__shared_limits__descriptor);
    if (!s)
        return gw_fail(err, GW_ERR_NO_MEMORY, "limits");
    s->limits = p->view->limits;
    s->generation = p->view->generation;
    *ret = s;
    return GW_OK;
}

gw_status limit_policy_store_shared(const gw_db *d, gw_arena *a, gw_str client_id, gw_str user_id,
                                    shared_limits *ret, gw_error *err)
{
    gw_db_auto_bson filter = BSON_INITIALIZER;
    bson_t in, list;
    limit_policy found[2];
    listing l = {a, found, 0, GW_ARRAY_LEN(found)};
    shared_limits shared = {0};
    const change_subject client = change_subject_of(CHANGE_OF_CLIENT_LIMITS, client_id);
    const change_subject owner = change_subject_of(CHANGE_OF_OWNER_LIMITS, user_id);
    char id[LIMIT_POLICY_ID_SIZE];
    BSON_APPEND_DOCUMENT_BEGIN(&filter, "_id", &in);
    BSON_APPEND_ARRAY_BEGIN(&in, "$in", &list);
    if (client_id.len) {
        key_changes_limits_id(&client, id);
        gw_bson_append_str(&list, "0", gw_str_of(id));
    }
    if (user_id.len) {
        key_changes_limits_id(&owner, id);
        gw_bson_append_str(&list, client_id.len ? "1" : "0", gw_str_of(id));
    }
    bson_append_array_end(&in, &list);
    bson_append_document_end(&filter, &in);
    gw_status rc = client_id.len || user_id.len
                       ? gw_db_find(d, POLICIES, &filter, NULL, add_policy, &l, err)
                       : GW_OK;
    for (size_t i = 0; rc == GW_OK && i < l.count; i++)
        rc = shared_of(
            a, &found[i],
            found[i].subject.kind == CHANGE_OF_CLIENT_LIMITS ? &shared.client : &shared.owner, err);
    if (rc == GW_OK)
        *ret = shared;
    return rc;
}

/* ---- changes ---- */

/* Unwritten since it was read, and not fenced by a reader that waited too long for `generation`. */
static gw_status write_over(const gw_db *d, const limit_policy *read, const limit_policy *p,
                            bool *ret_written, gw_error *err)
{
    gw_db_auto_bson filter = BSON_INITIALIZER, update = BSON_INITIALIZER;
    bson_t part;
    int64_t matched = 0;
    append_id(&filter, &p->subject);
    if (read->version)
        BSON_APPEND_INT64(&filter, "version", read->version);
    else /* fenced before it was written */
        BSON_APPEND_NULL(&filter, "version");
    BSON_APPEND_DOCUMENT_BEGIN(&filter, "generation", &part);
    BSON_APPEND_INT64(&part, "$lt", p->view->generation);
    bson_append_document_end(&filter, &part);
    BSON_APPEND_DOCUMENT_BEGIN(&update, "$set", &part);
    append_policy(p, &part);
    bson_append_document_end(&update, &part);
    if (!p->view->limits) {
        BSON_APPEND_DOCUMENT_BEGIN(&update, "$unset", &part);
        gw_bson_append_str(&part, "limits", GW_STR(""));
        bson_append_document_end(&update, &part);
    }
    gw_status rc = gw_db_update_one(d, POLICIES, &filter, &update, &matched, err);
    *ret_written = matched == 1;
    return rc;
}

static gw_status write_first(const gw_db *d, const limit_policy *p, bool *ret_written,
                             gw_error *err)
{
    gw_db_auto_bson doc = BSON_INITIALIZER;
    append_id(&doc, &p->subject);
    append_policy(p, &doc);
    gw_status rc = gw_db_insert(d, POLICIES, &doc, err);
    *ret_written = rc == GW_OK;
    return rc == GW_ERR_ALREADY_EXISTS ? GW_OK : rc; /* another writer or a fence was first */
}

/* Steps 1 and 2 of key_changes.h. *ret_announced is set as soon as the number is taken. */
static gw_status write_change(const gw_db *d, gw_arena *a, const limit_policy *read,
                              limit_policy *p, int64_t now_ms, int64_t *ret_announced,
                              bool *ret_written, gw_error *err)
{
    int64_t generation = 0;
    gw_status rc = key_changes_announce(d, &p->subject, now_ms, &generation, err);
    if (rc != GW_OK)
        return rc;
    *ret_announced = generation;
    p->view->generation = generation;
    p->version++;
    p->view->updated_at = message_time(a, now_ms);
    if (!read->view->limits)
        p->view->created_at = p->view->updated_at;
    limit_policy_refresh_view(a, p);
    return read->is_stored ? write_over(d, read, p, ret_written, err)
                           : write_first(d, p, ret_written, err);
}

static gw_status check_etag(const limit_policy *p, gw_str etag, gw_error *err)
{
    if (etag.len == 0 || (p->view->limits && gw_str_eq_c(etag, p->view->etag)))
        return GW_OK;
    if (!p->view->limits)
        return gw_fail_field(err, GW_ERR_ABORTED, "etag", "no limits are set any more");
    return gw_fail_field(err, GW_ERR_ABORTED, "etag",
                         "the limits were changed by somebody else; their etag is now %s",
                         p->view->etag);
}

/* Tries until no other write comes between. */
static gw_status try_change(const gw_db *d, gw_arena *a, const change_subject *s,
                            limit_policy_plan *plan, limit_policy *ret, bool *ret_changed,
                            int64_t *ret_announced, gw_error *err)
{
    for (int i = 0; i < CHANGE_TRIES; i++) {
        bool changed = false, written = false;
        limit_policy read;
        gw_status rc = limit_policy_store_get(d, a, s, &read, err);
        if (rc == GW_OK)
            rc = check_etag(&read, plan->etag, err);
        if (rc != GW_OK)
            return rc;
        limit_policy p = read;
        p.view = message_copy(a, &read.view->base);
        if (!p.view)
            return gw_fail(err, GW_ERR_NO_MEMORY, "limits");
        rc = plan->apply(plan, a, &p, &changed, err);
        if (rc == GW_OK && changed)
            rc = write_change(d, a, &read, &p, plan->now_ms, ret_announced, &written, err);
        if (rc != GW_OK)
            return rc;
        if (written || !changed) {
            *ret = p;
            *ret_changed = written;
            return GW_OK;
        }
    }
    return gw_fail(err, GW_ERR_ABORTED, "the limits are being changed by others; try again");
}

gw_status limit_policy_store_change(const gw_db *d, gw_arena *a, const change_subject *s,
                                    limit_policy_plan *plan, limit_policy *ret, bool *ret_changed,
                                    gw_error *err)
{
    int64_t announced = 0;
    bool changed = false;
    gw_error ignored;
    gw_status rc = try_change(d, a, s, plan, ret, &changed, &announced, err);
    /* A number taken and not written holds the readers up: they would fence it themselves, later. */
    if (announced && !changed)
        (void)!key_changes_fence(d, s, announced, &ignored);
    if (rc == GW_OK)
        *ret_changed = changed;
    return rc;
}
