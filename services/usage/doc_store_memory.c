#include "doc_store_memory.h"

#include "memory_document.h"

#include <stdlib.h>

typedef struct entry {
    char *key; /* of _id */
    memory_document *doc;
} entry;

typedef struct table {
    char *name;
    entry *entries; /* by key */
    size_t count, cap;
} table;

typedef struct undo {
    size_t table;
    char *key;
    memory_document *before; /* NULL: it was not there */
} undo;

struct memory_db {
    table *tables;
    size_t table_count;
    undo *log; /* what is not journaled */
    size_t log_count, log_cap;
};
/* ---- tables ---- */

static char *key_of(const bson_value_t *id)
{
    char hex[25];
    if (id && id->value_type == BSON_TYPE_UTF8)
        return memory_text(id->value.v_utf8.str);
    if (!id || id->value_type != BSON_TYPE_OID)
        abort(); /* the protocol names its documents */
    bson_oid_to_string(&id->value.v_oid, hex);
    return memory_text(hex);
}

static size_t table_index(memory_db *db, const char *name)
{
    size_t i = 0;
    while (i < db->table_count && strcmp(db->tables[i].name, name) != 0)
        i++;
    if (i < db->table_count)
        return i;
    table *more = (table *)realloc(db->tables, (i + 1) * sizeof(*more));
    if (!more)
        abort();
    db->tables = more;
    db->tables[i] = (table){.name = memory_text(name)};
    db->table_count++;
    return i;
}

static const table *table_of(const memory_db *db, const char *name)
{
    for (size_t i = 0; i < db->table_count; i++)
        if (strcmp(db->tables[i].name, name) == 0)
            return &db->tables[i];
    return NULL;
}

