/* A chat request as a request of Anthropic's Messages API: everything but the messages. */
#include "anthropic.h"
#include "chat_request.h"
#include "json_builder.h"

/* `thinking` and `top_k` are Anthropic's own; they pass as they are. */
static const char *const honoured[] = {
    "model",
    "messages",
    "stream",
    "stream_options",
    "max_tokens",
    "max_completion_tokens",
    "temperature",
    "top_p",
    "top_k",
    "stop",
    "tools",
    "tool_choice",
    "parallel_tool_calls",
    "response_format",
    "reasoning_effort",
    "thinking",
    "user",
};

typedef struct writing {
    adapter_params *params;
    json_builder *body;
    yyjson_mut_doc *doc; /* the builder's */
    yyjson_mut_val *root;
    yyjson_val *asked; /* the caller's body */
} writing;

static void copy_member(const writing *w, const char *name, const char *as)
{
    yyjson_val *v = json_given(w->asked, name);

    if (v)
        (void)yyjson_mut_obj_add_val(w->doc, w->root, as, yyjson_val_mut_copy(w->doc, v));
}

static gw_status write_sampling(writing *w, gw_error *err)
{
    yyjson_val *temperature = json_given(w->asked, "temperature");

    if (yyjson_get_num(temperature) > 1) {
        gw_status rc = adapter_params_refuse(w->params, "temperature", err,
                                             "'temperature' is at most 1 at Anthropic");
        if (rc != GW_OK)
            return rc;
    } else {
        copy_member(w, "temperature", "temperature");
    }
    copy_member(w, "top_p", "top_p");
    copy_member(w, "top_k", "top_k");
    copy_member(w, "thinking", "thinking");
    return GW_OK;
}

static gw_status write_stop(writing *w, gw_error *err)
{
    yyjson_val *stop = json_given(w->asked, "stop");

    if (yyjson_is_str(stop)) {
        yyjson_mut_val *list = yyjson_mut_obj_add_arr(w->doc, w->root, "stop_sequences");
        (void)yyjson_mut_arr_add_val(list, yyjson_val_mut_copy(w->doc, stop));
    } else if (yyjson_is_arr(stop)) {
        copy_member(w, "stop", "stop_sequences");
    } else if (stop) {
        return gw_fail_field(err, GW_ERR_INVALID_ARGUMENT, "stop",
                             "'stop' must be a string or an array of strings");
    }
    return GW_OK;
}

/* The person is named to Anthropic as the caller named it to OpenAI. */
static void write_user(writing *w)
{
    gw_str user = chat_string(w->asked, "user");

    if (user.len > 0)
        json_set_text(w->doc, yyjson_mut_obj_add_obj(w->doc, w->root, "metadata"), "user_id", user);
}

/* ---- tools ---- */

static void write_tool(const writing *w, yyjson_mut_val *tools, yyjson_val *given,
                       const chat_tool *tool)
{
    yyjson_mut_val *out = yyjson_mut_arr_add_obj(w->doc, tools);
    yyjson_val *mark = yyjson_obj_get(given, "cache_control");

    json_set_text(w->doc, out, "name", tool->name);
    if (tool->description.ptr)
        json_set_text(w->doc, out, "description", tool->description);
    if (tool->parameters) {
        (void)yyjson_mut_obj_add_val(w->doc, out, "input_schema",
                                     yyjson_val_mut_copy(w->doc, tool->parameters));
    } else {
        yyjson_mut_val *schema = yyjson_mut_obj_add_obj(w->doc, out, "input_schema");
        (void)yyjson_mut_obj_add_str(w->doc, schema, "type", "object");
    }
    if (tool->strict)
        (void)yyjson_mut_obj_add_bool(w->doc, out, "strict", true);
    if (yyjson_is_obj(mark))
        (void)yyjson_mut_obj_add_val(w->doc, out, "cache_control",
                                     yyjson_val_mut_copy(w->doc, mark));
}

