#include "core/url.h"

#include "testing/cmocka.h"
#include "testing/failing_alloc.h"

static void urls_fall_into_their_parts(void **state)
{
    (void)state;
    static const struct {
        const char *text, *scheme, *userinfo, *host;
        bool v6;
        unsigned port;
        const char *path, *query;
    } cases[] = {
        {"http://h", "http", "", "h", false, 0, "", ""},
        {"https://api.openai.com/v1", "https", "", "api.openai.com", false, 0, "/v1", ""},
        {"http://127.0.0.1:8090/v1?a=b&c", "http", "", "127.0.0.1", false, 8090, "/v1", "a=b&c"},
        {"http://[::1]:8090/", "http", "", "::1", true, 8090, "/", ""},
        {"http://[2001:db8::1]", "http", "", "2001:db8::1", true, 0, "", ""},
        {"redis://user:p%40ss@h:6379/0", "redis", "user:p%40ss", "h", false, 6379, "/0", ""},
        {"redis://:secret@h", "redis", ":secret", "h", false, 0, "", ""},
        {"http://h?q=/?", "http", "", "h", false, 0, "", "q=/?"},
        {"mongodb+srv://c.example.net/db", "mongodb+srv", "", "c.example.net", false, 0, "/db", ""},
        {"mongodb://u:p@a:1,[::1]:2,c/db?replicaSet=r", "mongodb", "u:p", "a:1,[::1]:2,c", false, 0,
         "/db", "replicaSet=r"},
        {"http://h:65535", "http", "", "h", false, 65535, "", ""},
    };
    for (size_t i = 0; i < GW_ARRAY_LEN(cases); i++) {
        gw_url u;
        gw_error err;
        if (gw_url_parse(gw_str_of(cases[i].text), &u, &err) != GW_OK)
            fail_msg("%s: %s", cases[i].text, err.message);
        assert_true(gw_str_eq_c(u.scheme, cases[i].scheme));
        assert_true(gw_str_eq_c(u.userinfo, cases[i].userinfo));
        assert_true(gw_str_eq_c(u.host, cases[i].host));
        assert_int_equal(u.host_is_v6, cases[i].v6);
        assert_int_equal(u.port, cases[i].port);
        assert_true(gw_str_eq_c(u.path, cases[i].path));
        assert_true(gw_str_eq_c(u.query, cases[i].query));
    }
}

static void what_is_no_url_is_refused_without_being_repeated(void **state)
{
    (void)state;
    static const char *const bad[] = {
        "",
        "h",
        "//h",
        "http:",
        "http:/h",
        "http:h",
        "http://",
        "http:///path",
        "http://?q",
        "HTTP://h",
        "1http://h",
        "://h",
        "http://h#f",
        "http://h/p#f",
        "http://h/a b",
        "http://h/\tb",
        "http://h/\r\nX: y",
        "http://h\x7f",
        "http://\xc3\xa4.example",
        "http://h:",
        "http://h:0",
        "http://h:65536",
        "http://h:-1",
        "http://h:80a",
        "http://a:1:2",
        "http://a@b@c",
        "http://h\\@evil",
        "http://h/%",
        "http://h/%4",
        "http://h/%zz",
        "http://%zz/",
        "http://u%@h/",
        "http://::1/",
        "http://[::1",
        "http://[::1]x",
        "http://[1.2.3.4]/",
        "http://[fe80::1%25eth0]/",
        "http://[]/",
        "http://h/<x>",
        "http://h/\"",
        "http://h/a\\b",
        "http://h/?q=^",
        "mongodb://a,,b/",
        "mongodb://a:99999,b/",
    };
    for (size_t i = 0; i < GW_ARRAY_LEN(bad); i++) {
        gw_url u = {.port = 4711};
        gw_error err;
        if (gw_url_parse(gw_str_of(bad[i]), &u, &err) != GW_ERR_INVALID_ARGUMENT)
            fail_msg("accepted %s", bad[i]);
        assert_int_equal(u.port, 4711);
        assert_true(strlen(err.message) > 10);
    }
    gw_error err;
    gw_url u;
    assert_int_not_equal(gw_url_parse(GW_STR("redis://:hunter2@h:bad"), &u, &err), GW_OK);
    assert_null(strstr(err.message, "hunter2"));
    assert_int_not_equal(gw_url_parse(gw_str_n("http://h\0", 9), &u, NULL), GW_OK);
}

static void escapes_are_decoded_or_refused(void **state)
{
    (void)state;
    gw_auto(gw_arena) a = gw_arena_new();
    static const struct {
        const char *text;
        bool plus;
        const char *decoded; /* NULL = refused */
    } cases[] = {
        {"", false, ""},
        {"abc", false, "abc"},
        {"a%20b", false, "a b"},
        {"a+b", false, "a+b"},
        {"a+b", true, "a b"},
        {"a%2Bb", true, "a+b"},
        {"%c3%A4", false, "\xc3\xa4"},
        {"%25", false, "%"},
        {"%252F", false, "%2F"},
        {"%", false, NULL},
        {"%1", false, NULL},
        {"a%g0", false, NULL},
        {"%00", false, NULL},
        {"%+1", true, NULL},
        {"% 1", false, NULL},
    };
    for (size_t i = 0; i < GW_ARRAY_LEN(cases); i++) {
        gw_str out = GW_STR("untouched");
        bool ok = gw_percent_decode(a, gw_str_of(cases[i].text), cases[i].plus, &out);
        if (ok != (cases[i].decoded != NULL))
            fail_msg("%s", cases[i].text);
        assert_true(gw_str_eq_c(out, ok ? cases[i].decoded : "untouched"));
        if (ok)
            assert_string_equal(out.ptr, cases[i].decoded);
    }
    gw_str out;
    assert_false(gw_percent_decode(a, gw_str_n("a\0b", 3), false, &out));
    gw_auto(gw_arena) empty = gw_arena_new();
    gw_failing_alloc_arm(1);
    assert_false(gw_percent_decode(empty, GW_STR("x"), false, &out));
    assert_true(gw_failing_alloc_disarm());
}

