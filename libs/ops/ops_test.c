#define _GNU_SOURCE /* strcasestr */
#include "ops/ops.h"

#include "http/client.h"
#include "testing/cmocka.h"
#include "tls/tls_testing.h"

#include <arpa/inet.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

/* A loop with an ops listener in the test's thread, and one blocking client in another. */
typedef struct fixture {
    gw_loop *loop;
    gw_metrics *metrics;
    gw_ops *ops;
    bool ready;
    const char *request;
    char answer[65536];
} fixture;

static const gw_metric_info table[] = {
    {GW_METRIC_COUNTER, "test_events_total", "", "events of the test"}};

static bool is_ready(void *arg, const char **reason)
{
    *reason = "the store is away";
    return ((fixture *)arg)->ready;
}

static int setup(void **state)
{
    fixture *f = calloc(1, sizeof(*f));
    gw_error err;
    if (!f || gw_loop_new(&gw_system_clock, &f->loop, &err) != GW_OK)
        return -1;
    f->metrics = gw_metrics_new(table, 1);
    gw_metrics_shard *shard = gw_metrics_shard_new(f->metrics);
    gw_metric_add(shard, 0, 3, NULL, 0);
    const gw_ops_options o = {
        .listen = "127.0.0.1:0", .metrics = f->metrics, .is_ready = is_ready, .arg = f};
    *state = f;
    return gw_ops_new(f->loop, &o, NULL, &f->ops, &err) == GW_OK ? 0 : -1;
}

static void stop_loop(void *arg)
{
    gw_loop_stop(((fixture *)arg)->loop);
}

static int teardown(void **state)
{
    fixture *f = *state;
    gw_ops_close(f->ops, stop_loop, f);
    gw_loop_run(f->loop);
    gw_loop_free(f->loop);
    gw_metrics_free(f->metrics);
    free(f);
    return 0;
}

