/*
 * Requests that adapters write anew: whatever a caller sends, what goes upstream is one JSON object and a
 * target and headers without bytes that could end them; a refusal names its field.
 */
#include "adapter_fuzz.h"

static void check_written(const adapter_job *job, const adapter_request *r)
{
    yyjson_doc *doc = yyjson_read(r->body->ptr, r->body->len, YYJSON_READ_NOFLAG);

    (void)job;
    fuzz_require(r->body_parts == 1 && yyjson_is_obj(yyjson_doc_get_root(doc)));
    yyjson_doc_free(doc);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const provider_kind kinds[] = {PROVIDER_ANTHROPIC, PROVIDER_GOOGLE};
    gw_str text = gw_str_n(data, size);

    for (size_t i = 0; i < GW_ARRAY_LEN(kinds); i++) {
        adapter_fuzz_write(ENDPOINT_CHAT, kinds[i], text, false, 0, check_written);
        adapter_fuzz_write(ENDPOINT_CHAT, kinds[i], text, true, 0, check_written);
    }
    return 0;
}
