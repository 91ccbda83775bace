/*
 * Streams for callers of Anthropic's dialect. The input's first line says how its bytes are cut (testing/fuzz.h); the result is
 * the same as uncut. Every event that a front writes has a name and JSON that repeats it; blocks begin, go on and end in
 * order, and message_stop comes at most once, last, and never with a failure.
 */
#include "adapter_fuzz.h"

typedef struct run {
    adapter_fuzz_run of; /* first */
    gw_sse_reader *written;
    int64_t open, begun; /* the open block, -1: none; blocks so far */
    bool started;
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

    adapter_fuzz_emitted(&r->of, e);
    if (r->of.provider.kind != PROVIDER_ANTHROPIC && e->kind != ANSWER_COMMENT)
        fuzz_require(gw_sse_feed(r->written, e->raw, &err) == GW_OK);
}

static void begin(run *r, provider_kind kind)
{
    *r = (run){.written = gw_sse_reader_new((size_t)1 << 24, on_written, r), .open = -1};
    fuzz_require(r->written);
    adapter_fuzz_begin(&r->of, ENDPOINT_MESSAGES, kind, on_emit, r);
}

static void end(run *r)
{
    adapter_fuzz_end(&r->of);
    gw_sse_reader_free(r->written);
}

static gw_status play(run *r, provider_kind kind, fuzz_pieces pieces)
{
    begin(r, kind);
    return adapter_fuzz_play(&r->of, pieces);
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
        fuzz_require(gw_str_eq(gw_buf_str(&cut->of.out), gw_buf_str(&uncut->of.out)));
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
    if (r->of.ops->on_answer(&r->of.stream, json, &text) == GW_OK) {
        yyjson_doc *doc = yyjson_read(text.ptr, text.len, YYJSON_READ_NOFLAG);
        fuzz_require(
            yyjson_equals_str(yyjson_obj_get(yyjson_doc_get_root(doc), "type"), "message"));
        yyjson_doc_free(doc);
    }
    end(r);
    if (r->of.ops->stream_answer) {
        begin(r, kind);
        fuzz_require((r->of.ops->stream_answer(&r->of.stream, json) == GW_OK) == r->of.done);
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
