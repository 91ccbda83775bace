#include "http/client_internal.h"
#include "http/client_test_kit.h"

static const char ok_answer[] =
    "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 5\r\n\r\nhello";
static const char chunked_answer[] =
    "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nX-A:  b c \r\n\r\n"
    "3\r\nhel\r\n2;ext=1\r\nlo\r\n0\r\nX-Trailer: t\r\n\r\n";

static void a_request_goes_out_as_it_should(void **state)
{
    kit *k = *state;
    kit_auto_call c = {0};
    gw_header headers[] = {{GW_STR("content-type"), GW_STR("application/json")},
                           {GW_STR("x-empty"), GW_STR("")}};
    gw_str body[] = {GW_STR("{\"a\":"), GW_STR(""), GW_STR("1}")};
    gw_http_request r = kit_request(k, "POST");
    r.headers = headers;
    r.header_count = 2;
    r.body = body;
    r.body_parts = 3;
    kit_script(k, ok_answer, false);
    kit_start(k, &c, &r);
    assert_false(gw_http_call_was_sent(c.call));
    kit_run(k);
    kit_assert_ok(&c);
    char expected[256];
    snprintf(expected, sizeof(expected),
             "POST /v1/x?y=1 HTTP/1.1\r\nHost: 127.0.0.1:%u\r\ncontent-type: "
             "application/json\r\nx-empty: \r\n"
             "Content-Length: 7\r\n\r\n{\"a\":1}",
             (unsigned)k->server.port);
    assert_string_equal(k->server.last_request.data, expected);
    assert_int_equal(c.status, 200);
    assert_string_equal(c.headers.data, "Content-Type=text/plain|Content-Length=5|");
    assert_string_equal(c.body.data, "hello");
}

/* Whoever reads freed memory finds no credential of calls that are over. */
static void the_head_of_a_call_is_wiped_when_it_is_over(void **state)
{
    kit *k = *state;
    kit_auto_call c = {0};
    gw_header credential = {GW_STR("authorization"), GW_STR("Bearer sk-canary")};
    gw_http_request r = kit_request(k, "GET");
    r.headers = &credential;
    r.header_count = 1;
    kit_script(k, ok_answer, false);
    kit_start(k, &c, &r);
    assert_false(gw_list_is_empty(&k->client->calls));
    const gw_http_call *call = GW_CONTAINER_OF(k->client->calls.next, gw_http_call, node);
    assert_true(gw_str_contains(gw_buf_str(&call->head), GW_STR("sk-canary")));
    kit_run(k);
    kit_assert_ok(&c);
    assert_ptr_equal(k->client->free_calls.next, &call->node); /* its memory is kept for the next */
    assert_false(gw_str_contains(gw_str_n(call->head.data, call->head.cap), GW_STR("sk-canary")));
}

