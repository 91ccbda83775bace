#include "access/peers.h"

#include "testing/cmocka.h"

#include <stdio.h>

static const char *const list[] = {"relay=relay", "relay=spiffe://Cluster.example/relay",
                                   "admin-gw=gateway.example", "usage=shared.example",
                                   "auth=shared.example"};

/* Names of the services, joined by a comma. */
static const char *services_of(const gw_rpc_san *sans, size_t n)
{
    static char text[128];
    gw_auto(gw_peers) p = NULL;
    gw_error err;
    assert_int_equal(gw_peers_new(list, GW_ARRAY_LEN(list), &p, &err), GW_OK);
    gw_rpc_peer peer = {true, sans, n};
    gw_auto_buf out = {0};
    gw_str service;
    for (size_t at = 0; gw_peers_next(p, &peer, &at, &service);)
        gw_buf_appendf(&out, "%s" GW_STR_FMT, out.len ? "," : "", GW_STR_ARG(service));
    (void)snprintf(text, sizeof text, "%s", out.len ? out.data : "");
    return text;
}

static void a_certificate_speaks_for_the_services_of_its_names(void **state)
{
    (void)state;
    const struct {
        gw_rpc_san san;
        const char *services;
    } cases[] = {
        {{GW_RPC_SAN_DNS, GW_STR("relay")}, "relay"},
        {{GW_RPC_SAN_DNS, GW_STR("RELAY")}, "relay"},
        {{GW_RPC_SAN_URI, GW_STR("spiffe://Cluster.example/relay")}, "relay"},
        {{GW_RPC_SAN_URI, GW_STR("spiffe://cluster.example/relay")}, ""},
        {{GW_RPC_SAN_URI, GW_STR("relay")}, ""},
        {{GW_RPC_SAN_DNS, GW_STR("spiffe://Cluster.example/relay")}, ""},
        {{GW_RPC_SAN_DNS, GW_STR("gateway.example")}, "admin-gw"},
        {{GW_RPC_SAN_DNS, GW_STR("admin-gw")}, ""}, /* the list says another name */
        {{GW_RPC_SAN_DNS, GW_STR("*.example")}, ""},
        {{GW_RPC_SAN_DNS, GW_STR("relay\0.evil.example")}, ""},
        {{GW_RPC_SAN_DNS, GW_STR("relay.")}, ""},
        {{GW_RPC_SAN_DNS, GW_STR("")}, ""},
        {{GW_RPC_SAN_DNS, GW_STR("shared.example")}, "usage,auth"},
    };
    for (size_t i = 0; i < GW_ARRAY_LEN(cases); i++)
        assert_string_equal(services_of(&cases[i].san, 1), cases[i].services);
    const gw_rpc_san several[] = {{GW_RPC_SAN_DNS, GW_STR("nobody")},
                                  {GW_RPC_SAN_DNS, GW_STR("relay")}};
    assert_string_equal(services_of(several, 2), "relay");
    assert_string_equal(services_of(NULL, 0), "");
}

static void all_bad_entries_are_named_together(void **state)
{
    (void)state;
    const char *const bad[] = {"relay=relay", "relay", "=relay",         "relay=",       "Relay=x",
                               "a=b c",       "a=*.b", "a=spiffe://*/x", "a=http://b c", "a=b=c"};
    gw_peers *p = NULL;
    gw_error err;
    assert_int_equal(gw_peers_new(bad, GW_ARRAY_LEN(bad), &p, &err), GW_ERR_INVALID_ARGUMENT);
    for (size_t i = 1; i < GW_ARRAY_LEN(bad); i++)
        assert_non_null(strstr(err.message, bad[i]));
    assert_null(strstr(err.message, "`relay=relay`"));
    assert_null(p);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_certificate_speaks_for_the_services_of_its_names),
        cmocka_unit_test(all_bad_entries_are_named_together),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
