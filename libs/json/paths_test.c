#include "json/json_testing.h"

#include <apirelay/auth/v1/api_key_service.pb-c.h>
#include <apirelay/usage/v1/ingest_service.pb-c.h>
#include <google/protobuf/struct.pb-c.h>

static Apirelay__Auth__V1__UpdateApiKeyRequest *update_request(ProtobufCMessage *m)
{
    void *typed = m;
    return (Apirelay__Auth__V1__UpdateApiKeyRequest *)typed;
}

/* Sets the field at `path` of `m` from text. */
static gw_status set(ProtobufCMessage *m, const char *path, const char *text, gw_error *err)
{
    ProtobufCMessage *parent = NULL;
    const ProtobufCFieldDescriptor *f = NULL;
    gw_status rc = gw_json_field_by_path(m, gw_str_of(path), &parent, &f, err);
    return rc != GW_OK ? rc : gw_json_set_from_text(parent, f, gw_str_of(text), err);
}

static void names_are_lower_camel_case(void **state)
{
    static const char *const cases[][2] = {
        {"id", "id"},
        {"cost_limit_nano_usd", "costLimitNanoUsd"},
        {"p95_response_time", "p95ResponseTime"},
        {"foo_1", "foo1"},
        {"ttft_ms", "ttftMs"},
    };
    char name[GW_JSON_NAME_SIZE];
    (void)state;
    for (size_t i = 0; i < GW_ARRAY_LEN(cases); i++) {
        gw_json_name(cases[i][0], name);
        assert_string_equal(name, cases[i][1]);
    }
}

static void text_sets_fields_by_path_making_messages(void **state)
{
    gw_auto_message m =
        gw_json_new_message(TEST_DESCRIPTOR(apirelay__auth__v1__update_api_key_request));
    (void)state;

    assert_int_equal(set(m, "id", "abc", NULL), GW_OK);
    assert_int_equal(set(m, "id", "abd", NULL), GW_OK);
    assert_int_equal(set(m, "api_key.limits.requestsPerDay", "42", NULL), GW_OK);
    assert_int_equal(set(m, "apiKey.limits.costLimit", "1.5", NULL), GW_OK);
    assert_int_equal(set(m, "apiKey.permissions.models", "a", NULL), GW_OK);
    assert_int_equal(set(m, "apiKey.permissions.models", "b", NULL), GW_OK);
    assert_int_equal(set(m, "apiKey.cache.enabled", "true", NULL), GW_OK);
    assert_int_equal(set(m, "apiKey.createdAt", "2026-11-23T06:45:21Z", NULL), GW_OK);
    assert_int_equal(set(m, "apiKey.createdAt", "2026-11-23T06:45:22Z", NULL), GW_OK);
    assert_int_equal(set(m, "updateMask", "name,limits.costLimit", NULL), GW_OK);

    Apirelay__Auth__V1__UpdateApiKeyRequest *r = update_request(m);
    assert_string_equal(r->id, "abd");
    assert_int_equal(r->api_key->limits->requests_per_day, 42);
    assert_true(r->api_key->limits->cost_limit == 1.5);
    assert_int_equal(r->api_key->permissions->n_models, 2);
    assert_string_equal(r->api_key->permissions->models[1], "b");
    assert_true(r->api_key->cache->enabled);
    assert_int_equal(r->api_key->created_at->seconds, 1795416322);
    assert_string_equal(r->update_mask->paths[1], "limits.cost_limit");
}

static void bad_text_and_paths_are_refused(void **state)
{
    static const struct {
        const char *path;
        const char *text;
        gw_status expected;
    } cases[] = {
        {"nope", "1", GW_ERR_NOT_FOUND},
        {"", "1", GW_ERR_NOT_FOUND},
        {"apiKey.", "1", GW_ERR_NOT_FOUND},
        {"id.x", "1", GW_ERR_NOT_FOUND},
        {"apiKey.createdAt.seconds", "1", GW_ERR_NOT_FOUND},
        {"apiKey.permissions.models.x", "1", GW_ERR_NOT_FOUND},
        {"apiKey.limits", "{}", GW_ERR_INVALID_ARGUMENT},
        {"apiKey.limits.requestsPerDay", "", GW_ERR_INVALID_ARGUMENT},
        {"apiKey.limits.requestsPerDay", "x", GW_ERR_INVALID_ARGUMENT},
        {"apiKey.limits.requestsPerDay", "9223372036854775808", GW_ERR_INVALID_ARGUMENT},
        {"apiKey.cache.enabled", "True", GW_ERR_INVALID_ARGUMENT},
        {"apiKey.createdAt", "yesterday", GW_ERR_INVALID_ARGUMENT},
        {"updateMask", "a,,b", GW_ERR_INVALID_ARGUMENT},
        {"apiKey.name", "\xff", GW_ERR_INVALID_ARGUMENT},
    };
    gw_auto_message m =
        gw_json_new_message(TEST_DESCRIPTOR(apirelay__auth__v1__update_api_key_request));
    (void)state;
    for (size_t i = 0; i < GW_ARRAY_LEN(cases); i++) {
        gw_error err = {0};
        if (set(m, cases[i].path, cases[i].text, &err) != cases[i].expected)
            fail_msg("%s=%s: %s", cases[i].path, cases[i].text, err.message);
    }
}

