#define _GNU_SOURCE /* memfd_create */

#include "testing/failing_alloc.h"
#include "tls/tls_files_internal.h"
#include "tls/tls_testing.h"

#include <sys/mman.h>
#include <sys/stat.h>

#define INTERVAL_MS 5

typedef struct fixture {
    gw_loop *loop;
    int log_fd;
    gw_log *log;
    char *log_text;
    tls_test_folder folder;
    tls_test_identity ca, first, second;
    gw_tls_files *files;
    gw_tls_subscription subscription;
    int told;
} fixture;

static int setup(void **state)
{
    fixture *f = calloc(1, sizeof(*f));
    assert_non_null(f);
    assert_int_equal(gw_loop_new(&gw_system_clock, &f->loop, NULL), GW_OK);
    f->log_fd = memfd_create("log", MFD_CLOEXEC);
    f->log = gw_log_new("test", f->log_fd, GW_LOG_INFO, &gw_system_clock);
    tls_test_folder_make(&f->folder);
    f->ca = tls_test_make(&(tls_test_spec){.name = "authority", .is_ca = true, .days = 100});
    f->first = tls_test_make(&(tls_test_spec){.san = "DNS:first", .issuer = &f->ca, .days = 60});
    f->second = tls_test_make(&(tls_test_spec){.san = "DNS:second", .issuer = &f->ca, .days = 60});
    tls_test_put_identity(&f->folder, &f->first);
    tls_test_put_ca(&f->folder, &f->ca);
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    fixture *f = *state;
    gw_tls_files_unsubscribe(&f->subscription);
    gw_tls_files_free(f->files);
    gw_loop_free(f->loop);
    tls_test_drop(&f->ca);
    tls_test_drop(&f->first);
    tls_test_drop(&f->second);
    tls_test_folder_drop(&f->folder);
    gw_log_free(f->log);
    close(f->log_fd);
    free(f->log_text);
    free(f);
    return 0;
}

static const char *log_text(fixture *f)
{
    off_t size = lseek(f->log_fd, 0, SEEK_END);
    free(f->log_text);
    f->log_text = calloc(1, (size_t)size + 1);
    assert_int_equal(pread(f->log_fd, f->log_text, (size_t)size, 0), size);
    return f->log_text;
}

static size_t log_count(fixture *f, const char *event)
{
    size_t n = 0;
    for (const char *at = log_text(f); (at = strstr(at, event)); at++)
        n++;
    return n;
}

static void open_files(fixture *f)
{
    const gw_tls_paths paths = tls_test_paths(&f->folder);
    gw_error err = {0};
    if (tls_files_open(f->loop, &paths, INTERVAL_MS, f->log, &f->files, &err) != GW_OK)
        fail_msg("%s", err.message);
}

static void count(void *arg)
{
    ((fixture *)arg)->told++;
}

static void count_and_stop(void *arg)
{
    fixture *f = arg;
    f->told++;
    gw_loop_stop(f->loop);
}

static bool holds_cert(fixture *f, const tls_test_identity *id)
{
    gw_auto_buf pem = {0};
    tls_test_cert_pem(id, &pem);
    return gw_str_eq(gw_tls_files_pem(f->files)->cert, gw_buf_str(&pem));
}

static void a_good_set_is_read_whole(void **state)
{
    fixture *f = *state;
    gw_auto_buf key = {0}, ca = {0};
    open_files(f);
    tls_test_key_pem(&f->first, &key);
    tls_test_cert_pem(&f->ca, &ca);
    assert_true(holds_cert(f, &f->first));
    assert_true(gw_str_eq(gw_tls_files_pem(f->files)->key, gw_buf_str(&key)));
    assert_true(gw_str_eq(gw_tls_files_pem(f->files)->ca, gw_buf_str(&ca)));
    assert_non_null(strstr(log_text(f), "tls_files_loaded"));
    assert_null(strstr(log_text(f), "\"warn\""));
}

