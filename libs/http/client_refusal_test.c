/* Requests that never leave: of addresses that are not allowed, to nobody, or that are none. */
#include "http/client_test_kit.h"

/* ---- addresses ---- */

static void private_addresses_need_the_allow_list(void **state)
{
    kit *k = *state;
    kit_close_client(k);
    kit_open_client(k, gw_http_client_defaults);
    const char *hosts[] = {"127.0.0.1", "localhost",      "2130706433",  "127.1",
                           "0.0.0.0",   "10.0.0.1",       "192.168.1.1", "100.64.0.1",
                           "224.0.0.1", "169.254.169.254"};
    for (size_t i = 0; i < GW_ARRAY_LEN(hosts); i++) {
        kit_auto_call c = {0};
        gw_http_request r = kit_request(k, "GET");
        r.url.host = gw_str_of(hosts[i]);
        kit_start(k, &c, &r);
        kit_run(k);
        if (c.rc != GW_ERR_ADDRESS_REFUSED)
            fail_msg("%s: %s (%s)", hosts[i], gw_status_describe(c.rc)->name, c.err.message);
    }
    const char *hosts_v6[] = {"::1",     "::ffff:127.0.0.1", "fd00::1",
                              "fe80::1", "ff02::1",          "fd00:ec2::254"};
    for (size_t i = 0; i < GW_ARRAY_LEN(hosts_v6); i++) {
        kit_auto_call c = {0};
        gw_http_request r = kit_request(k, "GET");
        r.url.host = gw_str_of(hosts_v6[i]);
        r.url.host_is_v6 = true;
        kit_start(k, &c, &r);
        kit_run(k);
        if (c.rc != GW_ERR_ADDRESS_REFUSED)
            fail_msg("%s: %s (%s)", hosts_v6[i], gw_status_describe(c.rc)->name, c.err.message);
    }
    assert_int_equal(k->server.accepted, 0);
}

static void forbidden_addresses_are_refused_even_when_listed(void **state)
{
    kit *k = *state;
    gw_cidr all;
    assert_true(gw_cidr_parse(GW_STR("0.0.0.0/0"), &all));
    gw_http_client_options o = gw_http_client_defaults;
    o.allow_cidrs = &all;
    o.allow_cidr_count = 1;
    kit_close_client(k);
    kit_open_client(k, o);
    kit_auto_call c = {0};
    gw_http_request r = kit_request(k, "GET");
    r.url.host = GW_STR("169.254.169.254");
    kit_start(k, &c, &r);
    kit_run(k);
    assert_int_equal(c.rc, GW_ERR_ADDRESS_REFUSED);
}

static void an_upstream_that_is_not_there_is_unavailable(void **state)
{
    kit *k = *state;
    kit_auto_call refused = {0}, nameless = {0};
    kit_server gone;
    kit_server_listen(&gone, k->loop);
    uv_close((uv_handle_t *)&gone.listener, kit_on_listener_closed);
    while (gone.handles > 0)
        kit_turn(k);
    gw_http_request r = kit_request(k, "GET");
    r.url.port = gone.port;
    kit_start(k, &refused, &r);
    kit_run(k);
    assert_int_equal(refused.rc, GW_ERR_UPSTREAM_UNAVAILABLE);
    assert_non_null(strstr(refused.err.message, "refused"));

    r.url.host = GW_STR("no-such-host.invalid");
    kit_start(k, &nameless, &r);
    kit_run(k);
    assert_int_equal(nameless.rc, GW_ERR_UPSTREAM_UNAVAILABLE);
    assert_non_null(strstr(nameless.err.message, "cannot resolve no-such-host.invalid"));
}

/* ---- requests that are refused at once ---- */

static void assert_bad(kit *k, const gw_http_request *r, const char *field)
{
    gw_error err = {0};
    kit_call c = {0};
    gw_http_call *call = NULL;
    assert_int_equal(gw_http_send(k->client, r, &kit_ops, &c, &call, &err),
                     GW_ERR_INVALID_ARGUMENT);
    assert_string_equal(err.field, field);
    assert_null(strstr(err.message, "secret"));
    assert_null(call);
}

static void a_bad_request_is_refused_without_a_callback(void **state)
{
    kit *k = *state;
    gw_header bad[] = {{GW_STR("x"), GW_STR("secret\r\nx: y")},
                       {GW_STR("a b"), GW_STR("y")},
                       {GW_STR("HOST"), GW_STR("y")},
                       {GW_STR("content-length"), GW_STR("1")},
                       {GW_STR("Transfer-Encoding"), GW_STR("chunked")}};
    for (size_t i = 0; i < GW_ARRAY_LEN(bad); i++) {
        gw_http_request r = kit_request(k, "GET");
        r.headers = &bad[i];
        r.header_count = 1;
        assert_bad(k, &r, "headers");
    }
    const gw_str targets[] = {GW_STR(""), GW_STR("x"), GW_STR("/a b"), GW_STR("/a\r\nb"),
                              GW_STR("/\xc3\xa4")};
    for (size_t i = 0; i < GW_ARRAY_LEN(targets); i++) {
        gw_http_request r = kit_request(k, "GET");
        r.target = targets[i];
        assert_bad(k, &r, "target");
    }
    gw_http_request r = kit_request(k, "G ET");
    assert_bad(k, &r, "method");
    r = kit_request(k, "GET");
    r.url.scheme = GW_STR("ftp");
    assert_bad(k, &r, "url");
    r = kit_request(k, "GET");
    r.url.userinfo = GW_STR("u:secret");
    assert_bad(k, &r, "url");
    r = kit_request(k, "GET");
    r.url.host = GW_STR("a/b@c");
    assert_bad(k, &r, "url");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        KIT_TEST_BOTH(private_addresses_need_the_allow_list),
        KIT_TEST_BOTH(forbidden_addresses_are_refused_even_when_listed),
        KIT_TEST_BOTH(an_upstream_that_is_not_there_is_unavailable),
        KIT_TEST_BOTH(a_bad_request_is_refused_without_a_callback),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
