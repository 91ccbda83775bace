/* Looking at the documents of usage: at any time (model_look.c), and at rest (model_audit.c). Thread: one. */
#pragma once

#include "model.h"

#include "doc_store_memory.h"

typedef void (*audit_fn)(void *arg, const bson_t *doc);
void audit_each(const memory_db *db, const char *collection, audit_fn each, void *arg);
/* n of a spool, -1 when it is not known; `id` in hex. */
int64_t audit_claimed(const memory_db *db, const char *id);
