#include "price_book_store.h"

#include "config_document.h"
#include "config_store.h"
#include "message_fields.h"

#include "core/clock.h"
#include "core/id.h"
#include "json/field.h"

#define INDEX_MAX 5000 /* versions: 3.5 MB of a document's 16 */

static const config_collection books = {.what = "price book",
                                        .name = PRICE_BOOKS_COLLECTION,
                                        .descriptor = &apirelay__relay__v1__price_book__descriptor,
                                        .key_field = "version"};
static const config_collection indexes = {.what = "price book",
                                          .name = PRICE_BOOKS_COLLECTION,
                                          .descriptor =
                                              &apirelay__relay__v1__price_book_index__descriptor,
                                          .key_field = "etag"};

static price_book_message *book_of(ProtobufCMessage *m)
{
    return (price_book_message *)(void *)m;
}

/* ---- the index ---- */

static price_book_version *entry_of(provider_store *s, const price_book_message *b)
{
    price_book_version *v = gw_arena_new_of(s->arena, price_book_version);
    if (v) {
        apirelay__relay__v1__price_book_version__init(v);
        v->version = b->version;
        v->effective_from = b->effective_from;
        v->updated_at = b->updated_at;
        v->updated_by = b->updated_by;
        v->note = b->note;
        v->price_count = (int32_t)b->n_prices;
    }
    return v;
}

/* At the bound the oldest gives way that is not in force. */
static bool append(provider_store *s, price_book_index *x, price_book_version *v)
{
    price_book_version **list = gw_arena_array(s->arena, price_book_version *, x->n_versions + 1);
    const price_book_version *in_force = price_book_index_at(x, s->now_ms);
    bool is_full = x->n_versions >= INDEX_MAX;
    size_t count = 0;
    if (!list || !v)
        return false;
    for (size_t i = 0; i < x->n_versions; i++) {
        if (is_full && x->versions[i] != in_force)
            is_full = false;
        else
            list[count++] = x->versions[i];
    }
    list[count++] = v;
    x->versions = list;
    x->n_versions = count;
    return true;
}

/* ---- reading ---- */

/* Before there was an index the book in force stood as "current", too. */
static gw_status read_book_without_index(provider_store *s, price_book_index *x, gw_error *err)
{
    ProtobufCMessage *found = NULL;
    gw_status rc = config_document_find(s, &books, "current", &found, err);
    if (rc != GW_OK || !found)
        return rc;
    price_book_version *v = entry_of(s, book_of(found));
    if (v)
        v->effective_from = v->updated_at;
    return append(s, x, v) ? GW_OK : config_no_memory(err);
}

gw_status price_book_index_read(provider_store *s, price_book_index *ret, gw_error *err)
{
    ProtobufCMessage *found = NULL;
    apirelay__relay__v1__price_book_index__init(ret);
    gw_status rc = config_document_find(s, &indexes, PRICE_BOOK_INDEX, &found, err);
    if (rc == GW_OK && found)
        *ret = *(const price_book_index *)(const void *)found;
    return rc == GW_OK && !found ? read_book_without_index(s, ret, err) : rc;
}

gw_status price_book_read(provider_store *s, const price_book_index *x, gw_str version,
                          ProtobufCMessage **ret, gw_error *err)
{
    const price_book_version *v = price_book_index_find(x, version);
    ProtobufCMessage *found = NULL;
    gw_status rc = v ? config_document_find(s, &books, v->version, &found, err) : GW_OK;
    if (rc == GW_OK && !found)
        rc = gw_fail_field(err, GW_ERR_NOT_FOUND, "version", "there is no price book \"%.*s\"",
                           GW_STR_ARG(gw_str_slice(version, 0, 64)));
    if (rc != GW_OK)
        return rc;
    *ret = message_shallow_copy(s->arena, found);
    return *ret ? GW_OK : config_no_memory(err);
}

static gw_status copy_of_file(provider_store *s, ProtobufCMessage **ret, gw_error *err)
{
    *ret = message_shallow_copy(s->arena, &s->file_prices->base);
    if (!*ret)
        return config_no_memory(err);
    message_set_text(*ret, "source", "file");
    return GW_OK;
}

gw_status price_book_get(provider_store *s, const char *version, ProtobufCMessage **ret,
                         gw_error *err)
{
    price_book_index x;
    gw_status rc = price_book_index_read(s, &x, err);
    if (rc != GW_OK)
        return rc;
    gw_str wanted = gw_str_of(version);
    const price_book_version *in_force = price_book_index_at(&x, s->now_ms);
    bool is_files = s->file_prices &&
                    (wanted.len > 0 ? gw_str_eq_c(wanted, s->file_prices->version) : !in_force);
    if (is_files && !price_book_index_find(&x, wanted))
        rc = copy_of_file(s, ret, err);
    else if (wanted.len == 0 && !in_force)
        rc = gw_fail(err, GW_ERR_NOT_FOUND, "there is no price book");
    else
        rc = price_book_read(s, &x, wanted.len > 0 ? wanted : gw_str_of(in_force->version), ret,
                             err);
    if (rc == GW_OK)
        message_set_text(*ret, "etag", x.etag);
    return rc;
}

/* ---- a new version ---- */

static char *make_version(provider_store *s)
{
    char suffix[5];
    gw_date d = gw_date_of_ms(s->now_ms);
    gw_random_base62(suffix, 4);
    return (char *)(uintptr_t)gw_arena_printf(s->arena, "%04d%02d%02d-%02d%02d%02d-%s", d.year,
                                              d.month, d.day, d.hour, d.minute, d.second, suffix)
        .ptr;
}

