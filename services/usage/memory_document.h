/*
 * A document of the store in memory (doc_store_memory.h), with MongoDB's filters and updates on it.
 *
 * Documents are counted and, once in a table, not changed: a write puts another one in place, so that the old one can come back.
 * Memory that is not there ends the program, as do filters and updates beyond those that doc_store_memory.h names.
 */
#pragma once

#include "doc_store.h"

typedef struct memory_document memory_document;

memory_document *memory_document_of(const bson_t *b);
/* What an upsert starts from: the equalities of its filter. */
memory_document *memory_document_of_filter(const bson_t *filter);
memory_document *memory_document_copy(const memory_document *from);
memory_document *memory_document_hold(memory_document *d); /* NULL is fine, in both */
void memory_document_release(memory_document *d);

const bson_value_t *memory_document_value(const memory_document *d,
                                          const char *path); /* NULL: none */
void memory_document_append(const memory_document *d, bson_t *out);
bool memory_document_matches(const memory_document *d, const bson_t *filter);
/* Is the member `at` of a filter a map of operators and not a value to equal? *ret_first is then their first. */
bool memory_filter_is_operators(const bson_iter_t *at, bson_iter_t *ret_first);
/* Of a document that nobody else holds; false when all was so already. `inserting`: $setOnInsert counts. */
bool memory_document_update(memory_document *d, const bson_t *update, bool inserting);

/* ---- shared with the tables ---- */
void *memory_grown(void *p, size_t *cap, size_t count, size_t size); /* room for one more */
char *memory_text(const char *text);
