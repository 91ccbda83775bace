#include "crypto/cursor.h"

#include "testing/cmocka.h"

static const uint8_t key[GW_CURSOR_KEY_SIZE] = {1, 2, 3};

static void a_cursor_gives_its_position_back(void **state)
{
    (void)state;
    gw_auto_buf text = {0}, position = {0};
    gw_cursor_write(key, GW_STR("keys status=active"), GW_STR("65f0"), &text);
    assert_false(gw_buf_failed(&text));
    assert_int_equal(
        gw_cursor_read(key, GW_STR("keys status=active"), gw_buf_str(&text), &position, NULL),
        GW_OK);
    assert_true(gw_str_eq_c(gw_buf_str(&position), "65f0"));
}

static void a_cursor_of_another_list_is_refused(void **state)
{
    (void)state;
    gw_auto_buf text = {0}, position = {0};
    gw_error err = {0};
    gw_cursor_write(key, GW_STR("keys status=active"), GW_STR("65f0"), &text);
    assert_int_equal(
        gw_cursor_read(key, GW_STR("keys status=revoked"), gw_buf_str(&text), &position, &err),
        GW_ERR_INVALID_ARGUMENT);
    assert_string_equal(err.field, "cursor");
    const uint8_t other[GW_CURSOR_KEY_SIZE] = {9};
    assert_int_equal(
        gw_cursor_read(other, GW_STR("keys status=active"), gw_buf_str(&text), &position, &err),
        GW_ERR_INVALID_ARGUMENT);
    assert_int_equal(position.len, 0);
}

static void the_border_of_filters_and_position_cannot_move(void **state)
{
    (void)state;
    gw_auto_buf text = {0}, position = {0};
    gw_cursor_write(key, GW_STR("a"), GW_STR("bc"), &text);
    assert_int_equal(gw_cursor_read(key, GW_STR("ab"), gw_buf_str(&text), &position, NULL),
                     GW_ERR_INVALID_ARGUMENT);
}

static void every_altered_character_is_noticed(void **state)
{
    (void)state;
    gw_auto_buf text = {0}, position = {0};
    gw_cursor_write(key, GW_STR("f"), GW_STR("position"), &text);
    for (size_t i = 0; i < text.len; i++) {
        char was = text.data[i];
        text.data[i] = was == 'A' ? 'B' : 'A';
        assert_int_equal(gw_cursor_read(key, GW_STR("f"), gw_buf_str(&text), &position, NULL),
                         GW_ERR_INVALID_ARGUMENT);
        text.data[i] = was;
    }
}

static void garbage_is_refused(void **state)
{
    (void)state;
    gw_auto_buf position = {0}, long_text = {0};
    const gw_str texts[] = {GW_STR_NULL, GW_STR("x"), GW_STR("%%%%"), GW_STR("AAAAAAAA")};
    for (size_t i = 0; i < GW_ARRAY_LEN(texts); i++)
        assert_int_equal(gw_cursor_read(key, GW_STR("f"), texts[i], &position, NULL),
                         GW_ERR_INVALID_ARGUMENT);
    for (size_t i = 0; i < 10000; i++)
        gw_buf_append_char(&long_text, 'A');
    assert_int_equal(gw_cursor_read(key, GW_STR("f"), gw_buf_str(&long_text), &position, NULL),
                     GW_ERR_INVALID_ARGUMENT);
}

static void an_oversized_position_fails_the_buffer(void **state)
{
    (void)state;
    char position[GW_CURSOR_POSITION_MAX + 1] = {0};
    gw_auto_buf text = {0};
    gw_cursor_write(key, GW_STR("f"), gw_str_n(position, sizeof(position)), &text);
    assert_true(gw_buf_failed(&text));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_cursor_gives_its_position_back),
        cmocka_unit_test(a_cursor_of_another_list_is_refused),
        cmocka_unit_test(the_border_of_filters_and_position_cannot_move),
        cmocka_unit_test(every_altered_character_is_noticed),
        cmocka_unit_test(garbage_is_refused),
        cmocka_unit_test(an_oversized_position_fails_the_buffer),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
