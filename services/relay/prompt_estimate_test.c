#include "prompt_estimate.h"

#include "testing/cmocka.h"

#include <stdio.h>

static prompt_tokens tokens_of(relay_endpoint endpoint, const char *json)
{
    gw_auto(gw_arena) arena = gw_arena_new();
    openai_body b;
    gw_error err = {0};

    if (openai_body_read(arena, endpoint, gw_str_of(json), &b, &err) != GW_OK)
        fail_msg("%s", err.message);
    return prompt_estimate(&b, true);
}

static int64_t estimate(relay_endpoint endpoint, const char *json)
{
    return tokens_of(endpoint, json).usual;
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

/* Texts, and what o200k_base makes of them. */
static void holds_suffice_for_texts_that_were_not_made_to_be_expensive(void **state)
{
    static const struct {
        const char *text;
        int64_t tokens;
    } cases[] = {
        {"The quick brown fox jumps over the lazy dog, and then it sleeps until the evening comes.",
         19},
        {"static int64_t add_part(text_size *size, yyjson_val *part)\n{\n    if (!part)\n        "
         "return 0;\n}\n",
         29},
        {"{\"id\": 17, \"name\": \"user17\", \"values\": [51, 123.25], \"ok\": true, \"tags\": "
         "[\"a\", \"b\"]}",
         39},
        {"def f(x: int) -> dict[str, int]:\n    return {'a': x + 1, 'b': x * 2}\n", 30},
        {"id,price,count\n1,19.99,3\n2,24.50,11\n3,7.25,128\n", 29},
        {"3f2504e0-4f89-41d3-9a0c-0305e82c3301", 27},
        {"Die Geschwindigkeitsbegrenzung wurde überschritten, obwohl niemand die Straße benutzte.",
         19},
        {"La répétition générale a été reportée à la semaine prochaine à cause de la grève.", 19},
        {"Zażółć gęślą jaźń, powiedział nauczyciel języka polskiego.", 22},
        {"Быстрая коричневая лиса перепрыгивает через ленивую собаку.", 20},
        {"Η γρήγορη καφέ αλεπού πηδάει πάνω από το τεμπέλικο σκυλί.", 26},
        {"القط السريع يقفز فوق الكلب الكسول في الحديقة.", 16},
        {"सूचना: कृपया अपना पासवर्ड किसी के साथ साझा न करें।", 17},
        {"สวัสดีครับ วันนี้อากาศดีมาก", 11},
        {"빠른 갈색 여우가 게으른 개를 뛰어넘습니다.", 17},
        {"素早い茶色の狐がのろまな犬を飛び越える。", 19},
        {"敏捷的棕色狐狸跳过了懒狗。今天天气很好。", 19},
        {"👍🎉😀🔥", 5},
        {"SELECT id, name FROM users WHERE created_at > '2026-11-01' ORDER BY id DESC LIMIT 50;",
         26},
        {"# Title\n\n- one\n- two\n\n```sh\ncurl -s https://example.com/v1/models\n```\n", 25},
    };

    (void)state;
    for (size_t i = 0; i < GW_ARRAY_LEN(cases); i++) {
        text_size size = {0};
        text_size_add(&size, gw_str_of(cases[i].text));
        int64_t most = text_size_prompt(&size, 0).most;
        if (most < cases[i].tokens || most > 4 * cases[i].tokens)
            fail_msg("%s: %lld for %lld", cases[i].text, (long long)most,
                     (long long)cases[i].tokens);
    }
}

static void images_tools_and_files_are_held_for_at_their_largest(void **state)
{
#define WITH_PART(model, part) "{\"model\":\"" model "\",\"messages\":[{\"content\":[" part "]}]}"
#define IMAGE(detail)                                                                              \
    "{\"type\":\"image_url\",\"image_url\":{\"url\":\"https://a\",\"detail\":\"" detail "\"}}"
    static const struct {
        const char *json;
        int64_t usual, most;
    } cases[] = {
        {WITH_PART("gpt-4o", IMAGE("high")), 1112, 1607},
        {WITH_PART("gpt-4o", IMAGE("low")), 1112, 1112},
        {WITH_PART("gpt-4o-mini", IMAGE("auto")), 1112, 7 + 2833 + 8 * 5667},
        {WITH_PART("gpt-4o-mini", IMAGE("low")), 1112, 2840},
        {WITH_PART("gpt-5-nano", IMAGE("high")), 1112, 3786},
        {WITH_PART("claude-opus-4-7", IMAGE("high")), 1112, 4791},
        {WITH_PART("smart", IMAGE("low")), 1112, 4791},
        {WITH_PART("gpt-4o",
                   "{\"type\":\"input_audio\",\"input_audio\":{\"data\":\"AAAABBBBCCCCDDDD\"}}"),
         1007, 1008},
        {WITH_PART(
             "gpt-4o-mini",
             "{\"type\":\"image_url\",\"image_url\":{\"detail\":\"low\",\"detail\":\"high\"}}"),
         1112, 7 + 2833 + 8 * 5667},
        {WITH_PART("gpt-4o",
                   "{\"type\":\"text\",\"text\":\"1234\",\"image_url\":{\"url\":\"https://a\"}}"),
         1113, 1611},
        {"{\"model\":\"m\",\"messages\":[{\"role\":\"assistant\",\"audio\":{\"id\":\"a\"}}]}", 7,
         1012},
        {"{\"model\":\"m\",\"messages\":[],\"tools\":[]}", 4, 355},
    };

    (void)state;
    for (size_t i = 0; i < GW_ARRAY_LEN(cases); i++) {
        prompt_tokens n = tokens_of(ENDPOINT_CHAT, cases[i].json);
        if (n.usual != cases[i].usual || n.most != cases[i].most)
            fail_msg("%s: %lld %lld", cases[i].json, (long long)n.usual, (long long)n.most);
    }
}

/* Of a body with "@" in it, each of which is the text. */
static prompt_tokens tokens_with(relay_endpoint endpoint, const char *json, const char *text)
{
    gw_auto_buf whole = {0};

    for (const char *c = json; *c; c++) {
        if (*c == '@')
            gw_buf_append_c(&whole, text);
        else
            gw_buf_append_char(&whole, *c);
    }
    return tokens_of(endpoint, whole.data);
}

/* A text of 1,000 words somewhere in the body: which of two members a provider reads, and what it makes of others, is its own choice. */
static void whatever_may_be_text_to_a_provider_is_held_for(void **state)
{
#define MESSAGE(members) "{\"model\":\"gpt-4o\",\"messages\":[{\"role\":\"user\"," members "}]}"
#define PART(members)    MESSAGE("\"content\":[{" members "}]")
    static const struct {
        const char *json; /* "@": the text */
        bool is_counted; /* for bills, too */
        relay_endpoint endpoint;
    } cases[] = {
        {MESSAGE("\"content\":\"@\""), true, ENDPOINT_CHAT},
        {MESSAGE("\"content\":\"x\",\"content\":\"@\""), true, ENDPOINT_CHAT},
        {MESSAGE("\"content\":\"x\",\"Content\":\"@\""), true, ENDPOINT_CHAT},
        {MESSAGE("\"content\":{\"parts\":\"@\"}"), false, ENDPOINT_CHAT},
        {MESSAGE("\"refusal\":\"@\""), true, ENDPOINT_CHAT},
        {MESSAGE("\"reasoning_content\":\"@\""), false, ENDPOINT_CHAT},
        {MESSAGE("\"thinking_blocks\":[{\"thinking\":\"@\"}]"), false, ENDPOINT_CHAT},
        {MESSAGE("\"function_call\":{\"name\":\"f\",\"arguments\":\"@\"}"), true, ENDPOINT_CHAT},
        {MESSAGE(
             "\"tool_calls\":[{\"type\":\"custom\",\"custom\":{\"name\":\"f\",\"input\":\"@\"}}]"),
         true, ENDPOINT_CHAT},
        {MESSAGE("\"tool_calls\":[{\"function\":{\"arguments\":\"{}\"},\"function\":{\"arguments\":"
                 "\"@\"}}]"),
         true, ENDPOINT_CHAT},
        {PART("\"type\":\"text\",\"text\":\"x\",\"text\":\"@\""), true, ENDPOINT_CHAT},
        {PART("\"type\":\"note\",\"note\":{\"content\":\"@\"}"), false, ENDPOINT_CHAT},
        {PART("\"type\":\"@\",\"text\":\"x\""), false, ENDPOINT_CHAT},
        {"{\"model\":\"m\",\"messages\":[],\"documents\":[{\"text\":\"@\"}]}", false,
         ENDPOINT_CHAT},
        {"{\"model\":\"m\",\"messages\":[],\"chat_template\":\"@\"}", false, ENDPOINT_CHAT},
        {"{\"model\":\"m\",\"prompt\":\"x\",\"suffix\":\"@\"}", true, ENDPOINT_COMPLETIONS},
        {"{\"model\":\"m\",\"prompt\":[[1,2,\"@\"]]}", false, ENDPOINT_COMPLETIONS},
        {"{\"model\":\"m\",\"input\":[{\"text\":\"@\"}]}", true, ENDPOINT_EMBEDDINGS},
        {"{\"model\":\"m\",\"input\":[{\"caption\":\"@\"}]}", false, ENDPOINT_EMBEDDINGS},
    };
    char text[6000];

    (void)state;
    for (size_t at = 0; at < sizeof(text) - 6; at += 6)
        memcpy(text + at, "words ", 7);
    for (size_t i = 0; i < GW_ARRAY_LEN(cases); i++) {
        prompt_tokens n = tokens_with(cases[i].endpoint, cases[i].json, text);
        if (n.most < 1000 || (n.usual >= 1400) != cases[i].is_counted)
            fail_msg("%s: %lld %lld", cases[i].json, (long long)n.usual, (long long)n.most);
    }
}

/* Which are no part of it, or too short to be. */
static void what_stands_beside_the_prompt_is_not_held_for(void **state)
{
    static const char *const others[] = {
#define WITH(members) "{\"model\":\"m\",\"messages\":[]," members "}"
        WITH("\"metadata\":{\"@\":\"@\"}"),
        WITH("\"user\":\"@\",\"store\":true,\"temperature\":0.5"),
        WITH("\"stop\":[\"@\",\"@\"]"),
        WITH("\"reasoning_effort\":\"low\",\"tool_choice\":\"auto\",\"seed\":17"),
    };
    char text[2001];

    (void)state;
    memset(text, 'a', sizeof(text) - 1);
    text[sizeof(text) - 1] = '\0';
    for (size_t i = 0; i < GW_ARRAY_LEN(others); i++) {
        prompt_tokens n = tokens_with(ENDPOINT_CHAT, others[i], text);
        if (n.usual != 3 || n.most != 3)
            fail_msg("%s: %lld %lld", others[i], (long long)n.usual, (long long)n.most);
    }
}

static int64_t predicted(const char *json, bool for_hold)
{
    gw_auto(gw_arena) arena = gw_arena_new();
    openai_body b;
    gw_error err;

    assert_int_equal(openai_body_read(arena, ENDPOINT_CHAT, gw_str_of(json), &b, &err), GW_OK);
    return predicted_tokens(&b, for_hold);
}

/* By all that is in it: of two members of a name a provider may read either. */
static void a_prediction_counts_by_its_json_text(void **state)
{
    (void)state;
#define PREDICTED(more)                                                                            \
    "{\"model\":\"m\",\"messages\":[],\"prediction\":{\"type\":\"content\"," more "}}"
    assert_int_equal(predicted("{\"model\":\"m\",\"messages\":[]}", true), 0);
    assert_int_equal(predicted("{\"model\":\"m\",\"messages\":[],\"prediction\":null}", false), 0);
    int64_t one = predicted(PREDICTED("\"content\":\"some words of an answer\""), true);
    int64_t parts = predicted(
        PREDICTED("\"content\":[{\"type\":\"text\",\"text\":\"some words of an answer\"}]"), true);
    int64_t twice =
        predicted(PREDICTED("\"content\":\"\",\"content\":\"some words of an answer\""), true);
    assert_true(one >= 5 && parts > one && twice > one);
    assert_true(predicted(PREDICTED("\"content\":\"some words of an answer\""), false) <= one);
}

/* Of models whose output costs four times their input, as most do. */
static void the_hold_of_a_short_request_is_at_most_three_times_its_cost(void **state)
{
    static const struct {
        const char *text;
        int64_t tokens; /* of o200k_base, with the seven around a message */
    } cases[] = {
        {"Hello there", 9},
        {"What is the capital of France?", 14},
        {"Translate 'good morning' into German.", 15},
        {"Name three rivers.", 11},
        {"2+2=?", 11},
        {"Привет, как дела?", 13},
        {"今日はいい天気ですね", 12},
    };
    const int64_t answer = 40, output_price = 4;

    (void)state;
    for (size_t i = 0; i < GW_ARRAY_LEN(cases); i++) {
        char json[512];
        (void)snprintf(json, sizeof(json),
                       "{\"model\":\"m\",\"messages\":[{\"role\":\"user\",\"content\":\"%s\"}]}",
                       cases[i].text);
        int64_t most = tokens_of(ENDPOINT_CHAT, json).most;
        assert_true(most >= cases[i].tokens);
        assert_true(most + answer * output_price <= 3 * (cases[i].tokens + answer * output_price));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(text_is_measured_the_same_wherever_characters_stand),
        cmocka_unit_test(prompts_are_estimated_by_the_stated_rule),
        cmocka_unit_test(holds_suffice_for_texts_that_were_not_made_to_be_expensive),
        cmocka_unit_test(the_hold_of_a_short_request_is_at_most_three_times_its_cost),
        cmocka_unit_test(whatever_may_be_text_to_a_provider_is_held_for),
        cmocka_unit_test(what_stands_beside_the_prompt_is_not_held_for),
        cmocka_unit_test(a_prediction_counts_by_its_json_text),
        cmocka_unit_test(images_tools_and_files_are_held_for_at_their_largest),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
