/*
 * Streams that adapters translate. The input's first line says how its bytes are cut (testing/fuzz.h);
 * the result is the same as uncut. Every event is JSON, [DONE] comes at most once and last, and never
 * with a failure.
 */
#include "adapter.h"

#include "testing/fuzz.h"

typedef struct run {
    gw_arena *arena;
    provider_config provider;
    model_route route;
    route_target target;
    openai_body body;
    adapter_job job;
    openai_error failure;
    usage_tap tap;
    const adapter_ops *ops;
    adapter_stream stream;
    gw_buf out;
    bool done;
} run;

static void on_emit(void *arg, const answer_event *e)
{
    run *r = arg;

    fuzz_require(e->raw.len > 0 && !r->done);
    r->done = e->kind == ANSWER_DONE;
    if (!r->done && e->kind != ANSWER_COMMENT) {
        yyjson_doc *doc = yyjson_read(e->data.ptr, e->data.len, YYJSON_READ_NOFLAG);
        fuzz_require(yyjson_is_obj(yyjson_doc_get_root(doc)));
        yyjson_doc_free(doc);
    }
    gw_buf_append_str(&r->out, e->raw);
}

static gw_status on_event(void *arg, const gw_sse_event *e, gw_error *err)
{
    run *r = arg;
    gw_status rc = r->ops->on_event(&r->stream, e);

    if (rc != GW_OK)
        *err = r->failure.error;
    return rc;
}

static gw_status play(run *r, provider_kind kind, fuzz_pieces pieces)
{
    static char scratch[4096];
    gw_status rc = GW_OK;
    gw_error err;
    gw_str piece;

    *r = (run){.arena = gw_arena_new(),
               .provider = {.name = GW_STR("p"), .kind = kind, .credential = GW_STR("sk-secret")},
               .body = {.model = GW_STR("m"), .choices = 1},
               .tap = {.scratch = {scratch, sizeof(scratch)}},
               .ops = adapter_of(kind)};
    r->target.provider = &r->provider;
    r->job = (adapter_job){.arena = r->arena,
                           .endpoint = ENDPOINT_CHAT,
                           .body = &r->body,
                           .route = &r->route,
                           .target = &r->target,
                           .stream = true,
                           .request_id = GW_STR("req_1")};
    r->stream = (adapter_stream){
        .job = &r->job, .tap = &r->tap, .emit = on_emit, .arg = r, .failure = &r->failure};
    gw_sse_reader *reader = gw_sse_reader_new(1 << 16, on_event, r);
    fuzz_require(r->arena && reader);
    while (rc == GW_OK && fuzz_next_piece(&pieces, &piece))
        rc = gw_sse_feed(reader, piece, &err);
    gw_sse_reader_free(reader);
    if (rc == GW_OK)
        rc = r->ops->on_end(&r->stream);
    fuzz_require(r->done == (rc == GW_OK));
    fuzz_require(r->tap.tokens.prompt >= r->tap.tokens.cached && r->tap.tokens.cached >= 0 &&
                 r->tap.tokens.completion >= r->tap.tokens.reasoning && r->tap.total_tokens >= 0);
    return rc;
}

static void end(run *r)
{
    adapter_stream_fini(&r->stream);
    gw_buf_fini(&r->out);
    gw_arena_free(r->arena);
}

static void check(provider_kind kind, const uint8_t *data, size_t size)
{
    fuzz_pieces pieces = fuzz_pieces_of(data, size);
    fuzz_pieces whole = {.rest = pieces.rest};
    run *cut = calloc(1, sizeof(*cut)), *uncut = calloc(1, sizeof(*uncut));

    fuzz_require(cut && uncut);
    gw_status rc = play(cut, kind, pieces);
    /* A failure by length depends on where the bytes were cut; the reader's own target looks at that. */
    if (rc == play(uncut, kind, whole))
        fuzz_require(gw_str_eq(gw_buf_str(&cut->out), gw_buf_str(&uncut->out)));
    end(cut);
    end(uncut);
    free(cut);
    free(uncut);
}

static void answer(provider_kind kind, gw_str json)
{
    run *r = calloc(1, sizeof(*r));
    gw_str text;

    fuzz_require(r);
    (void)play(r, kind, (fuzz_pieces){0});
    r->done = false;
    if (r->ops->on_answer(&r->stream, json, &text) == GW_OK) {
        yyjson_doc *doc = yyjson_read(text.ptr, text.len, YYJSON_READ_NOFLAG);
        fuzz_require(yyjson_is_obj(yyjson_doc_get_root(doc)));
        yyjson_doc_free(doc);
        fuzz_require(adapter_stream_from_answer(&r->stream, text) == GW_OK && r->done);
    }
    end(r);
    free(r);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    check(PROVIDER_ANTHROPIC, data, size);
    check(PROVIDER_GOOGLE, data, size);
    answer(PROVIDER_ANTHROPIC, gw_str_n(data, size));
    answer(PROVIDER_GOOGLE, gw_str_n(data, size));
    return 0;
}
