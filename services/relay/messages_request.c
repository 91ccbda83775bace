/* A request of the Messages API as a chat request: everything but the messages. */
#include "chat_request.h"
#include "json_builder.h"
#include "messages_front.h"

static const char *const honoured[] = {
    "model",         "messages",           "system",        "max_tokens",
    "stream",        "temperature",        "top_p",         "top_k",
    "tools",         "tool_choice",        "service_tier",  "thinking",
    "metadata",      "stop_sequences",     "output_config", "output_format",
    "cache_control", "context_management",
};

typedef struct writing {
    adapter_params *params;
    yyjson_mut_doc *doc; /* the builder's */
    yyjson_mut_val *root;
    yyjson_val *asked; /* the caller's body */
    provider_kind kind;
} writing;

/* ---- sampling and what goes with it ---- */

static gw_status write_sampling(writing *w, gw_error *err)
{
    json_set_copy(w->doc, w->root, "temperature", json_given(w->asked, "temperature"));
    json_set_copy(w->doc, w->root, "top_p", json_given(w->asked, "top_p"));
    if (!json_given(w->asked, "top_k"))
        return GW_OK;
    if (w->kind != PROVIDER_GOOGLE && w->kind != PROVIDER_LOCAL)
        return adapter_params_refuse(w->params, "top_k", err,
                                     "'top_k' is not supported by this provider");
    json_set_copy(w->doc, w->root, "top_k", json_given(w->asked, "top_k"));
    return GW_OK;
}

static gw_status write_stop(writing *w, gw_error *err)
{
    yyjson_val *stops = json_given(w->asked, "stop_sequences"), *each;
    yyjson_arr_iter it = yyjson_arr_iter_with(stops);

    while ((each = yyjson_arr_iter_next(&it)))
        if (!yyjson_is_str(each))
            stops = NULL;
    if (json_given(w->asked, "stop_sequences") && !yyjson_is_arr(stops))
        return gw_fail_field(err, GW_ERR_INVALID_ARGUMENT, "stop_sequences",
                             "'stop_sequences' has to be an array of strings");
    if (yyjson_arr_size(stops) > 0)
        json_set_copy(w->doc, w->root, "stop", stops);
    return GW_OK;
}

/* The ceiling, under the name that the provider knows. Reasoning models of OpenAI refuse max_tokens. */
static gw_status write_ceiling(const writing *w, gw_error *err)
{
    const char *name = w->kind == PROVIDER_OPENAI ? "max_completion_tokens" : "max_tokens";

    if (w->params->job->body->no_output)
        return gw_fail_field(err, GW_ERR_UNSUPPORTED_PARAMETER, "max_tokens",
                             "'max_tokens' 0 fills Anthropic's prompt cache, which this provider "
                             "does not have");
    (void)yyjson_mut_obj_add_int(w->doc, w->root, name, w->params->job->body->needs.max_tokens);
    return GW_OK;
}

/* OpenAI takes no longer names than this; Claude Code's are. */
#define USER_MAX_BYTES 64

static void write_user(const writing *w)
{
    gw_str user = chat_string(json_given(w->asked, "metadata"), "user_id");

    if (user.len > 0 && (w->kind == PROVIDER_GOOGLE || user.len > USER_MAX_BYTES))
        adapter_params_ignore(w->params, GW_STR("metadata"));
    else if (user.len > 0)
        json_set_text(w->doc, w->root, "user", user);
    if (json_given(w->asked, "cache_control"))
        adapter_params_ignore(w->params, GW_STR("cache_control"));
}

/* ---- thinking ---- */

/* Earlier thinking is left out in any case, so that clearing it, which Claude Code asks for, asks for nothing. */
static gw_status check_context(const writing *w, gw_error *err)
{
    yyjson_val *management = json_given(w->asked, "context_management"), *edit, *key;
    yyjson_arr_iter edits = yyjson_arr_iter_with(yyjson_obj_get(management, "edits"));
    yyjson_obj_iter members = yyjson_obj_iter_with(management);
    bool is_honoured = !management || yyjson_is_obj(management);

    while ((key = yyjson_obj_iter_next(&members)))
        is_honoured &= yyjson_equals_str(key, "edits");
    while ((edit = yyjson_arr_iter_next(&edits)))
        is_honoured &= gw_str_starts_with(chat_string(edit, "type"), GW_STR("clear_thinking"));
    if (is_honoured)
        return GW_OK;
    return adapter_params_refuse(w->params, "context_management", err,
                                 "'context_management' but for clear_thinking is not supported by "
                                 "this provider");
}

/* OpenAI's words; Anthropic's own have one more. */
static gw_status write_effort(const writing *w, yyjson_val *effort, gw_error *err)
{
    static const struct {
        const char *anthropic, *openai;
    } words[] = {
        {"low", "low"},     {"medium", "medium"}, {"high", "high"},
        {"xhigh", "xhigh"}, {"max", "xhigh"},
    };

    for (size_t i = 0; i < GW_ARRAY_LEN(words); i++) {
        if (yyjson_equals_str(effort, words[i].anthropic)) {
            (void)yyjson_mut_obj_add_str(w->doc, w->root, "reasoning_effort", words[i].openai);
            return GW_OK;
        }
    }
    return gw_fail_field(err, GW_ERR_INVALID_ARGUMENT, "output_config.effort",
                         "'output_config.effort' has to be low, medium, high, xhigh or max");
}

