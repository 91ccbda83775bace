#include "provider_store_internal.h"

#include "message_bson.h"
#include "message_fields.h"

#define READ_MAX       (5 * HISTORY_MAX) /* with those that do not count */
#define ANNOUNCE_TRIES 20
#define PAGE_BYTES_MAX (1024 * 1024)

static const config_collection versions = {.what = "version",
                                           .name = HISTORY_COLLECTION,
                                           .descriptor =
                                               &apirelay__relay__v1__config_version__descriptor,
                                           .key_field = "version"};

static char *entity_name(provider_store *s, entity_kind kind, const char *id)
{
    gw_str name = gw_arena_printf(s->arena, "%s/%s", entity_of(kind)->c.name, id);
    return name.len ? (char *)(uintptr_t)name.ptr : NULL;
}

static char *entry_id(provider_store *s, const char *of, int64_t number)
{
    gw_str id = gw_arena_printf(s->arena, "%s/%lld", of, (long long)number);
    return id.len ? (char *)(uintptr_t)id.ptr : NULL;
}

/* ---- what there is ---- */

typedef struct reading {
    provider_store *store;
    history_entry *items; /* room for READ_MAX and one that is not kept yet */
    size_t count;
} reading;

static gw_status read_entry(void *arg, const bson_t *doc, gw_error *err)
{
    reading *r = arg;
    gw_arena *a = r->store->arena;
    history_entry *e = &r->items[r->count];
    gw_str etag, before, change;
    if (r->count == READ_MAX || !gw_bson_int64(doc, "number", &e->number) ||
        !gw_bson_str(doc, "etag", &etag) || !gw_bson_str(doc, "before", &before) ||
        !gw_bson_str(doc, "change", &change))
        return GW_OK;
    e->etag = gw_arena_strdup(a, etag);
    e->before = gw_arena_strdup(a, before);
    e->is_deletion = gw_str_eq_c(change, "delete");
    r->count++;
    return e->etag && e->before ? GW_OK : config_no_memory(err);
}

static gw_status read_entries(provider_store *s, const char *of, reading *r, gw_error *err)
{
    gw_db_auto_bson filter = BSON_INITIALIZER, opts = BSON_INITIALIZER;
    bson_t fields;
    BSON_APPEND_UTF8(&filter, "entity", of);
    BSON_APPEND_DOCUMENT_BEGIN(&opts, "projection", &fields);
    for (size_t i = 0; i < 4; i++)
        BSON_APPEND_INT32(&fields, ((const char *[]){"number", "etag", "before", "change"})[i], 1);
    bson_append_document_end(&opts, &fields);
    gw_db_append_page(&opts, "number", -1, READ_MAX);
    return gw_db_find(&s->db, HISTORY_COLLECTION, &filter, &opts, read_entry, r, err);
}

static bool has_etag(const reading *r, const char *etag)
{
    for (size_t i = 0; i < r->count; i++) {
        if (strcmp(r->items[i].etag, etag) == 0)
            return true;
    }
    return false;
}

/* The etag of the newest version that counts; "" when there is none. */
static const char *newest_etag(const reading *r, const ProtobufCMessage *stored)
{
    if (stored)
        return message_text(stored, "etag");
    for (size_t i = 0; i < r->count; i++) {
        if (r->items[i].is_deletion)
            return r->items[i].etag;
    }
    return "";
}

/* Keeps those that count, in place. */
static size_t keep_chain(history_entry *items, size_t count, const char *etag)
{
    size_t kept = 0;
    for (size_t i = 0; i < count; i++) {
        if (*etag && strcmp(items[i].etag, etag) == 0) {
            items[kept++] = items[i];
            etag = items[i].before;
        }
    }
    return kept;
}

config_version *config_version_of(provider_store *s, entity_kind kind, const char *change,
                                  const ProtobufCMessage *m)
{
    config_version *v = gw_arena_new_of(s->arena, config_version);
    if (!v)
        return NULL;
    apirelay__relay__v1__config_version__init(v);
    v->change = (char *)(uintptr_t)change;
    v->updated_at = *(Google__Protobuf__Timestamp **)message_field((ProtobufCMessage *)(uintptr_t)m,
                                                                   "updated_at");
    v->updated_by = (char *)(uintptr_t)message_text(m, "updated_by");
    v->note = (char *)(uintptr_t)message_text(m, "note");
    v->etag = (char *)(uintptr_t)message_text(m, "etag");
    if (kind == ENTITY_PROVIDER)
        v->provider = (provider_message *)(uintptr_t)m;
    else
        v->model_route = (route_message *)(uintptr_t)m;
    return v;
}

/* The entity as it is stored becomes the first of the entries. */
static gw_status add_unkept(provider_store *s, entity_kind kind, const ProtobufCMessage *stored,
                            reading *r, entity_history *h, gw_error *err)
{
    h->unkept = config_version_of(s, kind, r->count ? "update" : "create", stored);
    if (!h->unkept)
        return config_no_memory(err);
    memmove(&r->items[1], &r->items[0], r->count * sizeof(r->items[0]));
    r->items[0] = (history_entry){
        .number = ++h->newest, .etag = h->unkept->etag, .before = r->count ? r->items[1].etag : ""};
    h->unkept->version = h->newest;
    r->count++;
    return GW_OK;
}

