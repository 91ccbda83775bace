#include "route_trial.h"

#include "adapter.h"

#include "json/json.h"

#include "apirelay/relay/v1/provider_service.pb-c.h"

#include <stdlib.h>

#define ASKED          "Answer with the word ok."
#define ANSWER_TOKENS  64 /* some models think before they speak */
#define ANSWER_MAX     ((size_t)1024 * 1024)
#define TEXT_MAX_BYTES 200
#define REPLY_MS       500 /* of the call's deadline, for the answer's way back */

typedef Apirelay__Relay__V1__TryModelRouteRequest trial_request;
typedef Apirelay__Relay__V1__TriedTarget tried_target;

typedef struct route_trial {
    relay_core *core;
    gw_rpc_call *call;
    gw_audit_act act;
    gw_arena *arena; /* the call's */
    relay_config *config;
    const model_route *route;
    gw_str model;
    bool every_target;
    size_t at; /* of the target that is asked */

    Apirelay__Auth__V1__KeyPolicy no_rules;
    key_policy policy; /* of nobody: everything is allowed */
    openai_body body;
    adapter_job job;
    adapter_stream adapted;
    usage_tap tap;
    openai_error failure;
    const adapter_ops *adapter;

    gw_http_call *upstream; /* NULL when none is in flight */
    int64_t began_ms;
    int status;
    bool is_json;
    bool has_failed;
    gw_buf held;

    Apirelay__Relay__V1__TryModelRouteResponse response;
    tried_target *steps, *step;
} route_trial;

static char *text_of(route_trial *t, gw_str s, size_t max)
{
    static char none[] = "";
    char *copy = gw_str_is_utf8(s)
                     ? gw_arena_strdup(t->arena, gw_str_slice(s, 0, gw_str_utf8_cut(s, max)))
                     : NULL;

    return copy ? copy : none;
}

static int64_t elapsed_ms(const route_trial *t)
{
    return gw_loop_now_ms(t->core->loop) - t->began_ms;
}

/* ---- a step ---- */

static void fail_step(route_trial *t, const gw_error *err)
{
    t->has_failed = true;
    t->step->error_code =
        text_of(t, gw_str_of(gw_status_describe(err->code)->openai_code), SIZE_MAX);
    t->step->error_message = text_of(t, gw_str_of(err->message), SIZE_MAX);
}

static void begin_step(route_trial *t, const route_target *to)
{
    gw_str model = to->upstream_model.len > 0 ? to->upstream_model : t->model;
    target_name name = {to->provider->name, model};

    t->step = &t->steps[t->at];
    apirelay__relay__v1__tried_target__init(t->step);
    t->response.steps[t->response.n_steps++] = t->step;
    t->step->provider = text_of(t, to->provider->name, SIZE_MAX);
    t->step->upstream_model = text_of(t, model, SIZE_MAX);
    t->step->breaker_open =
        target_health_closed_ms(t->core->health, name, gw_loop_now_ms(t->core->loop)) > 0;
    t->began_ms = gw_loop_now_ms(t->core->loop);
    t->status = 0;
    t->has_failed = t->is_json = false;
    gw_buf_clear(&t->held);
    adapter_stream_fini(&t->adapted);
    t->tap = (usage_tap){.scratch = t->core->scratch};
    t->job.target = to;
    t->adapter = adapter_of(to->provider->kind);
    t->adapted = (adapter_stream){.job = &t->job, .tap = &t->tap, .failure = &t->failure};
}

static void tell_text(route_trial *t, gw_str json)
{
    yyjson_doc *doc = yyjson_read(json.ptr, json.len, YYJSON_READ_NOFLAG);
    yyjson_val *said =
        yyjson_doc_ptr_get(doc, "/choices/0/message/content"); /* NULL of NULL is fine */

    if (yyjson_is_str(said))
        t->step->text =
            text_of(t, gw_str_n(yyjson_get_str(said), yyjson_get_len(said)), TEXT_MAX_BYTES);
    yyjson_doc_free(doc);
}

static void read_answer(route_trial *t)
{
    gw_str json;

    if (t->adapter->on_answer(&t->adapted, gw_buf_str(&t->held), &json) != GW_OK) {
        fail_step(t, &t->failure.error);
        return;
    }
    t->step->finish_reason = text_of(t, gw_str_of(t->tap.finish_reason), SIZE_MAX);
    t->step->prompt_tokens = t->tap.tokens.prompt;
    t->step->completion_tokens = t->tap.tokens.completion;
    tell_text(t, json);
    t->response.answered = true;
}

static void read_refusal(route_trial *t)
{
    t->adapter->map_error(&t->job, t->status, t->is_json, gw_buf_str(&t->held), &t->failure);
    fail_step(t, &t->failure.error);
}

static void ask_next(route_trial *t);

