#include "rpc/walk.h"

#include "testing/cmocka.h"

#include "apirelay/auth/v1/api_key_service.pb-c.h"
#include "google/protobuf/descriptor.pb-c.h"
#include "google/protobuf/struct.pb-c.h"

#include <stdlib.h>

#define KEY  (&apirelay__auth__v1__api_key__descriptor)
#define LIST (&apirelay__auth__v1__list_api_keys_response__descriptor)

static gw_status walk(const ProtobufCMessageDescriptor *d, const char *bytes, size_t len,
                      gw_error *err)
{
    /* A copy of exact size, so that a read past the end is seen. */
    char *copy = malloc(len ? len : 1);
    assert_non_null(copy);
    memcpy(copy, bytes, len);
    gw_status rc = gw_walk(d, gw_str_n(copy, len), err);
    free(copy);
    return rc;
}

/* A key with something in most kinds of fields, packed. */
static size_t pack_key(uint8_t *out)
{
    char *models[] = {"gpt-4o", "gpt-\xc3\xa4*"};
    Apirelay__Auth__V1__KeyPermissions p = APIRELAY__AUTH__V1__KEY_PERMISSIONS__INIT;
    p.n_models = 2;
    p.models = models;
    p.max_tokens_presence_case =
        APIRELAY__AUTH__V1__KEY_PERMISSIONS__MAX_TOKENS_PRESENCE_MAX_TOKENS;
    p.max_tokens = 100;
    Apirelay__Auth__V1__KeyLimits l = APIRELAY__AUTH__V1__KEY_LIMITS__INIT;
    l.cost_limit_presence_case = APIRELAY__AUTH__V1__KEY_LIMITS__COST_LIMIT_PRESENCE_COST_LIMIT;
    l.cost_limit = 1.5;
    Google__Protobuf__Timestamp t = GOOGLE__PROTOBUF__TIMESTAMP__INIT;
    t.seconds = -1;
    Apirelay__Auth__V1__ApiKey key = APIRELAY__AUTH__V1__API_KEY__INIT;
    key.name = "name";
    key.permissions = &p;
    key.limits = &l;
    key.created_at = &t;
    key.generation = INT64_MAX;
    return apirelay__auth__v1__api_key__pack(&key, out);
}

static void what_protobuf_c_packs_passes(void **state)
{
    (void)state;
    uint8_t bytes[512];
    size_t len = pack_key(bytes);
    assert_int_equal(walk(KEY, (char *)bytes, len, NULL), GW_OK);
    assert_int_equal(walk(KEY, "", 0, NULL), GW_OK);
}

static void a_message_cut_anywhere_is_refused_or_a_shorter_message(void **state)
{
    (void)state;
    uint8_t bytes[512];
    size_t len = pack_key(bytes);
    for (size_t cut = 0; cut < len; cut++) {
        gw_status rc = walk(KEY, (char *)bytes, cut, NULL);
        ProtobufCMessage *m = protobuf_c_message_unpack(KEY, NULL, cut, bytes);
        assert_int_equal(rc == GW_OK, m != NULL); /* cut between two fields */
        if (m)
            protobuf_c_message_free_unpacked(m, NULL);
    }
}

/* `levels` messages inside each other by a field of number 1 to 15. */
static char *nest(unsigned field, size_t levels, size_t *ret_len)
{
    size_t cap = levels * 6 + 1, at = cap;
    char *bytes = malloc(cap);
    assert_non_null(bytes);
    for (size_t i = 0; i < levels; i++) {
        size_t len = cap - at;
        uint8_t prefix[8];
        size_t n = 0;
        prefix[n++] = (uint8_t)(field << 3 | 2);
        do {
            prefix[n++] = (uint8_t)((len & 0x7f) | (len > 0x7f ? 0x80 : 0));
            len >>= 7;
        } while (len > 0);
        at -= n;
        memcpy(bytes + at, prefix, n);
    }
    *ret_len = cap - at;
    memmove(bytes, bytes + at, *ret_len);
    return bytes;
}

static void depth_is_bounded(void **state)
{
    (void)state;
    /* DescriptorProto.nested_type = 3 holds itself. */
    const ProtobufCMessageDescriptor *d = &google__protobuf__descriptor_proto__descriptor;
    const struct {
        size_t levels;
        gw_status expected;
    } cases[] = {{GW_WALK_DEPTH_MAX - 1, GW_OK},
                 {GW_WALK_DEPTH_MAX, GW_ERR_INVALID_ARGUMENT},
                 {10000, GW_ERR_INVALID_ARGUMENT}};
    for (size_t i = 0; i < GW_ARRAY_LEN(cases); i++) {
        size_t len;
        char *bytes = nest(3, cases[i].levels, &len);
        assert_int_equal(walk(d, bytes, len, NULL), cases[i].expected);
        free(bytes);
    }
}

typedef struct bad_case {
    const char *name;
    const ProtobufCMessageDescriptor *descriptor;
    const char *bytes;
    size_t len;
    const char *field;
} bad_case;
#define BYTES(literal) literal, sizeof(literal) - 1

