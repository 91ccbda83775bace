/*
 * For the fuzz targets of adapters: a request that an adapter writes, and a stream that it translates, with all that a relay's
 * request would have around them.
 */
#pragma once

#include "adapter.h"

#include "testing/fuzz.h"

/* ---- requests ---- */

typedef void (*adapter_fuzz_check_fn)(const adapter_job *job, const adapter_request *written);

static inline void adapter_fuzz_check_head(const adapter_request *r)
{
    fuzz_require(r->target.ptr[0] == '/' && !gw_str_has_control(r->target) &&
                 gw_str_find(r->target, ' ') < 0);
    for (size_t i = 0; i < r->header_count; i++)
        fuzz_require(gw_header_value_is_valid(r->headers[i].value));
    fuzz_require(r->ignored_params.len == 0 || gw_header_value_is_valid(r->ignored_params));
}

/* `check` sees what was written; a refusal has to name its field. */
static inline void adapter_fuzz_write(relay_endpoint endpoint, provider_kind kind, gw_str text,
                                      bool drops, int64_t ceiling, adapter_fuzz_check_fn check)
{
    gw_auto(gw_arena) arena = gw_arena_new();
    provider_config provider = {.name = GW_STR("p"),
                                .kind = kind,
                                .base_path = GW_STR("/v1"),
                                .credential = GW_STR("sk-secret")};
    route_target target = {.provider = &provider};
    model_route route = {.default_max_output_tokens = 4096, .drops_params = drops};
    Apirelay__Auth__V1__KeyPolicy message;
    key_policy policy = {.message = &message};
    openai_body body;
    adapter_request request = {0};
    gw_error err = {0};

    apirelay__auth__v1__key_policy__init(&message);
    if (!arena || openai_body_read(arena, endpoint, text, &body, &err) != GW_OK)
        return;
    adapter_job job = {.arena = arena,
                       .endpoint = endpoint,
                       .body = &body,
                       .route = &route,
                       .target = &target,
                       .policy = &policy,
                       .ceiling = ceiling,
                       .stream = body.stream,
                       .request_id = GW_STR("req_1")};
    if (adapter_for(endpoint, kind)->write_request(&job, &request, &err) == GW_OK) {
        adapter_fuzz_check_head(&request);
        check(&job, &request);
    } else {
        fuzz_require(err.field[0] != '\0' && err.message[0] != '\0');
    }
}

/* ---- streams ---- */

typedef struct adapter_fuzz_run {
    gw_arena *arena;
    provider_config provider;
    model_route route;
    route_target target;
    key_policy policy;
    openai_body body;
    adapter_job job;
    openai_error failure;
    usage_tap tap;
    const adapter_ops *ops;
    adapter_stream stream;
    gw_buf out; /* all that was emitted, as it was */
    bool done; /* its end was */
} adapter_fuzz_run;

/* `emit`, with `arg`, has to call adapter_fuzz_emitted(). */
static inline void adapter_fuzz_begin(adapter_fuzz_run *r, relay_endpoint endpoint,
                                      provider_kind kind,
                                      void (*emit)(void *arg, const answer_event *e), void *arg)
{
    static char scratch[4096];

    *r = (adapter_fuzz_run){
        .arena = gw_arena_new(),
        .provider = {.name = GW_STR("p"), .kind = kind, .credential = GW_STR("sk-secret")},
        .body = {.model = GW_STR("m"), .choices = 1, .completions = 1},
        .tap = {.scratch = {scratch, sizeof(scratch)}},
        .ops = adapter_for(endpoint, kind)};
    r->target.provider = &r->provider;
    r->job = (adapter_job){.arena = r->arena,
                           .endpoint = endpoint,
                           .body = &r->body,
                           .route = &r->route,
                           .target = &r->target,
                           .policy = &r->policy,
                           .stream = true,
                           .request_id = GW_STR("req_1")};
    r->stream = (adapter_stream){
        .job = &r->job, .tap = &r->tap, .emit = emit, .arg = arg, .failure = &r->failure};
    fuzz_require(r->arena);
}

static inline void adapter_fuzz_emitted(adapter_fuzz_run *r, const answer_event *e)
{
    fuzz_require(e->raw.len > 0 && !r->done);
    r->done = e->kind == ANSWER_DONE;
    gw_buf_append_str(&r->out, e->raw);
}

static inline gw_status adapter_fuzz_on_event(void *arg, const gw_sse_event *e, gw_error *err)
{
    adapter_fuzz_run *r = arg;
    gw_status rc = r->ops->on_event(&r->stream, e);

    if (rc != GW_OK)
        *err = r->failure.error;
    return rc;
}

/* The whole stream, in those pieces; its end comes exactly when it does well. */
static inline gw_status adapter_fuzz_play(adapter_fuzz_run *r, fuzz_pieces pieces)
{
    gw_sse_reader *reader = gw_sse_reader_new(1 << 16, adapter_fuzz_on_event, r);
    gw_status rc = GW_OK;
    gw_error err;
    gw_str piece;

    fuzz_require(reader);
    while (rc == GW_OK && fuzz_next_piece(&pieces, &piece))
        rc = gw_sse_feed(reader, piece, &err);
    gw_sse_reader_free(reader);
    if (rc == GW_OK)
        rc = r->ops->on_end(&r->stream);
    fuzz_require(r->done == (rc == GW_OK));
    return rc;
}

static inline void adapter_fuzz_end(adapter_fuzz_run *r)
{
    adapter_stream_fini(&r->stream);
    gw_buf_fini(&r->out);
    gw_arena_free(r->arena);
}
