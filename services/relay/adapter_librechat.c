/*
 * LibreChat's Agents API (LIBRECHAT.md §7.1, 7.3-7.6): whitelisted body, named events dropped, tool
 * calls it ran itself hidden (or shown), usage split off the last chunk, errors hidden in the content brought
 * to light.
 */
#include "adapter_params.h"
#include "chat_request.h"

#include <stdlib.h>

/* express.json's limit; a bigger body would get 500 in plain text, which looks like an outage. */
#define BODY_MAX_BYTES ((size_t)3 * 1024 * 1024)

#define RESPONSE_ID_MAX 64 /* "chatcmpl-" and a nanoid have 30 bytes */

/* ---- request ---- */

static bool is_one_of(gw_str s, const char *const *names, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (gw_str_eq_c(s, names[i]))
            return true;
    return false;
}

/* True when the member asks for something an agent cannot do. */
static bool is_unsupported(gw_str name, yyjson_val *v)
{
    if (gw_str_eq_c(name, "tools") || gw_str_eq_c(name, "functions"))
        return yyjson_arr_size(v) > 0;
    if (gw_str_eq_c(name, "tool_choice") || gw_str_eq_c(name, "function_call"))
        return !yyjson_is_null(v) && !yyjson_equals_str(v, "none") && !yyjson_equals_str(v, "auto");
    if (gw_str_eq_c(name, "n"))
        return yyjson_get_uint(v) > 1;
    if (gw_str_eq_c(name, "response_format"))
        return yyjson_is_obj(v) && !yyjson_equals_str(yyjson_obj_get(v, "type"), "text");
    if (gw_str_eq_c(name, "logprobs"))
        return yyjson_is_true(v);
    return false;
}

static gw_status check_members(adapter_params *p, gw_error *err)
{
    static const char *const used[] = {"model", "messages", "stream", "stream_options", "user"};
    yyjson_obj_iter it = yyjson_obj_iter_with(p->job->body->root);
    yyjson_val *key;

    while ((key = yyjson_obj_iter_next(&it))) {
        gw_str name = json_string(key);
        if (is_unsupported(name, yyjson_obj_iter_get_val(key))) {
            gw_status rc =
                adapter_params_refuse(p, yyjson_get_str(key), err, "'%.*s' is not supported by %s",
                                      GW_STR_ARG(name), p->provider);
            if (rc != GW_OK)
                return rc;
        } else if (!is_one_of(name, used, GW_ARRAY_LEN(used))) {
            adapter_params_ignore(p, name);
        }
    }
    return GW_OK;
}

/* Agents run their own tools: what a caller's tool was asked and said has no place with them. */
static gw_status check_message(yyjson_val *message, size_t index, gw_error *err)
{
    chat_place at = {.list = "messages", .index = index, .member = "role", .part = -1};
    gw_str role = chat_string(message, "role");

    if (gw_str_eq_c(role, "tool") || gw_str_eq_c(role, "function"))
        return chat_fail(err, GW_ERR_UNSUPPORTED_PARAMETER, &at,
                         "agents run their own tools and take no tool results");
    at.member = "tool_calls";
    if (yyjson_arr_size(yyjson_obj_get(message, "tool_calls")) > 0)
        return chat_fail(err, GW_ERR_UNSUPPORTED_PARAMETER, &at,
                         "agents run their own tools and take no tool calls");
    return chat_assistant_check(message, index, err);
}

static gw_status add_message(adapter_params *p, yyjson_mut_doc *doc, yyjson_mut_val *to,
                             yyjson_val *message, size_t index, gw_error *err)
{
    gw_str role = chat_string(message, "role"), refusal = chat_string(message, "refusal");
    yyjson_val *content = yyjson_obj_get(message, "content");
    yyjson_mut_val *out = yyjson_mut_arr_add_obj(doc, to);
    gw_status rc = check_message(message, index, err);

    if (rc != GW_OK)
        return rc;
    if (yyjson_get_len(yyjson_obj_get(message, "name")) > 0)
        adapter_params_ignore(p, GW_STR("messages.name"));
    if (gw_str_eq_c(role, "developer"))
        role = GW_STR("system");
    if (role.ptr)
        yyjson_mut_obj_add_strncpy(doc, out, "role", role.ptr, role.len);
    if (refusal.len > 0 && (!content || yyjson_is_null(content)))
        yyjson_mut_obj_add_strncpy(doc, out, "content", refusal.ptr, refusal.len);
    else if (content)
        yyjson_mut_obj_add_val(doc, out, "content", yyjson_val_mut_copy(doc, content));
    return GW_OK;
}

