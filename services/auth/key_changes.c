#include "key_changes.h"

#include <stdio.h>

#define ANNOUNCE_TRIES 1000 /* each is lost to one who has won it */
#define LOG            "key_changes"
#define KEYS           "api_keys"
#define POLICIES       "limit_policies"

static gw_status newest_in(const gw_db *d, const char *collection, const char *field, int64_t *ret,
                           gw_error *err)
{
    gw_db_auto_bson filter = BSON_INITIALIZER, opts = BSON_INITIALIZER;
    gw_db_auto_doc doc = NULL;
    bson_t only;
    gw_db_append_page(&opts, field, -1, 1);
    BSON_APPEND_DOCUMENT_BEGIN(&opts, "projection", &only);
    BSON_APPEND_INT32(&only, field, 1);
    bson_append_document_end(&opts, &only);
    gw_status rc = gw_db_find_one(d, collection, &filter, &opts, &doc, err);
    int64_t found = 0;
    if (rc == GW_OK && doc)
        (void)gw_bson_int64(doc, field, &found);
    if (rc == GW_OK)
        *ret = found;
    return rc;
}

void key_changes_limits_id(const change_subject *s, char out[LIMIT_POLICY_ID_SIZE])
{
    snprintf(out, LIMIT_POLICY_ID_SIZE, "%s:%s",
             s->kind == CHANGE_OF_CLIENT_LIMITS ? "client" : "owner", s->id);
}

gw_status key_changes_newest(const gw_db *d, int64_t *ret, gw_error *err)
{
    int64_t in_log = 0, in_keys = 0, in_policies = 0;
    gw_status rc = newest_in(d, LOG, "_id", &in_log, err);
    if (rc == GW_OK && in_log == 0) /* a log that was lost does not restart the numbers */
        rc = newest_in(d, KEYS, "generation", &in_keys, err);
    if (rc == GW_OK && in_log == 0)
        rc = newest_in(d, POLICIES, "generation", &in_policies, err);
    if (rc == GW_OK)
        *ret = GW_MAX(in_log, GW_MAX(in_keys, in_policies));
    return rc;
}

static const struct {
    change_kind kind;
    const char *field; /* of the log */
} subject_fields[] = {{CHANGE_OF_KEY, "keyId"},
                      {CHANGE_OF_CLIENT_LIMITS, "clientId"},
                      {CHANGE_OF_OWNER_LIMITS, "userId"}};

static void append_subject(const change_subject *s, bson_t *doc)
{
    for (size_t i = 0; i < GW_ARRAY_LEN(subject_fields); i++) {
        if (subject_fields[i].kind == s->kind)
            gw_bson_append_str(doc, subject_fields[i].field, gw_str_of(s->id));
    }
}

static change_subject read_subject(const bson_t *doc)
{
    gw_str id;
    for (size_t i = 0; i < GW_ARRAY_LEN(subject_fields); i++) {
        if (gw_bson_str(doc, subject_fields[i].field, &id))
            return change_subject_of(subject_fields[i].kind, id);
    }
    return change_subject_of(CHANGE_OF_KEY, GW_STR(""));
}

gw_status key_changes_announce(const gw_db *d, const change_subject *s, int64_t now_ms,
                               int64_t *ret, gw_error *err)
{
    int64_t newest = 0;
    gw_status rc = key_changes_newest(d, &newest, err);
    for (int i = 0; rc == GW_OK && i < ANNOUNCE_TRIES; i++) {
        gw_db_auto_bson doc = BSON_INITIALIZER;
        newest++;
        BSON_APPEND_INT64(&doc, "_id", newest);
        BSON_APPEND_INT64(&doc, "generation", newest);
        append_subject(s, &doc);
        BSON_APPEND_DATE_TIME(&doc, "at", now_ms);
        rc = gw_db_insert(d, LOG, &doc, err);
        if (rc == GW_OK) {
            *ret = newest;
            return GW_OK;
        }
        if (rc == GW_ERR_ALREADY_EXISTS)
            rc = GW_OK; /* somebody else took the number */
    }
    return rc == GW_OK ? gw_fail(err, GW_ERR_ABORTED, "too many changes of keys at once") : rc;
}

gw_status key_changes_fence(const gw_db *d, const change_subject *s, int64_t generation,
                            gw_error *err)
{
    gw_db_auto_bson filter = BSON_INITIALIZER, update = BSON_INITIALIZER;
    bson_t part;
    char id[LIMIT_POLICY_ID_SIZE];
    BSON_APPEND_DOCUMENT_BEGIN(&update, "$max", &part);
    BSON_APPEND_INT64(&part, "generation", generation);
    bson_append_document_end(&update, &part);
    if (s->kind == CHANGE_OF_KEY) {
        gw_bson_append_str(&filter, "keyId", gw_str_of(s->id));
        return gw_db_update_one(d, KEYS, &filter, &update, NULL, err);
    }
    key_changes_limits_id(s, id);
    gw_bson_append_str(&filter, "_id", gw_str_of(id));
    return gw_db_upsert_one(d, POLICIES, &filter, &update, err);
}

typedef struct reading {
    key_change *changes;
    size_t count, max;
    const char *id_field; /* of the collection that is looked at to settle them */
    bool of_keys;
} reading;

