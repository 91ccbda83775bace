/* Callers of Anthropic's dialect, through the whole relay. */
#include "relay_request_test_kit.h"

#define EVENT(name, data) "event: " name "\ndata: {\"type\":\"" name "\"" data "}\n\n"
#define START                                                                                      \
    EVENT("message_start", ",\"message\":{\"id\":\"msg_1\",\"usage\":{\"input_tokens\":5,"         \
                           "\"cache_read_input_tokens\":4,\"output_tokens\":1}}")
#define OPEN                                                                                       \
    EVENT("content_block_start", ",\"index\":0,\"content_block\":{\"type\":\"text\",\"text\":"     \
                                 "\"\"}")
#define SAID                                                                                       \
    EVENT("content_block_delta",                                                                   \
          ",\"index\":0,\"delta\":{\"type\":\"text_delta\",\"text\":\"hello\"}")
#define CLOSE EVENT("content_block_stop", ",\"index\":0")
#define ENDED                                                                                      \
    EVENT("message_delta",                                                                         \
          ",\"delta\":{\"stop_reason\":\"end_turn\"},\"usage\":{\"output_tokens\":3}")
#define STOP EVENT("message_stop", "")
#define PING EVENT("ping", "")
#define JSON                                                                                       \
    "{\"id\":\"msg_1\", "                                                                          \
    "\"type\":\"message\",\"content\":[{\"type\":\"text\",\"text\":\"hello\"}],"                   \
    "\"stop_reason\":\"max_tokens\",\"usage\":{\"input_tokens\":5,\"cache_read_input_tokens\":4,"  \
    "\"output_tokens\":3}}"
#define SSE   "text/event-stream"
#define PLAIN "application/json"

#define ASKED                                                                                      \
    "\"model\":\"gpt-4o\", "                                                                       \
    "\"max_tokens\":10,\"messages\":[{\"role\":\"user\",\"content\":\"hi\"}]"
#define CHAT   "{" ASKED "}"
#define STREAM "{" ASKED ",\"stream\":true}"

static bool says(const gw_buf *b, const char *text)
{
    return gw_str_contains(gw_buf_str(b), gw_str_of(text));
}

static usage_event *only_event(kit *k)
{
    assert_int_equal(k->event_count, 1);
    return k->events[0];
}

static int setup(void **state)
{
    int rc = kit_setup(state);
    kit *k = *state;

    k->provider.kind = PROVIDER_ANTHROPIC;
    return rc;
}

static void ask_for(kit *k, const char *path, const char *key, const char *body, const script *s)
{
    k->script = s;
    send_call(k, "POST", path, key, body);
    run(k);
}

static void ask_message(kit *k, const char *body, const script *s)
{
    ask_for(k, "/v1/messages", "good", body, s);
}

/* The error of the answer, which names its request as the headers do. */
static void assert_error(const kit *k, int status, const char *type, const char *message)
{
    yyjson_doc *doc = yyjson_read(k->answer.body.data, k->answer.body.len, YYJSON_READ_NOFLAG);
    yyjson_val *root = yyjson_doc_get_root(doc), *error = yyjson_obj_get(root, "error");
    gw_auto_buf header = {0};

    assert_int_equal(k->answer.status, status);
    assert_true(yyjson_equals_str(yyjson_obj_get(root, "type"), "error"));
    assert_string_equal(yyjson_get_str(yyjson_obj_get(error, "type")), type);
    assert_non_null(strstr(yyjson_get_str(yyjson_obj_get(error, "message")), message));
    gw_buf_appendf(&header, "\nrequest-id: %s\n",
                   yyjson_get_str(yyjson_obj_get(root, "request_id")));
    assert_true(says(&k->answer.head, header.data));
    yyjson_doc_free(doc);
}

