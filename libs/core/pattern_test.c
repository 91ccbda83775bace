#include "core/pattern.h"

#include "testing/cmocka.h"

static void globs_match_as_a_reader_expects(void **state)
{
    (void)state;
    static const struct {
        const char *pattern, *text;
        bool match;
    } cases[] = {
        {"", "", true},
        {"", "a", false},
        {"*", "", true},
        {"*", "anything", true},
        {"**", "", true},
        {"?", "", false},
        {"?", "a", true},
        {"?*", "a", true},
        {"gpt-4o", "gpt-4o", true},
        {"gpt-4o", "gpt-4o-mini", false},
        {"gpt-4o", "GPT-4o", false},
        {"gpt-4o*", "gpt-4o-mini", true},
        {"gpt-*-mini", "gpt-4o-mini", true},
        {"gpt-*-mini", "gpt-mini", false},
        {"*mini", "gpt-mini-mini", true},
        {"*mini", "gpt-mini-min", false},
        {"a*b*c", "a1b2b3c", true},
        {"a*b*c", "a1b2b3", false},
        {"a?c", "abc", true},
        {"a?c", "ac", false},
        {"*.example.com", "a.b.example.com", true},
        {"*.example.com", "example.com", false},
        {"[a-z]", "b", false}, /* no other character is special */
        {"[a-z]", "[a-z]", true},
        {"\\*", "*", false},
        {"a*", "b", false},
        {"*a*", "bab", true},
        {"*a?b*", "xaab", true},
    };
    for (size_t i = 0; i < GW_ARRAY_LEN(cases); i++) {
        if (gw_glob_match(gw_str_of(cases[i].pattern), gw_str_of(cases[i].text)) != cases[i].match)
            fail_msg("%s ~ %s", cases[i].pattern, cases[i].text);
    }
}

static void many_stars_end_in_reasonable_time(void **state)
{
    (void)state;
    char pattern[201];
    static char text[20001];
    for (size_t i = 0; i < 200; i += 2)
        memcpy(pattern + i, (const char[]){'*', 'a'}, 2);
    pattern[199] = 'b';
    memset(text, 'a', 20000);
    assert_false(gw_glob_match(gw_str_n(pattern, 200), gw_str_n(text, 20000)));
}

static void patterns_without_wildcards_are_exact(void **state)
{
    (void)state;
    assert_true(gw_glob_is_exact(GW_STR("gpt-4o")));
    assert_true(gw_glob_is_exact(GW_STR_NULL));
    assert_false(gw_glob_is_exact(GW_STR("gpt-*")));
    assert_false(gw_glob_is_exact(GW_STR("gpt-?")));
}

static void the_more_special_of_two_patterns_ranks_higher(void **state)
{
    (void)state;
    static const char *const falling[] = {"gpt-4o-mini", "gpt-4o-????", "gpt-4o*", "gpt-*-mini",
                                          "gpt-?",       "g*t-4o-mini", "*-4o*",   "*"};
    for (size_t i = 1; i < GW_ARRAY_LEN(falling); i++) {
        gw_str special = gw_str_of(falling[i - 1]), general = gw_str_of(falling[i]);
        if (gw_glob_rank(special) <= gw_glob_rank(general))
            fail_msg("%s before %s", falling[i], falling[i - 1]);
        assert_true(gw_glob_rank(general) > 0);
        assert_true(gw_glob_rank(general) <= gw_glob_rank_max(general.len));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(globs_match_as_a_reader_expects),
        cmocka_unit_test(many_stars_end_in_reasonable_time),
        cmocka_unit_test(patterns_without_wildcards_are_exact),
        cmocka_unit_test(the_more_special_of_two_patterns_ranks_higher),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
