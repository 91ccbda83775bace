/* What a request must not be: each row is refused with its status and the connection is closed, or served and kept. */
#include "http/server.h"

#include "http/server_test_kit.h"

typedef struct request_case {
    const char *name;
    const char *raw;
    int status;
    bool closed;
} request_case;

#define HOST    "Host: a\r\n"
#define CHUNKED "Transfer-Encoding: chunked\r\n"

static const request_case cases[] = {
    /* lengths that contradict */
    {"two equal lengths",
     "POST /x HTTP/1.1\r\n" HOST "Content-Length: 3\r\nContent-Length: 3\r\n\r\nabc", 400, true},
    {"two lengths",
     "POST /x HTTP/1.1\r\n" HOST "Content-Length: 3\r\nContent-Length: 4\r\n\r\nabcd", 400, true},
    {"a list of lengths", "POST /x HTTP/1.1\r\n" HOST "Content-Length: 3, 3\r\n\r\nabc", 400, true},
    {"CL.TE", "POST /x HTTP/1.1\r\n" HOST "Content-Length: 3\r\n" CHUNKED "\r\n0\r\n\r\n", 400,
     true},
    {"TE.CL", "POST /x HTTP/1.1\r\n" HOST CHUNKED "Content-Length: 5\r\n\r\n0\r\n\r\n", 400, true},
    {"a length with a sign", "POST /x HTTP/1.1\r\n" HOST "Content-Length: +3\r\n\r\nabc", 400,
     true},
    {"a negative length", "POST /x HTTP/1.1\r\n" HOST "Content-Length: -3\r\n\r\nabc", 400, true},
    {"a hexadecimal length", "POST /x HTTP/1.1\r\n" HOST "Content-Length: 0x3\r\n\r\nabc", 400,
     true},
    {"an empty length", "POST /x HTTP/1.1\r\n" HOST "Content-Length:\r\n\r\nabc", 400, true},
    {"a length in two numbers", "POST /x HTTP/1.1\r\n" HOST "Content-Length: 1 3\r\n\r\nabc", 400,
     true},
    {"a length beyond 64 bits",
     "POST /x HTTP/1.1\r\n" HOST "Content-Length: 18446744073709551617\r\n\r\na", 400, true},
    {"a length in a trailer",
     "POST /x HTTP/1.1\r\n" HOST CHUNKED "\r\n0\r\nContent-Length: 5\r\n\r\n", 400, true},
    /* codings */
    {"identity", "POST /x HTTP/1.1\r\n" HOST "Transfer-Encoding: identity\r\n\r\n", 400, true},
    {"gzip, chunked",
     "POST /x HTTP/1.1\r\n" HOST "Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n", 400, true},
    {"chunked, gzip",
     "POST /x HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked, gzip\r\n\r\n0\r\n\r\n", 400, true},
    {"chunked twice",
     "POST /x HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked, chunked\r\n\r\n0\r\n\r\n", 400, true},
    {"two chunked lines", "POST /x HTTP/1.1\r\n" HOST CHUNKED CHUNKED "\r\n0\r\n\r\n", 400, true},
    {"identity, then chunked",
     "POST /x HTTP/1.1\r\n" HOST "Transfer-Encoding: identity\r\n" CHUNKED "\r\n0\r\n\r\n", 400,
     true},
    {"an empty coding", "POST /x HTTP/1.1\r\n" HOST "Transfer-Encoding:\r\n\r\n", 400, true},
    {"an empty coding beside a length",
     "POST /x HTTP/1.1\r\n" HOST "Transfer-Encoding:\r\nContent-Length: 3\r\n\r\nabc", 400, true},
    {"xchunked", "POST /x HTTP/1.1\r\n" HOST "Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n", 400,
     true},
    {"quoted chunked",
     "POST /x HTTP/1.1\r\n" HOST "Transfer-Encoding: \"chunked\"\r\n\r\n0\r\n\r\n", 400, true},
    {"chunked with a parameter",
     "POST /x HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked;q=1\r\n\r\n0\r\n\r\n", 400, true},
    {"vertical tab before chunked",
     "POST /x HTTP/1.1\r\n" HOST "Transfer-Encoding:\vchunked\r\n\r\n0\r\n\r\n", 400, true},
    {"a folded coding",
     "POST /x HTTP/1.1\r\n" HOST "Transfer-Encoding:\r\n chunked\r\n\r\n0\r\n\r\n", 400, true},
    {"chunked in HTTP/1.0", "POST /x HTTP/1.0\r\n" HOST CHUNKED "\r\n0\r\n\r\n", 400, true},
    {"Chunked in capitals",
     "POST /x HTTP/1.1\r\n" HOST "TRANSFER-ENCODING: CHUNKED\r\n\r\n0\r\n\r\n", 200, false},
    /* chunks */
    {"a chunk size with a sign", "POST /x HTTP/1.1\r\n" HOST CHUNKED "\r\n+3\r\nabc\r\n0\r\n\r\n",
     400, true},
    {"a chunk size with 0x", "POST /x HTTP/1.1\r\n" HOST CHUNKED "\r\n0x3\r\nabc\r\n0\r\n\r\n", 400,
     true},
    {"a chunk size and a space", "POST /x HTTP/1.1\r\n" HOST CHUNKED "\r\n3 \r\nabc\r\n0\r\n\r\n",
     400, true},
    {"a chunk size beyond 64 bits",
     "POST /x HTTP/1.1\r\n" HOST CHUNKED "\r\n10000000000000003\r\nabc", 400, true},
    {"a chunk longer than its size",
     "POST /x HTTP/1.1\r\n" HOST CHUNKED "\r\n3\r\nabcd\r\n0\r\n\r\n", 400, true},
    {"a chunk without its line end", "POST /x HTTP/1.1\r\n" HOST CHUNKED "\r\n3\r\nabc0\r\n\r\n",
     400, true},
    {"a chunk size ended by LF", "POST /x HTTP/1.1\r\n" HOST CHUNKED "\r\n3\nabc\r\n0\r\n\r\n", 400,
     true},
    {"a chunk ended by LF", "POST /x HTTP/1.1\r\n" HOST CHUNKED "\r\n3\r\nabc\n0\r\n\r\n", 400,
     true},
    {"LF in a chunk extension",
     "POST /x HTTP/1.1\r\n" HOST CHUNKED "\r\n3;a\nb\r\nabc\r\n0\r\n\r\n", 400, true},
    {"a chunk extension", "POST /x HTTP/1.1\r\n" HOST CHUNKED "\r\n3;a=b\r\nabc\r\n0\r\n\r\n", 200,
     false},
    {"a trailer", "POST /x HTTP/1.1\r\n" HOST CHUNKED "\r\n3\r\nabc\r\n0\r\nX-Sum: 1\r\n\r\n", 200,
     false},
    /* lines */
    {"obs-fold", "GET /x HTTP/1.1\r\n" HOST "A: b\r\n c\r\n\r\n", 400, true},
    {"obs-fold with a tab", "GET /x HTTP/1.1\r\n" HOST "A: b\r\n\tc\r\n\r\n", 400, true},
    {"a folded first line", "GET /x HTTP/1.1\r\n " HOST "\r\n", 400, true},
    {"bare CR in a value", "GET /x HTTP/1.1\r\n" HOST "A: b\rc\r\n\r\n", 400, true},
    {"bare CR ends a line", "GET /x HTTP/1.1\r\n" HOST "A: b\rContent-Length: 3\r\n\r\nabc", 400,
     true},
    {"bare LF ends a line", "GET /x HTTP/1.1\r\n" HOST "A: b\nContent-Length: 3\r\n\r\nabc", 400,
     true},
    {"bare LF ends the request line", "GET /x HTTP/1.1\n" HOST "\r\n", 400, true},
    {"bare LF ends the head", "GET /x HTTP/1.1\r\n" HOST "\n", 400, true},
    {"a space before the colon", "GET /x HTTP/1.1\r\n" HOST "A : b\r\n\r\n", 400, true},
    {"a space before the length's colon",
     "POST /x HTTP/1.1\r\n" HOST "Content-Length : 3\r\n\r\nabc", 400, true},
    {"a name with a space", "GET /x HTTP/1.1\r\n" HOST "A b: c\r\n\r\n", 400, true},
    {"an empty name", "GET /x HTTP/1.1\r\n" HOST ": b\r\n\r\n", 400, true},
    {"a line without a colon", "GET /x HTTP/1.1\r\n" HOST "A\r\n\r\n", 400, true},
    {"DEL in a value", "GET /x HTTP/1.1\r\n" HOST "A: \x7f\r\n\r\n", 400, true},
    {"bytes above 127 in a value", "GET /x HTTP/1.1\r\n" HOST "A: \xc3\xa9\r\n\r\n", 200, false},
    /* the request line */
    {"no version", "GET /x\r\n\r\n", 400, true},
    {"HTTP/0.9", "GET /x HTTP/0.9\r\n" HOST "\r\n", 400, true},
    {"HTTP/2.0", "GET /x HTTP/2.0\r\n" HOST "\r\n", 400, true},
    {"HTTP/1.2", "GET /x HTTP/1.2\r\n" HOST "\r\n", 400, true},
    {"the HTTP/2 preface", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 400, true},
    {"TLS on a plain port", "\x16\x03\x01\x02", 400, true},
    {"another protocol", "GET /x RTSP/1.0\r\n" HOST "\r\n", 400, true},
    {"two spaces before the target", "GET  /x HTTP/1.1\r\n" HOST "\r\n", 400, true},
    {"two spaces before the version", "GET /x  HTTP/1.1\r\n" HOST "\r\n", 400, true},
    {"an unknown method", "FOO /x HTTP/1.1\r\n" HOST "\r\n", 400, true},
    {"a method in small letters", "get /x HTTP/1.1\r\n" HOST "\r\n", 400, true},
    {"a space in the target", "GET /x y HTTP/1.1\r\n" HOST "\r\n", 400, true},
    {"a control character in the target", "GET /\x01 HTTP/1.1\r\n" HOST "\r\n", 400, true},
    {"a fragment in the target", "GET /x#y HTTP/1.1\r\n" HOST "\r\n", 400, true},
    {"a target without a slash", "GET x HTTP/1.1\r\n" HOST "\r\n", 400, true},
    {"* for GET", "GET * HTTP/1.1\r\n" HOST "\r\n", 400, true},
    {"* for OPTIONS", "OPTIONS * HTTP/1.1\r\n" HOST "\r\n", 200, false},
    {"CONNECT", "CONNECT a:80 HTTP/1.1\r\n" HOST "\r\n", 405, true},
    {"an upgrade is ignored",
     "GET /x HTTP/1.1\r\n" HOST "Connection: Upgrade\r\nUpgrade: h2c\r\n\r\n", 200, false},
    /* hosts */
    {"no Host", "GET /x HTTP/1.1\r\n\r\n", 400, true},
    {"two Hosts", "GET /x HTTP/1.1\r\n" HOST "Host: b\r\n\r\n", 400, true},
    {"two equal Hosts", "GET /x HTTP/1.1\r\n" HOST HOST "\r\n", 400, true},
    {"two Hosts in HTTP/1.0", "GET /x HTTP/1.0\r\n" HOST HOST "\r\n", 400, true},
    {"a list as Host", "GET /x HTTP/1.1\r\nHost: a, b\r\n\r\n", 400, true},
    {"a path in Host", "GET /x HTTP/1.1\r\nHost: a/b\r\n\r\n", 400, true},
    {"userinfo in Host", "GET /x HTTP/1.1\r\nHost: u@a\r\n\r\n", 400, true},
    {"absolute-form", "GET http://a/x?y HTTP/1.1\r\n" HOST "\r\n", 200, false},
    {"absolute-form in capitals", "GET HTTP://A/x HTTP/1.1\r\n" HOST "\r\n", 200, false},
    {"absolute-form with another Host", "GET http://b/x HTTP/1.1\r\n" HOST "\r\n", 400, true},
    {"absolute-form with another port", "GET http://a:81/x HTTP/1.1\r\n" HOST "\r\n", 400, true},
    {"absolute-form with userinfo", "GET http://u@a/x HTTP/1.1\r\n" HOST "\r\n", 400, true},
    {"absolute-form without authority", "GET http:///x HTTP/1.1\r\n" HOST "\r\n", 400, true},
    {"absolute-form of another scheme", "GET ftp://a/x HTTP/1.1\r\n" HOST "\r\n", 400, true},
    /* expectations */
    {"an unknown expectation",
     "POST /x HTTP/1.1\r\n" HOST "Expect: 200-ok\r\nContent-Length: 3\r\n\r\n", 417, true},
    {"two expectations",
     "POST /x HTTP/1.1\r\n" HOST
     "Expect: 100-continue\r\nExpect: 100-continue\r\nContent-Length: 3\r\n\r\n",
     417, true},
    /* served */
    {"blank lines first", "\r\n\r\nGET /x HTTP/1.1\r\n" HOST "\r\n", 200, false},
    {"a body of GET", "GET /x HTTP/1.1\r\n" HOST "Content-Length: 3\r\n\r\nabc", 200, false},
    {"a length with spaces", "POST /x HTTP/1.1\r\n" HOST "Content-Length:  3  \r\n\r\nabc", 200,
     false},
    {"an empty header", "GET /x HTTP/1.1\r\n" HOST "A:\r\n\r\n", 200, false},
    {"bytes behind the last request",
     "GET /x HTTP/1.1\r\n" HOST "Connection: close\r\n\r\nGET /y HTTP/1.1\r\n" HOST "\r\n", 200,
     true},
};