/* A budget says how hard to think, as Google counts it for these words; adaptive thinking is the model's own choice. */
static gw_status write_thinking(const writing *w, gw_error *err)
{
    static const char *const silent[] = {"disabled", "adaptive", "between_tools"};
    yyjson_val *thinking = json_given(w->asked, "thinking");
    gw_str type = chat_string(thinking, "type");
    int64_t budget;

    for (size_t i = 0; i < GW_ARRAY_LEN(silent); i++)
        if (gw_str_eq_c(type, silent[i]))
            return GW_OK;
    if (!gw_str_eq_c(type, "enabled") || !json_count(thinking, "budget_tokens", &budget))
        return gw_fail_field(
            err, GW_ERR_INVALID_ARGUMENT, "thinking",
            "'thinking' has to be enabled with budget_tokens, adaptive, between_tools or "
            "disabled");
    const char *effort = budget <= 1024 ? "low" : budget <= 8192 ? "medium" : "high";
    (void)yyjson_mut_obj_add_str(w->doc, w->root, "reasoning_effort", effort);
    return GW_OK;
}

/* ---- output ---- */

static gw_status write_format(const writing *w, const char *name, yyjson_val *format, gw_error *err)
{
    yyjson_val *schema = yyjson_obj_get(format, "schema");

    if (!yyjson_equals_str(yyjson_obj_get(format, "type"), "json_schema") || !yyjson_is_obj(schema))
        return gw_fail_field(err, GW_ERR_INVALID_ARGUMENT, name,
                             "'%s' has to be of type json_schema, with a schema", name);
    yyjson_mut_val *out = yyjson_mut_obj_add_obj(w->doc, w->root, "response_format");
    (void)yyjson_mut_obj_add_str(w->doc, out, "type", "json_schema");
    yyjson_mut_val *named = yyjson_mut_obj_add_obj(w->doc, out, "json_schema");
    (void)yyjson_mut_obj_add_str(w->doc, named, "name", "answer");
    json_set_copy(w->doc, named, "schema", schema);
    (void)yyjson_mut_obj_add_bool(w->doc, named, "strict", true);
    return GW_OK;
}

static gw_status check_output(const writing *w, yyjson_val *config, gw_error *err)
{
    yyjson_obj_iter it = yyjson_obj_iter_with(config);
    yyjson_val *key;
    char name[64];

    if (config && !yyjson_is_obj(config))
        return gw_fail_field(err, GW_ERR_INVALID_ARGUMENT, "output_config",
                             "'output_config' must be an object");
    while ((key = yyjson_obj_iter_next(&it))) {
        if (yyjson_equals_str(key, "effort") || yyjson_equals_str(key, "format") ||
            yyjson_is_null(yyjson_obj_iter_get_val(key)))
            continue;
        (void)snprintf(name, sizeof(name), "output_config.%.40s", yyjson_get_str(key));
        gw_status rc = adapter_params_refuse(w->params, name, err,
                                             "'%s' is not supported by this provider", name);
        if (rc != GW_OK)
            return rc;
    }
    return GW_OK;
}

static gw_status write_output(const writing *w, gw_error *err)
{
    yyjson_val *config = json_given(w->asked, "output_config"),
               *format = json_given(w->asked, "output_format");
    yyjson_val *effort = yyjson_obj_get(config, "effort");
    const char *name = format ? "output_format" : "output_config.format";
    gw_status rc = check_output(w, config, err);

    if (rc != GW_OK)
        return rc;
    if (!format)
        format = yyjson_obj_get(config, "format");
    if (effort && !yyjson_is_null(effort))
        rc = write_effort(w, effort, err);
    else if (json_given(w->asked, "thinking"))
        rc = write_thinking(w, err);
    if (rc == GW_OK && format && !yyjson_is_null(format))
        rc = write_format(w, name, format, err);
    return rc;
}

/* ---- tools ---- */

/* Of a tool what asks Anthropic for help with it: it can be called all the same. */
static void list_unknown(const writing *w, yyjson_val *tool)
{
    static const char *const known[] = {"type",         "name",   "description",
                                        "input_schema", "strict", "cache_control"};
    yyjson_obj_iter it = yyjson_obj_iter_with(tool);
    yyjson_val *key;
    char name[64];

    while ((key = yyjson_obj_iter_next(&it))) {
        yyjson_val *value = yyjson_obj_iter_get_val(key);
        bool is_known = yyjson_is_null(value) || yyjson_is_false(value);
        for (size_t i = 0; i < GW_ARRAY_LEN(known); i++)
            is_known |= yyjson_equals_str(key, known[i]);
        (void)snprintf(name, sizeof(name), "tools.%.50s", yyjson_get_str(key));
        if (!is_known)
            adapter_params_ignore(w->params, gw_str_of(name));
    }
}

