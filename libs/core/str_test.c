#include "core/str.h"

#include "testing/cmocka.h"

#define S(text) GW_STR(text)

static void comparison_is_by_bytes_and_length(void **state)
{
    (void)state;
    assert_true(gw_str_eq(GW_STR_NULL, S("")));
    assert_false(gw_str_eq(S("a"), S("ab")));
    assert_true(gw_str_eq_c(S("abc"), "abc"));
    assert_false(gw_str_eq_c(S("abc"), "abd"));
    assert_true(gw_str_eq_c(GW_STR_NULL, NULL));
    assert_int_equal(gw_str_cmp(S("a"), S("b")), -1);
    assert_int_equal(gw_str_cmp(S("b"), S("a")), 1);
    assert_int_equal(gw_str_cmp(S("a"), S("ab")), -1);
    assert_int_equal(gw_str_cmp(S("ab"), S("a")), 1);
    assert_int_equal(gw_str_cmp(GW_STR_NULL, S("")), 0);
    assert_int_equal(gw_str_cmp(S("\x80"), S("\x7f")), 1);
}

static void folding_is_ascii_only(void **state)
{
    (void)state;
    assert_true(gw_str_eq_nocase(S("Content-TYPE"), S("content-type")));
    assert_false(gw_str_eq_nocase(S("a"), S("ab")));
    assert_false(gw_str_eq_nocase(S("@"), S("`")));
    assert_false(gw_str_eq_nocase(S("["), S("{")));
    assert_false(gw_str_eq_nocase(S("\xc3\x84"), S("\xc3\xa4")));
    assert_true(gw_str_eq_nocase(GW_STR_NULL, S("")));
}

static void parts_are_found_and_cut(void **state)
{
    (void)state;
    assert_true(gw_str_starts_with(S("abc"), S("ab")));
    assert_true(gw_str_starts_with(S("abc"), S("")));
    assert_true(gw_str_starts_with(GW_STR_NULL, GW_STR_NULL));
    assert_false(gw_str_starts_with(S("a"), S("ab")));
    assert_true(gw_str_ends_with(S("abc"), S("bc")));
    assert_false(gw_str_ends_with(S("c"), S("bc")));
    assert_true(gw_str_contains(S("aab"), S("ab")));
    assert_true(gw_str_contains(S("x"), S("")));
    assert_false(gw_str_contains(S("aaaa"), S("ab")));
    assert_false(gw_str_contains(GW_STR_NULL, S("a")));
    assert_int_equal(gw_str_find(S("abc"), 'c'), 2);
    assert_int_equal(gw_str_find(S("abc"), 'x'), -1);
    assert_int_equal(gw_str_find(GW_STR_NULL, '\0'), -1);
    assert_true(gw_str_eq(gw_str_slice(S("abc"), 1, 99), S("bc")));
    assert_true(gw_str_eq(gw_str_slice(S("abc"), 5, 9), S("")));
    assert_true(gw_str_eq(gw_str_slice(S("abc"), 2, 1), S("")));
    assert_true(gw_str_eq(gw_str_slice(GW_STR_NULL, 1, 2), S("")));
    assert_true(gw_str_eq(gw_str_trim(S(" \t a b \t")), S("a b")));
    assert_true(gw_str_eq(gw_str_trim(S(" \t ")), S("")));
    assert_true(gw_str_eq(gw_str_trim(S("\na")), S("\na")));
}

static void splitting_keeps_empty_parts(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        size_t parts;
        const char *joined;
    } cases[] = {
        {"a,b", 2, "a|b|"}, {"a", 1, "a|"}, {"", 1, "|"},     {"a,", 2, "a||"},
        {",a", 2, "|a|"},   {",", 2, "||"}, {",,", 3, "|||"}, {NULL, 0, NULL},
    };
    for (size_t i = 0; i < GW_ARRAY_LEN(cases); i++) {
        gw_str rest = gw_str_of(cases[i].text);
        gw_str part;
        size_t n = 0;
        gw_auto_buf joined = {0};
        while (gw_str_split(&rest, ',', &part)) {
            gw_buf_append_str(&joined, part);
            gw_buf_append_char(&joined, '|');
            n++;
        }
        assert_int_equal(n, cases[i].parts);
        if (n > 0)
            assert_string_equal(joined.data, cases[i].joined);
    }
}

