/*
 * Requests that adapters write anew: whatever a caller sends, what goes upstream is one JSON object and a
 * target and headers without bytes that could end them; a refusal names its field.
 */
#include "adapter.h"

#include "testing/fuzz.h"

static void check_written(const adapter_request *r)
{
    yyjson_doc *doc = yyjson_read(r->body->ptr, r->body->len, YYJSON_READ_NOFLAG);

    fuzz_require(r->body_parts == 1 && yyjson_is_obj(yyjson_doc_get_root(doc)));
    yyjson_doc_free(doc);
    fuzz_require(r->target.ptr[0] == '/' && !gw_str_has_control(r->target) &&
                 gw_str_find(r->target, ' ') < 0);
    for (size_t i = 0; i < r->header_count; i++)
        fuzz_require(gw_header_value_is_valid(r->headers[i].value));
    fuzz_require(r->ignored_params.len == 0 || gw_header_value_is_valid(r->ignored_params));
}

static void write_as(provider_kind kind, gw_str text, bool drops)
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
    if (!arena || openai_body_read(arena, ENDPOINT_CHAT, text, &body, &err) != GW_OK)
        return;
    adapter_job job = {.arena = arena,
                       .endpoint = ENDPOINT_CHAT,
                       .body = &body,
                       .route = &route,
                       .target = &target,
                       .policy = &policy,
                       .stream = body.stream,
                       .request_id = GW_STR("req_1")};
    if (adapter_of(kind)->write_request(&job, &request, &err) == GW_OK)
        check_written(&request);
    else
        fuzz_require(err.field[0] != '\0' && err.message[0] != '\0');
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    gw_str text = gw_str_n(data, size);

    write_as(PROVIDER_ANTHROPIC, text, false);
    write_as(PROVIDER_ANTHROPIC, text, true);
    write_as(PROVIDER_GOOGLE, text, false);
    write_as(PROVIDER_GOOGLE, text, true);
    return 0;
}
