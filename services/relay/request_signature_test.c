#include "request_signature.h"

#include "testing/cmocka.h"

#include <stdio.h>

#define SECRET    "lcsig_0123456789abcdefghijklmnopqrstuvwxyzABCDEFG"
#define TIMESTAMP "1764230400"
#define NONCE     "c2lnbmVkLXJlcXVlc3Q_-1"
#define NOW_MS    1764230400000
#define CHAT                                                                                       \
    "{\"model\":\"gpt-4o-mini\",\"messages\":[{\"role\":\"user\",\"content\":\"Say hello\"}]}"
#define MAC "7e7b6a72d4489a153a77041dcd0c1990f394b98ff763d84b9bbad69ee9fbadba"

typedef struct sent { /* header lines; NULL: not sent */
    const char *timestamp, *nonce, *signature;
} sent;

static const sent good = {TIMESTAMP, NONCE, "v1=" MAC};
static const signed_content chat = {.method = {"POST", 4},
                                    .target = {"/v1/chat/completions", 20},
                                    .body = {CHAT, sizeof(CHAT) - 1}};

static gw_headers lines_of(const sent *s, gw_header items[3])
{
    gw_headers h = {.items = items};

    if (s->timestamp)
        items[h.count++] = (gw_header){GW_STR("X-Relay-Timestamp"), gw_str_of(s->timestamp)};
    if (s->nonce)
        items[h.count++] = (gw_header){GW_STR("x-relay-nonce"), gw_str_of(s->nonce)};
    if (s->signature)
        items[h.count++] = (gw_header){GW_STR("X-RELAY-SIGNATURE"), gw_str_of(s->signature)};
    return h;
}

static gw_status read_at(const sent *s, int64_t now_ms, request_signature *ret, bool *ret_present)
{
    static gw_header items[3];
    gw_error err;

    return request_signature_read(lines_of(s, items), now_ms, ret, ret_present, &err);
}

/* The vectors of docs/signing.md. */
static void the_published_vectors_hold(void **state)
{
    static const struct {
        const char *method, *target, *body, *signature;
    } vectors[] = {
        {"POST", "/v1/chat/completions", CHAT, "v1=" MAC},
        {"GET", "/v1/usage?groupBy=model&interval=day", "",
         "v1=6f590ab2b278af2af0550a49d1a424c2e2353919f205bd28c5a973a55601d7e1"},
        {"POST", "/apirelay.relay.v1.ChatService/CreateChatCompletion",
         "{\"model\":\"gpt-4o\",\"messages\":[{\"role\":\"user\",\"content\":\"Gr\xc3\xbc\xc3\x9f"
         "e\"}]}",
         "v1=76b629b8d317f92d5502301e0cb90e29c4683d5d95d616181571c5e798baaeda"},
    };

    (void)state;
    for (size_t i = 0; i < GW_ARRAY_LEN(vectors); i++) {
        sent s = good;
        request_signature read;
        bool present = false;
        const signed_content c = {gw_str_of(vectors[i].method), gw_str_of(vectors[i].target),
                                  gw_str_of(vectors[i].body)};
        s.signature = vectors[i].signature;
        assert_int_equal(read_at(&s, NOW_MS, &read, &present), GW_OK);
        assert_true(present);
        assert_int_equal(request_signature_check(&read, &c, GW_STR(SECRET), NULL), GW_OK);
    }
}

static void whatever_is_changed_breaks_it(void **state)
{
    static const sent others[] = {
        {"1764230401", NONCE, "v1=" MAC},
        {TIMESTAMP, "c2lnbmVkLXJlcXVlc3Q_-2", "v1=" MAC},
        {TIMESTAMP, NONCE, "v1=8e7b6a72d4489a153a77041dcd0c1990f394b98ff763d84b9bbad69ee9fbadba"},
    };
    const signed_content contents[] = {
        {GW_STR("PUT"), chat.target, chat.body},
        {chat.method, GW_STR("/v1/chat/completions?"), chat.body},
        {chat.method, chat.target, GW_STR(CHAT " ")},
        {chat.method, chat.target, GW_STR("")},
    };
    request_signature read;
    bool present;
    gw_error err;

    (void)state;
    assert_int_equal(read_at(&good, NOW_MS, &read, &present), GW_OK);
    assert_int_equal(request_signature_check(&read, &chat, GW_STR(SECRET), NULL), GW_OK);
    assert_int_equal(request_signature_check(&read, &chat, GW_STR(SECRET "x"), &err),
                     GW_ERR_SIGNATURE_INVALID);
    for (size_t i = 0; i < GW_ARRAY_LEN(contents); i++)
        assert_int_equal(request_signature_check(&read, &contents[i], GW_STR(SECRET), NULL),
                         GW_ERR_SIGNATURE_INVALID);
    for (size_t i = 0; i < GW_ARRAY_LEN(others); i++) {
        assert_int_equal(read_at(&others[i], NOW_MS, &read, &present), GW_OK);
        assert_int_equal(request_signature_check(&read, &chat, GW_STR(SECRET), NULL),
                         GW_ERR_SIGNATURE_INVALID);
    }
}

