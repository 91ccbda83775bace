#include "provider_store.h"

#include "config_store.h"
#include "message_bson.h"
#include "message_fields.h"

#include "core/clock.h"
#include "core/id.h"

#include <stdlib.h>

#define ENTITIES_MAX 10000
#define ETAG_LEN     16

typedef struct entity {
    const char *what; /* for messages */
    const char *collection;
    const ProtobufCMessageDescriptor *descriptor;
    const char *id_field; /* holds _id */
    const char *key_field; /* unique, sorted by */
    const char *fixed[2]; /* fields that never change */
    gw_status (*check)(const ProtobufCMessage *m, gw_violations *v, gw_error *err);
} entity;

static gw_status check_provider(const ProtobufCMessage *m, gw_violations *v, gw_error *err)
{
    return provider_check((const provider_message *)(const void *)m, "", v, err);
}

static gw_status check_route(const ProtobufCMessage *m, gw_violations *v, gw_error *err)
{
    return route_check((const route_message *)(const void *)m, "", v, err);
}

static const entity entities[] = {
    [ENTITY_PROVIDER] = {"provider",
                         PROVIDERS_COLLECTION,
                         &apirelay__relay__v1__provider__descriptor,
                         "name",
                         "name",
                         {"name", "kind"},
                         check_provider},
    [ENTITY_ROUTE] = {"model route",
                      ROUTES_COLLECTION,
                      &apirelay__relay__v1__model_route__descriptor,
                      "id",
                      "model",
                      {"id", NULL},
                      check_route},
};

static const char *const read_only[] = {"id", "source", "created_at", "updated_at"};

static gw_status no_memory(gw_error *err)
{
    return gw_fail(err, GW_ERR_NO_MEMORY, "no memory for the request");
}

/* ---- shared pieces ---- */

const char *entity_sort_key(entity_kind kind, const ProtobufCMessage *m)
{
    return message_text(m, entities[kind].key_field);
}

/* Messages read from documents are freed with the arena. */
static void free_message(void *m)
{
    protobuf_c_message_free_unpacked(m, NULL);
}

static gw_status keep(provider_store *s, const ProtobufCMessageDescriptor *d, const bson_t *doc,
                      ProtobufCMessage **ret, gw_error *err)
{
    ProtobufCMessage *m = NULL;
    gw_status rc = message_from_bson(d, doc, &m, err);
    if (rc != GW_OK)
        return rc;
    if (!gw_arena_defer(s->arena, free_message, m)) {
        free_message(m);
        return no_memory(err);
    }
    *ret = m;
    return GW_OK;
}

/* *ret NULL when there is none. */
static gw_status find_by_id(provider_store *s, const char *collection,
                            const ProtobufCMessageDescriptor *d, const char *id,
                            ProtobufCMessage **ret, gw_error *err)
{
    gw_db_auto_bson filter = BSON_INITIALIZER;
    gw_db_auto_doc doc = NULL;
    BSON_APPEND_UTF8(&filter, "_id", id);
    gw_status rc = gw_db_find_one(&s->db, collection, &filter, NULL, &doc, err);
    if (rc == GW_OK && doc)
        rc = keep(s, d, doc, ret, err);
    return rc;
}

static gw_status raise_version(provider_store *s, gw_error *err)
{
    gw_db_auto_bson filter = BSON_INITIALIZER, update = BSON_INITIALIZER;
    bson_t inc;
    BSON_APPEND_UTF8(&filter, "_id", "config");
    BSON_APPEND_DOCUMENT_BEGIN(&update, "$inc", &inc);
    BSON_APPEND_INT64(&inc, "version", 1);
    bson_append_document_end(&update, &inc);
    return gw_db_upsert_one(&s->db, VERSIONS_COLLECTION, &filter, &update, err);
}

static Google__Protobuf__Timestamp *timestamp(provider_store *s)
{
    Google__Protobuf__Timestamp *t = gw_arena_new_of(s->arena, Google__Protobuf__Timestamp);
    if (t) {
        google__protobuf__timestamp__init(t);
        t->seconds = s->now_ms / GW_MS_PER_S;
        t->nanos = (int32_t)(s->now_ms % GW_MS_PER_S) * 1000000;
    }
    return t;
}

