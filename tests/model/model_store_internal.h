/* The store of the model, inside: operations (model_store.c), the jobs that ask for them (model_store_jobs.c), rare meetings
 * (model_store_meet.c). */
#pragma once

#include "model.h"

#include "doc_store_memory.h"
#include "fiber.h"

#define DOCUMENTS_MAX 512

typedef struct job_run job_run;

typedef struct operation {
    gw_list node;
    job_run *caller; /* NULL: it gave up, or died */
    const char *point; /* that its caller passed last */
    const char *collection;
    bool is_find;
    /* a write */
    doc_batch batch;
    size_t next;
    int64_t matched;
    bool duplicate, wrote;
    /* a find */
    bson_t *filter, *opts;
    bool looked;
    bson_t *found[DOCUMENTS_MAX];
    size_t found_count, reread;
    enum held { NOT_HELD, HALF_WAY, GOES_ON } held; /* meet_holds_up() */
    unsigned patience;
} operation;

struct job_run {
    gw_list node;
    world *w;
    replica *owner;
    gw_loop *loop;
    doc_job *job;
    fiber *fiber;
    const char *point; /* the fault point that it passed last, "" when none */
    bool waits; /* for its operation */
    bool dead;
    gw_status answer; /* of the operation */
    operation *finished; /* its results, for the fiber to take */
    gw_status rc;
    gw_error error;
};

/* One world at a time. */
typedef struct model_store {
    world *w;
    memory_db *db, *expired;
    memory_db *backup, *backup_of_expired;
    bool up, stuck;
    enum trap { NO_TRAP, WAITS_FOR_CLAIM, WAITS_FOR_SWEEP } trap; /* store_crash_behind_a_sweep() */
    job_run *running;
    unsigned claims_added; /* to the hours */
    unsigned held_count, claims_at_hold, leaps; /* of folds; meet_holds_up() */
    gw_list operations;
    gw_list jobs;
} model_store;
extern model_store store;

operation *operation_new(job_run *caller, const char *collection);
void operation_free(operation *o);
void operation_give_up(
    operation *o); /* the caller hears of a failure; the operation itself stays under way */
/* The server dies; of what is not journaled the first `kept` writes stay. */
void store_crash_keeping(world *w, size_t kept);

/* ---- meetings ---- */
bool meet_holds_up(world *w, operation *o); /* a find: not now */
size_t meet_next_reread(world *w, const operation *o); /* of o->found */
void meet_wrote(world *w, const operation *o);
/* When `o` is answered now, the store crashes behind this replica's back; else NULL. */
replica *meet_trapped(const operation *o);
void meet_crash(world *w, replica *sweeper);