static gw_status write_choice(writing *w, gw_error *err)
{
    static const char *const types[] = {
        [CHAT_CHOICE_ABSENT] = "auto",  [CHAT_CHOICE_AUTO] = "auto",  [CHAT_CHOICE_NONE] = "none",
        [CHAT_CHOICE_REQUIRED] = "any", [CHAT_CHOICE_NAMED] = "tool",
    };
    bool one_at_a_time = yyjson_is_false(json_given(w->asked, "parallel_tool_calls"));
    chat_choice choice;
    gw_status rc = chat_choice_read(json_given(w->asked, "tool_choice"), &choice, err);

    if (adapter_params_drop(w->params, rc, "tool_choice"))
        rc = GW_OK; /* `choice` is as if absent */
    if (rc != GW_OK || (choice.kind == CHAT_CHOICE_ABSENT && !one_at_a_time))
        return rc;
    yyjson_mut_val *out = yyjson_mut_obj_add_obj(w->doc, w->root, "tool_choice");
    (void)yyjson_mut_obj_add_str(w->doc, out, "type", types[choice.kind]);
    if (choice.kind == CHAT_CHOICE_NAMED)
        json_set_text(w->doc, out, "name", choice.name);
    if (one_at_a_time && choice.kind != CHAT_CHOICE_NONE)
        (void)yyjson_mut_obj_add_bool(w->doc, out, "disable_parallel_tool_use", true);
    return GW_OK;
}

static gw_status write_tools(writing *w, gw_error *err)
{
    yyjson_arr_iter it = yyjson_arr_iter_with(json_given(w->asked, "tools"));
    yyjson_mut_val *tools = NULL;
    yyjson_val *given;
    size_t index = 0;
    chat_tool tool;

    while ((given = yyjson_arr_iter_next(&it))) {
        gw_status rc = chat_tool_read(given, index++, &tool, err);
        if (adapter_params_drop(w->params, rc, "tools"))
            continue;
        if (rc != GW_OK)
            return rc;
        if (!tools)
            tools = yyjson_mut_obj_add_arr(w->doc, w->root, "tools");
        write_tool(w, tools, given, &tool);
    }
    if (tools)
        return write_choice(w, err);
    /* Whatever is sent without tools would be refused. */
    gw_status rc = chat_choice_of_nothing(json_given(w->asked, "tool_choice"), err);
    return adapter_params_drop(w->params, rc, "tool_choice") ? GW_OK : rc;
}

/* ---- output ---- */

/* How hard to think: Anthropic has no word below low, and "none" switches thinking off. */
static gw_status write_effort(writing *w, yyjson_mut_val *config, gw_error *err)
{
    static const struct {
        const char *openai, *anthropic;
    } words[] = {
        {"minimal", "low"}, {"low", "low"},     {"medium", "medium"},
        {"high", "high"},   {"xhigh", "xhigh"}, {"max", "max"},
    };
    yyjson_val *effort = json_given(w->asked, "reasoning_effort");

    if (!effort)
        return GW_OK;
    for (size_t i = 0; i < GW_ARRAY_LEN(words); i++) {
        if (yyjson_equals_str(effort, words[i].openai)) {
            (void)yyjson_mut_obj_add_str(w->doc, config, "effort", words[i].anthropic);
            return GW_OK;
        }
    }
    if (!yyjson_equals_str(effort, "none"))
        return gw_fail_field(
            err, GW_ERR_INVALID_ARGUMENT, "reasoning_effort",
            "'reasoning_effort' must be none, minimal, low, medium, high, xhigh or "
            "max");
    if (!json_given(w->asked, "thinking"))
        (void)yyjson_mut_obj_add_str(w->doc, yyjson_mut_obj_add_obj(w->doc, w->root, "thinking"),
                                     "type", "disabled");
    return GW_OK;
}