static size_t entry_place(const table *t, const char *key)
{
    size_t low = 0;
    for (size_t high = t->count; low < high;) {
        size_t middle = (low + high) / 2;
        if (strcmp(t->entries[middle].key, key) < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

static memory_document *document_at(const table *t, const char *key)
{
    size_t at = entry_place(t, key);
    return at < t->count && strcmp(t->entries[at].key, key) == 0 ? t->entries[at].doc : NULL;
}

/* Takes `doc`; NULL removes. */
static void put_document(table *t, const char *key, memory_document *doc)
{
    size_t at = entry_place(t, key);
    bool there = at < t->count && strcmp(t->entries[at].key, key) == 0;
    if (there)
        memory_document_release(t->entries[at].doc);
    if (there && doc) {
        t->entries[at].doc = doc;
    } else if (there) {
        free(t->entries[at].key);
        memmove(&t->entries[at], &t->entries[at + 1], (--t->count - at) * sizeof(entry));
    } else if (doc) {
        t->entries = (entry *)memory_grown(t->entries, &t->cap, t->count, sizeof(entry));
        memmove(&t->entries[at + 1], &t->entries[at], (t->count++ - at) * sizeof(entry));
        t->entries[at] = (entry){.key = memory_text(key), .doc = doc};
    }
}

/* Takes `doc`. */
static void change(memory_db *db, size_t which, const char *key, memory_document *doc)
{
    db->log = (undo *)memory_grown(db->log, &db->log_cap, db->log_count, sizeof(undo));
    db->log[db->log_count++] =
        (undo){.table = which,
               .key = memory_text(key),
               .before = memory_document_hold(document_at(&db->tables[which], key))};
    put_document(&db->tables[which], key, doc);
}

/* The first that matches; by its _id at once when the filter names it. */
static const entry *find_entry(const table *t, const bson_t *filter)
{
    bson_iter_t at;
    bson_iter_t ignored;
    if (bson_iter_init_find(&at, filter, "_id") && !memory_filter_is_operators(&at, &ignored)) {
        char *key = key_of(bson_iter_value(&at));
        size_t place = entry_place(t, key);
        bool there = place < t->count && strcmp(t->entries[place].key, key) == 0;
        free(key);
        return there && memory_document_matches(t->entries[place].doc, filter) ? &t->entries[place]
                                                                               : NULL;
    }
    for (size_t i = 0; i < t->count; i++)
        if (memory_document_matches(t->entries[i].doc, filter))
            return &t->entries[i];
    return NULL;
}

static memory_outcome insert(memory_db *db, size_t which, memory_document *doc)
{
    char *key = key_of(memory_document_value(doc, "_id"));
    bool there = document_at(&db->tables[which], key) != NULL;
    if (there)
        memory_document_release(doc);
    else
        change(db, which, key, doc);
    free(key);
    return there ? MEMORY_DUPLICATE : MEMORY_INSERTED;
}

memory_outcome memory_db_write(memory_db *db, const char *collection, const doc_write *w)
{
    size_t which = table_index(db, collection);
    if (!w->filter)
        return insert(db, which, memory_document_of(w->document));
    const entry *e = find_entry(&db->tables[which], w->filter);
    if (!e && !w->upsert)
        return MEMORY_NO_MATCH;
    memory_document *doc = e ? memory_document_copy(e->doc) : memory_document_of_filter(w->filter);
    bool changed = memory_document_update(doc, w->document, !e);
    if (!e)
        return insert(db, which, doc);
    if (changed)
        change(db, which, e->key, doc);
    else
        memory_document_release(doc);
    return changed ? MEMORY_CHANGED : MEMORY_SAME;
}

void memory_db_find(const memory_db *db, const char *collection, const bson_t *filter,
                    const bson_t *opts, void (*each)(void *arg, const bson_t *doc), void *arg)
{
    const table *t = table_of(db, collection);
    int64_t limit = INT64_MAX;
    if (opts)
        (void)gw_bson_int64(opts, "limit", &limit);
    for (size_t i = 0; t && i < t->count && limit > 0; i++) {
        if (!memory_document_matches(t->entries[i].doc, filter))
            continue;
        bson_t d = BSON_INITIALIZER;
        memory_document_append(t->entries[i].doc, &d);
        each(arg, &d);
        bson_destroy(&d);
        limit--;
    }
}

void memory_db_remove(memory_db *db, const char *collection, const bson_t *filter)
{
    size_t which = table_index(db, collection);
    for (const entry *e; (e = find_entry(&db->tables[which], filter));) {
        char *key = memory_text(e->key);
        change(db, which, key, NULL);
        free(key);
    }
}

/* ---- the journal ---- */

void memory_db_journal(memory_db *db)
{
    for (size_t i = 0; i < db->log_count; i++) {
        free(db->log[i].key);
        memory_document_release(db->log[i].before);
    }
    db->log_count = 0;
}

size_t memory_db_unjournaled(const memory_db *db)
{
    return db->log_count;
}

void memory_db_crash(memory_db *db, size_t keep)
{
    while (db->log_count > keep) {
        undo *u = &db->log[--db->log_count];
        put_document(&db->tables[u->table], u->key, u->before);
        free(u->key);
    }
    memory_db_journal(db);
}

memory_db *memory_db_copy(const memory_db *db)
{
    memory_db *copy = memory_db_new();
    if (!copy)
        abort();
    for (size_t i = 0; i < db->table_count; i++) {
        const table *t = &db->tables[i];
        size_t which = table_index(copy, t->name);
        for (size_t k = 0; k < t->count; k++)
            put_document(&copy->tables[which], t->entries[k].key,
                         memory_document_hold(t->entries[k].doc));
    }
    return copy;
}

memory_db *memory_db_new(void)
{
    return (memory_db *)calloc(1, sizeof(memory_db));
}

void memory_db_free(memory_db *db)
{
    if (!db)
        return;
    memory_db_journal(db);
    for (size_t i = 0; i < db->table_count; i++) {
        table *t = &db->tables[i];
        for (size_t k = 0; k < t->count; k++) {
            free(t->entries[k].key);
            memory_document_release(t->entries[k].doc);
        }
        free(t->entries);
        free(t->name);
    }
    free(db->tables);
    free(db->log);
    free(db);
}

/* ---- as a doc store ---- */

typedef struct visit {
    gw_db_each_fn each;
    void *arg;
    gw_error *err;
    gw_status rc;
} visit;

static void visit_one(void *arg, const bson_t *doc)
{
    visit *v = (visit *)arg;
    if (v->rc == GW_OK)
        v->rc = v->each(v->arg, doc, v->err);
}

static gw_status find_documents(doc_store *s, const char *collection, const bson_t *filter,
                                const bson_t *opts, gw_db_each_fn each, void *arg, const char *what,
                                gw_error *err)
{
    visit v = {.each = each, .arg = arg, .err = err, .rc = GW_OK};
    (void)what;
    memory_db_find(((doc_store_memory *)s)->db, collection, filter, opts, visit_one, &v);
    return v.rc;
}

static gw_status write_batch(doc_store *s, const char *collection, const doc_batch *b,
                             int64_t *ret_matched, const char *what, gw_error *err)
{
    memory_db *db = ((doc_store_memory *)s)->db;
    int64_t matched = 0;
    bool duplicate = false;
    for (size_t i = 0; i < b->count; i++) {
        memory_outcome o = memory_db_write(db, collection, &b->writes[i]);
        matched += o == MEMORY_CHANGED || o == MEMORY_SAME;
        duplicate |= o == MEMORY_DUPLICATE;
    }
    memory_db_journal(db);
    if (duplicate)
        return gw_fail(err, GW_ERR_ALREADY_EXISTS, "%s: it exists already", what);
    if (ret_matched)
        *ret_matched = matched;
    return GW_OK;
}

doc_store *doc_store_memory_init(doc_store_memory *s, memory_db *db)
{
    static const doc_store_ops ops = {.find = find_documents, .write = write_batch};
    *s = (doc_store_memory){.base.ops = &ops, .db = db};
    return &s->base;
}
