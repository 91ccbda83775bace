#include "http/sse.h"

#include "testing/cmocka.h"

#include <stdlib.h>

typedef struct recorder {
    gw_buf text; /* [name|data] of each event, data "-" when there was none */
    gw_buf raw;
    size_t events;
    const char *inside_from, *inside_to; /* of the feed: a view outside is a copy */
    size_t copies;
    bool refuses;
} recorder;

static gw_status record(void *arg, const gw_sse_event *e, gw_error *err)
{
    recorder *r = arg;
    if (r->refuses)
        return gw_fail(err, GW_ERR_CANCELLED, "enough");
    r->events++;
    gw_buf_append_char(&r->text, '[');
    gw_buf_append_str(&r->text, e->name);
    gw_buf_append_char(&r->text, '|');
    gw_buf_append_str(&r->text, e->data.ptr ? e->data : GW_STR("-"));
    gw_buf_append_char(&r->text, ']');
    gw_buf_append_str(&r->raw, e->raw);
    if (e->raw.ptr < r->inside_from || e->raw.ptr + e->raw.len > r->inside_to)
        r->copies++;
    return GW_OK;
}

static void finish(recorder *r)
{
    gw_buf_fini(&r->text);
    gw_buf_fini(&r->raw);
}

static gw_status feed(gw_sse_reader *reader, recorder *r, gw_str bytes)
{
    r->inside_from = bytes.ptr;
    r->inside_to = bytes.ptr + bytes.len;
    return gw_sse_feed(reader, bytes, NULL);
}

typedef struct stream_case {
    const char *name, *stream, *events;
    size_t pending;
} stream_case;

static const stream_case cases[] = {
    {"one event", "data: x\n\n", "[|x]", 0},
    {"no space after the colon", "data:x\n\n", "[|x]", 0},
    {"only one space is taken", "data:  x\n\n", "[| x]", 0},
    {"several lines of data", "data: a\ndata: b\ndata:\n\n", "[|a\nb\n]", 0},
    {"a named event", "event: ping\ndata: x\n\n", "[ping|x]", 0},
    {"the last name counts", "event: a\nevent: b\ndata: x\n\n", "[b|x]", 0},
    {"a name is not kept", "event: a\ndata: x\n\ndata: y\n\n", "[a|x][|y]", 0},
    {"CRLF", "data: a\r\ndata: b\r\n\r\ndata: c\r\n\r\n", "[|a\nb][|c]", 0},
    {"mixed line ends", "data: a\rdata: b\ndata: c\r\n\n", "[|a\nb\nc]", 0},
    {"a comment", ": hello\n\n", "[|-]", 0},
    {"a comment in an event", ": hello\ndata: x\n\n", "[|x]", 0},
    {"a field without colon", "data\n\n", "[|]", 0},
    {"two empty lines of data", "data\ndata\n\n", "[|\n]", 0},
    {"unknown fields", "id: 1\nretry: 10\nfoo: bar\ndata: x\n\n", "[|x]", 0},
    {"data: done", "data: {\"a\":1}\n\ndata: [DONE]\n\n", "[|{\"a\":1}][|[DONE]]", 0},
    {"a byte order mark",
     "\xEF\xBB\xBF"
     "data: x\n\n",
     "[|x]", 0},
    {"an unfinished event", "data: x\n\ndata: y\n", "[|x]", 8},
    {"a colon in the data", "data: a:b: c\n\n", "[|a:b: c]", 0},
    {"nothing", "", "", 0},
};

static void streams_are_read_as_the_standard_says(void **state)
{
    (void)state;
    for (size_t i = 0; i < GW_ARRAY_LEN(cases); i++) {
        recorder r = {0};
        gw_auto(gw_sse_reader) reader = gw_sse_reader_new(1000, record, &r);
        assert_int_equal(feed(reader, &r, gw_str_of(cases[i].stream)), GW_OK);
        if (strcmp(r.text.data ? r.text.data : "", cases[i].events) != 0)
            fail_msg("%s: got %s", cases[i].name, r.text.data);
        assert_int_equal(gw_sse_pending_bytes(reader), cases[i].pending);
        assert_int_equal(r.copies, 0);
        finish(&r);
    }
}

