/*
 * The OpenAI dialect: bytes pass unchanged but for the splices of openai_body.h. `local` is the same as
 * vLLM, Ollama and llama.cpp speak it: max_tokens is the one name of the ceiling that all of them obey,
 * and a template for the role "developer" is not theirs.
 */
#include "adapter.h"
#include "json_members.h"

/* The ceiling to set; 0 when the caller's own stands. */
static int64_t ceiling_of(const adapter_job *job)
{
    int64_t ceiling = adapter_ceiling(job), asked = job->body->needs.max_tokens;

    return ceiling == asked ? 0 : ceiling;
}

static gw_status write_spliced(const adapter_job *job, bool is_local, adapter_request *ret,
                               gw_error *err)
{
    const route_target *to = job->target;
    const char *path = endpoint_describe(job->endpoint)->path + strlen("/v1");
    openai_splices splices = {
        .model = to->upstream_model,
        .stream = job->stream,
        .include_usage = job->stream,
        .max_tokens = is_local ? adapter_ceiling(job) : ceiling_of(job),
        .endpoint = job->endpoint,
        .is_local = is_local,
    };

    ret->upstream_model = to->upstream_model.len > 0 ? to->upstream_model : job->body->model;
    ret->target = gw_arena_join(job->arena, to->provider->base_path, gw_str_of(path));
    if (!ret->target.ptr)
        return gw_fail(err, GW_ERR_NO_MEMORY, "no memory for the upstream request");
    gw_status rc =
        openai_body_splice(job->arena, job->body, &splices, &ret->body, &ret->body_parts, err);
    return rc == GW_OK ? adapter_write_headers(job, ret, err) : rc;
}

static gw_status write_request(const adapter_job *job, adapter_request *ret, gw_error *err)
{
    return write_spliced(job, false, ret, err);
}

static gw_status write_local(const adapter_job *job, adapter_request *ret, gw_error *err)
{
    return write_spliced(job, true, ret, err);
}

static bool is_done(gw_str data)
{
    return gw_str_starts_with(data, GW_STR("[DONE]"));
}

static bool wants_usage(const adapter_stream *s)
{
    return s->is_behind || s->job->body->include_usage || s->job->policy->is_librechat;
}

/* `json` with null for its usage, as chunks without one have it. */
static void append_without_usage(gw_buf *to, const json_scratch *scratch, gw_str json)
{
    yyjson_alc alc;
    yyjson_doc *doc = json_scratch_read(scratch, &alc, json);
    yyjson_obj_iter it = yyjson_obj_iter_with(yyjson_doc_get_root(doc));
    json_members members = json_members_of(json);
    json_span value;
    yyjson_val *key;
    size_t from = 0;

    while ((key = yyjson_obj_iter_next(&it)) && json_members_next(&members, &value)) {
        if (!yyjson_equals_str(key, "usage"))
            continue;
        gw_buf_append_str(to, gw_str_slice(json, from, value.from));
        gw_buf_append_c(to, "null");
        from = value.to;
    }
    gw_buf_append_str(to, gw_str_slice(json, from, json.len));
    yyjson_doc_free(doc);
}

/*
 * Some say their usage in the last chunk with content, some in each: it is no one's who did not ask for it. Their chunks are written anew, and
 * no others.
 */
static void emit_beside_usage(adapter_stream *s, answer_event_kind kind, const gw_sse_event *e)
{
    gw_auto_buf json = {0};

    s->tap->usage_is_beside = false;
    if (wants_usage(s)) {
        adapter_emit(s, kind, e->raw, e->data);
        return;
    }
    append_without_usage(&json, &s->tap->scratch, e->data);
    if (gw_buf_failed(&json))
        adapter_emit(s, kind, e->raw, e->data);
    else
        adapter_emit_json(s, kind, gw_buf_str(&json));
}

static gw_status on_event(adapter_stream *s, const gw_sse_event *e)
{
    static const answer_event_kind kinds[] = {
        [TAP_PREAMBLE] = ANSWER_PREAMBLE,
        [TAP_CONTENT] = ANSWER_CONTENT,
        [TAP_USAGE] = ANSWER_USAGE,
    };
    tap_kind kind;
    GW_UNINITIALIZED gw_error err;

    if (s->done)
        return GW_OK;
    if (!e->data.ptr || e->data.len == 0) {
        adapter_emit(s, ANSWER_COMMENT, e->raw, GW_STR(""));
        return GW_OK;
    }
    if (is_done(e->data)) {
        gw_status had = adapter_check_choices(s);
        if (had == GW_OK)
            adapter_emit_done(s, e->raw);
        return had;
    }
    if (gw_str_eq_c(e->name, "error"))
        return adapter_fail_inband(s, e->data);
    gw_status rc = usage_tap_chunk(s->tap, e->data, &kind, &err);
    if (rc == GW_ERR_UPSTREAM_FAILED)
        return adapter_fail_inband(s, e->data);
    if (rc != GW_OK)
        return adapter_fail(s, &err);
    if (s->tap->usage_is_beside)
        emit_beside_usage(s, kinds[kind], e);
    else
        adapter_emit(s, kinds[kind], e->raw, e->data);
    return GW_OK;
}

/* Some servers never send [DONE]: what counts then is that every choice said why it ended. */
static gw_status on_end(adapter_stream *s)
{
    GW_UNINITIALIZED gw_error err;

    if (s->done || s->tap->finished_choices >= s->job->body->choices)
        return GW_OK;
    (void)gw_fail(&err, GW_ERR_UPSTREAM_CUT, "the provider's stream ended in mid-answer");
    return adapter_fail(s, &err);
}

static gw_status on_answer(adapter_stream *s, gw_str json, gw_str *ret)
{
    GW_UNINITIALIZED gw_error err;
    gw_status rc = usage_tap_answer(s->tap, json, &err);

    if (rc == GW_ERR_UPSTREAM_FAILED)
        return adapter_fail_inband(s, json);
    if (rc != GW_OK)
        return adapter_fail(s, &err);
    *ret = json;
    return adapter_check_answer(s);
}

const adapter_ops adapter_openai = {
    .name = "openai",
    .write_request = write_request,
    .on_event = on_event,
    .on_end = on_end,
    .on_answer = on_answer,
    .stream_answer = adapter_stream_answer,
    .map_error = adapter_map_error,
};

const adapter_ops adapter_local = {
    .name = "local",
    .write_request = write_local,
    .on_event = on_event,
    .on_end = on_end,
    .on_answer = on_answer,
    .stream_answer = adapter_stream_answer,
    .map_error = adapter_map_error,
};