static void an_answer_passes_unchanged_and_is_billed(void **state)
{
    kit *k = *state;

    ask_message(k, CHAT, &(script)REPLY(200, PLAIN, JSON));
    assert_int_equal(k->answer.status, 200);
    assert_string_equal(k->answer.body.data, JSON);
    assert_string_equal(k->seen.data, CHAT);
    assert_int_equal(k->answer.events_before, 1);
    assert_true(says(&k->answer.head, "\nrequest-id: req_") &&
                says(&k->answer.head, "x-request-id: req_"));
    usage_event *e = only_event(k);
    assert_string_equal(e->endpoint, "/v1/messages");
    assert_string_equal(e->billing_basis, "reported");
    assert_string_equal(e->finish_reason, "length");
    assert_int_equal(e->prompt_tokens, 9);
    assert_int_equal(e->cached_tokens, 4);
    assert_int_equal(e->completion_tokens, 3);
    assert_int_equal(e->total_tokens, 12);
    assert_int_equal(e->cost_nano_usd, 15);
}

static void a_stream_passes_byte_for_byte(void **state)
{
    kit *k = *state;

    ask_message(k, STREAM, &(script)REPLY(200, SSE, START, OPEN, PING, SAID, CLOSE, ENDED, STOP));
    assert_string_equal(k->answer.body.data, START OPEN PING SAID CLOSE ENDED STOP);
    assert_string_equal(k->seen.data, STREAM);
    assert_int_equal(k->answer.events_before, 1);
    usage_event *e = only_event(k);
    assert_int_equal(e->prompt_tokens, 9);
    assert_int_equal(e->completion_tokens, 3);
    assert_string_equal(e->finish_reason, "stop");
    assert_true(e->stream);
}

static void a_cut_stream_ends_in_an_error_event(void **state)
{
    kit *k = *state;

    ask_message(k, STREAM, &(script)REPLY_CUT(200, SSE, START, OPEN, SAID));
    assert_int_equal(k->answer.status, 200);
    assert_true(says(&k->answer.body,
                     START OPEN SAID "event: error\ndata: {\"type\":\"error\",\"error\":"
                                     "{\"type\":\"api_error\",\"message\":"));
    assert_false(says(&k->answer.body, "message_stop"));
    assert_true(says(&k->answer.body, "\"request_id\":\"req_"));
    usage_event *e = only_event(k);
    assert_string_equal(e->outcome, "partial");
    assert_string_equal(e->error, "upstream_cut");
    assert_string_equal(e->billing_basis, "estimated");
}

static void silence_is_filled_with_pings(void **state)
{
    kit *k = *state;

    k->core.limits.keep_alive_ms = 20;
    k->wait_for = GW_STR(SAID PING PING);
    ask_message(k, STREAM, &(script)REPLY_STALL(200, SSE, START, OPEN, SAID));
    assert_false(k->answer.done);
    k->wait_for = GW_STR("");
    run(k); /* until the upstream has been silent too long */
    assert_true(says(&k->answer.body, "event: error\ndata: {\"type\":\"error\",\"error\":{\"type\":"
                                      "\"timeout_error\""));
}

static void a_failure_before_the_first_content_has_its_status(void **state)
{
    kit *k = *state;

    ask_message(k, STREAM,
                &(script)REPLY(200, SSE, START, OPEN,
                               "event: error\ndata: {\"type\":\"error\",\"error\":{\"type\":"
                               "\"overloaded_error\",\"message\":\"Overloaded\"}}\n\n"));
    assert_error(k, 529, "overloaded_error", "Overloaded");
    assert_int_equal(only_event(k)->status_code, 529);
}

