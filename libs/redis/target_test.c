#include "redis/target.h"
#include "testing/cmocka.h"

static void urls_are_read_into_their_parts(void **state)
{
    (void)state;
    static const struct {
        const char *url, *host, *user, *password;
        uint16_t port;
        uint32_t db;
        bool is_tls;
    } cases[] = {
        {"redis://127.0.0.1", "127.0.0.1", "", "", 6379, 0, false},
        {"redis://cache:6380/", "cache", "", "", 6380, 0, false},
        {"redis://:secret@cache/7", "cache", "", "secret", 6379, 7, false},
        {"redis://relay:p%40ss%3A%2f@cache:1/65535", "cache", "relay", "p@ss:/", 1, 65535, false},
        {"rediss://:secret@cache/7", "cache", "", "secret", 6379, 7, true},
        {"redis://[::1]:6379/2", "::1", "", "", 6379, 2, false},
    };
    for (size_t i = 0; i < GW_ARRAY_LEN(cases); i++) {
        gw_redis_target t;
        gw_error err = {0};
        gw_redis_options o = {.url = gw_str_of(cases[i].url)};
        if (gw_redis_target_init(&t, &o, &err) != GW_OK)
            fail_msg("%s: %s", cases[i].url, err.message);
        assert_string_equal(t.host, cases[i].host);
        assert_string_equal(t.user, cases[i].user);
        assert_string_equal(t.password, cases[i].password);
        assert_int_equal(t.port, cases[i].port);
        assert_int_equal(t.db, cases[i].db);
        assert_int_equal(t.is_tls, cases[i].is_tls);
        assert_int_equal(t.connect_timeout_ms, 2000);
        gw_redis_target_fini(&t);
    }
}

static void a_password_of_its_own_stands_in_for_the_urls(void **state)
{
    (void)state;
    gw_redis_target t;
    gw_redis_options o = {.url = GW_STR("redis://relay:old@cache"),
                          .password = GW_STR("new%41"),
                          .connect_timeout_ms = 9};
    assert_int_equal(gw_redis_target_init(&t, &o, NULL), GW_OK);
    assert_string_equal(t.user, "relay");
    assert_string_equal(t.password, "new%41");
    assert_int_equal(t.connect_timeout_ms, 9);
    gw_redis_target_fini(&t);
}

static void bad_urls_are_refused_without_showing_the_password(void **state)
{
    (void)state;
    static const struct {
        const char *url;
        gw_status rc;
    } cases[] = {
        {"", GW_ERR_INVALID_ARGUMENT},
        {"cache:6379", GW_ERR_INVALID_ARGUMENT},
        {"http://cache", GW_ERR_INVALID_ARGUMENT},
        {"redis://", GW_ERR_INVALID_ARGUMENT},
        {"redis://:hunter2@cache/x", GW_ERR_INVALID_ARGUMENT},
        {"redis://:hunter2@cache/65536", GW_ERR_INVALID_ARGUMENT},
        {"redis://:hunter2@cache/-1", GW_ERR_INVALID_ARGUMENT},
        {"redis://:hunter2@cache?db=1", GW_ERR_INVALID_ARGUMENT},
        {"redis://hunter2@cache", GW_ERR_INVALID_ARGUMENT},
        {"redis://:hunter2%4@cache", GW_ERR_INVALID_ARGUMENT},
        {"redis://:hunter2%00@cache", GW_ERR_INVALID_ARGUMENT},
        {"redis://:hunter2@cache:99999", GW_ERR_INVALID_ARGUMENT},
        {"redisss://:hunter2@cache", GW_ERR_INVALID_ARGUMENT},
    };
    for (size_t i = 0; i < GW_ARRAY_LEN(cases); i++) {
        gw_redis_target t;
        gw_error err = {0};
        gw_redis_options o = {.url = gw_str_of(cases[i].url)};
        gw_status rc = gw_redis_target_init(&t, &o, &err);
        if (rc != cases[i].rc || strstr(err.message, "hunter2") || !err.message[0])
            fail_msg("%s: %s %s", cases[i].url, gw_status_describe(rc)->name, err.message);
        gw_redis_target_fini(&t);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(urls_are_read_into_their_parts),
        cmocka_unit_test(a_password_of_its_own_stands_in_for_the_urls),
        cmocka_unit_test(bad_urls_are_refused_without_showing_the_password),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
