/*
 * Key changes: the numbered log through which every change of a key reaches every relay.
 *
 * A change takes three steps:
 *
 *   1 announce   insert key_changes {_id: g}, g = newest + 1; the unique _id leaves no gap
 *   2 write      api_keys {keyId, generation: the one read} ← the change and generation g
 *   3 (readers)  a reader passes g once the key's generation is at least g
 *
 * So no write can go unannounced, whatever dies between 1 and 2. A reader that waits too long for 2
 * fences the key: it raises the key's generation to g itself. A writer that was only slow then finds
 * another generation than it read and starts anew under a new number, and the readers go on at once;
 * the relays drop what they hold of the key for nothing, which costs them one Resolve.
 *
 * Thread: on a worker.
 */
#pragma once

#include "mongo/db.h"

/* Takes the next generation for `key_id`. *ret > 0. */
GW_CHECK gw_status key_changes_announce(const gw_db *d, gw_str key_id, int64_t now_ms, int64_t *ret,
                                        gw_error *err);
/* Raises the key's generation to at least `generation`; nothing when there is no such key. */
GW_CHECK gw_status key_changes_fence(const gw_db *d, gw_str key_id, int64_t generation,
                                     gw_error *err);

typedef struct key_change {
    int64_t generation;
    int64_t at_ms; /* wall, when it was announced */
    char key_id[16];
    bool settled; /* the key's document is at least this new */
} key_change;

/*
 * Changes over `after`, in order, at most `max`, and whether each is settled. What is in `ret` is
 * written on success only.
 */
GW_CHECK gw_status key_changes_read(const gw_db *d, int64_t after, key_change *ret, size_t max,
                                    size_t *ret_count, gw_error *err);
/* The newest generation, of the log or of a key; 0 when there is none. */
GW_CHECK gw_status key_changes_newest(const gw_db *d, int64_t *ret, gw_error *err);
/* The first generation over `after` that the log still has; 0 when there is none. */
GW_CHECK gw_status key_changes_oldest(const gw_db *d, int64_t after, int64_t *ret, gw_error *err);
/* Drops what is older than `before_ms` and not among the newest `keep`: numbering goes on from them. */
GW_CHECK gw_status key_changes_trim(const gw_db *d, int64_t before_ms, int64_t keep, gw_error *err);
