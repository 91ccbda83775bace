/*
 * Key changes: the numbered log through which every change of a key, and of the limits of a client or an
 * owner, reaches every relay.
 *
 * A change takes three steps:
 *
 *   1 announce   insert key_changes {_id: g, keyId | clientId | userId}, g = newest + 1; the unique _id
 *                leaves no gap
 *   2 write      the subject's document (of api_keys, of limit_policies) {…, generation: the one read}
 *                ← the change and generation g
 *   3 (readers)  a reader passes g once the document's generation is at least g
 *
 * So no write can go unannounced, whatever dies between 1 and 2. A reader that waits too long for 2
 * fences the document: it raises its generation to g itself. A writer that was only slow then finds
 * another generation than it read and starts anew under a new number, and the readers go on at once;
 * the relays drop what they hold of the subject for nothing, which costs them one Resolve a key. Limits
 * that do not exist yet are fenced by an empty document: their writer may still come, and relays may
 * hold policies of their keys. Of a key that does not exist yet nobody holds anything.
 *
 * Thread: on a worker.
 */
#pragma once

#include "change_subject.h"
#include "mongo/db.h"

/* The subject's document of limit_policies; the size of the text for it. */
#define LIMIT_POLICY_ID_SIZE (CHANGE_SUBJECT_ID_SIZE + 8)
void key_changes_limits_id(const change_subject *s, char out[LIMIT_POLICY_ID_SIZE]);

/* Takes the next generation for `s`. *ret > 0. */
GW_CHECK gw_status key_changes_announce(const gw_db *d, const change_subject *s, int64_t now_ms,
                                        int64_t *ret, gw_error *err);
/* Raises the subject's generation to at least `generation`; nothing when there is no such key. */
GW_CHECK gw_status key_changes_fence(const gw_db *d, const change_subject *s, int64_t generation,
                                     gw_error *err);

typedef struct key_change {
    int64_t generation;
    int64_t at_ms; /* wall, when it was announced */
    change_subject subject;
    bool settled; /* the subject's document is at least this new */
} key_change;

/*
 * Changes over `after`, in order, at most `max`, and whether each is settled. What is in `ret` is
 * written on success only.
 */
GW_CHECK gw_status key_changes_read(const gw_db *d, int64_t after, key_change *ret, size_t max,
                                    size_t *ret_count, gw_error *err);
/* The newest generation, of the log or of a document; 0 when there is none. */
GW_CHECK gw_status key_changes_newest(const gw_db *d, int64_t *ret, gw_error *err);
/* The first generation over `after` that the log still has; 0 when there is none. */
GW_CHECK gw_status key_changes_oldest(const gw_db *d, int64_t after, int64_t *ret, gw_error *err);
/* Drops what is older than `before_ms` and not among the newest `keep`: numbering goes on from them. */
GW_CHECK gw_status key_changes_trim(const gw_db *d, int64_t before_ms, int64_t keep, gw_error *err);
