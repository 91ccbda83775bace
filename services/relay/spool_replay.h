/*
 * Spool replay: what the spool directory of a relay that will not come back still has goes to usage, as that relay would have sent it.
 *
 * The directory is opened as a relay opens it: locked, requests in flight appended as `interrupted`, the same id and boot in the
 * hello. What usage claims is deleted; what it does not stays.
 *
 * Thread: the loop's, which runs meanwhile.
 */
#pragma once

#include "log/log.h"
#include "loop/loop.h"
#include "rpc/client.h"

typedef struct spool_replay_options {
    const char *dir;
    int64_t spool_max_bytes; /* room to write in; less than there is does no harm */
    gw_rpc_channel *usage;
    gw_str service_token;
    int64_t patience_ms; /* without a claim; then what is left stays */
    gw_log *log; /* may be NULL */
} spool_replay_options;

typedef struct spool_replay_report {
    int64_t events; /* not claimed at first, requests that were in flight included */
    int64_t claimed;
    int64_t left;
} spool_replay_report;

/*
 * Returns when all is claimed. GW_ERR_NOT_FOUND: no spool in `dir`, nothing was made there; GW_ERR_FAILED_PRECONDITION: a relay holds
 * it, or usage knows the spool from another disk, and it was put aside; GW_ERR_UNAVAILABLE: usage was away for too long. *ret is
 * written in any case.
 */
GW_CHECK gw_status spool_replay_run(gw_loop *l, const spool_replay_options *o,
                                    spool_replay_report *ret, gw_error *err);
