#include "core/net.h"

#include "testing/cmocka.h"

#include <arpa/inet.h>
#include <netinet/in.h>

static gw_ip ip_of(const char *text)
{
    gw_ip ip;
    if (!gw_ip_parse(gw_str_of(text), &ip))
        fail_msg("no address: %s", text);
    return ip;
}

static void addresses_are_read_and_written_in_one_form(void **state)
{
    (void)state;
    static const struct {
        const char *text, *canonical;
    } cases[] = {
        {"127.0.0.1", "127.0.0.1"},
        {"255.255.255.255", "255.255.255.255"},
        {"::", "::"},
        {"::1", "::1"},
        {"2001:DB8:0:0:0:0:0:1", "2001:db8::1"},
        {"::ffff:10.1.2.3", "10.1.2.3"},
        {"::ffff:a01:203", "10.1.2.3"},
        {"0000:0000:0000:0000:0000:ffff:255.255.255.255", "255.255.255.255"},
        {"ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"},
    };
    for (size_t i = 0; i < GW_ARRAY_LEN(cases); i++) {
        gw_ip ip = ip_of(cases[i].text);
        char text[GW_IP_TEXT_SIZE];
        gw_ip_format(&ip, text);
        assert_string_equal(text, cases[i].canonical);
    }
    static const char *const bad[] = {"",           "1.2.3",        "1.2.3.4.5", "01.2.3.4",
                                      "256.1.1.1",  "1.2.3.4 ",     "0x7f.1",    "[::1]",
                                      "fe80::1%lo", ":::",          "1::2::3",   "12345::",
                                      "::1/64",     "127.0.0.1:80", "localhost"};
    for (size_t i = 0; i < GW_ARRAY_LEN(bad); i++) {
        gw_ip ip;
        if (gw_ip_parse(gw_str_of(bad[i]), &ip))
            fail_msg("accepted %s", bad[i]);
    }
    gw_ip ip;
    assert_false(gw_ip_parse(gw_str_n("1.2.3.4\0", 8), &ip));
}

static void socket_addresses_are_read(void **state)
{
    (void)state;
    struct sockaddr_in v4 = {.sin_family = AF_INET, .sin_addr = {htonl(0x7f000001)}};
    struct sockaddr_in6 v6 = {.sin6_family = AF_INET6, .sin6_addr = IN6ADDR_LOOPBACK_INIT};
    struct sockaddr other = {.sa_family = AF_UNIX};
    gw_ip ip;
    gw_ip expected = ip_of("127.0.0.1");
    assert_true(gw_ip_from_sockaddr((const struct sockaddr *)&v4, &ip));
    assert_true(gw_ip_eq(&ip, &expected));
    expected = ip_of("::1");
    assert_true(gw_ip_from_sockaddr((const struct sockaddr *)&v6, &ip));
    assert_true(gw_ip_eq(&ip, &expected));
    expected = ip_of("9.8.7.6");
    assert_int_equal(inet_pton(AF_INET6, "::ffff:9.8.7.6", &v6.sin6_addr), 1);
    assert_true(gw_ip_from_sockaddr((const struct sockaddr *)&v6, &ip));
    assert_true(gw_ip_eq(&ip, &expected));
    assert_false(gw_ip_from_sockaddr(&other, &ip));
}