gw_status entity_history_read(provider_store *s, entity_kind kind, const char *id,
                              const ProtobufCMessage *stored, entity_history *ret, gw_error *err)
{
    entity_history h = {.entity = entity_name(s, kind, id)};
    reading r = {.store = s, .items = gw_arena_array(s->arena, history_entry, READ_MAX + 1)};
    if (!h.entity || !r.items)
        return config_no_memory(err);
    gw_status rc = read_entries(s, h.entity, &r, err);
    h.newest = r.count ? r.items[0].number : 0;
    if (rc == GW_OK && stored && !has_etag(&r, message_text(stored, "etag")))
        rc = add_unkept(s, kind, stored, &r, &h, err);
    if (rc != GW_OK)
        return rc;
    h.entries = r.items;
    h.count = keep_chain(r.items, r.count, newest_etag(&r, stored));
    *ret = h;
    return GW_OK;
}

/* ---- as they were ---- */

typedef struct fetching {
    provider_store *store;
    const entity_history *history;
    size_t at, end; /* entries still wanted */
    config_version **items;
    size_t count, bytes;
} fetching;

static void add_fetched(fetching *f, config_version *v)
{
    const history_entry *e = &f->history->entries[f->at];
    v->version = e->number;
    v->current = f->at == 0 && !e->is_deletion;
    f->items[f->count++] = v;
}

static gw_status fetch_entry(void *arg, const bson_t *doc, gw_error *err)
{
    fetching *f = arg;
    const history_entry *entries = f->history->entries;
    ProtobufCMessage *m = NULL;
    int64_t number = 0;
    bson_iter_t it;
    bson_t body;
    uint32_t len = 0;
    const uint8_t *data = NULL;
    gw_error unreadable;
    (void)gw_bson_int64(doc, "number", &number);
    while (f->at < f->end && entries[f->at].number > number) /* expired meanwhile */
        f->at++;
    if (f->at == f->end || entries[f->at].number != number)
        return GW_OK; /* does not count */
    if (f->count && f->bytes + doc->len > PAGE_BYTES_MAX) {
        f->end = f->at;
        return GW_OK;
    }
    f->bytes += doc->len;
    if (bson_iter_init_find(&it, doc, "version") && BSON_ITER_HOLDS_DOCUMENT(&it))
        bson_iter_document(&it, &len, &data);
    if (!data || !bson_init_static(&body, data, len))
        return gw_fail(err, GW_ERR_DATA_LOSS, "version %lld is damaged", (long long)number);
    /* What another release of the relay wrote is left out, as in lists. */
    if (config_document_keep(f->store, &versions, &body, &m, &unreadable) == GW_OK)
        add_fetched(f, (config_version *)(void *)m);
    f->at++;
    return GW_OK;
}

static gw_status fetch_stored(fetching *f, gw_error *err)
{
    const history_entry *entries = f->history->entries;
    gw_db_auto_bson filter = BSON_INITIALIZER, opts = BSON_INITIALIZER;
    bson_t range;
    if (f->at >= f->end)
        return GW_OK;
    BSON_APPEND_UTF8(&filter, "entity", f->history->entity);
    BSON_APPEND_DOCUMENT_BEGIN(&filter, "number", &range);
    BSON_APPEND_INT64(&range, "$gte", entries[f->end - 1].number);
    BSON_APPEND_INT64(&range, "$lte", entries[f->at].number);
    bson_append_document_end(&filter, &range);
    gw_db_append_page(&opts, "number", -1, READ_MAX);
    return gw_db_find(&f->store->db, HISTORY_COLLECTION, &filter, &opts, fetch_entry, f, err);
}

gw_status entity_history_fetch(provider_store *s, const entity_history *h, size_t first, size_t max,
                               config_version **ret, size_t *ret_count, size_t *next, gw_error *err)
{
    fetching f = {.store = s,
                  .history = h,
                  .at = first,
                  .end = first + GW_MIN(max, h->count - first),
                  .items = ret};
    if (h->unkept && f.at == 0 && f.end > 0) {
        add_fetched(&f, h->unkept);
        f.at++;
    }
    gw_status rc = fetch_stored(&f, err);
    if (rc != GW_OK)
        return rc;
    *ret_count = f.count;
    *next = f.end;
    return GW_OK;
}

gw_status entity_history_find(provider_store *s, const entity_history *h, int64_t number,
                              config_version **ret, gw_error *err)
{
    size_t at = 0, count = 0, next = 0;
    while (at < h->count && h->entries[at].number != number)
        at++;
    gw_status rc = entity_history_fetch(s, h, at, 1, ret, &count, &next, err);
    return rc == GW_OK && count == 0 ? gw_fail_field(err, GW_ERR_NOT_FOUND, "version",
                                                     "there is no version %lld", (long long)number)
                                     : rc;
}

/* ---- a new one ---- */

