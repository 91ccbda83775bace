#include "usage_tap.h"

#include "http/sse.h"
#include "testing/cmocka.h"

#define CHUNK(delta, finish, usage)                                                                \
    "data: "                                                                                       \
    "{\"id\":\"c\",\"object\":\"chat.completion.chunk\",\"choices\":[{\"index\":0,"                \
    "\"delta\":" delta ",\"finish_reason\":" finish "}],\"usage\":" usage "}"
#define USAGE                                                                                      \
    "{\"prompt_tokens\":9,\"completion_tokens\":3,\"total_tokens\":12,"                            \
    "\"prompt_tokens_details\":{\"cached_tokens\":4},\"completion_tokens_details\":{\"reasoning_"  \
    "tokens\":2}}"

typedef struct stream_result {
    usage_tap tap;
    size_t content, usage, done;
    gw_status rc;
} stream_result;

static gw_status on_event(void *arg, const gw_sse_event *e, gw_error *err)
{
    stream_result *s = arg;
    tap_kind kind;

    if (!e->data.ptr)
        return GW_OK;
    if (gw_str_eq_c(e->data, "[DONE]")) {
        s->done++;
        return GW_OK;
    }
    s->rc = usage_tap_chunk(&s->tap, e->data, &kind, err);
    if (s->rc == GW_OK) {
        s->content += kind == TAP_CONTENT;
        s->usage += kind == TAP_USAGE;
    }
    return s->rc;
}

static char scratch[16384];

/* The stream in two pieces, cut at `cut`. */
static stream_result play(gw_str stream, size_t cut)
{
    stream_result s = {.tap = {.scratch = {scratch, sizeof(scratch)}}};
    gw_error err;
    gw_sse_reader *r = gw_sse_reader_new(1 << 20, on_event, &s);
    gw_status rc = gw_sse_feed(r, gw_str_slice(stream, 0, cut), &err);

    if (rc == GW_OK)
        rc = gw_sse_feed(r, gw_str_slice(stream, cut, stream.len), &err);
    s.rc = rc;
    gw_sse_reader_free(r);
    return s;
}

static const struct {
    const char *name;
    const char *stream;
    size_t content, usage;
} streams[] = {
    {"a usage chunk of its own",
     CHUNK("{\"role\":\"assistant\",\"content\":\"\"}", "null", "null") "\n\n" CHUNK(
         "{\"content\":\"h\303\251\"}", "null",
         "null") "\n\n" CHUNK("{}", "\"stop\"", "null") "\n\ndata: {\"choices\":[],\"usage\":" USAGE
                                                        "}\n\ndata: [DONE]\n\n",
     2, 1},
    {"usage with the last words",
     CHUNK("{\"role\":\"assistant\"}", "null", "null") "\r\n\r\n" CHUNK(
         "{\"content\":\"hi\"}", "\"stop\"", USAGE) "\r\n\r\ndata: [DONE]\r\n\r\n",
     1, 0},
    {"usage on every chunk",
     CHUNK(
         "{\"content\":\"a\"}", "null",
         "{\"prompt_tokens\":9,\"completion_tokens\":1,\"total_tokens\":10}") "\r\r" CHUNK("{\"cont"
                                                                                           "ent\":"
                                                                                           "\"b\"}",
                                                                                           "\"stop"
                                                                                           "\"",
                                                                                           USAGE) "\r\rdata: [DONE]\r\r",
     2, 0},
    {"comments and blank lines between",
     ": hello\n\n\n" CHUNK("{\"content\":\"a\"}", "\"stop\"",
                           "null") "\n\n: ping\n\ndata: {\"choices\":[],\"usage\":" USAGE
                                   "}\n\ndata: [DONE]\n\n",
     1, 1},
    {"other names of the same",
     CHUNK("{\"reasoning_content\":\"hm\"}", "\"stop\"",
           "null") "\n\ndata: {\"choices\":[],\"usage\":{\"input_tokens\":9,\"output_tokens\":3,"
                   "\"input_tokens_details\":{\"cached_tokens\":4},\"output_tokens_details\":{"
                   "\"reasoning_tokens\":2}}}\n\ndata: [DONE]\n\n",
     1, 1},
};

