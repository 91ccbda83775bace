#include "unpriced_extra.h"

#include "testing/cmocka.h"

static const char *extra_in(relay_endpoint endpoint, const char *members)
{
    gw_auto(gw_arena) arena = gw_arena_new();
    gw_auto_buf text = {0};
    openai_body body;
    gw_error err;

    gw_buf_appendf(&text, "{\"model\":\"m\",\"max_tokens\":1,%s}", members);
    assert_int_equal(openai_body_read(arena, endpoint, gw_buf_str(&text), &body, &err), GW_OK);
    return unpriced_extra(&body, endpoint);
}

#define HELLO      "\"messages\":[{\"role\":\"user\",\"content\":\"hi\"}]"
#define PARTS(...) "\"messages\":[{\"role\":\"user\",\"content\":[" __VA_ARGS__ "]}]"

static void what_is_billed_beside_tokens_is_found_by_name(void **state)
{
    (void)state;
    static const struct {
        relay_endpoint endpoint;
        const char *members, *found;
    } cases[] = {
        {ENDPOINT_MESSAGES, HELLO, NULL},
        {ENDPOINT_MESSAGES, HELLO ",\"tools\":[{\"name\":\"web_search\",\"input_schema\":{}}]",
         NULL},
        {ENDPOINT_MESSAGES, HELLO ",\"tools\":[{\"type\":\"web_fetch_20250910\"}]", NULL},
        {ENDPOINT_MESSAGES,
         HELLO ",\"tools\":[{\"type\":\"custom\"},{\"type\":\"web_search_20250305\"}]", "tools"},
        {ENDPOINT_MESSAGES, HELLO ",\"tools\":[{\"type\":\"custom\",\"type\":\"web_search_1\"}]",
         "tools"},
        {ENDPOINT_MESSAGES, HELLO ",\"inference_geo\":\"us\"", "inference_geo"},
        {ENDPOINT_MESSAGES, HELLO ",\"inference_geo\":\"global\"", NULL},
        {ENDPOINT_MESSAGES, HELLO ",\"inference_geo\":null", NULL},
        {ENDPOINT_CHAT, HELLO, NULL},
        {ENDPOINT_CHAT, HELLO ",\"modalities\":[\"text\"]", NULL},
        {ENDPOINT_CHAT, HELLO ",\"modalities\":[\"text\",\"audio\"]", "modalities"},
        {ENDPOINT_CHAT, HELLO ",\"web_search_options\":{}", "web_search_options"},
        {ENDPOINT_CHAT, HELLO ",\"web_search_options\":null", NULL},
        {ENDPOINT_CHAT, PARTS("{\"type\":\"text\",\"text\":\"input_audio\"}"), NULL},
        {ENDPOINT_CHAT,
         PARTS("{\"type\":\"text\",\"text\":\"a\"},{\"type\":\"input_audio\",\"input_audio\":{}}"),
         "messages"},
        {ENDPOINT_CHAT, HELLO ",\"inference_geo\":\"us\"", NULL},
    };

    for (size_t i = 0; i < GW_ARRAY_LEN(cases); i++) {
        const char *found = extra_in(cases[i].endpoint, cases[i].members);
        print_message("%s\n", cases[i].members);
        assert_int_equal(!found, !cases[i].found);
        if (found)
            assert_string_equal(found, cases[i].found);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_billed_beside_tokens_is_found_by_name),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
