#include "metrics/metrics.h"
#include "testing/cmocka.h"
#include "testing/failing_alloc.h"

#include <inttypes.h>
#include <math.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

enum { M_requests, M_open, M_latency, M_plain, M_size };

static const gw_metric_info table[] = {
    {GW_METRIC_COUNTER, "requests_total", "endpoint,outcome", "requests answered"},
    {GW_METRIC_GAUGE, "open_streams", "", "streams open, back\\slash\nand newline"},
    {GW_METRIC_HISTOGRAM, "latency_seconds", "endpoint", "time to the last byte"},
    {GW_METRIC_COUNTER, "plain_total", "", "without labels"},
    {GW_METRIC_HISTOGRAM, "body_bytes", "", "sizes"},
};

typedef struct fixture {
    gw_metrics *metrics;
    gw_metrics_shard *a, *b;
    gw_buf out;
} fixture;

static int set_up(void **state)
{
    fixture *f = calloc(1, sizeof(*f));
    f->metrics = gw_metrics_new(table, GW_ARRAY_LEN(table));
    f->a = gw_metrics_shard_new(f->metrics);
    f->b = gw_metrics_shard_new(f->metrics);
    *state = f;
    return !f->a || !f->b;
}

static int tear_down(void **state)
{
    fixture *f = *state;
    gw_buf_fini(&f->out);
    gw_metrics_free(f->metrics);
    free(f);
    return 0;
}

static const char *render(fixture *f)
{
    gw_buf_clear(&f->out);
    gw_metrics_render(f->metrics, &f->out);
    assert_false(gw_buf_failed(&f->out));
    return f->out.data;
}

static void assert_line(fixture *f, const char *line)
{
    gw_auto_buf needle = {0};
    gw_buf_appendf(&needle, "\n%s\n", line);
    if (!strstr(f->out.data, needle.data))
        fail_msg("no line %s in\n%s", line, f->out.data);
}

static void a_series_found_once_is_the_one_its_labels_name(void **state)
{
    fixture *f = *state;
    const gw_str labels[] = {GW_STR("chat"), GW_STR("ok")};
    gw_metric_series *series = gw_metric_series_of(f->a, M_requests, labels, 2);
    assert_non_null(series);
    gw_metric_series_add(series, 2);
    gw_metric_add(f->a, M_requests, 3, labels, 2);
    gw_metric_series_add(series, 4);
    gw_metric_series_add(NULL, 1);
    (void)render(f);
    assert_non_null(strstr(f->out.data, "\"chat\""));
    assert_non_null(strstr(f->out.data, "} 9\n"));
}