/* Fields that every write sets. */
static bool stamp(provider_store *s, ProtobufCMessage *m)
{
    char *etag = gw_arena_alloc(s->arena, ETAG_LEN + 1);
    Google__Protobuf__Timestamp *now = timestamp(s);
    if (!etag || !now)
        return false;
    gw_random_base62(etag, ETAG_LEN);
    message_set_text(m, "etag", etag);
    message_set_text(m, "source", "api");
    *(Google__Protobuf__Timestamp **)message_field(m, "updated_at") = now;
    return true;
}

/* Several mistakes become one message that names them all. */
static gw_status check_rules(const entity *e, const ProtobufCMessage *m, gw_error *err)
{
    gw_violations further = {0}, all = {0};
    gw_status rc = e->check(m, &further, err);
    if (rc != GW_ERR_INVALID_ARGUMENT || further.count == 0)
        return rc;
    gw_violations_add(&all, err->field, "%.159s", err->message);
    for (size_t i = 0; i < further.count; i++)
        gw_violations_add(&all, further.items[i].field, "%s", further.items[i].description);
    return gw_violations_status(&all, err);
}

/* ---- the settings file's entries ---- */

static size_t file_count(const provider_store *s, entity_kind kind)
{
    return kind == ENTITY_PROVIDER ? s->file->n_providers : s->file->n_models;
}

static const ProtobufCMessage *file_entry(const provider_store *s, entity_kind kind, size_t i)
{
    return kind == ENTITY_PROVIDER ? &s->file->providers[i]->base : &s->file->models[i]->base;
}

/* As shown: source "file", status stated, and a route's pattern as its id. */
static ProtobufCMessage *show_file_entry(provider_store *s, entity_kind kind,
                                         const ProtobufCMessage *m)
{
    ProtobufCMessage *shown = message_shallow_copy(s->arena, m);
    if (!shown)
        return NULL;
    message_set_text(shown, "source", "file");
    if (*message_text(shown, "status") == '\0')
        message_set_text(shown, "status", "active");
    if (kind == ENTITY_ROUTE)
        message_set_text(shown, "id", message_text(m, "model"));
    return shown;
}

static const ProtobufCMessage *file_entry_by_key(const provider_store *s, entity_kind kind,
                                                 const char *key)
{
    for (size_t i = 0; i < file_count(s, kind); i++) {
        const ProtobufCMessage *m = file_entry(s, kind, i);
        if (strcmp(entity_sort_key(kind, m), key) == 0)
            return m;
    }
    return NULL;
}

static gw_status not_found(const entity *e, const char *id, gw_error *err)
{
    return gw_fail(err, GW_ERR_NOT_FOUND, "there is no %s \"%.100s\"", e->what, id);
}

/* The stored entity to change: what only the file has cannot be changed over the API. */
static gw_status find_to_change(provider_store *s, entity_kind kind, const entity_change *c,
                                ProtobufCMessage **ret, gw_error *err)
{
    const entity *e = &entities[kind];
    ProtobufCMessage *found = NULL;
    gw_status rc = find_by_id(s, e->collection, e->descriptor, c->id, &found, err);
    if (rc != GW_OK)
        return rc;
    if (!found && file_entry_by_key(s, kind, c->id))
        return gw_fail(
            err, GW_ERR_FAILED_PRECONDITION,
            "%s \"%.100s\" comes from the settings file; create one of the same %s to override it",
            e->what, c->id, e->key_field);
    if (!found)
        return not_found(e, c->id, err);
    if (*c->etag && strcmp(c->etag, message_text(found, "etag")) != 0)
        return gw_fail_field(err, GW_ERR_ABORTED, "etag", "the %s has changed since it was read",
                             e->what);
    *ret = found;
    return GW_OK;
}

/* ---- create ---- */

