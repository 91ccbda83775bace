/* Parameters of a chat request as Gemini's generationConfig, tools and toolConfig. */
#include "chat_request.h"
#include "google.h"
#include "json_builder.h"

typedef struct writing {
    adapter_params *params;
    yyjson_mut_doc *doc;
    yyjson_mut_val *root;
    yyjson_mut_val *config; /* generationConfig */
    yyjson_val *asked;
} writing;

/* ---- generationConfig ---- */

static gw_status write_sampling(writing *w, gw_error *err)
{
    static const struct {
        const char *openai, *google;
    } same[] = {
        {"temperature", "temperature"},
        {"top_p", "topP"},
        {"top_k", "topK"},
        {"seed", "seed"},
        {"presence_penalty", "presencePenalty"},
        {"frequency_penalty", "frequencyPenalty"},
    };
    const adapter_job *job = w->params->job;
    int64_t ceiling = adapter_ceiling(job);

    for (size_t i = 0; i < GW_ARRAY_LEN(same); i++)
        json_set_copy(w->doc, w->config, same[i].google, json_given(w->asked, same[i].openai));
    if (ceiling > 0)
        (void)yyjson_mut_obj_add_int(w->doc, w->config, "maxOutputTokens", ceiling);
    if (job->body->choices > GOOGLE_CANDIDATES_MAX)
        return adapter_params_refuse(w->params, "n", err, "'n' is at most %d at Google",
                                     GOOGLE_CANDIDATES_MAX);
    if (job->body->choices > 1)
        (void)yyjson_mut_obj_add_int(w->doc, w->config, "candidateCount", job->body->choices);
    return GW_OK;
}

static gw_status write_stop(writing *w, gw_error *err)
{
    yyjson_val *stop = json_given(w->asked, "stop");

    if (yyjson_is_str(stop)) {
        yyjson_mut_val *list = yyjson_mut_obj_add_arr(w->doc, w->config, "stopSequences");
        (void)yyjson_mut_arr_add_val(list, yyjson_val_mut_copy(w->doc, stop));
    } else if (yyjson_is_arr(stop)) {
        json_set_copy(w->doc, w->config, "stopSequences", stop);
    } else if (stop) {
        return gw_fail_field(err, GW_ERR_INVALID_ARGUMENT, "stop",
                             "'stop' must be a string or an array of strings");
    }
    return GW_OK;
}

static gw_status write_format(writing *w, gw_error *err)
{
    chat_format format;
    yyjson_val *schema = NULL;
    gw_status rc = chat_format_read(json_given(w->asked, "response_format"), &format, &schema, err);

    if (rc != GW_OK || format == CHAT_FORMAT_TEXT)
        return rc;
    (void)yyjson_mut_obj_add_str(w->doc, w->config, "responseMimeType", "application/json");
    if (format == CHAT_FORMAT_SCHEMA)
        json_set_copy(w->doc, w->config, "responseJsonSchema", schema);
    return GW_OK;
}

/* Models up to 2.5 take a budget of tokens, later ones a level, which is never "off". */
static gw_status write_effort(writing *w, gw_str model, gw_error *err)
{
    static const struct {
        const char *openai, *level;
        int64_t budget;
    } efforts[] = {
        {"none", "minimal", 0},     {"minimal", "minimal", 512}, {"low", "low", 1024},
        {"medium", "medium", 8192}, {"high", "high", 24576},     {"xhigh", "high", 24576},
    };
    yyjson_val *effort = json_given(w->asked, "reasoning_effort");

    if (!effort)
        return GW_OK;
    for (size_t i = 0; i < GW_ARRAY_LEN(efforts); i++) {
        if (!yyjson_equals_str(effort, efforts[i].openai))
            continue;
        yyjson_mut_val *out = yyjson_mut_obj_add_obj(w->doc, w->config, "thinkingConfig");
        if (google_is_up_to_2(model))
            (void)yyjson_mut_obj_add_int(w->doc, out, "thinkingBudget", efforts[i].budget);
        else
            (void)yyjson_mut_obj_add_str(w->doc, out, "thinkingLevel", efforts[i].level);
        (void)yyjson_mut_obj_add_bool(w->doc, out, "includeThoughts", efforts[i].budget > 0);
        return GW_OK;
    }
    return gw_fail_field(err, GW_ERR_INVALID_ARGUMENT, "reasoning_effort",
                         "'reasoning_effort' must be none, minimal, low, medium, high or xhigh");
}

