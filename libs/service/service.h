/*
 * Service: what the processes of all services have in common, from main() to the exit status.
 *
 *     settings ─▶ log ─▶ limits, user ─▶ loop ─▶ metrics ─▶ TLS files, service tokens ─▶ ops listener ─▶ open() ─▶ signals ─▶ run
 *
 *     SIGTERM ─▶ not ready ─▶ shutdown_delay ─▶ drain() … gw_service_drained() ─▶ ops listener closed ─▶ close() ─▶ exit 0
 *     a second SIGTERM ─▶ exit 130 at once
 *     SIGHUP, or a change of the settings file or of a CONF_WATCHED one ─▶ settings loaded anew ─▶ reload()
 *
 * A start that fails logs `start_failed` and ends with 1, mistakes in the settings end with 2.
 *
 * Thread: main's, which runs the loop; every function of a gw_service_kind is called on it.
 */
#pragma once

#include "access/peers.h"
#include "access/service_tokens.h"
#include "conf/conf.h"
#include "log/log.h"
#include "loop/file_watch.h"
#include "loop/loop.h"
#include "metrics/metrics.h"
#include "ops/ops.h"
#include "tls/tls_files.h"

/* What every settings struct begins with: service_conf.def is included first in its table. */
#define GW_CONF_NAME gw_service_conf
#define GW_CONF_DEF  "service/service_conf.def"
#include "conf/conf_struct.h"

#define GW_SERVICE_TLS_MAX 6 /* sets of TLS files of one service */
/* For close(): a MongoDB that hangs is waited for there for 13 s and more. */
#define GW_SERVICE_CLOSE_MAX_MS 2000

typedef struct gw_service gw_service;

/* What one service makes of it; constant. `app` is the service's own state, zeroed at first. */
typedef struct gw_service_kind {
    const gw_conf_table *conf;
    const gw_metric_info *metrics;
    size_t metric_count;
    /* no start, and no reload, without a token of the service's own name where TLS is off */
    bool needs_own_token;

    /* Runs the command of the positional arguments instead of the service, with settings and log alone. False when there
     * is no such command. NULL: there are none. */
    bool (*command)(gw_service *s, int *ret_exit_status);

    /* Descriptors that the settings promise to serve; the start fails when the system does not allow them. NULL: a few. */
    uint64_t (*descriptors)(const void *conf);

    /* Makes every part; listening may begin. After a failure the process ends: nothing is taken apart. */
    gw_status (*open)(void *app, gw_service *s, gw_error *err);

    /* As gw_ops_options.is_ready; asked from the loop only, after open(). */
    bool (*is_ready)(void *app, const char **reason);

    /* Readiness changed: what gRPC health answers. False for good once a shutdown has begun. NULL: nobody asks. */
    void (*set_serving)(void *app, bool serving);

    /*
     * Settings were loaded anew, or a watched file has changed: `s->conf` and `s->tokens` are new already, what was
     * borrowed from them lives until this returns. Reads files of the service's own again, too. Whoever keeps what was
     * says so in the log. Not during a shutdown. NULL: nothing to do.
     */
    void (*reload)(void *app);

    /* Stops listening and ends what is in flight within shutdown_grace; then gw_service_drained(). Once. */
    void (*drain)(void *app);

    /* Frees every part; the loop does not run any more. */
    void (*close)(void *app);

    /* A close() that takes longer, since a store hangs, is cut: the log says `close_cut`, and the process ends with 0 as it is.
     * For services that lose nothing by a kill -9: GW_SERVICE_CLOSE_MAX_MS. 0: it takes its time. */
    int64_t close_max_ms;
} gw_service_kind;

struct gw_service {
    /* For the service to borrow. */
    const void *conf; /* the settings in force; reloadable ones change before reload() */
    gw_log *log;
    gw_loop *loop;
    gw_metrics *metrics;
    gw_metrics_shard *shard; /* of this loop */
    /* own identity and the authorities of the other services; NULL: TLS is off */
    gw_tls_files *tls;
    gw_peers *peers; /* whose certificate is whose; NULL where TLS is off */
    gw_service_tokens *tokens; /* NULL where TLS is on and no file is named */
    gw_ops *ops;

    /* Private. */
    const gw_service_kind *kind;
    void *app;
    int argc;
    char **argv;
    void *settings; /* conf */
    void *adopted; /* the settings that reloadable ones come from; NULL before the first reload */
    gw_file_watch *watch;
    gw_tls_files *tls_files[GW_SERVICE_TLS_MAX]; /* all of them, `tls` too */
    size_t tls_count;
    gw_timer ready_timer, delay_timer, log_timer;
    bool serving, stopping;
};

/* What main() returns; `app` outlives the call. */
int gw_service_main(const gw_service_kind *kind, void *app, int argc, char **argv);

/* What to call other services with: the first token of the service's own name; "" where TLS is on, as our certificate tells
 * then who we are. Until the next reload() returns. */
gw_str gw_service_own_token(const gw_service *s);

/*
 * Appends what all replicas have and nobody else, to derive the key of list cursors from: the bytes of `cursor_key_file`
 * (32-4096), else, when it is NULL, our token in the service tokens. GW_ERR_INVALID_ARGUMENT, GW_ERR_IO. To be wiped.
 */
GW_CHECK gw_status gw_service_cursor_secret(const gw_service *s, const char *cursor_key_file,
                                            gw_buf *ret, gw_error *err);

/*
 * For a command that calls other services: the loop, `tls`, `peers` and `tokens`, as the service would have them. Closing frees
 * them, also after a failure and what is half open.
 */
GW_CHECK gw_status gw_service_open_for_command(gw_service *s, gw_error *err);
void gw_service_close_for_command(gw_service *s);

/* drain() is over. */
void gw_service_drained(gw_service *s);

/*
 * A set of TLS files for the service's life: read again on SIGHUP, freed after close(). *ret is NULL when `paths` names no
 * file: whatever takes it stays without.
 */
GW_CHECK gw_status gw_service_open_tls(gw_service *s, const gw_tls_paths *paths, gw_tls_files **ret,
                                       gw_error *err);

/* GW_CONF_CHECK of every service, alone or called from its own. */
void gw_service_check_conf(const void *conf, gw_conf_errors *errs);
/* Adds a mistake when `uri` (may be NULL) is none of MongoDB's. */
void gw_service_check_mongo(const char *uri, gw_conf_errors *errs);
/* The same of redis_url (may be NULL), and what is wrong with redis_cert_file, redis_key_file and redis_ca_file beside it. */
void gw_service_check_redis(const char *url, const gw_tls_paths *tls, gw_conf_errors *errs);
/* The same of a service that reads a cursor secret. */
void gw_service_check_cursor_key(const void *conf, const char *cursor_key_file,
                                 gw_conf_errors *errs);
