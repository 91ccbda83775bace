#include "messages_front.h"

/* ---- the request ---- */

/* How the chat request's members are called by the caller, whose body `b` is; NULL: as they are. */
static const char *callers_name(const openai_body *b, gw_str name)
{
    const struct {
        const char *chat, *messages;
    } names[] = {
        {"stop", "stop_sequences"},
        {"response_format", b->output_format_given ? "output_format" : "output_config.format"},
        {"reasoning_effort", b->effort_given ? "output_config.effort" : "thinking"},
        {"parallel_tool_calls", "tool_choice.disable_parallel_tool_use"},
        {"max_completion_tokens", "max_tokens"},
        {"user", "metadata"},
        {"tools.function.strict", "tools.strict"},
    };

    for (size_t i = 0; i < GW_ARRAY_LEN(names); i++)
        if (gw_str_eq_c(name, names[i].chat))
            return names[i].messages;
    return NULL;
}

/*
 * What a provider says is wrong with the chat request, by the caller's name; NULL when he has sent nothing of the kind. "messages[4].role"
 * is another one of his, or none: he is told "messages".
 */
static gw_str callers_param(const openai_body *b, gw_str param)
{
    static const char *const shared[] = {"model",  "messages",    "tools", "tool_choice",
                                         "stream", "temperature", "top_p", "max_tokens"};
    const char *name = callers_name(b, param);
    size_t len = 0;

    if (name)
        return gw_str_of(name);
    while (len < param.len && param.ptr[len] != '[' && param.ptr[len] != '.')
        len++;
    for (size_t i = 0; i < GW_ARRAY_LEN(shared); i++)
        if (gw_str_eq_c(gw_str_slice(param, 0, len), shared[i]))
            return gw_str_of(shared[i]);
    return GW_STR_NULL;
}

/* "messages[4].content" of the chat request is of another message of the caller's. */
static void find_origin(gw_error *err, const messages_origins *origins)
{
    const size_t *indexes = (const size_t *)(const void *)origins->indexes.data;
    size_t count = origins->indexes.len / sizeof(size_t);
    char field[sizeof(err->field)];
    const gw_str list = GW_STR("messages[");
    gw_str rest = gw_str_of(err->field), number;
    int64_t index;

    if (!gw_str_starts_with(rest, list))
        return;
    rest = gw_str_slice(rest, list.len, rest.len);
    if (!gw_str_split(&rest, ']', &number) || !gw_str_to_int64(number, &index) || index < 0 ||
        (size_t)index >= count)
        return;
    if (indexes[index] == MESSAGES_ORIGIN_SYSTEM)
        (void)snprintf(field, sizeof(field), "system");
    else
        (void)snprintf(field, sizeof(field), "messages[%zu]%.60s", indexes[index],
                       rest.ptr ? rest.ptr : "");
    memcpy(err->field, field, sizeof(field));
}

/* What the adapter behind refuses, it refuses by OpenAI's names. */
static gw_status in_callers_words(const openai_body *b, gw_status rc, gw_error *err,
                                  const messages_origins *origins)
{
    if (!err)
        return rc;
    const char *name = callers_name(b, gw_str_of(err->field));
    find_origin(err, origins);
    return name ? gw_fail_field(err, rc, name, "'%s' cannot be honoured by this provider", name)
                : rc;
}

static gw_status write_behind(const adapter_job *job, gw_str text, const messages_origins *origins,
                              adapter_request *ret, gw_error *err)
{
    adapter_job behind = *job;
    openai_body body;
    gw_status rc = openai_body_read(job->arena, ENDPOINT_CHAT, text, &body, err);

    if (rc != GW_OK)
        return rc;
    behind.endpoint = ENDPOINT_CHAT;
    behind.body = &body;
    rc = adapter_of(job->target->provider->kind)->write_request(&behind, ret, err);
    if (rc != GW_OK)
        return in_callers_words(job->body, rc, err, origins);
    if (ret->upstream_model.ptr == body.model.ptr) /* of the JSON that goes now */
        ret->upstream_model = job->body->model;
    openai_body_forget_json(&body, job->arena);
    ret->owns_body = true; /* no part of it is the caller's */
    return GW_OK;
}

/* What the adapter behind left out is listed behind what was left out here, by the caller's names. */
static gw_status join_ignored(adapter_params *params, adapter_request *ret, gw_error *err)
{
    gw_str behind = ret->ignored_params, each;

    while (gw_str_split(&behind, ',', &each)) {
        gw_str chat = gw_str_trim(each);
        const char *name = callers_name(params->job->body, chat);
        adapter_params_ignore(params, name ? gw_str_of(name) : chat);
    }
    return adapter_params_take(params, &ret->ignored_params, err);
}

