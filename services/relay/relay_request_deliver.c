/*
 * Delivery of a stream's events to the caller.
 *
 * Until the first content events are held back: a provider that fails before it still becomes an
 * HTTP status. The end ([DONE]) is not sent here but in FINISH.
 */
#include "relay_request_internal.h"

static bool wants_usage(const relay_request *r)
{
    return r->body.include_usage || r->policy->is_librechat;
}

/* What a crash from here on would be billed by: noted before the caller gets it, never after. */
static void note_progress(relay_request *r)
{
    token_counts tokens = {.prompt = r->prompt_estimate,
                           .completion = relay_request_estimated_output(r),
                           .images = r->images};
    int64_t cost = relay_request_cost(r, &tokens);

    if (r->slot)
        recorder_progress(r->slot, tokens.completion, cost, r->started ? 200 : 0,
                          gw_clock_wall_ms(r->core->clock));
}

static void write_event(relay_request *r, const answer_event *e)
{
    if (!r->sink)
        return;
    r->last_write_ms = gw_loop_now_ms(r->core->loop);
    r->sink->ops->event(r->sink, e);
    /* The caller may have turned out to be gone. */
    if (r->sink && r->call_upstream && !r->paused && r->sink->ops->is_congested(r->sink)) {
        r->paused = true;
        gw_http_pause(r->call_upstream);
    }
}

static void start_stream(relay_request *r)
{
    relay_answer head = {0};

    if (r->started)
        return;
    r->started = true;
    relay_request_release_body(r); /* nobody else will be asked */
    note_progress(r);
    relay_request_success_head(r, &head);
    r->last_write_ms = gw_loop_now_ms(r->core->loop);
    if (r->sink && r->core->limits.keep_alive_ms > 0)
        gw_timer_set(r->core->loop, &r->keep_alive, r->core->limits.keep_alive_ms);
    if (r->sink)
        r->sink->ops->start(r->sink, &head);
    for (held_event *h = r->preamble.first; h; h = h->next)
        write_event(r, &h->event);
    r->preamble.first = NULL;
}

static void hold_back(relay_request *r, const answer_event *e)
{
    held_event *h = gw_arena_new_of(r->arena, held_event);

    r->preamble.bytes += e->raw.len + e->data.len + sizeof(*h);
    if (!h || r->preamble.bytes > r->core->limits.preamble_max_bytes) {
        start_stream(r); /* enough waited for */
        write_event(r, e);
        return;
    }
    h->event = (answer_event){.kind = e->kind,
                              .raw = gw_arena_dup(r->arena, e->raw),
                              .data = gw_arena_dup(r->arena, e->data)};
    if (r->preamble.last)
        r->preamble.last->next = h;
    else
        r->preamble.first = h;
    r->preamble.last = h;
}

static void deliver_content(relay_request *r, const answer_event *e)
{
    if (!r->content_seen) {
        r->content_seen = true;
        r->ttft_ms = relay_request_elapsed_ms(r);
        relay_request_note_content(r);
    }
    start_stream(r);
    write_event(r, e);
}

void relay_request_deliver(void *arg, const answer_event *e)
{
    relay_request *r = arg;

    if (r->has_failed) /* by an event before, of the same one of the provider's */
        return;
    note_progress(r);
    switch (e->kind) {
    case ANSWER_CONTENT:
        deliver_content(r, e);
        relay_request_watch_hold(r);
        break;
    case ANSWER_DONE:
        start_stream(r);
        r->done_raw = gw_arena_dup(r->arena, e->raw);
        r->answer_complete = true;
        break;
    case ANSWER_USAGE:
        if (!wants_usage(r))
            break;
        __attribute__((fallthrough));
    case ANSWER_PREAMBLE:
        if (r->started)
            write_event(r, e);
        else
            hold_back(r, e);
        if (e->kind == ANSWER_PREAMBLE)
            relay_request_watch_hold(r);
        break;
    case ANSWER_COMMENT:
        if (r->started)
            write_event(r, e);
        break;
    }
}
