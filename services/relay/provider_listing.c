#include "provider_listing.h"

#include "json_members.h"

#include "core/url.h"

/* How each kind is asked, and how its next pages are; NULL: it has one page. */
static const struct {
    const char *path, *next;
} questions[PROVIDER_KIND_COUNT] = {
    [PROVIDER_OPENAI] = {"/models", NULL},
    [PROVIDER_LIBRECHAT] = {"/models", NULL},
    [PROVIDER_LOCAL] = {"/models", NULL},
    [PROVIDER_ANTHROPIC] = {"/models?limit=1000", "&after_id="},
    [PROVIDER_GOOGLE] = {"/models?pageSize=1000", "&pageToken="},
};

gw_str provider_listing_target(gw_arena *arena, const provider_config *p, gw_str after)
{
    gw_auto_buf target = {0};

    gw_buf_append_str(&target, p->base_path);
    gw_buf_append_c(&target, questions[p->kind].path);
    if (after.len > 0) {
        gw_buf_append_c(&target, questions[p->kind].next);
        gw_percent_encode(&target, after);
    }
    return gw_buf_failed(&target) ? GW_STR_NULL : gw_arena_dup(arena, gw_buf_str(&target));
}

/* Google lists embedders, too; a model that does not say is taken. */
static bool generates(yyjson_val *model)
{
    yyjson_val *methods = yyjson_obj_get(model, "supportedGenerationMethods"), *each;
    yyjson_arr_iter it = yyjson_arr_iter_with(methods);

    while ((each = yyjson_arr_iter_next(&it)))
        if (yyjson_equals_str(each, "generateContent"))
            return true;
    return !methods;
}

static gw_str name_of(provider_kind kind, yyjson_val *model)
{
    gw_str name = json_string(yyjson_obj_get(model, kind == PROVIDER_GOOGLE ? "name" : "id"));

    if (kind == PROVIDER_GOOGLE) {
        if (!generates(model))
            return GW_STR_NULL;
        if (gw_str_starts_with(name, GW_STR("models/")))
            name = gw_str_slice(name, 7, name.len);
    }
    return name.len <= LISTING_NAME_MAX && !gw_str_has_control(name) ? name : GW_STR_NULL;
}

static gw_status take_names(listed_models *l, provider_kind kind, yyjson_val *list, gw_error *err)
{
    yyjson_arr_iter it = yyjson_arr_iter_with(list);
    yyjson_val *model;

    if (!l->ids)
        l->ids = gw_arena_array(l->arena, gw_str, LISTING_MODELS_MAX);
    while (l->ids && l->count < LISTING_MODELS_MAX && (model = yyjson_arr_iter_next(&it))) {
        gw_str name = name_of(kind, model);
        if (name.len == 0)
            continue;
        l->ids[l->count] = gw_arena_dup(l->arena, name);
        if (!l->ids[l->count++].ptr)
            l->ids = NULL;
    }
    return l->ids ? GW_OK : gw_fail(err, GW_ERR_NO_MEMORY, "no memory for a list of models");
}

/* Null where the page is the last one. */
static yyjson_val *next_of(provider_kind kind, yyjson_val *root)
{
    if (kind == PROVIDER_GOOGLE)
        return yyjson_obj_get(root, "nextPageToken");
    return yyjson_is_true(yyjson_obj_get(root, "has_more")) ? yyjson_obj_get(root, "last_id")
                                                            : NULL;
}

static gw_status take_next(listed_models *l, provider_kind kind, yyjson_val *root, gw_str *ret,
                           gw_error *err)
{
    gw_str next = json_string(next_of(kind, root));

    *ret = GW_STR("");
    if (!questions[kind].next || next.len == 0 || l->count == LISTING_MODELS_MAX)
        return GW_OK;
    if (next.len > LISTING_TOKEN_MAX)
        return gw_fail(err, GW_ERR_UPSTREAM_PROTOCOL,
                       "the name of its next page is longer than %d bytes", LISTING_TOKEN_MAX);
    *ret = gw_arena_dup(l->arena, next);
    return ret->ptr ? GW_OK : gw_fail(err, GW_ERR_NO_MEMORY, "no memory for a list of models");
}

gw_status provider_listing_read(listed_models *l, provider_kind kind, gw_str json, gw_str *ret_next,
                                gw_error *err)
{
    yyjson_doc *doc = yyjson_read(json.ptr, json.len, 0);
    yyjson_val *root = yyjson_doc_get_root(doc);
    yyjson_val *list = yyjson_obj_get(root, kind == PROVIDER_GOOGLE ? "models" : "data");
    gw_status rc = yyjson_is_arr(list)
                       ? take_names(l, kind, list, err)
                       : gw_fail(err, GW_ERR_UPSTREAM_PROTOCOL, "the answer is no list of models");

    if (rc == GW_OK)
        rc = take_next(l, kind, root, ret_next, err);
    yyjson_doc_free(doc);
    return rc;
}
