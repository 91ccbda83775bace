/*
 * Doc store in memory, for tests: the part of MongoDB that the protocol of accounting relies on, with the ways in which it fails.
 *
 * A write shows at once and is journaled later: a crash takes back what was not, the last writes first, as a journal does. Filters:
 * equality, $gte, $gt, $lte, $lt, $exists, $not over one of them, $or. Updates: $set, $unset, $inc, $max, $setOnInsert. Find options:
 * limit; documents come by rising _id; a projection is not cut out.
 *
 * Thread: one owner.
 */
#pragma once

#include "doc_store.h"

typedef struct memory_db memory_db;

memory_db *memory_db_new(void); /* NULL when out of memory, which ends the program later on */
void memory_db_free(memory_db *db);
GW_DEFINE_FREEP(memory_db)

typedef enum memory_outcome {
    MEMORY_INSERTED,
    MEMORY_CHANGED,
    MEMORY_SAME, /* matched, and all was so already: nothing is written */
    MEMORY_NO_MATCH,
    MEMORY_DUPLICATE
} memory_outcome;
memory_outcome memory_db_write(memory_db *db, const char *collection, const doc_write *w);
void memory_db_find(const memory_db *db, const char *collection, const bson_t *filter,
                    const bson_t *opts, void (*each)(void *arg, const bson_t *doc), void *arg);
void memory_db_remove(memory_db *db, const char *collection, const bson_t *filter);

void memory_db_journal(memory_db *db); /* all so far is durable */
size_t memory_db_unjournaled(const memory_db *db); /* writes */
void memory_db_crash(memory_db *db,
                     size_t keep); /* of the unjournaled ones the first `keep` stay */
memory_db *memory_db_copy(const memory_db *db); /* a backup, all durable */

/* Calls that happen at once, each write durable. */
typedef struct doc_store_memory {
    doc_store base;
    memory_db *db;
} doc_store_memory;
doc_store *doc_store_memory_init(doc_store_memory *s, memory_db *db);
