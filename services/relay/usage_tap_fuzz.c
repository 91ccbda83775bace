/*
 * Provider streams of the OpenAI dialect: bytes through the event reader and its adapters. Whatever comes, counts stay sane
 * and what is emitted as an event has bytes.
 */
#include "adapter.h"

#include "testing/fuzz.h"

static void on_emit(void *arg, const answer_event *e)
{
    (void)arg;
    fuzz_require(e->raw.len > 0 && e->kind <= ANSWER_COMMENT);
}

typedef struct run {
    const adapter_ops *ops;
    adapter_stream stream;
} run;

static gw_status on_event(void *arg, const gw_sse_event *e, gw_error *err)
{
    run *r = arg;
    gw_status rc = r->ops->on_event(&r->stream, e);

    if (rc != GW_OK)
        *err = r->stream.failure->error;
    return rc;
}

static void play(provider_kind kind, gw_str bytes)
{
    static char scratch[4096];
    gw_auto(gw_arena) arena = gw_arena_new();
    provider_config provider = {.name = GW_STR("p"), .credential = GW_STR("sk-secret")};
    route_target target = {.provider = &provider};
    model_route route = {0};
    openai_body body = {.model = GW_STR("m"), .choices = 1, .completions = 1};
    adapter_job job = {.arena = arena,
                       .endpoint = ENDPOINT_CHAT,
                       .body = &body,
                       .route = &route,
                       .target = &target,
                       .stream = true};
    openai_error failure;
    usage_tap tap = {.scratch = {scratch, sizeof(scratch)}};
    run r = {.ops = adapter_of(kind),
             .stream = {.job = &job, .tap = &tap, .emit = on_emit, .failure = &failure}};
    gw_sse_reader *reader = gw_sse_reader_new(1 << 16, on_event, &r);
    gw_error err;
    gw_str answer;

    if (arena && reader) {
        size_t cut = bytes.len / 2;
        if (gw_sse_feed(reader, gw_str_slice(bytes, 0, cut), &err) == GW_OK &&
            gw_sse_feed(reader, gw_str_slice(bytes, cut, bytes.len), &err) == GW_OK)
            (void)r.ops->on_end(&r.stream);
        fuzz_require(tap.tokens.prompt >= tap.tokens.cached &&
                     tap.tokens.completion >= tap.tokens.reasoning);
        fuzz_require(tap.tokens.cached >= 0 && tap.tokens.reasoning >= 0 && tap.total_tokens >= 0);
        if (r.ops->on_answer(&r.stream, bytes, &answer) == GW_OK)
            (void)adapter_stream_from_answer(&r.stream, answer);
    }
    gw_sse_reader_free(reader);
    adapter_stream_fini(&r.stream);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    play(PROVIDER_OPENAI, gw_str_n(data, size));
    play(PROVIDER_LOCAL, gw_str_n(data, size));
    play(PROVIDER_LIBRECHAT, gw_str_n(data, size));
    return 0;
}
