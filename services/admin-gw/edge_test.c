#include "edge.h"

#include "testing/cmocka.h"

static const char *const hosts[] = {"localhost", "127.0.0.1", "[::1]"};
static const char *const origins[] = {"https://dashboard.example.com"};
static const edge_rules rules = {
    .hosts = hosts, .host_count = 3, .origins = origins, .origin_count = 1};

static void only_hosts_of_the_list_are_served(void **state)
{
    static const struct {
        const char *host;
        bool served;
    } cases[] = {
        {"localhost", true},         {"LOCALHOST:8081", true},
        {"127.0.0.1:1", true},       {"[::1]:8081", true},
        {"evil.example", false},     {"localhost.evil.example", false},
        {"127.0.0.1.nip.io", false}, {"", false},
    };
    (void)state;
    for (size_t i = 0; i < GW_ARRAY_LEN(cases); i++) {
        const gw_header host = {GW_STR("Host"), gw_str_of(cases[i].host)};
        gw_error err;
        bool served =
            edge_check_host(&rules, (gw_headers){.items = &host, .count = 1}, &err) == GW_OK;
        if (served != cases[i].served)
            fail_msg("%s", cases[i].host);
    }
}

static gw_status check(const char *origin, const char *type, const char *site, bool has_body)
{
    gw_header items[4] = {{GW_STR("Host"), GW_STR("localhost:8081")}};
    size_t n = 1;
    gw_error err;
    if (origin)
        items[n++] = (gw_header){GW_STR("Origin"), gw_str_of(origin)};
    if (type)
        items[n++] = (gw_header){GW_STR("Content-Type"), gw_str_of(type)};
    if (site)
        items[n++] = (gw_header){GW_STR("Sec-Fetch-Site"), gw_str_of(site)};
    return edge_check_change(&rules, (gw_headers){.items = items, .count = n}, has_body, &err);
}

static void a_compressed_body_is_not_taken(void **state)
{
    static const struct {
        const char *coding;
        bool has_body;
        gw_status rc;
    } cases[] = {
        {"gzip", true, GW_ERR_UNSUPPORTED_MEDIA_TYPE},
        {"Identity", true, GW_OK},
        {"gzip", false, GW_OK}, /* of nothing */
    };
    (void)state;
    for (size_t i = 0; i < GW_ARRAY_LEN(cases); i++) {
        gw_header items[] = {{GW_STR("Host"), GW_STR("localhost:8081")},
                             {GW_STR("Content-Type"), GW_STR("application/json")},
                             {GW_STR("Content-Encoding"), gw_str_of(cases[i].coding)}};
        gw_error err;
        gw_headers h = {.items = items, .count = GW_ARRAY_LEN(items)};
        if (edge_check_change(&rules, h, cases[i].has_body, &err) != cases[i].rc)
            fail_msg("case %zu", i);
    }
}

static void a_change_comes_from_our_own_pages_as_json(void **state)
{
    static const struct {
        const char *origin, *type, *site;
        bool has_body;
        gw_status rc;
    } cases[] = {
        {NULL, NULL, NULL, false, GW_OK},
        {NULL, "application/json; charset=utf-8", NULL, true, GW_OK},
        {"http://localhost:8081", "application/json", "same-origin", true, GW_OK},
        {"https://localhost:8081", "application/json", NULL, true, GW_OK},
        {"https://dashboard.example.com", "application/json", "cross-site", true, GW_OK},
        {"http://localhost:9", NULL, NULL, false, GW_ERR_PERMISSION_DENIED},
        {"http://evil.example", NULL, NULL, false, GW_ERR_PERMISSION_DENIED},
        {"null", NULL, NULL, false, GW_ERR_PERMISSION_DENIED},
        {"", NULL, NULL, false, GW_ERR_PERMISSION_DENIED},
        {NULL, NULL, "cross-site", false, GW_ERR_PERMISSION_DENIED},
        {NULL, "text/plain", NULL, true, GW_ERR_UNSUPPORTED_MEDIA_TYPE},
        {NULL, "text/plain", NULL, false, GW_ERR_UNSUPPORTED_MEDIA_TYPE},
        {NULL, NULL, NULL, true, GW_ERR_UNSUPPORTED_MEDIA_TYPE},
    };
    (void)state;
    for (size_t i = 0; i < GW_ARRAY_LEN(cases); i++) {
        if (check(cases[i].origin, cases[i].type, cases[i].site, cases[i].has_body) != cases[i].rc)
            fail_msg("case %zu", i);
    }
}

static void only_admins_credentials_are_forwarded(void **state)
{
    static const struct {
        const char *value;
        gw_status rc;
        const char *credential;
    } cases[] = {
        {"Bearer lcadm_abc", GW_OK, "lcadm_abc"},
        {"bearer  lcses_abc", GW_OK, "lcses_abc"},
        {"Bearer lcsvc_abc", GW_ERR_UNAUTHENTICATED, ""},
        {"Bearer lc_prod_abc", GW_ERR_UNAUTHENTICATED, ""},
        {"Basic bGNhZG1fOg==", GW_ERR_UNAUTHENTICATED, ""},
        {"Bearer", GW_ERR_UNAUTHENTICATED, ""},
        {"Bearer lcadm_a lcadm_b", GW_ERR_UNAUTHENTICATED, ""},
        {"Bearer lcadm_\xff", GW_ERR_UNAUTHENTICATED, ""},
        {"", GW_ERR_UNAUTHENTICATED, ""},
    };
    gw_error err;
    gw_str credential;
    (void)state;
    for (size_t i = 0; i < GW_ARRAY_LEN(cases); i++) {
        const gw_header h = {GW_STR("Authorization"), gw_str_of(cases[i].value)};
        assert_int_equal(edge_bearer((gw_headers){.items = &h, .count = 1}, &credential, &err),
                         cases[i].rc);
        assert_true(gw_str_eq_c(credential, cases[i].credential));
    }
    assert_int_equal(edge_bearer((gw_headers){.items = NULL, .count = 0}, &credential, &err),
                     GW_OK);
    assert_int_equal(credential.len, 0);
    const gw_header two[] = {{GW_STR("Authorization"), GW_STR("Bearer lcadm_a")},
                             {GW_STR("authorization"), GW_STR("Bearer lcadm_b")}};
    assert_int_equal(edge_bearer((gw_headers){.items = two, .count = 2}, &credential, &err),
                     GW_ERR_MALFORMED_HTTP);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(only_hosts_of_the_list_are_served),
        cmocka_unit_test(a_change_comes_from_our_own_pages_as_json),
        cmocka_unit_test(a_compressed_body_is_not_taken),
        cmocka_unit_test(only_admins_credentials_are_forwarded),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