static gw_status write_body(adapter_params *p, gw_str model, yyjson_mut_doc *doc, gw_str *ret,
                            gw_error *err)
{
    const adapter_job *job = p->job;
    yyjson_mut_val *root = yyjson_mut_obj(doc);
    yyjson_arr_iter it = yyjson_arr_iter_with(yyjson_obj_get(job->body->root, "messages"));
    yyjson_val *message;
    size_t index = 0, len = 0;

    yyjson_mut_doc_set_root(doc, root);
    yyjson_mut_obj_add_strn(doc, root, "model", model.ptr, model.len);
    yyjson_mut_val *messages = yyjson_mut_obj_add_arr(doc, root, "messages");
    while ((message = yyjson_arr_iter_next(&it))) {
        gw_status rc = add_message(p, doc, messages, message, index++, err);
        if (rc != GW_OK)
            return rc;
    }
    yyjson_mut_obj_add_bool(doc, root, "stream", job->stream);
    char *text = yyjson_mut_write(doc, YYJSON_WRITE_NOFLAG, &len);
    *ret = text ? gw_arena_dup(job->arena, gw_str_n(text, len)) : GW_STR_NULL;
    free(text);
    if (!ret->ptr)
        return gw_fail(err, GW_ERR_NO_MEMORY, "no memory for the upstream request");
    if (len >= BODY_MAX_BYTES)
        return gw_fail(err, GW_ERR_BODY_TOO_LARGE,
                       "agents take bodies below 3 MiB, this one has %zu bytes", len);
    return GW_OK;
}

static gw_status check_job(const adapter_job *job, gw_error *err)
{
    if (job->endpoint != ENDPOINT_CHAT)
        return gw_fail_field(
            err, GW_ERR_MODEL_NOT_SUPPORTED, "model", "the agent %.*s serves %s only",
            GW_STR_ARG(gw_str_slice(job->body->model, 0, 100)), ADAPTER_CHAT_PATHS);
    if (job->policy->is_librechat)
        return gw_fail_field(
            err, GW_ERR_MODEL_NOT_SUPPORTED, "model",
            "LibreChat may not reach its own agents through this key: it would loop");
    return GW_OK;
}

static gw_status write_request(const adapter_job *job, adapter_request *ret, gw_error *err)
{
    const route_target *to = job->target;
    adapter_auto_params params = {.job = job, .provider = "agents"};
    gw_str *body = gw_arena_new_of(job->arena, gw_str);
    gw_status rc = check_job(job, err);

    if (rc == GW_OK)
        rc = check_members(&params, err);
    if (rc != GW_OK)
        return rc;
    ret->upstream_model = to->upstream_model.len > 0 ? to->upstream_model : job->body->model;
    ret->target =
        gw_arena_printf(job->arena, "%.*s/chat/completions", GW_STR_ARG(to->provider->base_path));
    yyjson_mut_doc *doc = yyjson_mut_doc_new(NULL);
    if (!doc || !body || !ret->target.ptr)
        rc = gw_fail(err, GW_ERR_NO_MEMORY, "no memory for the upstream request");
    else
        rc = write_body(&params, ret->upstream_model, doc, body, err);
    yyjson_mut_doc_free(doc);
    if (rc == GW_OK)
        rc = adapter_params_take(&params, &ret->ignored_params, err);
    if (rc != GW_OK)
        return rc;
    ret->body = body;
    ret->body_parts = 1;
    return adapter_write_headers(job, ret, err);
}

/* ---- answer ---- */

/* Its transactions name what they were booked for by this. One that is odd names nothing. */
static void note_response_id(adapter_stream *s, yyjson_val *root)
{
    gw_str id = chat_string(root, "id");

    if (s->tap->response_id.len == 0 && id.len > 0 && id.len <= RESPONSE_ID_MAX &&
        gw_str_plain_prefix(id) == id.len)
        s->tap->response_id = gw_arena_dup(s->job->arena, id);
}

/* Usage as OpenAI has it: newer versions add members of their own. */
static yyjson_mut_val *plain_usage(yyjson_mut_doc *doc, yyjson_val *usage)
{
    static const char *const names[] = {"prompt_tokens", "completion_tokens", "total_tokens",
                                        "prompt_tokens_details", "completion_tokens_details"};
    yyjson_mut_val *out = yyjson_mut_obj(doc);

    for (size_t i = 0; i < GW_ARRAY_LEN(names); i++) {
        yyjson_val *v = json_last(usage, names[i]);
        if (v)
            yyjson_mut_obj_add_val(doc, out, names[i], yyjson_val_mut_copy(doc, v));
    }
    return out;
}

