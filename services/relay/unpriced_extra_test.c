#include "unpriced_extra.h"

#include "testing/cmocka.h"

static unsigned extras_in(relay_endpoint endpoint, const char *members)
{
    gw_auto(gw_arena) arena = gw_arena_new();
    gw_auto_buf text = {0};
    openai_body body;
    gw_error err;

    gw_buf_appendf(&text, "{\"model\":\"m\",\"max_tokens\":1,%s}", members);
    assert_int_equal(openai_body_read(arena, endpoint, gw_buf_str(&text), &body, &err), GW_OK);
    return unpriced_extras(&body, endpoint);
}

#define HELLO      "\"messages\":[{\"role\":\"user\",\"content\":\"hi\"}]"
#define PARTS(...) "\"messages\":[{\"role\":\"user\",\"content\":[" __VA_ARGS__ "]}]"
#define SOUND_DOCUMENT                                                                             \
    "{\"type\":\"document\",\"source\":{\"type\":\"base64\",\"media_type\":\"audio/"               \
    "mp3\",\"data\":"                                                                              \
    "\"AA==\"}}"

static void what_is_billed_beside_tokens_is_found_by_name(void **state)
{
    (void)state;
    static const struct {
        relay_endpoint endpoint;
        const char *members;
        unsigned found;
    } cases[] = {
        {ENDPOINT_MESSAGES, HELLO, 0},
        {ENDPOINT_MESSAGES, HELLO ",\"tools\":[{\"name\":\"web_search\",\"input_schema\":{}}]", 0},
        {ENDPOINT_MESSAGES, HELLO ",\"tools\":[{\"type\":\"web_fetch_20250910\"}]", 0},
        {ENDPOINT_MESSAGES,
         HELLO ",\"tools\":[{\"type\":\"custom\"},{\"type\":\"web_search_20250305\"}]",
         EXTRA_SEARCHES},
        {ENDPOINT_MESSAGES, HELLO ",\"tools\":[{\"type\":\"custom\",\"type\":\"web_search_1\"}]",
         EXTRA_SEARCHES},
        {ENDPOINT_MESSAGES, HELLO ",\"inference_geo\":\"us\"", EXTRA_PLACE},
        {ENDPOINT_MESSAGES, HELLO ",\"inference_geo\":\"global\"", 0},
        {ENDPOINT_MESSAGES, HELLO ",\"inference_geo\":null", 0},
        {ENDPOINT_CHAT, HELLO, 0},
        {ENDPOINT_CHAT, HELLO ",\"modalities\":[\"text\"]", 0},
        {ENDPOINT_CHAT, HELLO ",\"modalities\":[\"text\",\"audio\"]", EXTRA_SOUND_OUT},
        {ENDPOINT_CHAT, HELLO ",\"web_search_options\":{}", EXTRA_SEARCH},
        {ENDPOINT_CHAT, HELLO ",\"web_search_options\":null", 0},
        {ENDPOINT_CHAT, PARTS("{\"type\":\"text\",\"text\":\"input_audio\"}"), 0},
        {ENDPOINT_CHAT,
         PARTS("{\"type\":\"text\",\"text\":\"a\"},{\"type\":\"input_audio\",\"input_audio\":{}}"),
         EXTRA_SOUND_IN},
        {ENDPOINT_CHAT,
         PARTS("{\"type\":\"file\",\"file\":{\"file_data\":\"data:Audio/mp3;base64,AA==\"}}"),
         EXTRA_SOUND_IN},
        {ENDPOINT_CHAT,
         PARTS("{\"type\":\"file\",\"file\":{\"file_data\":\"data:text/csv;base64,AA==\"}}"), 0},
        {ENDPOINT_CHAT, PARTS("{\"type\":\"image_url\",\"image_url\":\"data:audio/wav;base64,A\"}"),
         EXTRA_SOUND_IN},
        {ENDPOINT_CHAT, PARTS("{\"type\":\"text\",\"text\":\"data:audio/wav;base64,A\"}"), 0},
        {ENDPOINT_MESSAGES, PARTS(SOUND_DOCUMENT), EXTRA_SOUND_IN},
        {ENDPOINT_MESSAGES,
         PARTS("{\"type\":\"tool_use\",\"input\":{\"media_type\":\"audio/mp3\"}}"), 0},
        {ENDPOINT_MESSAGES, PARTS("{\"type\":\"tool_result\",\"content\":[" SOUND_DOCUMENT "]}"),
         EXTRA_SOUND_IN},
        {ENDPOINT_CHAT,
         "\"web_search_options\":{},\"modalities\":[\"audio\"]," PARTS(
             "{\"type\":\"input_audio\"}"),
         EXTRA_SEARCH | EXTRA_SOUND_OUT | EXTRA_SOUND_IN},
        {ENDPOINT_CHAT, HELLO ",\"inference_geo\":\"us\"", 0},
    };

    for (size_t i = 0; i < GW_ARRAY_LEN(cases); i++) {
        print_message("%s\n", cases[i].members);
        assert_int_equal(extras_in(cases[i].endpoint, cases[i].members), cases[i].found);
    }
}

static void each_has_a_member_that_asks_for_it(void **state)
{
    (void)state;
    assert_null(unpriced_extras_member(0));
    assert_string_equal(unpriced_extras_member(EXTRA_SEARCHES), "tools");
    assert_string_equal(unpriced_extras_member(EXTRA_PLACE), "inference_geo");
    assert_string_equal(unpriced_extras_member(EXTRA_SEARCH), "web_search_options");
    assert_string_equal(unpriced_extras_member(EXTRA_SOUND_OUT), "modalities");
    assert_string_equal(unpriced_extras_member(EXTRA_SOUND_IN), "messages");
}

static void sound_is_sent_to_google_too(void **state)
{
    (void)state;
    const unsigned all =
        EXTRA_SEARCHES | EXTRA_PLACE | EXTRA_SEARCH | EXTRA_SOUND_OUT | EXTRA_SOUND_IN;

    assert_int_equal(unpriced_extras_sent(all, PROVIDER_OPENAI, true), all);
    assert_int_equal(unpriced_extras_sent(all, PROVIDER_GOOGLE, false), EXTRA_SOUND_IN);
    assert_int_equal(unpriced_extras_sent(all, PROVIDER_ANTHROPIC, false), 0);
    assert_int_equal(unpriced_extras_sent(all, PROVIDER_LIBRECHAT, false), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_billed_beside_tokens_is_found_by_name),
        cmocka_unit_test(each_has_a_member_that_asks_for_it),
        cmocka_unit_test(sound_is_sent_to_google_too),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