/* Lines are looked through in windows: what ends one may stand in the next, and either end may come first. */
static void long_lines_end_where_they_end(void **state)
{
    (void)state;
    static const char *const ends[] = {"\n", "\r", "\r\n"};
    for (size_t len = 240; len < 530; len++) {
        for (size_t i = 0; i < GW_ARRAY_LEN(ends); i++) {
            recorder r = {0};
            gw_auto_buf stream = {0};
            gw_auto(gw_sse_reader) reader = gw_sse_reader_new(1000, record, &r);
            gw_buf_appendf(&stream, "data:%0*d%sevent:e%s%s", (int)len, 1, ends[i], ends[i],
                           ends[i]);
            assert_int_equal(feed(reader, &r, gw_buf_str(&stream)), GW_OK);
            assert_int_equal(r.events, 1);
            assert_int_equal(r.text.len, len + sizeof("[e|]") - 1);
            assert_int_equal(gw_sse_pending_bytes(reader), 0);
            finish(&r);
        }
    }
}

static void the_same_events_come_however_the_bytes_are_cut(void **state)
{
    (void)state;
    for (size_t i = 0; i < GW_ARRAY_LEN(cases); i++) {
        gw_str stream = gw_str_of(cases[i].stream);
        for (size_t step = 1; step < stream.len; step++) {
            recorder r = {0};
            gw_auto(gw_sse_reader) reader = gw_sse_reader_new(1000, record, &r);
            for (size_t at = 0; at < stream.len; at += step)
                assert_int_equal(feed(reader, &r, gw_str_slice(stream, at, at + step)), GW_OK);
            if (strcmp(r.text.data ? r.text.data : "", cases[i].events) != 0)
                fail_msg("%s, cut at %zu: got %s", cases[i].name, step, r.text.data);
            assert_int_equal(gw_sse_pending_bytes(reader), cases[i].pending);
            finish(&r);
        }
    }
}

static void the_raw_bytes_of_all_events_are_the_stream(void **state)
{
    (void)state;
    gw_str stream = GW_STR(": c\n\ndata: a\nevent: e\n\n\ndata: b\r\n\r\n");
    for (size_t at = 1; at < stream.len; at++) {
        recorder r = {0};
        gw_auto(gw_sse_reader) reader = gw_sse_reader_new(1000, record, &r);
        assert_int_equal(feed(reader, &r, gw_str_slice(stream, 0, at)), GW_OK);
        assert_int_equal(feed(reader, &r, gw_str_slice(stream, at, stream.len)), GW_OK);
        assert_true(gw_str_eq(gw_buf_str(&r.raw), stream));
        finish(&r);
    }

    recorder r = {0};
    gw_auto(gw_sse_reader) reader = gw_sse_reader_new(1000, record, &r);
    stream = GW_STR("data: a\r\n\r\ndata: b\r\n\r\n");
    for (size_t at = 0; at < stream.len; at++)
        assert_int_equal(feed(reader, &r, gw_str_slice(stream, at, at + 1)), GW_OK);
    assert_true(gw_str_eq(gw_buf_str(&r.raw), stream));
    finish(&r);
}

static void an_event_goes_out_at_the_cr_of_its_blank_line(void **state)
{
    (void)state;
    recorder r = {0};
    gw_auto(gw_sse_reader) reader = gw_sse_reader_new(1000, record, &r);
    assert_int_equal(feed(reader, &r, GW_STR("data: a\r\n\r")), GW_OK);
    assert_int_equal(r.events, 1);
    assert_true(gw_str_eq_c(gw_buf_str(&r.raw), "data: a\r\n\r\n"));
    assert_int_equal(feed(reader, &r, GW_STR("\ndata: b\r\n\r\n")), GW_OK);
    assert_string_equal(r.text.data, "[|a][|b]");
    assert_int_equal(r.copies, 1); /* the LF was added to it */
    finish(&r);
}