static void on_head(gw_http_call *c, int status, gw_headers headers, void *arg)
{
    route_trial *t = arg;
    gw_str type = gw_headers_get(headers, "content-type");
    gw_error err;

    (void)c;
    t->status = t->step->status = status;
    t->step->head_ms = elapsed_ms(t);
    t->is_json = gw_content_type_is(type, "application/json");
    if (status >= 400 || (status >= 200 && status < 300 && t->is_json))
        return;
    (void)gw_fail(&err, GW_ERR_UPSTREAM_PROTOCOL, "it answered %d with %.*s, not with JSON", status,
                  GW_STR_ARG(gw_str_slice(type, 0, 60)));
    fail_step(t, &err);
}

static void on_body(gw_http_call *c, gw_str bytes, void *arg)
{
    route_trial *t = arg;
    gw_error err;

    if (bytes.len <= ANSWER_MAX - t->held.len) {
        gw_buf_append_str(&t->held, bytes);
        return;
    }
    (void)gw_fail(&err, GW_ERR_UPSTREAM_PROTOCOL, "its answer has more than %zu bytes", ANSWER_MAX);
    fail_step(t, &err);
    gw_http_cancel(c);
}

static void on_done(gw_http_call *c, gw_status rc, const gw_error *err, void *arg)
{
    route_trial *t = arg;

    (void)c;
    t->upstream = NULL;
    t->step->duration_ms = elapsed_ms(t);
    if (!t->has_failed && rc != GW_OK)
        fail_step(t, err);
    else if (!t->has_failed && t->status >= 400)
        read_refusal(t);
    else if (!t->has_failed)
        read_answer(t);
    t->at++;
    ask_next(t);
}

static const gw_http_call_ops upstream_ops = {
    .on_head = on_head, .on_body = on_body, .on_done = on_done};

static void tell_url(route_trial *t, const adapter_request *u)
{
    const gw_url *url = &t->job.target->provider->base_url;
    gw_auto_buf out = {0};

    gw_buf_appendf(&out, url->host_is_v6 ? "%.*s://[%.*s]" : "%.*s://%.*s", GW_STR_ARG(url->scheme),
                   GW_STR_ARG(url->host));
    if (url->port > 0)
        gw_buf_appendf(&out, ":%u", (unsigned)url->port);
    gw_buf_append_str(&out, u->target);
    t->step->url = gw_buf_failed(&out) ? NULL : gw_arena_strdup(t->arena, gw_buf_str(&out));
    if (!t->step->url)
        t->step->url = text_of(t, GW_STR(""), 0);
}

static gw_status send_step(route_trial *t, const route_target *to, gw_error *err)
{
    const provider_config *p = to->provider;
    int64_t left_ms = gw_rpc_call_deadline_ms(t->call) - gw_loop_now_ms(t->core->loop) - REPLY_MS;
    adapter_request u = {0};

    if (p->unusable)
        return gw_fail(err, GW_ERR_UPSTREAM_UNAVAILABLE, "it is not set up: %s", p->unusable);
    if ((p->requires_user_key || p->sign_in_audience.len > 0) && p->credential.len == 0)
        return gw_fail(err, GW_ERR_USER_KEY_REQUIRED,
                       "it is asked as the users of API keys; a trial has none, and the provider "
                       "no credential");
    if (left_ms <= 0)
        return gw_fail(err, GW_ERR_DEADLINE_EXCEEDED, "no time was left for it");
    gw_status rc = t->adapter->write_request(&t->job, &u, err);
    if (rc != GW_OK)
        return rc;
    gw_http_request request = {
        .transport = p->transport,
        .method = "POST",
        .url = p->base_url,
        .target = u.target,
        .headers = u.headers,
        .header_count = u.header_count,
        .body = u.body,
        .body_parts = u.body_parts,
        .timeouts = {.connect_ms = to->connect_timeout_ms,
                     .first_byte_ms = to->first_byte_timeout_ms,
                     .idle_ms = to->idle_timeout_ms,
                     .total_ms = to->total_timeout_ms > 0 ? GW_MIN(to->total_timeout_ms, left_ms)
                                                          : left_ms},
        .idle_max = p->connections_max,
    };
    tell_url(t, &u);
    return gw_http_send(t->core->upstreams, &request, &upstream_ops, t, &t->upstream, err);
}

static bool is_over(const route_trial *t)
{
    return t->at == t->route->target_count || gw_rpc_call_is_cancelled(t->call) ||
           (t->response.answered && !t->every_target);
}

static void end(route_trial *t)
{
    gw_str told = gw_arena_printf(t->arena, "{\"answered\":%s,\"steps\":%zu}",
                                  t->response.answered ? "true" : "false", t->response.n_steps);

    gw_audit_act_end(&t->act, "ok", told.ptr ? told.ptr : "");
}

/* Until one is on its way. */
static void ask_next(route_trial *t)
{
    gw_error err;

    for (; !is_over(t); t->at++) {
        const route_target *to = &t->route->targets[t->at];
        begin_step(t, to);
        if (send_step(t, to, &err) == GW_OK)
            return;
        fail_step(t, &err);
    }
    end(t);
}

/* ---- the call ---- */

