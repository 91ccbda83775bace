#include "adapter_test_kit.h"

#define CHUNK(delta, finish)                                                                       \
    "data: "                                                                                       \
    "{\"id\":\"c\",\"object\":\"chat.completion.chunk\",\"created\":1,\"model\":\"agent_x\","      \
    "\"choices\":[{\"index\":0,\"delta\":" delta ",\"finish_reason\":" finish "}]}\n\n"
#define CHUNK_USAGE(delta, finish, usage)                                                          \
    "data: "                                                                                       \
    "{\"id\":\"c\",\"object\":\"chat.completion.chunk\",\"created\":1,\"model\":\"agent_x\","      \
    "\"choices\":[{\"index\":0,\"delta\":" delta ",\"finish_reason\":" finish                      \
    "}],\"usage\":" usage "}\n\n"
#define USAGE "{\"prompt_tokens\":9,\"completion_tokens\":3,\"total_tokens\":12}"

static void openai_requests_pass_but_for_the_splices(void **state)
{
    fixture *f = *state;
    adapter_request r;
    gw_auto_buf body = {0};
    gw_error err;

    ask(f, PROVIDER_OPENAI, ENDPOINT_CHAT,
        "{ \"model\":\"fast\", \"messages\":[], \"stream\":true, \"x\":1.50 }");
    f->target.upstream_model = GW_STR("gpt-4o");
    assert_int_equal(write_request(f, &r, &body, &err), GW_OK);
    assert_string_equal(body.data,
                        "{\"stream_options\":{\"include_usage\":true}, \"model\":\"gpt-4o\", "
                        "\"messages\":[], \"stream\":true, \"x\":1.50 }");
    assert_true(gw_str_eq_c(r.target, "/v1/chat/completions"));
    assert_true(gw_str_eq_c(r.upstream_model, "gpt-4o"));
    assert_true(has_header(&r, "authorization", "Bearer sk-upstream"));
    assert_true(has_header(&r, "accept", "text/event-stream"));
    assert_true(has_header(&r, "x-relay-hop", "1"));
    assert_true(has_header(&r, "accept-encoding", NULL));
}

static void of_the_callers_headers_only_the_listed_go_up(void **state)
{
    fixture *f = *state;
    adapter_request r;
    gw_auto_buf body = {0};
    gw_error err;
    gw_header in[] = {{GW_STR("Authorization"), GW_STR("Bearer lc_x")},
                      {GW_STR("Cookie"), GW_STR("a=b")},
                      {GW_STR("X-Forwarded-For"), GW_STR("1.2.3.4")},
                      {GW_STR("X-Tenant-Id"), GW_STR("t")},
                      {GW_STR("OpenAI-Organization"), GW_STR("o")},
                      {GW_STR("traceparent"), GW_STR("00-1-2-01")}};

    ask(f, PROVIDER_OPENAI, ENDPOINT_EMBEDDINGS, "{\"model\":\"e\",\"input\":\"x\"}");
    f->job.client_headers = (gw_headers){.items = in, .count = GW_ARRAY_LEN(in)};
    assert_int_equal(write_request(f, &r, &body, &err), GW_OK);
    assert_true(has_header(&r, "authorization", "Bearer sk-upstream"));
    assert_true(has_header(&r, "traceparent", "00-1-2-01"));
    assert_true(has_header(&r, "cookie", NULL) && has_header(&r, "x-forwarded-for", NULL));
    assert_true(has_header(&r, "x-tenant-id", NULL) && has_header(&r, "openai-organization", NULL));
}

static void the_keys_ceiling_is_set_when_none_is_asked(void **state)
{
    fixture *f = *state;
    adapter_request r;
    gw_auto_buf body = {0};
    gw_error err;

    f->permissions.max_tokens_presence_case =
        APIRELAY__AUTH__V1__KEY_PERMISSIONS__MAX_TOKENS_PRESENCE_MAX_TOKENS;
    f->permissions.max_tokens = 100;
    f->route.max_output_tokens = 64;
    ask(f, PROVIDER_OPENAI, ENDPOINT_CHAT, "{\"model\":\"m\",\"messages\":[]}");
    assert_int_equal(write_request(f, &r, &body, &err), GW_OK);
    assert_string_equal(body.data,
                        "{\"max_completion_tokens\":64,\"model\":\"m\",\"messages\":[]}");

    gw_buf_clear(&body);
    ask(f, PROVIDER_OPENAI, ENDPOINT_CHAT, "{\"model\":\"m\",\"messages\":[],\"max_tokens\":5}");
    assert_int_equal(write_request(f, &r, &body, &err), GW_OK);
    assert_string_equal(body.data, "{\"model\":\"m\",\"messages\":[],\"max_tokens\":5}");
}