/*
 * Model back to the name asked for; tool calls that LibreChat ran itself are no request to the
 * caller, and shown only where the provider says so. Returns whether the choices still say something.
 */
static bool rewrite(const adapter_job *job, yyjson_mut_doc *doc, yyjson_mut_val *root)
{
    yyjson_mut_arr_iter it = yyjson_mut_arr_iter_with(yyjson_mut_obj_get(root, "choices"));
    yyjson_mut_val *choice;
    gw_str model = job->body->model;
    bool says = false;

    yyjson_mut_obj_put(root, yyjson_mut_str(doc, "model"),
                       yyjson_mut_strn(doc, model.ptr, model.len));
    while ((choice = yyjson_mut_arr_iter_next(&it))) {
        yyjson_mut_val *said = yyjson_mut_obj_get(choice, "delta");
        yyjson_mut_val *finish = yyjson_mut_obj_get(choice, "finish_reason");
        if (!said)
            said = yyjson_mut_obj_get(choice, "message");
        if (!job->target->provider->exposes_server_tools)
            yyjson_mut_obj_remove_key(said, "tool_calls");
        if (yyjson_mut_equals_str(finish, "tool_calls"))
            yyjson_mut_obj_put(choice, yyjson_mut_str(doc, "finish_reason"),
                               yyjson_mut_str(doc, "stop"));
        says |= yyjson_mut_obj_size(said) > 0 || yyjson_mut_is_str(finish);
    }
    return says;
}

static void emit_value(adapter_stream *s, answer_event_kind kind, yyjson_mut_val *value)
{
    size_t len = 0;
    char *text = yyjson_mut_val_write(value, YYJSON_WRITE_NOFLAG, &len);

    if (text)
        adapter_emit_json(s, kind, gw_str_n(text, len));
    free(text);
}

static void emit_usage(adapter_stream *s, yyjson_mut_doc *doc, yyjson_mut_val *chunk,
                       yyjson_val *usage)
{
    yyjson_mut_val *plain = plain_usage(doc, usage);

    yyjson_mut_obj_put(chunk, yyjson_mut_str(doc, "choices"), yyjson_mut_arr(doc));
    yyjson_mut_obj_put(chunk, yyjson_mut_str(doc, "usage"), plain);
    emit_value(s, ANSWER_USAGE, chunk);
}

/* The form LibreChat gives a failure in mid-stream: looks like text and a normal end (§0.4). */
static bool is_disguised_error(yyjson_val *root)
{
    yyjson_val *choice = yyjson_arr_get_first(yyjson_obj_get(root, "choices"));
    gw_str text = json_string(yyjson_obj_get(yyjson_obj_get(choice, "delta"), "content"));

    return gw_str_starts_with(text, GW_STR("\n\nError: ")) &&
           yyjson_equals_str(yyjson_obj_get(choice, "finish_reason"), "stop") &&
           !yyjson_is_obj(json_last(root, "usage"));
}

static void release_suspect(adapter_stream *s)
{
    if (s->suspect.len > 0)
        adapter_emit_json(s, ANSWER_CONTENT, gw_buf_str(&s->suspect));
    gw_buf_clear(&s->suspect);
}

static void emit_chunk(adapter_stream *s, yyjson_doc *parsed, tap_kind kind)
{
    yyjson_mut_doc *doc = yyjson_doc_mut_copy(parsed, NULL);
    yyjson_mut_val *root = doc ? yyjson_mut_doc_get_root(doc) : NULL;
    yyjson_val *usage = json_last(yyjson_doc_get_root(parsed), "usage");

    if (!root)
        return;
    (void)yyjson_mut_obj_remove_key(root, "usage");
    if (yyjson_is_obj(usage))
        release_suspect(s); /* usage came: the text was an answer after all */
    if (rewrite(s->job, doc, root)) {
        if (is_disguised_error(yyjson_doc_get_root(parsed))) {
            size_t len = 0;
            char *text = yyjson_mut_val_write(root, YYJSON_WRITE_NOFLAG, &len);
            gw_buf_append(&s->suspect, text, len);
            free(text);
        } else {
            emit_value(s, kind == TAP_CONTENT ? ANSWER_CONTENT : ANSWER_PREAMBLE, root);
        }
    }
    if (yyjson_is_obj(usage))
        emit_usage(s, doc, root, usage);
    yyjson_mut_doc_free(doc);
}