static const struct answer_case {
    const char *name, *method, *answer;
    bool close_after;
    gw_status rc;
    int status;
    const char *body;
    bool is_kept;
    const char *message; /* part of it */
} answer_cases[] = {
    {"content length", "GET", ok_answer, false, GW_OK, 200, "hello", true, NULL},
    {"chunked with extension and trailer", "GET", chunked_answer, false, GW_OK, 200, "hello", true,
     NULL},
    {"until close", "GET", "HTTP/1.1 200 OK\r\n\r\nhello", true, GW_OK, 200, "hello", false, NULL},
    {"until close, empty", "GET", "HTTP/1.1 200 OK\r\n\r\n", true, GW_OK, 200, "", false, NULL},
    {"Connection: close", "GET",
     "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok", false, GW_OK, 200, "ok",
     false, NULL},
    {"HTTP/1.0", "GET", "HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nok", false, GW_OK, 200, "ok",
     false, NULL},
    {"HTTP/1.0 keep-alive", "GET",
     "HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 2\r\n\r\nok", false, GW_OK, 200,
     "ok", true, NULL},
    {"1xx first", "GET",
     "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n"
     "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok",
     false, GW_OK, 200, "ok", true, NULL},
    {"1xx with a length", "GET",
     "HTTP/1.1 199 Odd\r\nContent-Length: 5\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok",
     false, GW_OK, 200, "ok", true, NULL},
    {"HEAD", "HEAD", "HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\n", false, GW_OK, 200, "", true,
     NULL},
    {"HEAD of chunked", "HEAD", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", false,
     GW_OK, 200, "", true, NULL},
    {"204", "GET", "HTTP/1.1 204 No Content\r\n\r\n", false, GW_OK, 204, "", true, NULL},
    {"304 with a length", "GET", "HTTP/1.1 304 Not Modified\r\nContent-Length: 9\r\n\r\n", false,
     GW_OK, 304, "", true, NULL},
    {"an error status", "POST", "HTTP/1.1 429 Too Many\r\nContent-Length: 2\r\n\r\nno", false,
     GW_OK, 429, "no", true, NULL},
    {"no reason phrase", "GET", "HTTP/1.1 200 \r\nContent-Length: 0\r\n\r\n", false, GW_OK, 200, "",
     true, NULL},
    {"bytes left over", "GET", "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nokHTTP/1.1 200 OK\r\n",
     false, GW_OK, 200, "ok", false, NULL},
    {"bytes after HEAD", "HEAD", "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok", false, GW_OK,
     200, "", false, NULL},
    {"two Content-Length", "GET",
     "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 2\r\n\r\nok", false,
     GW_ERR_UPSTREAM_PROTOCOL, 0, "", false, "Content-Length"},
    {"a list as Content-Length", "GET", "HTTP/1.1 200 OK\r\nContent-Length: 2, 2\r\n\r\nok", false,
     GW_ERR_UPSTREAM_PROTOCOL, 0, "", false, "Content-Length"},
    {"a signed Content-Length", "GET", "HTTP/1.1 200 OK\r\nContent-Length: +2\r\n\r\nok", false,
     GW_ERR_UPSTREAM_PROTOCOL, 0, "", false, "Content-Length"},
    {"an endless Content-Length", "GET",
     "HTTP/1.1 200 OK\r\nContent-Length: 99999999999999999999\r\n\r\nok", false,
     GW_ERR_UPSTREAM_PROTOCOL, 0, "", false, "Content-Length"},
    {"length and chunked", "GET",
     "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nTransfer-Encoding: "
     "chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
     false, GW_ERR_UPSTREAM_PROTOCOL, 0, "", false, NULL},
    {"chunked and length", "GET",
     "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nContent-Length: "
     "2\r\n\r\n2\r\nok\r\n0\r\n\r\n",
     false, GW_ERR_UPSTREAM_PROTOCOL, 0, "", false, NULL},
    {"another coding", "GET", "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\nzz", true,
     GW_ERR_UPSTREAM_PROTOCOL, 0, "", false, "Transfer-Encoding"},
    {"two codings", "GET", "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
     false, GW_ERR_UPSTREAM_PROTOCOL, 0, "", false, "Transfer-Encoding"},
    {"chunked in HTTP/1.0", "GET", "HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
     false, GW_ERR_UPSTREAM_PROTOCOL, 0, "", false, "Transfer-Encoding"},
    {"HTTP/2.0", "GET", "HTTP/2.0 200 OK\r\nContent-Length: 0\r\n\r\n", false,
     GW_ERR_UPSTREAM_PROTOCOL, 0, "", false, "HTTP/1.x"},
    {"not HTTP", "GET", "SSH-2.0-OpenSSH_9.2\r\n", false, GW_ERR_UPSTREAM_PROTOCOL, 0, "", false,
     "not HTTP"},
    {"a bad chunk size", "GET", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\n",
     false, GW_ERR_UPSTREAM_PROTOCOL, 200, "", false, "chunk size"},
    {"switched protocols", "GET",
     "HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n", false,
     GW_ERR_UPSTREAM_PROTOCOL, 0, "", false, "switched"},
    {"space before the colon", "GET", "HTTP/1.1 200 OK\r\nX : y\r\nContent-Length: 0\r\n\r\n",
     false, GW_ERR_UPSTREAM_PROTOCOL, 0, "", false, "not HTTP"},
    {"folded line", "GET", "HTTP/1.1 200 OK\r\nX: y\r\n z\r\nContent-Length: 0\r\n\r\n", false,
     GW_ERR_UPSTREAM_PROTOCOL, 0, "", false, "not HTTP"},
    {"cut in the head", "GET", "HTTP/1.1 200 OK\r\nContent-Le", true, GW_ERR_UPSTREAM_CUT, 0, "",
     false, "middle"},
    {"cut after 1xx", "GET", "HTTP/1.1 100 Continue\r\n\r\n", true, GW_ERR_UPSTREAM_CUT, 0, "",
     false, "middle"},
    {"cut in a body with a length", "GET", "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhel", true,
     GW_ERR_UPSTREAM_CUT, 200, "hel", false, "middle"},
    {"cut in a chunk", "GET", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n9\r\nhel", true,
     GW_ERR_UPSTREAM_CUT, 200, "hel", false, "middle"},
    {"cut before the last chunk", "GET",
     "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nhel\r\n", true, GW_ERR_UPSTREAM_CUT,
     200, "hel", false, "middle"},
    {"closed without an answer", "GET", "", true, GW_ERR_UPSTREAM_CUT, 0, "", false,
     "before it answered"},
};

static void assert_outcome(const struct answer_case *t, const kit_call *c)
{
    if (c->rc != t->rc || c->status != t->status ||
        strcmp(c->body.data ? c->body.data : "", t->body) != 0)
        fail_msg("%s: %s (%s), status %d, body %s", t->name, gw_status_describe(c->rc)->name,
                 c->err.message, c->status, c->body.data ? c->body.data : "none");
}

static void run_answer_case(kit *k, const struct answer_case *t)
{
    kit_auto_call c = {0};
    size_t accepted = k->server.accepted;
    gw_http_request r = kit_request(k, t->method);
    kit_script(k, t->answer, t->close_after);
    kit_start(k, &c, &r);
    kit_run(k);
    assert_outcome(t, &c);
    if (t->message && !strstr(c.err.message, t->message))
        fail_msg("%s: the message is \"%s\"", t->name, c.err.message);

    kit_auto_call again = {0};
    kit_script(k, ok_answer, true);
    kit_get(k, &again);
    kit_assert_ok(&again);
    if (k->server.accepted - accepted != (t->is_kept ? 1 : 2))
        fail_msg("%s: %zu connections", t->name, k->server.accepted - accepted);
}

