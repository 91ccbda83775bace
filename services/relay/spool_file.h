/*
 * Files of a spool: what a call wrote, read or synced is all of it or an error, whatever signals come in between.
 *
 * After a sync that failed nothing is known of what was written before it: the kernel may have dropped it and may say so only once.
 * What is to be on disk is then written again, not only synced again.
 *
 * Thread: any.
 */
#pragma once

#include "core/status.h"

#include <sys/types.h>

/* Each false with errno. */
GW_CHECK bool spool_file_write(int fd, const void *bytes, size_t len, off_t at);
GW_CHECK bool spool_file_read(int fd, void *bytes, size_t len, off_t at); /* EIO at the end, too */
GW_CHECK bool spool_file_sync(int fd);
/* At least so long, its blocks there and the file durable but for its name: a full disk shows here and not in the middle of a commit. */
GW_CHECK bool spool_file_allocate(int fd, off_t bytes);

/* New files and renames are durable once their folder is. */
GW_CHECK gw_status spool_folder_sync(const char *folder, gw_error *err);

/* GW_ERR_IO with errno's text. */
gw_status spool_io_error(gw_error *err, const char *what, const char *path);