static void the_text_is_exactly_the_format(void **state)
{
    fixture *f = *state;
    gw_metric_count(f->a, M_requests, GW_STR("chat"), GW_STR("ok"));
    gw_metric_add(f->a, M_requests, 41, (gw_str[]){GW_STR("chat"), GW_STR("error")}, 2);
    gw_metric_set(f->a, M_open, 3, NULL, 0);
    gw_metric_observe(f->a, M_latency, 0.003, (gw_str[]){GW_STR("chat")}, 1);
    gw_metric_observe(f->a, M_latency, 200, (gw_str[]){GW_STR("chat")}, 1);
    const char *expected = "# HELP requests_total requests answered\n"
                           "# TYPE requests_total counter\n"
                           "requests_total{endpoint=\"chat\",outcome=\"ok\"} 1\n"
                           "requests_total{endpoint=\"chat\",outcome=\"error\"} 41\n"
                           "# HELP open_streams streams open, back\\\\slash\\nand newline\n"
                           "# TYPE open_streams gauge\n"
                           "open_streams 3\n"
                           "# HELP latency_seconds time to the last byte\n"
                           "# TYPE latency_seconds histogram\n"
                           "latency_seconds_bucket{endpoint=\"chat\",le=\"0.001\"} 0\n"
                           "latency_seconds_bucket{endpoint=\"chat\",le=\"0.0025\"} 0\n"
                           "latency_seconds_bucket{endpoint=\"chat\",le=\"0.005\"} 1\n"
                           "latency_seconds_bucket{endpoint=\"chat\",le=\"0.01\"} 1\n"
                           "latency_seconds_bucket{endpoint=\"chat\",le=\"0.025\"} 1\n"
                           "latency_seconds_bucket{endpoint=\"chat\",le=\"0.05\"} 1\n"
                           "latency_seconds_bucket{endpoint=\"chat\",le=\"0.1\"} 1\n"
                           "latency_seconds_bucket{endpoint=\"chat\",le=\"0.25\"} 1\n"
                           "latency_seconds_bucket{endpoint=\"chat\",le=\"0.5\"} 1\n"
                           "latency_seconds_bucket{endpoint=\"chat\",le=\"1\"} 1\n"
                           "latency_seconds_bucket{endpoint=\"chat\",le=\"2.5\"} 1\n"
                           "latency_seconds_bucket{endpoint=\"chat\",le=\"5\"} 1\n"
                           "latency_seconds_bucket{endpoint=\"chat\",le=\"10\"} 1\n"
                           "latency_seconds_bucket{endpoint=\"chat\",le=\"30\"} 1\n"
                           "latency_seconds_bucket{endpoint=\"chat\",le=\"60\"} 1\n"
                           "latency_seconds_bucket{endpoint=\"chat\",le=\"120\"} 1\n"
                           "latency_seconds_bucket{endpoint=\"chat\",le=\"+Inf\"} 2\n"
                           "latency_seconds_sum{endpoint=\"chat\"} 200.003\n"
                           "latency_seconds_count{endpoint=\"chat\"} 2\n"
                           "# HELP plain_total without labels\n"
                           "# TYPE plain_total counter\n"
                           "plain_total 0\n"
                           "# HELP body_bytes sizes\n";
    const char *text = render(f);
    if (strncmp(text, expected, strlen(expected)) != 0)
        fail_msg("got\n%s", text);
}

static void shards_are_added_up(void **state)
{
    fixture *f = *state;
    gw_metric_set(f->a, M_open, 3, NULL, 0);
    gw_metric_set(f->b, M_open, 4, NULL, 0);
    gw_metric_set(f->b, M_open, 5, NULL, 0);
    gw_metric_add(f->b, M_open, -1, NULL, 0);
    gw_metric_count(f->b, M_requests, GW_STR("models"), GW_STR("ok"));
    gw_metric_count(f->a, M_requests, GW_STR("chat"), GW_STR("ok"));
    gw_metric_count(f->a, M_requests, GW_STR("models"), GW_STR("ok"));
    gw_metric_observe(f->a, M_size, 100, NULL, 0);
    gw_metric_observe(f->b, M_size, 5000, NULL, 0);
    gw_metric_count(f->a, M_plain);
    (void)render(f);
    assert_line(f, "open_streams 7");
    assert_line(f, "requests_total{endpoint=\"models\",outcome=\"ok\"} 2");
    assert_line(f, "requests_total{endpoint=\"chat\",outcome=\"ok\"} 1");
    assert_line(f, "body_bytes_bucket{le=\"256\"} 1");
    assert_line(f, "body_bytes_bucket{le=\"16384\"} 2");
    assert_line(f, "body_bytes_sum 5100");
    assert_line(f, "body_bytes_count 2");
    assert_line(f, "plain_total 1");
}

static void a_bound_belongs_to_its_own_bucket(void **state)
{
    fixture *f = *state;
    gw_str label[] = {GW_STR("x")};
    gw_metric_observe(f->a, M_latency, 0.001, label, 1);
    gw_metric_observe(f->a, M_latency, 120, label, 1);
    gw_metric_observe(f->a, M_latency, -1, label, 1);
    gw_metric_observe(f->a, M_latency, (double)INFINITY, label, 1);
    gw_metric_observe(f->a, M_latency, (double)NAN, label, 1);
    (void)render(f);
    assert_line(f, "latency_seconds_bucket{endpoint=\"x\",le=\"0.001\"} 2");
    assert_line(f, "latency_seconds_bucket{endpoint=\"x\",le=\"60\"} 2");
    assert_line(f, "latency_seconds_bucket{endpoint=\"x\",le=\"120\"} 3");
    assert_line(f, "latency_seconds_bucket{endpoint=\"x\",le=\"+Inf\"} 4");
    assert_line(f, "latency_seconds_count{endpoint=\"x\"} 4");
}

