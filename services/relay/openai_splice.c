/* The splices of openai_body.h. */
#include "openai_body.h"

#include <stdlib.h>

#define SPLICES_MAX 6

typedef struct splice {
    json_span at;
    gw_str text;
} splice;

typedef struct splice_list {
    splice items[SPLICES_MAX];
    size_t count;
    gw_buf added; /* members that are put in front */
} splice_list;

/* Replaces a member's value, or adds the member. */
static void set_member(splice_list *l, json_span at, const char *name, gw_str value)
{
    if (at.to > at.from) {
        l->items[l->count++] = (splice){at, value};
        return;
    }
    gw_buf_append_json(&l->added, gw_str_of(name));
    gw_buf_append_char(&l->added, ':');
    gw_buf_append_str(&l->added, value);
    gw_buf_append_char(&l->added, ',');
}

static gw_str quoted(gw_arena *arena, gw_str s)
{
    gw_auto_buf out = {0};

    gw_buf_append_json(&out, s);
    return gw_arena_dup(arena, gw_buf_str(&out));
}

/* In every spelling, so that the one put in its place is the only one. */
static void drop_usage_members(yyjson_mut_val *options)
{
    yyjson_mut_obj_iter it = yyjson_mut_obj_iter_with(options);
    yyjson_mut_val *key;

    while ((key = yyjson_mut_obj_iter_next(&it)))
        if (openai_name_is(gw_str_n(yyjson_mut_get_str(key), yyjson_mut_get_len(key)),
                           "include_usage"))
            (void)yyjson_mut_obj_iter_remove(&it);
}

/* stream_options as the caller wrote it, include_usage true. */
static gw_str options_with_usage(gw_arena *arena, const openai_body *b)
{
    yyjson_val *given = yyjson_obj_get(b->root, "stream_options");

    if (!yyjson_is_obj(given))
        return GW_STR("{\"include_usage\":true}");
    yyjson_mut_doc *doc = yyjson_mut_doc_new(NULL);
    yyjson_mut_val *options = doc ? yyjson_val_mut_copy(doc, given) : NULL;
    gw_str text = GW_STR_NULL;
    size_t len;
    drop_usage_members(options);
    if (options &&
        yyjson_mut_obj_put(options, yyjson_mut_str(doc, "include_usage"), yyjson_mut_true(doc))) {
        char *written = yyjson_mut_val_write(options, YYJSON_WRITE_NOFLAG, &len);
        if (written)
            text = gw_arena_dup(arena, gw_str_n(written, len));
        free(written);
    }
    yyjson_mut_doc_free(doc);
    return text;
}

static void set_max_tokens(splice_list *l, gw_arena *arena, const openai_body *b,
                           const openai_splices *s)
{
    gw_str value = gw_arena_int(arena, s->max_tokens);

    if (s->is_local &&
        b->max_tokens_at.to == b->max_tokens_at.from) /* Ollama passes the new name over */
        set_member(l, b->max_tokens_at, "max_tokens", value);
    /* Reasoning models refuse max_tokens; the legacy endpoint knows nothing else. */
    if (b->max_tokens_at.to > b->max_tokens_at.from) /* the caller's own name for it */
        set_member(l, b->max_tokens_at, "max_tokens", value);
    if (b->max_completion_tokens_at.to > b->max_completion_tokens_at.from)
        set_member(l, b->max_completion_tokens_at, "max_completion_tokens", value);
    if (b->max_tokens_at.to > b->max_tokens_at.from ||
        b->max_completion_tokens_at.to > b->max_completion_tokens_at.from || s->is_local)
        return;
    /* OpenAI takes no max_completion_tokens beside a prediction; the models that take one know the older name. */
    if (s->endpoint == ENDPOINT_CHAT && b->prediction_at.to == b->prediction_at.from)
        set_member(l, b->max_completion_tokens_at, "max_completion_tokens", value);
    else
        set_member(l, b->max_tokens_at, "max_tokens", value);
}

static bool is_developer(yyjson_val *message)
{
    return yyjson_equals_str(yyjson_obj_get(message, "role"), "developer");
}