static void files_that_are_not_named_are_empty(void **state)
{
    fixture *f = *state;
    const gw_tls_paths only_ca = {.ca_file = f->folder.ca}, none = {0};
    assert_int_equal(gw_tls_files_new(f->loop, &only_ca, f->log, &f->files, NULL), GW_OK);
    assert_int_equal(gw_tls_files_pem(f->files)->cert.len, 0);
    assert_true(gw_tls_files_pem(f->files)->ca.len > 0);
    gw_tls_files_free(f->files);
    assert_int_equal(gw_tls_files_new(f->loop, &none, NULL, &f->files, NULL), GW_OK);
    assert_int_equal(gw_tls_files_pem(f->files)->ca.len, 0);
}

static void expect_refused(fixture *f, const gw_tls_paths *paths, gw_status rc, const char *reason)
{
    gw_tls_files *files = NULL;
    gw_error err = {0};
    gw_status got = gw_tls_files_new(f->loop, paths, f->log, &files, &err);
    if (got != rc || !strstr(err.message, reason))
        fail_msg("not %s: %s: %s", reason, gw_status_describe(got)->name, err.message);
}

static void put_encrypted_key(fixture *f)
{
    BIO *b = BIO_new(BIO_s_mem());
    gw_auto_buf pem = {0};
    assert_int_equal(PEM_write_bio_PrivateKey(b, f->first.key, EVP_aes_128_cbc(),
                                              (const unsigned char *)"secret", 6, NULL, NULL),
                     1);
    tls_test_take_bio(b, &pem);
    tls_test_put(&f->folder, f->folder.key, gw_buf_str(&pem));
}

static void a_bad_set_is_refused_with_its_reason(void **state)
{
    fixture *f = *state;
    const tls_test_folder *d = &f->folder;
    const gw_tls_paths paths = tls_test_paths(d);
    gw_tls_paths some = paths;

    some.key_file = NULL;
    expect_refused(f, &some, GW_ERR_INVALID_ARGUMENT, "needs a key file");
    some = (gw_tls_paths){.key_file = d->key};
    expect_refused(f, &some, GW_ERR_INVALID_ARGUMENT, "needs a certificate file");
    some = paths;
    some.ca_file = "/nonexistent/ca.pem";
    expect_refused(f, &some, GW_ERR_IO, "/nonexistent/ca.pem: No such file");
    some.ca_file = d->path;
    expect_refused(f, &some, GW_ERR_INVALID_ARGUMENT, "is no file");

    tls_test_put_key(d, d->key, &f->second);
    expect_refused(f, &paths, GW_ERR_INVALID_ARGUMENT, "does not fit the certificate");
    put_encrypted_key(f);
    expect_refused(f, &paths, GW_ERR_INVALID_ARGUMENT, "is encrypted");
    tls_test_put(d, d->key, GW_STR(""));
    expect_refused(f, &paths, GW_ERR_INVALID_ARGUMENT, "is empty");
    tls_test_put_cert(d, d->key, &f->first);
    expect_refused(f, &paths, GW_ERR_INVALID_ARGUMENT, "no private key");
    tls_test_put_key(d, d->key, &f->first);

    tls_test_put(d, d->ca, GW_STR("authorities, to come\n"));
    expect_refused(f, &paths, GW_ERR_INVALID_ARGUMENT, "no certificate in PEM");
    gw_auto_buf half = {0};
    tls_test_cert_pem(&f->ca, &half);
    tls_test_put(d, d->ca, gw_str_slice(gw_buf_str(&half), 0, half.len / 2));
    expect_refused(f, &paths, GW_ERR_INVALID_ARGUMENT, "certificate 1 cannot be read");
    gw_buf_clear(&half);
    tls_test_cert_pem(&f->ca, &half);
    size_t one = half.len;
    tls_test_cert_pem(&f->first, &half);
    tls_test_put(d, d->ca, gw_str_slice(gw_buf_str(&half), 0, one + (half.len - one) / 2));
    expect_refused(f, &paths, GW_ERR_INVALID_ARGUMENT, "certificate 2 cannot be read");
    tls_test_put_ca(d, &f->ca);
    tls_test_identity signer =
        tls_test_make(&(tls_test_spec){.is_ca = true, .key_usage = "critical,keyCertSign,cRLSign"});
    tls_test_put_identity(d, &signer);
    tls_test_drop(&signer);
    expect_refused(f, &paths, GW_ERR_INVALID_ARGUMENT, "may only sign others");
}