static gw_status write_message(const adapter_job *job, adapter_request *ret, gw_error *err)
{
    json_auto_builder body = {0};
    adapter_auto_params params = {.job = job, .provider = "this provider"};
    adapter_request written = {0};
    messages_origins origins = {0};

    json_builder_init(&body);
    gw_status rc = body.doc ? messages_write_chat(&params, &body, &origins, err)
                            : gw_fail(err, GW_ERR_NO_MEMORY, "no memory for the upstream request");
    if (body.failed) /* what was found wrong then may only be missing */
        rc = gw_fail(err, GW_ERR_NO_MEMORY, "no memory for the upstream request");
    if (rc == GW_OK)
        rc = adapter_set_body(job, &body, &written, err);
    if (rc == GW_OK)
        rc = write_behind(job, *written.body, &origins, ret, err);
    if (rc == GW_OK && ret->text) /* written once more: what was in between may go */
        adapter_text_free(written.text);
    else if (rc == GW_OK)
        ret->text = written.text;
    gw_buf_fini(&origins.indexes);
    return rc == GW_OK ? join_ignored(&params, ret, err) : rc;
}

/* Nobody else counts, and our own estimate is made to be high. */
static gw_status refuse_count(const adapter_job *job, gw_error *err)
{
    const provider_config *p = job->target->provider;

    return gw_fail_field(err, GW_ERR_MODEL_NOT_SUPPORTED, "model",
                         "%s is for Anthropic's own models; %.*s is one of the provider %.*s (%s)",
                         endpoint_describe(job->endpoint)->path,
                         GW_STR_ARG(gw_str_slice(job->body->model, 0, 100)), GW_STR_ARG(p->name),
                         provider_kind_describe(p->kind)->name);
}

static gw_status write_request(const adapter_job *job, adapter_request *ret, gw_error *err)
{
    return job->endpoint == ENDPOINT_MESSAGES ? write_message(job, ret, err)
                                              : refuse_count(job, err);
}

/* ---- the answer ---- */

typedef struct front {
    adapter_job job; /* as the adapter behind has it */
    adapter_stream behind;
    messages_events events;
} front;

static void end_front(void *arg)
{
    front *f = arg;

    adapter_stream_fini(&f->behind);
    messages_events_fini(&f->events);
}

/* NULL when out of memory: s->failure says so. */
static front *front_of(adapter_stream *s)
{
    front *f = s->state ? s->state : gw_arena_new_of(s->job->arena, front);
    gw_error err;

    if (s->state)
        return f;
    if (!f || !gw_arena_defer(s->job->arena, end_front, f)) {
        (void)gw_fail(&err, GW_ERR_NO_MEMORY, "no memory for the stream");
        (void)adapter_fail(s, &err);
        return NULL;
    }
    f->job = *s->job;
    f->job.endpoint = ENDPOINT_CHAT;
    messages_events_init(&f->events, s);
    f->behind = (adapter_stream){.is_behind = true,
                                 .job = &f->job,
                                 .tap = s->tap,
                                 .emit = messages_events_take,
                                 .arg = &f->events,
                                 .failure = s->failure};
    s->state = f;
    return f;
}

static const adapter_ops *behind_of(const adapter_stream *s)
{
    return adapter_of(s->job->target->provider->kind);
}

/* After a call of the adapter behind: the first that failed counts. */
static gw_status result_of(adapter_stream *s, const front *f, gw_status rc)
{
    return rc == GW_OK && f->events.rc != GW_OK ? adapter_fail(s, &f->events.err) : rc;
}

static gw_status on_event(adapter_stream *s, const gw_sse_event *e)
{
    front *f = front_of(s);

    return f ? result_of(s, f, behind_of(s)->on_event(&f->behind, e)) : s->failure->error.code;
}

static gw_status on_end(adapter_stream *s)
{
    front *f = front_of(s);
    gw_status rc = f ? behind_of(s)->on_end(&f->behind) : s->failure->error.code;

    if (rc == GW_OK)
        messages_events_end(&f->events);
    return f ? result_of(s, f, rc) : rc;
}

static gw_status on_answer(adapter_stream *s, gw_str json, gw_str *ret)
{
    front *f = front_of(s);
    gw_str completion = {0};
    gw_status rc =
        f ? behind_of(s)->on_answer(&f->behind, json, &completion) : s->failure->error.code;

    return rc == GW_OK ? messages_from_completion(s, completion, ret) : rc;
}

static gw_status stream_answer(adapter_stream *s, gw_str json)
{
    front *f = front_of(s);

    return f ? result_of(s, f, behind_of(s)->stream_answer(&f->behind, json))
             : s->failure->error.code;
}

static void map_error(const adapter_job *job, int status, bool is_json, gw_str body,
                      openai_error *ret)
{
    adapter_of(job->target->provider->kind)->map_error(job, status, is_json, body, ret);
    if (ret->param.ptr)
        ret->param = callers_param(job->body, ret->param);
}

/* One a kind: its name is the label of a metric. */
#define FRONT(kind)                                                                                \
    {                                                                                              \
        .name = (kind), .write_request = write_request, .on_event = on_event, .on_end = on_end,    \
        .on_answer = on_answer, .stream_answer = stream_answer, .map_error = map_error             \
    }

const adapter_ops *messages_adapter_of(provider_kind kind)
{
    static const adapter_ops fronts[PROVIDER_KIND_COUNT] = {
        [PROVIDER_OPENAI] = FRONT("openai"),
        [PROVIDER_LIBRECHAT] = FRONT("librechat"),
        [PROVIDER_LOCAL] = FRONT("local"),
        [PROVIDER_GOOGLE] = FRONT("google"),
    };

    return kind == PROVIDER_ANTHROPIC ? &messages_through : &fronts[kind];
}