static gw_status add_change(void *arg, const bson_t *doc, gw_error *err)
{
    (void)err;
    reading *r = arg;
    int64_t generation;
    if (r->count == r->max || !gw_bson_int64(doc, "_id", &generation))
        return GW_OK;
    key_change *c = &r->changes[r->count++];
    *c = (key_change){.generation = generation, .subject = read_subject(doc)};
    (void)gw_bson_date_ms(doc, "at", &c->at_ms);
    return GW_OK;
}

/* The id of a change's document in the collection looked at; false when it has none there. */
static bool document_id(const reading *r, const key_change *c, char out[LIMIT_POLICY_ID_SIZE])
{
    if ((c->subject.kind == CHANGE_OF_KEY) != r->of_keys)
        return false;
    if (r->of_keys)
        snprintf(out, LIMIT_POLICY_ID_SIZE, "%s", c->subject.id);
    else
        key_changes_limits_id(&c->subject, out);
    return true;
}

static gw_status settle(void *arg, const bson_t *doc, gw_error *err)
{
    (void)err;
    reading *r = arg;
    gw_str found;
    char id[LIMIT_POLICY_ID_SIZE];
    int64_t generation = 0;
    if (!gw_bson_str(doc, r->id_field, &found))
        return GW_OK;
    (void)gw_bson_int64(doc, "generation", &generation);
    for (size_t i = 0; i < r->count; i++) {
        key_change *c = &r->changes[i];
        if (generation >= c->generation && document_id(r, c, id) && gw_str_eq_c(found, id))
            c->settled = true;
    }
    return GW_OK;
}

static gw_status settle_in(const gw_db *d, reading *r, const char *collection, gw_error *err)
{
    gw_db_auto_bson filter = BSON_INITIALIZER, opts = BSON_INITIALIZER;
    bson_t in, list, only;
    uint32_t n = 0;
    BSON_APPEND_DOCUMENT_BEGIN(&filter, r->id_field, &in);
    BSON_APPEND_ARRAY_BEGIN(&in, "$in", &list);
    for (size_t i = 0; i < r->count; i++) {
        char buffer[16], id[LIMIT_POLICY_ID_SIZE];
        const char *key;
        if (!document_id(r, &r->changes[i], id))
            continue;
        bson_uint32_to_string(n++, &key, buffer, sizeof(buffer));
        gw_bson_append_str(&list, key, gw_str_of(id));
    }
    bson_append_array_end(&in, &list);
    bson_append_document_end(&filter, &in);
    BSON_APPEND_DOCUMENT_BEGIN(&opts, "projection", &only);
    BSON_APPEND_INT32(&only, r->id_field, 1);
    BSON_APPEND_INT32(&only, "generation", 1);
    bson_append_document_end(&opts, &only);
    return n ? gw_db_find(d, collection, &filter, &opts, settle, r, err) : GW_OK;
}

static gw_status settle_changes(const gw_db *d, reading *r, gw_error *err)
{
    r->id_field = "keyId";
    r->of_keys = true;
    gw_status rc = settle_in(d, r, KEYS, err);
    r->id_field = "_id";
    r->of_keys = false;
    return rc == GW_OK ? settle_in(d, r, POLICIES, err) : rc;
}

gw_status key_changes_read(const gw_db *d, int64_t after, key_change *ret, size_t max,
                           size_t *ret_count, gw_error *err)
{
    gw_db_auto_bson filter = BSON_INITIALIZER, opts = BSON_INITIALIZER;
    bson_t over;
    reading r = {.changes = ret, .max = max};
    BSON_APPEND_DOCUMENT_BEGIN(&filter, "_id", &over);
    BSON_APPEND_INT64(&over, "$gt", after);
    bson_append_document_end(&filter, &over);
    gw_db_append_page(&opts, "_id", 1, (int64_t)max);
    gw_status rc = gw_db_find(d, LOG, &filter, &opts, add_change, &r, err);
    if (rc == GW_OK && r.count)
        rc = settle_changes(d, &r, err);
    if (rc == GW_OK)
        *ret_count = r.count;
    return rc;
}

gw_status key_changes_oldest(const gw_db *d, int64_t after, int64_t *ret, gw_error *err)
{
    key_change first;
    size_t count = 0;
    gw_status rc = key_changes_read(d, after, &first, 1, &count, err);
    if (rc == GW_OK)
        *ret = count ? first.generation : 0;
    return rc;
}

gw_status key_changes_trim(const gw_db *d, int64_t before_ms, int64_t keep, gw_error *err)
{
    gw_db_auto_bson filter = BSON_INITIALIZER;
    bson_t part;
    int64_t newest = 0;
    gw_status rc = newest_in(d, LOG, "_id", &newest, err);
    if (rc != GW_OK || newest <= keep)
        return rc;
    BSON_APPEND_DOCUMENT_BEGIN(&filter, "_id", &part);
    BSON_APPEND_INT64(&part, "$lte", newest - keep);
    bson_append_document_end(&filter, &part);
    BSON_APPEND_DOCUMENT_BEGIN(&filter, "at", &part);
    BSON_APPEND_DATE_TIME(&part, "$lt", before_ms);
    bson_append_document_end(&filter, &part);
    return gw_db_delete(d, LOG, &filter, NULL, err);
}
