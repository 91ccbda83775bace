/*
 * The files of a log: which there are and what their heads say, before anything is made of them.
 *
 * Thread: any.
 */
#pragma once

#include "spool_log.h"

typedef struct found_file {
    unsigned file;
    off_t size;
    bool is_segment; /* its head is sound, and of the log that was asked for */
    bool is_kept; /* it is in the chain */
    spool_head head;
} found_file;

typedef struct found_files {
    found_file *files; /* segments first, by their numbers */
    size_t count, capacity;
    size_t segments; /* how many of them are some */
} found_files;

/* All of the log's folder; segments are those of `log`, 0: of any. */
GW_CHECK gw_status found_files_list(found_files *f, const spool_log *l, uint64_t log,
                                    gw_error *err);
void found_files_sort(found_files *f); /* again, after a change of heads */
void found_files_fini(found_files *f);

int found_file_open(const spool_log *l, const found_file *f, int flags); /* -1: errno */