static void openai_streams_pass_byte_for_byte(void **state)
{
    static const char role[] = CHUNK("{\"role\":\"assistant\"}", "null"),
                      said[] = CHUNK("{\"content\":\"hi\"}", "null"),
                      end[] = CHUNK("{}", "\"stop\""),
                      usage[] = "data: {\"choices\":[],\"usage\":" USAGE "}\r\n\r\n";
    fixture *f = *state;
    gw_auto_buf in = {0}, expected = {0};

    ask(f, PROVIDER_OPENAI, ENDPOINT_CHAT, "{\"model\":\"m\",\"messages\":[],\"stream\":true}");
    gw_buf_appendf(&in, "%s: ping\n\n%s%s%sdata: [DONE]\n\n", role, said, end, usage);
    assert_int_equal(play(f, in.data), GW_OK);
    gw_buf_appendf(&expected, "(%s)#: ping\n\n#%s%s<%s>data: [DONE]\n\n", role, said, end, usage);
    assert_string_equal(f->sent.data, expected.data);
    assert_int_equal(f->tap.tokens.completion, 3);
}

static void streams_that_end_badly_are_failures(void **state)
{
    static const struct {
        const char *sse;
        gw_status rc;
    } cases[] = {
        {CHUNK("{\"content\":\"hi\"}", "null"), GW_ERR_UPSTREAM_CUT},
        {CHUNK("{\"content\":\"hi\"}", "\"stop\""), GW_OK}, /* servers without [DONE] */
        {CHUNK("{\"content\":\"hi\"}", "null") "data: {\"error\":{\"message\":\"x\"}}\n\n",
         GW_ERR_UPSTREAM_FAILED},
        {"event: error\ndata: {\"message\":\"x\"}\n\n", GW_ERR_UPSTREAM_FAILED},
        {"data: garbage\n\n", GW_ERR_UPSTREAM_PROTOCOL},
        {"data: [DONE]\n\n", GW_ERR_UPSTREAM_PROTOCOL}, /* the end of nothing */
        {"data: {\"generation\":\"Hi\"}\n\ndata: [DONE]\n\n", GW_ERR_UPSTREAM_PROTOCOL},
        {"", GW_ERR_UPSTREAM_CUT},
    };
    fixture *f = *state;

    for (size_t i = 0; i < GW_ARRAY_LEN(cases); i++) {
        ask(f, PROVIDER_OPENAI, ENDPOINT_CHAT, "{\"model\":\"m\",\"messages\":[],\"stream\":true}");
        if (play(f, cases[i].sse) != cases[i].rc)
            fail_msg("%s", cases[i].sse);
        assert_false(gw_str_contains(gw_buf_str(&f->sent), GW_STR("[DONE]")));
    }
}

static void a_stream_that_is_cut_leaves_what_it_said_of_its_prompt(void **state)
{
    static const struct {
        provider_kind kind;
        const char *sse;
    } cases[] = {
        {PROVIDER_ANTHROPIC,
         "data: "
         "{\"type\":\"message_start\",\"message\":{\"id\":\"m\",\"usage\":{\"input_tokens\":5,"
         "\"cache_read_input_tokens\":4,\"output_tokens\":1}}}\n\n"
         "data: {\"type\":\"content_block_start\",\"index\":0,\"content_block\":{\"type\":\"text\","
         "\"text\":\"Hi\"}}\n\n"},
        {PROVIDER_GOOGLE,
         "data: {\"candidates\":[{\"content\":{\"parts\":[{\"text\":\"Hi\"}]}}],\"usageMetadata\":{"
         "\"promptTokenCount\":9,\"cachedContentTokenCount\":4,\"totalTokenCount\":9}}\n\n"},
    };
    fixture *f = *state;

    for (size_t i = 0; i < GW_ARRAY_LEN(cases); i++) {
        ask(f, cases[i].kind, ENDPOINT_CHAT, "{\"model\":\"m\",\"messages\":[],\"stream\":true}");
        assert_int_equal(play(f, cases[i].sse), GW_ERR_UPSTREAM_CUT);
        assert_true(f->tap.has_prompt && !f->tap.has_usage);
        assert_int_equal(f->tap.tokens.prompt, 9);
        assert_int_equal(f->tap.tokens.cached, 4);
    }
}

