#include "schema/all.h"

#include "testing/cmocka.h"

#include "apirelay/auth/v1/api_key_service.pb-c.h"
#include "google/protobuf/descriptor.pb-c.h"
#include "gw_descriptor_set.h"

#include <stdio.h>
#include <stdlib.h>

static gw_schema *schema;

static int setup(void **state)
{
    (void)state;
    gw_error err;
    return gw_schema_all(&schema, &err) == GW_OK ? 0 : -1;
}

static int teardown(void **state)
{
    (void)state;
    gw_schema_free(schema);
    return 0;
}

static const gw_method *method(const char *path)
{
    const gw_method *m = gw_schema_method(schema, gw_str_of(path));
    assert_non_null(m);
    return m;
}

static void every_service_of_the_descriptor_set_is_in_the_schema(void **state)
{
    (void)state;
    Google__Protobuf__FileDescriptorSet *set = google__protobuf__file_descriptor_set__unpack(
        NULL, gw_descriptor_set_len, gw_descriptor_set);
    assert_non_null(set);
    size_t rpcs = 0;
    for (size_t i = 0; i < set->n_file; i++) {
        for (size_t k = 0; k < set->file[i]->n_service; k++) {
            const Google__Protobuf__ServiceDescriptorProto *s = set->file[i]->service[k];
            for (size_t r = 0; r < s->n_method; r++, rpcs++) {
                char path[256];
                (void)snprintf(path, sizeof path, "/%s.%s/%s", set->file[i]->package, s->name,
                               s->method[r]->name);
                if (!gw_schema_method(schema, gw_str_of(path)))
                    fail_msg("%s is not in schema/all.c", path);
            }
        }
    }
    assert_int_equal(rpcs, gw_schema_method_count(schema));
    google__protobuf__file_descriptor_set__free_unpacked(set, NULL);
}

static void every_rpc_of_ours_says_who_may_call_it(void **state)
{
    (void)state;
    size_t ours = 0;
    for (size_t i = 0; i < gw_schema_method_count(schema); i++) {
        const gw_method *m = gw_schema_method_at(schema, i);
        if (!gw_str_starts_with(m->service_name, GW_STR("apirelay.")))
            continue;
        ours++;
        const gw_access *a = &m->access;
        if (!a->declared || !(a->anyone || a->api_key || a->admin || a->service_count))
            fail_msg("%s: nobody may call it", m->path.ptr);
    }
    assert_true(ours > 40);
}

static void the_access_option_is_read(void **state)
{
    (void)state;
    const gw_access *a = &method("/apirelay.auth.v1.ApiKeyService/GetApiKey")->access;
    assert_int_equal(a->admin, GW_ROLE_VIEWER);
    assert_false(a->anyone || a->api_key || a->service_count);
    a = &method("/apirelay.auth.v1.AdminService/CreateAdminUser")->access;
    assert_int_equal(a->admin, GW_ROLE_OWNER);
    a = &method("/apirelay.auth.v1.IdentityService/CheckCredential")->access;
    assert_int_equal(a->service_count, 3);
    assert_true(gw_str_eq_c(a->services[0], "relay"));
    assert_true(gw_str_eq_c(a->services[2], "admin-gw"));
    assert_int_equal(a->admin, GW_ROLE_NONE);
    assert_true(method("/apirelay.relay.v1.ChatService/CreateChatCompletion")->access.api_key);
    assert_false(method("/grpc.health.v1.Health/Check")->access.declared);
}

static void extensions_are_found_by_type_and_number(void **state)
{
    (void)state;
    gw_str options = GW_STR("google.protobuf.MethodOptions");
    assert_true(gw_str_eq_c(gw_schema_file_of_extension(schema, options, 50501),
                            "apirelay/options/v1/options.proto"));
    assert_true(gw_str_eq_c(gw_schema_file_of_extension(schema, options, 72295728),
                            "google/api/annotations.proto"));
    assert_int_equal(gw_schema_file_of_extension(schema, options, 1).len, 0);
    int32_t numbers[8];
    assert_int_equal(gw_schema_extension_numbers(schema, options, numbers, 8), 3);
    assert_int_equal(gw_schema_extension_numbers(schema, options, numbers, 1), 1);
    assert_int_equal(
        gw_schema_extension_numbers(schema, GW_STR("apirelay.auth.v1.ApiKey"), numbers, 8), 0);
    assert_true(gw_schema_has_message(schema, options));
    assert_false(gw_schema_has_message(schema, GW_STR("apirelay.auth.v1.ApiKeyService")));
}

