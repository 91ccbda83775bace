/*
 * Requests of Anthropic's dialect: whatever a caller sends, what goes upstream is one JSON object with the model's name and a
 * ceiling that is no higher than the caller's, and a target and headers without bytes that could end them. A refusal names
 * its field. Counting what a prompt may cost never fails.
 */
#include "adapter_fuzz.h"
#include "messages_body.h"

enum { CEILING = 50 };

static void check_ceiling(const adapter_job *job, yyjson_val *root, const char *name)
{
    yyjson_val *ceiling = yyjson_obj_get(root, name);

    if (ceiling && job->endpoint == ENDPOINT_MESSAGES) /* counting makes nothing */
        fuzz_require(yyjson_is_uint(ceiling) &&
                     (int64_t)yyjson_get_uint(ceiling) <= job->body->needs.max_tokens);
}

static void check_body(const adapter_job *job, const adapter_request *r)
{
    gw_auto_buf whole = {0};

    for (size_t i = 0; i < r->body_parts; i++)
        gw_buf_append_str(&whole, r->body[i]);
    yyjson_doc *doc = yyjson_read(whole.data, whole.len, YYJSON_READ_NOFLAG);
    yyjson_val *root = yyjson_doc_get_root(doc);
    fuzz_require(yyjson_is_obj(root));
    check_ceiling(job, root, "max_tokens");
    check_ceiling(job, root, "max_completion_tokens");
    yyjson_doc_free(doc);
}

static void check_written(const adapter_job *job, const adapter_request *r)
{
    check_body(job, r);
    fuzz_require(r->upstream_model.len > 0);
    fuzz_require(messages_body_estimate(job->body, true).usual > 0);
}

static void write_as(relay_endpoint endpoint, provider_kind kind, gw_str text, bool drops)
{
    adapter_fuzz_write(endpoint, kind, text, drops, CEILING, check_written);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    gw_str text = gw_str_n(data, size);

    for (int kind = 0; kind < PROVIDER_KIND_COUNT; kind++) {
        write_as(ENDPOINT_MESSAGES, (provider_kind)kind, text, false);
        write_as(ENDPOINT_MESSAGES, (provider_kind)kind, text, true);
    }
    write_as(ENDPOINT_COUNT_TOKENS, PROVIDER_ANTHROPIC, text, false);
    write_as(ENDPOINT_COUNT_TOKENS, PROVIDER_OPENAI, text, false);
    return 0;
}
