/*
 * Doc store: the seam between the protocol of accounting (spool_store.h, fold_store.h) and MongoDB. Reads, and writes of one
 * document each, in the words of MongoDB's filters and updates.
 *
 * A write that returns GW_OK is durable (j:true, majority on a replica set), and all before it on the same server with it. One that
 * fails may have happened, or may yet happen, long after: whoever needs to know reads. A read may show what a crash takes back.
 *
 * Implementations: doc_store_mongo.h, doc_store_memory.h. One test holds both to the same contract (doc_store_test.c).
 *
 * Thread: a doc_store belongs to one job on a worker; each call blocks. A doc_pool belongs to its loop.
 */
#pragma once

#include "mongo/db.h"

typedef struct doc_store doc_store;

/* One document's write. */
typedef struct doc_write {
    bson_t *filter; /* NULL: `document` is inserted */
    bson_t *document; /* else the update */
    bool upsert;
} doc_write;

/* Writes to go together, in no order; owns their documents. */
typedef struct doc_batch {
    doc_write *writes;
    size_t count, cap;
    bool failed; /* out of memory: doc_store_write() says so */
} doc_batch;

void doc_batch_insert(doc_batch *b, bson_t *document); /* both take what they are given */
void doc_batch_update(doc_batch *b, bson_t *filter, bson_t *update, bool upsert);
void doc_batch_clear(doc_batch *b);

typedef struct doc_store_ops {
    gw_status (*find)(doc_store *s, const char *collection, const bson_t *filter,
                      const bson_t *opts, gw_db_each_fn each, void *arg, const char *what,
                      gw_error *err);
    gw_status (*write)(doc_store *s, const char *collection, const doc_batch *b,
                       int64_t *ret_matched, const char *what, gw_error *err);
} doc_store_ops;

struct doc_store {
    const doc_store_ops *ops;
};

/* From the primary, majority where there is a replica set. `opts` may be NULL: projection, sort, limit. `what` names it in errors. */
GW_CHECK gw_status doc_store_find(doc_store *s, const char *collection, const bson_t *filter,
                                  const bson_t *opts, gw_db_each_fn each, void *arg,
                                  const char *what, gw_error *err);
/*
 * All of the batch, each by itself; the batch is then empty. GW_ERR_ALREADY_EXISTS when what was refused was refused as a duplicate
 * and all the rest is durable. *ret_matched (may be NULL) on success: how many filters found their document.
 */
GW_CHECK gw_status doc_store_write(doc_store *s, const char *collection, doc_batch *b,
                                   int64_t *ret_matched, const char *what, gw_error *err);
/* A batch of one: `document`, or `filter` and `update`, are taken. */
GW_CHECK gw_status doc_store_insert(doc_store *s, const char *collection, bson_t *document,
                                    const char *what, gw_error *err);
GW_CHECK gw_status doc_store_update(doc_store *s, const char *collection, bson_t *filter,
                                    bson_t *update, bool *ret_matched, const char *what,
                                    gw_error *err);

/* ---- jobs ---- */

typedef struct doc_pool doc_pool;
typedef struct doc_job doc_job;

/* Embedded in the caller's struct with `run` and `done` set. */
struct doc_job {
    gw_mongo_job mongo; /* the pool's own */
    gw_status (*run)(doc_job *j, doc_store *s, gw_error *err); /* on a worker */
    void (*done)(doc_job *j, gw_status rc, const gw_error *err); /* on the loop, exactly once */
};

typedef struct doc_pool_ops {
    void (*submit)(doc_pool *p, doc_job *j);
    bool (*is_up)(const doc_pool *p);
} doc_pool_ops;

struct doc_pool {
    const doc_pool_ops *ops;
};

static inline void doc_pool_submit(doc_pool *p, doc_job *j)
{
    p->ops->submit(p, j);
}
/* Answered lately: when not, jobs fail at once, and that is known. */
static inline bool doc_pool_is_up(const doc_pool *p)
{
    return p->ops->is_up(p);
}