static void deadlines_and_repeatability_are_read(void **state)
{
    (void)state;
    const struct {
        const char *path;
        bool idempotent;
        int64_t max_ms, default_ms;
    } cases[] = {
        {"/apirelay.auth.v1.ApiKeyService/GetApiKey", true, 30000, 30000},
        {"/apirelay.auth.v1.ApiKeyService/CreateApiKey", false, 30000, 30000},
        {"/apirelay.auth.v1.IdentityService/CheckCredential", true, 30000, 2000},
        {"/apirelay.auth.v1.KeyAccessService/Watch", true, INT64_MAX, INT64_MAX},
        {"/apirelay.relay.v1.ChatService/StreamChatCompletion", false, 600000, 600000},
    };
    for (size_t i = 0; i < GW_ARRAY_LEN(cases); i++) {
        const gw_method *m = method(cases[i].path);
        assert_int_equal(m->idempotent, cases[i].idempotent);
        assert_int_equal(m->max_deadline_ms, cases[i].max_ms);
        assert_int_equal(m->default_deadline_ms, cases[i].default_ms);
    }
}

static void http_bindings_are_read_with_the_additional_ones(void **state)
{
    (void)state;
    const gw_method *m = method("/apirelay.auth.v1.ApiKeyService/UpdateApiKey");
    assert_int_equal(m->binding_count, 2);
    assert_true(gw_str_eq_c(m->bindings[0].method, "PUT"));
    assert_true(gw_str_eq_c(m->bindings[0].path, "/admin/api-keys/{id}"));
    assert_true(gw_str_eq_c(m->bindings[0].body, "api_key"));
    assert_true(gw_str_eq_c(m->bindings[1].method, "PATCH"));
    m = method("/apirelay.auth.v1.ApiKeyService/RevokeApiKey");
    assert_int_equal(m->binding_count, 1);
    assert_true(gw_str_eq_c(m->bindings[0].method, "DELETE"));
    assert_int_equal(m->bindings[0].body.len, 0);
    assert_int_equal(method("/apirelay.auth.v1.KeyAccessService/Watch")->binding_count, 0);
}

static void a_method_knows_its_types_and_its_kind(void **state)
{
    (void)state;
    const gw_method *m = method("/apirelay.auth.v1.KeyAccessService/Watch");
    assert_true(m->server_streaming);
    assert_false(m->client_streaming);
    assert_true(gw_str_eq_c(m->service_name, "apirelay.auth.v1.KeyAccessService"));
    assert_true(gw_str_eq_c(m->name, "Watch"));
    m = method("/apirelay.usage.v1.IngestService/Stream");
    assert_true(m->server_streaming && m->client_streaming);
    m = method("/apirelay.auth.v1.ApiKeyService/GetApiKey");
    assert_ptr_equal(m->descriptor->input, &apirelay__auth__v1__get_api_key_request__descriptor);
    assert_null(gw_schema_method(schema, GW_STR("/apirelay.auth.v1.ApiKeyService/Nothing")));
}

static void files_are_found_by_name_and_by_symbol(void **state)
{
    (void)state;
    const char *file = "apirelay/auth/v1/api_key.proto";
    gw_str by_name, by_symbol;
    assert_true(gw_schema_file_by_name(schema, gw_str_of(file), &by_name));
    const char *symbols[] = {"apirelay.auth.v1.ApiKey", "apirelay.auth.v1.ApiKey.name",
                             "apirelay.auth.v1.KeyLimits"};
    for (size_t i = 0; i < GW_ARRAY_LEN(symbols); i++) {
        assert_true(gw_schema_file_by_symbol(schema, gw_str_of(symbols[i]), &by_symbol));
        assert_ptr_equal(by_symbol.ptr, by_name.ptr);
        assert_true(gw_str_eq_c(gw_schema_file_of_symbol(schema, gw_str_of(symbols[i])), file));
    }
    const char *others[] = {"apirelay.auth.v1.ApiKeyService",
                            "apirelay.auth.v1.ApiKeyService.GetApiKey",
                            "apirelay.auth.v1.WatchResponse.Change",
                            "apirelay.options.v1.access",
                            "apirelay.options.v1.Role",
                            "google.protobuf.MethodOptions"};
    for (size_t i = 0; i < GW_ARRAY_LEN(others); i++) {
        if (!gw_schema_file_by_symbol(schema, gw_str_of(others[i]), &by_symbol))
            fail_msg("%s is not found", others[i]);
    }
    assert_false(gw_schema_file_by_symbol(schema, GW_STR("apirelay.auth.v1"), &by_symbol));
    Google__Protobuf__FileDescriptorProto *f = google__protobuf__file_descriptor_proto__unpack(
        NULL, by_name.len, (const uint8_t *)by_name.ptr);
    assert_non_null(f);
    assert_string_equal(f->name, file);
    google__protobuf__file_descriptor_proto__free_unpacked(f, NULL);
}

