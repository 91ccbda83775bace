#include "doc_store_memory.h"

#include <stdio.h>
#include <stdlib.h>

/*
 * A document is a sorted list of dotted paths and values without maps in between: updates by path are then simple. Documents are not
 * changed: a write puts another one in place, so that the old one can come back.
 */
typedef struct field {
    char *path;
    bson_value_t value;
} field;

typedef struct document {
    int references;
    field *fields;
    size_t count, cap;
} document;

typedef struct entry {
    char *key; /* of _id */
    document *doc;
} entry;

typedef struct table {
    char *name;
    entry *entries; /* by key */
    size_t count, cap;
} table;

typedef struct undo {
    size_t table;
    char *key;
    document *before; /* NULL: it was not there */
} undo;

struct memory_db {
    table *tables;
    size_t table_count;
    undo *log; /* what is not journaled */
    size_t log_count, log_cap;
};

static void *grown(void *p, size_t *cap, size_t count, size_t size)
{
    if (count < *cap)
        return p;
    *cap = *cap ? 2 * *cap : 8;
    p = realloc(p, *cap * size);
    if (!p)
        abort();
    return p;
}

static char *copy_text(const char *text)
{
    char *copy = strdup(text);
    if (!copy)
        abort();
    return copy;
}

/* ---- documents ---- */

static document *document_hold(document *d)
{
    if (d)
        d->references++;
    return d;
}

static void document_release(document *d)
{
    if (!d || --d->references > 0)
        return;
    for (size_t i = 0; i < d->count; i++) {
        free(d->fields[i].path);
        bson_value_destroy(&d->fields[i].value);
    }
    free(d->fields);
    free(d);
}

static document *document_new(void)
{
    document *d = (document *)calloc(1, sizeof(*d));
    if (!d)
        abort();
    d->references = 1;
    return d;
}

static document *document_copy(const document *from)
{
    document *d = document_new();
    d->fields = (field *)calloc(from->count + 8, sizeof(*d->fields));
    if (!d->fields)
        abort();
    d->cap = from->count + 8;
    for (; d->count < from->count; d->count++) {
        d->fields[d->count].path = copy_text(from->fields[d->count].path);
        bson_value_copy(&from->fields[d->count].value, &d->fields[d->count].value);
    }
    return d;
}