static void label_values_are_escaped_and_kept_valid(void **state)
{
    fixture *f = *state;
    gw_metric_count(f->a, M_requests, GW_STR("a\\b\"c\nd"), GW_STR("\u00fc"));
    gw_metric_count(f->a, M_requests, GW_STR("x\xff"), GW_STR_NULL);
    char longest[400];
    memset(longest, 'y', sizeof(longest));
    gw_metric_count(f->a, M_requests, gw_str_n(longest, 300), GW_STR("cut"));
    gw_metric_count(f->a, M_requests, gw_str_n(longest, 400), GW_STR("cut"));
    (void)render(f);
    assert_line(f, "requests_total{endpoint=\"a\\\\b\\\"c\\nd\",outcome=\"\u00fc\"} 1");
    assert_line(f, "requests_total{endpoint=\"invalid\",outcome=\"\"} 1");
    gw_auto_buf line = {0};
    gw_buf_appendf(&line, "requests_total{endpoint=\"%.*s\",outcome=\"cut\"} 2", 128, longest);
    assert_line(f, line.data);
}

static void label_values_do_not_run_into_each_other(void **state)
{
    fixture *f = *state;
    gw_metric_count(f->a, M_requests, GW_STR("ab"), GW_STR("c"));
    gw_metric_count(f->a, M_requests, GW_STR("a"), GW_STR("bc"));
    (void)render(f);
    assert_line(f, "requests_total{endpoint=\"ab\",outcome=\"c\"} 1");
    assert_line(f, "requests_total{endpoint=\"a\",outcome=\"bc\"} 1");
}

static void combinations_past_the_limit_count_as_other(void **state)
{
    fixture *f = *state;
    for (int i = 0; i < GW_METRIC_SERIES_MAX + 100; i++) {
        char name[16];
        int n = snprintf(name, sizeof(name), "model-%d", i);
        gw_metric_count(i % 2 ? f->a : f->b, M_requests, gw_str_n(name, (size_t)n), GW_STR("ok"));
    }
    gw_metric_count(f->a, M_requests, GW_STR("model-0"), GW_STR("ok")); /* known: still its own */
    gw_metric_count(f->a, M_requests, GW_STR("other"), GW_STR("other"));
    (void)render(f);
    assert_line(f, "requests_total{endpoint=\"model-0\",outcome=\"ok\"} 2");
    assert_line(f, "requests_total{endpoint=\"model-511\",outcome=\"ok\"} 1");
    assert_line(f, "requests_total{endpoint=\"other\",outcome=\"other\"} 101");
    assert_null(strstr(f->out.data, "model-512"));
    size_t lines = 0;
    for (const char *at = f->out.data; (at = strstr(at, "\nrequests_total{")) != NULL; at++)
        lines++;
    assert_int_equal(lines, GW_METRIC_SERIES_MAX + 1);
}

static double figure(const char *text, const char *name)
{
    const char *at = strstr(text, name);
    return at ? strtod(at + strlen(name), NULL) : -1;
}

static void the_process_is_described(void **state)
{
    fixture *f = *state;
    const char *text = render(f);
    assert_true(figure(text, "\nprocess_cpu_seconds_total ") >= 0);
    assert_true(figure(text, "\nprocess_resident_memory_bytes ") > 100000);
    double fds = figure(text, "\nprocess_open_fds ");
    int fd = dup(0);
    assert_true(fds >= 1);
    assert_true(figure(render(f), "\nprocess_open_fds ") == fds + 1);
    close(fd);
    double start = figure(render(f), "\nprocess_start_time_seconds ");
    double now = (double)time(NULL);
    assert_true(start > now - 3600 && start <= now + 2);
}

static void the_build_is_told_once_it_is_known(void **state)
{
    fixture *f = *state;
    assert_null(strstr(render(f), "build_info"));
    gw_metrics_set_build(f->metrics, "relay", "1.2.3");
    assert_non_null(strstr(render(f), "\nbuild_info{service=\"relay\",version=\"1.2.3\"} 1\n"));
}

