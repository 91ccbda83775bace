#include "http_caller.h"

static http_caller *caller_of(relay_sink *s)
{
    return GW_CONTAINER_OF(s, http_caller, sink);
}

void http_caller_write_failure(caller_dialect dialect, const openai_error *e,
                               const char *request_id, gw_buf *out)
{
    if (dialect == DIALECT_ANTHROPIC)
        messages_error_write(e, gw_str_of(request_id), out);
    else
        openai_error_write(e, out);
}

static void sink_read_body(relay_sink *s, size_t max_bytes)
{
    gw_exchange_read_body(caller_of(s)->x, max_bytes);
}

static gw_buf sink_take_body(relay_sink *s)
{
    return gw_exchange_take_body(caller_of(s)->x);
}

static gw_response_head head_of(const relay_answer *a)
{
    return (gw_response_head){.status = a->status,
                              .headers = a->headers,
                              .header_count = a->header_count,
                              .names_are_constants = true};
}

static void sink_respond(relay_sink *s, const relay_answer *a, const relay_bill *bill)
{
    gw_response_head head = head_of(a);

    (void)bill; /* usage is part of OpenAI's answers */
    gw_exchange_respond(caller_of(s)->x, &head, a->body);
}

static void sink_fail(relay_sink *s, const openai_error *e, const relay_answer *a)
{
    gw_response_head head = head_of(a);
    const http_caller *caller = caller_of(s);
    gw_auto_buf body = {0};

    http_caller_write_failure(caller->dialect, e, caller->ended_id, &body);
    gw_exchange_respond(caller->x, &head, gw_buf_str(&body));
}

static void sink_start(relay_sink *s, const relay_answer *a)
{
    gw_response_head head = head_of(a);

    gw_exchange_start(caller_of(s)->x, &head, -1);
}

static void sink_event(relay_sink *s, const answer_event *e)
{
    gw_exchange_write(caller_of(s)->x, &e->raw, 1);
}

static void sink_keep_alive(relay_sink *s)
{
    const gw_str comment = GW_STR(": keep-alive\n\n");
    const gw_str ping = GW_STR("event: ping\ndata: {\"type\":\"ping\"}\n\n");
    const http_caller *caller = caller_of(s);

    gw_exchange_write(caller->x, caller->dialect == DIALECT_ANTHROPIC ? &ping : &comment, 1);
}

static void sink_finish(relay_sink *s, gw_str done_raw, const relay_bill *bill)
{
    gw_exchange *x = caller_of(s)->x;

    (void)bill;
    if (done_raw.len > 0)
        gw_exchange_write(x, &done_raw, 1);
    gw_exchange_end(x);
}

static void sink_fail_stream(relay_sink *s, const openai_error *e)
{
    const http_caller *caller = caller_of(s);
    gw_exchange *x = caller->x;
    gw_auto_buf event = {0};

    if (caller->dialect == DIALECT_ANTHROPIC)
        messages_error_write_event(e, gw_str_of(caller->ended_id), &event);
    else
        openai_error_write_event(e, &event);
    gw_str raw = gw_buf_str(&event);
    gw_exchange_write(x, &raw, 1);
    gw_exchange_end(x);
}

static bool sink_is_congested(const relay_sink *s)
{
    return gw_exchange_is_congested(((const http_caller *)(const void *)s)->x);
}

static void sink_released(relay_sink *s)
{
    http_caller *caller = caller_of(s);

    memcpy(caller->ended_id, relay_request_id(caller->request), sizeof(caller->ended_id));
    caller->request = NULL;
}

const relay_sink_ops http_caller_ops = {
    .read_body = sink_read_body,
    .take_body = sink_take_body,
    .respond = sink_respond,
    .fail = sink_fail,
    .start = sink_start,
    .event = sink_event,
    .keep_alive = sink_keep_alive,
    .finish = sink_finish,
    .fail_stream = sink_fail_stream,
    .is_congested = sink_is_congested,
    .released = sink_released,
};
