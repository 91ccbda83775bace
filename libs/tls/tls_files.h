/*
 * TLS files: certificate, key and authorities as PEM files that may change under a running service.
 *
 * A set of files is read whole and checked: the key fits the certificate, the certificate is no CA-only file, everything
 * parses. The newest good set is current. When a file changes (loop/file_watch.h) or gw_tls_files_reload() is called,
 * the set is read again: good → it becomes current, every subscriber is told and a log line names the certificate's end;
 * bad or half-written → the current one stays, the log says why, once a change. Nothing here drops a connection: whoever
 * subscribes uses the new set for connections made from then on.
 *
 * An expired or not yet valid own certificate is a warning in the log, at load and once a day from 14 days before its end.
 *
 * Messages name files and reasons, never content.
 *
 * Thread: the loop's. The texts of a set live until the next set is current.
 */
#pragma once

#include "core/str.h"
#include "log/log.h"
#include "loop/loop.h"

typedef struct gw_tls_files gw_tls_files;

typedef struct gw_tls_paths { /* NULL where there is none; cert_file and key_file come together */
    const char *cert_file; /* PEM: own certificate, then intermediates */
    const char *key_file; /* PEM, not encrypted; a warning when others may read it */
    const char *ca_file; /* PEM: authorities that peers' certificates are checked with */
} gw_tls_paths;

typedef struct gw_tls_pem { /* PEM texts, "" where there is no file */
    gw_str cert;
    gw_str key;
    gw_str ca;
} gw_tls_pem;

/* All that is wrong with the files in one message: GW_ERR_INVALID_ARGUMENT, GW_ERR_IO. `log` may be NULL. */
GW_CHECK gw_status gw_tls_files_new(gw_loop *l, const gw_tls_paths *paths, gw_log *log,
                                    gw_tls_files **ret, gw_error *err);
/* Subscribers are gone by now. Wipes keys. */
void gw_tls_files_free(gw_tls_files *f);
GW_DEFINE_FREEP(gw_tls_files)

const gw_tls_pem *gw_tls_files_pem(const gw_tls_files *f);
const gw_tls_paths *
gw_tls_files_paths(const gw_tls_files *f); /* for libraries that read files only */

/* Embedded in whoever uses the files; told after each change of the current set. */
typedef struct gw_tls_subscription {
    gw_list node;
    void (*changed)(void *arg);
    void *arg;
} gw_tls_subscription;
void gw_tls_files_subscribe(gw_tls_files *f, gw_tls_subscription *s, void (*changed)(void *arg),
                            void *arg);
void gw_tls_files_unsubscribe(gw_tls_subscription *s); /* also of one that never was, if zeroed */

/* Reads again now, as SIGHUP asks for; the error is also logged. */
GW_CHECK gw_status gw_tls_files_reload(gw_tls_files *f, gw_error *err);
