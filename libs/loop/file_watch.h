/*
 * File watch: tells when files have changed, so that certificates and settings are read anew without a restart.
 *
 * Files are looked at (stat, on libuv's thread pool) every `interval_ms`. That sees what notification does not: a file
 * on a network volume, and the symbolic links that Kubernetes swaps when a Secret or ConfigMap changes. A file that is
 * away for a while is no change; its return is.
 *
 * Thread: the loop's.
 */
#pragma once

#include "loop/loop.h"

#include <stddef.h>

#define GW_FILE_WATCH_INTERVAL_MS 1000

typedef struct gw_file_watch gw_file_watch;

/*
 * Watches `paths` (copied; NULL entries are skipped). `changed(arg)` comes on the loop, once for all files that were
 * seen to change in one round; a reader that finds half of a change keeps what it has and is called again with the rest.
 * GW_ERR_NO_MEMORY.
 */
GW_CHECK gw_status gw_file_watch_new(gw_loop *l, const char *const *paths, size_t n,
                                     unsigned interval_ms, void (*changed)(void *arg), void *arg,
                                     gw_file_watch **ret, gw_error *err);
/* No call afterwards. Its memory goes with the loop's next turns, at the latest in gw_loop_free(). */
void gw_file_watch_free(gw_file_watch *w);
GW_DEFINE_FREEP(gw_file_watch)
