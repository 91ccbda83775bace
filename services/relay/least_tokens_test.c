#include "least_tokens.h"

#include "testing/cmocka.h"

static int64_t least_of(const char *text)
{
    least_tokens t = {0};

    least_tokens_add(&t, gw_str_of(text));
    return least_tokens_of(&t);
}

static void a_word_after_a_blank_or_a_mark_is_a_token_at_least(void **state)
{
    static const struct {
        const char *text;
        int64_t least;
    } cases[] = {
        {"", 0},
        {"Hello", 0}, /* it may go on from what nobody saw */
        {"Hello there", 1},
        {" one two\nthree\t4", 4},
        {"don't snake_case", 1}, /* o200k_base has "n't" */
        {"f(x)->y", 2},
        {"{\"a\": 1, \"b\": true}", 4},
        {"}\n\n// -> ></", 0}, /* o200k_base has "}\n\n//" */
        {"\xc2\xa0 \xc2\xa0 \xc2\xa0 \xc2\xa0", 0}, /* one token there, as no-break spaces go */
        {"\xe3\x80\x80 \xe3\x80\x80", 0},
        {" \xd0\xb4\xd0\xb0 \xe0\xa4\xb9\xe0\xa4\xbe \xed\x95\x9c", 3},
        {"\xe5\xa5\xbd\xef\xbc\x8c\xe5\xa5\xbd\xef\xbc\x81", 1}, /* good, good! in Chinese */
        {" \xf0\x9f\x98\x80 \xf0\x9f\x98\x80", 0},
    };

    (void)state;
    for (size_t i = 0; i < GW_ARRAY_LEN(cases); i++)
        assert_int_equal(least_of(cases[i].text), cases[i].least);
}

static void what_one_token_may_have_a_thousand_of_counts_nothing(void **state)
{
    static const char many[] = {' ', '\n', '-', '=', '.', '*', '/', '"'};
    char text[1001];

    (void)state;
    for (size_t i = 0; i < GW_ARRAY_LEN(many); i++) {
        memset(text, many[i], sizeof(text) - 1);
        text[sizeof(text) - 1] = '\0';
        assert_int_equal(least_of(text), 0);
    }
}

static void text_without_blanks_counts_by_its_length(void **state)
{
    gw_auto_buf text = {0};

    (void)state;
    for (int i = 0; i < 1280; i++)
        gw_buf_append_char(&text, 'a');
    gw_buf_append_char(&text, '\0');
    assert_int_equal(least_of(text.data), 10);
    gw_buf_clear(&text);
    for (int i = 0; i < 320; i++)
        gw_buf_append_c(&text, "\xe5\xa5\xbd");
    gw_buf_append_char(&text, '\0');
    assert_int_equal(least_of(text.data), 10);
}

static void the_pieces_of_a_text_count_as_the_whole(void **state)
{
    const char *text = "One  two \xd0\xb4\xd0\xb0\n\xe5\xa5\xbd\xef\xbc\x8c\xe5\xa5\xbd f1ve (six)";
    size_t len = strlen(text);
    int64_t whole = least_of(text);

    (void)state;
    assert_int_equal(whole, 6);
    for (size_t from = 0; from <= len; from++)
        for (size_t to = from; to <= len; to++) {
            least_tokens t = {0};
            least_tokens_add(&t, gw_str_n(text, from));
            least_tokens_add(&t, gw_str_n(text + from, to - from));
            least_tokens_add(&t, gw_str_n(text + to, len - to));
            assert_int_equal(least_tokens_of(&t), whole);
        }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_word_after_a_blank_or_a_mark_is_a_token_at_least),
        cmocka_unit_test(what_one_token_may_have_a_thousand_of_counts_nothing),
        cmocka_unit_test(text_without_blanks_counts_by_its_length),
        cmocka_unit_test(the_pieces_of_a_text_count_as_the_whole),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