static void every_kind_of_answer_has_its_outcome(void **state)
{
    for (size_t i = 0; i < GW_ARRAY_LEN(answer_cases); i++) {
        void *fresh = NULL;
        kit_setup(&fresh);
        run_answer_case(fresh, &answer_cases[i]);
        kit_teardown(&fresh);
    }
    (void)state;
}

/* The outcomes are the same; what libcurl calls them, and which connections it keeps, is its own. */
static void every_kind_of_answer_has_its_outcome_over_libcurl(void **state)
{
    for (size_t i = 0; i < GW_ARRAY_LEN(answer_cases); i++) {
        const struct answer_case *t = &answer_cases[i];
        void *fresh = NULL;
        kit_setup_curl(&fresh);
        kit *k = fresh;
        kit_auto_call c = {0};
        gw_http_request r = kit_request(k, t->method);
        kit_script(k, t->answer, t->close_after);
        kit_start(k, &c, &r);
        kit_run(k);
        assert_outcome(t, &c);
        kit_teardown(&fresh);
    }
    (void)state;
}

static void an_answer_may_be_split_anywhere(void **state)
{
    kit *k = *state;
    static const char continued[] =
        "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello";
    const char *answers[] = {ok_answer, chunked_answer, continued};
    for (size_t a = 0; a < GW_ARRAY_LEN(answers); a++) {
        kit_script(k, answers[a], false);
        for (size_t at = 1; at < strlen(answers[a]); at++) {
            kit_auto_call c = {0};
            k->server.split_at = at;
            kit_get(k, &c);
            kit_assert_ok(&c);
            assert_int_equal(c.status, 200);
            assert_string_equal(c.body.data, "hello");
            if (a == 1)
                assert_string_equal(c.headers.data, "Transfer-Encoding=chunked|X-A=b c|");
        }
    }
    assert_int_equal(k->server.accepted, 1);
}

static void an_answer_until_close_may_be_split_anywhere(void **state)
{
    kit *k = *state;
    static const char answer[] = "HTTP/1.1 200 OK\r\nX: y\r\n\r\nhello";
    kit_script(k, answer, true);
    for (size_t at = 1; at < sizeof(answer) - 1; at++) {
        kit_auto_call c = {0};
        k->server.split_at = at;
        kit_get(k, &c);
        kit_assert_ok(&c);
        assert_string_equal(c.body.data, "hello");
    }
}

static void a_head_beyond_its_bound_is_refused(void **state)
{
    kit *k = *state;
    kit_close_client(k);
    gw_http_client_options o = kit_options();
    o.head_max_bytes = 1000;
    kit_open_client(k, o);
    for (size_t bytes = 900; bytes <= 1100; bytes += 200) {
        gw_auto_buf answer = {0};
        gw_buf_append_c(&answer, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\nX: ");
        for (size_t i = 0; i < bytes; i++)
            gw_buf_append_char(&answer, 'x');
        gw_buf_append_c(&answer, "\r\n\r\n");
        kit_script(k, answer.data, false);
        kit_auto_call c = {0};
        kit_get(k, &c);
        assert_int_equal(c.rc, bytes < 1000 ? GW_OK : GW_ERR_UPSTREAM_PROTOCOL);
    }
    gw_auto_buf many = {0};
    gw_buf_append_c(&many, "HTTP/1.1 200 OK\r\n");
    for (size_t i = 0; i < 300; i++)
        gw_buf_append_c(&many, "a:\r\n");
    gw_buf_append_c(&many, "\r\n");
    kit_script(k, many.data, false);
    kit_auto_call c = {0};
    kit_get(k, &c);
    assert_int_equal(c.rc, GW_ERR_UPSTREAM_PROTOCOL);
}

static void empty_header_values_are_kept(void **state)
{
    kit *k = *state;
    kit_script(k, "HTTP/1.1 200 OK\r\nA:\r\nB: \t \r\nC:c\r\nContent-Length: 0\r\n\r\n", false);
    kit_auto_call c = {0};
    kit_get(k, &c);
    kit_assert_ok(&c);
    assert_string_equal(c.headers.data, "A=|B=|C=c|Content-Length=0|");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        KIT_TEST(a_request_goes_out_as_it_should),
        cmocka_unit_test(every_kind_of_answer_has_its_outcome),
        cmocka_unit_test(every_kind_of_answer_has_its_outcome_over_libcurl),
        KIT_TEST_BOTH(an_answer_may_be_split_anywhere),
        KIT_TEST_BOTH(an_answer_until_close_may_be_split_anywhere),
        KIT_TEST(the_head_of_a_call_is_wiped_when_it_is_over),
        KIT_TEST_BOTH(a_head_beyond_its_bound_is_refused),
        KIT_TEST_BOTH(empty_header_values_are_kept),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
