#include "google.h"

/* As Google lists them they are "models/…". */
static gw_str name_of(gw_str model)
{
    const gw_str prefix = GW_STR("models/");

    return gw_str_starts_with(model, prefix) ? gw_str_slice(model, prefix.len, model.len) : model;
}

/* The model is a part of the path: nothing of it may be taken for more than a name. */
static gw_str target_of(const adapter_job *job, gw_str name)
{
    gw_auto_buf out = {0};

    gw_buf_append_str(&out, job->target->provider->base_path);
    gw_buf_append_c(&out, "/models/");
    gw_percent_encode(&out, name);
    gw_buf_append_c(&out, job->stream ? ":streamGenerateContent?alt=sse" : ":generateContent");
    return gw_buf_failed(&out) ? GW_STR_NULL : gw_arena_dup(job->arena, gw_buf_str(&out));
}

/* `top_k` is Google's own; it passes as it is. */
static gw_status write_body(adapter_params *p, gw_str name, json_builder *body, gw_error *err)
{
    yyjson_mut_doc *doc = body->doc;
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
        "n",
        "seed",
        "stop",
        "presence_penalty",
        "frequency_penalty",
        "response_format",
        "reasoning_effort",
        "tools",
        "tool_choice",
    };
    yyjson_mut_val *root = yyjson_mut_obj(doc);
    gw_status rc = adapter_params_check(p, honoured, GW_ARRAY_LEN(honoured), err);

    yyjson_mut_doc_set_root(doc, root);
    if (rc == GW_OK)
        rc = google_write_contents(p, name, body, root, err);
    return rc == GW_OK ? google_write_config(p, name, doc, root, err) : rc;
}

static gw_status write_request(const adapter_job *job, adapter_request *ret, gw_error *err)
{
    const route_target *to = job->target;
    json_auto_builder body = {0};
    adapter_auto_params params = {.job = job, .provider = "Google"};
    gw_status rc;

    if (job->endpoint != ENDPOINT_CHAT)
        return gw_fail_field(err, GW_ERR_MODEL_NOT_SUPPORTED, "model",
                             "%.*s is a model of Google's and serves %s only",
                             GW_STR_ARG(gw_str_slice(job->body->model, 0, 100)),
                             ADAPTER_CHAT_PATHS);
    ret->upstream_model = to->upstream_model.len > 0 ? to->upstream_model : job->body->model;
    ret->target = target_of(job, name_of(ret->upstream_model));
    json_builder_init(&body);
    if (!body.doc || !ret->target.ptr)
        return gw_fail(err, GW_ERR_NO_MEMORY, "no memory for the upstream request");
    rc = write_body(&params, name_of(ret->upstream_model), &body, err);
    if (rc == GW_OK)
        rc = adapter_set_body(job, &body, ret, err);
    if (rc == GW_OK)
        rc = adapter_params_take(&params, &ret->ignored_params, err);
    return rc == GW_OK ? adapter_write_headers(job, ret, err) : rc;
}

const adapter_ops adapter_google = {
    .name = "google",
    .write_request = write_request,
    .on_event = google_on_event,
    .on_end = google_on_end,
    .on_answer = google_on_answer,
    .stream_answer = adapter_stream_answer,
    .map_error = google_map_error,
};
