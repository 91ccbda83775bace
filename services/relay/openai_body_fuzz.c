/*
 * Fuzz target of request bodies. A body that is read must still be JSON
 * after our splices, and say what they were to say.
 */
#include "openai_body.h"
#include "prompt_estimate.h"

#include "testing/fuzz.h"

static void check_spliced(gw_arena *arena, const openai_body *b, relay_endpoint endpoint)
{
    openai_splices s = {.model = GW_STR("other\"model"),
                        .stream = true,
                        .include_usage = true,
                        .max_tokens = b->needs.max_tokens > 0 ? 0 : 77,
                        .endpoint = endpoint};
    const gw_str *parts;
    size_t count;
    gw_error err;
    gw_auto_buf whole = {0};

    if (openai_body_splice(arena, b, &s, &parts, &count, &err) != GW_OK)
        return;
    for (size_t i = 0; i < count; i++)
        gw_buf_append_str(&whole, parts[i]);
    yyjson_doc *doc = yyjson_read(whole.data, whole.len, YYJSON_READ_NOFLAG);
    yyjson_val *root = yyjson_doc_get_root(doc);
    fuzz_require(yyjson_equals_str(yyjson_obj_get(root, "model"), "other\"model"));
    fuzz_require(yyjson_is_true(yyjson_obj_get(root, "stream")));
    fuzz_require(
        yyjson_is_true(yyjson_obj_get(yyjson_obj_get(root, "stream_options"), "include_usage")));
    yyjson_doc_free(doc);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const relay_endpoint endpoints[] = {ENDPOINT_CHAT, ENDPOINT_COMPLETIONS,
                                               ENDPOINT_EMBEDDINGS};
    gw_auto(gw_arena) arena = gw_arena_new();

    for (size_t i = 0; arena && i < GW_ARRAY_LEN(endpoints); i++) {
        openai_body b;
        gw_error err = {0};
        if (openai_body_read(arena, endpoints[i], gw_str_n(data, size), &b, &err) != GW_OK) {
            fuzz_require(err.message[0] != '\0');
            continue;
        }
        fuzz_require(b.model.len > 0 && b.choices >= 1 && prompt_estimate(&b, true).usual > 0);
        check_spliced(arena, &b, endpoints[i]);
    }
    return 0;
}
