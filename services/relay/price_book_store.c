#include "price_book_store.h"

#include "config_document.h"
#include "config_store.h"
#include "message_fields.h"

#include "core/clock.h"
#include "core/id.h"

static const config_collection books = {.what = "price book",
                                        .name = PRICE_BOOKS_COLLECTION,
                                        .descriptor = &apirelay__relay__v1__price_book__descriptor,
                                        .key_field = "version"};

gw_status price_book_get(provider_store *s, const char *version, ProtobufCMessage **ret,
                         gw_error *err)
{
    ProtobufCMessage *found = NULL;
    gw_status rc =
        config_document_find(s, &books, *version ? version : CURRENT_PRICE_BOOK, &found, err);
    if (rc != GW_OK)
        return rc;
    if (!found && s->file_prices &&
        (*version == '\0' || strcmp(version, s->file_prices->version) == 0)) {
        found = message_shallow_copy(s->arena, &s->file_prices->base);
        if (!found)
            return config_no_memory(err);
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
    gw_status rc = config_document_insert(s, &books, b->version, &b->base, err);
    if (rc != GW_OK)
        return rc;
    if (etag_before)
        return config_document_replace(s, &books, CURRENT_PRICE_BOOK, etag_before, &b->base, err);
    rc = config_document_insert(s, &books, CURRENT_PRICE_BOOK, &b->base, err);
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
        rc = config_document_find(s, &books, CURRENT_PRICE_BOOK, &before, err);
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
    if (!m || !version.ptr || !config_document_stamp(s, m))
        return config_no_memory(err);
    message_set_text(m, "version", version.ptr);
    rc = store_price_book(s, (const price_book_message *)(const void *)m,
                          before ? message_text(before, "etag") : NULL, err);
    if (rc == GW_OK)
        rc = config_version_raise(s, err);
    if (rc == GW_OK)
        *ret = m;
    return rc;
}
