/*
 * A request on its way through an adapter without a relay around it. Include only in tests.
 */
#pragma once

#include "adapter.h"

#include "testing/cmocka.h"

#include <stdlib.h>

typedef struct fixture {
    gw_arena *arena;
    provider_config provider;
    route_target target;
    model_route route;
    key_policy policy;
    Apirelay__Auth__V1__KeyPolicy message;
    Apirelay__Auth__V1__KeyPermissions permissions;
    openai_body body;
    adapter_job job;
    usage_tap tap;
    adapter_stream stream;
    openai_error failure;
    const adapter_ops *ops;
    gw_buf sent; /* raw bytes of what was emitted, usage in <>, preamble in () */
} fixture;

static void on_emit(void *arg, const answer_event *e)
{
    static const char *const open[] = {"(", "", "<", "", "#"}, *const close[] = {")", "", ">", "",
                                                                                 "#"};
    fixture *f = arg;

    gw_buf_append_c(&f->sent, open[e->kind]);
    gw_buf_append_str(&f->sent, e->raw);
    gw_buf_append_c(&f->sent, close[e->kind]);
}

static int setup(void **state)
{
    fixture *f = calloc(1, sizeof(*f));

    assert_non_null(f);
    f->arena = gw_arena_new();
    f->provider = (provider_config){
        .name = GW_STR("p"), .base_path = GW_STR("/v1"), .credential = GW_STR("sk-upstream")};
    f->target = (route_target){.provider = &f->provider, .upstream_model = GW_STR("")};
    f->route = (model_route){
        .pattern = GW_STR("*"),
        .targets = &f->target,
        .target_count = 1,
        .default_max_output_tokens = 4096,
    };
    apirelay__auth__v1__key_policy__init(&f->message);
    apirelay__auth__v1__key_permissions__init(&f->permissions);
    f->message.permissions = &f->permissions;
    f->policy.message = &f->message;
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    fixture *f = *state;
    adapter_stream_fini(&f->stream);
    gw_buf_fini(&f->sent);
    gw_arena_free(f->arena);
    free(f);
    return 0;
}

static void ask(fixture *f, provider_kind kind, relay_endpoint endpoint, const char *json)
{
    gw_error err = {0};

    f->provider.kind = kind;
    f->ops = adapter_for(endpoint, kind);
    if (openai_body_read(f->arena, endpoint, gw_str_of(json), &f->body, &err) != GW_OK)
        fail_msg("%s", err.message);
    f->job = (adapter_job){.arena = f->arena,
                           .endpoint = endpoint,
                           .body = &f->body,
                           .route = &f->route,
                           .target = &f->target,
                           .policy = &f->policy,
                           .stream = f->body.stream,
                           .hop = 1,
                           .request_id = GW_STR("req_1"),
                           .created_s = 1764000000,
                           .prompt_estimate = 9};
    f->tap = (usage_tap){0};
    f->stream = (adapter_stream){
        .job = &f->job, .tap = &f->tap, .emit = on_emit, .arg = f, .failure = &f->failure};
    gw_buf_clear(&f->sent);
}

static inline gw_status write_request(fixture *f, adapter_request *r, gw_buf *body, gw_error *err)
{
    *r = (adapter_request){0};
    gw_status rc = f->ops->write_request(&f->job, r, err);

    for (size_t i = 0; rc == GW_OK && i < r->body_parts; i++)
        gw_buf_append_str(body, r->body[i]);
    return rc;
}

static gw_status on_event(void *arg, const gw_sse_event *e, gw_error *err)
{
    fixture *f = arg;
    gw_status rc = f->ops->on_event(&f->stream, e);

    if (rc != GW_OK)
        *err = f->stream.failure->error;
    return rc;
}

/* In pieces of `cut` bytes first and the rest then; 0: at once. */
static gw_status play_cut(fixture *f, gw_str sse, size_t cut)
{
    gw_error err;
    gw_sse_reader *reader = gw_sse_reader_new(1 << 20, on_event, f);
    gw_status rc = gw_sse_feed(reader, gw_str_slice(sse, 0, cut), &err);

    if (rc == GW_OK)
        rc = gw_sse_feed(reader, gw_str_slice(sse, cut, sse.len), &err);
    gw_sse_reader_free(reader);
    return rc == GW_OK ? f->ops->on_end(&f->stream) : rc;
}

static inline gw_status play(fixture *f, const char *sse)
{
    return play_cut(f, gw_str_of(sse), 0);
}

static inline bool has_header(const adapter_request *r, const char *name, const char *value)
{
    gw_str found =
        gw_headers_get((gw_headers){.items = r->headers, .count = r->header_count}, name);

    return value ? gw_str_eq_c(found, value) : !found.ptr;
}

#define WITH(test) cmocka_unit_test_setup_teardown(test, setup, teardown)