static void other_providers_are_asked_in_their_dialect(void **state)
{
    kit *k = *state;

    k->provider.kind = PROVIDER_OPENAI;
    ask_message(k, CHAT,
                &(script)REPLY(200, PLAIN,
                               "{\"id\":\"c\",\"choices\":[{\"message\":{\"content\":\"hello\"},"
                               "\"finish_reason\":\"stop\"}],\"usage\":{\"prompt_tokens\":9,"
                               "\"completion_tokens\":3}}"));
    assert_string_equal(k->seen.data,
                        "{\"model\":\"gpt-4o\",\"max_completion_tokens\":10,\"messages\":"
                        "[{\"role\":\"user\",\"content\":\"hi\"}]}");
    assert_string_equal(
        k->answer.body.data,
        "{\"id\":\"c\",\"type\":\"message\",\"role\":\"assistant\",\"model\":\"gpt-4o\","
        "\"content\":[{\"type\":\"text\",\"text\":\"hello\"}],\"stop_reason\":\"end_turn\","
        "\"stop_sequence\":null,\"usage\":{\"input_tokens\":9,"
        "\"cache_creation_input_tokens\":0,\"cache_read_input_tokens\":0,"
        "\"output_tokens\":3}}");
    usage_event *e = only_event(k);
    assert_string_equal(e->endpoint, "/v1/messages");
    assert_int_equal(e->cost_nano_usd, 15);
}

#define CHUNK(delta)                                                                               \
    "data: {\"id\":\"c\",\"choices\":[{\"index\":0,\"delta\":" delta                               \
    ",\"finish_reason\":null}]}\n\n"

static void a_translated_stream_that_is_cut_ends_in_an_error_event(void **state)
{
    kit *k = *state;

    k->provider.kind = PROVIDER_OPENAI;
    ask_message(k, STREAM,
                &(script)REPLY_CUT(200, SSE, CHUNK("{\"role\":\"assistant\"}"),
                                   CHUNK("{\"content\":\"hello\"}")));
    assert_true(says(&k->answer.body, OPEN SAID "event: error\n"));
    assert_false(says(&k->answer.body, "message_stop"));
    assert_string_equal(only_event(k)->outcome, "partial");
}

/* As the whole answer is 502. */
static void
a_translated_stream_with_arguments_that_are_no_object_ends_in_an_error_event(void **state)
{
    kit *k = *state;

    k->provider.kind = PROVIDER_OPENAI;
    ask_message(k, STREAM,
                &(script)REPLY(
                    200, SSE,
                    CHUNK("{\"tool_calls\":[{\"index\":0,\"id\":\"a\",\"function\":{\"name\":\"f\","
                          "\"arguments\":\"{\\\"city\"}}]}"),
                    "data: {\"id\":\"c\",\"choices\":[{\"index\":0,\"delta\":{},\"finish_reason\":"
                    "\"tool_calls\"}],\"usage\":{\"prompt_tokens\":9,\"completion_tokens\":3}}\n\n",
                    "data: [DONE]\n\n"));
    assert_int_equal(k->answer.status, 200);
    assert_true(says(&k->answer.body, "event: error\ndata: {\"type\":\"error\",\"error\":{\"type\":"
                                      "\"api_error\",\"message\":\"the provider called a tool"));
    assert_false(says(&k->answer.body, "message_delta") || says(&k->answer.body, "message_stop"));
    usage_event *e = only_event(k);
    assert_string_equal(e->outcome, "partial");
    assert_string_equal(e->error, "upstream_invalid_response");
    assert_string_equal(e->billing_basis, "reported");
    assert_int_equal(e->cost_nano_usd, 15);
}

static void a_translated_stream_without_content_is_a_failure_with_a_status(void **state)
{
    kit *k = *state;

    k->provider.kind = PROVIDER_OPENAI;
    ask_message(k, STREAM, &(script)REPLY(200, SSE, CHUNK("{\"role\":\"assistant\"}")));
    assert_error(k, 502, "api_error", "ended in mid-answer");
}

