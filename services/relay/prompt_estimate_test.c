#include "prompt_estimate.h"

#include "testing/cmocka.h"

static int64_t estimate(relay_endpoint endpoint, const char *json)
{
    gw_auto(gw_arena) arena = gw_arena_new();
    openai_body b;
    gw_error err = {0};

    if (openai_body_read(arena, endpoint, gw_str_of(json), &b, &err) != GW_OK)
        fail_msg("%s", err.message);
    return prompt_estimate(&b);
}

/* Eight bytes are looked at together: wherever characters stand, the sum is as of one at a time. */
static void text_is_measured_the_same_wherever_characters_stand(void **state)
{
    (void)state;
    static const char text[] = "ab\xc3\xbc"
                               "cdefgh\xe2\x82\xac\xf0\x9f\x98\x80ijklmnopqrstuvwxyz\xc3\xa9";
    for (size_t from = 0; from < sizeof(text); from++) {
        for (size_t to = from; to < sizeof(text); to++) {
            text_size size = {0};
            int64_t ascii = 0, others = 0;
            text_size_add(&size, gw_str_n(text + from, to - from));
            for (size_t i = from; i < to; i++) {
                ascii += (unsigned char)text[i] < 0x80;
                others += (unsigned char)text[i] >= 0xC0;
            }
            assert_int_equal(size.ascii_bytes, ascii);
            assert_int_equal(size.other_chars, others);
        }
    }
}

static void prompts_are_estimated_by_the_stated_rule(void **state)
{
    static const struct {
        relay_endpoint endpoint;
        const char *json;
        int64_t tokens;
    } cases[] = {
        {ENDPOINT_CHAT, "{\"model\":\"m\",\"messages\":[]}", 3},
        {ENDPOINT_CHAT,
         "{\"model\":\"m\",\"messages\":[{\"role\":\"user\",\"content\":\"12345\"}]}", 3 + 4 + 2},
        {ENDPOINT_CHAT,
         "{\"model\":\"m\",\"messages\":[{\"content\":\"\xE4\xBD\xA0\xE5\xA5\xBD\"}]}", 3 + 4 + 2},
        {ENDPOINT_CHAT,
         "{\"model\":\"m\",\"messages\":[{\"content\":[{\"type\":\"text\",\"text\":\"1234\"},{"
         "\"type\":\"image_url\",\"image_url\":{\"url\":\"data:AAAA\"}}]}]}",
         3 + 4 + 1 + 1105},
        {ENDPOINT_CHAT,
         "{\"model\":\"m\",\"messages\":[{\"content\":[{\"type\":\"input_audio\"}]}]}",
         3 + 4 + 1000},
        {ENDPOINT_CHAT,
         "{\"model\":\"m\",\"messages\":[{\"content\":[{\"type\":[1,2,3,4,5,6,7]}]}]}",
         3 + 4 + 1000},
        {ENDPOINT_CHAT, "{\"model\":\"m\",\"messages\":[],\"tools\":[{\"a\":\"b\"}]}", 3 + 3},
        {ENDPOINT_CHAT,
         "{\"model\":\"m\",\"messages\":[{\"tool_calls\":[{\"function\":{\"name\":\"abcd\","
         "\"arguments\":\"{}ab\"}}]}]}",
         3 + 4 + 2},
        {ENDPOINT_EMBEDDINGS, "{\"model\":\"m\",\"input\":\"12345678\"}", 3 + 2},
        {ENDPOINT_EMBEDDINGS, "{\"model\":\"m\",\"input\":[\"1234\",\"5678\"]}", 3 + 2},
        {ENDPOINT_EMBEDDINGS, "{\"model\":\"m\",\"input\":[1,2,3]}", 3 + 3},
        {ENDPOINT_EMBEDDINGS, "{\"model\":\"m\",\"input\":[[1,2],[3]]}", 3 + 3},
        {ENDPOINT_COMPLETIONS, "{\"model\":\"m\",\"prompt\":\"1234\"}", 3 + 1},
    };

    (void)state;
    for (size_t i = 0; i < GW_ARRAY_LEN(cases); i++) {
        int64_t n = estimate(cases[i].endpoint, cases[i].json);
        if (n != cases[i].tokens)
            fail_msg("%s: %lld", cases[i].json, (long long)n);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(text_is_measured_the_same_wherever_characters_stand),
        cmocka_unit_test(prompts_are_estimated_by_the_stated_rule),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