static gw_status write_tool(const writing *w, yyjson_mut_val *tools, yyjson_val *tool, size_t index,
                            gw_error *err)
{
    chat_place at = {.list = "tools", .index = index, .member = "type", .part = -1};
    gw_str type = chat_string(tool, "type"), name = chat_string(tool, "name");
    gw_str description = chat_string(tool, "description");
    yyjson_val *schema = yyjson_obj_get(tool, "input_schema");

    if (type.ptr && !gw_str_eq_c(type, "custom")) {
        gw_status rc =
            chat_fail(err, GW_ERR_UNSUPPORTED_PARAMETER, &at,
                      "only tools of the caller's own (custom) are known to this provider");
        return adapter_params_drop(w->params, rc, "tools") ? GW_OK : rc;
    }
    at.member = NULL;
    if (name.len == 0 || !yyjson_is_obj(schema))
        return chat_fail(err, GW_ERR_INVALID_ARGUMENT, &at,
                         "a tool needs name and input_schema, an object");
    yyjson_mut_val *out = yyjson_mut_arr_add_obj(w->doc, tools);
    (void)yyjson_mut_obj_add_str(w->doc, out, "type", "function");
    yyjson_mut_val *function = yyjson_mut_obj_add_obj(w->doc, out, "function");
    json_set_text(w->doc, function, "name", name);
    if (description.ptr)
        json_set_text(w->doc, function, "description", description);
    json_set_copy(w->doc, function, "parameters", schema);
    list_unknown(w, tool);
    if (yyjson_is_true(yyjson_obj_get(tool, "strict")))
        (void)yyjson_mut_obj_add_bool(w->doc, function, "strict", true);
    return GW_OK;
}

static gw_status write_choice(const writing *w, gw_error *err)
{
    static const struct {
        const char *anthropic, *openai;
    } words[] = {{"auto", "auto"}, {"any", "required"}, {"none", "none"}};
    yyjson_val *choice = json_given(w->asked, "tool_choice");
    gw_str type = chat_string(choice, "type"), name = chat_string(choice, "name");

    if (yyjson_is_true(yyjson_obj_get(choice, "disable_parallel_tool_use")))
        (void)yyjson_mut_obj_add_bool(w->doc, w->root, "parallel_tool_calls", false);
    for (size_t i = 0; i < GW_ARRAY_LEN(words); i++) {
        if (gw_str_eq_c(type, words[i].anthropic)) {
            (void)yyjson_mut_obj_add_str(w->doc, w->root, "tool_choice", words[i].openai);
            return GW_OK;
        }
    }
    if (!gw_str_eq_c(type, "tool") || name.len == 0)
        return gw_fail_field(err, GW_ERR_INVALID_ARGUMENT, "tool_choice",
                             "'tool_choice' has to be auto, any, none, or a tool with its name");
    yyjson_mut_val *out = yyjson_mut_obj_add_obj(w->doc, w->root, "tool_choice");
    (void)yyjson_mut_obj_add_str(w->doc, out, "type", "function");
    json_set_text(w->doc, yyjson_mut_obj_add_obj(w->doc, out, "function"), "name", name);
    return GW_OK;
}

static gw_status write_tools(const writing *w, gw_error *err)
{
    yyjson_val *given = json_given(w->asked, "tools"), *tool;
    yyjson_arr_iter it = yyjson_arr_iter_with(given);
    gw_status rc = GW_OK;
    size_t index = 0;

    yyjson_mut_val *tools = yyjson_mut_arr(w->doc);
    while (rc == GW_OK && (tool = yyjson_arr_iter_next(&it)))
        rc = write_tool(w, tools, tool, index++, err);
    if (rc != GW_OK || yyjson_mut_arr_size(tools) == 0)
        return rc; /* a choice of nothing would be refused */
    (void)yyjson_mut_obj_add_val(w->doc, w->root, "tools", tools);
    return json_given(w->asked, "tool_choice") ? write_choice(w, err) : GW_OK;
}

gw_status messages_write_chat(adapter_params *params, json_builder *body, messages_origins *origins,
                              gw_error *err)
{
    const adapter_job *job = params->job;
    writing w = {.params = params,
                 .doc = body->doc,
                 .root = yyjson_mut_obj(body->doc),
                 .asked = job->body->root,
                 .kind = job->target->provider->kind};
    gw_status rc = adapter_params_check(params, honoured, GW_ARRAY_LEN(honoured), err);

    yyjson_mut_doc_set_root(w.doc, w.root);
    json_set_text(w.doc, w.root, "model", job->body->model);
    if (rc == GW_OK)
        rc = write_ceiling(&w, err);
    if (rc == GW_OK)
        rc = messages_write_turns(params, body, w.root, origins, err);
    if (rc == GW_OK)
        rc = check_context(&w, err);
    if (rc == GW_OK)
        rc = write_sampling(&w, err);
    if (rc == GW_OK)
        rc = write_stop(&w, err);
    if (rc == GW_OK)
        rc = write_tools(&w, err);
    if (rc == GW_OK)
        rc = write_output(&w, err);
    if (rc == GW_OK)
        write_user(&w);
    return rc;
}