static void librechat_bodies_are_rebuilt_from_a_whitelist(void **state)
{
    fixture *f = *state;
    adapter_request r;
    gw_auto_buf body = {0};
    gw_error err;

    f->provider.base_path = GW_STR("/api/agents/v1");
    ask(f, PROVIDER_LIBRECHAT, ENDPOINT_CHAT,
        "{\"model\":\"agent_x\",\"messages\":[{\"role\":\"developer\",\"content\":\"a\",\"name\":"
        "\"n\"},{\"role\":\"user\",\"content\":[{\"type\":\"text\",\"text\":\"b\"}]}],"
        "\"stream\":true,\"temperature\":1,\"ephemeralAgent\":{},\"user\":\"u\",\"tools\":[]}");
    assert_int_equal(write_request(f, &r, &body, &err), GW_OK);
    assert_string_equal(
        body.data,
        "{\"model\":\"agent_x\",\"messages\":[{\"role\":\"system\",\"content\":\"a\"},{\"role\":"
        "\"user\",\"content\":[{\"type\":\"text\",\"text\":\"b\"}]}],\"stream\":true}");
    assert_true(gw_str_eq_c(r.target, "/api/agents/v1/chat/completions"));
    assert_true(gw_str_eq_c(r.ignored_params, "temperature, ephemeralAgent, tools, messages.name"));
}

static void what_is_left_out_is_listed_however_much_it_is(void **state)
{
    static const char *const names[] = {
        "temperature",
        "top_p",
        "max_tokens",
        "max_completion_tokens",
        "presence_penalty",
        "seed",
        "frequency_penalty",
        "stop",
        "logit_bias",
        "metadata",
        "store",
        "service_tier",
        "prompt_cache_key",
        "verbosity",
        "parallel_tool_calls",
        "reasoning_effort",
        "safety_identifier",
        "top_logprobs",
        "web_search_options",
        "prediction",
    };
    fixture *f = *state;
    adapter_request r;
    gw_auto_buf json = {0}, body = {0}, listed = {0};
    gw_error err;

    gw_buf_append_c(&json, "{\"model\":\"agent_x\",\"messages\":[]");
    for (size_t i = 0; i < GW_ARRAY_LEN(names); i++) {
        const char *value = "1";
        if (strcmp(names[i], "service_tier") == 0)
            value = "\"x\"";
        else if (strcmp(names[i], "prediction") == 0)
            value = "{\"type\":\"content\"}";
        gw_buf_appendf(&json, ",\"%s\":%s", names[i], value);
        gw_buf_appendf(&listed, "%s%s", i > 0 ? ", " : "", names[i]);
    }
    gw_buf_append_c(&json, "}");
    ask(f, PROVIDER_LIBRECHAT, ENDPOINT_CHAT, json.data);
    assert_int_equal(write_request(f, &r, &body, &err), GW_OK);
    assert_true(gw_str_eq(r.ignored_params, gw_buf_str(&listed)));
}

