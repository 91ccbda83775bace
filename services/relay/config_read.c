#include "config_read.h"

#include "config_file.h"
#include "config_store.h"
#include "message_bson.h"
#include "price_book_store.h"

#include <stdlib.h>

gw_status config_read_version(const gw_db *db, int64_t *ret, gw_error *err)
{
    gw_db_auto_bson filter = BSON_INITIALIZER;
    gw_db_auto_doc found = NULL;
    BSON_APPEND_UTF8(&filter, "_id", "config");
    *ret = 0;
    gw_status rc = gw_db_find_one(db, VERSIONS_COLLECTION, &filter, NULL, &found, err);
    if (found)
        (void)gw_bson_int64(found, "version", ret);
    return rc;
}

/* ---- a collection ---- */

typedef struct message_kind {
    const char *collection;
    const ProtobufCMessageDescriptor *descriptor;
    bool (*is_good)(const ProtobufCMessage *m);
} message_kind;

static bool provider_is_good(const ProtobufCMessage *m)
{
    return provider_check((const provider_message *)(const void *)m, "", NULL, NULL) == GW_OK;
}

static bool route_is_good(const ProtobufCMessage *m)
{
    return route_check((const route_message *)(const void *)m, "", NULL, NULL) == GW_OK;
}

static bool price_book_is_good(const ProtobufCMessage *m)
{
    return price_book_check_stored((const price_book_message *)(const void *)m, NULL) == GW_OK;
}

static const message_kind providers = {
    PROVIDERS_COLLECTION, &apirelay__relay__v1__provider__descriptor, provider_is_good};
static const message_kind routes = {ROUTES_COLLECTION,
                                    &apirelay__relay__v1__model_route__descriptor, route_is_good};
static const message_kind price_books = {
    PRICE_BOOKS_COLLECTION, &apirelay__relay__v1__price_book__descriptor, price_book_is_good};

/* Messages of one kind; the list grows. */
typedef struct message_list {
    const message_kind *kind;
    ProtobufCMessage **items;
    size_t count;
    unsigned skipped;
} message_list;

static bool list_add(message_list *l, ProtobufCMessage *m)
{
    ProtobufCMessage **grown = realloc(l->items, (l->count + 1) * sizeof(*grown));
    if (!grown)
        return false;
    l->items = grown;
    l->items[l->count++] = m;
    return true;
}

static gw_status take_document(void *arg, const bson_t *doc, gw_error *err)
{
    message_list *l = arg;
    ProtobufCMessage *m = NULL;
    gw_error ignored;
    (void)err;
    if (message_from_bson(l->kind->descriptor, doc, &m, &ignored) == GW_OK && l->kind->is_good(m) &&
        list_add(l, m))
        return GW_OK;
    if (m)
        protobuf_c_message_free_unpacked(m, NULL);
    l->skipped++;
    return GW_OK;
}

/* `only_id` NULL: every document. */
static gw_status read_list(const gw_db *db, const char *only_id, message_list *l, gw_error *err)
{
    gw_db_auto_bson filter = BSON_INITIALIZER;
    if (only_id)
        BSON_APPEND_UTF8(&filter, "_id", only_id);
    return gw_db_find(db, l->kind->collection, &filter, NULL, take_document, l, err);
}

/* ---- all ---- */

static gw_status read_price_books(const gw_db *db, config_snapshot *to, unsigned *skipped,
                                  gw_error *err)
{
    gw_auto(gw_arena) arena = gw_arena_new();
    provider_store s = {.db = *db, .arena = arena};
    int64_t now_ms = gw_clock_wall_ms(&gw_system_clock);
    message_list first = {.kind = &price_books}, later = {.kind = &price_books};
    price_book_index x;
    gw_status rc = arena ? price_book_index_read(&s, &x, err)
                         : gw_fail(err, GW_ERR_NO_MEMORY, "no memory for the configuration");
    if (rc != GW_OK)
        return rc;
    const price_book_version *in_force = price_book_index_at(&x, now_ms);
    if (in_force)
        rc = read_list(db, in_force->version, &first, err);
    for (size_t i = 0; rc == GW_OK && i < x.n_versions; i++)
        if (price_time_ms(x.versions[i]->effective_from) > now_ms)
            rc = read_list(db, x.versions[i]->version, &later, err);
    if (first.count)
        to->price_book = (price_book_message *)(void *)first.items[0];
    to->scheduled_price_books = (price_book_message **)(void *)later.items;
    to->n_scheduled_price_books = later.count;
    *skipped += first.skipped + later.skipped;
    free(first.items);
    return rc;
}

static gw_status read_into(const gw_db *db, config_snapshot *to, unsigned *skipped, gw_error *err)
{
    message_list of_providers = {.kind = &providers}, of_routes = {.kind = &routes};
    gw_status rc = read_list(db, NULL, &of_providers, err);
    if (rc == GW_OK)
        rc = read_list(db, NULL, &of_routes, err);
    to->providers = (provider_message **)(void *)of_providers.items;
    to->n_providers = of_providers.count;
    to->models = (route_message **)(void *)of_routes.items;
    to->n_models = of_routes.count;
    *skipped = of_providers.skipped + of_routes.skipped;
    return rc == GW_OK ? read_price_books(db, to, skipped, err) : rc;
}

gw_status config_read_all(const gw_db *db, config_snapshot **ret, unsigned *ret_skipped,
                          gw_error *err)
{
    config_snapshot *s = calloc(1, sizeof(*s));
    if (!s)
        return gw_fail(err, GW_ERR_NO_MEMORY, "no memory for the configuration");
    apirelay__relay__v1__relay_config_snapshot__init(s);
    gw_status rc = read_into(db, s, ret_skipped, err);
    if (rc == GW_OK)
        *ret = s;
    else
        apirelay__relay__v1__relay_config_snapshot__free_unpacked(s, NULL);
    return rc;
}