static void no_header_is_no_signature_and_a_part_of_them_is_a_bad_one(void **state)
{
    request_signature read;
    bool present = true;

    (void)state;
    assert_int_equal(read_at(&(sent){NULL, NULL, NULL}, NOW_MS, &read, &present), GW_OK);
    assert_false(present);
    for (int left_out = 0; left_out < 3; left_out++) {
        const sent s = {left_out == 0 ? NULL : TIMESTAMP, left_out == 1 ? NULL : NONCE,
                        left_out == 2 ? NULL : "v1=" MAC};
        assert_int_equal(read_at(&s, NOW_MS, &read, &present), GW_ERR_SIGNATURE_INVALID);
    }
}

static void a_header_given_twice_is_refused(void **state)
{
    (void)state;
    for (size_t twice = 0; twice < 3; twice++) {
        gw_header items[4];
        request_signature read;
        bool present;
        gw_error err;
        gw_headers h = lines_of(&good, items);
        items[h.count++] = items[twice];
        assert_int_equal(request_signature_read(h, NOW_MS, &read, &present, &err),
                         GW_ERR_INVALID_ARGUMENT);
    }
}

static void what_is_malformed_is_refused(void **state)
{
    static const char longest[] =
        "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
        "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";
    static const sent bad[] = {
        {"", NONCE, "v1=" MAC},
        {"-1764230400", NONCE, "v1=" MAC},
        {"1764230400.0", NONCE, "v1=" MAC},
        {"+1764230400", NONCE, "v1=" MAC},
        {"99999999999999999999999", NONCE, "v1=" MAC},
        {TIMESTAMP, "", "v1=" MAC},
        {TIMESTAMP, "0123456789abcde", "v1=" MAC}, /* 15 */
        {TIMESTAMP, "0123456789abcdef/", "v1=" MAC},
        {TIMESTAMP, "0123456789 abcdef", "v1=" MAC},
        {TIMESTAMP, NONCE, ""},
        {TIMESTAMP, NONCE, MAC},
        {TIMESTAMP, NONCE, "v2=" MAC},
        {TIMESTAMP, NONCE, "v1=" MAC "00"},
        {TIMESTAMP, NONCE, "v1=" MAC ",v1=" MAC},
        {TIMESTAMP, NONCE, "v1=ge7b6a72d4489a153a77041dcd0c1990f394b98ff763d84b9bbad69ee9fbadba"},
    };
    request_signature read;
    bool present;
    sent s = good;

    (void)state;
    for (size_t i = 0; i < GW_ARRAY_LEN(bad); i++)
        if (read_at(&bad[i], NOW_MS, &read, &present) != GW_ERR_SIGNATURE_INVALID)
            fail_msg("taken: %s %s %s", bad[i].timestamp, bad[i].nonce, bad[i].signature);
    char longer[130];
    (void)snprintf(longer, sizeof(longer), "%sx", longest);
    s.nonce = longest;
    assert_int_equal(read_at(&s, NOW_MS, &read, &present), GW_OK);
    s.nonce = longer;
    assert_int_equal(read_at(&s, NOW_MS, &read, &present), GW_ERR_SIGNATURE_INVALID);
}

static void a_time_may_be_five_minutes_off_either_way(void **state)
{
    request_signature read;
    bool present;
    sent far = good;

    (void)state;
    assert_int_equal(read_at(&good, NOW_MS + 300000, &read, &present), GW_OK);
    assert_int_equal(read_at(&good, NOW_MS - 300000, &read, &present), GW_OK);
    assert_int_equal(read_at(&good, NOW_MS + 300001, &read, &present), GW_ERR_SIGNATURE_EXPIRED);
    assert_int_equal(read_at(&good, NOW_MS - 300001, &read, &present), GW_ERR_SIGNATURE_EXPIRED);
    far.timestamp = "9223372036854775807";
    assert_int_equal(read_at(&far, NOW_MS, &read, &present), GW_ERR_SIGNATURE_EXPIRED);
    far.timestamp = "0";
    assert_int_equal(read_at(&far, NOW_MS, &read, &present), GW_ERR_SIGNATURE_EXPIRED);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_published_vectors_hold),
        cmocka_unit_test(whatever_is_changed_breaks_it),
        cmocka_unit_test(no_header_is_no_signature_and_a_part_of_them_is_a_bad_one),
        cmocka_unit_test(a_header_given_twice_is_refused),
        cmocka_unit_test(what_is_malformed_is_refused),
        cmocka_unit_test(a_time_may_be_five_minutes_off_either_way),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
