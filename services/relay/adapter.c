#include "messages.h"

#include <stdlib.h>

const adapter_ops *adapter_of(provider_kind kind)
{
    static const adapter_ops *const adapters[PROVIDER_KIND_COUNT] = {
        [PROVIDER_OPENAI] = &adapter_openai, [PROVIDER_LIBRECHAT] = &adapter_librechat,
        [PROVIDER_LOCAL] = &adapter_local,   [PROVIDER_ANTHROPIC] = &adapter_anthropic,
        [PROVIDER_GOOGLE] = &adapter_google,
    };

    return adapters[kind];
}

const adapter_ops *adapter_for(relay_endpoint endpoint, provider_kind kind)
{
    return endpoint_is_messages(endpoint) ? messages_adapter_of(kind) : adapter_of(kind);
}

void adapter_stream_fini(adapter_stream *s)
{
    gw_buf_fini(&s->suspect);
}

gw_status adapter_fail(adapter_stream *s, const gw_error *err)
{
    openai_error_from(s->failure, err);
    return err->code;
}

gw_status adapter_fail_inband(adapter_stream *s, gw_str json)
{
    const provider_config *p = s->job->target->provider;

    openai_error_from_inband(s->failure, s->job->arena, p->name, json, adapter_credential(s->job));
    return s->failure->error.code;
}

static gw_status check(adapter_stream *s, bool has_some, const char *what)
{
    gw_error err;

    if (has_some)
        return GW_OK;
    (void)gw_fail(&err, GW_ERR_UPSTREAM_PROTOCOL, "the provider's answer has no %s", what);
    return adapter_fail(s, &err);
}

gw_status adapter_check_choices(adapter_stream *s)
{
    return check(s, s->tap->has_choices, "choices");
}

gw_status adapter_check_answer(adapter_stream *s)
{
    if (s->job->endpoint == ENDPOINT_EMBEDDINGS)
        return check(s, s->tap->has_data, "data");
    return check(s, s->tap->has_choice, "choices");
}

void adapter_emit(adapter_stream *s, answer_event_kind kind, gw_str raw, gw_str data)
{
    s->emit(s->arg, &(answer_event){.kind = kind, .raw = raw, .data = data});
}

void adapter_emit_json(adapter_stream *s, answer_event_kind kind, gw_str json)
{
    gw_auto_buf raw = {0};

    gw_sse_append_data(&raw, json);
    adapter_emit(s, kind, gw_buf_str(&raw), json);
}

void adapter_emit_done(adapter_stream *s, gw_str raw)
{
    s->done = true;
    adapter_emit(s, ANSWER_DONE, raw, GW_STR(""));
}

void adapter_map_error(const adapter_job *job, int status, bool is_json, gw_str body,
                       openai_error *ret)
{
    const provider_config *p = job->target->provider;

    openai_error_from_upstream(ret, job->arena, p->name, status, is_json, body,
                               adapter_credential(job));
}

/* ---- request ---- */

int64_t adapter_ceiling(const adapter_job *job)
{
    int64_t key = key_policy_max_tokens(job->policy), asked = job->body->needs.max_tokens;
    int64_t of_model = job->route->max_output_tokens;

    if (job->body->no_output)
        return 0;
    if (job->ceiling > 0)
        return asked > 0 ? GW_MIN(asked, job->ceiling) : job->ceiling;
    if (asked > 0 || job->endpoint == ENDPOINT_EMBEDDINGS || key <= 0)
        return asked;
    return of_model > 0 ? GW_MIN(key, of_model) : key;
}

int64_t adapter_ceiling_required(const adapter_job *job)
{
    int64_t ceiling = adapter_ceiling(job), of_model = job->route->max_output_tokens;

    if (ceiling > 0)
        return ceiling;
    ceiling = job->route->default_max_output_tokens;
    return of_model > 0 ? GW_MIN(ceiling, of_model) : ceiling;
}

void adapter_text_free(adapter_text *t)
{
    if (!t)
        return;
    free(t->bytes);
    t->bytes = NULL;
}

static void end_text(void *arg)
{
    adapter_text_free(arg);
}

gw_status adapter_set_body(const adapter_job *job, json_builder *body, adapter_request *ret,
                           gw_error *err)
{
    gw_str *part = gw_arena_new_of(job->arena, gw_str);
    adapter_text *text = gw_arena_new_of(job->arena, adapter_text);
    size_t len = 0;

    if (part && text)
        text->bytes = json_builder_write(body, &len);
    /* Not copied to the arena: a body may have megabytes of images. */
    if (!part || !text || !text->bytes || !gw_arena_defer(job->arena, end_text, text)) {
        adapter_text_free(text);
        return gw_fail(err, GW_ERR_NO_MEMORY, "no memory for the upstream request");
    }
    *part = gw_str_n(text->bytes, len);
    ret->text = text;
    ret->body = part;
    ret->body_parts = 1;
    ret->owns_body = true;
    return GW_OK;
}

/* ---- headers ---- */

#define ANTHROPIC_VERSION "2023-06-01"
#define USER_AGENT        "api-relay/0.1"

