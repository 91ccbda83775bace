#include "rest_stream.h"

#include "rest_event.h"

/* ---- the end ---- */

static void end(rest_exchange *e)
{
    e->is_ended = true;
    gw_timer_cancel(e->front->loop, &e->timer);
    if (e->call)
        gw_rpc_cancel(e->call);
}

static bool has_started(const rest_exchange *e)
{
    return e->status != 0;
}

static void start_answer(rest_exchange *e)
{
    if (has_started(e))
        return;
    rest_answer a = {.header_count = 0};
    rest_answer_add(&a, "x-accel-buffering", GW_STR("no")); /* a proxy's buffer makes it late */
    gw_response_head head = rest_answer_head(e, &a, 200, "text/event-stream");
    gw_exchange_start(e->x, &head, -1);
}

static void end_well(rest_exchange *e)
{
    start_answer(e);
    gw_exchange_end(e->x);
    end(e);
}

static void end_badly(rest_exchange *e, const gw_error *err, const gw_json_violations *more)
{
    gw_auto_buf event = {0};
    if (!has_started(e)) {
        rest_answer_error(e, err, more);
        end(e);
        return;
    }
    rest_event_error(err, more, gw_str_of(e->request_id), &event);
    if (gw_buf_failed(&event)) {
        gw_exchange_abort(e->x);
    } else {
        gw_str bytes = gw_buf_str(&event);
        gw_exchange_write(e->x, &bytes, 1);
        gw_exchange_end(e->x);
    }
    end(e);
}

/* ---- while it lasts ---- */

static void await_next(rest_exchange *e)
{
    int64_t left_ms = e->until_ms - gw_loop_now_ms(e->front->loop);
    gw_timer_set(e->front->loop, &e->timer,
                 GW_MAX(0, GW_MIN(left_ms, e->front->stream_keep_alive_ms)));
}

static void say(rest_exchange *e, gw_str bytes)
{
    start_answer(e);
    gw_exchange_write(e->x, &bytes, 1);
    await_next(e);
    if (gw_exchange_is_congested(e->x)) {
        e->is_paused = true;
        gw_rpc_stream_pause(e->call);
    }
}

static void on_quiet(void *arg)
{
    rest_exchange *e = arg;
    if (gw_loop_now_ms(e->front->loop) >= e->until_ms)
        end_well(e);
    else if (gw_exchange_is_congested(e->x)) /* it has enough to read */
        await_next(e);
    else
        say(e, REST_EVENT_KEEP_ALIVE);
}

static void on_message(void *arg, const ProtobufCMessage *m)
{
    rest_exchange *e = arg;
    gw_auto_buf event = {0};
    gw_error err;
    if (!e->x || e->is_ended)
        return;
    if (gw_str_eq_c(gw_exchange_method(e->x), "HEAD")) /* the call was allowed: that is all */
        end_well(e);
    else if (rest_event_message(m, &event, &err) != GW_OK)
        end_badly(e, &err, NULL);
    else
        say(e, gw_buf_str(&event));
}

static void on_done(void *arg, gw_status rc, const gw_error *err)
{
    rest_exchange *e = arg;
    e->call = NULL;
    if (!e->x) {
        rest_exchange_release(e);
    } else if (!e->is_ended && rc == GW_OK) {
        end_well(e);
    } else if (!e->is_ended) {
        gw_error shown = rest_shown_error(e, rc, err);
        end_badly(e, &shown, &e->further);
    }
}

void rest_stream_start(rest_exchange *e, const ProtobufCMessage *request)
{
    static const gw_rpc_stream_ops ops = {.message = on_message, .done = on_done};
    const route *r = e->match.route;
    gw_error err;
    gw_rpc_call_options o =
        rest_exchange_call_options(e, r->method->path.ptr, r->method->descriptor->output);
    if (e->front->is_ending) {
        (void)gw_fail(&err, GW_ERR_SHUTTING_DOWN, "the gateway is shutting down");
        rest_answer_error(e, &err, NULL);
        return;
    }
    e->call = gw_rpc_stream(e->front->backends[r->backend], &o, request, &ops, e);
    if (!e->call) {
        (void)gw_fail(&err, GW_ERR_NO_MEMORY, "no memory for a call");
        rest_answer_error(e, &err, NULL);
        return;
    }
    e->is_stream = true;
    e->until_ms = gw_loop_now_ms(e->front->loop) + e->front->stream_life_ms;
    gw_timer_init(&e->timer, on_quiet, e);
    await_next(e);
}

void rest_stream_drained(rest_exchange *e)
{
    if (!e->is_paused || !e->call)
        return;
    e->is_paused = false;
    gw_rpc_stream_resume(e->call);
}

void rest_stream_cut(rest_exchange *e)
{
    gw_error err;
    if (!e->is_stream || !e->x || e->is_ended)
        return;
    (void)gw_fail(&err, GW_ERR_SHUTTING_DOWN, "the gateway is shutting down");
    end_badly(e, &err, NULL);
}

void rest_stream_closed(rest_exchange *e)
{
    if (e->is_stream)
        end(e);
}