static gw_status on_chunk(adapter_stream *s, gw_str json)
{
    yyjson_alc alc;
    yyjson_doc *doc = json_scratch_read(&s->tap->scratch, &alc, json);
    yyjson_val *root = yyjson_doc_get_root(doc);
    tap_kind kind;
    gw_error err;
    gw_status rc = usage_tap_chunk_value(s->tap, root, &kind, &err);

    if (rc == GW_OK && !yyjson_equals_str(yyjson_obj_get(root, "object"), "chat.completion.chunk"))
        rc = gw_fail(&err, GW_ERR_UPSTREAM_PROTOCOL, "LibreChat sent an event that is no chunk");
    if (rc == GW_OK) {
        note_response_id(s, root);
        emit_chunk(s, doc, kind);
    }
    yyjson_doc_free(doc);
    if (rc == GW_ERR_UPSTREAM_FAILED)
        return adapter_fail_inband(s, json);
    return rc == GW_OK ? rc : adapter_fail(s, &err);
}

/* The suspect's text is the provider's error message. */
static gw_status fail_disguised(adapter_stream *s)
{
    gw_str chunk = gw_buf_str(&s->suspect);
    yyjson_doc *doc = yyjson_read(chunk.ptr, chunk.len, YYJSON_READ_NOFLAG);
    yyjson_val *choice = yyjson_arr_get_first(yyjson_obj_get(yyjson_doc_get_root(doc), "choices"));
    gw_str text = json_string(yyjson_obj_get(yyjson_obj_get(choice, "delta"), "content"));
    gw_auto_buf json = {0};

    s->ran_in_vain = true;
    gw_buf_append_c(&json, "{\"error\":");
    gw_buf_append_json(&json, gw_str_slice(text, strlen("\n\nError: "), text.len));
    gw_buf_append_c(&json, "}");
    (void)adapter_fail_inband(s, gw_buf_str(&json));
    s->failure->type = GW_STR("upstream_error");
    yyjson_doc_free(doc);
    return s->failure->error.code;
}

static gw_status on_event(adapter_stream *s, const gw_sse_event *e)
{
    if (s->done || !e->data.ptr || (e->name.len > 0 && !gw_str_eq_c(e->name, "message")))
        return GW_OK; /* attachments, summaries: the web UI's business */
    if (!gw_str_starts_with(e->data, GW_STR("[DONE]")))
        return on_chunk(s, e->data);
    if (s->suspect.len > 0)
        return fail_disguised(s);
    gw_status rc = adapter_check_choices(s);
    if (rc == GW_OK)
        adapter_emit_done(s, e->raw);
    return rc;
}

static gw_status on_end(adapter_stream *s)
{
    gw_error err;

    if (s->done)
        return GW_OK;
    if (s->suspect.len > 0)
        return fail_disguised(s);
    s->ran_in_vain = true;
    (void)gw_fail(&err, GW_ERR_UPSTREAM_CUT, "LibreChat's stream ended in mid-answer");
    return adapter_fail(s, &err);
}

static gw_status on_answer(adapter_stream *s, gw_str json, gw_str *ret)
{
    gw_error err;
    size_t len = 0;
    gw_status rc = usage_tap_answer(s->tap, json, &err);

    if (rc == GW_ERR_UPSTREAM_FAILED)
        return adapter_fail_inband(s, json);
    if (rc != GW_OK)
        return adapter_fail(s, &err);
    rc = adapter_check_answer(s);
    if (rc != GW_OK)
        return rc;
    yyjson_doc *parsed = yyjson_read(json.ptr, json.len, YYJSON_READ_NOFLAG);
    note_response_id(s, yyjson_doc_get_root(parsed));
    yyjson_mut_doc *doc = parsed ? yyjson_doc_mut_copy(parsed, NULL) : NULL;
    char *text = NULL;
    if (doc) {
        yyjson_mut_val *root = yyjson_mut_doc_get_root(doc);
        yyjson_val *usage = json_last(yyjson_doc_get_root(parsed), "usage");
        (void)rewrite(s->job, doc, root);
        if (yyjson_is_obj(usage))
            yyjson_mut_obj_put(root, yyjson_mut_str(doc, "usage"), plain_usage(doc, usage));
        text = yyjson_mut_write(doc, YYJSON_WRITE_NOFLAG, &len);
    }
    *ret = text ? gw_arena_dup(s->job->arena, gw_str_n(text, len)) : GW_STR_NULL;
    free(text);
    yyjson_mut_doc_free(doc);
    yyjson_doc_free(parsed);
    if (ret->ptr)
        return GW_OK;
    (void)gw_fail(&err, GW_ERR_NO_MEMORY, "no memory for the answer");
    return adapter_fail(s, &err);
}

const adapter_ops adapter_librechat = {
    .name = "librechat",
    .write_request = write_request,
    .on_event = on_event,
    .on_end = on_end,
    .on_answer = on_answer,
    .stream_answer = adapter_stream_answer,
    .map_error = adapter_map_error,
};