/* Of the caller's headers only traceparent and these go upstream, lists all of them: they carry no identity of ours. */
static const char trace_state[] = "tracestate";
/* And this one, of the dialect that the provider speaks. */
static const char *const beta_headers[PROVIDER_KIND_COUNT] = {
    [PROVIDER_OPENAI] = "openai-beta",
    [PROVIDER_LIBRECHAT] = "openai-beta",
    [PROVIDER_LOCAL] = "openai-beta",
    [PROVIDER_ANTHROPIC] = "anthropic-beta",
};

static void add_header(adapter_request *r, const char *name, gw_str value)
{
    if (value.ptr && r->header_count < ADAPTER_HEADERS_MAX)
        r->headers[r->header_count++] = (gw_header){gw_str_of(name), value};
}

static void pass_header(const adapter_job *job, adapter_request *r, const char *name)
{
    gw_str value = gw_headers_get(job->client_headers, name);

    if (gw_header_value_is_valid(value))
        add_header(r, name, value);
}

/* Of a list: several lines are one, joined by commas (RFC 9110 §5.3). */
static gw_status pass_list(const adapter_job *job, adapter_request *r, const char *name,
                           gw_error *err)
{
    gw_headers all = job->client_headers;
    gw_auto_buf joined = {0};
    size_t lines = 0;

    for (size_t i = 0; i < all.count; i++) {
        gw_str value = all.items[i].value;
        if (!gw_str_eq_nocase(all.items[i].name, gw_str_of(name)) || value.len == 0 ||
            !gw_header_value_is_valid(value))
            continue;
        if (lines++ > 0)
            gw_buf_append_c(&joined, ", ");
        gw_buf_append_str(&joined, value);
    }
    if (lines == 0)
        return GW_OK;
    gw_str value = gw_arena_dup(job->arena, gw_buf_str(&joined));
    if (gw_buf_failed(&joined) || !value.ptr)
        return gw_fail(err, GW_ERR_NO_MEMORY, "no memory for the upstream request");
    add_header(r, name, value);
    return GW_OK;
}

/* The caller's own where it speaks this dialect; else the one that our adapter reads and writes. */
static gw_str anthropic_version(const adapter_job *job)
{
    gw_str given = gw_headers_get(job->client_headers, "anthropic-version");
    bool is_theirs =
        endpoint_is_messages(job->endpoint) && given.len > 0 && gw_header_value_is_valid(given);

    return is_theirs ? given : GW_STR(ANTHROPIC_VERSION);
}

static gw_header credential_header(gw_arena *arena, provider_kind kind, gw_str credential)
{
    if (kind == PROVIDER_ANTHROPIC)
        return (gw_header){GW_STR("x-api-key"), credential};
    if (kind == PROVIDER_GOOGLE)
        return (gw_header){GW_STR("x-goog-api-key"), credential};
    return (gw_header){GW_STR("authorization"),
                       gw_arena_join_secret(arena, GW_STR("Bearer "), credential)};
}

static bool add_credential(const adapter_job *job, adapter_request *r)
{
    provider_kind kind = job->target->provider->kind;
    gw_str credential = adapter_credential(job);

    if (kind == PROVIDER_ANTHROPIC)
        add_header(r, "anthropic-version", anthropic_version(job));
    if (credential.len == 0)
        return true;
    r->headers[r->header_count] = credential_header(job->arena, kind, credential);
    return r->headers[r->header_count++].value.ptr != NULL;
}

gw_status adapter_write_listing_headers(gw_arena *arena, const provider_config *p,
                                        gw_str credential, gw_header headers[ADAPTER_HEADERS_MAX],
                                        size_t *ret_count, gw_error *err)
{
    size_t n = 0;

    headers[n++] = (gw_header){GW_STR("accept"), GW_STR("application/json")};
    headers[n++] = (gw_header){GW_STR("user-agent"), GW_STR(USER_AGENT)};
    if (p->kind == PROVIDER_ANTHROPIC)
        headers[n++] = (gw_header){GW_STR("anthropic-version"), GW_STR(ANTHROPIC_VERSION)};
    if (credential.len > 0) {
        headers[n] = credential_header(arena, p->kind, credential);
        if (!headers[n++].value.ptr)
            return gw_fail(err, GW_ERR_NO_MEMORY, "no memory for the upstream request");
    }
    *ret_count = n;
    return GW_OK;
}

gw_status adapter_write_headers(const adapter_job *job, adapter_request *ret, gw_error *err)
{
    const char *beta = beta_headers[job->target->provider->kind];
    char hop[GW_INT_TEXT_SIZE];

    add_header(ret, "content-type", GW_STR("application/json"));
    add_header(ret, "accept",
               job->stream ? GW_STR("text/event-stream") : GW_STR("application/json"));
    add_header(ret, "user-agent", GW_STR(USER_AGENT));
    if (!add_credential(job, ret))
        return gw_fail(err, GW_ERR_NO_MEMORY, "no memory for the upstream request");
    add_header(ret, "x-relay-hop",
               gw_arena_dup(job->arena, gw_str_n(hop, gw_int_format(job->hop, hop))));
    pass_header(job, ret, "traceparent");
    gw_status rc = pass_list(job, ret, trace_state, err);
    return rc == GW_OK && beta ? pass_list(job, ret, beta, err) : rc;
}

