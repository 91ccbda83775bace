#include "adapter.h"

#include "testing/exhaust.h"

static gw_status read_and_splice(void *arg)
{
    (void)arg;
    gw_auto(gw_arena) a = gw_arena_new();
    openai_body b;
    openai_splices s = {.model = GW_STR("other"),
                        .stream = true,
                        .include_usage = true,
                        .max_tokens = 7,
                        .endpoint = ENDPOINT_CHAT};
    const gw_str *parts;
    size_t count;
    gw_error err;
    gw_status rc = a ? openai_body_read(a, ENDPOINT_CHAT,
                                        GW_STR("{\"model\":\"gpt-4o\",\"messages\":[]}"), &b, &err)
                     : GW_ERR_NO_MEMORY;
    return rc == GW_OK ? openai_body_splice(a, &b, &s, &parts, &count, &err) : rc;
}

static gw_status make_policy(void *arg)
{
    (void)arg;
    static char id[] = "65f000000000000000000001", key_id[] = "aAAAAAAAAAAA", status[] = "active";
    Apirelay__Auth__V1__KeyPolicy m = APIRELAY__AUTH__V1__KEY_POLICY__INIT;
    uint8_t bytes[256];
    key_policy *p = NULL;
    gw_error err;
    m.api_key_id = id;
    m.key_id = key_id;
    m.status = status;
    size_t len = apirelay__auth__v1__key_policy__pack(&m, bytes);
    Apirelay__Auth__V1__KeyPolicy *own =
        apirelay__auth__v1__key_policy__unpack(NULL, len, bytes); /* the policy's from here on */
    if (!own)
        return GW_ERR_NO_MEMORY;
    gw_status rc = key_policy_new(own, &p, &err);
    if (rc == GW_OK)
        key_policy_unref(p);
    return rc;
}

#define TOOL_TURN                                                                                  \
    "{\"model\":\"m\",\"messages\":[{\"role\":\"system\",\"content\":\"s\"},{\"role\":\"user\","   \
    "\"content\":["                                                                                \
    "{\"type\":\"image_url\",\"image_url\":{\"url\":\"data:image/png;base64,AAAA\"}}]},{\"role\":" \
    "\"assistant\",\"tool_calls\":[{\"id\":\"a\",\"type\":\"function\",\"function\":{\"name\":"    \
    "\"f\","                                                                                       \
    "\"arguments\":\"{\\\"x\\\":1}\"}}]},{\"role\":\"tool\",\"tool_call_id\":\"a\",\"content\":"   \
    "\"{}\"}],"                                                                                    \
    "\"tools\":[{\"type\":\"function\",\"function\":{\"name\":\"f\",\"parameters\":{}}}],"         \
    "\"user\":\"u\","                                                                              \
    "\"metadata\":{\"a\":1},\"stream\":true}"

#define BLOCKS_TURN                                                                                \
    "{\"model\":\"m\",\"max_tokens\":9,\"system\":\"s\",\"messages\":[{\"role\":\"user\","         \
    "\"content\":["                                                                                \
    "{\"type\":\"image\",\"source\":{\"type\":\"base64\",\"media_type\":\"image/"                  \
    "png\",\"data\":\"AAAA\"}}]},"                                                                 \
    "{\"role\":\"assistant\",\"content\":[{\"type\":\"redacted_thinking\",\"data\":\"google:s\"}," \
    "{\"type\":\"tool_use\",\"id\":\"a\",\"name\":\"f\",\"input\":{\"x\":1}}]},{\"role\":"         \
    "\"user\","                                                                                    \
    "\"content\":[{\"type\":\"tool_result\",\"tool_use_id\":\"a\",\"content\":[{\"type\":"         \
    "\"text\",\"text\":"                                                                           \
    "\"x\"},{\"type\":\"image\",\"source\":{\"type\":\"url\",\"url\":\"https://"                   \
    "x\"}}]}]}],\"tools\":[{"                                                                      \
    "\"name\":\"f\",\"input_schema\":{}}],\"metadata\":{\"user_id\":\"u\"},\"cache_control\":{"    \
    "\"type\":\"e\"},"                                                                             \
    "\"stop_sequences\":[\"x\"],\"output_config\":{\"effort\":\"low\",\"format\":{\"type\":"       \
    "\"json_schema\","                                                                             \
    "\"schema\":{}}},\"stream\":true}"

typedef struct exchange { /* a request and its stream, as a kind of provider has them */
    provider_kind kind;
    relay_endpoint endpoint;
    const char *request, *sse;
    size_t body_len; /* of the request when nothing failed; 0 before the first time */
} exchange;

static void on_emit(void *arg, const answer_event *e)
{
    (void)arg;
    (void)e;
}

static gw_status on_event(void *arg, const gw_sse_event *e, gw_error *err)
{
    adapter_stream *s = arg;
    gw_status rc = adapter_for(s->job->endpoint, s->job->target->provider->kind)->on_event(s, e);

    if (rc != GW_OK)
        *err = s->failure->error;
    return rc;
}