static void all_mistakes_come_together_and_without_content(void **state)
{
    fixture *f = *state;
    const gw_tls_paths paths = {"/nonexistent/cert.pem", f->folder.key, "/nonexistent/ca.pem"};
    gw_tls_files *files = NULL;
    gw_error err = {0};
    tls_test_put(&f->folder, f->folder.key, GW_STR("very secret"));
    assert_int_equal(gw_tls_files_new(f->loop, &paths, f->log, &files, &err),
                     GW_ERR_INVALID_ARGUMENT);
    assert_non_null(strstr(err.message, "/nonexistent/cert.pem"));
    assert_non_null(strstr(err.message, "no private key"));
    assert_non_null(strstr(err.message, "/nonexistent/ca.pem"));
    assert_null(strstr(err.message, "very secret"));
    assert_null(strstr(log_text(f), "very secret"));
}

/* Changes happen only after the watch's first look. */
static void after_a_few_looks(fixture *f, gw_timer *t, void (*change)(void *arg))
{
    gw_timer_init(t, change, f);
    gw_timer_set(f->loop, t, 10L * INTERVAL_MS);
}

static void swap_to_second(void *arg)
{
    fixture *f = arg;
    tls_test_put_identity(&f->folder, &f->second);
}

static void a_changed_set_becomes_current_by_itself(void **state)
{
    fixture *f = *state;
    gw_timer t;
    open_files(f);
    gw_tls_files_subscribe(f->files, &f->subscription, count_and_stop, f);
    after_a_few_looks(f, &t, swap_to_second);
    gw_loop_run(f->loop);
    assert_int_equal(f->told, 1);
    assert_true(holds_cert(f, &f->second));
    assert_int_equal(log_count(f, "tls_files_loaded"), 2);
}

static void a_set_that_changed_before_the_first_look_is_found(void **state)
{
    fixture *f = *state;
    open_files(f);
    gw_tls_files_subscribe(f->files, &f->subscription, count_and_stop, f);
    swap_to_second(f);
    gw_loop_run(f->loop);
    assert_true(holds_cert(f, &f->second));
}

static void a_bad_change_keeps_the_current_set_and_is_logged(void **state)
{
    fixture *f = *state;
    gw_error err = {0};
    open_files(f);
    gw_tls_files_subscribe(f->files, &f->subscription, count, f);
    tls_test_put_cert(&f->folder, f->folder.cert, &f->second); /* half of a swap */
    assert_int_equal(gw_tls_files_reload(f->files, &err), GW_ERR_INVALID_ARGUMENT);
    assert_non_null(strstr(err.message, "does not fit"));
    assert_int_equal(f->told, 0);
    assert_true(holds_cert(f, &f->first));
    assert_int_equal(log_count(f, "tls_files_refused"), 1);

    tls_test_put_key(&f->folder, f->folder.key, &f->second); /* the other half */
    assert_int_equal(gw_tls_files_reload(f->files, NULL), GW_OK);
    assert_int_equal(f->told, 1);
    assert_true(holds_cert(f, &f->second));
}

static void the_same_files_again_are_no_change(void **state)
{
    fixture *f = *state;
    open_files(f);
    gw_tls_files_subscribe(f->files, &f->subscription, count, f);
    tls_test_put_identity(&f->folder, &f->first);
    assert_int_equal(gw_tls_files_reload(f->files, NULL), GW_OK);
    assert_int_equal(f->told, 0);
}

