#include "dialect.h"

#include "testing/cmocka.h"

static void a_path_says_which_dialect_is_spoken(void **state)
{
    const dialect *openai = dialect_of_path(GW_STR("/v1/chat/completions"));
    const dialect *anthropic = dialect_of_path(GW_STR("/v1/messages"));
    const dialect *google = dialect_of_path(GW_STR("/v1beta/models/gemini:generateContent"));

    (void)state;
    assert_ptr_not_equal(openai, anthropic);
    assert_ptr_not_equal(openai, google);
    assert_ptr_not_equal(anthropic, google);
    assert_ptr_equal(dialect_of_path(GW_STR("/")), openai);
}

static void a_path_of_googles_names_the_model(void **state)
{
    static const struct {
        const char *path, *model;
    } cases[] = {
        {"/v1beta/models/gemini-2.5-flash:generateContent", "gemini-2.5-flash"},
        {"/v1beta/models/gemini%2Bsse-5-1:streamGenerateContent", "gemini%2Bsse-5-1"},
        {"/v1/messages", ""},
    };

    (void)state;
    for (size_t i = 0; i < GW_ARRAY_LEN(cases); i++)
        if (!gw_str_eq_c(dialect_model_of_path(gw_str_of(cases[i].path)), cases[i].model))
            fail_msg("%s", cases[i].path);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_path_says_which_dialect_is_spoken),
        cmocka_unit_test(a_path_of_googles_names_the_model),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