static gw_status check_targets_exist(provider_store *s, entity_kind kind, const ProtobufCMessage *m,
                                     gw_error *err)
{
    if (kind != ENTITY_ROUTE)
        return GW_OK;
    const char *name = ((const route_message *)(const void *)m)->targets[0]->provider;
    ProtobufCMessage *found = NULL;
    if (file_entry_by_key(s, ENTITY_PROVIDER, name))
        return GW_OK;
    gw_status rc = find_by_id(s, PROVIDERS_COLLECTION, entities[ENTITY_PROVIDER].descriptor, name,
                              &found, err);
    if (rc == GW_OK && !found)
        rc = gw_fail_field(err, GW_ERR_INVALID_ARGUMENT, "targets[0].provider",
                           "there is no provider \"%.63s\"", name);
    return rc;
}

static gw_status refuse_read_only(const entity *e, const ProtobufCMessage *m, gw_error *err)
{
    gw_violations v = {0};
    for (size_t i = 0; i < GW_ARRAY_LEN(read_only); i++) {
        const ProtobufCFieldDescriptor *f =
            protobuf_c_message_descriptor_get_field_by_name(e->descriptor, read_only[i]);
        char name[GW_JSON_NAME_SIZE];
        gw_json_name(read_only[i], name);
        if (f && message_has(m, f))
            gw_violations_add(&v, name, "is read only");
    }
    return gw_violations_status(&v, err);
}

static gw_status insert(provider_store *s, const entity *e, const char *id,
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
    return gw_db_insert(&s->db, e->collection, &doc, err);
}

gw_status entity_create(provider_store *s, entity_kind kind, const entity_change *c,
                        ProtobufCMessage **ret, gw_error *err)
{
    const entity *e = &entities[kind];
    if (!c->entity)
        return gw_fail_field(err, GW_ERR_INVALID_ARGUMENT,
                             kind == ENTITY_ROUTE ? "modelRoute" : "provider", "must be given");
    gw_status rc = refuse_read_only(e, c->entity, err);
    ProtobufCMessage *m = message_shallow_copy(s->arena, c->entity);
    if (rc != GW_OK)
        return rc;
    if (!m || !stamp(s, m))
        return no_memory(err);
    *(Google__Protobuf__Timestamp **)message_field(m, "created_at") = timestamp(s);
    if (*message_text(m, "status") == '\0')
        message_set_text(m, "status", "active");
    if (kind == ENTITY_ROUTE) {
        gw_object_id id;
        char *hex = gw_arena_alloc(s->arena, GW_OBJECT_ID_HEX_SIZE);
        if (!hex)
            return no_memory(err);
        gw_object_id_make(&id, s->now_ms);
        gw_object_id_format(&id, hex);
        message_set_text(m, "id", hex);
    }
    rc = check_rules(e, m, err);
    if (rc == GW_OK)
        rc = check_targets_exist(s, kind, m, err);
    if (rc == GW_OK)
        rc = insert(s, e, message_text(m, e->id_field), m, err);
    if (rc == GW_ERR_ALREADY_EXISTS)
        return gw_fail_field(err, rc, e->key_field, "there is a %s \"%.100s\" already", e->what,
                             entity_sort_key(kind, m));
    if (rc == GW_OK)
        rc = raise_version(s, err);
    if (rc == GW_OK)
        *ret = m;
    return rc;
}

/* ---- read ---- */

gw_status entity_get(provider_store *s, entity_kind kind, const char *id, ProtobufCMessage **ret,
                     gw_error *err)
{
    const entity *e = &entities[kind];
    ProtobufCMessage *found = NULL;
    gw_status rc = find_by_id(s, e->collection, e->descriptor, id, &found, err);
    if (rc != GW_OK)
        return rc;
    const ProtobufCMessage *from_file = found ? NULL : file_entry_by_key(s, kind, id);
    if (!found && from_file)
        found = show_file_entry(s, kind, from_file);
    if (!found)
        return from_file ? no_memory(err) : not_found(e, id, err);
    *ret = found;
    return GW_OK;
}

typedef struct listing {
    provider_store *store;
    entity_kind kind;
    ProtobufCMessage **items; /* grown with realloc; moved into the arena at the end */
    size_t count;
} listing;

static gw_status listing_add(listing *l, ProtobufCMessage *m, gw_error *err)
{
    if (!m || l->count == ENTITIES_MAX)
        return m ? gw_fail(err, GW_ERR_OUT_OF_RANGE, "more than %d entries", ENTITIES_MAX)
                 : no_memory(err);
    l->items[l->count++] = m;
    return GW_OK;
}