static gw_status insert(provider_store *s, const char *of, const config_version *v,
                        const char *before, gw_error *err)
{
    bson_t *body = NULL;
    const char *id = entry_id(s, of, v->version);
    gw_status rc = id ? message_to_bson(&v->base, &body, err) : config_no_memory(err);
    if (rc != GW_OK)
        return rc;
    gw_db_auto_bson doc = BSON_INITIALIZER;
    BSON_APPEND_UTF8(&doc, "_id", id);
    BSON_APPEND_UTF8(&doc, "entity", of);
    BSON_APPEND_INT64(&doc, "number", v->version);
    BSON_APPEND_UTF8(&doc, "etag", v->etag);
    BSON_APPEND_UTF8(&doc, "before", before);
    BSON_APPEND_UTF8(&doc, "change", v->change);
    BSON_APPEND_DOCUMENT(&doc, "version", body);
    bson_destroy(body);
    return gw_db_insert(&s->db, HISTORY_COLLECTION, &doc, err);
}

/* One that somebody else has kept meanwhile is as good. */
static gw_status keep_unkept(provider_store *s, const entity_history *h, gw_error *err)
{
    if (!h->unkept)
        return GW_OK;
    gw_status rc = insert(s, h->entity, h->unkept, h->entries[0].before, err);
    return rc == GW_ERR_ALREADY_EXISTS ? GW_OK : rc;
}

gw_status entity_history_announce(provider_store *s, const entity_plan *p, gw_error *err)
{
    entity_history h;
    gw_status rc = entity_history_read(s, p->kind, p->id, p->before, &h, err);
    if (rc == GW_OK)
        rc = keep_unkept(s, &h, err);
    if (rc != GW_OK)
        return rc;
    for (int i = 1; i <= ANNOUNCE_TRIES; i++) {
        p->version->version = h.newest + i;
        rc = insert(s, h.entity, p->version, h.count ? h.entries[0].etag : "", err);
        if (rc != GW_ERR_ALREADY_EXISTS) /* somebody else's, who may win */
            return rc;
    }
    return gw_fail(err, GW_ERR_ABORTED, "it is being changed by too many at once");
}

void entity_history_withdraw(provider_store *s, const entity_plan *p)
{
    const char *of = entity_name(s, p->kind, p->id);
    const char *id = of ? entry_id(s, of, p->version->version) : NULL;
    gw_db_auto_bson filter = BSON_INITIALIZER;
    gw_error ignored;
    if (!id)
        return;
    BSON_APPEND_UTF8(&filter, "_id", id);
    BSON_APPEND_UTF8(&filter, "etag", p->version->etag);
    (void)!gw_db_delete(&s->db, HISTORY_COLLECTION, &filter, NULL, &ignored);
}

static void begin_to_expire(provider_store *s, const char *of, int64_t up_to)
{
    gw_db_auto_bson filter = BSON_INITIALIZER, update = BSON_INITIALIZER;
    bson_t child;
    gw_error ignored;
    BSON_APPEND_UTF8(&filter, "entity", of);
    BSON_APPEND_DOCUMENT_BEGIN(&filter, "number", &child);
    BSON_APPEND_INT64(&child, "$lte", up_to);
    bson_append_document_end(&filter, &child);
    BSON_APPEND_DOCUMENT_BEGIN(&filter, "expiresAt", &child);
    BSON_APPEND_BOOL(&child, "$exists", false);
    bson_append_document_end(&filter, &child);
    BSON_APPEND_DOCUMENT_BEGIN(&update, "$set", &child);
    BSON_APPEND_DATE_TIME(&child, "expiresAt", s->now_ms + s->history_keep_ms);
    bson_append_document_end(&update, &child);
    (void)!gw_db_update_many(&s->db, HISTORY_COLLECTION, &filter, &update, NULL, &ignored);
}

static void drop_oldest(provider_store *s, const char *of, int64_t newest)
{
    gw_db_auto_bson filter = BSON_INITIALIZER;
    bson_t child;
    gw_error ignored;
    BSON_APPEND_UTF8(&filter, "entity", of);
    BSON_APPEND_DOCUMENT_BEGIN(&filter, "number", &child);
    BSON_APPEND_INT64(&child, "$lte", newest - HISTORY_MAX);
    bson_append_document_end(&filter, &child);
    (void)!gw_db_delete(&s->db, HISTORY_COLLECTION, &filter, NULL, &ignored);
}

void entity_history_tidy(provider_store *s, const entity_plan *p)
{
    const char *of = entity_name(s, p->kind, p->id);
    int64_t number = p->version->version;
    if (!of)
        return;
    begin_to_expire(s, of, p->after ? number - 1 : number);
    if (number > HISTORY_MAX)
        drop_oldest(s, of, number);
}

gw_status entity_history_ensure_indexes(mongoc_database_t *db, gw_error *err)
{
    return gw_mongo_ensure_indexes(
        db, HISTORY_COLLECTION,
        "[{\"name\":\"entity\",\"key\":{\"entity\":1,\"number\":-1}},"
        "{\"name\":\"expiry\",\"key\":{\"expiresAt\":1},\"expireAfterSeconds\":0}]",
        err);
}
