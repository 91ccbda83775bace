#include "doc_store.h"

#include <stdlib.h>

static void add(doc_batch *b, doc_write w)
{
    if (b->count == b->cap) {
        size_t cap = b->cap ? 2 * b->cap : 8;
        doc_write *grown = (doc_write *)realloc(b->writes, cap * sizeof(*grown));
        if (!grown) {
            b->failed = true;
            bson_destroy(w.document);
            if (w.filter)
                bson_destroy(w.filter);
            return;
        }
        b->writes = grown;
        b->cap = cap;
    }
    b->writes[b->count++] = w;
}

void doc_batch_insert(doc_batch *b, bson_t *document)
{
    add(b, (doc_write){.document = document});
}

void doc_batch_update(doc_batch *b, bson_t *filter, bson_t *update, bool upsert)
{
    add(b, (doc_write){.filter = filter, .document = update, .upsert = upsert});
}

void doc_batch_clear(doc_batch *b)
{
    for (size_t i = 0; i < b->count; i++) {
        bson_destroy(b->writes[i].document);
        if (b->writes[i].filter)
            bson_destroy(b->writes[i].filter);
    }
    free(b->writes);
    *b = (doc_batch){0};
}

gw_status doc_store_find(doc_store *s, const char *collection, const bson_t *filter,
                         const bson_t *opts, gw_db_each_fn each, void *arg, const char *what,
                         gw_error *err)
{
    return s->ops->find(s, collection, filter, opts, each, arg, what, err);
}

gw_status doc_store_write(doc_store *s, const char *collection, doc_batch *b, int64_t *ret_matched,
                          const char *what, gw_error *err)
{
    gw_status rc = GW_OK;
    if (b->failed)
        rc = gw_fail(err, GW_ERR_NO_MEMORY, "%s: no memory for the documents", what);
    else if (b->count)
        rc = s->ops->write(s, collection, b, ret_matched, what, err);
    doc_batch_clear(b);
    return rc;
}

gw_status doc_store_insert(doc_store *s, const char *collection, bson_t *document, const char *what,
                           gw_error *err)
{
    doc_batch b = {0};
    doc_batch_insert(&b, document);
    return doc_store_write(s, collection, &b, NULL, what, err);
}

gw_status doc_store_update(doc_store *s, const char *collection, bson_t *filter, bson_t *update,
                           bool *ret_matched, const char *what, gw_error *err)
{
    doc_batch b = {0};
    int64_t matched = 0;
    doc_batch_update(&b, filter, update, false);
    gw_status rc = doc_store_write(s, collection, &b, &matched, what, err);
    if (rc == GW_OK && ret_matched)
        *ret_matched = matched > 0;
    return rc;
}
