#include "message_bson.h"
#include "message_fields.h"
#include "provider_rules.h"

#include "mongo/bson_read.h"
#include "testing/cmocka.h"

static char name[] = "main", kind[] = "openai", url[] = "https://api.example.com/v1";

static provider_message provider(void)
{
    provider_message p = APIRELAY__RELAY__V1__PROVIDER__INIT;
    p.name = name;
    p.kind = kind;
    p.base_url = url;
    p.idle_timeout_ms = 5000000000;
    return p;
}

static void a_message_survives_the_database(void **state)
{
    (void)state;
    provider_message p = provider();
    bson_t *doc = NULL;
    gw_error err;
    ProtobufCMessage *back = NULL;
    assert_int_equal(message_to_bson(&p.base, &doc, &err), GW_OK);
    int64_t idle;
    assert_true(gw_bson_int64(doc, "idleTimeoutMs", &idle));
    assert_int_equal(idle, 5000000000);
    BSON_APPEND_UTF8(doc, "_id", "main");
    assert_int_equal(message_from_bson(p.base.descriptor, doc, &back, &err), GW_OK);
    assert_string_equal(message_text(back, "base_url"), url);
    assert_int_equal(((provider_message *)(void *)back)->idle_timeout_ms, 5000000000);
    protobuf_c_message_free_unpacked(back, NULL);
    bson_destroy(doc);
}

static void a_document_that_does_not_fit_is_data_loss(void **state)
{
    (void)state;
    bson_t doc = BSON_INITIALIZER;
    ProtobufCMessage *back = NULL;
    gw_error err;
    BSON_APPEND_UTF8(&doc, "noSuchMember", "x");
    assert_int_equal(
        message_from_bson(&apirelay__relay__v1__provider__descriptor, &doc, &back, &err),
        GW_ERR_DATA_LOSS);
    bson_destroy(&doc);
}

/* Found by fuzzing: libbson's own copy aborts the process. */
static void a_document_with_broken_bytes_is_data_loss(void **state)
{
    (void)state;
    static const struct {
        const char *name, *bytes;
        size_t len;
    } cases[] = {
        {"a text longer than the document", "\x11\0\0\0\x02name\0\x40\0\0\0x\0", 17},
        {"a list without its end", "\x12\0\0\0\x04targets\0\x05\0\0\0\xff", 19},
        {"a type that there is not", "\x0c\0\0\0\x77name\0\1", 12},
    };
    for (size_t i = 0; i < GW_ARRAY_LEN(cases); i++) {
        uint8_t bytes[32];
        bson_t document;
        ProtobufCMessage *m = NULL;
        gw_error err = {0};
        memcpy(bytes, cases[i].bytes, cases[i].len);
        bytes[0] = (uint8_t)cases[i].len;
        assert_true(bson_init_static(&document, bytes, cases[i].len));
        if (message_from_bson(&apirelay__relay__v1__model_route__descriptor, &document, &m, &err) !=
            GW_ERR_DATA_LOSS)
            fail_msg("accepted: %s", cases[i].name);
    }
}

static void fields_are_copied_and_found_by_name(void **state)
{
    (void)state;
    char other_url[] = "http://other/v1";
    provider_message from = provider(), to = provider();
    from.base_url = other_url;
    from.idle_timeout_ms = 7;
    const ProtobufCMessageDescriptor *d = from.base.descriptor;
    message_copy_field(&to.base, &from.base, message_field_of_path(d, "baseUrl"));
    assert_string_equal(to.base_url, other_url);
    assert_int_equal(to.idle_timeout_ms, 5000000000);
    message_copy_field(&to.base, &from.base, message_field_of_path(d, "idle_timeout_ms"));
    assert_int_equal(to.idle_timeout_ms, 7);
    assert_null(message_field_of_path(d, "nothing"));
    assert_true(message_has(&to.base, message_field_of_path(d, "name")));
    assert_false(message_has(&to.base, message_field_of_path(d, "credential")));
    assert_false(message_has(&to.base, message_field_of_path(d, "createdAt")));
}

static void repeated_fields_are_copied_with_their_count(void **state)
{
    (void)state;
    char model[] = "a";
    char *listed[] = {model, model};
    route_message from = APIRELAY__RELAY__V1__MODEL_ROUTE__INIT, to = from;
    from.listed_models = listed;
    from.n_listed_models = 2;
    const ProtobufCFieldDescriptor *f = message_field_of_path(from.base.descriptor, "listedModels");
    assert_true(message_has(&from.base, f));
    message_copy_field(&to.base, &from.base, f);
    assert_int_equal(to.n_listed_models, 2);
    assert_ptr_equal(to.listed_models, listed);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_message_survives_the_database),
        cmocka_unit_test(a_document_that_does_not_fit_is_data_loss),
        cmocka_unit_test(fields_are_copied_and_found_by_name),
        cmocka_unit_test(a_document_with_broken_bytes_is_data_loss),
        cmocka_unit_test(repeated_fields_are_copied_with_their_count),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