static void who_unsubscribed_is_not_told(void **state)
{
    fixture *f = *state;
    open_files(f);
    gw_tls_files_subscribe(f->files, &f->subscription, count, f);
    gw_tls_files_unsubscribe(&f->subscription);
    swap_to_second(f);
    assert_int_equal(gw_tls_files_reload(f->files, NULL), GW_OK);
    assert_int_equal(f->told, 0);
    gw_tls_files_unsubscribe(&(gw_tls_subscription){0});
}

static void an_own_certificate_near_or_out_of_its_time_is_warned_of(void **state)
{
    fixture *f = *state;
    static const struct {
        int from_days, days;
        const char *event;
    } cases[] = {{0, -1, "tls_certificate_expired"},
                 {0, 5, "tls_certificate_expires_soon"},
                 {1, 60, "tls_certificate_not_yet_valid"}};
    open_files(f);
    for (size_t i = 0; i < GW_ARRAY_LEN(cases); i++) {
        assert_int_equal(log_count(f, cases[i].event), 0);
        tls_test_identity id = tls_test_make(&(tls_test_spec){
            .from_days = cases[i].from_days, .days = cases[i].days, .issuer = &f->ca});
        tls_test_put_identity(&f->folder, &id);
        tls_test_drop(&id);
        assert_int_equal(gw_tls_files_reload(f->files, NULL), GW_OK);
        assert_int_equal(log_count(f, cases[i].event), 1);
    }
}

static void a_key_that_others_may_read_is_warned_of(void **state)
{
    fixture *f = *state;
    assert_int_equal(chmod(f->folder.key, 0640), 0); /* Kubernetes gives secrets to a group */
    open_files(f);
    assert_int_equal(log_count(f, "tls_key_readable_by_others"), 0);
    gw_tls_files_free(f->files);
    assert_int_equal(chmod(f->folder.key, 0644), 0);
    open_files(f);
    assert_int_equal(log_count(f, "tls_key_readable_by_others"), 1);
}

static void without_memory_opening_and_reloading_fail_cleanly(void **state)
{
    fixture *f = *state;
    const gw_tls_paths paths = tls_test_paths(&f->folder);
    for (size_t n = 1;; n++) {
        gw_failing_alloc_arm(n);
        gw_status rc = tls_files_open(f->loop, &paths, INTERVAL_MS, NULL, &f->files, NULL);
        bool failed = gw_failing_alloc_disarm();
        if (rc == GW_OK && !failed)
            break;
        if (rc == GW_OK) /* the loop's own tables may fail to grow and go on */
            gw_tls_files_free(gw_steal(&f->files));
        else
            assert_int_equal(rc, GW_ERR_NO_MEMORY);
        uv_run(gw_loop_uv(f->loop), UV_RUN_NOWAIT);
    }
    swap_to_second(f);
    for (size_t n = 1;; n++) {
        gw_failing_alloc_arm(n);
        gw_status rc = gw_tls_files_reload(f->files, NULL);
        if (!gw_failing_alloc_disarm())
            break;
        assert_int_equal(rc, GW_ERR_NO_MEMORY);
        assert_true(holds_cert(f, &f->first));
    }
    assert_true(holds_cert(f, &f->second));
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_good_set_is_read_whole),
        TEST(files_that_are_not_named_are_empty),
        TEST(a_bad_set_is_refused_with_its_reason),
        TEST(all_mistakes_come_together_and_without_content),
        TEST(a_changed_set_becomes_current_by_itself),
        TEST(a_set_that_changed_before_the_first_look_is_found),
        TEST(a_bad_change_keeps_the_current_set_and_is_logged),
        TEST(the_same_files_again_are_no_change),
        TEST(who_unsubscribed_is_not_told),
        TEST(an_own_certificate_near_or_out_of_its_time_is_warned_of),
        TEST(a_key_that_others_may_read_is_warned_of),
        TEST(without_memory_opening_and_reloading_fail_cleanly),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
