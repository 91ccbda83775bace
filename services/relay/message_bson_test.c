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

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_message_survives_the_database),
        cmocka_unit_test(a_document_that_does_not_fit_is_data_loss),
        cmocka_unit_test(a_document_with_broken_bytes_is_data_loss),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
