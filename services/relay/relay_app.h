/*
 * Relay app: the parts of the process, put together in order, run, and taken apart in reverse.
 *
 *     SIGTERM ─▶ not ready, no new connections, grace for what is in flight ─▶ what is left ends with
 *     an error ─▶ servers closed ─▶ spool flushed and acked as far as usage allows ─▶ exit 0
 */
#pragma once

#include "relay_conf.h"

/* Runs until the drain is over. The exit status of the process. */
int relay_app_run(const relay_conf *conf);