static gw_status list_document(void *arg, const bson_t *doc, gw_error *err)
{
    listing *l = arg;
    ProtobufCMessage *m = NULL;
    gw_error skipped;
    /* What another version wrote is not shown, as it is not used either (config_store). */
    if (keep(l->store, entities[l->kind].descriptor, doc, &m, &skipped) != GW_OK)
        return GW_OK;
    return listing_add(l, m, err);
}

static bool is_hidden(const listing *l, const char *key)
{
    for (size_t i = 0; i < l->count; i++) {
        if (strcmp(entity_sort_key(l->kind, l->items[i]), key) == 0)
            return true;
    }
    return false;
}

static int by_provider_name(const void *a, const void *b)
{
    return strcmp(entity_sort_key(ENTITY_PROVIDER, *(ProtobufCMessage *const *)a),
                  entity_sort_key(ENTITY_PROVIDER, *(ProtobufCMessage *const *)b));
}

static int by_route_pattern(const void *a, const void *b)
{
    return strcmp(entity_sort_key(ENTITY_ROUTE, *(ProtobufCMessage *const *)a),
                  entity_sort_key(ENTITY_ROUTE, *(ProtobufCMessage *const *)b));
}

gw_status entity_list(provider_store *s, entity_kind kind, ProtobufCMessage ***ret,
                      size_t *ret_count, gw_error *err)
{
    gw_db_auto_bson filter = BSON_INITIALIZER;
    listing l = {.store = s,
                 .kind = kind,
                 .items = gw_arena_array(s->arena, ProtobufCMessage *, ENTITIES_MAX)};
    if (!l.items)
        return no_memory(err);
    gw_status rc =
        gw_db_find(&s->db, entities[kind].collection, &filter, NULL, list_document, &l, err);
    for (size_t i = 0; rc == GW_OK && i < file_count(s, kind); i++) {
        const ProtobufCMessage *m = file_entry(s, kind, i);
        if (!is_hidden(&l, entity_sort_key(kind, m)))
            rc = listing_add(&l, show_file_entry(s, kind, m), err);
    }
    if (rc != GW_OK)
        return rc;
    qsort(l.items, l.count, sizeof(*l.items),
          kind == ENTITY_PROVIDER ? by_provider_name : by_route_pattern);
    *ret = l.items;
    *ret_count = l.count;
    return GW_OK;
}

/* ---- update ---- */

static bool is_in(const char *name, const char *const *names, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        if (names[i] && strcmp(names[i], name) == 0)
            return true;
    }
    return false;
}

static void apply_field(const entity *e, ProtobufCMessage *to, const ProtobufCMessage *from,
                        const ProtobufCFieldDescriptor *f, const char *path, gw_violations *v)
{
    if (strcmp(f->name, "etag") == 0)
        return; /* a condition, not a change */
    if (is_in(f->name, read_only, GW_ARRAY_LEN(read_only)))
        gw_violations_add(v, path, "is read only");
    else if (is_in(f->name, e->fixed, GW_ARRAY_LEN(e->fixed)) &&
             strcmp(message_text(to, f->name), message_text(from, f->name)) != 0)
        gw_violations_add(v, path, "is fixed after creation");
    else
        message_copy_field(to, from, f);
}

static gw_status apply(const entity *e, ProtobufCMessage *to, const entity_change *c, gw_error *err)
{
    gw_violations v = {0};
    for (size_t i = 0; i < c->path_count; i++) {
        const ProtobufCFieldDescriptor *f = message_field_of_path(e->descriptor, c->paths[i]);
        if (f)
            apply_field(e, to, c->entity, f, c->paths[i], &v);
        else
            gw_violations_add(&v, c->paths[i], "is no field of a %s", e->what);
    }
    for (unsigned i = 0; c->path_count == 0 && i < e->descriptor->n_fields; i++) {
        const ProtobufCFieldDescriptor *f = &e->descriptor->fields[i];
        if (message_has(c->entity, f))
            apply_field(e, to, c->entity, f, f->name, &v);
    }
    return gw_violations_status(&v, err);
}

