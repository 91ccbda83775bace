#define _GNU_SOURCE /* memfd_create, pipe2 */

#include "log/log.h"
#include "testing/cmocka.h"
#include "testing/failing_alloc.h"
#include "testing/fake_clock.h"

#include <fcntl.h>
#include <math.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>
#include <yyjson.h>

#define NOW_MS 1764000000123 /* 2025-11-24T16:00:00.123Z */

typedef struct fixture {
    gw_fake_clock time;
    gw_clock clock;
    int fd;
    gw_log *log;
    char *text; /* what read_all() returned last */
    yyjson_doc *doc;
} fixture;

static int set_up(void **state)
{
    fixture *f = calloc(1, sizeof(*f));
    f->clock = gw_fake_clock_init(&f->time, NOW_MS);
    f->fd = memfd_create("log", MFD_CLOEXEC);
    f->log = gw_log_new("relay", f->fd, GW_LOG_INFO, &f->clock);
    *state = f;
    return f->fd < 0 || !f->log;
}

static int tear_down(void **state)
{
    fixture *f = *state;
    yyjson_doc_free(f->doc);
    gw_log_free(f->log);
    close(f->fd);
    free(f->text);
    free(f);
    return 0;
}

static gw_str read_all(fixture *f)
{
    off_t size = lseek(f->fd, 0, SEEK_END);
    free(f->text);
    f->text = calloc(1, (size_t)size + 1);
    assert_int_equal(pread(f->fd, f->text, (size_t)size, 0), size);
    return gw_str_n(f->text, (size_t)size);
}

/* The only line so far, parsed; the log is empty again. */
static yyjson_val *the_line(fixture *f)
{
    gw_str text = read_all(f);
    assert_true(text.len > 0 && text.len <= 8192);
    assert_int_equal(gw_str_find(text, '\n'), (ptrdiff_t)text.len - 1);
    yyjson_doc_free(f->doc);
    f->doc = yyjson_read(text.ptr, text.len, 0);
    if (!f->doc)
        fail_msg("not JSON: %s", text.ptr);
    assert_int_equal(ftruncate(f->fd, 0), 0);
    assert_int_equal(lseek(f->fd, 0, SEEK_SET), 0);
    return yyjson_doc_get_root(f->doc);
}

static const char *text_of(yyjson_val *line, const char *name)
{
    return yyjson_get_str(yyjson_obj_get(line, name));
}

static void a_line_is_ecs_json_with_the_fields_in_order(void **state)
{
    fixture *f = *state;
    gw_log_info(f->log, "request_settled", gw_kv("model", "gpt-4o"), gw_kv("ttft_ms", 12),
                gw_kv("ok", (bool)true), gw_kv("share", 0.25));
    gw_str text = read_all(f);
    assert_string_equal(
        text.ptr,
        "{\"@timestamp\":\"2025-11-24T16:00:00.123Z\",\"log.level\":\"info\",\"service.name\":"
        "\"relay\","
        "\"event.action\":\"request_settled\",\"model\":\"gpt-4o\",\"ttft_ms\":12,\"ok\":true,"
        "\"share\":0.25,\"ecs.version\":\"8.11.0\"}\n");
}

static void integers_and_doubles_keep_their_values(void **state)
{
    fixture *f = *state;
    gw_log_error(f->log, "x", gw_kv("min", INT64_MIN), gw_kv("max", INT64_MAX),
                 gw_kv("nan", (double)NAN), gw_kv("inf", -(double)INFINITY), gw_kv("tiny", 1e-300),
                 gw_kv("size", (size_t)7));
    yyjson_val *line = the_line(f);
    assert_string_equal(text_of(line, "log.level"), "error");
    assert_true(yyjson_get_sint(yyjson_obj_get(line, "min")) == INT64_MIN);
    assert_true(yyjson_get_uint(yyjson_obj_get(line, "max")) == INT64_MAX);
    assert_true(yyjson_is_null(yyjson_obj_get(line, "nan")));
    assert_true(yyjson_is_null(yyjson_obj_get(line, "inf")));
    assert_true(yyjson_get_real(yyjson_obj_get(line, "tiny")) < 1e-299);
    assert_int_equal(yyjson_get_uint(yyjson_obj_get(line, "size")), 7);
}

