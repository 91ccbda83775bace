#include "session_index.h"

#include "page.h"
#include "test_kit.h"

#include <stdio.h>

static void a_session_reads_back_the_same(void **state)
{
    (void)state;
    session s = {.admin_id = "65f000000000000000000001", .epoch = 4, .created_ms = 1700000000123},
            back;
    char text[96];
    session_format(&s, text);
    assert_true(session_parse(gw_str_of(text), &back));
    assert_string_equal(back.admin_id, s.admin_id);
    assert_int_equal(back.epoch, 4);
    assert_int_equal(back.created_ms, s.created_ms);
    assert_int_equal(session_end_ms(&back), s.created_ms + 12 * GW_MS_PER_HOUR);
}

static void what_is_no_session_is_refused(void **state)
{
    (void)state;
    static const char *const texts[] = {"",
                                        "x",
                                        "65f000000000000000000001",
                                        "65f000000000000000000001 1",
                                        "root 1 2",
                                        "65f000000000000000000001 1 2 3",
                                        "65f000000000000000000001 a 2"};
    for (size_t i = 0; i < GW_ARRAY_LEN(texts); i++) {
        session s;
        if (session_parse(gw_str_of(texts[i]), &s))
            fail_msg("accepted: %s", texts[i]);
    }
}

static void an_indexed_session_reads_back_the_same(void **state)
{
    (void)state;
    indexed_session s = {.address = "2001:db8::1", .user_agent = "Mozilla/5.0 (X11; Linux)"}, back;
    char text[SESSION_INDEXED_SIZE];
    memset(s.id, 'a', SESSION_ID_SIZE - 1);
    indexed_session_format(&s, text);
    assert_true(indexed_session_parse(gw_str_of(text), &back));
    assert_string_equal(back.id, s.id);
    assert_string_equal(back.address, s.address);
    assert_string_equal(back.user_agent, s.user_agent);
    s.address[0] = '\0';
    (void)snprintf(s.user_agent, sizeof(s.user_agent), "tab\tand \xc3\xa4");
    indexed_session_format(&s, text);
    assert_true(indexed_session_parse(gw_str_of(text), &back));
    assert_string_equal(back.address, "");
    assert_string_equal(back.user_agent, "tab?and ??");
    s.user_agent[0] = '\0';
    memset(s.user_agent, 'x', sizeof(s.user_agent) - 1);
    memset(s.address, 'f', sizeof(s.address) - 1);
    indexed_session_format(&s, text); /* the longest fits */
    assert_true(indexed_session_parse(gw_str_of(text), &back));
    assert_string_equal(back.user_agent, s.user_agent);
}

static void what_is_no_indexed_session_is_refused(void **state)
{
    (void)state;
    static const char *const texts[] = {"", "x", "x - agent",
                                        ("AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"
                                         "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA - capitals")};
    for (size_t i = 0; i < GW_ARRAY_LEN(texts); i++) {
        indexed_session s;
        if (indexed_session_parse(gw_str_of(texts[i]), &s))
            fail_msg("accepted: %s", texts[i]);
    }
}

static void ids_and_csrf_tokens_tell_nothing_of_the_token(void **state)
{
    (void)state;
    char token[SESSION_TOKEN_SIZE], other[SESSION_TOKEN_SIZE];
    char id[SESSION_ID_SIZE], csrf[SESSION_CSRF_SIZE], csrf_again[SESSION_CSRF_SIZE];
    session_token_mint(token);
    session_token_mint(other);
    session_id(gw_str_of(token), id);
    session_csrf(gw_str_of(token), csrf);
    session_csrf(gw_str_of(token), csrf_again);
    assert_string_equal(csrf, csrf_again);
    assert_int_equal(strlen(csrf), 43);
    assert_int_equal(strlen(id), 64);
    assert_true(session_id_is_shaped(gw_str_of(id)));
    assert_false(session_id_is_shaped(gw_str_of(id + 1)));
    session_csrf(gw_str_of(other), csrf_again);
    assert_string_not_equal(csrf, csrf_again);
    assert_null(strstr(token, csrf));
}

static void page_sizes_have_bounds(void **state)
{
    (void)state;
    int64_t n = 0;
    gw_error err = {0};
    assert_int_equal(page_size(0, &n, NULL), GW_OK);
    assert_int_equal(n, 50);
    assert_int_equal(page_size(500, &n, NULL), GW_OK);
    assert_int_equal(page_size(501, &n, &err), GW_ERR_INVALID_ARGUMENT);
    assert_string_equal(err.field, "pageSize");
    assert_int_equal(page_size(-1, &n, &err), GW_ERR_INVALID_ARGUMENT);
}

static void a_page_goes_on_where_its_cursor_says(void **state)
{
    (void)state;
    gw_auto(gw_arena) a = gw_arena_new();
    gw_auto(peppers) p = test_peppers(TEST_PEPPERS);
    gw_auto(peppers) other = test_peppers(TEST_ONLY_B);
    gw_str position;
    char *cursor = page_cursor(a, p, GW_STR("list;"), GW_STR("17"));
    assert_int_equal(page_position(a, p, GW_STR("list;"), cursor, &position, NULL), GW_OK);
    assert_true(gw_str_eq_c(position, "17"));
    assert_int_equal(page_position(a, p, GW_STR("list;"), "", &position, NULL), GW_OK);
    assert_int_equal(position.len, 0);
    assert_int_equal(page_position(a, p, GW_STR("else;"), cursor, &position, NULL),
                     GW_ERR_INVALID_ARGUMENT);
    assert_int_equal(page_position(a, other, GW_STR("list;"), cursor, &position, NULL),
                     GW_ERR_INVALID_ARGUMENT);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_session_reads_back_the_same),
        cmocka_unit_test(what_is_no_session_is_refused),
        cmocka_unit_test(an_indexed_session_reads_back_the_same),
        cmocka_unit_test(what_is_no_indexed_session_is_refused),
        cmocka_unit_test(ids_and_csrf_tokens_tell_nothing_of_the_token),
        cmocka_unit_test(page_sizes_have_bounds),
        cmocka_unit_test(a_page_goes_on_where_its_cursor_says),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