static void every_shape_gives_the_same_usage_wherever_it_is_cut(void **state)
{
    (void)state;
    for (size_t i = 0; i < GW_ARRAY_LEN(streams); i++) {
        gw_str stream = gw_str_of(streams[i].stream);
        for (size_t cut = 0; cut <= stream.len; cut++) {
            stream_result s = play(stream, cut);
            if (s.rc != GW_OK || !s.tap.has_usage || s.tap.tokens.prompt != 9 ||
                s.tap.tokens.completion != 3 || s.tap.tokens.cached != 4 ||
                s.tap.tokens.reasoning != 2 || s.tap.total_tokens != 12 ||
                strcmp(s.tap.finish_reason, "stop") != 0 || s.tap.finished_choices != 1 ||
                s.content != streams[i].content || s.usage != streams[i].usage || s.done != 1)
                fail_msg("%s, cut at %zu", streams[i].name, cut);
        }
    }
}

static void content_is_told_from_preamble(void **state)
{
    static const struct {
        const char *json;
        tap_kind kind;
    } cases[] = {
        {"{\"choices\":[{\"delta\":{\"role\":\"assistant\"}}]}", TAP_PREAMBLE},
        {"{\"choices\":[{\"delta\":{\"content\":\"\",\"refusal\":null}}]}", TAP_PREAMBLE},
        {"{\"choices\":[],\"prompt_filter_results\":[{}]}", TAP_PREAMBLE},
        {"{\"choices\":[],\"usage\":null}", TAP_PREAMBLE},
        {"{\"choices\":[{\"delta\":{\"content\":[1]},\"finish_reason\":[1,2,3]}]}", TAP_PREAMBLE},
        {"{\"choices\":[{\"delta\":{\"content\":\"x\"}}]}", TAP_CONTENT},
        {"{\"choices\":[{\"delta\":{\"content\":[{\"type\":\"thinking\"}]}}]}", TAP_CONTENT},
        {"{\"choices\":[{\"delta\":{\"refusal\":\"no\"}}]}", TAP_CONTENT},
        {"{\"choices\":[{\"delta\":{\"tool_calls\":[{\"index\":0}]}}]}", TAP_CONTENT},
        {"{\"choices\":[{\"delta\":{\"function_call\":{\"name\":\"f\"}}}]}", TAP_CONTENT},
        {"{\"choices\":[{\"delta\":{},\"finish_reason\":\"length\"}]}", TAP_CONTENT},
        {"{\"choices\":[{\"text\":\"x\"}]}", TAP_CONTENT},
        {"{\"choices\":[],\"usage\":{\"prompt_tokens\":1}}", TAP_USAGE},
    };

    (void)state;
    for (size_t i = 0; i < GW_ARRAY_LEN(cases); i++) {
        usage_tap t = {0};
        tap_kind kind;
        gw_error err;
        assert_int_equal(usage_tap_chunk(&t, gw_str_of(cases[i].json), &kind, &err), GW_OK);
        if (kind != cases[i].kind)
            fail_msg("%s: %d", cases[i].json, kind);
    }
}

static void failures_are_seen(void **state)
{
    static const struct {
        const char *json;
        gw_status rc;
    } cases[] = {
        {"{\"error\":{\"message\":\"boom\"}}", GW_ERR_UPSTREAM_FAILED},
        {"{\"error\":\"boom\"}", GW_ERR_UPSTREAM_FAILED},
        {"{\"error\":true}", GW_ERR_UPSTREAM_FAILED},
        {"{\"error\":null,\"choices\":[]}", GW_OK},
        {"{\"error\":false}", GW_OK},
        {"not json", GW_ERR_UPSTREAM_PROTOCOL},
        {"[1]", GW_ERR_UPSTREAM_PROTOCOL},
        {"{\"choices\":", GW_ERR_UPSTREAM_PROTOCOL},
        {"", GW_ERR_UPSTREAM_PROTOCOL},
    };

    (void)state;
    for (size_t i = 0; i < GW_ARRAY_LEN(cases); i++) {
        usage_tap t = {0};
        tap_kind kind;
        gw_error err;
        if (usage_tap_chunk(&t, gw_str_of(cases[i].json), &kind, &err) != cases[i].rc)
            fail_msg("%s", cases[i].json);
    }
}