static void an_empty_table_renders_the_process_alone(void **state)
{
    (void)state;
    gw_auto(gw_metrics) m = gw_metrics_new(NULL, 0);
    assert_non_null(gw_metrics_shard_new(m));
    gw_auto_buf out = {0};
    gw_metrics_render(m, &out);
    assert_true(gw_str_starts_with(gw_buf_str(&out), GW_STR("# HELP process_cpu_seconds_total ")));
}

static void running_out_of_memory_loses_a_measurement_and_nothing_else(void **state)
{
    fixture *f = *state;
    size_t lost = 0;
    for (size_t n = 1;; n++) {
        char name[16];
        int len = snprintf(name, sizeof(name), "n%zu", n);
        gw_failing_alloc_arm(n);
        gw_metric_count(f->a, M_requests, gw_str_n(name, (size_t)len), GW_STR("ok"));
        if (!gw_failing_alloc_disarm())
            break;
        lost++;
    }
    assert_true(lost >= 3);
    gw_metric_count(f->a, M_requests, GW_STR("n1"), GW_STR("ok"));
    (void)render(f);
    assert_line(f, "requests_total{endpoint=\"n1\",outcome=\"ok\"} 1");
    for (size_t n = 1; n <= 2; n++) {
        gw_failing_alloc_arm(n);
        gw_metrics *m = gw_metrics_new(table, GW_ARRAY_LEN(table));
        assert_true(gw_failing_alloc_disarm());
        assert_null(m);
    }
    gw_failing_alloc_arm(1);
    gw_metrics_shard *s = gw_metrics_shard_new(f->metrics);
    assert_true(gw_failing_alloc_disarm());
    assert_null(s);
}

/* ---- scrapes beside writers ---- */

#define EVENTS 20000

typedef struct writer {
    pthread_t thread;
    gw_metrics_shard *shard;
} writer;

static void *count_events(void *arg)
{
    writer *w = arg;
    for (int i = 0; i < EVENTS; i++) {
        char name[16];
        int n = snprintf(name, sizeof(name), "e%d", i % 300);
        gw_metric_count(w->shard, M_requests, gw_str_n(name, (size_t)n), GW_STR("ok"));
        gw_metric_observe(w->shard, M_latency, 0.01 * (i % 100),
                          (gw_str[]){gw_str_n(name, (size_t)n)}, 1);
    }
    return NULL;
}

static int64_t sum_of(const char *text, const char *prefix)
{
    int64_t sum = 0;
    for (const char *at = text; (at = strstr(at, prefix)) != NULL; at++)
        sum += strtoll(strchr(at, ' '), NULL, 10);
    return sum;
}

static void a_scrape_beside_writers_loses_nothing_and_never_goes_back(void **state)
{
    fixture *f = *state;
    writer writers[2] = {{.shard = f->a}, {.shard = f->b}};
    for (size_t i = 0; i < 2; i++)
        pthread_create(&writers[i].thread, NULL, count_events, &writers[i]);
    int64_t before = 0;
    bool went_back = false;
    for (int i = 0; i < 20; i++) {
        int64_t now = sum_of(render(f), "\nrequests_total{");
        went_back = went_back || now < before;
        before = now;
    }
    for (size_t i = 0; i < 2; i++)
        pthread_join(writers[i].thread, NULL);
    assert_false(went_back);
    assert_int_equal(sum_of(render(f), "\nrequests_total{"), 2 * EVENTS);
    assert_int_equal(sum_of(f->out.data, "\nlatency_seconds_count{"), 2 * EVENTS);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(a_series_found_once_is_the_one_its_labels_name),
        TEST(the_text_is_exactly_the_format),
        TEST(shards_are_added_up),
        TEST(a_bound_belongs_to_its_own_bucket),
        TEST(label_values_are_escaped_and_kept_valid),
        TEST(label_values_do_not_run_into_each_other),
        TEST(combinations_past_the_limit_count_as_other),
        TEST(the_process_is_described),
        TEST(the_build_is_told_once_it_is_known),
        TEST(an_empty_table_renders_the_process_alone),
        TEST(a_scrape_beside_writers_loses_nothing_and_never_goes_back),
        TEST(running_out_of_memory_loses_a_measurement_and_nothing_else),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
