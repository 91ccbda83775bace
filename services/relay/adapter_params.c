#include "adapter_params.h"

#define IGNORED_MAX_BYTES 2048

void adapter_params_fini(adapter_params *p)
{
    gw_buf_fini(&p->ignored);
}

static bool is_listed(const adapter_params *p, gw_str name)
{
    gw_str rest = gw_buf_str(&p->ignored), each;

    while (gw_str_split(&rest, ',', &each))
        if (gw_str_eq(gw_str_trim(each), name))
            return true;
    return false;
}

void adapter_params_ignore(adapter_params *p, gw_str name)
{
    if (!gw_header_name_is_valid(name) || p->ignored.len + name.len > IGNORED_MAX_BYTES ||
        is_listed(p, name))
        return;
    gw_buf_append_c(&p->ignored, p->ignored.len > 0 ? ", " : "");
    gw_buf_append_str(&p->ignored, name);
}

gw_status adapter_params_take(const adapter_params *p, gw_str *ret, gw_error *err)
{
    *ret = p->ignored.len > 0 ? gw_arena_dup(p->job->arena, gw_buf_str(&p->ignored)) : GW_STR("");
    if (gw_buf_failed(&p->ignored) || !ret->ptr)
        return gw_fail(err, GW_ERR_NO_MEMORY, "no memory for the upstream request");
    return GW_OK;
}

static bool is_one_of(gw_str s, const char *const *names, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (gw_str_eq_c(s, names[i]))
            return true;
    return false;
}

static bool is_hint(gw_str name)
{
    static const char *const hints[] = {"user", "safety_identifier", "prompt_cache_key",
                                        "prompt_cache_retention", "metadata"};

    return is_one_of(name, hints, GW_ARRAY_LEN(hints));
}

/* A value that asks for what happens without it. */
static bool asks_for_nothing(gw_str name, yyjson_val *v)
{
    static const struct {
        const char *name, *value;
    } words[] = {
        {"tool_choice", "none"},   {"tool_choice", "auto"},  {"function_call", "none"},
        {"function_call", "auto"}, {"service_tier", "auto"}, {"service_tier", "default"},
        {"verbosity", "medium"},
    };
    static const char *const zeros[] = {"frequency_penalty", "presence_penalty", "top_logprobs"};
    static const char *const ones[] = {"n", "best_of"};

    if (gw_str_eq_c(name, "parallel_tool_calls")) /* false asks for something */
        return yyjson_is_null(v) || yyjson_is_true(v);
    if (gw_str_eq_c(name, "web_search_options")) /* {} switches the search on */
        return yyjson_is_null(v);
    if (yyjson_is_null(v) || yyjson_is_false(v) || (yyjson_is_str(v) && yyjson_get_len(v) == 0) ||
        (yyjson_is_ctn(v) && yyjson_get_len(v) == 0))
        return true;
    for (size_t i = 0; i < GW_ARRAY_LEN(words); i++)
        if (gw_str_eq_c(name, words[i].name) && yyjson_equals_str(v, words[i].value))
            return true;
    if (yyjson_is_num(v))
        return (yyjson_get_num(v) == 0 && is_one_of(name, zeros, GW_ARRAY_LEN(zeros))) ||
               (yyjson_get_num(v) == 1 && is_one_of(name, ones, GW_ARRAY_LEN(ones)));
    if (gw_str_eq_c(name, "modalities"))
        return yyjson_arr_size(v) == 1 && yyjson_equals_str(yyjson_arr_get_first(v), "text");
    return gw_str_eq_c(name, "response_format") &&
           yyjson_equals_str(yyjson_obj_get(v, "type"), "text");
}

gw_status adapter_params_refuse(adapter_params *p, const char *name, gw_error *err,
                                const char *format, ...)
{
    char why[200];
    va_list args;

    if (p->job->route->drops_params) {
        adapter_params_ignore(p, gw_str_of(name));
        return GW_OK;
    }
    va_start(args, format);
    (void)vsnprintf(why, sizeof(why), format, args);
    va_end(args);
    return gw_fail_field(err, GW_ERR_UNSUPPORTED_PARAMETER, name, "%s", why);
}

bool adapter_params_drop(adapter_params *p, gw_status rc, const char *name)
{
    if (rc != GW_ERR_UNSUPPORTED_PARAMETER || !p->job->route->drops_params)
        return false;
    adapter_params_ignore(p, gw_str_of(name));
    return true;
}

gw_status adapter_params_check(adapter_params *p, const char *const *honoured, size_t count,
                               gw_error *err)
{
    yyjson_obj_iter it = yyjson_obj_iter_with(p->job->body->root);
    yyjson_val *key;

    while ((key = yyjson_obj_iter_next(&it))) {
        gw_str name = json_string(key);
        if (is_one_of(name, honoured, count) ||
            asks_for_nothing(name, yyjson_obj_iter_get_val(key)))
            continue;
        if (is_hint(name)) {
            adapter_params_ignore(p, name);
            continue;
        }
        const char *shown = *name.ptr ? name.ptr : "(no name)"; /* an error names something */
        gw_status rc = adapter_params_refuse(p, shown, err, "'%.60s' is not supported by %s", shown,
                                             p->provider);
        if (rc != GW_OK)
            return rc;
    }
    return GW_OK;
}
