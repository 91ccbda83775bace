/*
 * Audit head: once an hour the newest entry's seq and hash go to the log, signed with a key from the
 * pepper file. Whoever rewrote the whole chain would have to rewrite the shipped logs as well.
 *
 * Thread: the loop's.
 */
#pragma once

#include "audit_log.h"
#include "auth.h"

#define AUDIT_SIGNATURE_SIZE (2 * GW_SHA256_SIZE + 1)
/* Hex HMAC-SHA256 of "<seq> <hash>" under the current pepper's key. */
void audit_head_sign(const peppers *p, int64_t seq, gw_str hash, char out[AUDIT_SIGNATURE_SIZE]);
/* Whether one of the peppers' keys made it. */
GW_CHECK bool audit_head_is_signed(const peppers *p, int64_t seq, gw_str hash, gw_str signature);

typedef struct audit_head audit_head;
GW_CHECK gw_status audit_head_new(auth *a, audit_head **ret, gw_error *err);
void audit_head_stop(audit_head *h);
void audit_head_free(audit_head *h); /* after gw_mongo_free */
GW_DEFINE_FREEP(audit_head)
