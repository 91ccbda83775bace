/*
 * Streams that adapters translate. The input's first line says how its bytes are cut (testing/fuzz.h);
 * the result is the same as uncut. Every event is JSON, [DONE] comes at most once and last, and never
 * with a failure.
 */
#include "adapter_fuzz.h"

static void on_emit(void *arg, const answer_event *e)
{
    adapter_fuzz_emitted(arg, e);
    if (e->kind != ANSWER_DONE && e->kind != ANSWER_COMMENT) {
        yyjson_doc *doc = yyjson_read(e->data.ptr, e->data.len, YYJSON_READ_NOFLAG);
        fuzz_require(yyjson_is_obj(yyjson_doc_get_root(doc)));
        yyjson_doc_free(doc);
    }
}

static gw_status play(adapter_fuzz_run *r, provider_kind kind, fuzz_pieces pieces)
{
    adapter_fuzz_begin(r, ENDPOINT_CHAT, kind, on_emit, r);
    gw_status rc = adapter_fuzz_play(r, pieces);
    fuzz_require(r->tap.tokens.prompt >= r->tap.tokens.cached && r->tap.tokens.cached >= 0 &&
                 r->tap.tokens.completion >= r->tap.tokens.reasoning && r->tap.total_tokens >= 0);
    return rc;
}

static void check(provider_kind kind, const uint8_t *data, size_t size)
{
    fuzz_pieces pieces = fuzz_pieces_of(data, size);
    fuzz_pieces whole = {.rest = pieces.rest};
    adapter_fuzz_run *cut = calloc(1, sizeof(*cut)), *uncut = calloc(1, sizeof(*uncut));

    fuzz_require(cut && uncut);
    gw_status rc = play(cut, kind, pieces);
    /* A failure by length depends on where the bytes were cut; the reader's own target looks at that. */
    if (rc == play(uncut, kind, whole))
        fuzz_require(gw_str_eq(gw_buf_str(&cut->out), gw_buf_str(&uncut->out)));
    adapter_fuzz_end(cut);
    adapter_fuzz_end(uncut);
    free(cut);
    free(uncut);
}

static void answer(provider_kind kind, gw_str json)
{
    adapter_fuzz_run *r = calloc(1, sizeof(*r));
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
    adapter_fuzz_end(r);
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
