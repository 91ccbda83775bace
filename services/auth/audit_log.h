/*
 * Audit log: who changed what, as a chain that cannot be altered unnoticed.
 *
 *     payloadHash = SHA-256(payloadJson)
 *     hash        = SHA-256(each field as "<length>:<bytes>,": seq, at (ms), actorKind, actorId, actorName,
 *                   address, action, target, phase, outcome, requestId, payloadHash, prevHash)
 *
 * The payload may be erased later; its hash stays, and with it the chain. seq is the document's _id, so
 * two writers cannot take one number: the loser tries again behind the winner.
 *
 * Thread: the chain's arithmetic is pure; the rest on a worker.
 */
#pragma once

#include "core/arena.h"
#include "mongo/db.h"

#include <apirelay/auth/v1/admin.pb-c.h>

typedef Apirelay__Auth__V1__AuditEntry audit_entry;

#define AUDIT_HASH_SIZE 65
#define AUDIT_NO_HASH   "0000000000000000000000000000000000000000000000000000000000000000"

/* Sets payload_hash (when there is a payload) and hash from the other fields. */
void audit_entry_seal(gw_arena *a, audit_entry *e);
/* What does not fit, NULL when all does. `before` is the entry with seq - 1, NULL for the first. */
const char *audit_entry_fault(gw_arena *a, const audit_entry *e, int64_t seq,
                              const char *prev_hash);

/* Appends; sets seq, prev_hash and the hashes. The rest is the caller's. */
GW_CHECK gw_status audit_log_append(const gw_db *d, gw_arena *a, audit_entry *e, gw_error *err);

typedef struct audit_filter {
    gw_str action, actor_id, target;
    bool has_from, has_to; /* else open */
    int64_t from_ms, to_ms;
    int64_t before_seq; /* 0: from the newest */
    int64_t limit;
} audit_filter;
/* Newest first; `ret` has room for filter->limit. */
GW_CHECK gw_status audit_log_list(const gw_db *d, gw_arena *a, const audit_filter *f,
                                  audit_entry **ret, size_t *ret_count, gw_error *err);

typedef struct audit_verdict {
    int64_t checked, broken_seq, head_seq;
    char head_hash[AUDIT_HASH_SIZE];
    char message[160];
} audit_verdict;
/* A head that was signed before; seq 0: none. */
typedef struct audit_known {
    int64_t seq;
    gw_str hash;
} audit_known;
/* `to` 0: the newest; what is asked for beyond the newest is missing. Also whether the chain still has `known`. */
GW_CHECK gw_status audit_log_verify(const gw_db *d, int64_t from, int64_t to, audit_known known,
                                    audit_verdict *ret, gw_error *err);
/* The newest entry's seq and hash; 0 and AUDIT_NO_HASH when there is none. */
GW_CHECK gw_status audit_log_head(const gw_db *d, int64_t *ret_seq, char ret_hash[AUDIT_HASH_SIZE],
                                  gw_error *err);
