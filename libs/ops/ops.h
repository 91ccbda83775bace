/*
 * Ops listener: HTTP, over TLS when asked to, for probes and scrapes, never public.
 *
 *   GET /healthz  200 while the loop turns
 *   GET /readyz   200 when `is_ready`, else 503 with the reason as text
 *   GET /metrics  Prometheus text of `metrics`
 *
 * Thread: the loop's.
 */
#pragma once

#include "http/server.h"

typedef struct gw_ops gw_ops;

typedef struct gw_ops_options {
    const char *listen; /* "127.0.0.1:9201" */
    gw_metrics *metrics; /* may be NULL */
    gw_tls_files *tls; /* NULL: plain. Outlives the listener */
    /* False with a reason (static text) when the service cannot serve. Losing a store in flight is
     * no reason. */
    bool (*is_ready)(void *arg, const char **reason);
    void *arg;
} gw_ops_options;

GW_CHECK gw_status gw_ops_new(gw_loop *l, const gw_ops_options *o, gw_log *log, gw_ops **ret,
                              gw_error *err);
uint16_t gw_ops_port(const gw_ops *o);
void gw_ops_set_draining(gw_ops *o); /* /readyz answers 503 "draining" from now on */
void gw_ops_close(gw_ops *o, void (*closed)(void *arg), void *arg);