static bool has_developer(yyjson_val *messages)
{
    yyjson_arr_iter it = yyjson_arr_iter_with(messages);
    yyjson_val *message;

    while ((message = yyjson_arr_iter_next(&it)))
        if (is_developer(message))
            return true;
    return false;
}

/* The messages, "developer" as "system": chat templates of local models know no other name for it. */
static gw_str messages_of_systems(gw_arena *arena, yyjson_val *messages)
{
    yyjson_mut_doc *doc = yyjson_mut_doc_new(NULL);
    yyjson_mut_val *copy = doc ? yyjson_val_mut_copy(doc, messages) : NULL;
    yyjson_mut_arr_iter it = yyjson_mut_arr_iter_with(copy);
    yyjson_mut_val *message;
    size_t len = 0;

    while ((message = yyjson_mut_arr_iter_next(&it))) {
        yyjson_mut_val *role = yyjson_mut_obj_get(message, "role");
        if (yyjson_mut_equals_str(role, "developer"))
            (void)yyjson_mut_set_str(role, "system");
    }
    char *text = copy ? yyjson_mut_val_write(copy, YYJSON_WRITE_NOFLAG, &len) : NULL;
    gw_str ret = text ? gw_arena_dup(arena, gw_str_n(text, len)) : GW_STR_NULL;
    free(text);
    yyjson_mut_doc_free(doc);
    return ret;
}

static int by_position(const void *a, const void *b)
{
    size_t x = ((const splice *)a)->at.from, y = ((const splice *)b)->at.from;

    return (x > y) - (x < y);
}

static gw_status make_parts(gw_arena *arena, const openai_body *b, splice_list *l,
                            const gw_str **ret_parts, size_t *ret_count, gw_error *err)
{
    gw_str *parts = gw_arena_array(arena, gw_str, 2 * SPLICES_MAX + 3);
    gw_str added = gw_arena_dup(arena, gw_buf_str(&l->added));
    size_t count = 0, at = 0;

    if (!parts || gw_buf_failed(&l->added) || added.len != l->added.len)
        return gw_fail(err, GW_ERR_NO_MEMORY, "no memory for the upstream request");
    if (added.len > 0) {
        at = json_members_start(b->raw);
        parts[count++] = gw_str_slice(b->raw, 0, at);
        parts[count++] = added;
    }
    qsort(l->items, l->count, sizeof(splice), by_position);
    for (size_t i = 0; i < l->count; i++) {
        if (!l->items[i].text.ptr)
            return gw_fail(err, GW_ERR_NO_MEMORY, "no memory for the upstream request");
        parts[count++] = gw_str_slice(b->raw, at, l->items[i].at.from);
        parts[count++] = l->items[i].text;
        at = l->items[i].at.to;
    }
    parts[count++] = gw_str_slice(b->raw, at, b->raw.len);
    *ret_parts = parts;
    *ret_count = count;
    return GW_OK;
}

gw_status openai_body_splice(gw_arena *arena, const openai_body *b, const openai_splices *s,
                             const gw_str **ret_parts, size_t *ret_count, gw_error *err)
{
    splice_list list = {0};

    if (s->model.len > 0 && !gw_str_eq(s->model, b->model))
        set_member(&list, b->model_at, "model", quoted(arena, s->model));
    if (s->stream && !b->stream)
        set_member(&list, b->stream_at, "stream", GW_STR("true"));
    if (s->include_usage && !b->include_usage)
        set_member(&list, b->stream_options_at, "stream_options", options_with_usage(arena, b));
    if (s->max_tokens > 0)
        set_max_tokens(&list, arena, b, s);
    if (s->is_local && has_developer(yyjson_obj_get(b->root, "messages")))
        set_member(&list, b->messages_at, "messages",
                   messages_of_systems(arena, yyjson_obj_get(b->root, "messages")));
    gw_status rc = make_parts(arena, b, &list, ret_parts, ret_count, err);
    gw_buf_fini(&list.added);
    return rc;
}