static void blocks_contain_what_they_say(void **state)
{
    (void)state;
    static const struct {
        const char *block, *address;
        bool inside;
    } cases[] = {
        {"10.0.0.0/8", "10.255.255.255", true},
        {"10.0.0.0/8", "11.0.0.0", false},
        {"10.128.0.0/9", "10.127.255.255", false},
        {"192.168.1.128/25", "192.168.1.129", true},
        {"192.168.1.128/25", "192.168.1.127", false},
        {"0.0.0.0/0", "255.1.2.3", true},
        {"0.0.0.0/0", "::1", false},
        {"::/0", "::1", true},
        {"::/0", "1.2.3.4", false},
        {"127.0.0.1", "127.0.0.1", true},
        {"127.0.0.1", "127.0.0.2", false},
        {"fd00::/8", "fd12::1", true},
        {"fd00::/8", "fe00::1", false},
        {"2001:db8::1", "2001:db8::1", true},
        {"2001:db8::1/128", "2001:db8::2", false},
        {"::ffff:10.0.0.0/104", "10.9.9.9", true},
        {"::ffff:10.0.0.1", "10.0.0.1", true},
        {"10.0.0.0/8", "::ffff:10.1.1.1", true},
    };
    for (size_t i = 0; i < GW_ARRAY_LEN(cases); i++) {
        gw_cidr c;
        if (!gw_cidr_parse(gw_str_of(cases[i].block), &c))
            fail_msg("refused %s", cases[i].block);
        gw_ip ip = ip_of(cases[i].address);
        if (gw_cidr_contains(&c, &ip) != cases[i].inside)
            fail_msg("%s in %s", cases[i].address, cases[i].block);
        assert_int_equal(gw_cidr_any_contains(&c, 1, &ip), cases[i].inside);
        assert_false(gw_cidr_any_contains(&c, 0, &ip));
    }
}

static void malformed_blocks_are_refused(void **state)
{
    (void)state;
    static const char *const bad[] = {
        "",
        "/8",
        "10.0.0.0/",
        "10.0.0.0/33",
        "10.0.0.0/-1",
        "10.0.0.0/08",
        "10.0.0.0/8 ",
        "10.0.0.1/8",
        "10.0.0.0/8/8",
        "::/129",
        "::1/127",
        "10.0.0.0/+8",
        "::ffff:10.0.0.0/95",
        "0.0.0.0/4294967296",
        "fe80::1%lo/64",
        "10.0.0/8",
    };
    for (size_t i = 0; i < GW_ARRAY_LEN(bad); i++) {
        gw_cidr c;
        if (gw_cidr_parse(gw_str_of(bad[i]), &c))
            fail_msg("accepted %s", bad[i]);
    }
}