static void agents_refuse_what_they_cannot_do(void **state)
{
    /* NOLINTNEXTLINE(clang-analyzer-optin.performance.Padding): the order of reading */
    static const struct {
        relay_endpoint endpoint;
        const char *json;
        gw_status rc;
        const char *field;
    } cases[] = {
        {ENDPOINT_CHAT, "{\"model\":\"a\",\"messages\":[],\"tools\":[{}]}",
         GW_ERR_UNSUPPORTED_PARAMETER, "tools"},
        {ENDPOINT_CHAT, "{\"model\":\"a\",\"messages\":[],\"tool_choice\":\"required\"}",
         GW_ERR_UNSUPPORTED_PARAMETER, "tool_choice"},
        {ENDPOINT_CHAT, "{\"model\":\"a\",\"messages\":[],\"n\":2}", GW_ERR_UNSUPPORTED_PARAMETER,
         "n"},
        {ENDPOINT_CHAT,
         "{\"model\":\"a\",\"messages\":[],\"response_format\":{\"type\":\"json_object\"}}",
         GW_ERR_UNSUPPORTED_PARAMETER, "response_format"},
        {ENDPOINT_CHAT, "{\"model\":\"a\",\"messages\":[],\"logprobs\":true}",
         GW_ERR_UNSUPPORTED_PARAMETER, "logprobs"},
        {ENDPOINT_CHAT, "{\"model\":\"a\",\"messages\":[{\"role\":\"user\"},{\"role\":\"tool\"}]}",
         GW_ERR_UNSUPPORTED_PARAMETER, "messages[1].role"},
        {ENDPOINT_EMBEDDINGS, "{\"model\":\"a\",\"input\":\"x\"}", GW_ERR_MODEL_NOT_SUPPORTED,
         "model"},
        {ENDPOINT_COMPLETIONS, "{\"model\":\"a\",\"prompt\":\"x\"}", GW_ERR_MODEL_NOT_SUPPORTED,
         "model"},
    };
    fixture *f = *state;

    for (size_t i = 0; i < GW_ARRAY_LEN(cases); i++) {
        adapter_request r;
        gw_auto_buf body = {0};
        gw_error err = {0};
        ask(f, PROVIDER_LIBRECHAT, cases[i].endpoint, cases[i].json);
        if (write_request(f, &r, &body, &err) != cases[i].rc ||
            strcmp(err.field, cases[i].field) != 0)
            fail_msg("%s: %s", cases[i].json, err.message);
    }
    f->policy.is_librechat = true;
    adapter_request r;
    gw_error err = {0};
    ask(f, PROVIDER_LIBRECHAT, ENDPOINT_CHAT, "{\"model\":\"a\",\"messages\":[]}");
    assert_int_equal(write_request(f, &r, &f->sent, &err), GW_ERR_MODEL_NOT_SUPPORTED);
}

static void who_can_only_chat_says_where(void **state)
{
    static const provider_kind kinds[] = {PROVIDER_LIBRECHAT, PROVIDER_ANTHROPIC, PROVIDER_GOOGLE};
    fixture *f = *state;

    for (size_t i = 0; i < GW_ARRAY_LEN(kinds); i++) {
        adapter_request r;
        gw_error err;
        ask(f, kinds[i], ENDPOINT_EMBEDDINGS, "{\"model\":\"a\",\"input\":\"x\"}");
        assert_int_equal(write_request(f, &r, &f->sent, &err), GW_ERR_MODEL_NOT_SUPPORTED);
        assert_non_null(strstr(err.message, "/v1/chat/completions and /v1/messages"));
    }
}

static void values_of_a_wrong_type_are_no_texts(void **state)
{
    fixture *f = *state;
    adapter_request r;
    gw_auto_buf body = {0};
    gw_error err = {0};

    /* As many elements as the texts that are looked for have letters. */
    ask(f, PROVIDER_LIBRECHAT, ENDPOINT_CHAT,
        "{\"model\":\"a\",\"messages\":[{\"role\":[1,2,3,4],\"content\":\"x\"}],\"stream\":true}");
    assert_int_equal(write_request(f, &r, &body, &err), GW_OK);
    assert_false(gw_str_contains(gw_buf_str(&body), GW_STR("role")));
    assert_int_equal(
        play(f, CHUNK("{\"content\":[1,2,3,4,5,6,7,8,9]}", "\"stop\"") "data: [DONE]\n\n"), GW_OK);
}

static void librechat_streams_become_openais(void **state)
{
    fixture *f = *state;

    ask(f, PROVIDER_LIBRECHAT, ENDPOINT_CHAT,
        "{\"model\":\"helper\",\"messages\":[],\"stream\":true}");
    assert_int_equal(
        play(f, CHUNK("{\"role\":\"assistant\"}",
                      "null") "event: attachment\ndata: {\"x\":1}\n\n" CHUNK("{\"tool_calls\":[{"
                                                                             "\"index\":0,\"id\":"
                                                                             "\"t\"}]}",
                                                                             "null")
                    CHUNK("{\"content\":\"hi\"}", "null")
                        CHUNK_USAGE("{}", "\"tool_calls\"",
                                    "{\"prompt_tokens\":9,\"completion_tokens\":3,\"total_tokens\":"
                                    "12,\"primary\":{}}") "data: [DONE]\n\n"),
        GW_OK);
#define OUT(delta, finish)                                                                         \
    "data: "                                                                                       \
    "{\"id\":\"c\",\"object\":\"chat.completion.chunk\",\"created\":1,\"model\":\"helper\","       \
    "\"choices\":[{\"index\":0,\"delta\":" delta ",\"finish_reason\":" finish "}]}\n\n"
    assert_string_equal(
        f->sent.data,
        "(" OUT("{\"role\":\"assistant\"}", "null") ")" OUT("{\"content\":\"hi\"}", "null")
            OUT("{}", "\"stop\"") "<data: "
                                  "{\"id\":\"c\",\"object\":\"chat.completion.chunk\",\"created\":"
                                  "1,\"model\":\"helper\",\"choices\":[],\"usage\":" USAGE
                                  "}\n\n>data: [DONE]\n\n");
    assert_int_equal(f->tap.tokens.prompt, 9);
    assert_true(gw_str_eq_c(f->tap.response_id, "c")); /* its books are by it */
}

