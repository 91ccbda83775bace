#include "session.h"

#include "testing/cmocka.h"

#include "apirelay/auth/v1/session_service.pb-c.h"

static gw_str token_of(const char *cookie, const char *second, bool is_local)
{
    static gw_header items[2];
    items[0] = (gw_header){GW_STR("Cookie"), gw_str_of(cookie)};
    items[1] = (gw_header){GW_STR("cookie"), gw_str_of(second)};
    return session_token_of((gw_headers){.items = items, .count = second ? 2 : 1}, is_local);
}

static void the_cookie_is_plain_only_without_tls_from_loopback_for_a_loopback_host(void **state)
{
    static const struct {
        const char *peer, *host;
        bool is_local;
    } cases[] = {
        {"127.0.0.1", "localhost:8081", true},
        {"127.0.0.1", "127.0.0.1", true},
        {"::1", "[::1]:8081", true},
        {"127.0.0.1", "admin.example.com", false},
        {"10.0.0.1", "localhost:8081", false},
        {"127.0.0.1", "", false},
        {"127.0.0.1", "localhost.evil", false},
        {"127.0.0.1", "[::1", false},
    };
    (void)state;
    for (size_t i = 0; i < GW_ARRAY_LEN(cases); i++) {
        gw_ip peer;
        assert_true(gw_ip_parse(gw_str_of(cases[i].peer), &peer));
        gw_str host = gw_str_of(cases[i].host);
        assert_int_equal(session_is_local(false, &peer, host), cases[i].is_local);
        assert_false(session_is_local(true, &peer, host)); /* a browser keeps __Host- of TLS */
    }
}

static void the_token_is_found_among_other_cookies(void **state)
{
    static const struct {
        const char *cookie, *second;
        bool is_local;
        const char *token;
    } cases[] = {
        {"__Host-session=lcses_a", NULL, false, "lcses_a"},
        {"a=b; __Host-session=lcses_a;c=d", NULL, false, "lcses_a"},
        {"a=b", "session=lcses_a", true, "lcses_a"},
        {"session=lcses_a", NULL, false, ""}, /* a cookie that any neighbour host can plant */
        {"__Host-session=lcses_a", NULL, true, ""},
        {"session=lcses_a; session=lcses_a", NULL, true, "lcses_a"},
        {"session=lcses_a; session=lcses_b", NULL, true, ""},
        {"session=lcses_a", "session=lcses_b", true, ""},
        {"session=", NULL, true, ""},
        {"session=a b", NULL, true, ""},
        {"xsession=lcses_a", NULL, true, ""},
        {"session", NULL, true, ""},
        {"", NULL, true, ""},
    };
    (void)state;
    for (size_t i = 0; i < GW_ARRAY_LEN(cases); i++) {
        gw_str token = token_of(cases[i].cookie, cases[i].second, cases[i].is_local);
        if (!gw_str_eq_c(token, cases[i].token))
            fail_msg("%s: " GW_STR_FMT, cases[i].cookie, GW_STR_ARG(token));
    }
}

static void the_cookie_says_what_browsers_need(void **state)
{
    (void)state;
    gw_auto(gw_arena) a = gw_arena_new();
    assert_true(gw_str_eq_c(
        session_cookie(a, GW_STR("lcses_a"), 43200, false),
        "__Host-session=lcses_a; Path=/; Max-Age=43200; HttpOnly; SameSite=Strict; Secure"));
    assert_true(gw_str_eq_c(session_cookie(a, GW_STR("lcses_a"), 60, true),
                            "session=lcses_a; Path=/; Max-Age=60; HttpOnly; SameSite=Strict"));
    assert_true(gw_str_eq_c(session_cookie(a, GW_STR(""), 0, true),
                            "session=; Path=/; Max-Age=0; HttpOnly; SameSite=Strict"));
}

static void the_token_of_a_sign_in_is_not_in_its_body(void **state)
{
    Apirelay__Auth__V1__CreateSessionResponse r = APIRELAY__AUTH__V1__CREATE_SESSION_RESPONSE__INIT;
    Google__Protobuf__Timestamp end = GOOGLE__PROTOBUF__TIMESTAMP__INIT;
    gw_auto_buf body = {0};
    gw_error err;
    gw_str token;
    int64_t max_age_s;
    (void)state;
    r.token = (char *)(uintptr_t) "lcses_secret";
    r.csrf_token = (char *)(uintptr_t) "csrf";
    end.seconds = 1000;
    r.expires_at = &end;
    assert_int_equal(session_take_sign_in(&r.base, 400000, &token, &max_age_s, &body, &err), GW_OK);
    assert_true(gw_str_eq_c(token, "lcses_secret"));
    assert_int_equal(max_age_s, 600);
    assert_true(gw_str_contains(gw_buf_str(&body), GW_STR("\"csrfToken\":\"csrf\"")));
    assert_true(gw_str_contains(gw_buf_str(&body), GW_STR("\"expiresAt\":\"1970-")));
    assert_false(gw_str_contains(gw_buf_str(&body), GW_STR("lcses_")));
    assert_false(gw_str_contains(gw_buf_str(&body), GW_STR("\"token\"")));
    r.token = (char *)(uintptr_t) "with; Domain=evil";
    assert_int_equal(session_take_sign_in(&r.base, 0, &token, &max_age_s, &body, &err),
                     GW_ERR_INTERNAL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_cookie_is_plain_only_without_tls_from_loopback_for_a_loopback_host),
        cmocka_unit_test(the_token_is_found_among_other_cookies),
        cmocka_unit_test(the_cookie_says_what_browsers_need),
        cmocka_unit_test(the_token_of_a_sign_in_is_not_in_its_body),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
