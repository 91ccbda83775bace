/* What libmongoc makes of certificates; the server is ours and speaks no more than TLS. */
#include "mongo/mongo_testing.h"

#include "tls/tls_testing.h"

#include <arpa/inet.h>
#include <openssl/ssl.h>
#include <pthread.h>
#include <stdatomic.h>

typedef struct tls_server {
    int fd;
    pthread_t thread;
    SSL_CTX *ctx;
    atomic_int handshakes;
} tls_server;

typedef struct secure {
    fixture f;
    tls_test_identity ca;
    tls_test_folder folder;
    gw_tls_files *files;
    tls_server server;
} secure;

static void *serve(void *arg)
{
    tls_server *s = arg;
    for (int fd; (fd = accept(s->fd, NULL, NULL)) >= 0; close(fd)) {
        SSL *ssl = SSL_new(s->ctx);
        SSL_set_fd(ssl, fd);
        s->handshakes += SSL_accept(ssl) == 1;
        SSL_free(ssl);
    }
    return NULL;
}

static void start_tls(secure *s, const tls_test_spec *spec)
{
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof(a);
    tls_test_identity id = tls_test_make(spec);
    tls_server *server = &s->server;
    server->ctx = SSL_CTX_new(TLS_server_method());
    assert_int_equal(SSL_CTX_use_certificate(server->ctx, id.cert), 1);
    assert_int_equal(SSL_CTX_use_PrivateKey(server->ctx, id.key), 1);
    tls_test_drop(&id);
    server->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(bind(server->fd, (struct sockaddr *)&a, sizeof(a)), 0);
    assert_int_equal(listen(server->fd, 8), 0);
    assert_int_equal(getsockname(server->fd, (struct sockaddr *)&a, &len), 0);
    s->f.port = ntohs(a.sin_port);
    (void)snprintf(s->f.uri, sizeof(s->f.uri), "mongodb://127.0.0.1:%d/", s->f.port);
    assert_int_equal(pthread_create(&server->thread, NULL, serve, server), 0);
}

static int setup(void **state)
{
    secure *s = calloc(1, sizeof(*s));
    assert_non_null(s);
    make_fixture(&s->f);
    s->ca = tls_test_make(&(tls_test_spec){.is_ca = true});
    tls_test_folder_make(&s->folder);
    tls_test_put_ca(&s->folder, &s->ca);
    const gw_tls_paths paths = {.ca_file = s->folder.ca};
    assert_int_equal(gw_tls_files_new(s->f.loop, &paths, NULL, &s->files, NULL), GW_OK);
    *state = s;
    return 0;
}

static int teardown(void **state)
{
    secure *s = *state;
    gw_mongo_free(s->f.mongo);
    if (s->server.ctx) {
        (void)shutdown(s->server.fd, SHUT_RDWR);
        pthread_join(s->server.thread, NULL);
        close(s->server.fd);
        SSL_CTX_free(s->server.ctx);
    }
    gw_tls_files_free(s->files);
    tls_test_folder_drop(&s->folder);
    tls_test_drop(&s->ca);
    gw_loop_free(s->f.loop);
    free(s);
    return 0;
}

static gw_status open_mongo(secure *s, gw_error *err)
{
    gw_mongo_options o = gw_mongo_defaults;
    o.uri = s->f.uri;
    o.tls = s->files;
    o.database = s->f.database;
    o.threads = 1;
    o.queue_max = 4;
    o.server_selection_timeout_ms = 700;
    return gw_mongo_new(s->f.loop, &o, NULL, &s->f.mongo, err);
}

#define TRIES 20 /* a busy machine may not come to its handshake before it gives up */

static void expect_refused(secure *s, const tls_test_spec *spec, const char *reason)
{
    test_job job = {0};
    start_tls(s, spec);
    assert_int_equal(open_mongo(s, NULL), GW_OK);
    for (int i = 0; i < TRIES && !strstr(job.err.message, reason); i++) {
        job = perform(&s->f, count_things, 0);
        assert_int_equal(job.rc, GW_ERR_UNAVAILABLE);
    }
    if (!strstr(job.err.message, reason))
        fail_msg("not %s: %s", reason, job.err.message);
    assert_int_equal(s->server.handshakes, 0);
}

static void a_server_by_another_authority_is_refused_with_its_reason(void **state)
{
    expect_refused(*state, &(tls_test_spec){.san = "IP:127.0.0.1"}, "certificate verify failed");
}

static void a_server_with_another_name_is_refused_with_its_reason(void **state)
{
    secure *s = *state;
    expect_refused(s, &(tls_test_spec){.san = "IP:127.0.0.2", .issuer = &s->ca}, "certificate");
}

static void a_server_that_proves_itself_is_spoken_to_in_tls(void **state)
{
    secure *s = *state;
    start_tls(s, &(tls_test_spec){.san = "IP:127.0.0.1", .issuer = &s->ca});
    assert_int_equal(open_mongo(s, NULL), GW_OK);
    (void)perform(&s->f, count_things, 0);
    assert_true(s->server.handshakes > 0);
}

static void a_uri_that_contradicts_the_file_is_refused(void **state)
{
    secure *s = *state;
    static const char *const uris[] = {"mongodb://127.0.0.1:1/?tls=false",
                                       "mongodb://127.0.0.1:1/?tls=true&tlsCAFile=/other.pem"};
    for (size_t i = 0; i < GW_ARRAY_LEN(uris); i++) {
        gw_error err = {0};
        (void)snprintf(s->f.uri, sizeof(s->f.uri), "%s", uris[i]);
        assert_int_equal(open_mongo(s, &err), GW_ERR_INVALID_ARGUMENT);
        assert_non_null(strstr(err.message, "MongoDB URI"));
    }
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_server_by_another_authority_is_refused_with_its_reason),
        TEST(a_server_with_another_name_is_refused_with_its_reason),
        TEST(a_server_that_proves_itself_is_spoken_to_in_tls),
        TEST(a_uri_that_contradicts_the_file_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