static void *exchange(void *arg)
{
    fixture *f = arg;
    struct sockaddr_in a = {.sin_family = AF_INET,
                            .sin_port = htons(gw_ops_port(f->ops)),
                            .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    size_t len = 0;
    ssize_t n = -1;
    if (connect(fd, (struct sockaddr *)&a, sizeof(a)) == 0 &&
        write(fd, f->request, strlen(f->request)) == (ssize_t)strlen(f->request)) {
        while ((n = read(fd, f->answer + len, sizeof(f->answer) - 1 - len)) > 0)
            len += (size_t)n;
    }
    f->answer[len] = '\0';
    close(fd);
    gw_loop_stop_async(f->loop);
    return NULL;
}

static const char *answer_to(fixture *f, const char *method, const char *path)
{
    char request[256];
    pthread_t client;
    snprintf(request, sizeof(request), "%s %s HTTP/1.1\r\nHost: ops\r\nConnection: close\r\n\r\n",
             method, path);
    f->request = request;
    assert_int_equal(pthread_create(&client, NULL, exchange, f), 0);
    gw_loop_run(f->loop);
    assert_int_equal(pthread_join(client, NULL), 0);
    return f->answer;
}

static void probes_tell_alive_and_ready_apart(void **state)
{
    fixture *f = *state;
    assert_non_null(strstr(answer_to(f, "GET", "/healthz"), "HTTP/1.1 200"));
    const char *answer = answer_to(f, "GET", "/readyz");
    assert_non_null(strstr(answer, "HTTP/1.1 503"));
    assert_non_null(strstr(answer, "the store is away"));
    f->ready = true;
    assert_non_null(strstr(answer_to(f, "GET", "/readyz"), "HTTP/1.1 200"));
    gw_ops_set_draining(f->ops);
    answer = answer_to(f, "GET", "/readyz");
    assert_non_null(strstr(answer, "HTTP/1.1 503"));
    assert_non_null(strstr(answer, "draining"));
}

static void metrics_are_rendered_as_prometheus_reads_them(void **state)
{
    const char *answer = answer_to(*state, "GET", "/metrics");
    assert_non_null(strstr(answer, "version=0.0.4"));
    assert_non_null(strstr(answer, "test_events_total 3"));
}

static void anything_else_is_refused(void **state)
{
    assert_non_null(strstr(answer_to(*state, "GET", "/admin"), "HTTP/1.1 404"));
    assert_non_null(strstr(answer_to(*state, "GET", "/healthz/"), "HTTP/1.1 404"));
    const char *answer = answer_to(*state, "DELETE", "/healthz");
    assert_non_null(strstr(answer, "HTTP/1.1 405"));
    assert_non_null(strcasestr(answer, "\r\nallow: GET, HEAD\r\n"));
}

static void head_is_get_without_the_body(void **state)
{
    const char *answer = answer_to(*state, "HEAD", "/healthz");
    assert_non_null(strstr(answer, "HTTP/1.1 200"));
    assert_non_null(strcasestr(answer, "\r\ncontent-length: 6\r\n"));
    assert_null(strstr(answer, "alive"));
}

/* ---- the same over TLS ---- */

typedef struct secure {
    gw_ops *ops;
    gw_http_client *client;
    gw_tls_files *server_files, *client_files;
    tls_test_folder folder;
    int status;
    gw_status rc;
    gw_loop *loop;
} secure;

static void on_client_head(gw_http_call *call, int status, gw_headers headers, void *arg)
{
    (void)call;
    (void)headers;
    ((secure *)arg)->status = status;
}

static void on_client_body(gw_http_call *call, gw_str bytes, void *arg)
{
    (void)call;
    (void)bytes;
    (void)arg;
}

static void on_client_done(gw_http_call *call, gw_status rc, const gw_error *err, void *arg)
{
    secure *s = arg;
    (void)call;
    (void)err;
    s->rc = rc;
    gw_loop_stop(s->loop);
}

static void stop_secure(void *arg)
{
    gw_loop_stop(((secure *)arg)->loop);
}

static void open_secure(secure *s, fixture *f)
{
    tls_test_identity ca = tls_test_make(&(tls_test_spec){.is_ca = true});
    tls_test_identity id = tls_test_make(&(tls_test_spec){.san = "IP:127.0.0.1", .issuer = &ca});
    tls_test_folder_make(&s->folder);
    tls_test_put_identity(&s->folder, &id);
    tls_test_put_ca(&s->folder, &ca);
    tls_test_drop(&id);
    tls_test_drop(&ca);
    const gw_tls_paths server = {s->folder.cert, s->folder.key, NULL},
                       client = {.ca_file = s->folder.ca};
    s->loop = f->loop;
    assert_int_equal(gw_tls_files_new(f->loop, &server, NULL, &s->server_files, NULL), GW_OK);
    assert_int_equal(gw_tls_files_new(f->loop, &client, NULL, &s->client_files, NULL), GW_OK);
    const gw_ops_options o = {
        .listen = "127.0.0.1:0", .tls = s->server_files, .is_ready = is_ready, .arg = f};
    assert_int_equal(gw_ops_new(f->loop, &o, NULL, &s->ops, NULL), GW_OK);
    gw_cidr loopback;
    assert_true(gw_cidr_parse(GW_STR("127.0.0.0/8"), &loopback));
    gw_http_client_options options = gw_http_client_defaults;
    options.allow_cidrs = &loopback;
    options.allow_cidr_count = 1;
    options.tls = s->client_files;
    assert_int_equal(gw_http_client_new(f->loop, &options, NULL, &s->client, NULL), GW_OK);
}

static void close_secure(secure *s)
{
    gw_http_client_close(s->client, stop_secure, s);
    gw_loop_run(s->loop);
    gw_ops_close(s->ops, stop_secure, s);
    gw_loop_run(s->loop);
    gw_tls_files_free(s->server_files);
    gw_tls_files_free(s->client_files);
    tls_test_folder_drop(&s->folder);
}

static void the_listener_speaks_tls_when_asked_to(void **state)
{
    secure s = {0};
    static const gw_http_call_ops ops = {on_client_head, on_client_body, on_client_done};
    open_secure(&s, *state);
    gw_http_request r = {
        .method = "GET",
        .url = {.scheme = GW_STR("https"), .host = GW_STR("127.0.0.1"), .port = gw_ops_port(s.ops)},
        .target = GW_STR("/healthz"),
        .timeouts = {.total_ms = 10000}};
    gw_http_call *call = NULL;
    assert_int_equal(gw_http_send(s.client, &r, &ops, &s, &call, NULL), GW_OK);
    gw_loop_run(s.loop);
    assert_int_equal(s.rc, GW_OK);
    assert_int_equal(s.status, 200);
    close_secure(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(probes_tell_alive_and_ready_apart, setup, teardown),
        cmocka_unit_test_setup_teardown(metrics_are_rendered_as_prometheus_reads_them, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(anything_else_is_refused, setup, teardown),
        cmocka_unit_test_setup_teardown(head_is_get_without_the_body, setup, teardown),
        cmocka_unit_test_setup_teardown(the_listener_speaks_tls_when_asked_to, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