/* Targets of two kinds: what the first one began to say is forgotten, whichever of them is translated. */
static void the_next_target_may_be_of_another_kind(void **state)
{
    static const script began = REPLY_CUT(200, SSE, START, OPEN);
    static const script role = REPLY_CUT(200, SSE, CHUNK("{\"role\":\"assistant\"}"));
    static const script through = REPLY(200, SSE, START, OPEN, SAID, CLOSE, ENDED, STOP);
    static const script chunks = REPLY(
        200, SSE, CHUNK("{\"content\":\"hello\"}"),
        "data: {\"id\":\"c\",\"choices\":[{\"index\":0,\"delta\":{},\"finish_reason\":\"stop\"}],"
        "\"usage\":{\"prompt_tokens\":9,\"completion_tokens\":3}}\n\n",
        "data: [DONE]\n\n");
    const struct {
        provider_kind kinds[2];
        script queue[2];
    } cases[] = {{{PROVIDER_OPENAI, PROVIDER_ANTHROPIC}, {role, through}},
                 {{PROVIDER_ANTHROPIC, PROVIDER_OPENAI}, {began, chunks}}};
    kit *k = *state;

    for (size_t i = 0; i < GW_ARRAY_LEN(cases); i++) {
        provider_config second = k->provider;
        route_target targets[] = {k->target, k->target};
        k->provider.kind = cases[i].kinds[0];
        second.kind = cases[i].kinds[1];
        targets[1].provider = &second;
        targets[1].tier = 1;
        k->route.targets = targets;
        k->route.target_count = 2;
        k->queue = cases[i].queue;
        k->asked = 0;
        ask_message(k, STREAM, cases[i].queue);
        assert_true(says(&k->answer.body, OPEN SAID CLOSE));
        assert_true(says(&k->answer.body, STOP) && !says(&k->answer.body, "event: error"));
        assert_int_equal(k->events[i]->attempts, 2);
        assert_int_equal(k->events[i]->prompt_tokens, 9);
        assert_int_equal(k->events[i]->completion_tokens, 3);
    }
}

static void refusals_of_every_kind_are_anthropics(void **state)
{
    static const struct {
        const char *path, *key, *body;
        int status;
        const char *type, *message;
    } cases[] = {
        {"/v1/messages", NULL, CHAT, 401, "authentication_error", "no API key"},
        {"/v1/messages", "bad", CHAT, 401, "authentication_error", "no such key"},
        {"/v1/messages", "good", "{", 400, "invalid_request_error", "not valid JSON"},
        {"/v1/messages", "good", "{\"model\":\"gpt-4o\",\"max_tokens\":1}", 400,
         "invalid_request_error", "'messages' is required"},
        {"/v1/messages", "good", "{\"model\":\"gpt-4o\",\"messages\":[]}", 400,
         "invalid_request_error", "'max_tokens' is required"},
        {"/v1/messages", "good", "{\"model\":\"gpt-4o\",\"messages\":[],\"max_tokens\":\"1\"}", 400,
         "invalid_request_error", "'max_tokens' must be a positive integer"},
        {"/v1/messages", "good", "{\"model\":\"nope\",\"messages\":[],\"max_tokens\":1}", 404,
         "not_found_error", "`nope`"},
        {"/v1/messages/batches", "good", "{}", 404, "not_found_error", "/v1/messages/batches"},
    };
    kit *k = *state;

    for (size_t i = 0; i < GW_ARRAY_LEN(cases); i++) {
        ask_for(k, cases[i].path, cases[i].key, cases[i].body, NULL);
        assert_error(k, cases[i].status, cases[i].type, cases[i].message);
        assert_false(k->upstream_asked);
    }
    send_call(k, "GET", "/v1/messages", "good", NULL);
    run(k);
    assert_error(k, 405, "invalid_request_error", "takes POST");
}

static void what_the_transport_refuses_is_anthropics_too(void **state)
{
    kit *k = *state;

    k->core.limits.body_max_bytes = 16;
    ask_message(k, CHAT, NULL);
    assert_error(k, 413, "request_too_large", "16 bytes");
    assert_int_equal(only_event(k)->status_code, 413);
}

