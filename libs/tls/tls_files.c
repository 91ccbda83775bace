#include "tls/tls_files.h"

#include "loop/file_watch.h"
#include "tls/tls_files_internal.h"
#include "tls/tls_pem.h"

#include <stdlib.h>

enum {
    LOOK_AGAIN_MS = 3000, /* the watch's first look may come after a change */
    WARN_DAYS = 14,
};

struct gw_tls_files {
    gw_loop *loop;
    gw_log *log;
    gw_file_watch *watch;
    gw_timer look_again, daily;
    tls_pem_set set;
    gw_tls_pem texts; /* views of `set` */
    char *cert_file, *key_file, *ca_file;
    gw_tls_paths paths; /* views of these */
    gw_list subscriptions;
};

/* The file that names the set in the log. */
static const char *name_of(const gw_tls_files *f)
{
    return f->cert_file ? f->cert_file : f->ca_file ? f->ca_file : "";
}

static void warn_of_validity(const gw_tls_files *f)
{
    int64_t now_ms = gw_clock_wall_ms(gw_loop_clock(f->loop));
    int64_t left_ms = f->set.not_after_ms - now_ms;
    char from[GW_RFC3339_SIZE], to[GW_RFC3339_SIZE];
    if (!f->cert_file)
        return;
    gw_rfc3339_format(f->set.not_before_ms, from);
    gw_rfc3339_format(f->set.not_after_ms, to);
    if (left_ms < 0)
        gw_log_warn(f->log, "tls_certificate_expired", gw_kv("file.path", f->cert_file),
                    gw_kv("x509.not_after", to));
    else if (left_ms <= WARN_DAYS * GW_MS_PER_DAY)
        gw_log_warn(f->log, "tls_certificate_expires_soon", gw_kv("file.path", f->cert_file),
                    gw_kv("x509.not_after", to), gw_kv("days_left", left_ms / GW_MS_PER_DAY));
    if (f->set.not_before_ms > now_ms)
        gw_log_warn(f->log, "tls_certificate_not_yet_valid", gw_kv("file.path", f->cert_file),
                    gw_kv("x509.not_before", from));
}

/* Takes `s`. */
static void make_current(gw_tls_files *f, tls_pem_set *s)
{
    char end[GW_RFC3339_SIZE];
    tls_pem_fini(&f->set);
    f->set = *s;
    *s = (tls_pem_set){0};
    f->texts =
        (gw_tls_pem){gw_buf_str(&f->set.cert), gw_buf_str(&f->set.key), gw_buf_str(&f->set.ca)};
    if (f->cert_file) {
        gw_rfc3339_format(f->set.not_after_ms, end);
        gw_log_info(f->log, "tls_files_loaded", gw_kv("file.path", f->cert_file),
                    gw_kv("x509.not_after", (const char *)end));
    } else {
        gw_log_info(f->log, "tls_files_loaded", gw_kv("file.path", name_of(f)));
    }
    if (f->set.key_is_open)
        gw_log_warn(f->log, "tls_key_readable_by_others", gw_kv("file.path", f->key_file));
    warn_of_validity(f);
}

gw_status gw_tls_files_reload(gw_tls_files *f, gw_error *err)
{
    gw_error why = {0};
    tls_pem_set s = {0};
    gw_status rc = tls_pem_read(&f->paths, &s, &why);
    if (rc != GW_OK) {
        gw_log_error(f->log, "tls_files_refused", gw_kv("file.path", name_of(f)),
                     gw_kv_error(&why));
        if (err)
            *err = why;
        return rc;
    }
    if (tls_pem_equal(&s, &f->set)) {
        tls_pem_fini(&s);
        return GW_OK;
    }
    make_current(f, &s);
    gw_list_each_safe (node, &f->subscriptions) {
        gw_tls_subscription *each = GW_CONTAINER_OF(node, gw_tls_subscription, node);
        each->changed(each->arg);
    }
    return GW_OK;
}

static void on_changed(void *arg)
{
    (void)!gw_tls_files_reload(arg, NULL); /* logged */
}

static void warn_daily(void *arg)
{
    gw_tls_files *f = arg;
    warn_of_validity(f);
    gw_timer_set(f->loop, &f->daily, GW_MS_PER_DAY);
}

static bool copy_path(const char *path, char **ret)
{
    *ret = path ? gw_str_dup(gw_str_of(path)) : NULL;
    return !path || *ret;
}

gw_status tls_files_open(gw_loop *l, const gw_tls_paths *paths, unsigned interval_ms, gw_log *log,
                         gw_tls_files **ret, gw_error *err)
{
    gw_tls_files *f = calloc(1, sizeof(*f));
    if (!f)
        return gw_fail(err, GW_ERR_NO_MEMORY, "no memory for TLS files");
    f->loop = l;
    f->log = log;
    gw_list_init(&f->subscriptions);
    gw_timer_init(&f->look_again, on_changed, f);
    gw_timer_init(&f->daily, warn_daily, f);
    tls_pem_set s = {0};
    gw_status rc = copy_path(paths->cert_file, &f->cert_file) &&
                           copy_path(paths->key_file, &f->key_file) &&
                           copy_path(paths->ca_file, &f->ca_file)
                       ? GW_OK
                       : gw_fail(err, GW_ERR_NO_MEMORY, "no memory for TLS files");
    f->paths = (gw_tls_paths){f->cert_file, f->key_file, f->ca_file};
    const char *const watched[] = {f->cert_file, f->key_file, f->ca_file};
    if (rc == GW_OK)
        rc = tls_pem_read(paths, &s, err);
    if (rc == GW_OK)
        rc = gw_file_watch_new(l, watched, GW_ARRAY_LEN(watched), interval_ms, on_changed, f,
                               &f->watch, err);
    if (rc != GW_OK) {
        tls_pem_fini(&s);
        gw_tls_files_free(f);
        return rc;
    }
    make_current(f, &s);
    gw_timer_set(l, &f->look_again, LOOK_AGAIN_MS);
    gw_timer_set(l, &f->daily, GW_MS_PER_DAY);
    *ret = f;
    return GW_OK;
}

gw_status gw_tls_files_new(gw_loop *l, const gw_tls_paths *paths, gw_log *log, gw_tls_files **ret,
                           gw_error *err)
{
    return tls_files_open(l, paths, GW_FILE_WATCH_INTERVAL_MS, log, ret, err);
}

void gw_tls_files_free(gw_tls_files *f)
{
    if (!f)
        return;
    gw_file_watch_free(f->watch);
    gw_timer_cancel(f->loop, &f->look_again);
    gw_timer_cancel(f->loop, &f->daily);
    tls_pem_fini(&f->set);
    free(f->cert_file);
    free(f->key_file);
    free(f->ca_file);
    free(f);
}

const gw_tls_pem *gw_tls_files_pem(const gw_tls_files *f)
{
    return &f->texts;
}

const gw_tls_paths *gw_tls_files_paths(const gw_tls_files *f)
{
    return &f->paths;
}

void gw_tls_files_subscribe(gw_tls_files *f, gw_tls_subscription *s, void (*changed)(void *arg),
                            void *arg)
{
    s->changed = changed;
    s->arg = arg;
    gw_list_push_back(&f->subscriptions, &s->node);
}

void gw_tls_files_unsubscribe(gw_tls_subscription *s)
{
    if (s->node.next)
        gw_list_remove(&s->node);
}