static void everything_but_unreserved_characters_is_encoded(void **state)
{
    (void)state;
    gw_auto_buf b = {0};
    gw_percent_encode(&b, GW_STR("AZaz09-._~ /?#[]@!$&'()*+,;=%\xc3\xa4\n"));
    assert_string_equal(
        b.data, "AZaz09-._~%20%2F%3F%23%5B%5D%40%21%24%26%27%28%29%2A%2B%2C%3B%3D%25%C3%A4%0A");
    gw_auto(gw_arena) a = gw_arena_new();
    for (unsigned byte = 1; byte < 256; byte++) {
        char c = (char)byte;
        gw_str back;
        gw_buf_clear(&b);
        gw_percent_encode(&b, gw_str_n(&c, 1));
        assert_true(gw_percent_decode(a, gw_buf_str(&b), true, &back));
        assert_true(gw_str_eq(back, gw_str_n(&c, 1)));
    }
}

static void queries_are_walked_pair_by_pair(void **state)
{
    (void)state;
    gw_str rest = GW_STR("&a=1&b&&c=x=y&=v&d=&");
    static const char *const expected[][2] = {
        {"a", "1"}, {"b", ""}, {"c", "x=y"}, {"", "v"}, {"d", ""}};
    gw_str name;
    gw_str value;
    for (size_t i = 0; i < GW_ARRAY_LEN(expected); i++) {
        assert_true(gw_query_next(&rest, &name, &value));
        assert_true(gw_str_eq_c(name, expected[i][0]));
        assert_true(gw_str_eq_c(value, expected[i][1]));
    }
    assert_false(gw_query_next(&rest, &name, &value));
    rest = GW_STR("");
    assert_false(gw_query_next(&rest, &name, &value));
}

static void an_origin_is_what_a_browser_sends(void **state)
{
    static const char *const good[] = {
        "https://app.example",       "http://localhost:3000",    "https://a.example:8443",
        "http://a.example:443",      "https://xn--bcher-kva.de", "http://127.0.0.1:8080",
        "http://[2001:db8::1]:3000", "https://a_b.example",      "https://1.a1.x9",
    };
    static const char *const bad[] = {
        "",
        "null",
        "*",
        "app.example",
        "ftp://a.example",
        "https://",
        "https://a.example/",
        "https://a.example/app",
        "https://a.example?q",
        "https://a.example?",
        "https://a.example#f",
        "https://u@a.example",
        "https://@a.example",
        "https://*.example",
        "https://APP.example",
        "HTTPS://a.example",
        "https://a.example:443", /* its scheme's own: browsers leave it out */
        "http://a.example:80",
        "https://a.example:",
        "https://a.example:0",
        "https://a.example:080",
        "https://a.example:65536",
        "https://a.example:abc",
        "https://:8080",
        "https://a..b",
        "https://.a",
        "https://a.example.",
        "https://a%20b",
        "https://a'b",
        "https://a;b",
        "https://a,b",
        "https://b\xc3\xbc"
        "cher.de",
        "https://127.1",
        "https://a.1",
        "https://256.0.0.1",
        "https://[::1",
        "https://[zz]:1",
        "https://[2001:DB8::1]",
    };
    (void)state;
    for (size_t i = 0; i < GW_ARRAY_LEN(good); i++) {
        print_message("%s\n", good[i]);
        assert_true(gw_origin_is_valid(gw_str_of(good[i])));
    }
    for (size_t i = 0; i < GW_ARRAY_LEN(bad); i++) {
        print_message("%s\n", bad[i]);
        assert_false(gw_origin_is_valid(gw_str_of(bad[i])));
    }
}

static void a_url_has_the_origin_of_its_scheme_host_and_port(void **state)
{
    static const struct {
        const char *url, *origin;
        bool has;
    } cases[] = {
        {"https://chat.example/api", "https://chat.example", true},
        {"https://chat.example:443", "https://chat.example", true},
        {"https://Chat.Example/", "https://chat.example", true},
        {"http://[::1]:3080/x", "http://[::1]:3080", true},
        {"http://chat.example:80", "http://chat.example", true},
        {"http://chat.example", "https://chat.example", false},
        {"http://chat.example:443", "https://chat.example", false},
        {"https://chat.example:8443", "https://chat.example", false},
        {"https://chat.example", "https://chat.example:8443", false},
        {"https://chat.example.evil.example", "https://chat.example", false},
        {"https://evil.example/chat.example", "https://chat.example", false},
        {"https://chat.example", "", false},
    };
    (void)state;
    for (size_t i = 0; i < GW_ARRAY_LEN(cases); i++) {
        gw_url u;
        assert_int_equal(gw_url_parse(gw_str_of(cases[i].url), &u, NULL), GW_OK);
        if (gw_url_has_origin(&u, gw_str_of(cases[i].origin)) != cases[i].has)
            fail_msg("%s and %s", cases[i].url, cases[i].origin);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(urls_fall_into_their_parts),
        cmocka_unit_test(what_is_no_url_is_refused_without_being_repeated),
        cmocka_unit_test(escapes_are_decoded_or_refused),
        cmocka_unit_test(everything_but_unreserved_characters_is_encoded),
        cmocka_unit_test(queries_are_walked_pair_by_pair),
        cmocka_unit_test(an_origin_is_what_a_browser_sends),
        cmocka_unit_test(a_url_has_the_origin_of_its_scheme_host_and_port),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
