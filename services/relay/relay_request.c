#include "messages_error.h"
#include "relay_request_internal.h"

#include <stdlib.h>

static const struct {
    const char *name;
    relay_stage (*enter)(relay_request *r);
    relay_stage (*resume)(relay_request *r);
} stages[] = {
#define X(name, function) {#function, function##_enter, function##_resume},
    RELAY_STAGES(X)
#undef X
};

/* ---- life ---- */

/* Under the sanitizer memory is not used again, so that it sees who comes too late. */
#ifdef __SANITIZE_ADDRESS__
#define SPARES_MAX 0
#else
#define SPARES_MAX 128
#endif

/* A zeroed request; NULL when out of memory. */
static relay_request *take_memory(relay_core *core)
{
    gw_list *node = gw_list_pop_front(&core->spares);
    relay_request *r;

    if (!node)
        return calloc(1, sizeof(*r));
    core->spare_count--;
    r = GW_CONTAINER_OF(node, relay_request, node);
    memset(r, 0, sizeof(*r));
    return r;
}

static void return_memory(relay_request *r)
{
    relay_core *core = r->core;

    if (core->spare_count == SPARES_MAX) {
        free(r);
        return;
    }
    gw_list_push_front(&core->spares, &r->node);
    core->spare_count++;
}

void relay_request_free_spares(relay_core *core)
{
    for (gw_list *node; (node = gw_list_pop_front(&core->spares));)
        free(GW_CONTAINER_OF(node, relay_request, node));
}

static void free_request(void *arg)
{
    relay_request *r = arg;
    relay_core *core = r->core;

    if (r->slot) /* claimed, never used: the key turned out unrecognised */
        recorder_release(core->lane, r->slot);
    key_policy_unref(r->policy);
    relay_config_unref(r->config);
    gw_sse_reader_free(r->events);
    adapter_stream_fini(&r->adapted);
    gw_buf_fini(&r->held);
    gw_buf_fini(&r->request_body);
    gw_arena_free(r->arena);
    return_memory(r);
    if (gw_list_is_empty(&core->requests) && core->idle)
        core->idle(core->idle_arg);
}

static void end_request(relay_request *r)
{
    gw_timer_cancel(r->core->loop, &r->deadline);
    gw_timer_cancel(r->core->loop, &r->keep_alive);
    gw_list_remove(&r->node);
    gw_loop_defer(r->core->loop, free_request, r);
}

/* ---- the machine ---- */

/* Ten of them a request: each series is found once. */
static void count_transition(relay_core *core, relay_stage next)
{
    _Static_assert(STAGE_DONE <= RELAY_STAGES_MAX, "each stage has its series");
    gw_metric_series **series = &core->stage_series[next];
    gw_str name = gw_str_of(stages[next].name);

    if (!*series)
        *series = gw_metric_series_of(core->metrics, M_relay_stage_transitions_total, &name, 1);
    gw_metric_series_add(*series, 1);
}

static void change_stage(relay_request *r, relay_stage next)
{
    r->stage = next;
    if (next != STAGE_DONE)
        count_transition(r->core, next);
}

static void end_when_done(relay_request *r)
{
    if (r->stage == STAGE_DONE && r->operations == 0 && gw_list_is_linked(&r->node))
        end_request(r);
}

static relay_stage resume_stage(relay_request *r)
{
    return r->cancelled && r->stage < STAGE_SETTLE ? STAGE_SETTLE : stages[r->stage].resume(r);
}

/* Enters `next` and what follows, until a stage waits for something that has not come. */
static void run(relay_request *r, relay_stage next)
{
    r->running = true;
    for (;;) {
        while (next != r->stage) {
            change_stage(r, next);
            if (next == STAGE_DONE)
                break;
            next = stages[next].enter(r);
            if (r->cancelled && next < STAGE_SETTLE)
                next = STAGE_SETTLE;
        }
        if (!r->woken || r->stage == STAGE_DONE)
            break;
        r->woken = false;
        next = resume_stage(r);
    }
    r->running = false;
    end_when_done(r);
}

