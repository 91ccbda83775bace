/*
 * What follows on an attempt that failed before anything of its answer was sent to the caller: the same target once more, the next
 * one, or the end.
 *
 * Nothing is repeated that may have been made and be billed by its provider: a JSON answer that broke off, or any of LibreChat's
 * that was begun, whose tools may have done their work. A stream without content yet, and a provider that has not answered at all, may be
 * left: of what they cost nothing is known, and the caller has nothing of it.
 */
#include "relay_request_internal.h"

/* ---- what kind of failure it was ---- */

static attempt_failure failure_of_status(int status)
{
    switch (status) {
    case 401:
    case 402:
    case 403:
    case 407:
        return FAILURE_OF_CREDENTIAL;
    case 404: /* it has no such model: another one may have */
    case 501:
        return FAILURE_OF_TARGET;
    case 408:
        return FAILURE_PASSING;
    case 429:
        return FAILURE_LIMITED;
    default:
        return status >= 500 ? FAILURE_PASSING : FAILURE_FINAL;
    }
}

/* Neither a status nor an answer. */
static attempt_failure failure_of_call(const relay_request *r)
{
    switch (r->troubles->failure.error.code) {
    case GW_ERR_UPSTREAM_UNAVAILABLE:
    case GW_ERR_UPSTREAM_TIMEOUT:
    case GW_ERR_UPSTREAM_CUT:
    case GW_ERR_UPSTREAM_PROTOCOL:
        return FAILURE_PASSING;
    default: /* TLS, an address that is refused */
        return FAILURE_OF_TARGET;
    }
}

/* Tools of its agents have effects that a second run would repeat (LIBRECHAT.md §7.4). */
static bool may_have_acted(const relay_request *r)
{
    int status = r->upstream_status;

    if (r->target->provider->kind != PROVIDER_LIBRECHAT)
        return false;
    if (r->mode == ANSWER_ERROR)
        return status >= 500 && status != 502 && status != 503 && status != 504;
    return r->mode != ANSWER_NONE || status != 0 || r->upstream_was_sent;
}

/* An answer that was made, and said what it cost, but cannot be handed on: it is billed, and only the last attempt can be. */
static bool was_made(const relay_request *r)
{
    return r->upstream_rc == GW_OK && r->tap.has_usage && r->tap.tokens.completion > 0;
}

static attempt_failure failure_of(const relay_request *r)
{
    gw_status why = r->troubles->failure.error.code;

    if (why == GW_ERR_NO_MEMORY || why == GW_ERR_LOOP_DETECTED || r->hold_is_spent ||
        r->user_key_is_unreadable)
        return FAILURE_FINAL;
    if (!r->upstream_ended && !r->call_upstream) /* it could not be asked */
        return FAILURE_OF_TARGET;
    if (may_have_acted(r) || was_made(r))
        return FAILURE_FINAL;
    if (why == GW_ERR_UPSTREAM_AUTH || why == GW_ERR_UPSTREAM_QUOTA) /* a user has no other key */
        return relay_request_uses_user_key(r) ? FAILURE_OF_TARGET : FAILURE_OF_CREDENTIAL;
    if (why == GW_ERR_UPSTREAM_RATE_LIMITED)
        return FAILURE_LIMITED;
    switch (r->mode) {
    case ANSWER_ERROR:
        return failure_of_status(r->upstream_status);
    case ANSWER_JSON: /* an error instead of an answer is no answer */
        return why == GW_ERR_UPSTREAM_FAILED ? FAILURE_PASSING : FAILURE_FINAL;
    default:
        return failure_of_call(r);
    case ANSWER_EVENTS: /* the caller's own mistake is one wherever it is told */
        return why == GW_ERR_INVALID_ARGUMENT || why == GW_ERR_UPSTREAM_REJECTED ? FAILURE_FINAL
                                                                                 : FAILURE_PASSING;
    }
}

/* ---- what follows ---- */

bool relay_request_has_another(const relay_request *r)
{
    return r->route->target_count > 1 || r->target->max_retries > 0 ||
           r->target->provider->more_credential_count > 0;
}

bool relay_request_may_try_again(const relay_request *r)
{
    return !r->started && r->sink && !r->core->ending && relay_request_has_another(r) &&
           failure_of(r) != FAILURE_FINAL;
}

static plan_step next_step(relay_request *r)
{
    int64_t left_ms = r->deadline.due_ms - gw_loop_now_ms(r->core->loop);
    failed_attempt failed = {failure_of(r), r->retry_ms, left_ms};
    route_view view = relay_request_view(r);

    return route_plan_after(&r->plan, r->route, r->target, &failed, &view, &r->core->route_seed);
}

static void log_failed(const relay_request *r, const plan_step *next)
{
    const char *detail =
        r->upstream_rc != GW_OK ? r->troubles->upstream_err.message : ""; /* with addresses */

    gw_log_info(
        r->core->log, "attempt_failed", gw_kv("request.id", (const char *)r->id),
        gw_kv("attempt", r->attempts), gw_kv("provider", r->target->provider->name),
        gw_kv("upstream_model", gw_str_slice(r->upstream_model, 0, 128)),
        gw_kv("error.code", gw_status_describe(r->troubles->failure.error.code)->openai_code),
        gw_kv("error.message", detail), gw_kv("upstream.status", r->upstream_status),
        gw_kv("next.provider", next->target->provider->name),
        gw_kv("next.pause_ms", next->pause_ms));
}

static void on_pause_over(void *arg)
{
    relay_request_wake(arg);
}

/* False when out of memory. */
static bool arm_pause(relay_request *r, int64_t pause_ms)
{
    if (!r->pause) {
        r->pause = gw_arena_new_of(r->arena, gw_timer);
        if (!r->pause)
            return false;
        gw_timer_init(r->pause, on_pause_over, r);
    }
    gw_timer_set(r->core->loop, r->pause, pause_ms);
    return true;
}

/* What came of the attempt goes; what was asked, and that a provider accepted it once, stays. */
static void forget_attempt(relay_request *r)
{
    relay_request_leave_extension(r);
    gw_sse_reader_free(r->events);
    r->events = NULL;
    r->stream_bytes = 0;
    adapter_stream_fini(&r->adapted);
    gw_buf_clear(&r->held);
    r->tap = (usage_tap){.scratch = r->core->scratch,
                         .is_bounded = r->tap.is_bounded,
                         .completion.is_usual_only = true};
    r->preamble = (held_events){0};
    r->mode = ANSWER_NONE;
    r->upstream_status = 0;
    r->upstream_is_json = r->upstream_ended = r->upstream_was_sent = false;
    r->upstream_rc = GW_OK;
    relay_request_set_retry(r, RETRY_HINT_NONE);
    r->processing_ms = r->openai_version = GW_STR("");
    r->has_failed = r->answer_complete = false;
}

bool relay_request_try_again(relay_request *r)
{
    relay_request_note_outcome(r); /* the next step depends on it */
    relay_request_give_back_turn(r);
    plan_step next = next_step(r);

    if (!next.target || (next.pause_ms > 0 && !arm_pause(r, next.pause_ms)))
        return false;
    log_failed(r, &next);
    gw_metric_count(r->core->metrics, M_relay_upstream_retries_total,
                    next.target == r->target ? GW_STR("same") : GW_STR("next"));
    if (next.target != r->target)
        r->written = NULL;
    relay_request_turn_to(r, next.target);
    r->is_to_send = true;
    forget_attempt(r);
    return true;
}