/* Where `path` is or belongs. */
static size_t place_of(const document *d, const char *path)
{
    size_t low = 0;
    for (size_t high = d->count; low < high;) {
        size_t middle = (low + high) / 2;
        if (strcmp(d->fields[middle].path, path) < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

static const bson_value_t *value_at(const document *d, const char *path)
{
    size_t at = place_of(d, path);
    return at < d->count && strcmp(d->fields[at].path, path) == 0 ? &d->fields[at].value : NULL;
}

static bool is_under(const char *path, const char *parent)
{
    size_t len = strlen(parent);
    return strncmp(path, parent, len) == 0 && (path[len] == '.' || path[len] == '\0');
}

static bool exists(const document *d, const char *path)
{
    for (size_t i = place_of(d, path); i < d->count; i++)
        if (is_under(d->fields[i].path, path))
            return true;
        else if (strncmp(d->fields[i].path, path, strlen(path)) != 0)
            break;
    return false;
}

static bool remove_under(document *d, const char *path)
{
    size_t kept = 0;
    for (size_t i = 0; i < d->count; i++) {
        if (!is_under(d->fields[i].path, path)) {
            d->fields[kept++] = d->fields[i];
            continue;
        }
        free(d->fields[i].path);
        bson_value_destroy(&d->fields[i].value);
    }
    bool any = kept < d->count;
    d->count = kept;
    return any;
}

static bool same_value(const bson_value_t *a, const bson_value_t *b);

/* True when that changed something. */
static bool put_value(document *d, const char *path, const bson_value_t *value)
{
    size_t at = place_of(d, path);
    if (at < d->count && strcmp(d->fields[at].path, path) == 0) {
        bool same = same_value(&d->fields[at].value, value);
        bson_value_destroy(&d->fields[at].value);
        bson_value_copy(value, &d->fields[at].value);
        return !same;
    }
    d->fields = (field *)grown(d->fields, &d->cap, d->count, sizeof(*d->fields));
    memmove(&d->fields[at + 1], &d->fields[at], (d->count - at) * sizeof(*d->fields));
    d->count++;
    d->fields[at].path = copy_text(path);
    bson_value_copy(value, &d->fields[at].value);
    return true;
}

/* Also what stands in the maps that `value` may be. */
static bool set_value(document *d, const char *path, const bson_value_t *value)
{
    bson_t map;
    bson_iter_t at;
    if (value->value_type != BSON_TYPE_DOCUMENT)
        return put_value(d, path, value);
    bool changed = remove_under(d, path);
    if (!bson_init_static(&map, value->value.v_doc.data, value->value.v_doc.data_len) ||
        !bson_iter_init(&at, &map))
        abort();
    while (bson_iter_next(&at)) {
        char inner[512];
        (void)snprintf(inner, sizeof(inner), "%s.%s", path, bson_iter_key(&at));
        changed |= set_value(d, inner, bson_iter_value(&at));
    }
    return changed;
}

/* From field `at` on those that start with `prefix`, as one map. */
static size_t append_fields(const document *d, size_t at, const char *prefix, bson_t *out)
{
    size_t len = strlen(prefix);
    while (at < d->count && strncmp(d->fields[at].path, prefix, len) == 0) {
        const char *name = d->fields[at].path + len;
        const char *dot = strchr(name, '.');
        if (!dot) {
            (void)bson_append_value(out, name, -1, &d->fields[at++].value);
            continue;
        }
        char inner[512];
        bson_t map;
        (void)snprintf(inner, sizeof(inner), "%.*s.", (int)(dot - d->fields[at].path),
                       d->fields[at].path);
        (void)bson_append_document_begin(out, name, (int)(dot - name), &map);
        at = append_fields(d, at, inner, &map);
        (void)bson_append_document_end(out, &map);
    }
    return at;
}

/* ---- values ---- */

static bool is_number(const bson_value_t *v)
{
    return v->value_type == BSON_TYPE_INT32 || v->value_type == BSON_TYPE_INT64;
}

static int64_t number_of(const bson_value_t *v)
{
    switch (v->value_type) {
    case BSON_TYPE_INT32:
        return v->value.v_int32;
    case BSON_TYPE_DATE_TIME:
        return v->value.v_datetime;
    case BSON_TYPE_BOOL:
        return v->value.v_bool;
    default:
        return v->value.v_int64;
    }
}

/* Of another type: false, as MongoDB compares within types only. */
static bool compare(const bson_value_t *a, const bson_value_t *b, int *ret)
{
    if (!(is_number(a) && is_number(b)) && a->value_type != b->value_type)
        return false;
    switch (a->value_type) {
    case BSON_TYPE_UTF8:
        *ret = strcmp(a->value.v_utf8.str, b->value.v_utf8.str);
        return true;
    case BSON_TYPE_OID:
        *ret = bson_oid_compare(&a->value.v_oid, &b->value.v_oid);
        return true;
    case BSON_TYPE_DOUBLE:
        *ret = (a->value.v_double > b->value.v_double) - (a->value.v_double < b->value.v_double);
        return true;
    case BSON_TYPE_INT32:
    case BSON_TYPE_INT64:
    case BSON_TYPE_DATE_TIME:
    case BSON_TYPE_BOOL:
        *ret = (number_of(a) > number_of(b)) - (number_of(a) < number_of(b));
        return true;
    default:
        return false;
    }
}

/* What cannot be compared counts as different. */
static bool same_value(const bson_value_t *a, const bson_value_t *b)
{
    int order = 1;
    return a->value_type == b->value_type && compare(a, b, &order) && order == 0;
}

/* ---- filters ---- */

static bool holds(const document *d, const char *path, const char *operator,
                  const bson_value_t * wanted)
{
    int order = 0;
    if (strcmp(operator, "$exists") == 0)
        return exists(d, path) == wanted->value.v_bool;
    const bson_value_t *v = value_at(d, path);
    if (strcmp(operator, "$not") == 0) {
        bson_t inner;
        bson_iter_t at;
        if (!bson_init_static(&inner, wanted->value.v_doc.data, wanted->value.v_doc.data_len) ||
            !bson_iter_init(&at, &inner) || !bson_iter_next(&at))
            abort();
        return !holds(d, path, bson_iter_key(&at), bson_iter_value(&at));
    }
    if (!v || !compare(v, wanted, &order))
        return false;
    if (strcmp(operator, "$gte") == 0)
        return order >= 0;
    if (strcmp(operator, "$gt") == 0)
        return order > 0;
    if (strcmp(operator, "$lte") == 0)
        return order <= 0;
    if (strcmp(operator, "$lt") == 0)
        return order < 0;
    if (strcmp(operator, "$eq") == 0)
        return order == 0;
    (void)fprintf(stderr, "the store in memory does not know %s\n", operator);
    abort();
}

static bool is_operators(const bson_iter_t *at, bson_iter_t *ret_first)
{
    return BSON_ITER_HOLDS_DOCUMENT(at) && bson_iter_recurse(at, ret_first) &&
           bson_iter_next(ret_first) && bson_iter_key(ret_first)[0] == '$';
}

static bool matches(const document *d, const bson_t *filter);

static bool matches_any(const document *d, const bson_iter_t *filters)
{
    bson_iter_t at;
    if (!bson_iter_recurse(filters, &at))
        abort();
    while (bson_iter_next(&at)) {
        bson_t filter;
        const bson_value_t *v = bson_iter_value(&at);
        if (!bson_init_static(&filter, v->value.v_doc.data, v->value.v_doc.data_len))
            abort();
        if (matches(d, &filter))
            return true;
    }
    return false;
}

static bool matches(const document *d, const bson_t *filter)
{
    bson_iter_t at;
    bson_iter_t operator;
    if (!bson_iter_init(&at, filter))
        abort();
    while (bson_iter_next(&at)) {
        const char *path = bson_iter_key(&at);
        if (strcmp(path, "$or") == 0) {
            if (!matches_any(d, &at))
                return false;
            continue;
        }
        if (!is_operators(&at, &operator)) {
            if (!holds(d, path, "$eq", bson_iter_value(&at)))
                return false;
            continue;
        }
        do {
            if (!holds(d, path, bson_iter_key(&operator), bson_iter_value(&operator)))
                return false;
        } while (bson_iter_next(&operator));
    }
    return true;
}

/* ---- updates ---- */

static bool apply_one(document *d, const char *operator, const char * path, const bson_value_t *v,
                      bool inserting)
{
    const bson_value_t *before = value_at(d, path);
    if (strcmp(operator, "$set") == 0)
        return set_value(d, path, v);
    if (strcmp(operator, "$setOnInsert") == 0)
        return inserting && set_value(d, path, v);
    if (strcmp(operator, "$unset") == 0)
        return remove_under(d, path);
    if (strcmp(operator, "$max") == 0) {
        int order = 0;
        return (!before || !compare(before, v, &order) || order < 0) && set_value(d, path, v);
    }
    if (strcmp(operator, "$inc") != 0) {
        (void)fprintf(stderr, "the store in memory does not know %s\n", operator);
        abort();
    }
    bson_value_t sum = {.value_type = BSON_TYPE_INT64};
    sum.value.v_int64 = number_of(v) + (before ? number_of(before) : 0);
    return put_value(d, path, &sum);
}

static bool apply_update(document *d, const bson_t *update, bool inserting)
{
    bson_iter_t operator;
    bson_iter_t at;
    bool changed = false;
    if (!bson_iter_init(&operator, update))
        abort();
    while (bson_iter_next(&operator)) {
        if (!bson_iter_recurse(&operator, & at))
            abort();
        while (bson_iter_next(&at))
            changed |= apply_one(d, bson_iter_key(&operator), bson_iter_key(&at),
                                 bson_iter_value(&at), inserting);
    }
    return changed;
}

static document *document_of(const bson_t *b)
{
    document *d = document_new();
    bson_iter_t at;
    if (!bson_iter_init(&at, b))
        abort();
    while (bson_iter_next(&at))
        (void)set_value(d, bson_iter_key(&at), bson_iter_value(&at));
    return d;
}

/* What an upsert starts from: the equalities of its filter. */
static document *document_of_filter(const bson_t *filter)
{
    document *d = document_new();
    bson_iter_t at;
    bson_iter_t ignored;
    if (!bson_iter_init(&at, filter))
        abort();
    while (bson_iter_next(&at))
        if (!is_operators(&at, &ignored))
            (void)set_value(d, bson_iter_key(&at), bson_iter_value(&at));
    return d;
}

/* ---- tables ---- */

static char *key_of(const bson_value_t *id)
{
    char hex[25];
    if (id && id->value_type == BSON_TYPE_UTF8)
        return copy_text(id->value.v_utf8.str);
    if (!id || id->value_type != BSON_TYPE_OID)
        abort(); /* the protocol names its documents */
    bson_oid_to_string(&id->value.v_oid, hex);
    return copy_text(hex);
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
    db->tables[i] = (table){.name = copy_text(name)};
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

static document *document_at(const table *t, const char *key)
{
    size_t at = entry_place(t, key);
    return at < t->count && strcmp(t->entries[at].key, key) == 0 ? t->entries[at].doc : NULL;
}

/* Takes `doc`; NULL removes. */
static void put_document(table *t, const char *key, document *doc)
{
    size_t at = entry_place(t, key);
    bool there = at < t->count && strcmp(t->entries[at].key, key) == 0;
    if (there)
        document_release(t->entries[at].doc);
    if (there && doc) {
        t->entries[at].doc = doc;
    } else if (there) {
        free(t->entries[at].key);
        memmove(&t->entries[at], &t->entries[at + 1], (--t->count - at) * sizeof(entry));
    } else if (doc) {
        t->entries = (entry *)grown(t->entries, &t->cap, t->count, sizeof(entry));
        memmove(&t->entries[at + 1], &t->entries[at], (t->count++ - at) * sizeof(entry));
        t->entries[at] = (entry){.key = copy_text(key), .doc = doc};
    }
}

/* Takes `doc`. */
static void change(memory_db *db, size_t which, const char *key, document *doc)
{
    db->log = (undo *)grown(db->log, &db->log_cap, db->log_count, sizeof(undo));
    db->log[db->log_count++] =
        (undo){.table = which,
               .key = copy_text(key),
               .before = document_hold(document_at(&db->tables[which], key))};
    put_document(&db->tables[which], key, doc);
}

/* The first that matches; by its _id at once when the filter names it. */
static const entry *find_entry(const table *t, const bson_t *filter)
{
    bson_iter_t at;
    bson_iter_t ignored;
    if (bson_iter_init_find(&at, filter, "_id") && !is_operators(&at, &ignored)) {
        char *key = key_of(bson_iter_value(&at));
        size_t place = entry_place(t, key);
        bool there = place < t->count && strcmp(t->entries[place].key, key) == 0;
        free(key);
        return there && matches(t->entries[place].doc, filter) ? &t->entries[place] : NULL;
    }
    for (size_t i = 0; i < t->count; i++)
        if (matches(t->entries[i].doc, filter))
            return &t->entries[i];
    return NULL;
}

static memory_outcome insert(memory_db *db, size_t which, document *doc)
{
    char *key = key_of(value_at(doc, "_id"));
    bool there = document_at(&db->tables[which], key) != NULL;
    if (there)
        document_release(doc);
    else
        change(db, which, key, doc);
    free(key);
    return there ? MEMORY_DUPLICATE : MEMORY_INSERTED;
}

memory_outcome memory_db_write(memory_db *db, const char *collection, const doc_write *w)
{
    size_t which = table_index(db, collection);
    if (!w->filter)
        return insert(db, which, document_of(w->document));
    const entry *e = find_entry(&db->tables[which], w->filter);
    if (!e && !w->upsert)
        return MEMORY_NO_MATCH;
    document *doc = e ? document_copy(e->doc) : document_of_filter(w->filter);
    bool changed = apply_update(doc, w->document, !e);
    if (!e)
        return insert(db, which, doc);
    if (changed)
        change(db, which, e->key, doc);
    else
        document_release(doc);
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
        if (!matches(t->entries[i].doc, filter))
            continue;
        bson_t d = BSON_INITIALIZER;
        (void)append_fields(t->entries[i].doc, 0, "", &d);
        each(arg, &d);
        bson_destroy(&d);
        limit--;
    }
}

void memory_db_remove(memory_db *db, const char *collection, const bson_t *filter)
{
    size_t which = table_index(db, collection);
    for (const entry *e; (e = find_entry(&db->tables[which], filter));) {
        char *key = copy_text(e->key);
        change(db, which, key, NULL);
        free(key);
    }
}

/* ---- the journal ---- */

void memory_db_journal(memory_db *db)
{
    for (size_t i = 0; i < db->log_count; i++) {
        free(db->log[i].key);
        document_release(db->log[i].before);
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
            put_document(&copy->tables[which], t->entries[k].key, document_hold(t->entries[k].doc));
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
            document_release(t->entries[k].doc);
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