/* What is recorded is what was sent. */
static void a_server_without_room_for_the_body_is_overloaded(void **state)
{
    gw_http_server_options tight = gw_http_server_defaults;
    kit *k = *state;

    tight.body_memory_max_bytes = 16;
    gw_http_server_adjust(k->relay, &tight);
    ask_message(k, CHAT, NULL);
    assert_error(k, 529, "overloaded_error", "");
    assert_int_equal(only_event(k)->status_code, 529);
}

static void a_busy_gateway_is_overloaded(void **state)
{
    kit *k = *state;

    k->spool_is_full = true;
    ask_message(k, CHAT, NULL);
    assert_error(k, 529, "overloaded_error", "the spool is full");
}

static void upstream_errors_keep_their_words_and_pauses(void **state)
{
    kit *k = *state;

    ask_message(k, CHAT,
                &(script)REPLY(429, PLAIN,
                               "{\"type\":\"error\",\"error\":{\"type\":\"rate_limit_error\","
                               "\"message\":\"slow down\"}}"));
    assert_error(k, 429, "rate_limit_error", "slow down");
    assert_true(says(&k->answer.head, "retry-after: 3\n"));
}

static void tokens_are_counted_for_nothing(void **state)
{
    kit *k = *state;

    k->price.request_nano_usd = 1000;
    ask_for(k, "/v1/messages/count_tokens", "good",
            "{\"model\":\"gpt-4o\",\"messages\":[],\"system\":\"x\"}",
            &(script)REPLY(200, PLAIN, "{\"input_tokens\":2095}"));
    assert_int_equal(k->answer.status, 200);
    assert_string_equal(k->answer.body.data, "{\"input_tokens\":2095}");
    usage_event *e = only_event(k);
    assert_string_equal(e->endpoint, "/v1/messages/count_tokens");
    assert_string_equal(e->billing_basis, "unpriced");
    assert_int_equal(e->prompt_tokens + e->total_tokens + e->cost_nano_usd, 0);
    assert_int_equal(k->opened_cost, 0);
}

static void models_are_listed_as_the_caller_reads_them(void **state)
{
    kit *k = *state;

    k->extra[0] = (gw_header){GW_STR("anthropic-version"), GW_STR("2023-06-01")};
    k->extra_count = 1;
    send_call(k, "GET", "/v1/models", "good", NULL);
    run(k);
    assert_string_equal(k->answer.body.data,
                        "{\"data\":[{\"type\":\"model\",\"id\":\"gpt-4o\",\"display_name\":"
                        "\"gpt-4o\",\"created_at\":\"1970-01-01T00:00:00Z\",\"lifecycle\":"
                        "\"active\"}],\"has_more\":false,"
                        "\"first_id\":\"gpt-4o\",\"last_id\":\"gpt-4o\"}");
    send_call(k, "GET", "/v1/models/nope", "good", NULL);
    run(k);
    assert_error(k, 404, "not_found_error", "`nope`");
}

#define WITH(test) cmocka_unit_test_setup_teardown(test, setup, kit_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        WITH(an_answer_passes_unchanged_and_is_billed),
        WITH(a_stream_passes_byte_for_byte),
        WITH(a_cut_stream_ends_in_an_error_event),
        WITH(silence_is_filled_with_pings),
        WITH(a_failure_before_the_first_content_has_its_status),
        WITH(other_providers_are_asked_in_their_dialect),
        WITH(a_translated_stream_that_is_cut_ends_in_an_error_event),
        WITH(a_translated_stream_with_arguments_that_are_no_object_ends_in_an_error_event),
        WITH(a_translated_stream_without_content_is_a_failure_with_a_status),
        WITH(the_next_target_may_be_of_another_kind),
        WITH(refusals_of_every_kind_are_anthropics),
        WITH(what_the_transport_refuses_is_anthropics_too),
        WITH(a_server_without_room_for_the_body_is_overloaded),
        WITH(a_busy_gateway_is_overloaded),
        WITH(upstream_errors_keep_their_words_and_pauses),
        WITH(tokens_are_counted_for_nothing),
        WITH(models_are_listed_as_the_caller_reads_them),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