static void whole_strings_become_integers(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        bool ok;
        int64_t value;
    } cases[] = {
        {"0", true, 0},
        {"-0", true, 0},
        {"007", true, 7},
        {"-12", true, -12},
        {"9223372036854775807", true, INT64_MAX},
        {"-9223372036854775808", true, INT64_MIN},
        {"9223372036854775808", false, 0},
        {"-9223372036854775809", false, 0},
        {"99999999999999999999999", false, 0},
        {"", false, 0},
        {"-", false, 0},
        {"+1", false, 0},
        {"--1", false, 0},
        {" 1", false, 0},
        {"1 ", false, 0},
        {"1.0", false, 0},
        {"0x10", false, 0},
        {"1e3", false, 0},
        {"\xd9\xa1", false, 0}, /* an Arabic digit */
    };
    for (size_t i = 0; i < GW_ARRAY_LEN(cases); i++) {
        int64_t value = 4711;
        assert_int_equal(gw_str_to_int64(gw_str_of(cases[i].text), &value), cases[i].ok);
        assert_true(value == (cases[i].ok ? cases[i].value : 4711));
    }
    uint64_t u = 5;
    assert_true(gw_str_to_uint64(S("18446744073709551615"), &u));
    assert_true(u == UINT64_MAX);
    assert_false(gw_str_to_uint64(S("18446744073709551616"), &u));
    assert_false(gw_str_to_uint64(S("-1"), &u));
    assert_false(gw_str_to_uint64(GW_STR_NULL, &u));
    assert_false(gw_str_to_uint64(gw_str_n("1\0", 2), &u));
    assert_true(u == UINT64_MAX);
}

static void whole_strings_become_doubles(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        bool ok;
        double value;
    } cases[] = {
        {"0", true, 0},         {"-1.5", true, -1.5}, {"1e3", true, 1000}, {"2.5E-1", true, 0.25},
        {"1e308", true, 1e308}, {"1e-400", true, 0},  {"1e309", false, 0}, {"inf", false, 0},
        {"nan", false, 0},      {"0x1p3", false, 0},  {"", false, 0},      {".5", false, 0},
        {"5.", false, 0},       {"+1", false, 0},     {" 1", false, 0},    {"1 ", false, 0},
        {"1e", false, 0},       {"1e+", false, 0},    {"1,5", false, 0},   {"-", false, 0},
    };
    for (size_t i = 0; i < GW_ARRAY_LEN(cases); i++) {
        double value = 47.11;
        assert_int_equal(gw_str_to_double(gw_str_of(cases[i].text), &value), cases[i].ok);
        assert_true(value == (cases[i].ok ? cases[i].value : 47.11));
    }
    char digits[300]; /* longer than what is parsed on the stack */
    memset(digits, '0', sizeof(digits));
    digits[1] = '.';
    digits[sizeof(digits) - 1] = '5';
    double value = -1;
    assert_true(gw_str_to_double(gw_str_n(digits, sizeof(digits)), &value));
    assert_true(value > 0 && value < 1e-290);
}

