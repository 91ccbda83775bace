#include "service/service_internal.h"

#include "service/hardening.h"

#include <assert.h>
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#define READY_POLL_MS      100
#define LOG_DELAY_MS       20 /* of a line that is no warning, at most */
#define DESCRIPTORS_BESIDE 64 /* files, pipes, stores and channels of any service */
#define EXIT_USAGE         2

void service_set_log_level(gw_service *s)
{
    gw_log_level level = GW_LOG_INFO;
    (void)!gw_log_level_parse(gw_str_of(service_common(s).log_level), &level); /* checked before */
    gw_log_set_level(s->log, level);
}

/* ---- readiness ---- */

static void note_readiness(gw_service *s, bool ready, const char *reason)
{
    if (ready == s->serving || s->stopping)
        return;
    s->serving = ready;
    if (s->kind->set_serving)
        s->kind->set_serving(s->app, ready);
    if (ready)
        gw_log_info(s->log, "service_ready");
    else
        gw_log_warn(s->log, "service_not_ready", gw_kv("reason", reason));
}

/* Who asks is told what gRPC's health says, too. */
static bool is_ready(void *arg, const char **reason)
{
    gw_service *s = arg;
    bool ready = s->kind->is_ready(s->app, reason);
    note_readiness(s, ready, *reason);
    return ready;
}

static void watch_readiness(void *arg)
{
    gw_service *s = arg;
    const char *reason = "";
    (void)is_ready(s, &reason);
    gw_timer_set(s->loop, &s->ready_timer, READY_POLL_MS);
}

/* ---- log: one write(2) for what a busy loop has to say within some ms ---- */

static void flush_log(void *arg)
{
    gw_service *s = arg;
    gw_log_flush(s->log);
}

static void on_log_waiting(void *arg)
{
    gw_service *s = arg;
    gw_timer_set(s->loop, &s->log_timer, LOG_DELAY_MS);
}

/* ---- shutdown, in the order of its steps ---- */

static void on_ops_closed(void *arg)
{
    gw_service *s = arg;
    s->ops = NULL;
    gw_loop_stop(s->loop);
}

void gw_service_drained(gw_service *s)
{
    gw_ops_close(s->ops, on_ops_closed, s);
}

static void begin_drain(void *arg)
{
    gw_service *s = arg;
    gw_log_info(s->log, "drain_started");
    s->kind->drain(s->app);
}

static void on_shutdown(void *arg)
{
    gw_service *s = arg;
    int64_t delay_ms = service_common(s).shutdown_delay_ms;
    gw_log_info(s->log, "shutdown_begun", gw_kv("delay_ms", delay_ms));
    s->stopping = true;
    s->serving = false;
    gw_timer_cancel(s->loop, &s->ready_timer);
    gw_ops_set_draining(s->ops);
    if (s->kind->set_serving)
        s->kind->set_serving(s->app, false);
    gw_timer_set(s->loop, &s->delay_timer, delay_ms);
}

/* ---- start, in the order of its steps ---- */

static gw_status make_folders(const gw_service *s, const gw_user *owner, gw_error *err)
{
    const gw_conf_table *t = s->kind->conf;
    for (size_t i = 0; i < t->n_fields; i++) {
        const char *path =
            t->fields[i].flags & CONF_FOLDER ? gw_conf_path(&t->fields[i], s->conf) : NULL;
        if (!path)
            continue;
        bool made = mkdir(path, 0700) == 0;
        if (made ? owner && chown(path, owner->uid, owner->gid) != 0 : errno != EEXIST)
            return gw_fail(err, GW_ERR_IO, "make the folder %s: %s", path, strerror(errno));
    }
    return GW_OK;
}

/* Files are made as the user that will read them again; ports below 1024 can be bound until drop_privileges(). */
static gw_status lower_privileges(gw_service *s, gw_error *err)
{
    const char *run_as = service_common(s).run_as;
    gw_user user;
    if (!run_as) {
        if (geteuid() == 0)
            gw_log_warn(s->log, "running_as_root",
                        gw_kv("hint", "set run_as, or start as another user"));
        return make_folders(s, NULL, err);
    }
    if (!gw_user_find(run_as, &user)) /* it was there when the settings were checked */
        return gw_fail(err, GW_ERR_INVALID_ARGUMENT, "run_as: %s is no user of this system",
                       run_as);
    gw_status rc = make_folders(s, geteuid() == 0 ? &user : NULL, err);
    if (rc == GW_OK)
        rc = gw_privileges_lower(&user, err);
    return rc == GW_OK ? service_check_reload(s, err) : rc;
}

static gw_status drop_privileges(const gw_service *s, gw_error *err)
{
    gw_status rc = service_common(s).run_as ? gw_privileges_drop(err) : GW_OK;
    /* Changing the user has set what the kernel thinks best of dumps. */
    return rc == GW_OK ? gw_process_harden(service_common(s).core_dumps, err) : rc;
}

