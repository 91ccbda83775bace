#include "json/yaml.h"

#include <stdlib.h>
#include <yaml.h>

/* One open mapping or sequence; a mapping alternates between awaiting a key and awaiting its value. */
typedef struct level {
    yyjson_mut_val *container;
    yyjson_mut_val *key; /* of a mapping, when its value comes next */
} level;

typedef struct reader {
    yaml_parser_t parser;
    yyjson_mut_doc *doc;
    level levels[GW_YAML_DEPTH_MAX];
    size_t depth;
    bool has_root;
} reader;

static gw_status fail_at(const yaml_mark_t *mark, gw_error *err, const char *what)
{
    return gw_fail(err, GW_ERR_INVALID_ARGUMENT, "line %zu, column %zu: %s", mark->line + 1,
                   mark->column + 1, what);
}

static gw_status no_memory(gw_error *err)
{
    return gw_fail(err, GW_ERR_NO_MEMORY, "no memory for a YAML document");
}

static bool is_one_of(gw_str s, const char *const *words, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        if (gw_str_eq_c(s, words[i]))
            return true;
    }
    return false;
}

/* The core schema's resolution of a plain scalar. */
static yyjson_mut_val *plain_value(yyjson_mut_doc *doc, gw_str s)
{
    static const char *const nulls[] = {"", "~", "null", "Null", "NULL"};
    static const char *const trues[] = {"true", "True", "TRUE"};
    static const char *const falses[] = {"false", "False", "FALSE"};
    int64_t integer;
    double real;
    if (is_one_of(s, nulls, GW_ARRAY_LEN(nulls)))
        return yyjson_mut_null(doc);
    if (is_one_of(s, trues, GW_ARRAY_LEN(trues)))
        return yyjson_mut_bool(doc, true);
    if (is_one_of(s, falses, GW_ARRAY_LEN(falses)))
        return yyjson_mut_bool(doc, false);
    if (gw_str_to_int64(s, &integer))
        return yyjson_mut_sint(doc, integer);
    if (s.len && strchr("+-.0123456789", s.ptr[0]) && gw_str_to_double(s, &real))
        return yyjson_mut_real(doc, real);
    return yyjson_mut_strncpy(doc, s.ptr, s.len);
}

/* Puts a value where it belongs: root, element, key or member. */
static gw_status place(reader *r, const yaml_event_t *e, yyjson_mut_val *value, gw_error *err)
{
    if (!value)
        return no_memory(err);
    if (r->depth == 0) {
        yyjson_mut_doc_set_root(r->doc, value);
        r->has_root = true;
        return GW_OK;
    }
    level *at = &r->levels[r->depth - 1];
    if (yyjson_mut_is_arr(at->container))
        return yyjson_mut_arr_append(at->container, value) ? GW_OK : no_memory(err);
    if (at->key) {
        bool added = yyjson_mut_obj_add(at->container, at->key, value);
        at->key = NULL;
        return added ? GW_OK : no_memory(err);
    }
    if (e->type != YAML_SCALAR_EVENT)
        return fail_at(&e->start_mark, err, "a key must be a plain word or a quoted string");
    if (yyjson_mut_obj_getn(at->container, (const char *)e->data.scalar.value,
                            e->data.scalar.length))
        return fail_at(&e->start_mark, err, "this key stands twice in its mapping");
    at->key = yyjson_mut_strncpy(r->doc, (const char *)e->data.scalar.value, e->data.scalar.length);
    return at->key ? GW_OK : no_memory(err);
}

static bool awaits_key(const reader *r)
{
    const level *at = r->depth ? &r->levels[r->depth - 1] : NULL;
    return at && yyjson_mut_is_obj(at->container) && !at->key;
}

static gw_status read_scalar(reader *r, const yaml_event_t *e, gw_error *err)
{
    gw_str s = gw_str_n(e->data.scalar.value, e->data.scalar.length);
    if (e->data.scalar.anchor || e->data.scalar.tag)
        return fail_at(&e->start_mark, err, "anchors and tags are not read here");
    if (awaits_key(r)) /* place() makes the key from the event */
        return place(r, e, yyjson_mut_null(r->doc), err);
    bool plain = e->data.scalar.style == YAML_PLAIN_SCALAR_STYLE;
    return place(r, e, plain ? plain_value(r->doc, s) : yyjson_mut_strncpy(r->doc, s.ptr, s.len),
                 err);
}

static gw_status open_level(reader *r, const yaml_event_t *e, yyjson_mut_val *container,
                            const yaml_char_t *anchor, const yaml_char_t *tag, gw_error *err)
{
    if (anchor || tag)
        return fail_at(&e->start_mark, err, "anchors and tags are not read here");
    if (r->depth == GW_YAML_DEPTH_MAX)
        return fail_at(&e->start_mark, err, "nested too deeply");
    gw_status rc = place(r, e, container, err);
    if (rc == GW_OK)
        r->levels[r->depth++] = (level){.container = container};
    return rc;
}

static gw_status read_event(reader *r, const yaml_event_t *e, gw_error *err)
{
    switch (e->type) {
    case YAML_DOCUMENT_START_EVENT:
        return r->has_root ? fail_at(&e->start_mark, err, "a second document is not read") : GW_OK;
    case YAML_ALIAS_EVENT:
        return fail_at(&e->start_mark, err, "aliases are not read here");
    case YAML_SCALAR_EVENT:
        return read_scalar(r, e, err);
    case YAML_SEQUENCE_START_EVENT:
        return open_level(r, e, yyjson_mut_arr(r->doc), e->data.sequence_start.anchor,
                          e->data.sequence_start.tag, err);
    case YAML_MAPPING_START_EVENT:
        return open_level(r, e, yyjson_mut_obj(r->doc), e->data.mapping_start.anchor,
                          e->data.mapping_start.tag, err);
    case YAML_SEQUENCE_END_EVENT:
    case YAML_MAPPING_END_EVENT:
        r->depth--;
        return GW_OK;
    default:
        return GW_OK;
    }
}

static gw_status read_events(reader *r, gw_error *err)
{
    for (;;) {
        yaml_event_t e;
        if (!yaml_parser_parse(&r->parser, &e))
            return fail_at(&r->parser.problem_mark, err,
                           r->parser.problem ? r->parser.problem : "not YAML");
        bool ended = e.type == YAML_STREAM_END_EVENT;
        gw_status rc = read_event(r, &e, err);
        yaml_event_delete(&e);
        if (rc != GW_OK || ended)
            return rc;
    }
}

gw_status gw_yaml_read(gw_str text, yyjson_mut_doc **ret, gw_error *err)
{
    reader r = {.doc = yyjson_mut_doc_new(NULL)};
    if (!r.doc)
        return no_memory(err);
    if (!yaml_parser_initialize(&r.parser)) {
        yyjson_mut_doc_free(r.doc);
        return no_memory(err);
    }
    yaml_parser_set_input_string(&r.parser, (const unsigned char *)text.ptr, text.len);
    gw_status rc = read_events(&r, err);
    yaml_parser_delete(&r.parser);
    if (rc == GW_OK && (!r.has_root || yyjson_mut_is_null(yyjson_mut_doc_get_root(r.doc))))
        yyjson_mut_doc_set_root(r.doc, yyjson_mut_obj(r.doc));
    if (rc != GW_OK) {
        yyjson_mut_doc_free(r.doc);
        return rc;
    }
    *ret = r.doc;
    return GW_OK;
}