static gw_status find_route(route_trial *t, const trial_request *request, gw_error *err)
{
    t->model = gw_str_of(request->model);
    if (t->model.len == 0 || t->model.len > 256 || gw_str_has_control(t->model))
        return gw_fail_field(err, GW_ERR_INVALID_ARGUMENT, "model",
                             "must be a model name of 1-256 printable bytes");
    t->route = t->config ? relay_config_route(t->config, t->model) : NULL;
    return t->route ? GW_OK
                    : gw_fail_field(err, GW_ERR_NOT_FOUND, "model", "no route matches \"%.*s\"",
                                    GW_STR_ARG(t->model));
}

static gw_status write_body(route_trial *t, gw_error *err)
{
    gw_auto_buf text = {0};

    gw_buf_append_c(&text, "{\"model\":");
    gw_buf_append_json(&text, t->model);
    gw_buf_append_c(&text, ",\"messages\":[{\"role\":\"user\",\"content\":\"" ASKED "\"}]}");
    return openai_body_read(t->arena, ENDPOINT_CHAT, gw_arena_dup(t->arena, gw_buf_str(&text)),
                            &t->body, err);
}

static gw_status prepare(route_trial *t, const trial_request *request, gw_error *err)
{
    gw_status rc = find_route(t, request, err);

    if (rc == GW_OK)
        rc = write_body(t, err);
    if (rc != GW_OK)
        return rc;
    apirelay__auth__v1__key_policy__init(&t->no_rules);
    t->policy.message = &t->no_rules;
    t->every_target = request->every_target;
    t->job = (adapter_job){.arena = t->arena,
                           .endpoint = ENDPOINT_CHAT,
                           .body = &t->body,
                           .route = t->route,
                           .policy = &t->policy,
                           .ceiling = ANSWER_TOKENS,
                           .hop = 1,
                           .request_id = GW_STR("trial"),
                           .created_s = gw_clock_wall_ms(t->core->clock) / 1000};
    apirelay__relay__v1__try_model_route_response__init(&t->response);
    t->steps = gw_arena_array(t->arena, tried_target, t->route->target_count);
    t->response.steps = gw_arena_array(t->arena, tried_target *, t->route->target_count);
    t->response.route = text_of(t, t->route->pattern, SIZE_MAX);
    return t->steps && t->response.steps
               ? GW_OK
               : gw_fail(err, GW_ERR_NO_MEMORY, "no memory for the trial");
}

static void on_act_begun(gw_audit_act *a, gw_status rc, const gw_error *err)
{
    route_trial *t = GW_CONTAINER_OF(a, route_trial, act);

    if (rc != GW_OK)
        gw_rpc_fail(t->call, err);
    else
        ask_next(t);
}

static void on_act_ended(gw_audit_act *a)
{
    route_trial *t = GW_CONTAINER_OF(a, route_trial, act);

    gw_rpc_reply(t->call, &t->response.base);
}

static void begin(route_trial *t, const gw_audit_link *audit, const ProtobufCMessage *request)
{
    gw_auto_buf json = {0};
    gw_error err;

    t->act = (gw_audit_act){.link = audit,
                            .call = t->call,
                            .action = "model_route.try",
                            .target = text_of(t, t->model, SIZE_MAX),
                            .begun = on_act_begun,
                            .ended = on_act_ended};
    if (gw_json_write(request, &json, &err) != GW_OK)
        gw_rpc_fail(t->call, &err);
    else
        gw_audit_act_begin(&t->act, json.data);
}

static void on_start(gw_rpc_call *call, const ProtobufCMessage *request, void *arg)
{
    const route_trial_rpc *rpc = arg;
    relay_core *core = rpc->core;
    route_trial *t = calloc(1, sizeof(*t));
    gw_error err;

    gw_rpc_call_set_data(call, t);
    if (!t) {
        (void)gw_fail(&err, GW_ERR_NO_MEMORY, "no memory for the trial");
        gw_rpc_fail(call, &err);
        return;
    }
    t->core = core;
    t->call = call;
    t->arena = gw_rpc_call_arena(call);
    t->config = core->config ? relay_config_ref(core->config) : NULL;
    if (prepare(t, (const trial_request *)(const void *)request, &err) != GW_OK)
        gw_rpc_fail(call, &err);
    else
        begin(t, rpc->audit, request);
}

static void on_cancelled(gw_rpc_call *call, void *arg)
{
    route_trial *t = gw_rpc_call_data(call);

    (void)arg;
    if (t && t->upstream)
        gw_http_cancel(t->upstream); /* its end ends the call */
}

static void on_finished(gw_rpc_call *call, void *arg)
{
    route_trial *t = gw_rpc_call_data(call);

    (void)arg;
    if (!t)
        return;
    relay_config_unref(t->config);
    adapter_stream_fini(&t->adapted);
    gw_buf_fini(&t->held);
    free(t);
}

const gw_rpc_handler route_trial_handlers[] = {
    {.path = "/apirelay.relay.v1.ProviderService/TryModelRoute",
     .start = on_start,
     .cancelled = on_cancelled,
     .finished = on_finished},
    {.path = NULL},
};