static void absurd_counts_are_not_believed(void **state)
{
    usage_tap t = {0};
    gw_error err;

    (void)state;
    assert_int_equal(
        usage_tap_answer(
            &t, GW_STR("{\"usage\":{\"prompt_tokens\":-5,\"completion_tokens\":1e300}}"), &err),
        GW_OK);
    assert_false(t.has_usage);
    assert_int_equal(usage_tap_answer(&t,
                                      GW_STR("{\"usage\":{\"prompt_tokens\":100000001,"
                                             "\"completion_tokens\":100000001.0,"
                                             "\"total_tokens\":1000000000000}}"),
                                      &err),
                     GW_OK);
    assert_false(t.has_usage || t.has_prompt);
    assert_int_equal(usage_tap_answer(&t,
                                      GW_STR("{\"usage\":{\"prompt_tokens\":100000000,"
                                             "\"completion_tokens\":100000000}}"),
                                      &err),
                     GW_OK);
    assert_true(t.has_usage);
    assert_int_equal(t.total_tokens, 200000000);
    assert_int_equal(usage_tap_answer(&t,
                                      GW_STR("{\"usage\":{\"prompt_tokens\":5.0,\"prompt_tokens_"
                                             "details\":{\"cached_tokens\":9}}}"),
                                      &err),
                     GW_OK);
    assert_true(t.has_usage);
    assert_int_equal(t.tokens.prompt, 5);
    assert_int_equal(t.tokens.cached, 5);
    assert_int_equal(t.total_tokens, 5);
    assert_int_equal(
        usage_tap_answer(&t,
                         GW_STR("{\"usage\":{\"prompt_tokens\":5,\"completion_tokens\":2,"
                                "\"total_tokens\":0}}"),
                         &err),
        GW_OK);
    assert_int_equal(t.total_tokens, 7);
}

static void what_is_not_stated_is_not_zero(void **state)
{
#define SAID "{\"choices\":[{\"message\":{\"content\":\"some words\"}}],\"usage\":"
    static const struct {
        const char *json;
        bool has_usage;
        token_counts tokens;
    } cases[] = {
        {SAID "{\"completion_tokens\":5}}", false, {0}},
        {SAID "{\"prompt_tokens\":-3,\"completion_tokens\":5}}", false, {0}},
        {SAID "{\"prompt_tokens\":9}}", false, {.prompt = 9}},
        {SAID "{\"prompt_tokens\":9,\"completion_tokens\":null,\"total_tokens\":9}}",
         false,
         {.prompt = 9}},
        {SAID "{\"prompt_tokens\":9,\"total_tokens\":12}}", true, {.prompt = 9, .completion = 3}},
        {SAID "{\"completion_tokens\":5,\"total_tokens\":12}}",
         true,
         {.prompt = 7, .completion = 5}},
        {"{\"data\":[],\"usage\":{\"prompt_tokens\":9}}", true, {.prompt = 9}}, /* embeddings */
        /* xAI: reasoning beside the completion; OpenAI: in it */
        {SAID "{\"prompt_tokens\":10,\"completion_tokens\":5,\"total_tokens\":40,"
              "\"completion_tokens_details\":{\"reasoning_tokens\":25}}}",
         true,
         {.prompt = 10, .completion = 30, .reasoning = 25}},
        {SAID "{\"prompt_tokens\":10,\"completion_tokens\":30,\"total_tokens\":40,"
              "\"completion_tokens_details\":{\"reasoning_tokens\":25}}}",
         true,
         {.prompt = 10, .completion = 30, .reasoning = 25}},
        {SAID "{\"prompt_tokens\":10,\"completion_tokens\":1,"
              "\"prompt_tokens_details\":{\"cached_tokens\":2,\"cache_creation_tokens\":4}}}",
         true,
         {.prompt = 10, .completion = 1, .cached = 2, .cache_write = 4}},
        {SAID "{\"prompt_tokens\":10,\"completion_tokens\":1,"
              "\"prompt_tokens_details\":{\"cache_write_tokens\":4}}}",
         true,
         {.prompt = 10, .completion = 1, .cache_write = 4}},
    };

    (void)state;
    for (size_t i = 0; i < GW_ARRAY_LEN(cases); i++) {
        usage_tap t = {0};
        const token_counts *want = &cases[i].tokens;
        gw_error err;
        assert_int_equal(usage_tap_answer(&t, gw_str_of(cases[i].json), &err), GW_OK);
        if (t.has_usage != cases[i].has_usage || t.tokens.prompt != want->prompt ||
            t.tokens.completion != want->completion || t.tokens.cached != want->cached ||
            t.tokens.reasoning != want->reasoning || t.tokens.cache_write != want->cache_write)
            fail_msg("%s: %lld %lld", cases[i].json, (long long)t.tokens.prompt,
                     (long long)t.tokens.completion);
    }
}