static void an_odd_name_of_a_librechats_answer_is_none(void **state)
{
    fixture *f = *state;

    ask(f, PROVIDER_LIBRECHAT, ENDPOINT_CHAT,
        "{\"model\":\"helper\",\"messages\":[],\"stream\":true}");
    assert_int_equal(
        play(f,
             "data: {\"id\":\"a\\u0007b\",\"object\":\"chat.completion.chunk\",\"choices\":[]}\n\n"
             "data: "
             "{\"id\":\"0123456789012345678901234567890123456789012345678901234567890123x\","
             "\"object\":\"chat.completion.chunk\",\"choices\":[]}\n\n"
             "data: {\"id\":7,\"object\":\"chat.completion.chunk\",\"choices\":[]}\n\n"
             "data: [DONE]\n\n"),
        GW_OK);
    assert_int_equal(f->tap.response_id.len, 0);
}

static void a_librechat_shows_its_tools_where_the_provider_says_so(void **state)
{
    fixture *f = *state;

    ask(f, PROVIDER_LIBRECHAT, ENDPOINT_CHAT,
        "{\"model\":\"helper\",\"messages\":[],\"stream\":true}");
    f->provider.exposes_server_tools = true;
    assert_int_equal(play(f, CHUNK("{\"tool_calls\":[{\"index\":0,\"id\":\"t\"}]}", "null")
                                 CHUNK_USAGE("{}", "\"tool_calls\"", USAGE) "data: [DONE]\n\n"),
                     GW_OK);
    assert_non_null(
        strstr(f->sent.data, "\"delta\":{\"tool_calls\":[{\"index\":0,\"id\":\"t\"}]}"));
    assert_non_null(strstr(f->sent.data, "\"finish_reason\":\"stop\""));
    assert_null(strstr(f->sent.data, "\"finish_reason\":\"tool_calls\""));
}

static void an_error_in_disguise_comes_to_light(void **state)
{
    static const char disguised[] = CHUNK("{\"content\":\"hi\"}", "null")
        CHUNK("{\"content\":\"\\n\\nError: quota of sk-upstream\"}", "\"stop\"");
    fixture *f = *state;
    gw_auto_buf in = {0};

    gw_buf_appendf(&in, "%sdata: [DONE]\n\n", disguised);
    ask(f, PROVIDER_LIBRECHAT, ENDPOINT_CHAT,
        "{\"model\":\"agent_x\",\"messages\":[],\"stream\":true}");
    assert_int_equal(play(f, in.data), GW_ERR_UPSTREAM_FAILED);
    assert_true(gw_str_eq_c(f->stream.failure->type, "upstream_error"));
    assert_true(
        gw_str_contains(gw_str_of(f->stream.failure->error.message), GW_STR("quota of ***")));
    assert_false(gw_str_contains(gw_buf_str(&f->sent), GW_STR("Error: ")));
    adapter_stream_fini(&f->stream);

    /* The same at the end of the stream without [DONE]. */
    ask(f, PROVIDER_LIBRECHAT, ENDPOINT_CHAT,
        "{\"model\":\"agent_x\",\"messages\":[],\"stream\":true}");
    assert_int_equal(play(f, disguised), GW_ERR_UPSTREAM_FAILED);
    adapter_stream_fini(&f->stream);

    /* Text that only begins so is an answer. */
    ask(f, PROVIDER_LIBRECHAT, ENDPOINT_CHAT,
        "{\"model\":\"agent_x\",\"messages\":[],\"stream\":true}");
    assert_int_equal(play(f, CHUNK("{\"content\":\"\\n\\nError: is a word\"}", "null")
                                 CHUNK_USAGE("{}", "\"stop\"", USAGE) "data: [DONE]\n\n"),
                     GW_OK);
    assert_true(gw_str_contains(gw_buf_str(&f->sent), GW_STR("Error: is a word")));
}