static void every_address_has_its_kind(void **state)
{
    (void)state;
    static const struct {
        const char *address;
        gw_ip_kind kind;
    } cases[] = {
        {"8.8.8.8", GW_IP_PUBLIC},
        {"9.255.255.255", GW_IP_PUBLIC},
        {"11.0.0.0", GW_IP_PUBLIC},
        {"172.15.255.255", GW_IP_PUBLIC},
        {"172.32.0.0", GW_IP_PUBLIC},
        {"192.167.255.255", GW_IP_PUBLIC},
        {"223.255.255.255", GW_IP_PUBLIC},
        {"127.0.0.1", GW_IP_LOOPBACK},
        {"127.255.255.255", GW_IP_LOOPBACK},
        {"10.0.0.1", GW_IP_PRIVATE},
        {"172.16.0.1", GW_IP_PRIVATE},
        {"172.31.255.255", GW_IP_PRIVATE},
        {"192.168.0.1", GW_IP_PRIVATE},
        {"100.64.0.1", GW_IP_PRIVATE},
        {"100.127.255.255", GW_IP_PRIVATE},
        {"100.128.0.0", GW_IP_PUBLIC},
        {"100.100.100.200", GW_IP_FORBIDDEN},
        {"169.254.169.254", GW_IP_FORBIDDEN},
        {"169.254.0.1", GW_IP_FORBIDDEN},
        {"168.63.129.16", GW_IP_FORBIDDEN},
        {"0.0.0.0", GW_IP_FORBIDDEN},
        {"0.1.2.3", GW_IP_FORBIDDEN},
        {"192.0.0.192", GW_IP_FORBIDDEN},
        {"192.0.2.1", GW_IP_FORBIDDEN},
        {"198.18.0.1", GW_IP_FORBIDDEN},
        {"224.0.0.1", GW_IP_FORBIDDEN},
        {"239.255.255.255", GW_IP_FORBIDDEN},
        {"240.0.0.1", GW_IP_FORBIDDEN},
        {"255.255.255.255", GW_IP_FORBIDDEN},
        {"::1", GW_IP_LOOPBACK},
        {"::", GW_IP_FORBIDDEN},
        {"::127.0.0.1", GW_IP_FORBIDDEN},
        {"::ffff:127.0.0.1", GW_IP_LOOPBACK},
        {"::ffff:169.254.169.254", GW_IP_FORBIDDEN},
        {"2606:4700::1111", GW_IP_PUBLIC},
        {"fc00::1", GW_IP_PRIVATE},
        {"fdff::1", GW_IP_PRIVATE},
        {"fd00:ec2::254", GW_IP_FORBIDDEN},
        {"fe80::1", GW_IP_FORBIDDEN},
        {"fec0::1", GW_IP_FORBIDDEN},
        {"ff02::1", GW_IP_FORBIDDEN},
        {"2001:db8::1", GW_IP_FORBIDDEN},
        {"2001::1", GW_IP_FORBIDDEN},
        {"2002:7f00:1::", GW_IP_FORBIDDEN},
        {"3fff::1", GW_IP_FORBIDDEN},
        {"100::1", GW_IP_FORBIDDEN},
        {"64:ff9b::8.8.8.8", GW_IP_PUBLIC},
        {"64:ff9b::127.0.0.1", GW_IP_FORBIDDEN},
        {"64:ff9b::10.0.0.1", GW_IP_FORBIDDEN},
        {"64:ff9b:1::8.8.8.8", GW_IP_FORBIDDEN},
        {"4000::1", GW_IP_FORBIDDEN},
    };
    for (size_t i = 0; i < GW_ARRAY_LEN(cases); i++) {
        gw_ip ip = ip_of(cases[i].address);
        if (gw_ip_classify(&ip) != cases[i].kind)
            fail_msg("%s", cases[i].address);
    }
}

static void host_and_port_are_split(void **state)
{
    (void)state;
    static const struct {
        const char *text, *host;
        int port; /* -1 = refused */
    } cases[] = {
        {"127.0.0.1:8080", "127.0.0.1", 8080},
        {"localhost:0", "localhost", 0},
        {"h:65535", "h", 65535},
        {"[::1]:443", "::1", 443},
        {"[::ffff:1.2.3.4]:1", "::ffff:1.2.3.4", 1},
        {"h:65536", NULL, -1},
        {"h:", NULL, -1},
        {"h", NULL, -1},
        {":80", NULL, -1},
        {"", NULL, -1},
        {"::1:80", NULL, -1},
        {"[::1]", NULL, -1},
        {"[::1]80", NULL, -1},
        {"[::1:80", NULL, -1},
        {"[1.2.3.4]:80", NULL, -1},
        {"[]:80", NULL, -1},
        {"h:8o", NULL, -1},
        {"h:-1", NULL, -1},
        {"h:80 ", NULL, -1},
        {"h:000080", NULL, -1},
        {"a:b:80", NULL, -1},
    };
    for (size_t i = 0; i < GW_ARRAY_LEN(cases); i++) {
        gw_str host = GW_STR("untouched");
        uint16_t port = 4711;
        bool ok = gw_host_port_split(gw_str_of(cases[i].text), &host, &port);
        if (ok != (cases[i].port >= 0))
            fail_msg("%s", cases[i].text);
        assert_true(gw_str_eq_c(host, ok ? cases[i].host : "untouched"));
        assert_int_equal(port, ok ? cases[i].port : 4711);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(addresses_are_read_and_written_in_one_form),
        cmocka_unit_test(socket_addresses_are_read),
        cmocka_unit_test(blocks_contain_what_they_say),
        cmocka_unit_test(malformed_blocks_are_refused),
        cmocka_unit_test(every_address_has_its_kind),
        cmocka_unit_test(host_and_port_are_split),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