static void control_bytes_and_quotes_are_escaped(void **state)
{
    fixture *f = *state;
    char bytes[160];
    for (size_t i = 0; i < 128; i++)
        bytes[i] = (char)i;
    static const char c1[] = {'\xc2', '\x9b', '3', '1', 'm'}; /* the one-character form of ESC [ */
    memcpy(bytes + 128, c1, sizeof(c1));
    gw_log_info(f->log, "x", gw_kv("v", gw_str_n(bytes, 133)));
    gw_str text = read_all(f);
    for (size_t i = 0; i + 1 < text.len; i++)
        assert_true((unsigned char)text.ptr[i] >= 0x20 && (unsigned char)text.ptr[i] < 0x7f);
    assert_non_null(strstr(text.ptr, "\\u0000\\u0001"));
    assert_non_null(strstr(text.ptr, "\\b\\t\\n\\u000b\\f\\r"));
    assert_non_null(strstr(text.ptr, "\\u009b31m"));
    yyjson_val *v = yyjson_obj_get(the_line(f), "v");
    assert_int_equal(yyjson_get_len(v), 133);
    assert_memory_equal(yyjson_get_str(v), bytes, 133);
}

static void bad_utf8_becomes_the_replacement_character(void **state)
{
    fixture *f = *state;
    static const struct {
        const char *in, *out;
    } cases[] = {
        {"a\xff"
         "b",
         "a\uFFFDb"},
        {"\xc3", "\uFFFD"},
        {"\xe2\x82", "\uFFFD\uFFFD"},
        {"\xed\xa0\x80", "\uFFFD\uFFFD\uFFFD"}, /* a surrogate */
        {"\xc0\xaf", "\uFFFD\uFFFD"}, /* an overlong slash */
        {"\xf4\x90\x80\x80", "\uFFFD\uFFFD\uFFFD\uFFFD"}, /* above U+10FFFF */
        {"gr\xc3\xbc\xc3\x9f \xe2\x82\xac \xf0\x9f\x98\x80", "gr\u00fc\u00df \u20ac \U0001F600"},
    };
    for (size_t i = 0; i < GW_ARRAY_LEN(cases); i++) {
        gw_log_info(f->log, "x", gw_kv("v", cases[i].in));
        assert_string_equal(text_of(the_line(f), "v"), cases[i].out);
    }
}

/* Whatever stands where a long value is cut: what is left is JSON, and no escape is cut in two. */
static void a_cut_never_splits_an_escape(void **state)
{
    fixture *f = *state;
    char value[4096];
    for (size_t at = 2020; at < 2060; at++) {
        for (size_t n = 1; n < 6; n++) {
            memset(value, 'a', sizeof(value));
            memset(value + at, n % 2 ? '\x01' : '"', n);
            gw_log_info(f->log, "x", gw_kv("v", gw_str_n(value, sizeof(value))));
            yyjson_val *v = yyjson_obj_get(the_line(f), "v");
            size_t len = yyjson_get_len(v);
            assert_true(len > 1900 && len < 2048);
            assert_memory_equal(yyjson_get_str(v), value, len - 3);
            assert_string_equal(yyjson_get_str(v) + len - 3, "\u2026");
        }
    }
}

static void a_long_value_is_cut_at_a_character_and_says_so(void **state)
{
    fixture *f = *state;
    for (size_t shift = 0; shift < 4; shift++) {
        static const char euro[] = {'\xe2', '\x82', '\xac'};
        char value[6000];
        for (size_t i = 0; i < sizeof(value); i += 3)
            memcpy(value + i, euro, sizeof(euro));
        memset(value, 'x', shift);
        gw_log_info(f->log, "x", gw_kv("v", gw_str_n(value, shift ? sizeof(value) : 0)),
                    gw_kv("w", gw_str_n(value + 3, 5997)), gw_kv("after", 1));
        yyjson_val *line = the_line(f);
        const char *w = text_of(line, "w");
        assert_true(strlen(w) > 2000 && strlen(w) <= 2048);
        assert_true(gw_str_ends_with(gw_str_of(w), GW_STR("\u20ac\u2026")));
        assert_int_equal(yyjson_get_int(yyjson_obj_get(line, "after")), 1);
        assert_true(yyjson_get_bool(yyjson_obj_get(line, "log.truncated")));
    }
}