static gw_status open_base(gw_service *s, gw_error *err)
{
    const gw_service_kind *k = s->kind;
    uint64_t descriptors = (k->descriptors ? k->descriptors(s->conf) : 0) + DESCRIPTORS_BESIDE;
    gw_status rc = gw_process_allow_descriptors(descriptors, err);
    if (rc == GW_OK)
        rc = lower_privileges(s, err);
    if (rc == GW_OK)
        rc = gw_loop_new(&gw_system_clock, &s->loop, err);
    if (rc != GW_OK)
        return rc;
    gw_timer_init(&s->ready_timer, watch_readiness, s);
    gw_timer_init(&s->delay_timer, begin_drain, s);
    gw_timer_init(&s->log_timer, flush_log, s);
    rc = gw_log_gather(s->log, on_log_waiting, s, err);
    if (rc != GW_OK)
        return rc;
    s->metrics = gw_metrics_new(k->metrics, k->metric_count);
    s->shard = s->metrics ? gw_metrics_shard_new(s->metrics) : NULL;
    if (!s->shard)
        return gw_fail(err, GW_ERR_NO_MEMORY, "no memory for metrics");
    gw_metrics_set_build(s->metrics, k->conf->service, GW_VERSION);
    return GW_OK;
}

gw_status gw_service_open_tls(gw_service *s, const gw_tls_paths *paths, gw_tls_files **ret,
                              gw_error *err)
{
    gw_tls_files *f = NULL;
    if (paths->cert_file || paths->key_file || paths->ca_file) {
        assert(s->tls_count < GW_SERVICE_TLS_MAX);
        gw_status rc = gw_tls_files_new(s->loop, paths, s->log, &f, err);
        if (rc != GW_OK)
            return rc;
        s->tls_files[s->tls_count++] = f;
    }
    *ret = f;
    return GW_OK;
}

static gw_status open_ops(gw_service *s, gw_error *err)
{
    const gw_ops_options options = {.listen = service_common(s).ops_listen,
                                    .metrics = s->metrics,
                                    .tls = service_common(s).ops_tls ? s->tls : NULL,
                                    .is_ready = is_ready,
                                    .arg = s};
    return gw_ops_new(s->loop, &options, s->log, &s->ops, err);
}

static gw_status open_app(gw_service *s, gw_error *err)
{
    return s->kind->open(s->app, s, err);
}

static gw_status open_all(gw_service *s, gw_error *err)
{
    static gw_status (*const steps[])(gw_service * s, gw_error * err) = {
        open_base, service_open_trust, open_ops, open_app, service_watch_files,
    };
    for (size_t i = 0; i < GW_ARRAY_LEN(steps); i++) {
        gw_status rc = steps[i](s, err);
        if (rc != GW_OK)
            return rc;
    }
    return drop_privileges(s, err);
}

gw_status gw_service_open_for_command(gw_service *s, gw_error *err)
{
    gw_status rc = gw_loop_new(&gw_system_clock, &s->loop, err);
    return rc == GW_OK ? service_open_trust(s, err) : rc;
}

/* ---- run ---- */

void gw_service_close_for_command(gw_service *s)
{
    service_close_trust(s);
    for (size_t i = 0; i < s->tls_count; i++)
        gw_tls_files_free(s->tls_files[i]);
    if (s->loop)
        gw_loop_free(s->loop);
}

static void close_all(gw_service *s)
{
    gw_file_watch_free(s->watch);
    service_close_app(s);
    gw_service_close_for_command(s);
    gw_metrics_free(s->metrics);
}

static void serve(gw_service *s)
{
    gw_error err = {0};
    if (open_all(s, &err) != GW_OK) {
        gw_log_error(s->log, "start_failed", gw_kv_error(&err));
        /* What is half built goes with the process; threads may still use it, so nothing of it is taken down. */
        _exit(EXIT_FAILURE);
    }
    gw_loop_on_signals(s->loop, on_shutdown, service_reload, s);
    watch_readiness(s);
    gw_log_info(s->log, "service_started", gw_kv("service.version", GW_VERSION),
                gw_kv("ops.port", (int64_t)gw_ops_port(s->ops)));
    gw_loop_run(s->loop);
    gw_log_info(s->log, "service_stopped");
    gw_log_stop_gathering(s->log);
    gw_timer_cancel(s->loop, &s->log_timer);
    close_all(s);
}

static int run(gw_service *s)
{
    gw_conf_base base;
    int exit_status = EXIT_SUCCESS;
    memcpy(&base, s->conf, sizeof(base));
    if (base.n_args == 0) {
        serve(s);
    } else if (!s->kind->command || !s->kind->command(s, &exit_status)) {
        const gw_conf_table *t = s->kind->conf;
        (void)fprintf(stderr, "%s: unknown command '%s'; there is %s (--help)\n", t->service,
                      base.args[0], t->usage[0] ? t->usage : "none");
        exit_status = EXIT_USAGE;
    }
    return exit_status;
}

int gw_service_main(const gw_service_kind *kind, void *app, int argc, char **argv)
{
    const gw_conf_table *t = kind->conf;
    gw_service s = {.kind = kind, .app = app, .argc = argc, .argv = argv};
    gw_error err = {0};
    int exit_status = EXIT_FAILURE;

    (void)signal(SIGHUP, SIG_IGN); /* until it can be answered */
    s.conf = s.settings = calloc(1, t->struct_size);
    if (!s.settings || !gw_conf_start(t, argc, argv, s.settings, &exit_status)) {
        free(s.settings);
        return exit_status;
    }
    s.log = gw_log_new(t->service, STDERR_FILENO, GW_LOG_INFO, &gw_system_clock);
    if (s.log)
        service_set_log_level(&s);
    if (s.log && gw_process_harden(service_common(&s).core_dumps, &err) == GW_OK)
        exit_status = run(&s);
    else
        gw_log_error(s.log, "start_failed", gw_kv_error(&err));
    gw_log_free(s.log);
    gw_conf_free(t, s.settings);
    free(s.settings);
    if (s.adopted)
        gw_conf_free(t, s.adopted);
    free(s.adopted);
    return exit_status;
}