/* ---- a JSON answer as a stream ---- */

static yyjson_mut_val *chunk_of(yyjson_mut_doc *doc, yyjson_val *answer)
{
    static const char *const copied[] = {"id", "created", "model", "system_fingerprint",
                                         "service_tier"};
    yyjson_mut_val *chunk = yyjson_mut_obj(doc);

    yyjson_mut_obj_add_str(doc, chunk, "object", "chat.completion.chunk");
    for (size_t i = 0; i < GW_ARRAY_LEN(copied); i++) {
        yyjson_val *v = yyjson_obj_get(answer, copied[i]);
        if (v)
            yyjson_mut_obj_add_val(doc, chunk, copied[i], yyjson_val_mut_copy(doc, v));
    }
    return chunk;
}

static yyjson_mut_val *delta_of(yyjson_mut_doc *doc, yyjson_val *message)
{
    yyjson_mut_val *delta = message ? yyjson_val_mut_copy(doc, message) : yyjson_mut_obj(doc);
    yyjson_mut_val *calls = yyjson_mut_obj_get(delta, "tool_calls");
    yyjson_mut_arr_iter it = yyjson_mut_arr_iter_with(calls);
    yyjson_mut_val *call;
    int64_t index = 0;

    while ((call = yyjson_mut_arr_iter_next(&it)))
        yyjson_mut_obj_add_int(doc, call, "index", index++);
    return delta;
}

static void add_choice(yyjson_mut_doc *doc, yyjson_mut_val *choices, int64_t index,
                       yyjson_mut_val *delta, yyjson_val *finish)
{
    yyjson_mut_val *choice = yyjson_mut_arr_add_obj(doc, choices);

    yyjson_mut_obj_add_int(doc, choice, "index", index);
    yyjson_mut_obj_add_val(doc, choice, "delta", delta);
    yyjson_mut_obj_add_val(doc, choice, "finish_reason",
                           finish ? yyjson_val_mut_copy(doc, finish) : yyjson_mut_null(doc));
}

static void emit_value(adapter_stream *s, answer_event_kind kind, yyjson_mut_val *value)
{
    size_t len = 0;
    char *text = yyjson_mut_val_write(value, YYJSON_WRITE_NOFLAG, &len);

    if (text)
        adapter_emit_json(s, kind, gw_str_n(text, len));
    free(text);
}

static void emit_answer(adapter_stream *s, yyjson_mut_doc *doc, yyjson_val *answer)
{
    yyjson_mut_val *said = chunk_of(doc, answer), *ended = chunk_of(doc, answer);
    yyjson_mut_val *said_choices = yyjson_mut_obj_add_arr(doc, said, "choices");
    yyjson_mut_val *ended_choices = yyjson_mut_obj_add_arr(doc, ended, "choices");
    yyjson_arr_iter it = yyjson_arr_iter_with(yyjson_obj_get(answer, "choices"));
    yyjson_val *usage = json_last(answer, "usage");
    yyjson_val *choice;
    int64_t index = 0;

    while ((choice = yyjson_arr_iter_next(&it))) {
        add_choice(doc, said_choices, index, delta_of(doc, yyjson_obj_get(choice, "message")),
                   NULL);
        add_choice(doc, ended_choices, index++, yyjson_mut_obj(doc),
                   yyjson_obj_get(choice, "finish_reason"));
    }
    emit_value(s, ANSWER_CONTENT, said);
    emit_value(s, ANSWER_CONTENT, ended);
    if (yyjson_is_obj(usage)) {
        yyjson_mut_val *chunk = chunk_of(doc, answer);
        yyjson_mut_obj_add_arr(doc, chunk, "choices");
        yyjson_mut_obj_add_val(doc, chunk, "usage", yyjson_val_mut_copy(doc, usage));
        emit_value(s, ANSWER_USAGE, chunk);
    }
    adapter_emit_done(s, GW_STR("data: [DONE]\n\n"));
}

gw_status adapter_stream_from_answer(adapter_stream *s, gw_str json)
{
    yyjson_doc *answer = yyjson_read(json.ptr, json.len, YYJSON_READ_NOFLAG);
    yyjson_mut_doc *doc = yyjson_mut_doc_new(NULL);
    gw_error err;
    gw_status rc = GW_OK;

    if (answer && doc)
        emit_answer(s, doc, yyjson_doc_get_root(answer));
    else
        rc = gw_fail(&err, GW_ERR_NO_MEMORY, "no memory to stream the answer");
    yyjson_mut_doc_free(doc);
    yyjson_doc_free(answer);
    return rc == GW_OK ? rc : adapter_fail(s, &err);
}

gw_status adapter_stream_answer(adapter_stream *s, gw_str json)
{
    const adapter_ops *ops = adapter_of(s->job->target->provider->kind);
    gw_str answer;
    gw_status rc = ops->on_answer(s, json, &answer);

    return rc == GW_OK ? adapter_stream_from_answer(s, answer) : rc;
}