static gw_status write_format(writing *w, yyjson_mut_val *config, gw_error *err)
{
    chat_format format;
    yyjson_val *schema = NULL;
    gw_status rc = chat_format_read(json_given(w->asked, "response_format"), &format, &schema, err);

    if (rc != GW_OK || format == CHAT_FORMAT_TEXT)
        return rc;
    if (format == CHAT_FORMAT_JSON)
        return adapter_params_refuse(w->params, "response_format", err,
                                     "Anthropic knows no 'response_format' json_object; give a "
                                     "json_schema");
    yyjson_mut_val *out = yyjson_mut_obj_add_obj(w->doc, config, "format");
    (void)yyjson_mut_obj_add_str(w->doc, out, "type", "json_schema");
    (void)yyjson_mut_obj_add_val(w->doc, out, "schema", yyjson_val_mut_copy(w->doc, schema));
    return GW_OK;
}

static gw_status write_output_config(writing *w, gw_error *err)
{
    yyjson_mut_val *config = yyjson_mut_obj(w->doc);
    gw_status rc = write_effort(w, config, err);

    if (rc == GW_OK)
        rc = write_format(w, config, err);
    if (rc == GW_OK && yyjson_mut_obj_size(config) > 0)
        (void)yyjson_mut_obj_add_val(w->doc, w->root, "output_config", config);
    return rc;
}

static gw_status write_body(writing *w, gw_str model, gw_error *err)
{
    const adapter_job *job = w->params->job;
    gw_status rc = adapter_params_check(w->params, honoured, GW_ARRAY_LEN(honoured), err);

    yyjson_mut_doc_set_root(w->doc, w->root);
    json_set_text(w->doc, w->root, "model", model);
    (void)yyjson_mut_obj_add_int(w->doc, w->root, "max_tokens", adapter_ceiling_required(job));
    if (job->stream)
        (void)yyjson_mut_obj_add_bool(w->doc, w->root, "stream", true);
    if (rc == GW_OK)
        rc = anthropic_write_messages(w->params, w->body, w->root, err);
    if (rc == GW_OK)
        rc = write_sampling(w, err);
    if (rc == GW_OK)
        rc = write_stop(w, err);
    if (rc == GW_OK)
        rc = write_tools(w, err);
    if (rc == GW_OK)
        rc = write_output_config(w, err);
    if (rc == GW_OK)
        write_user(w);
    return rc;
}

gw_status anthropic_write_request(const adapter_job *job, adapter_request *ret, gw_error *err)
{
    const route_target *to = job->target;
    json_auto_builder body = {0};
    adapter_auto_params params = {.job = job, .provider = "Anthropic"};
    gw_status rc;

    if (job->endpoint != ENDPOINT_CHAT)
        return gw_fail_field(err, GW_ERR_MODEL_NOT_SUPPORTED, "model",
                             "%.*s is a model of Anthropic's and serves %s only",
                             GW_STR_ARG(gw_str_slice(job->body->model, 0, 100)),
                             ADAPTER_CHAT_PATHS);
    ret->upstream_model = to->upstream_model.len > 0 ? to->upstream_model : job->body->model;
    ret->target = gw_arena_join(job->arena, to->provider->base_path, GW_STR("/messages"));
    json_builder_init(&body);
    writing w = {.params = &params,
                 .body = &body,
                 .doc = body.doc,
                 .root = yyjson_mut_obj(body.doc),
                 .asked = job->body->root};
    if (!w.root || !ret->target.ptr)
        return gw_fail(err, GW_ERR_NO_MEMORY, "no memory for the upstream request");
    rc = write_body(&w, ret->upstream_model, err);
    if (rc == GW_OK)
        rc = adapter_set_body(job, &body, ret, err);
    if (rc == GW_OK)
        rc = adapter_params_take(&params, &ret->ignored_params, err);
    return rc == GW_OK ? adapter_write_headers(job, ret, err) : rc;
}