static void a_value_that_just_fits_is_whole(void **state)
{
    fixture *f = *state;
    char value[2100];
    memset(value, 'x', sizeof(value));
    gw_log_info(f->log, "x", gw_kv("v", gw_str_n(value, 2046)));
    yyjson_val *line = the_line(f);
    assert_int_equal(strlen(text_of(line, "v")), 2046);
    assert_null(yyjson_obj_get(line, "log.truncated"));
    gw_log_info(f->log, "x", gw_kv("v", gw_str_n(value, 2047)));
    line = the_line(f);
    assert_int_equal(strlen(text_of(line, "v")), 2046);
    assert_true(yyjson_get_bool(yyjson_obj_get(line, "log.truncated")));
}

static void a_line_never_grows_over_8_kib_whatever_it_is_given(void **state)
{
    fixture *f = *state;
    static char value[5000];
    for (size_t seed = 1; seed < 60; seed++) {
        gw_log_field fields[80];
        memset(value, seed % 3 ? 'x' : '\x01', sizeof(value));
        for (size_t i = 0; i < GW_ARRAY_LEN(fields); i++)
            fields[i] = i % 4 == 3
                            ? gw_kv("number", INT64_MIN)
                            : gw_kv("a.name", gw_str_n(value, (seed * 37 + i * 61) % (seed * 40)));
        gw_log_write(f->log, GW_LOG_INFO, "x", fields, GW_ARRAY_LEN(fields));
        yyjson_val *line = the_line(f);
        assert_string_equal(text_of(line, "ecs.version"), "8.11.0");
    }
}

static void children_repeat_their_parents_fields(void **state)
{
    fixture *f = *state;
    gw_auto(gw_log) child = gw_log_child(f->log, (gw_log_field[]){gw_kv("request.id", "req_1")}, 1);
    gw_auto(gw_log) grandchild =
        gw_log_child(child, (gw_log_field[]){gw_kv("key", "k\"2"), gw_kv("n", 3)}, 2);
    gw_auto(gw_log) plain = gw_log_child(f->log, NULL, 0);
    gw_log_warn(grandchild, "x", gw_kv("own", 4));
    yyjson_val *line = the_line(f);
    assert_string_equal(text_of(line, "request.id"), "req_1");
    assert_string_equal(text_of(line, "key"), "k\"2");
    assert_int_equal(yyjson_get_int(yyjson_obj_get(line, "n")), 3);
    assert_int_equal(yyjson_get_int(yyjson_obj_get(line, "own")), 4);
    gw_log_info(child, "x");
    line = the_line(f);
    assert_string_equal(text_of(line, "request.id"), "req_1");
    assert_null(yyjson_obj_get(line, "key"));
    gw_log_info(plain, "x");
    assert_int_equal(yyjson_obj_size(the_line(f)), 5);
}

static void the_level_holds_for_children_too(void **state)
{
    fixture *f = *state;
    gw_auto(gw_log) child = gw_log_child(f->log, NULL, 0);
    gw_log_debug(child, "x");
    gw_log_set_level(f->log, GW_LOG_ERROR);
    gw_log_warn(child, "x");
    assert_int_equal(read_all(f).len, 0);
    assert_false(gw_log_is_on(child, GW_LOG_WARN));
    gw_log_set_level(f->log, GW_LOG_DEBUG);
    gw_log_debug(child, "x");
    assert_string_equal(text_of(the_line(f), "log.level"), "debug");
    gw_log_error(NULL, "x");
}

static void levels_are_parsed_by_their_names(void **state)
{
    (void)state;
    gw_log_level level = GW_LOG_ERROR;
    assert_true(gw_log_level_parse(GW_STR("debug"), &level));
    assert_int_equal(level, GW_LOG_DEBUG);
    assert_true(gw_log_level_parse(GW_STR("warn"), &level));
    assert_int_equal(level, GW_LOG_WARN);
    assert_false(gw_log_level_parse(GW_STR("WARN"), &level));
    assert_false(gw_log_level_parse(GW_STR(""), &level));
    assert_int_equal(level, GW_LOG_WARN);
}

static void an_error_is_logged_by_code_and_message(void **state)
{
    fixture *f = *state;
    gw_error err = {0};
    (void)gw_fail(&err, GW_ERR_NOT_FOUND, "no key %s", "abc");
    gw_log_warn(f->log, "key_refused", gw_kv_error(&err));
    yyjson_val *line = the_line(f);
    assert_string_equal(text_of(line, "error.code"), "NOT_FOUND");
    assert_string_equal(text_of(line, "error.message"), "no key abc");
}