static gw_status play(const exchange *x, adapter_job *job)
{
    openai_error failure;
    usage_tap tap = {0};
    gw_error err;
    adapter_stream stream = {.job = job, .tap = &tap, .emit = on_emit, .failure = &failure};
    gw_auto(gw_sse_reader) reader = gw_sse_reader_new(1 << 16, on_event, &stream);
    gw_status rc = reader ? gw_sse_feed(reader, gw_str_of(x->sse), &err) : GW_ERR_NO_MEMORY;

    if (rc == GW_OK)
        rc = adapter_for(x->endpoint, x->kind)->on_end(&stream);
    adapter_stream_fini(&stream);
    return rc == GW_ERR_UPSTREAM_PROTOCOL ? GW_ERR_NO_MEMORY : rc; /* JSON that could not be read */
}

/* A request goes out whole or not at all. */
static gw_status exchange_with_provider(void *arg)
{
    exchange *x = arg;
    gw_auto(gw_arena) a = gw_arena_new();
    provider_config provider = {.name = GW_STR("p"), .kind = x->kind, .base_path = GW_STR("/v1")};
    route_target target = {.provider = &provider};
    model_route route = {.default_max_output_tokens = 4096};
    Apirelay__Auth__V1__KeyPolicy message = APIRELAY__AUTH__V1__KEY_POLICY__INIT;
    key_policy policy = {.message = &message};
    openai_body body;
    adapter_request request = {0};
    gw_error err;
    gw_status rc =
        a ? openai_body_read(a, x->endpoint, gw_str_of(x->request), &body, &err) : GW_ERR_NO_MEMORY;
    size_t len = 0;
    if (rc != GW_OK)
        return rc;
    adapter_job job = {.arena = a,
                       .endpoint = x->endpoint,
                       .body = &body,
                       .route = &route,
                       .target = &target,
                       .policy = &policy,
                       .stream = true,
                       .request_id = GW_STR("req_1")};
    rc = adapter_for(x->endpoint, x->kind)->write_request(&job, &request, &err);
    if (rc != GW_OK)
        return rc;
    for (size_t i = 0; i < request.body_parts; i++)
        len += request.body[i].len;
    assert_true(x->body_len == 0 || x->body_len == len);
    x->body_len = len;
    return play(x, &job);
}

static void translated_requests_go_out_whole_or_not_at_all(void **state)
{
    static const char anthropic[] =
        "data: {\"type\":\"message_start\",\"message\":{\"id\":\"i\",\"model\":\"m\",\"usage\":{"
        "\"input_tokens\":1}}}\n\n"
        "data: {\"type\":\"content_block_start\",\"index\":0,\"content_block\":{\"type\":"
        "\"text\",\"text\":\"x\"}}\n\n"
        "data: {\"type\":\"content_block_stop\",\"index\":0}\n\n"
        "data: {\"type\":\"message_delta\",\"delta\":{\"stop_reason\":\"end_turn\"},\"usage\":{"
        "\"output_tokens\":1}}\n\n"
        "data: {\"type\":\"message_stop\"}\n\n";
    static const char google[] =
        "data: {\"candidates\":[{\"content\":{\"parts\":[{\"text\":\"x\"}]},\"finishReason\":"
        "\"STOP\"}],\"usageMetadata\":{\"promptTokenCount\":1,\"candidatesTokenCount\":1}}\n\n";
    static const char openai[] = "data: "
                                 "{\"id\":\"c\",\"choices\":[{\"index\":0,\"delta\":{\"reasoning_"
                                 "content\":\"x\",\"content\":"
                                 "\"x\",\"tool_calls\":[{\"index\":0,\"id\":\"a\",\"function\":{"
                                 "\"name\":\"f\",\"arguments\":"
                                 "\"{}\"}}]},\"finish_reason\":\"tool_calls\"}]}\n\n"
                                 "data: [DONE]\n\n";
    exchange exchanges[] = {
        {PROVIDER_ANTHROPIC, ENDPOINT_CHAT, TOOL_TURN, anthropic, 0},
        {PROVIDER_GOOGLE, ENDPOINT_CHAT, TOOL_TURN, google, 0},
        {PROVIDER_ANTHROPIC, ENDPOINT_MESSAGES, BLOCKS_TURN, anthropic, 0},
        {PROVIDER_OPENAI, ENDPOINT_MESSAGES, BLOCKS_TURN, openai, 0},
        {PROVIDER_GOOGLE, ENDPOINT_MESSAGES, BLOCKS_TURN, google, 0},
    };

    (void)state;
    for (size_t i = 0; i < GW_ARRAY_LEN(exchanges); i++) {
        assert_int_equal(exchange_with_provider(&exchanges[i]), GW_OK);
        gw_exhaust(exchange_with_provider, &exchanges[i]);
    }
}

static void bodies_and_policies_without_memory_are_refused(void **state)
{
    (void)state;
    gw_exhaust(read_and_splice, NULL);
    gw_exhaust(make_policy, NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(bodies_and_policies_without_memory_are_refused),
        cmocka_unit_test(translated_requests_go_out_whole_or_not_at_all),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