/* The version under its own name first, then in the index: a crash between leaves a document that nobody asks for. */
gw_status price_book_write(provider_store *s, price_book_plan *p, gw_error *err)
{
    price_book_index *x = &p->index;
    price_book_message *b = p->book;
    const char *before = x->etag;
    gw_status rc = config_document_insert(s, &books, b->version, &b->base, err);
    if (rc != GW_OK)
        return rc;
    if (!append(s, x, p->entry) || !config_document_stamp(s, &x->base))
        return config_no_memory(err);
    if (*before)
        rc = config_document_replace(s, &indexes, PRICE_BOOK_INDEX, before, &x->base, err);
    else
        rc = config_document_insert(s, &indexes, PRICE_BOOK_INDEX, &x->base, err);
    if (rc == GW_ERR_ALREADY_EXISTS)
        rc = gw_fail_field(err, GW_ERR_ABORTED, "etag",
                           "the price book was changed at the same time");
    if (rc == GW_OK)
        b->etag = x->etag;
    return rc == GW_OK ? config_version_raise(s, err) : rc;
}

static gw_status check_put(provider_store *s, const entity_change *c, const price_book_index *x,
                           gw_error *err)
{
    const price_book_message *b = (const price_book_message *)(const void *)c->entity;
    gw_status rc = price_book_check(b, "", s->further, err);
    if (rc == GW_OK)
        rc = price_book_check_repeats(b, "", s->further, err);
    if (rc != GW_OK)
        return rc;
    /* A body that was cut or forgotten: without prices no key that has a budget is served. */
    if (b->n_prices == 0)
        return gw_fail_field(err, GW_ERR_INVALID_ARGUMENT, "prices", "must be given");
    if (*c->etag && strcmp(c->etag, x->etag) != 0)
        return gw_fail_field(err, GW_ERR_ABORTED, "etag",
                             "the price book has changed since it was read");
    if (price_time_ms(b->effective_from) > s->now_ms &&
        price_book_index_later(x, s->now_ms) >= PRICE_BOOKS_LATER_MAX)
        return gw_fail_field(err, GW_ERR_FAILED_PRECONDITION, "effectiveFrom",
                             "there are %d price books already that take force later",
                             PRICE_BOOKS_LATER_MAX);
    return GW_OK;
}

static gw_status refuse_given(provider_store *s, const ProtobufCMessage *m, gw_error *err)
{
    static const char *const given[] = {"version", "source", "updated_at", "updated_by"};
    gw_violations v = {0};
    for (size_t i = 0; i < GW_ARRAY_LEN(given); i++) {
        char name[GW_JSON_NAME_SIZE];
        gw_json_name(given[i], name);
        if (gw_field_is_set(
                m, protobuf_c_message_descriptor_get_field_by_name(m->descriptor, given[i])))
            gw_violations_add(&v, name, "is given by the relay");
    }
    return gw_violations_split(&v, err, s->further);
}

gw_status price_book_plan_put(provider_store *s, const entity_change *c, price_book_plan *ret,
                              gw_error *err)
{
    price_book_index *x = &ret->index;
    if (!c->entity)
        return gw_fail_field(err, GW_ERR_INVALID_ARGUMENT, "priceBook", "must be given");
    gw_status rc = refuse_given(s, c->entity, err);
    if (rc == GW_OK)
        rc = price_book_index_read(s, x, err);
    if (rc == GW_OK)
        rc = check_put(s, c, x, err);
    if (rc != GW_OK)
        return rc;
    ProtobufCMessage *m = message_shallow_copy(s->arena, c->entity);
    char *version = make_version(s);
    if (!m || !version || !config_document_stamp(s, m))
        return config_no_memory(err);
    book_of(m)->version = version;
    if (!book_of(m)->effective_from)
        book_of(m)->effective_from = book_of(m)->updated_at;
    ret->book = book_of(m);
    ret->entry = entry_of(s, ret->book);
    return ret->entry ? GW_OK : config_no_memory(err);
}

/* ---- the books of a period ---- */

static gw_status too_many(gw_error *err)
{
    return gw_fail_field(err, GW_ERR_INVALID_ARGUMENT, "from",
                         "more than %d price books or %d prices were in force since: name a later "
                         "time, or a version",
                         PRICE_BOOKS_MAX, PRICES_TOTAL_MAX);
}

gw_status price_book_list_of_span(provider_store *s, int64_t from_ms, int64_t to_ms,
                                  price_book_message ***ret, size_t *ret_count, gw_error *err)
{
    price_book_index x;
    price_book_span span = {0};
    size_t count = 0, prices = 0;
    gw_status rc = price_book_index_read(s, &x, err);
    if (rc != GW_OK)
        return rc;
    span.items = gw_arena_array(s->arena, const price_book_version *, x.n_versions + 1);
    price_book_message **list = gw_arena_array(s->arena, price_book_message *, PRICE_BOOKS_MAX + 1);
    if (!span.items || !list)
        return config_no_memory(err);
    price_book_index_span(&x, from_ms, to_ms, &span);
    if (span.count > PRICE_BOOKS_MAX)
        return too_many(err);
    if (!span.starts && s->file_prices)
        list[count++] = (price_book_message *)(uintptr_t)s->file_prices;
    for (size_t i = 0; rc == GW_OK && i < span.count; i++) {
        ProtobufCMessage *m = NULL;
        rc = price_book_read(s, &x, gw_str_of(span.items[i]->version), &m, err);
        if (rc != GW_OK)
            return rc;
        list[count++] = book_of(m);
        prices += book_of(m)->n_prices;
        if (prices > PRICES_TOTAL_MAX)
            return too_many(err);
    }
    *ret = list;
    *ret_count = count;
    return rc;
}