static void a_logger_out_of_memory_is_null(void **state)
{
    fixture *f = *state;
    for (size_t n = 1; n <= 2; n++) {
        gw_failing_alloc_arm(n);
        gw_log *child = gw_log_child(f->log, (gw_log_field[]){gw_kv("a", 1)}, 1);
        assert_true(gw_failing_alloc_disarm());
        assert_null(child);
    }
    gw_failing_alloc_arm(1);
    gw_log *root = gw_log_new("x", f->fd, GW_LOG_INFO, &f->clock);
    assert_true(gw_failing_alloc_disarm());
    assert_null(root);
}

/* ---- a pipe, whose other side the test reads ---- */

#define WRITERS 4
#define LINES   300

typedef struct writer {
    pthread_t thread;
    gw_log *log;
    int number;
} writer;

static void *write_lines(void *arg)
{
    writer *w = arg;
    char filler[2000];
    memset(filler, 'a' + w->number, sizeof(filler));
    for (int i = 0; i < LINES; i++) /* lines on both sides of PIPE_BUF */
        gw_log_info(w->log, "x", gw_kv("writer", w->number), gw_kv("i", i),
                    gw_kv("a", gw_str_n(filler, (size_t)(i % 4) * 600)),
                    gw_kv("b", gw_str_n(filler, (size_t)(i % 3) * 900)),
                    gw_kv("c", gw_str_n(filler, (size_t)(i % 5) * 400)));
    return NULL;
}

static void lines_of_many_threads_do_not_mix(void **state)
{
    fixture *f = *state;
    int ends[2];
    assert_int_equal(pipe2(ends, O_CLOEXEC), 0);
    gw_auto(gw_log) log = gw_log_new("relay", ends[1], GW_LOG_INFO, &f->clock);
    writer writers[WRITERS];
    for (int i = 0; i < WRITERS; i++) {
        writers[i] = (writer){.log = log, .number = i};
        pthread_create(&writers[i].thread, NULL, write_lines, &writers[i]);
    }
    FILE *in = fdopen(ends[0], "r");
    int next[WRITERS] = {0};
    char *line = NULL;
    size_t cap = 0;
    int bad = 0;
    for (int n = 0; n < WRITERS * LINES; n++) {
        ssize_t len = getline(&line, &cap, in);
        yyjson_doc *doc = len > 0 ? yyjson_read(line, (size_t)len, 0) : NULL;
        yyjson_val *root = yyjson_doc_get_root(doc);
        int number = yyjson_get_int(yyjson_obj_get(root, "writer"));
        bad += !root || yyjson_get_int(yyjson_obj_get(root, "i")) != next[number]++;
        yyjson_doc_free(doc);
    }
    for (int i = 0; i < WRITERS; i++)
        pthread_join(writers[i].thread, NULL);
    free(line);
    fclose(in);
    close(ends[1]);
    assert_int_equal(bad, 0);
}

static void a_full_nonblocking_pipe_loses_whole_lines_and_counts_them(void **state)
{
    fixture *f = *state;
    int ends[2];
    assert_int_equal(pipe2(ends, O_CLOEXEC | O_NONBLOCK), 0);
    gw_auto(gw_log) log = gw_log_new("relay", ends[1], GW_LOG_INFO, &f->clock);
    char filler[1500];
    memset(filler, 'x', sizeof(filler));
    for (int i = 0; i < 100; i++)
        gw_log_info(log, "x", gw_kv("a", gw_str_n(filler, sizeof(filler))));
    static char bytes[1 << 20];
    ssize_t full = read(ends[0], bytes, sizeof(bytes));
    assert_true(full > 0);
    gw_log_info(log, "after");
    ssize_t more = read(ends[0], bytes + full, sizeof(bytes) - (size_t)full);
    assert_true(more > 0);
    gw_str rest = gw_str_n(bytes, (size_t)(full + more));
    gw_str line;
    int64_t whole = 0;
    int64_t lost = -1;
    while (rest.len > 0 && gw_str_split(&rest, '\n', &line)) {
        yyjson_doc *doc = yyjson_read(line.ptr, line.len, 0);
        if (doc &&
            yyjson_equals_str(yyjson_obj_get(yyjson_doc_get_root(doc), "event.action"), "after"))
            lost = yyjson_get_sint(yyjson_obj_get(yyjson_doc_get_root(doc), "log.lost"));
        else
            whole += doc != NULL;
        yyjson_doc_free(doc);
    }
    close(ends[0]);
    close(ends[1]);
    assert_true(whole > 10 && lost > 10);
    assert_int_equal(whole + lost, 100);
}

