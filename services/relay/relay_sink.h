/*
 * Sink: the caller's side of a request, on HTTP or gRPC.
 *
 * The request machine answers through it in one of two ways: respond(), or start() … event() …
 * finish(); fail() before anything was started, fail_stream() after. Calls that end the answer come
 * last, after the event is recorded. A sink tells the machine of body, drain and departure through
 * relay_request.h.
 *
 * Thread: the loop's. Calls may find out that the caller has left and say so at once.
 */
#pragma once

#include "adapter.h"

#include "apirelay/usage/v1/event.pb-c.h"

typedef struct relay_sink relay_sink;

typedef struct relay_answer { /* views live during the call */
    int status;
    gw_header headers[24];
    size_t header_count;
    gw_str body;
} relay_answer;

/* What an ended answer cost; for callers that are told. */
typedef struct relay_bill {
    token_counts tokens;
    int64_t total_tokens;
    int64_t cost_nano_usd;
    gw_str service_tier; /* that it was billed by, or would have been; "" for the standard one */
    const char *basis, *outcome, *finish_reason, *request_id;
} relay_bill;

typedef struct relay_sink_ops {
    /* Asks for the body; relay_request_body_arrived() follows, perhaps at once. */
    void (*read_body)(relay_sink *s, size_t max_bytes);
    /* The memory of the body that arrived is the request's from now on. NULL: the transport keeps it. */
    gw_buf (*take_body)(relay_sink *s);
    /* A whole answer. */
    void (*respond)(relay_sink *s, const relay_answer *a, const relay_bill *bill);
    /* A refusal or failure before anything was sent; `a` has status and headers. */
    void (*fail)(relay_sink *s, const openai_error *e, const relay_answer *a);
    void (*start)(relay_sink *s, const relay_answer *a);
    void (*event)(relay_sink *s, const answer_event *e);
    /* Signs of life while nothing comes; NULL: the transport has its own. */
    void (*keep_alive)(relay_sink *s);
    /* The withheld end of a stream: `done_raw` is the provider's [DONE] event, "" when it sent none. */
    void (*finish)(relay_sink *s, gw_str done_raw, const relay_bill *bill);
    void (*fail_stream)(relay_sink *s, const openai_error *e);
    bool (*is_congested)(const relay_sink *s);
    /* The machine lets go: nothing may be reported to it any more. Comes before the ending calls. */
    void (*released)(relay_sink *s);
} relay_sink_ops;

struct relay_sink { /* embedded in the transport's own struct */
    const relay_sink_ops *ops;
};
