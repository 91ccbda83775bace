/*
 * Join: rows of api_usage meet what LibreChat has booked for them (librechat_books.h; docs/decisions/040).
 *
 * A row whose answer LibreChat has named (`upstreamResponseId`) is made with `librechat.lookAt`, the end of its answer. That is the
 * list of what is to be done, and where a pass goes on: nothing else is kept. A pass takes the rows that are due, oldest first, and
 * changes each by one update that holds only while `lookAt` is as it was read, so that of two replicas one writes, and a crash loses
 * nothing but the reading:
 *
 *   booked           librechat = {booked: true, credits, costNanoUsd, promptTokens, completionTokens, cacheReadTokens,
 *                    cacheWriteTokens, differenceTokens, differenceNanoUsd, transactions, model, userId, at}
 *   nothing in time  librechat = {booked: false, at}
 *   not yet          librechat.lookAt is later
 *   not to be read   librechat = {booked: false, unreadable: true, at}: something in the row is not as usage writes it. It would else
 *                    stay due, and so many of them would leave a pass no room for others
 *
 * Differences are theirs less ours. `usage` of the row, sums and ledgers stay as they are.
 *
 * LibreChat has no index on messageId: its transactions are read by the time in their _id, a minute before the first request until
 * an hour after the last answer of at most ten minutes' rows.
 *
 * Thread: on a worker.
 */
#pragma once

#include "mongo/reader.h"

#define LIBRECHAT_ROWS_A_PASS 200
#define LIBRECHAT_DELAY_MS    5000 /* before the first look: it books once its answer has ended */
#define LIBRECHAT_SETTLE_MS   10000 /* a transaction younger than this may not be the last one */
#define LIBRECHAT_LATE_MS                                                                          \
    3600000 /* what is not booked by then never is: a run that outlives its caller ends */

/* What a pass has done; one that fails has done so much. */
typedef struct librechat_joined {
    int64_t rows; /* that were due; as many as a pass takes: there may be more */
    int64_t booked, unbooked,
        unreadable; /* by this pass: what another replica wrote meanwhile is not in it */
    int64_t more_nano_usd, less_nano_usd; /* that LibreChat booked than we did, each >= 0 */
} librechat_joined;

GW_CHECK gw_status librechat_join_pass(const gw_db *own, gw_db_reader *librechat, int64_t now_ms,
                                       librechat_joined *ret, gw_error *err);
