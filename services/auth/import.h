/*
 * Import: `auth import FILE` makes many API keys from JSON lines.
 *
 * Each line is an object of the writable fields of an API key, as POST /admin/api-keys takes them, and
 * may carry `key`, a whole key of ours (its tag and pepper must be right), for keys that exist
 * elsewhere. All lines are checked before the first key is made. Made keys are printed as
 * {"keyId", "key"} lines after their batch is stored; a run that breaks has made the keys printed and at
 * most one batch more.
 *
 * Thread: blocks; it runs as one job on a MongoDB worker.
 */
#pragma once

#include "mongo/db.h"
#include "peppers.h"

#include <stdio.h>

typedef struct import_options {
    const peppers *peppers;
    const char *path; /* the JSON lines */
    FILE *out; /* made keys */
    bool argon2; /* also the Argon2id strings; without, keys have their verifier only */
    unsigned threads; /* of Argon2id */
} import_options;

/* GW_ERR_INVALID_ARGUMENT lists the first bad lines by number. */
GW_CHECK gw_status import_run(const gw_db *d, const import_options *o, int64_t *ret_made,
                              gw_error *err);