#define NEXT "GET /next HTTP/1.1\r\n" HOST "\r\n"

static int setup(void **state)
{
    *state = kit_new(&gw_http_server_defaults);
    return 0;
}

static int setup_tls(void **state)
{
    *state = kit_new_tls(&gw_http_server_defaults);
    return 0;
}

static int teardown(void **state)
{
    kit_free(*state);
    return 0;
}

/* The refused request's status, or in sync with the client: the next request is answered as itself. */
static void check(kit *k, kit_client *c, const request_case *rc)
{
    if (!rc->closed)
        kit_send(c, NEXT);
    int64_t end_ms = kit_real_ms() + KIT_PATIENCE_MS;
    while (!(rc->closed ? c->is_ended : kit_saw(c, "GET /next? ")) && kit_real_ms() < end_ms)
        uv_run(gw_loop_uv(k->loop), UV_RUN_ONCE);
    size_t answers = kit_count(c, "\r\nDate: ");
    if (kit_status(c) != rc->status || c->is_ended != rc->closed || answers != (rc->closed ? 1 : 2))
        fail_msg("%s: wanted %d%s, got %s%s", rc->name, rc->status,
                 rc->closed ? " and the end" : "", c->in.data ? c->in.data : "nothing",
                 c->is_ended ? " and the end" : "");
    kit_client_free(c);
}

