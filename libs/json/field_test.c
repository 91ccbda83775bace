#include "json/field.h"

#include "testing/cmocka.h"

#include <apirelay/auth/v1/api_key.pb-c.h>
#include <apirelay/relay/v1/model_route.pb-c.h>
#include <apirelay/relay/v1/provider.pb-c.h>

typedef Apirelay__Auth__V1__KeyLimits key_limits;
typedef Apirelay__Relay__V1__Provider provider;

static bool is_set(const ProtobufCMessage *m, const char *name)
{
    return gw_field_is_set(m, gw_field_named(m->descriptor, gw_str_of(name)));
}

static void share(ProtobufCMessage *to, const ProtobufCMessage *from, const char *name)
{
    gw_field_share(to, from, gw_field_named(to->descriptor, gw_str_of(name)));
}

static void a_field_is_found_by_either_name(void **state)
{
    const ProtobufCMessageDescriptor *d = &apirelay__relay__v1__provider__descriptor;
    const ProtobufCFieldDescriptor *f = gw_field_named(d, GW_STR("base_url"));

    (void)state;
    assert_non_null(f);
    assert_ptr_equal(gw_field_named(d, GW_STR("baseUrl")), f);
    assert_null(gw_field_named(d, GW_STR("BaseUrl")));
    assert_null(gw_field_named(d, GW_STR("baseUrls")));
    assert_null(gw_field_named(d, GW_STR("base")));
    assert_null(gw_field_named(d, GW_STR("")));
}

static void texts_and_numbers_are_shared_and_cleared(void **state)
{
    char url[] = "http://other/v1";
    provider from = APIRELAY__RELAY__V1__PROVIDER__INIT, to = from;

    (void)state;
    from.base_url = url;
    from.idle_timeout_ms = 5000000000;
    share(&to.base, &from.base, "base_url");
    assert_ptr_equal(to.base_url, url);
    assert_int_equal(to.idle_timeout_ms, 0);
    share(&to.base, &from.base, "idle_timeout_ms");
    assert_int_equal(to.idle_timeout_ms, 5000000000);
    assert_true(is_set(&to.base, "base_url"));
    assert_true(is_set(&to.base, "idle_timeout_ms"));
    assert_false(is_set(&to.base, "created_at"));
    share(&to.base, NULL, "base_url");
    share(&to.base, NULL, "idle_timeout_ms");
    assert_string_equal(to.base_url, "");
    assert_false(is_set(&to.base, "base_url"));
    assert_false(is_set(&to.base, "idle_timeout_ms"));
}

static void lists_are_shared_with_their_count(void **state)
{
    char model[] = "a";
    char *listed[] = {model, model};
    Apirelay__Relay__V1__ModelRoute from = APIRELAY__RELAY__V1__MODEL_ROUTE__INIT, to = from;

    (void)state;
    from.listed_models = listed;
    from.n_listed_models = 2;
    share(&to.base, &from.base, "listed_models");
    assert_true(is_set(&to.base, "listed_models"));
    assert_int_equal(to.n_listed_models, 2);
    assert_ptr_equal(to.listed_models, listed);
    share(&to.base, NULL, "listed_models");
    assert_false(is_set(&to.base, "listed_models"));
    assert_null(to.listed_models);
}

static void a_oneof_of_one_tells_nought_from_nothing(void **state)
{
    key_limits from = APIRELAY__AUTH__V1__KEY_LIMITS__INIT, to = from;

    (void)state;
    assert_false(is_set(&from.base, "requests_per_day"));
    from.requests_per_day_presence_case =
        APIRELAY__AUTH__V1__KEY_LIMITS__REQUESTS_PER_DAY_PRESENCE_REQUESTS_PER_DAY;
    assert_true(is_set(&from.base, "requests_per_day"));
    to.requests_per_day = 7;
    share(&to.base, &from.base, "requests_per_day");
    assert_true(is_set(&to.base, "requests_per_day"));
    assert_int_equal(to.requests_per_day, 0);
    share(&to.base, NULL, "requests_per_day");
    assert_false(is_set(&to.base, "requests_per_day"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_field_is_found_by_either_name),
        cmocka_unit_test(texts_and_numbers_are_shared_and_cleared),
        cmocka_unit_test(lists_are_shared_with_their_count),
        cmocka_unit_test(a_oneof_of_one_tells_nought_from_nothing),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
