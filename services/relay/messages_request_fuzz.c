/*
 * Requests of Anthropic's dialect: whatever a caller sends, what goes upstream is one JSON object with the model's name and a
 * ceiling that is no higher than the caller's, and a target and headers without bytes that could end them. A refusal names
 * its field. Counting what a prompt may cost never fails.
 */
#include "messages.h"
#include "messages_body.h"

#include "testing/fuzz.h"

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
    fuzz_require(r->target.ptr[0] == '/' && !gw_str_has_control(r->target) &&
                 gw_str_find(r->target, ' ') < 0);
    for (size_t i = 0; i < r->header_count; i++)
        fuzz_require(gw_header_value_is_valid(r->headers[i].value));
    fuzz_require(r->ignored_params.len == 0 || gw_header_value_is_valid(r->ignored_params));
    fuzz_require(r->upstream_model.len > 0);
}

static void write_as(relay_endpoint endpoint, provider_kind kind, gw_str text, bool drops)
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
    fuzz_require(messages_body_estimate(&body, true).usual > 0);
    adapter_job job = {.arena = arena,
                       .endpoint = endpoint,
                       .body = &body,
                       .route = &route,
                       .target = &target,
                       .policy = &policy,
                       .ceiling = 50,
                       .stream = body.stream,
                       .request_id = GW_STR("req_1")};
    if (adapter_for(endpoint, kind)->write_request(&job, &request, &err) == GW_OK)
        check_written(&job, &request);
    else
        fuzz_require(err.field[0] != '\0' && err.message[0] != '\0');
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