static void count_call(void *arg)
{
    ++*(int *)arg;
}

static void gathered_lines_wait_for_a_flush_and_tell_once(void **state)
{
    fixture *f = *state;
    gw_error err;
    int told = 0;
    assert_int_equal(gw_log_gather(f->log, count_call, &told, &err), GW_OK);
    gw_log_info(f->log, "one");
    gw_log_info(f->log, "two");
    assert_int_equal(told, 1);
    assert_int_equal(read_all(f).len, 0);
    gw_log_flush(f->log);
    gw_str text = read_all(f);
    const char *first = strstr(text.ptr, "\"one\"");
    assert_non_null(first);
    assert_non_null(strstr(first, "\"two\""));
    gw_log_info(f->log, "three");
    assert_int_equal(told, 2);
}

static void a_warning_goes_out_at_once_behind_what_was_gathered(void **state)
{
    fixture *f = *state;
    gw_error err;
    int told = 0;
    assert_int_equal(gw_log_gather(f->log, count_call, &told, &err), GW_OK);
    gw_log_info(f->log, "before");
    gw_log_warn(f->log, "now");
    gw_str text = read_all(f);
    const char *first = strstr(text.ptr, "\"before\"");
    assert_non_null(first);
    assert_non_null(strstr(first, "\"now\""));
}

static void *log_elsewhere(void *arg)
{
    gw_log_info(arg, "elsewhere");
    return NULL;
}

static void a_line_of_another_thread_goes_out_at_once_and_in_order(void **state)
{
    fixture *f = *state;
    gw_error err;
    int told = 0;
    pthread_t thread;
    assert_int_equal(gw_log_gather(f->log, count_call, &told, &err), GW_OK);
    gw_log_info(f->log, "before");
    assert_int_equal(pthread_create(&thread, NULL, log_elsewhere, f->log), 0);
    assert_int_equal(pthread_join(thread, NULL), 0);
    gw_str text = read_all(f);
    const char *first = strstr(text.ptr, "\"before\"");
    assert_non_null(first);
    assert_non_null(strstr(first, "\"elsewhere\""));
    assert_int_equal(told, 1);
}

static void what_is_gathered_is_bounded_and_written_at_the_end(void **state)
{
    fixture *f = *state;
    gw_error err;
    int told = 0;
    assert_int_equal(gw_log_gather(f->log, count_call, &told, &err), GW_OK);
    for (int i = 0; i < 1000; i++)
        gw_log_info(f->log, "line", gw_kv("i", i));
    assert_true(read_all(f).len > 0);
    gw_log_free(f->log);
    gw_str rest = read_all(f);
    gw_str line;
    int lines = 0;
    while (gw_str_split(&rest, '\n', &line) && line.len > 0)
        lines++;
    assert_int_equal(lines, 1000);
    assert_non_null(f->log = gw_log_new("relay", f->fd, GW_LOG_INFO, &f->clock));
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(a_line_is_ecs_json_with_the_fields_in_order),
        TEST(integers_and_doubles_keep_their_values),
        TEST(control_bytes_and_quotes_are_escaped),
        TEST(bad_utf8_becomes_the_replacement_character),
        TEST(a_long_value_is_cut_at_a_character_and_says_so),
        TEST(a_cut_never_splits_an_escape),
        TEST(gathered_lines_wait_for_a_flush_and_tell_once),
        TEST(a_warning_goes_out_at_once_behind_what_was_gathered),
        TEST(a_line_of_another_thread_goes_out_at_once_and_in_order),
        TEST(what_is_gathered_is_bounded_and_written_at_the_end),
        TEST(a_value_that_just_fits_is_whole),
        TEST(a_line_never_grows_over_8_kib_whatever_it_is_given),
        TEST(children_repeat_their_parents_fields),
        TEST(the_level_holds_for_children_too),
        TEST(levels_are_parsed_by_their_names),
        TEST(an_error_is_logged_by_code_and_message),
        TEST(lines_of_many_threads_do_not_mix),
        TEST(a_full_nonblocking_pipe_loses_whole_lines_and_counts_them),
        TEST(a_logger_out_of_memory_is_null),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
