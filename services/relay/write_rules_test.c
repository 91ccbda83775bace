#include "write_rules.h"

#include "testing/cmocka.h"

static provider_message provider_at(const char *url)
{
    provider_message p = APIRELAY__RELAY__V1__PROVIDER__INIT;
    p.base_url = (char *)(uintptr_t)url;
    return p;
}

static void an_address_that_is_never_connected_to_is_no_base_url(void **state)
{
    (void)state;
    static const struct {
        const char *url;
        size_t mistakes;
    } cases[] = {
        {"http://169.254.169.254/v1", 1}, {"https://[fe80::1]:8443/v1", 1}, {"http://0.0.0.0/", 1},
        {"http://224.0.0.1/", 1},         {"http://127.0.0.1:1/", 0},       {"http://10.0.0.1/", 0},
        {"https://8.8.8.8/v1", 0},        {"https://api.example.com/", 0},  {"no URL at all", 0},
    };
    for (size_t i = 0; i < GW_ARRAY_LEN(cases); i++) {
        provider_message p = provider_at(cases[i].url);
        gw_violations v = {0};
        provider_write_check(&p, &v);
        if (v.count != cases[i].mistakes)
            fail_msg("%s: %zu", cases[i].url, v.count);
    }
}

static void a_base_url_has_an_end(void **state)
{
    (void)state;
    char url[2002] = "http://h/";
    gw_violations v = {0};
    memset(url + strlen(url), 'a', 2000 - strlen("http://h/"));
    provider_message p = provider_at(url);
    provider_write_check(&p, &v);
    assert_int_equal(v.count, 0);
    url[2000] = 'a';
    provider_write_check(&p, &v);
    assert_int_equal(v.count, 1);
    assert_string_equal(v.items[0].field, "baseUrl");
}

static void a_credential_is_named_once(void **state)
{
    (void)state;
    char a[] = "env:RELAY_CREDENTIAL_A", b[] = "env:RELAY_CREDENTIAL_B";
    char *more[] = {b, a, b};
    provider_message p = provider_at("http://h/");
    gw_violations v = {0};
    p.credential = a;
    p.more_credentials = more;
    p.n_more_credentials = 1;
    provider_write_check(&p, &v);
    assert_int_equal(v.count, 0);
    p.n_more_credentials = 3;
    provider_write_check(&p, &v);
    assert_int_equal(v.count, 2);
    assert_string_equal(v.items[0].field, "moreCredentials[1]");
    assert_string_equal(v.items[1].field, "moreCredentials[2]");
}

static void a_route_of_a_name_may_not_ask_for_it_twice(void **state)
{
    (void)state;
    Apirelay__Relay__V1__RouteTarget own = APIRELAY__RELAY__V1__ROUTE_TARGET__INIT, named = own;
    Apirelay__Relay__V1__RouteTarget *targets[] = {&own, &named};
    route_message r = APIRELAY__RELAY__V1__MODEL_ROUTE__INIT;
    char provider[] = "p", other[] = "q", name[] = "m", glob[] = "m*";
    gw_violations v = {0};
    own.provider = named.provider = provider;
    named.upstream_model = name;
    r.model = name;
    r.targets = targets;
    r.n_targets = 2;
    route_write_check(&r, &v);
    assert_int_equal(v.count, 1);
    assert_string_equal(v.items[0].field, "targets[1]");
    v.count = 0;
    named.provider = other;
    route_write_check(&r, &v);
    assert_int_equal(v.count, 0);
    named.provider = provider;
    r.model = glob;
    route_write_check(&r, &v);
    assert_int_equal(v.count, 0);
}

static void what_a_route_lists_it_takes(void **state)
{
    (void)state;
    static char mine[] = "house-a", other[] = "garden";
    char glob[] = "house-*", exact[] = "house-a";
    char *listed[] = {mine, other};
    route_message r = APIRELAY__RELAY__V1__MODEL_ROUTE__INIT;
    gw_violations v = {0};
    r.listed_models = listed;
    r.n_listed_models = 1;
    r.model = glob;
    route_write_check(&r, &v);
    r.model = exact;
    route_write_check(&r, &v);
    assert_int_equal(v.count, 0);
    r.n_listed_models = 2;
    route_write_check(&r, &v);
    assert_int_equal(v.count, 1);
    assert_string_equal(v.items[0].field, "listedModels[1]");
}

static void names_of_a_route_are_labels(void **state)
{
    (void)state;
    static char bad[] = "a\xc2\x9b", spaces[] = "  ", turned[] = "a\xe2\x80\xae",
                lines[] = "\xe2\x80\xa8";
    char *listed[] = {turned};
    Apirelay__Relay__V1__RouteTarget target = APIRELAY__RELAY__V1__ROUTE_TARGET__INIT;
    Apirelay__Relay__V1__RouteTarget *targets[] = {&target};
    route_message r = APIRELAY__RELAY__V1__MODEL_ROUTE__INIT;
    gw_violations v = {0};
    static const char *const fields[] = {"model", "targets[0].upstreamModel", "listedModels[0]",
                                         "ownedBy",
                                         "listedModels[0]" /* not of the route either */};
    target.upstream_model = spaces;
    r.model = bad;
    r.owned_by = lines;
    r.targets = targets;
    r.n_targets = 1;
    r.listed_models = listed;
    r.n_listed_models = 1;
    route_write_check(&r, &v);
    assert_int_equal(v.count, GW_ARRAY_LEN(fields));
    for (size_t i = 0; i < v.count; i++)
        assert_string_equal(v.items[i].field, fields[i]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_address_that_is_never_connected_to_is_no_base_url),
        cmocka_unit_test(a_base_url_has_an_end),
        cmocka_unit_test(a_credential_is_named_once),
        cmocka_unit_test(a_route_of_a_name_may_not_ask_for_it_twice),
        cmocka_unit_test(what_a_route_lists_it_takes),
        cmocka_unit_test(names_of_a_route_are_labels),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
