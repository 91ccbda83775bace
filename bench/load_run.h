/*
 * What the kinds of load share: the loop, the requests, the window that counts, and the report.
 *
 * A run warms up, then measures for options.seconds, then ends when the last answers are there or 10 s later. Only what
 * falls into the window enters the histograms; the counters cover the whole run, so that they add up with what others count.
 *
 * Thread: the loop's.
 */
#pragma once

#include "histogram.h"
#include "load_link.h"
#include "load_options.h"
#include "load_process.h"
#include "load_request.h"

typedef struct load_run load_run;

typedef struct load_kind {
    void (*start)(load_run *r);
    void (*stop)(
        load_run
            *r); /* the window is over: start nothing more; load_run_end() when the last is done */
} load_kind;

extern const load_kind load_unary, load_sse, load_idle, load_bad;

struct load_run {
    gw_loop *loop;
    const load_options *options;
    const load_kind *kind;
    load_requests *requests;
    load_target *target;
    void *state; /* the kind's */

    gw_timer window_timer;
    bool is_measuring, is_stopping;
    int64_t window_start_ns, window_ns;
    load_process fresh, before, after; /* at start, at the window's ends */

    /* the whole run */
    int64_t sent; /* requests */
    int64_t ok, refused; /* whole answers: 2xx, others */
    int64_t unsent; /* due at a fixed rate, and never sent: no connection was free in time */
    int64_t lost; /* requests whose connection ended before the answer did */
    /* in the window */
    int64_t measured; /* answers */
    int64_t chunks;
    histogram latency, first_chunk, chunk_delay;
};

int64_t load_now_ns(void);
void load_run_open_window(load_run *r); /* warm-up begins */
void load_run_end(load_run *r); /* leaves the loop */
void load_run_count_answer(load_run *r, int status, int64_t started_ns);

/* Runs to the end and prints one JSON line on stdout. */
GW_CHECK gw_status load_run_all(const load_options *o, gw_error *err);