void relay_request_wake(relay_request *r)
{
    if (r->running) /* an operation finished inside a stage: run() sees it */
        r->woken = true;
    else if (r->stage == STAGE_DONE)
        end_when_done(r);
    else
        run(r, resume_stage(r));
}

/* ---- start ---- */

/* A view into `from` becomes one into its copy: path and query are parts of the target. */
static gw_str moved(gw_arena *arena, gw_str view, gw_str from, gw_str copy)
{
    uintptr_t at = (uintptr_t)view.ptr - (uintptr_t)from.ptr;

    if (!view.ptr || !copy.ptr || at > from.len || view.len > from.len - at)
        return gw_arena_dup(arena, view);
    return gw_str_n(copy.ptr + at, view.len);
}

static void copy_texts(relay_request *r, const relay_call *call)
{
    gw_header *headers = gw_arena_array(r->arena, gw_header, call->headers.count);

    r->call.method = gw_arena_dup(r->arena, call->method);
    r->call.target = gw_arena_dup(r->arena, call->target);
    r->call.path = moved(r->arena, call->path, call->target, r->call.target);
    r->call.query = moved(r->arena, call->query, call->target, r->call.target);
    r->call.model_id = moved(r->arena, call->model_id, call->target, r->call.target);
    r->call.headers = (gw_headers){.items = headers, .count = headers ? call->headers.count : 0};
    for (size_t i = 0; i < r->call.headers.count; i++)
        headers[i] = (gw_header){gw_arena_dup(r->arena, call->headers.items[i].name),
                                 gw_arena_dup(r->arena, call->headers.items[i].value)};
}

static bool take_call(relay_request *r, const relay_call *call)
{
    r->call = *call;
    r->arena = call->arena ? gw_arena_ref(call->arena) : gw_arena_new();
    if (r->arena && !call->arena)
        copy_texts(r, call);
    return r->arena != NULL;
}

static void on_deadline(void *arg)
{
    relay_request *r = arg;
    gw_error err;

    if (r->caller_gone) {
        (void)gw_fail(&err, GW_ERR_CANCELLED, "the caller left and the answer took too long");
    } else {
        (void)gw_fail(&err, GW_ERR_DEADLINE_EXCEEDED,
                      "the request took longer than its deadline of %lld ms",
                      (long long)relay_request_elapsed_ms(r));
    }
    relay_request_cancel(r, &err);
}

static void on_keep_alive(void *arg)
{
    relay_request *r = arg;
    int64_t interval = r->core->limits.keep_alive_ms;
    int64_t silent = gw_loop_now_ms(r->core->loop) - r->last_write_ms;

    if (!r->sink || !r->started || r->stage != STAGE_STREAM)
        return;
    gw_timer_set(r->core->loop, &r->keep_alive, silent >= interval ? interval : interval - silent);
    if (silent >= interval && r->sink->ops->keep_alive && !r->sink->ops->is_congested(r->sink))
        r->sink->ops->keep_alive(r->sink);
}

static void arm_deadline(relay_request *r)
{
    int64_t now_ms = gw_loop_now_ms(r->core->loop);
    int64_t left_ms = r->core->limits.request_timeout_ms;

    if (r->call.deadline_ms != INT64_MAX)
        left_ms = GW_MAX(GW_MIN(left_ms, r->call.deadline_ms - now_ms), 0);
    gw_timer_init(&r->deadline, on_deadline, r);
    gw_timer_init(&r->keep_alive, on_keep_alive, r);
    gw_timer_set(r->core->loop, &r->deadline, left_ms);
}

