/*
 * Between the files of ingest: ingest_rpc.c (frames), ingest_stream.c (stages), ingest_jobs.c
 * (steps on workers).
 */
#pragma once

#include "counted_names.h"
#include "ingest.h"

struct ingest {
    ingest_options o;
    gw_list streams;
    int64_t memory_left_bytes;
    bool stopped, cut;
    counted_names *names;
    int64_t names_told_ms; /* when it was logged last that there is no room for new ones */
    int64_t newest_ms, newest_at_ms; /* of ingest_now_ms(): wall, and monotonic time then */
    gw_timer sweep_timer;
    struct sweep_job *sweep; /* the one in flight */
};

#define INGEST_STAGES(X) X(HELLO, hello) X(RESUME, resume) X(FLOW, flow) X(END, end)

typedef enum ingest_stage {
#define X(name, function) INGEST_##name,
    INGEST_STAGES(X)
#undef X
} ingest_stage;

typedef enum ingest_step {
    STEP_NONE,
    STEP_RESUME,
    STEP_CLAIM,
    STEP_APPLY,
    STEP_FINISH,
    STEP_STATUS
} ingest_step;

typedef struct ingest_stream {
    ingest *in;
    gw_list node;
    gw_rpc_call *call; /* NULL once it has finished */
    bool call_ended; /* by us; `finished` may be to come */
    ingest_stage stage;
    bool running, woken;

    /* said by the relay */
    bool has_hello;
    spool_hello hello;
    int64_t tail;
    spool_status status;
    bool has_new_status;
    bool half_closed;

    /* where it stands */
    bool welcomed;
    int64_t n; /* last seq claimed */
    int64_t finished; /* last seq known to be said done */
    bool is_owner; /* the claim up to n is ours, or was found done */
    event_queue waiting;
    int64_t window_bytes;
    gw_timer collect_timer, idle_timer;
    bool collect_due, idle_due;
    int64_t status_noted_ms;

    /* the step in flight, then its result */
    doc_job job;
    ingest_step step;
    bool busy, has_result;
    gw_status rc;
    gw_error error;
    int64_t now_ms, started_ms;
    int64_t retention_ms; /* as it was when the step began */
    /* `tail` and `status` as they were when the step began: they go on changing */
    int64_t job_tail;
    spool_status job_status;
    claim claim; /* from the claim step to the end of its apply step */
    size_t names_dropped; /* events of it that count under their route for want of room */
    bool claim_is_made;
    bool matched;
    spool_standing standing;
    spool_position position;
    touched_days touched;
} ingest_stream;

/* Moves the stream on as far as it can go; it may be gone afterwards. */
void ingest_stream_wake(ingest_stream *st);
/* Ends the call as failed (once); what is claimed is applied all the same. */
void ingest_stream_fail(ingest_stream *st, const gw_error *err);
/* The same with a last ERROR frame. */
void ingest_stream_refuse(ingest_stream *st, Apirelay__Usage__V1__ErrorCode code,
                          const char *message);
void ingest_stream_free(ingest_stream *st);

/*
 * The wall clock, but it does not step back while this process lives: events are judged by it, and a
 * clock that is a day behind would set all of them aside as of the future.
 */
int64_t ingest_now_ms(ingest *in);

/* Starts a step; it ends in a wake with `has_result`. One at a time. */
void ingest_start_step(ingest_stream *st, ingest_step step);

void ingest_start_sweeps(ingest *in);