static void an_event_longer_than_the_bound_is_refused_whole_or_in_parts(void **state)
{
    (void)state;
    gw_str event = GW_STR("data: 4567890\n\n"); /* 15 bytes */
    for (size_t step = 1; step <= event.len; step++) {
        for (size_t bound = event.len - 1; bound <= event.len; bound++) {
            recorder r = {0};
            gw_auto(gw_sse_reader) reader = gw_sse_reader_new(bound, record, &r);
            gw_status rc = GW_OK;
            for (size_t at = 0; rc == GW_OK && at < event.len; at += step)
                rc = feed(reader, &r, gw_str_slice(event, at, at + step));
            assert_int_equal(rc, bound < event.len ? GW_ERR_UPSTREAM_PROTOCOL : GW_OK);
            finish(&r);
        }
    }
}

/* Found by fuzzing: the bound took one byte more when the last LF came alone. */
static void the_bound_is_the_same_however_a_last_crlf_is_cut(void **state)
{
    (void)state;
    gw_str event = GW_STR("data: 4567890\r\n\r\n"); /* 16 bytes without the last LF */
    for (size_t step = 1; step <= event.len; step++) {
        for (size_t bound = 15; bound <= 17; bound++) {
            recorder r = {0};
            gw_auto(gw_sse_reader) reader = gw_sse_reader_new(bound, record, &r);
            gw_status rc = GW_OK;
            for (size_t at = 0; rc == GW_OK && at < event.len; at += step)
                rc = feed(reader, &r, gw_str_slice(event, at, at + step));
            assert_int_equal(rc, bound < 16 ? GW_ERR_UPSTREAM_PROTOCOL : GW_OK);
            finish(&r);
        }
    }
}

static void a_refusing_callback_ends_the_feed(void **state)
{
    (void)state;
    recorder r = {.refuses = true};
    gw_auto(gw_sse_reader) reader = gw_sse_reader_new(1000, record, &r);
    gw_error err;
    assert_int_equal(gw_sse_feed(reader, GW_STR("data: a\n\ndata: b\n\n"), &err), GW_ERR_CANCELLED);
    assert_string_equal(err.message, "enough");
    finish(&r);
}

static void written_data_reads_back(void **state)
{
    (void)state;
    gw_auto_buf out = {0};
    gw_sse_append_data(&out, GW_STR("one"));
    gw_sse_append_data(&out, GW_STR(" two\nthree\r\nfour"));
    gw_sse_append_data(&out, GW_STR(""));
    assert_string_equal(out.data, "data: one\n\ndata:  two\ndata: three\ndata: four\n\ndata: \n\n");
    recorder r = {0};
    gw_auto(gw_sse_reader) reader = gw_sse_reader_new(1000, record, &r);
    assert_int_equal(feed(reader, &r, gw_buf_str(&out)), GW_OK);
    assert_string_equal(r.text.data, "[|one][| two\nthree\nfour][|]");
    finish(&r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(streams_are_read_as_the_standard_says),
        cmocka_unit_test(long_lines_end_where_they_end),
        cmocka_unit_test(the_same_events_come_however_the_bytes_are_cut),
        cmocka_unit_test(the_raw_bytes_of_all_events_are_the_stream),
        cmocka_unit_test(an_event_goes_out_at_the_cr_of_its_blank_line),
        cmocka_unit_test(an_event_longer_than_the_bound_is_refused_whole_or_in_parts),
        cmocka_unit_test(the_bound_is_the_same_however_a_last_crlf_is_cut),
        cmocka_unit_test(a_refusing_callback_ends_the_feed),
        cmocka_unit_test(written_data_reads_back),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