static void each_request_gets_its_status_and_closes_or_stays_in_sync(void **state)
{
    kit *k = *state;
    for (size_t i = 0; i < GW_ARRAY_LEN(cases); i++) {
        kit_client *c = kit_client_new(k);
        kit_send(c, cases[i].raw);
        check(k, c, &cases[i]);
    }
}

static void the_same_holds_however_the_bytes_are_cut(void **state)
{
    kit *k = *state;
    for (size_t i = 0; i < GW_ARRAY_LEN(cases); i++) {
        gw_str raw = gw_str_of(cases[i].raw);
        for (size_t at = 1; at < raw.len; at++) {
            kit_client *c = kit_client_new(k);
            kit_send_n(c, gw_str_slice(raw, 0, at));
            kit_settle(k);
            kit_send_n(c, gw_str_slice(raw, at, raw.len));
            check(k, c, &cases[i]);
        }
    }
}

static void a_refused_request_never_reaches_the_handler_as_a_body(void **state)
{
    kit *k = *state;
    for (size_t i = 0; i < GW_ARRAY_LEN(cases); i++) {
        if (cases[i].status == 200)
            continue;
        kit_client *c = kit_client_new(k);
        kit_send(c, cases[i].raw);
        check(k, c, &cases[i]);
    }
    assert_int_equal(k->bodies, 0);
    assert_int_equal(k->completed, 0);
    assert_int_equal(k->closed, k->heads);
}

static void a_nul_byte_anywhere_in_the_head_is_refused(void **state)
{
    kit *k = *state;
    gw_str raw = GW_STR("GET /x HTTP/1.1\r\n" HOST "A: b\r\n\r\n");
    for (size_t at = 0; at < raw.len; at++) {
        char bytes[64];
        memcpy(bytes, raw.ptr, raw.len);
        bytes[at] = '\0';
        kit_client *c = kit_client_new(k);
        kit_send_n(c, gw_str_n(bytes, raw.len));
        check(k, c, &(request_case){"a NUL byte", NULL, 400, true});
    }
}

int main(void)
{
#define PLAIN(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
#define CASE(name)                                                                                 \
    PLAIN(name),                                                                                   \
    {                                                                                              \
#name " (TLS)", name, setup_tls, teardown, NULL                                            \
    }
    const struct CMUnitTest tests[] = {
        CASE(each_request_gets_its_status_and_closes_or_stays_in_sync),
        CASE(the_same_holds_however_the_bytes_are_cut),
        CASE(a_refused_request_never_reaches_the_handler_as_a_body),
        CASE(a_nul_byte_anywhere_in_the_head_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
