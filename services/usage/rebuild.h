/*
 * Rebuild: hours computed again from their rows, under traffic, and compared with what stands.
 *
 *     hour documents (rev, m, sums) ─▶ rows ─▶ every spool's claim ─▶ guarded update {_id, rev}
 *
 * What is read is whole when each claim that has a row in the hour is in the hour as read: done, or
 * m.S >= its n. A claim that gets there after the documents were read changes their rev, and the
 * update does not match; one that is between its rows and its hours is seen at the spools, is
 * finished by the resume step, and all is read again. So the hours of a busy spool can be rebuilt,
 * too, while its last claim's `done` is still to come.
 *
 * A document is written only when a figure differs, with its marks kept, a new rev and dirty, so that
 * the fold makes its day anew. There must be no difference.
 *
 * Thread: on a worker.
 */
#pragma once

#include "spool_store.h"

typedef struct rebuild_difference {
    const char *hour_id;
    const char *path; /* "metrics.requests.total" */
    int64_t stored, computed;
} rebuild_difference;

typedef struct rebuild_options {
    int64_t from_ms, to_ms; /* widened to whole hours; nothing beyond now */
    int64_t retention_ms;
    bool dry_run; /* compares only */
    void (*on_difference)(void *arg, const rebuild_difference *d); /* may be NULL */
    void *arg;
} rebuild_options;

typedef struct rebuild_report {
    int64_t hours, documents, rows; /* looked at */
    int64_t differing; /* documents */
    int64_t differences; /* figures */
    int64_t rewritten; /* documents */
    int64_t kept; /* documents with more than their rows have, which may have begun to expire */
} rebuild_report;

/*
 * GW_ERR_INVALID_ARGUMENT: not from < to. GW_ERR_FAILED_PRECONDITION: rows of the range have begun to
 * expire, nothing was read. GW_ERR_ABORTED: an hour went on changing; those before it are done, and
 * counted in *ret, as after every failure.
 */
GW_CHECK gw_status rebuild_run(const spool_db *s, const rebuild_options *o, rebuild_report *ret,
                               touched_days *touched, gw_error *err);