static void imports_of_a_file_are_files_too(void **state)
{
    (void)state;
    const gw_str *imports;
    size_t n =
        gw_schema_file_imports(schema, GW_STR("apirelay/auth/v1/api_key_service.proto"), &imports);
    assert_true(n >= 3);
    for (size_t i = 0; i < n; i++) {
        gw_str bytes;
        assert_true(gw_schema_file_by_name(schema, imports[i], &bytes));
    }
    assert_int_equal(gw_schema_file_imports(schema, GW_STR("no.proto"), &imports), 0);
}

static void a_set_that_does_not_fit_is_refused(void **state)
{
    (void)state;
    const ProtobufCServiceDescriptor *service = &apirelay__auth__v1__api_key_service__descriptor;
    gw_schema *s = NULL;
    gw_error err;
    assert_int_equal(gw_schema_new("", 0, &service, 1, &s, &err), GW_ERR_INTERNAL);
    assert_int_equal(gw_schema_new("\x0a\x05zz", 4, &service, 1, &s, &err), GW_ERR_INTERNAL);
    /* A valid set of one empty file lacks the service. */
    assert_int_equal(gw_schema_new("\x0a\x03\x0a\x01"
                                   "a",
                                   5, &service, 1, &s, &err),
                     GW_ERR_INTERNAL);
    assert_null(s);
}

static void comments_are_found_when_the_set_has_them(void **state)
{
    (void)state;
    gw_str own = gw_schema_comment(schema, GW_STR("apirelay.auth.v1.ApiKey"));
    assert_true(gw_str_starts_with(own, GW_STR("An API key without its secrets")));

    /* package p; message M { T f = 1; } with comments on M and f. */
    int32_t at_message[] = {4, 0}, at_field[] = {4, 0, 2, 0};
    Google__Protobuf__SourceCodeInfo__Location l[2], *locations[] = {&l[0], &l[1]};
    for (size_t i = 0; i < 2; i++)
        google__protobuf__source_code_info__location__init(&l[i]);
    l[0].n_path = 2, l[0].path = at_message, l[0].leading_comments = " A message.";
    l[1].n_path = 4, l[1].path = at_field, l[1].leading_comments = " A field.";
    Google__Protobuf__SourceCodeInfo info = GOOGLE__PROTOBUF__SOURCE_CODE_INFO__INIT;
    info.n_location = 2, info.location = locations;
    Google__Protobuf__FieldDescriptorProto field = GOOGLE__PROTOBUF__FIELD_DESCRIPTOR_PROTO__INIT;
    Google__Protobuf__FieldDescriptorProto *fields[] = {&field};
    field.name = "f";
    Google__Protobuf__DescriptorProto message = GOOGLE__PROTOBUF__DESCRIPTOR_PROTO__INIT;
    Google__Protobuf__DescriptorProto *messages[] = {&message};
    message.name = "M", message.n_field = 1, message.field = fields;
    Google__Protobuf__FileDescriptorProto file = GOOGLE__PROTOBUF__FILE_DESCRIPTOR_PROTO__INIT;
    Google__Protobuf__FileDescriptorProto *files[] = {&file};
    file.name = "p.proto", file.package = "p", file.source_code_info = &info;
    file.n_message_type = 1, file.message_type = messages;
    Google__Protobuf__FileDescriptorSet set = GOOGLE__PROTOBUF__FILE_DESCRIPTOR_SET__INIT;
    set.n_file = 1, set.file = files;
    uint8_t bytes[512];
    size_t len = google__protobuf__file_descriptor_set__pack(&set, bytes);

    gw_schema *s = NULL;
    gw_error err;
    assert_int_equal(gw_schema_new(bytes, len, NULL, 0, &s, &err), GW_OK);
    assert_true(gw_str_eq_c(gw_schema_comment(s, GW_STR("p.M")), "A message."));
    assert_true(gw_str_eq_c(gw_schema_comment(s, GW_STR("p.M.f")), "A field."));
    assert_int_equal(gw_schema_comment(s, GW_STR("p.N")).len, 0);
    gw_schema_free(s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_service_of_the_descriptor_set_is_in_the_schema),
        cmocka_unit_test(every_rpc_of_ours_says_who_may_call_it),
        cmocka_unit_test(the_access_option_is_read),
        cmocka_unit_test(extensions_are_found_by_type_and_number),
        cmocka_unit_test(deadlines_and_repeatability_are_read),
        cmocka_unit_test(http_bindings_are_read_with_the_additional_ones),
        cmocka_unit_test(a_method_knows_its_types_and_its_kind),
        cmocka_unit_test(files_are_found_by_name_and_by_symbol),
        cmocka_unit_test(imports_of_a_file_are_files_too),
        cmocka_unit_test(a_set_that_does_not_fit_is_refused),
        cmocka_unit_test(comments_are_found_when_the_set_has_them),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