static void malformed_bytes_are_refused_by_field(void **state)
{
    (void)state;
    const bad_case cases[] = {
        {"NUL in a string", KEY,
         BYTES("\x1a\x03"
               "a\0b"),
         "name"},
        {"bad UTF-8", KEY, BYTES("\x1a\x02\xff\xfe"), "name"},
        {"surrogate", KEY, BYTES("\x1a\x03\xed\xa0\x80"), "name"},
        {"bad UTF-8 in a nested list", LIST, BYTES("\x0a\x05\x3a\x03\x0a\x01\xff"),
         "api_keys.permissions.models"},
        {"length past the end", KEY,
         BYTES("\x1a\x05"
               "ab"),
         "name"},
        {"length past the end of the message around", LIST,
         BYTES("\x0a\x03\x1a\x05"
               "aaaaa"),
         "api_keys.name"},
        {"no length", KEY, BYTES("\x1a"), "name"},
        {"overlong length", KEY, BYTES("\x1a\x81\x80\x80\x80\x80\x00z"), "name"},
        {"overlong varint", KEY, BYTES("\xa8\x01\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01"),
         "generation"},
        {"varint over 64 bits", KEY, BYTES("\xa8\x01\xff\xff\xff\xff\xff\xff\xff\xff\xff\x7f"),
         "generation"},
        {"cut varint", KEY, BYTES("\xa8\x01\x80"), "generation"},
        {"group", KEY, BYTES("\x1b\x1c"), "name"},
        {"unknown group", KEY, BYTES("\xf3\x3f\xf4\x3f"), ""},
        {"end of a group", KEY, BYTES("\x0c"), "id"},
        {"wire type 6", KEY, BYTES("\x1e"), "name"},
        {"wire type 7", KEY, BYTES("\x1f"), "name"},
        {"wrong wire type", KEY, BYTES("\x18\x01"), "name"},
        {"field number 0", KEY, BYTES("\x02\x00"), ""},
        {"cut fixed64", KEY, BYTES("\x42\x04\x29\x00\x00\x00"), "limits.cost_limit"},
        {"overlong tag", KEY, BYTES("\x9a\x80\x80\x80\x80\x00\x00"), ""},
        {"unknown bytes past the end", KEY, BYTES("\xfa\x3f\x05x"), ""},
    };
    for (size_t i = 0; i < GW_ARRAY_LEN(cases); i++) {
        gw_error err = {0};
        gw_status rc = walk(cases[i].descriptor, cases[i].bytes, cases[i].len, &err);
        if (rc != GW_ERR_INVALID_ARGUMENT || strcmp(err.field, cases[i].field) != 0)
            fail_msg("%s: %d, field \"%s\" (%s)", cases[i].name, (int)rc, err.field, err.message);
    }
}

static void unknown_fields_are_passed_over(void **state)
{
    (void)state;
    assert_int_equal(walk(KEY,
                          BYTES("\xf8\x3f\x05\xfa\x3f\x02\xff\xff\xfd\x3f"
                                "abcd\xf9\x3f"
                                "abcdefgh"),
                          NULL),
                     GW_OK);
}

static void elements_of_a_repeated_field_are_bounded(void **state)
{
    (void)state;
    size_t len = 2UL * (GW_WALK_REPEATED_MAX + 1);
    char *bytes = malloc(len);
    assert_non_null(bytes);
    for (size_t i = 0; i < len; i += 2) {
        bytes[i] = 0x0a; /* api_keys, empty */
        bytes[i + 1] = 0;
    }
    gw_error err;
    assert_int_equal(walk(LIST, bytes, len - 2, NULL), GW_OK);
    assert_int_equal(walk(LIST, bytes, len, &err), GW_ERR_INVALID_ARGUMENT);
    assert_string_equal(err.field, "api_keys");
    free(bytes);
}

static void elements_of_a_packed_field_are_bounded(void **state)
{
    (void)state;
    /* SourceCodeInfo.Location.path = 1, packed int32. */
    const ProtobufCMessageDescriptor *d = &google__protobuf__source_code_info__location__descriptor;
    size_t n = GW_WALK_REPEATED_MAX + 1, len = n + 4;
    char *bytes = calloc(1, len);
    assert_non_null(bytes);
    static const uint8_t head[] = {0x0a, 0xa1, 0x8d, 0x06}; /* 100001 */
    memcpy(bytes, head, sizeof(head));
    gw_error err;
    assert_int_equal(walk(d, bytes, len, &err), GW_ERR_INVALID_ARGUMENT);
    assert_string_equal(err.field, "path");
    free(bytes);
    assert_int_equal(walk(d, BYTES("\x0a\x03\x01\x02\x03"), NULL), GW_OK);
    assert_int_equal(walk(d, BYTES("\x0a\x01\x80"), NULL), GW_ERR_INVALID_ARGUMENT);
}

static void a_singular_message_that_comes_again_and_again_is_refused(void **state)
{
    (void)state;
    static const uint8_t empty[] = {0x3a, 0x00}; /* permissions */
    char bytes[64];
    for (size_t i = 0; i < sizeof(bytes); i += sizeof(empty))
        memcpy(bytes + i, empty, sizeof(empty));
    gw_error err;
    assert_int_equal(walk(KEY, bytes, 4, NULL), GW_OK);
    assert_int_equal(walk(KEY, bytes, sizeof bytes, &err), GW_ERR_INVALID_ARGUMENT);
    assert_string_equal(err.field, "permissions");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_protobuf_c_packs_passes),
        cmocka_unit_test(a_message_cut_anywhere_is_refused_or_a_shorter_message),
        cmocka_unit_test(depth_is_bounded),
        cmocka_unit_test(malformed_bytes_are_refused_by_field),
        cmocka_unit_test(unknown_fields_are_passed_over),
        cmocka_unit_test(elements_of_a_repeated_field_are_bounded),
        cmocka_unit_test(elements_of_a_packed_field_are_bounded),
        cmocka_unit_test(a_singular_message_that_comes_again_and_again_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