/* ---- tools ---- */

static gw_status write_choice(writing *w, gw_error *err)
{
    static const char *const modes[] = {
        [CHAT_CHOICE_AUTO] = "AUTO",
        [CHAT_CHOICE_NONE] = "NONE",
        [CHAT_CHOICE_REQUIRED] = "ANY",
        [CHAT_CHOICE_NAMED] = "ANY",
    };
    chat_choice choice;
    gw_status rc = chat_choice_read(json_given(w->asked, "tool_choice"), &choice, err);

    if (adapter_params_drop(w->params, rc, "tool_choice"))
        return GW_OK;
    if (rc != GW_OK || choice.kind == CHAT_CHOICE_ABSENT)
        return rc;
    yyjson_mut_val *config = yyjson_mut_obj_add_obj(w->doc, w->root, "toolConfig");
    yyjson_mut_val *calling = yyjson_mut_obj_add_obj(w->doc, config, "functionCallingConfig");
    (void)yyjson_mut_obj_add_str(w->doc, calling, "mode", modes[choice.kind]);
    if (choice.kind == CHAT_CHOICE_NAMED) {
        yyjson_mut_val *names = yyjson_mut_obj_add_arr(w->doc, calling, "allowedFunctionNames");
        (void)yyjson_mut_arr_add_strn(w->doc, names, choice.name.ptr, choice.name.len);
    }
    return GW_OK;
}

static gw_status write_tools(writing *w, gw_error *err)
{
    yyjson_arr_iter it = yyjson_arr_iter_with(json_given(w->asked, "tools"));
    yyjson_mut_val *functions = NULL;
    yyjson_val *given;
    size_t index = 0;
    chat_tool tool;

    while ((given = yyjson_arr_iter_next(&it))) {
        gw_status rc = chat_tool_read(given, index++, &tool, err);
        if (adapter_params_drop(w->params, rc, "tools"))
            continue;
        if (rc != GW_OK)
            return rc;
        if (!functions) {
            yyjson_mut_val *tools = yyjson_mut_obj_add_arr(w->doc, w->root, "tools");
            functions = yyjson_mut_obj_add_arr(w->doc, yyjson_mut_arr_add_obj(w->doc, tools),
                                               "functionDeclarations");
        }
        yyjson_mut_val *out = yyjson_mut_arr_add_obj(w->doc, functions);
        json_set_text(w->doc, out, "name", tool.name);
        if (tool.strict)
            adapter_params_ignore(w->params, GW_STR("tools.function.strict"));
        if (tool.description.ptr)
            json_set_text(w->doc, out, "description", tool.description);
        json_set_copy(w->doc, out, "parametersJsonSchema", tool.parameters);
    }
    if (functions)
        return write_choice(w, err);
    gw_status rc = chat_choice_of_nothing(json_given(w->asked, "tool_choice"), err);
    return adapter_params_drop(w->params, rc, "tool_choice") ? GW_OK : rc;
}

gw_status google_write_config(adapter_params *params, gw_str model, yyjson_mut_doc *doc,
                              yyjson_mut_val *root, gw_error *err)
{
    writing w = {.params = params,
                 .doc = doc,
                 .root = root,
                 .config = yyjson_mut_obj(doc),
                 .asked = params->job->body->root};
    gw_status rc = write_sampling(&w, err);

    if (rc == GW_OK)
        rc = write_stop(&w, err);
    if (rc == GW_OK)
        rc = write_format(&w, err);
    if (rc == GW_OK)
        rc = write_effort(&w, model, err);
    if (rc == GW_OK)
        rc = write_tools(&w, err);
    if (rc == GW_OK && yyjson_mut_obj_size(w.config) > 0)
        (void)yyjson_mut_obj_add_val(doc, root, "generationConfig", w.config);
    return rc;
}
