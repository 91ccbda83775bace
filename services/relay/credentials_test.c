#include "credentials.h"

#include "endpoint.h"

#include "testing/cmocka.h"

static void the_key_is_read_from_either_header(void **state)
{
    static const struct {
        const char *authorization, *api_key;
        const char *expected; /* NULL: refused */
    } cases[] = {
        {"Bearer lc_x", NULL, "lc_x"},
        {"bearer   lc_x ", NULL, "lc_x"},
        {NULL, "lc_x", "lc_x"},
        {"Bearer lc_x", "lc_x", "lc_x"},
        {"Bearer lc_x", "lc_y", NULL},
        {"Basic abc", NULL, NULL},
        {"Bearer ", NULL, NULL},
        {"Bearer", NULL, NULL},
        {"lc_x", NULL, NULL},
        {"", "lc_x", NULL},
        {NULL, "", NULL},
        {NULL, NULL, NULL},
    };

    (void)state;
    for (size_t i = 0; i < GW_ARRAY_LEN(cases); i++) {
        gw_header items[2];
        size_t n = 0;
        gw_str key;
        gw_error err;
        if (cases[i].authorization)
            items[n++] = (gw_header){GW_STR("Authorization"), gw_str_of(cases[i].authorization)};
        if (cases[i].api_key)
            items[n++] = (gw_header){GW_STR("X-Api-Key"), gw_str_of(cases[i].api_key)};
        gw_status rc = credentials_read((gw_headers){.items = items, .count = n}, &key, &err);
        if (!cases[i].expected)
            assert_int_equal(rc, GW_ERR_KEY_INVALID);
        else
            assert_true(rc == GW_OK && gw_str_eq_c(key, cases[i].expected));
    }
}

static void a_header_given_twice_is_refused(void **state)
{
    gw_header items[] = {{GW_STR("x-api-key"), GW_STR("a")}, {GW_STR("X-API-KEY"), GW_STR("a")}};
    gw_str key;
    gw_error err;

    (void)state;
    assert_int_equal(credentials_read((gw_headers){.items = items, .count = 2}, &key, &err),
                     GW_ERR_KEY_INVALID);
}

static void endpoints_are_found_by_path(void **state)
{
    static const struct {
        const char *path;
        relay_endpoint endpoint;
        const char *rest;
    } cases[] = {
        {"/v1/chat/completions", ENDPOINT_CHAT, ""},
        {"/v1/completions", ENDPOINT_COMPLETIONS, ""},
        {"/v1/embeddings", ENDPOINT_EMBEDDINGS, ""},
        {"/v1/models", ENDPOINT_MODELS, ""},
        {"/v1/models/meta/llama-3%20x", ENDPOINT_MODEL, "meta/llama-3%20x"},
        {"/v1/models/", ENDPOINT_NONE, ""},
        {"/v1/usage", ENDPOINT_USAGE, ""},
        {"/v1/usage/", ENDPOINT_NONE, ""},
        {"/v1/chat", ENDPOINT_NONE, ""},
        {"/V1/models", ENDPOINT_NONE, ""},
        {"/", ENDPOINT_NONE, ""},
        {"", ENDPOINT_NONE, ""},
    };

    (void)state;
    for (size_t i = 0; i < GW_ARRAY_LEN(cases); i++) {
        gw_str rest;
        if (endpoint_find(gw_str_of(cases[i].path), &rest) != cases[i].endpoint ||
            !gw_str_eq_c(rest, cases[i].rest))
            fail_msg("%s", cases[i].path);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_key_is_read_from_either_header),
        cmocka_unit_test(a_header_given_twice_is_refused),
        cmocka_unit_test(endpoints_are_found_by_path),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