bool relay_request_start(relay_core *core, const relay_call *call, relay_sink *sink,
                         relay_request **ret)
{
    relay_request *r = take_memory(core);

    if (!r)
        return false;
    if (!take_call(r, call)) {
        free(r);
        return false;
    }
    r->core = core;
    r->sink = sink;
    r->troubles = &core->no_troubles;
    r->stage = STAGE_NEW;
    r->ttft_ms = -1;
    r->output_held = INT64_MAX;
    r->retry_ms = RETRY_HINT_NONE;
    r->tap.scratch = core->scratch;
    r->tap.completion.is_usual_only = true;
    r->config = core->config ? relay_config_ref(core->config) : NULL;
    r->arrival_wall_ms = gw_clock_wall_ms(core->clock);
    gw_request_id(r->id);
    arm_deadline(r);
    gw_list_push_back(&core->requests, &r->node);
    core->in_flight++;
    gw_metric_set(core->metrics, M_relay_requests_in_flight, core->in_flight, NULL, 0);
    *ret = r;
    run(r, STAGE_AUTHENTICATE);
    return true;
}

const char *relay_request_id(const relay_request *r)
{
    return r->id;
}

int64_t relay_request_elapsed_ms(const relay_request *r)
{
    return (gw_clock_mono_ns(r->core->clock) - r->call.arrival_ns) / 1000000;
}

gw_status relay_request_no_memory(gw_error *err)
{
    return gw_fail(err, GW_ERR_NO_MEMORY, "the gateway is out of memory");
}

/* ---- failure ---- */

request_troubles *relay_request_troubles(relay_request *r)
{
    if (r->troubles == &r->core->no_troubles) {
        r->troubles = gw_arena_new_of(r->arena, request_troubles);
        if (!r->troubles)
            r->troubles = &r->core->last_troubles;
    }
    return r->troubles;
}

relay_stage relay_request_fail_with(relay_request *r, const openai_error *e)
{
    if (!r->has_failed) {
        r->has_failed = true;
        relay_request_troubles(r)->failure = *e;
        if (r->call.dialect == DIALECT_ANTHROPIC)
            messages_error_adapt(&r->troubles->failure);
    }
    return STAGE_SETTLE;
}

relay_stage relay_request_fail(relay_request *r, const gw_error *err)
{
    openai_error e;

    openai_error_from(&e, err);
    e.retry_after = r->retry_after;
    return relay_request_fail_with(r, &e);
}

void relay_request_cancel(relay_request *r, const gw_error *err)
{
    if (r->stage >= STAGE_SETTLE && r->stage != STAGE_NEW)
        return;
    (void)relay_request_fail(r, err);
    r->cancelled = true;
    relay_request_wake(r);
}

/* ---- what sinks report ---- */

void relay_request_body_arrived(relay_request *r, gw_str body)
{
    r->raw_body = body;
    r->body_arrived = true;
    relay_request_wake(r);
}

void relay_request_refused_by_transport(relay_request *r, const gw_error *err)
{
    r->transport_answers = true;
    relay_request_cancel(r, err);
}

void relay_request_drained(relay_request *r)
{
    if (r->paused && r->call_upstream) {
        r->paused = false;
        gw_http_resume(r->call_upstream);
    }
}

/* Of a key that says so, as long as there is room for it; what is sent from the caller's memory ends with the caller. */
static bool begin_drain(relay_request *r)
{
    relay_core *c = r->core;

    if (!r->policy || !r->policy->drain_on_disconnect || !r->call_upstream || !r->owns_body)
        return false;
    r->drains = c->drains < c->limits.drains_max;
    if (!r->drains) {
        gw_metric_add(c->metrics, M_relay_drains_refused_total, 1, NULL, 0);
        return false;
    }
    gw_metric_set(c->metrics, M_relay_drains, ++c->drains, NULL, 0);
    return true;
}

void relay_request_end_drain(relay_request *r)
{
    if (!r->drains)
        return;
    r->drains = false;
    gw_metric_set(r->core->metrics, M_relay_drains, --r->core->drains, NULL, 0);
}

void relay_request_caller_gone(relay_request *r)
{
    gw_error err;

    r->sink = NULL;
    r->caller_gone = true;
    if (begin_drain(r)) {
        gw_timer_set(r->core->loop, &r->deadline, r->core->limits.drain_max_ms);
        relay_request_drained(r); /* nobody is left to wait for */
        return;
    }
    (void)gw_fail(&err, GW_ERR_CANCELLED, "the caller left before the end of the answer");
    relay_request_cancel(r, &err);
}
