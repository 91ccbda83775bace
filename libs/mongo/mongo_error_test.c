#include "mongo/mongo.h"

#include "testing/cmocka.h"

static void codes_become_our_words(void **state)
{
    static const struct {
        const char *name;
        uint32_t domain;
        uint32_t code;
        gw_status expected;
    } cases[] = {
        {"duplicate key", MONGOC_ERROR_SERVER, 11000, GW_ERR_ALREADY_EXISTS},
        {"not primary", MONGOC_ERROR_SERVER, 10107, GW_ERR_UNAVAILABLE},
        {"shutdown", MONGOC_ERROR_SERVER, 91, GW_ERR_UNAVAILABLE},
        {"maxTimeMS", MONGOC_ERROR_SERVER, 50, GW_ERR_DEADLINE_EXCEEDED},
        {"write concern timeout", MONGOC_ERROR_WRITE_CONCERN, 64, GW_ERR_DEADLINE_EXCEEDED},
        {"write conflict", MONGOC_ERROR_SERVER, 112, GW_ERR_ABORTED},
        {"auth failed", MONGOC_ERROR_CLIENT, MONGOC_ERROR_CLIENT_AUTHENTICATE,
         GW_ERR_FAILED_PRECONDITION},
        {"unauthorized", MONGOC_ERROR_SERVER, 13, GW_ERR_FAILED_PRECONDITION},
        {"index conflict", MONGOC_ERROR_SERVER, 85, GW_ERR_FAILED_PRECONDITION},
        {"cut", MONGOC_ERROR_STREAM, MONGOC_ERROR_STREAM_SOCKET, GW_ERR_UNAVAILABLE},
        {"no server", MONGOC_ERROR_SERVER_SELECTION, MONGOC_ERROR_SERVER_SELECTION_FAILURE,
         GW_ERR_UNAVAILABLE},
        {"bad command", MONGOC_ERROR_SERVER, 59, GW_ERR_INTERNAL},
        {"bad bson", MONGOC_ERROR_BSON, 2, GW_ERR_INTERNAL},
    };
    (void)state;
    for (size_t i = 0; i < GW_ARRAY_LEN(cases); i++) {
        bson_error_t e = {0};
        gw_error err = {0};
        bson_set_error(&e, cases[i].domain, (int)cases[i].code, "words of the server");
        if (gw_mongo_fail(&err, &e, NULL, "find api key") != cases[i].expected)
            fail_msg("%s: %s", cases[i].name, gw_status_describe(err.code)->name);
        assert_true(gw_str_starts_with(gw_str_of(err.message), GW_STR("find api key: ")));
    }
}

static void a_duplicate_key_error_does_not_quote_the_value(void **state)
{
    bson_error_t e = {0};
    gw_error err = {0};
    (void)state;
    bson_set_error(&e, MONGOC_ERROR_SERVER, 11000, "E11000 dup key: { name: \"canary\" }");
    assert_int_equal(gw_mongo_fail(&err, &e, NULL, "insert"), GW_ERR_ALREADY_EXISTS);
    assert_null(strstr(err.message, "canary"));
}

static void an_unauthorized_error_does_not_quote_the_command(void **state)
{
    bson_error_t e = {0};
    gw_error err = {0};
    (void)state;
    bson_set_error(&e, MONGOC_ERROR_SERVER, 13,
                   "not authorized on LibreChat to execute command { insert: \"canary\" }");
    assert_int_equal(gw_mongo_fail(&err, &e, NULL, "insert"), GW_ERR_FAILED_PRECONDITION);
    assert_null(strstr(err.message, "canary"));
}

static bool bulk_is_duplicate(const char *reply_json)
{
    bson_error_t e = {0};
    bson_t *reply = bson_new_from_json((const uint8_t *)reply_json, -1, NULL);
    bson_set_error(&e, MONGOC_ERROR_SERVER, 11000, "E11000");
    bool duplicate = gw_mongo_is_duplicate_key(&e, reply);
    bson_destroy(reply);
    return duplicate;
}

static void a_bulk_write_is_a_duplicate_only_when_every_refusal_is(void **state)
{
    (void)state;
    assert_true(bulk_is_duplicate("{\"writeErrors\":[{\"code\":11000},{\"code\":11000}]}"));
    assert_false(bulk_is_duplicate("{\"writeErrors\":[{\"code\":11000},{\"code\":121}]}"));
    assert_false(bulk_is_duplicate("{\"writeErrors\":[{\"code\":11000},{}]}"));
    assert_true(bulk_is_duplicate("{\"writeErrors\":[]}"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(codes_become_our_words),
        cmocka_unit_test(a_duplicate_key_error_does_not_quote_the_value),
        cmocka_unit_test(an_unauthorized_error_does_not_quote_the_command),
        cmocka_unit_test(a_bulk_write_is_a_duplicate_only_when_every_refusal_is),
    };
    return cmocka_run_group_tests_name("mongo_error", tests, NULL, NULL);
}