static void utf8_is_checked_exactly(void **state)
{
    (void)state;
    static const struct {
        const char *name;
        const char *text;
        bool ok;
    } cases[] = {
        {"empty", "", true},
        {"ascii", "hello, world: more than eight bytes", true},
        {"delete", "\x7f", true},
        {"first of 2", "\xc2\x80", true},
        {"last of 2", "\xdf\xbf", true},
        {"first of 3", "\xe0\xa0\x80", true},
        {"before the surrogates", "\xed\x9f\xbf", true},
        {"after the surrogates", "\xee\x80\x80", true},
        {"last of 3", "\xef\xbf\xbf", true},
        {"first of 4", "\xf0\x90\x80\x80", true},
        {"U+10FFFF", "\xf4\x8f\xbf\xbf", true},
        {"ascii then a letter", "12345678\xc3\xa4", true},
        {"lone continuation", "\x80", false},
        {"overlong slash", "\xc0\xaf", false},
        {"overlong c1", "\xc1\xbf", false},
        {"overlong of 3", "\xe0\x9f\xbf", false},
        {"overlong of 4", "\xf0\x8f\xbf\xbf", false},
        {"first surrogate", "\xed\xa0\x80", false},
        {"last surrogate", "\xed\xbf\xbf", false},
        {"above U+10FFFF", "\xf4\x90\x80\x80", false},
        {"f5", "\xf5\x80\x80\x80", false},
        {"ff", "\xff", false},
        {"cut of 2", "\xc3", false},
        {"cut of 3", "\xe2\x82", false},
        {"cut of 4", "\xf0\x9f\x98", false},
        {"third byte bad",
         "\xe2\x82"
         "a",
         false},
        {"bad in the second word", "12345678\xff", false},
        {"bad behind seven", "1234567\x80", false},
    };
    for (size_t i = 0; i < GW_ARRAY_LEN(cases); i++) {
        if (gw_str_is_utf8(gw_str_of(cases[i].text)) != cases[i].ok)
            fail_msg("%s", cases[i].name);
    }
    assert_true(gw_str_is_utf8(gw_str_n("a\0b", 3)));
    assert_true(gw_str_is_utf8(GW_STR_NULL));
}

/* The definition, spelled out: every code point encoded, everything else refused. */
static void every_three_byte_sequence_agrees_with_the_definition(void **state)
{
    (void)state;
    for (uint32_t bits = 0; bits < 0x1000000;
         bits += 7) { /* every lead and continuation byte occurs */
        unsigned char s[3] = {(unsigned char)(bits >> 16 | 0x80), (unsigned char)(bits >> 8),
                              (unsigned char)bits};
        uint32_t point = (s[0] & 0x0fu) << 12 | (s[1] & 0x3fu) << 6 | (s[2] & 0x3fu);
        bool one = (s[0] & 0xf0) == 0xe0 && (s[1] & 0xc0) == 0x80 && (s[2] & 0xc0) == 0x80 &&
                   point >= 0x800 && (point < 0xd800 || point > 0xdfff);
        bool two = (s[0] & 0xe0) == 0xc0 && s[0] >= 0xc2 && (s[1] & 0xc0) == 0x80 && s[2] < 0x80;
        assert_int_equal(gw_str_is_utf8(gw_str_n(s, 3)), one || two);
    }
}

static void cuts_fall_between_characters(void **state)
{
    (void)state;
    gw_str s = S("a\xc3\xa4\xe2\x82\xac\xf0\x9f\x98\x80"); /* 1 + 2 + 3 + 4 bytes */
    static const size_t expected[] = {0, 1, 1, 3, 3, 3, 6, 6, 6, 6, 10, 10};
    for (size_t max = 0; max < GW_ARRAY_LEN(expected); max++)
        assert_int_equal(gw_str_utf8_cut(s, max), expected[max]);
    assert_int_equal(gw_str_utf8_cut(GW_STR_NULL, 0), 0);
    assert_int_equal(gw_str_utf8_cut(S("\x80\x80\x80\x80\x80\x80"), 5), 5);
}

static void control_characters_are_noticed(void **state)
{
    (void)state;
    assert_false(gw_str_has_control(S("plain \xc3\xa4")));
    assert_true(gw_str_has_control(S("a\n")));
    assert_true(gw_str_has_control(S("\x7f")));
    assert_true(gw_str_has_control(gw_str_n("a\0", 2)));
    assert_false(gw_str_has_control(GW_STR_NULL));
}