/* A credential must not follow a provider to another host unless whoever moves it says so. */
static gw_status check_origin(const entity_change *c, const ProtobufCMessage *before,
                              const ProtobufCMessage *after, gw_error *err)
{
    const provider_message *a = (const provider_message *)(const void *)before;
    const provider_message *b = (const provider_message *)(const void *)after;
    static const char *const names[] = {"credential"};
    bool stated = false;
    for (size_t i = 0; i < c->path_count; i++)
        stated = stated || is_in(c->paths[i], names, 1);
    if (c->path_count == 0)
        stated = *message_text(c->entity, "credential") != '\0';
    if (*a->credential == '\0' || stated || !provider_origin_changed(a, b))
        return GW_OK;
    return gw_fail_field(err, GW_ERR_INVALID_ARGUMENT, "credential",
                         "must be given anew when the scheme, host or port of baseUrl changes");
}

static gw_status replace(provider_store *s, const entity *e, const char *id, const char *etag,
                         const ProtobufCMessage *m, gw_error *err)
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
    rc = gw_db_update_one(&s->db, e->collection, &filter, &update, &matched, err);
    if (rc == GW_ERR_ALREADY_EXISTS)
        return gw_fail_field(err, rc, e->key_field, "there is such a %s already", e->what);
    if (rc == GW_OK && matched == 0)
        rc = gw_fail_field(err, GW_ERR_ABORTED, "etag", "the %s was changed at the same time",
                           e->what);
    return rc;
}

gw_status entity_update(provider_store *s, entity_kind kind, const entity_change *c,
                        ProtobufCMessage **ret, gw_error *err)
{
    const entity *e = &entities[kind];
    ProtobufCMessage *before = NULL;
    if (!c->entity)
        return gw_fail_field(err, GW_ERR_INVALID_ARGUMENT,
                             kind == ENTITY_ROUTE ? "modelRoute" : "provider", "must be given");
    gw_status rc = find_to_change(s, kind, c, &before, err);
    if (rc != GW_OK)
        return rc;
    ProtobufCMessage *after = message_shallow_copy(s->arena, before);
    if (!after)
        return no_memory(err);
    rc = apply(e, after, c, err);
    if (rc == GW_OK)
        rc = check_rules(e, after, err);
    if (rc == GW_OK && kind == ENTITY_PROVIDER)
        rc = check_origin(c, before, after, err);
    if (rc == GW_OK)
        rc = check_targets_exist(s, kind, after, err);
    if (rc == GW_OK && !stamp(s, after))
        rc = no_memory(err);
    if (rc == GW_OK)
        rc = replace(s, e, c->id, message_text(before, "etag"), after, err);
    if (rc == GW_OK)
        rc = raise_version(s, err);
    if (rc == GW_OK)
        *ret = after;
    return rc;
}

/* ---- delete ---- */

static gw_status refuse_if_used(provider_store *s, const char *name, gw_error *err)
{
    gw_db_auto_bson filter = BSON_INITIALIZER;
    gw_db_auto_doc doc = NULL;
    gw_str model;
    BSON_APPEND_UTF8(&filter, "targets.provider", name);
    gw_status rc = gw_db_find_one(&s->db, ROUTES_COLLECTION, &filter, NULL, &doc, err);
    if (rc == GW_OK && doc && !gw_bson_str(doc, "model", &model))
        model = GW_STR("?");
    if (rc == GW_OK && doc)
        rc = gw_fail(err, GW_ERR_FAILED_PRECONDITION,
                     "model route \"" GW_STR_FMT "\" still names this provider", GW_STR_ARG(model));
    return rc;
}

gw_status entity_delete(provider_store *s, entity_kind kind, const entity_change *c, gw_error *err)
{
    const entity *e = &entities[kind];
    ProtobufCMessage *found = NULL;
    gw_status rc = find_to_change(s, kind, c, &found, err);
    if (rc == GW_OK && kind == ENTITY_PROVIDER)
        rc = refuse_if_used(s, c->id, err);
    if (rc != GW_OK)
        return rc;
    gw_db_auto_bson filter = BSON_INITIALIZER;
    BSON_APPEND_UTF8(&filter, "_id", c->id);
    rc = gw_db_delete(&s->db, e->collection, &filter, NULL, err);
    return rc == GW_OK ? raise_version(s, err) : rc;
}

