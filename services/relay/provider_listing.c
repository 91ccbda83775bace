#include "provider_listing.h"

#include "json_members.h"

gw_str provider_listing_target(gw_arena *arena, const provider_config *p)
{
    static const char *const paths[PROVIDER_KIND_COUNT] = {
        [PROVIDER_OPENAI] = "/models",
        [PROVIDER_LIBRECHAT] = "/models",
        [PROVIDER_LOCAL] = "/models",
        [PROVIDER_ANTHROPIC] = "/models?limit=1000",
        [PROVIDER_GOOGLE] = "/models?pageSize=1000",
    };

    return gw_arena_join(arena, p->base_path, gw_str_of(paths[p->kind]));
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

static gw_status take_names(gw_arena *arena, provider_kind kind, yyjson_val *list,
                            const gw_str **ret, size_t *ret_count, gw_error *err)
{
    size_t most = GW_MIN(yyjson_arr_size(list), LISTING_MODELS_MAX);
    gw_str *names = gw_arena_array(arena, gw_str, most + 1);
    yyjson_arr_iter it = yyjson_arr_iter_with(list);
    size_t count = 0;
    yyjson_val *model;

    while (names && count < most && (model = yyjson_arr_iter_next(&it))) {
        gw_str name = name_of(kind, model);
        if (name.len == 0)
            continue;
        names[count] = gw_arena_dup(arena, name);
        if (!names[count++].ptr)
            names = NULL;
    }
    if (!names)
        return gw_fail(err, GW_ERR_NO_MEMORY, "no memory for a list of models");
    *ret = names;
    *ret_count = count;
    return GW_OK;
}

gw_status provider_listing_read(gw_arena *arena, provider_kind kind, gw_str json,
                                const gw_str **ret, size_t *ret_count, gw_error *err)
{
    yyjson_doc *doc = yyjson_read(json.ptr, json.len, 0);
    yyjson_val *list =
        yyjson_obj_get(yyjson_doc_get_root(doc), kind == PROVIDER_GOOGLE ? "models" : "data");
    gw_status rc = yyjson_is_arr(list)
                       ? take_names(arena, kind, list, ret, ret_count, err)
                       : gw_fail(err, GW_ERR_UPSTREAM_PROTOCOL, "the answer is no list of models");

    yyjson_doc_free(doc);
    return rc;
}