static void labels_are_text_that_is_seen_as_it_is(void **state)
{
    (void)state;
    static const char *const labels[] = {"a",
                                         "Kosten \xc3\xbc"
                                         "ber 10",
                                         " a ",
                                         "\xc2\xa0.",
                                         "\xe2\x80\xa7",
                                         "\xe2\x81\xa5",
                                         "\xd7\x90\xe2\x80\x8f",
                                         "\xf0\x9f\x94\x91"};
    static const char *const others[] = {
        "",
        " ",
        "\xc2\xa0 \xe3\x80\x80\xe2\x80\x8b", /* other spaces */
        "a\n",
        "a\x7f",
        "a\xc2\x80", /* U+0080 */
        "a\xc2\x9f",
        "a\xe2\x80\xa8", /* U+2028 */
        "a\xe2\x80\xa9",
        "a\xe2\x80\xaa", /* U+202A */
        "a\xe2\x80\xae",
        "a\xe2\x81\xa6", /* U+2066 */
        "a\xe2\x81\xa9",
        "a\xff",
        "a\xc2",
    };
    for (size_t i = 0; i < GW_ARRAY_LEN(labels); i++)
        if (!gw_str_is_label(gw_str_of(labels[i])))
            fail_msg("no label: %zu", i);
    for (size_t i = 0; i < GW_ARRAY_LEN(others); i++)
        if (gw_str_is_label(gw_str_of(others[i])))
            fail_msg("a label: %zu", i);
    assert_false(gw_str_is_label(gw_str_n("a\0", 2)));
    assert_false(gw_str_is_label(GW_STR_NULL));
}

static void copies_are_terminated(void **state)
{
    (void)state;
    gw_auto_free char *copy = gw_str_dup(gw_str_n("abcd", 2));
    assert_string_equal(copy, "ab");
    gw_auto_free char *empty = gw_str_dup(GW_STR_NULL);
    assert_string_equal(empty, "");
}

static void integers_are_written_in_decimal(void **state)
{
    (void)state;
    static const struct {
        int64_t value;
        const char *text;
    } cases[] = {{0, "0"},
                 {7, "7"},
                 {-1, "-1"},
                 {1000, "1000"},
                 {INT64_MAX, "9223372036854775807"},
                 {INT64_MIN, "-9223372036854775808"}};
    for (size_t i = 0; i < GW_ARRAY_LEN(cases); i++) {
        char text[GW_INT_TEXT_SIZE];
        assert_int_equal(gw_int_format(cases[i].value, text), strlen(cases[i].text));
        assert_string_equal(text, cases[i].text);
    }
}

/* Each byte at each place of some words and a rest: what is done eight or sixteen at a time must not differ from one at a time. */
static void text_is_looked_at_the_same_wherever_a_byte_stands(void **state)
{
    (void)state;
    for (unsigned byte = 0; byte < 256; byte++) {
        bool is_control = byte < 0x20 || byte == 0x7f;
        bool is_plain = !is_control && byte < 0x80 && byte != '"' && byte != '\\';
        for (size_t at = 0; at < 43; at++) {
            char text[] = "abcdefgh ABCDEFGH.abcdefgh ABCDEFGH.abcdefg";
            text[at] = (char)byte;
            gw_str s = gw_str_n(text, at < 19 ? 19 : 43);
            assert_int_equal(gw_str_has_control(s), is_control);
            assert_int_equal(gw_str_plain_prefix(s), is_plain ? s.len : at);
            assert_int_equal(gw_str_is_utf8(s), byte < 0x80);
        }
    }
    assert_int_equal(gw_str_plain_prefix(GW_STR_NULL), 0);
    assert_false(gw_str_has_control(GW_STR_NULL));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(integers_are_written_in_decimal),
        cmocka_unit_test(text_is_looked_at_the_same_wherever_a_byte_stands),
        cmocka_unit_test(comparison_is_by_bytes_and_length),
        cmocka_unit_test(folding_is_ascii_only),
        cmocka_unit_test(parts_are_found_and_cut),
        cmocka_unit_test(splitting_keeps_empty_parts),
        cmocka_unit_test(whole_strings_become_integers),
        cmocka_unit_test(whole_strings_become_doubles),
        cmocka_unit_test(utf8_is_checked_exactly),
        cmocka_unit_test(every_three_byte_sequence_agrees_with_the_definition),
        cmocka_unit_test(cuts_fall_between_characters),
        cmocka_unit_test(control_characters_are_noticed),
        cmocka_unit_test(labels_are_text_that_is_seen_as_it_is),
        cmocka_unit_test(copies_are_terminated),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