static void what_is_stated_of_the_prompt_stands_until_there_is_a_report(void **state)
{
    usage_tap t = {0};

    (void)state;
    const token_counts absurd = {
        .prompt = 9, .cached = 12, .cache_write = 5, .long_cache_write = 7, .completion = 1};
    usage_tap_prompt(&t, &absurd);
    assert_true(t.has_prompt && !t.has_usage);
    assert_int_equal(t.tokens.prompt, 9);
    assert_int_equal(t.tokens.cached, 9);
    assert_int_equal(t.tokens.cache_write, 0);
    assert_int_equal(t.tokens.long_cache_write, 0);
    assert_int_equal(t.tokens.completion, 0);
    usage_tap_report(&t, &(token_counts){.prompt = 7, .completion = 3}, 10);
    usage_tap_prompt(&t, &(token_counts){.prompt = 9});
    assert_true(t.has_prompt && t.has_usage);
    assert_int_equal(t.tokens.prompt, 7);
    assert_int_equal(t.tokens.completion, 3);
}

static void whole_answers_are_read(void **state)
{
    usage_tap t = {0};
    gw_error err;

    (void)state;
    assert_int_equal(
        usage_tap_answer(
            &t,
            GW_STR("{\"choices\":[{\"message\":{\"content\":\"12345678\",\"tool_calls\":[{"
                   "\"function\":{\"name\":\"f\","
                   "\"arguments\":\"{}\"}}]},\"finish_reason\":\"tool_calls\"}],\"usage\":" USAGE
                   "}"),
            &err),
        GW_OK);
    assert_int_equal(t.tokens.completion, 3);
    assert_string_equal(t.finish_reason, "tool_calls");
    assert_int_equal(text_size_tokens(&t.completion), 3); /* 11 bytes */
}

static void what_is_said_twice_counts_once(void **state)
{
    static const char *const chunks[] = {
        /* vLLM, old name and new */
        "{\"choices\":[{\"delta\":{\"reasoning_content\":\" one two\",\"reasoning\":\" one "
        "two\"}}]}",
        /* Perplexity: all of it so far beside what is new */
        "{\"choices\":[{\"delta\":{\"content\":\" one two\"},\"message\":{\"content\":\"all one "
        "two\"}}]}",
        "{\"choices\":[{\"delta\":null,\"message\":{\"content\":\" one two\"}}]}",
    };

    (void)state;
    for (size_t i = 0; i < GW_ARRAY_LEN(chunks); i++) {
        usage_tap t = {.is_bounded = true};
        tap_kind kind;
        gw_error err;
        assert_int_equal(usage_tap_chunk(&t, gw_str_of(chunks[i]), &kind, &err), GW_OK);
        assert_int_equal(kind, TAP_CONTENT);
        assert_int_equal(text_size_tokens(&t.completion), 2); /* 8 bytes */
        assert_int_equal(least_tokens_of(&t.least), 2);
    }
}

