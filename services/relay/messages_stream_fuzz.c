/*
 * Streams for callers of Anthropic's dialect. The input's first line says how its bytes are cut (testing/fuzz.h); the result is
 * the same as uncut. Every event that a front writes has a name and JSON that repeats it; blocks begin, go on and end in
 * order, and message_stop comes at most once, last, and never with a failure.
 */
#include "messages.h"

#include "testing/fuzz.h"

typedef struct run {
    gw_arena *arena;
    provider_config provider;
    route_target target;
    model_route route;
    openai_body body;
    adapter_job job;
    openai_error failure;
    usage_tap tap;
    const adapter_ops *ops;
    adapter_stream stream;
    gw_sse_reader *written;
    gw_buf out;
    int64_t open, begun; /* the open block, -1: none; blocks so far */
    bool started, done;
} run;

static void check_block(run *r, gw_str name, yyjson_val *event)
{
    int64_t index = yyjson_get_sint(yyjson_obj_get(event, "index"));

    if (gw_str_eq_c(name, "content_block_start")) {
        fuzz_require(r->started && r->open < 0 && index == r->begun);
        r->open = r->begun++;
    } else if (gw_str_eq_c(name, "content_block_stop")) {
        fuzz_require(index == r->open);
        r->open = -1;
    } else if (gw_str_eq_c(name, "content_block_delta")) {
        fuzz_require(index == r->open);
    } else if (gw_str_eq_c(name, "message_start")) {
        fuzz_require(!r->started);
        r->started = true;
    } else {
        fuzz_require(gw_str_eq_c(name, "message_delta") || gw_str_eq_c(name, "message_stop"));
        fuzz_require(r->started && r->open < 0);
    }
}

static gw_status on_written(void *arg, const gw_sse_event *e, gw_error *err)
{
    run *r = arg;
    yyjson_doc *doc = yyjson_read(e->data.ptr, e->data.len, YYJSON_READ_NOFLAG);
    yyjson_val *type = yyjson_obj_get(yyjson_doc_get_root(doc), "type");

    (void)err;
    fuzz_require(yyjson_equals_strn(type, e->name.ptr, e->name.len));
    check_block(r, e->name, yyjson_doc_get_root(doc));
    yyjson_doc_free(doc);
    return GW_OK;
}

static void on_emit(void *arg, const answer_event *e)
{
    run *r = arg;
    gw_error err;

    fuzz_require(e->raw.len > 0 && !r->done);
    r->done = e->kind == ANSWER_DONE;
    if (r->provider.kind != PROVIDER_ANTHROPIC && e->kind != ANSWER_COMMENT)
        fuzz_require(gw_sse_feed(r->written, e->raw, &err) == GW_OK);
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

static void begin(run *r, provider_kind kind)
{
    static char scratch[4096];

    *r = (run){.arena = gw_arena_new(),
               .provider = {.name = GW_STR("p"), .kind = kind, .credential = GW_STR("sk-secret")},
               .body = {.model = GW_STR("m"), .choices = 1},
               .tap = {.scratch = {scratch, sizeof(scratch)}},
               .ops = adapter_for(ENDPOINT_MESSAGES, kind),
               .open = -1};
    r->target.provider = &r->provider;
    r->job = (adapter_job){.arena = r->arena,
                           .endpoint = ENDPOINT_MESSAGES,
                           .body = &r->body,
                           .route = &r->route,
                           .target = &r->target,
                           .stream = true,
                           .request_id = GW_STR("req_1")};
    r->stream = (adapter_stream){
        .job = &r->job, .tap = &r->tap, .emit = on_emit, .arg = r, .failure = &r->failure};
    r->written = gw_sse_reader_new((size_t)1 << 24, on_written, r);
    fuzz_require(r->arena && r->written);
}

static void end(run *r)
{
    adapter_stream_fini(&r->stream);
    gw_sse_reader_free(r->written);
    gw_buf_fini(&r->out);
    gw_arena_free(r->arena);
}

static gw_status play(run *r, provider_kind kind, fuzz_pieces pieces)
{
    gw_status rc = GW_OK;
    gw_error err;
    gw_str piece;

    begin(r, kind);
    gw_sse_reader *reader = gw_sse_reader_new(1 << 16, on_event, r);
    fuzz_require(reader);
    while (rc == GW_OK && fuzz_next_piece(&pieces, &piece))
        rc = gw_sse_feed(reader, piece, &err);
    gw_sse_reader_free(reader);
    if (rc == GW_OK)
        rc = r->ops->on_end(&r->stream);
    fuzz_require(r->done == (rc == GW_OK));
    return rc;
}

static void check(provider_kind kind, const uint8_t *data, size_t size)
{
    fuzz_pieces pieces = fuzz_pieces_of(data, size);
    fuzz_pieces whole = {.rest = pieces.rest};
    run *cut = calloc(1, sizeof(*cut)), *uncut = calloc(1, sizeof(*uncut));

    fuzz_require(cut && uncut);
    gw_status rc = play(cut, kind, pieces);
    /* A failure by length depends on where the bytes were cut, as does to which of two events that pass as they are the LF
     * of a CR LF belongs; the reader's own target looks at that. */
    if (rc == play(uncut, kind, whole) && kind != PROVIDER_ANTHROPIC)
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
    begin(r, kind);
    if (r->ops->on_answer(&r->stream, json, &text) == GW_OK) {
        yyjson_doc *doc = yyjson_read(text.ptr, text.len, YYJSON_READ_NOFLAG);
        fuzz_require(
            yyjson_equals_str(yyjson_obj_get(yyjson_doc_get_root(doc), "type"), "message"));
        yyjson_doc_free(doc);
    }
    end(r);
    if (r->ops->stream_answer) {
        begin(r, kind);
        fuzz_require((r->ops->stream_answer(&r->stream, json) == GW_OK) == r->done);
        end(r);
    }
    free(r);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const provider_kind kinds[] = {PROVIDER_OPENAI, PROVIDER_GOOGLE, PROVIDER_LIBRECHAT,
                                          PROVIDER_ANTHROPIC};

    for (size_t i = 0; i < GW_ARRAY_LEN(kinds); i++) {
        check(kinds[i], data, size);
        answer(kinds[i], gw_str_n(data, size));
    }
    return 0;
}