static void text_sets_enums_bytes_and_oneofs(void **state)
{
    gw_auto_message m = gw_json_new_message(TEST_DESCRIPTOR(apirelay__usage__v1__stream_response));
    gw_error err = {0};
    (void)state;

    assert_int_equal(set(m, "error.code", "ERROR_CODE_GONE", NULL), GW_OK);
    assert_int_equal(set(m, "error.code", "5", NULL), GW_OK);
    assert_int_equal(set(m, "error.code", "99", NULL), GW_ERR_INVALID_ARGUMENT);
    assert_int_equal(set(m, "ack.n", "1", &err), GW_ERR_INVALID_ARGUMENT);
    const void *typed = m;
    const Apirelay__Usage__V1__StreamResponse *r =
        (const Apirelay__Usage__V1__StreamResponse *)typed;
    assert_int_equal(r->error->code, APIRELAY__USAGE__V1__ERROR_CODE__ERROR_CODE_BUSY);

    gw_auto_message w = gw_json_new_message(TEST_DESCRIPTOR(apirelay__usage__v1__welcome));
    const void *typed_w = w;
    assert_int_equal(set(w, "lastEventId", "AAE=", NULL), GW_OK);
    assert_int_equal(set(w, "lastEventId", "AAEC", NULL), GW_OK);
    assert_int_equal(((const Apirelay__Usage__V1__Welcome *)typed_w)->last_event_id.len, 3);
}

static gw_status mask_of(const char *text, gw_buf *out, gw_error *err)
{
    yyjson_doc *doc = yyjson_read(text, strlen(text), 0);
    gw_status rc = gw_json_mask_of(TEST_DESCRIPTOR(apirelay__auth__v1__api_key),
                                   yyjson_doc_get_root(doc), out, err);
    yyjson_doc_free(doc);
    return rc;
}

static void a_mask_names_the_members_present(void **state)
{
    static const char *const cases[][2] = {
        {"{}", ""},
        {"{\"name\":\"a\"}", "name"},
        {"{\"name\":null,\"user_id\":\"\"}", "name,userId"},
        {"{\"limits\":{\"requestsPerDay\":null,\"costLimit\":1}}",
         "limits.requestsPerDay,limits.costLimit"},
        {"{\"limits\":null,\"permissions\":{\"models\":[\"a\"],\"features\":{\"vision\":true}}}",
         "limits,permissions.models,permissions.features.vision"},
        {"{\"security\":{\"expiresAt\":\"2026-01-01T00:00:00Z\"}}", "security.expiresAt"},
        {"{\"limits\":{}}", ""},
    };
    (void)state;
    for (size_t i = 0; i < GW_ARRAY_LEN(cases); i++) {
        gw_auto_buf out = {0};
        assert_int_equal(mask_of(cases[i][0], &out, NULL), GW_OK);
        assert_true(gw_str_eq_c(gw_buf_str(&out), cases[i][1]));
    }
}

static void a_mask_refuses_what_is_no_field(void **state)
{
    gw_auto_buf out = {0};
    gw_error err = {0};
    (void)state;
    gw_buf_append_c(&out, "kept");
    assert_int_equal(mask_of("{\"name\":1,\"limits\":{\"x\":1}}", &out, &err),
                     GW_ERR_INVALID_ARGUMENT);
    assert_string_equal(err.field, "limits.x");
    assert_int_equal(mask_of("[]", &out, &err), GW_ERR_INVALID_ARGUMENT);
    assert_string_equal(out.data, "kept");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(names_are_lower_camel_case),
        cmocka_unit_test(text_sets_fields_by_path_making_messages),
        cmocka_unit_test(bad_text_and_paths_are_refused),
        cmocka_unit_test(text_sets_enums_bytes_and_oneofs),
        cmocka_unit_test(a_mask_names_the_members_present),
        cmocka_unit_test(a_mask_refuses_what_is_no_field),
    };
    return cmocka_run_group_tests_name("paths", tests, NULL, NULL);
}
