#include "http/client_address.h"

#include "testing/cmocka.h"

static gw_ip ip(const char *text)
{
    gw_ip result;
    assert_true(gw_ip_parse(gw_str_of(text), &result));
    return result;
}

static void the_first_untrusted_address_from_the_right_is_the_client(void **state)
{
    (void)state;
    static const struct {
        const char *name, *peer, *first, *second, *client;
    } cases[] = {
        {"no header", "10.0.0.1", NULL, NULL, "10.0.0.1"},
        {"untrusted peer is believed, not its header", "203.0.113.9", "198.51.100.1", NULL,
         "203.0.113.9"},
        {"one proxy", "10.0.0.1", "198.51.100.1", NULL, "198.51.100.1"},
        {"two proxies", "10.0.0.1", "198.51.100.1, 10.0.0.2", NULL, "198.51.100.1"},
        {"forged left part", "10.0.0.1", "1.1.1.1, 198.51.100.1, 10.0.0.2", NULL, "198.51.100.1"},
        {"two lines are one list", "10.0.0.1", "198.51.100.1", "10.0.0.2", "198.51.100.1"},
        {"only proxies: the farthest", "10.0.0.1", "10.0.0.3, 10.0.0.2", NULL, "10.0.0.3"},
        {"malformed next to us", "10.0.0.1", "198.51.100.1, unknown", NULL, "10.0.0.1"},
        {"empty element", "10.0.0.1", "198.51.100.1,, 10.0.0.2", NULL, "10.0.0.1"},
        {"v4-mapped is v4", "10.0.0.1", "::ffff:198.51.100.1", NULL, "198.51.100.1"},
        {"v6", "10.0.0.1", "2001:db8::1", NULL, "2001:db8::1"},
    };
    gw_cidr trusted;
    assert_true(gw_cidr_parse(GW_STR("10.0.0.0/8"), &trusted));
    for (size_t i = 0; i < GW_ARRAY_LEN(cases); i++) {
        print_message("%s\n", cases[i].name);
        const gw_header lines[] = {{GW_STR("X-Forwarded-For"), gw_str_of(cases[i].first)},
                                   {GW_STR("x-forwarded-for"), gw_str_of(cases[i].second)}};
        size_t count = (cases[i].first != NULL) + (cases[i].second != NULL);
        gw_ip peer = ip(cases[i].peer), want = ip(cases[i].client);
        gw_ip got =
            gw_client_address(&peer, (gw_headers){.items = lines, .count = count}, &trusted, 1);
        assert_true(gw_ip_eq(&got, &want));
    }
}

static void without_trusted_proxies_the_peer_is_the_client(void **state)
{
    (void)state;
    const gw_header line = {GW_STR("x-forwarded-for"), GW_STR("198.51.100.1")};
    gw_ip peer = ip("127.0.0.1");
    gw_ip got = gw_client_address(&peer, (gw_headers){.items = &line, .count = 1}, NULL, 0);
    assert_true(gw_ip_eq(&got, &peer));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_first_untrusted_address_from_the_right_is_the_client),
        cmocka_unit_test(without_trusted_proxies_the_peer_is_the_client),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