/* ---- price book ---- */

gw_status price_book_get(provider_store *s, const char *version, ProtobufCMessage **ret,
                         gw_error *err)
{
    ProtobufCMessage *found = NULL;
    gw_status rc =
        find_by_id(s, PRICE_BOOKS_COLLECTION, &apirelay__relay__v1__price_book__descriptor,
                   *version ? version : CURRENT_PRICE_BOOK, &found, err);
    if (rc != GW_OK)
        return rc;
    if (!found && s->file_prices &&
        (*version == '\0' || strcmp(version, s->file_prices->version) == 0)) {
        found = message_shallow_copy(s->arena, &s->file_prices->base);
        if (!found)
            return no_memory(err);
        message_set_text(found, "source", "file");
    }
    if (!found)
        return gw_fail(err, GW_ERR_NOT_FOUND, "there is no price book \"%.64s\"", version);
    *ret = found;
    return GW_OK;
}

/* The version under its own name first, then as the one in force: a crash between leaves an unused version, no gap. */
static gw_status store_price_book(provider_store *s, const price_book_message *b,
                                  const char *etag_before, gw_error *err)
{
    static const entity books = {
        .what = "price book", .collection = PRICE_BOOKS_COLLECTION, .key_field = "version"};
    gw_status rc = insert(s, &books, b->version, &b->base, err);
    if (rc != GW_OK)
        return rc;
    if (etag_before)
        return replace(s, &books, CURRENT_PRICE_BOOK, etag_before, &b->base, err);
    rc = insert(s, &books, CURRENT_PRICE_BOOK, &b->base, err);
    return rc == GW_ERR_ALREADY_EXISTS
               ? gw_fail_field(err, GW_ERR_ABORTED, "etag",
                               "the price book was changed at the same time")
               : rc;
}

gw_status price_book_put(provider_store *s, const entity_change *c, ProtobufCMessage **ret,
                         gw_error *err)
{
    ProtobufCMessage *before = NULL;
    gw_violations further = {0};
    if (!c->entity)
        return gw_fail_field(err, GW_ERR_INVALID_ARGUMENT, "priceBook", "must be given");
    if (*message_text(c->entity, "version"))
        return gw_fail_field(err, GW_ERR_INVALID_ARGUMENT, "version", "is given by the relay");
    gw_status rc =
        price_book_check((const price_book_message *)(const void *)c->entity, "", &further, err);
    if (rc == GW_OK)
        rc = find_by_id(s, PRICE_BOOKS_COLLECTION, c->entity->descriptor, CURRENT_PRICE_BOOK,
                        &before, err);
    if (rc == GW_OK && *c->etag && (!before || strcmp(c->etag, message_text(before, "etag")) != 0))
        rc = gw_fail_field(err, GW_ERR_ABORTED, "etag",
                           "the price book has changed since it was read");
    if (rc != GW_OK)
        return rc;
    ProtobufCMessage *m = message_shallow_copy(s->arena, c->entity);
    char suffix[5];
    gw_date d = gw_date_of_ms(s->now_ms);
    gw_random_base62(suffix, 4);
    gw_str version = gw_arena_printf(s->arena, "%04d%02d%02d-%02d%02d%02d-%s", d.year, d.month,
                                     d.day, d.hour, d.minute, d.second, suffix);
    if (!m || !version.ptr || !stamp(s, m))
        return no_memory(err);
    message_set_text(m, "version", version.ptr);
    rc = store_price_book(s, (const price_book_message *)(const void *)m,
                          before ? message_text(before, "etag") : NULL, err);
    if (rc == GW_OK)
        rc = raise_version(s, err);
    if (rc == GW_OK)
        *ret = m;
    return rc;
}

gw_status provider_store_ensure_indexes(mongoc_database_t *db, gw_error *err)
{
    return gw_mongo_ensure_indexes(
        db, ROUTES_COLLECTION, "[{\"name\":\"model\",\"key\":{\"model\":1},\"unique\":true}]", err);
}
