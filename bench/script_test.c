#include "script.h"

#include "testing/cmocka.h"

static void a_plain_model_asks_for_the_plain_answer(void **state)
{
    (void)state;
    script s = script_of_body(GW_STR("{\"model\":\"gpt-4o-mini\",\"messages\":[]}"));
    assert_int_equal(s.size_bytes, 0);
    assert_int_equal(s.chunks, 0);
}

static void a_size_is_read(void **state)
{
    (void)state;
    script s = script_of_body(GW_STR("{\"stream\":false,\"model\":\"gpt-4o-mini+size-65536\"}"));
    assert_int_equal(s.size_bytes, 65536);
    assert_int_equal(s.chunks, 0);
}

static void a_stream_is_read(void **state)
{
    (void)state;
    script s = script_of_body(GW_STR("{\"model\":\"gpt-4o-mini+sse-250-25\"}"));
    assert_int_equal(s.chunks, 250);
    assert_int_equal(s.chunks_per_s, 25);
}

static void what_is_no_script_asks_for_the_plain_answer(void **state)
{
    (void)state;
    static const char *const bodies[] = {
        "",
        "{}",
        "{\"model\":\"gpt-4o-mini+sse-250\"}",
        "{\"model\":\"gpt-4o-mini+sse-0-25\"}",
        "{\"model\":\"gpt-4o-mini+sse-5-x\"}",
        "{\"model\":\"gpt-4o-mini+size--4\"}",
    };
    for (size_t i = 0; i < GW_ARRAY_LEN(bodies); i++) {
        script s = script_of_body(gw_str_of(bodies[i]));
        assert_int_equal(s.size_bytes, 0);
        assert_int_equal(s.chunks, 0);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_plain_model_asks_for_the_plain_answer),
        cmocka_unit_test(a_size_is_read),
        cmocka_unit_test(a_stream_is_read),
        cmocka_unit_test(what_is_no_script_asks_for_the_plain_answer),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
