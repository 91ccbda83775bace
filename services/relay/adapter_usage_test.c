/* Who sees the usage that a provider of the OpenAI dialect says beside its choices. */
#include "adapter_test_kit.h"

#define USAGE                                                                                      \
    "{\"prompt_tokens\":9,\"completion_tokens\":3,\"total_tokens\":12,\"x\":{\"usage\":[]}}"
#define ROLE(usage)                                                                                \
    "data: {\"id\":\"c\",\"usage\":" usage                                                         \
    ",\"choices\":[{\"index\":0,\"delta\":{\"role\":\"assistant\"},"                               \
    "\"finish_reason\":null}]}\n\n"
#define SAID(usage)                                                                                \
    "data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\"say \\\"usage\\\":1\"},"            \
    "\"finish_reason\":\"stop\"}], \"usage\" : " usage " }\n\n"
#define END "data: [DONE]\n\n"

static const char stream[] = "{\"model\":\"m\",\"messages\":[],\"stream\":true}";
static const char asked[] =
    "{\"model\":\"m\",\"messages\":[],\"stream\":true,\"stream_options\":{\"include_usage\":true}}";

static void who_did_not_ask_sees_no_usage_beside_choices(void **state)
{
    fixture *f = *state;
    const provider_kind kinds[] = {PROVIDER_OPENAI, PROVIDER_LOCAL};

    for (size_t i = 0; i < GW_ARRAY_LEN(kinds); i++) {
        ask(f, kinds[i], ENDPOINT_CHAT, stream);
        assert_int_equal(play(f, ROLE(USAGE) SAID(USAGE) END), GW_OK);
        assert_string_equal(f->sent.data, "(" ROLE("null") ")" SAID("null") END);
        assert_int_equal(f->tap.total_tokens, 12);
    }
}

/* Callers take the last of two, and some the first. */
static void a_usage_that_is_there_twice_is_hidden_twice(void **state)
{
    fixture *f = *state;

    ask(f, PROVIDER_LOCAL, ENDPOINT_CHAT, stream);
    assert_int_equal(play(f, SAID(USAGE ",\"usage\":" USAGE) END), GW_OK);
    assert_string_equal(f->sent.data, SAID("null,\"usage\":null") END);
}

static void who_asked_gets_each_chunk_as_it_came(void **state)
{
    fixture *f = *state;

    ask(f, PROVIDER_LOCAL, ENDPOINT_CHAT, asked);
    assert_int_equal(play(f, ROLE(USAGE) SAID(USAGE) END), GW_OK);
    assert_string_equal(f->sent.data, "(" ROLE(USAGE) ")" SAID(USAGE) END);
    ask(f, PROVIDER_LOCAL, ENDPOINT_CHAT, stream);
    f->policy.is_librechat = true;
    assert_int_equal(play(f, SAID(USAGE) END), GW_OK);
    assert_string_equal(f->sent.data, SAID(USAGE) END);
}

static void chunks_after_such_a_one_pass_byte_for_byte(void **state)
{
    static const char odd[] =
        "data:{ \"choices\" : [{\"delta\":{\"content\":\"x\"}}] , \"usage\":null}\r\n\r\n";
    fixture *f = *state;
    gw_auto_buf in = {0}, expected = {0};

    ask(f, PROVIDER_LOCAL, ENDPOINT_CHAT, stream);
    gw_buf_appendf(&in, "%s%s%s", SAID(USAGE), odd, END);
    gw_buf_appendf(&expected, "%s%s%s", SAID("null"), odd, END);
    assert_int_equal(play(f, in.data), GW_OK);
    assert_string_equal(f->sent.data, expected.data);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(who_did_not_ask_sees_no_usage_beside_choices),
        TEST(a_usage_that_is_there_twice_is_hidden_twice),
        TEST(who_asked_gets_each_chunk_as_it_came),
        TEST(chunks_after_such_a_one_pass_byte_for_byte),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