/* As their callers' readers of JSON take them; a last one that is null is none. */
static void of_members_that_are_there_twice_the_last_counts(void **state)
{
    static const struct {
        const char *json;
        int64_t prompt, cached, completion, total;
        bool has_usage;
    } cases[] = {
        {"{\"usage\":{\"prompt_tokens\":1,\"completion_tokens\":1},\"choices\":[],"
         "\"usage\":{\"prompt_tokens\":5,\"completion_tokens\":3}}",
         5, 0, 3, 8, true},
        {"{\"choices\":[],\"usage\":{\"prompt_tokens\":1,\"completion_tokens\":9,\"prompt_tokens\":"
         "5,"
         "\"total_tokens\":99,\"completion_tokens\":3,\"total_tokens\":8}}",
         5, 0, 3, 8, true},
        {"{\"choices\":[],\"usage\":{\"prompt_tokens\":5,\"completion_tokens\":3,"
         "\"prompt_tokens_details\":{\"cached_tokens\":1},"
         "\"prompt_tokens_details\":{\"cached_tokens\":1,\"cached_tokens\":4}}}",
         5, 4, 3, 8, true},
        {"{\"choices\":[{\"delta\":{\"content\":\"x\"}}],\"usage\":{\"prompt_tokens\":5,"
         "\"completion_tokens\":3},\"usage\":null}",
         0, 0, 0, 0, false},
        {"{\"choices\":[{\"delta\":{\"content\":\"x\"}}],\"usage\":{\"prompt_tokens\":5,"
         "\"completion_tokens\":3,\"completion_tokens\":null}}",
         5, 0, 0, 0, false},
    };

    (void)state;
    for (size_t i = 0; i < GW_ARRAY_LEN(cases); i++) {
        usage_tap t = {0};
        tap_kind kind;
        gw_error err;
        assert_int_equal(usage_tap_chunk(&t, gw_str_of(cases[i].json), &kind, &err), GW_OK);
        assert_int_equal(t.has_usage, cases[i].has_usage);
        assert_int_equal(t.tokens.prompt, cases[i].prompt);
        assert_int_equal(t.tokens.cached, cases[i].cached);
        assert_int_equal(t.tokens.completion, cases[i].completion);
        assert_int_equal(t.total_tokens, cases[i].total);
    }
}

/* Only where it is asked for, and not below what is reported. */
static void the_least_is_seen_or_reported(void **state)
{
    usage_tap t = {0};

    (void)state;
    usage_tap_text(&t, GW_STR(" a b c d"));
    assert_int_equal(t.least.words, 0);
    t.is_bounded = true;
    for (int i = 0; i < 100; i++)
        usage_tap_text(&t, GW_STR(" word"));
    assert_int_equal(usage_tap_least(&t), 100 - TAP_FORGIVEN_WORDS);
    usage_tap_report(&t, &(token_counts){.prompt = 5, .completion = 40}, 45);
    assert_int_equal(usage_tap_least(&t), 100 - TAP_FORGIVEN_WORDS);
    usage_tap_report(&t, &(token_counts){.prompt = 5, .completion = 90}, 95);
    assert_int_equal(usage_tap_least(&t), 90);
}

static void the_service_tier_is_the_last_one_stated(void **state)
{
    static const char stream[] =
        "data: {\"service_tier\":\"auto\",\"choices\":[]}\n\n"
        "data: {\"service_tier\":\"priority\",\"choices\":[{\"delta\":{\"content\":\"a\"}}]}\n\n"
        "data: {\"service_tier\":null,\"choices\":[{\"delta\":{\"content\":\"b\"}}]}\n\n"
        "data: {\"choices\":[{\"delta\":{},\"finish_reason\":\"stop\"}]}\n\n";
    usage_tap t = {0};
    gw_error err;

    (void)state;
    assert_string_equal(play(gw_str_of(stream), 0).tap.service_tier, "priority");
    assert_int_equal(
        usage_tap_answer(&t, GW_STR("{\"choices\":[],\"service_tier\":\"flex\"}"), &err), GW_OK);
    assert_string_equal(t.service_tier, "flex");
    usage_tap_tier(&t, GW_STR("a tier whose name is longer than any of today's"));
    assert_int_equal(strlen(t.service_tier), TAP_TIER_SIZE - 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_service_tier_is_the_last_one_stated),
        cmocka_unit_test(every_shape_gives_the_same_usage_wherever_it_is_cut),
        cmocka_unit_test(content_is_told_from_preamble),
        cmocka_unit_test(failures_are_seen),
        cmocka_unit_test(absurd_counts_are_not_believed),
        cmocka_unit_test(what_is_not_stated_is_not_zero),
        cmocka_unit_test(what_is_stated_of_the_prompt_stands_until_there_is_a_report),
        cmocka_unit_test(whole_answers_are_read),
        cmocka_unit_test(what_is_said_twice_counts_once),
        cmocka_unit_test(of_members_that_are_there_twice_the_last_counts),
        cmocka_unit_test(the_least_is_seen_or_reported),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