static void a_json_answer_can_be_streamed(void **state)
{
    fixture *f = *state;
    gw_str answer;

    ask(f, PROVIDER_LIBRECHAT, ENDPOINT_CHAT,
        "{\"model\":\"helper\",\"messages\":[],\"stream\":true}");
    assert_int_equal(
        f->ops->on_answer(&f->stream,
                          GW_STR("{\"id\":\"c\",\"object\":\"chat.completion\",\"created\":1,"
                                 "\"model\":\"agent_x\",\"choices\":[{\"index\":0,"
                                 "\"message\":{\"role\":\"assistant\",\"content\":\"hi\",\"tool_"
                                 "calls\":[{}]},\"finish_reason\":\"tool_calls\"}],\"usage\":" USAGE
                                 "}"),
                          &answer),
        GW_OK);
    assert_true(gw_str_eq_c(f->tap.response_id, "c"));
    assert_int_equal(adapter_stream_from_answer(&f->stream, answer), GW_OK);
#define HEAD                                                                                       \
    "data: "                                                                                       \
    "{\"object\":\"chat.completion.chunk\",\"id\":\"c\",\"created\":1,\"model\":\"helper\","       \
    "\"choices\":["
    assert_string_equal(f->sent.data,
                        HEAD "{\"index\":0,\"delta\":{\"role\":\"assistant\",\"content\":\"hi\"},"
                             "\"finish_reason\":null}]}\n\n" HEAD
                             "{\"index\":0,\"delta\":{},\"finish_reason\":\"stop\"}]}\n\n<" HEAD
                             "],\"usage\":" USAGE "}\n\n>data: [DONE]\n\n");
}

static void answers_that_are_none_are_failures(void **state)
{
    static const provider_kind kinds[] = {PROVIDER_OPENAI, PROVIDER_LIBRECHAT};
    fixture *f = *state;
    gw_str answer;

    for (size_t i = 0; i < GW_ARRAY_LEN(kinds); i++) {
        ask(f, kinds[i], ENDPOINT_CHAT, "{\"model\":\"m\",\"messages\":[]}");
        assert_int_equal(f->ops->on_answer(&f->stream, GW_STR("{\"id\":"), &answer),
                         GW_ERR_UPSTREAM_PROTOCOL);
        assert_int_equal(f->ops->on_answer(&f->stream, GW_STR("[]"), &answer),
                         GW_ERR_UPSTREAM_PROTOCOL);
        assert_int_equal(
            f->ops->on_answer(&f->stream, GW_STR("{\"error\":{\"message\":\"x\"}}"), &answer),
            GW_ERR_UPSTREAM_FAILED);
    }
    ask(f, PROVIDER_OPENAI, ENDPOINT_EMBEDDINGS, "{\"model\":\"m\",\"input\":\"x\"}");
    assert_int_equal(
        f->ops->on_answer(&f->stream, GW_STR("{\"choices\":[{\"index\":0}]}"), &answer),
        GW_ERR_UPSTREAM_PROTOCOL);
    assert_int_equal(f->ops->on_answer(&f->stream, GW_STR("{\"data\":[]}"), &answer), GW_OK);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        WITH(openai_requests_pass_but_for_the_splices),
        WITH(of_the_callers_headers_only_the_listed_go_up),
        WITH(the_keys_ceiling_is_set_when_none_is_asked),
        WITH(openai_streams_pass_byte_for_byte),
        WITH(streams_that_end_badly_are_failures),
        WITH(a_stream_that_is_cut_leaves_what_it_said_of_its_prompt),
        WITH(librechat_bodies_are_rebuilt_from_a_whitelist),
        WITH(what_is_left_out_is_listed_however_much_it_is),
        WITH(agents_refuse_what_they_cannot_do),
        WITH(who_can_only_chat_says_where),
        WITH(values_of_a_wrong_type_are_no_texts),
        WITH(librechat_streams_become_openais),
        WITH(an_odd_name_of_a_librechats_answer_is_none),
        WITH(a_librechat_shows_its_tools_where_the_provider_says_so),
        WITH(an_error_in_disguise_comes_to_light),
        WITH(a_json_answer_can_be_streamed),
        WITH(answers_that_are_none_are_failures),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
