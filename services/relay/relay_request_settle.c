/* SETTLE, RECORD and FINISH: what it cost, the event, and only then the end of the answer. */
#include "relay_request_internal.h"

/* ---- SETTLE ---- */

/* Nothing may call back with news any more. A stream that said [DONE] ends by itself, so that its
 * connection can be used again. */
static void stop_operations(relay_request *r)
{
    gw_timer_cancel(r->core->loop, &r->deadline);
    gw_timer_cancel(r->core->loop, &r->keep_alive);
    if (r->pause)
        gw_timer_cancel(r->core->loop, r->pause);
    if (r->wait_pending) {
        key_cache_forget_wait(&r->wait);
        r->wait_pending = false;
        r->operations--;
    }
    relay_request_leave_queue(r);
    relay_request_leave_extension(r);
    relay_request_leave_balance(r);
    relay_request_leave_user_token(r);
    relay_request_end_drain(r);
    if (r->usage_call)
        gw_rpc_cancel(r->usage_call);
    if (r->look) {
        ledger_look_cancel(gw_steal(&r->look));
        r->operations--;
    }
    if (r->list_wait) {
        user_catalog_leave(gw_steal(&r->list_wait));
        r->operations--;
    }
    if (!r->call_upstream)
        return;
    if (r->adapted.done && r->owns_body && !r->has_failed)
        gw_http_resume(r->call_upstream);
    else
        gw_http_cancel(r->call_upstream);
}

/*
 * The caller has left a provider that may be at work for it. One that drains goes on without its caller: a provider that then
 * fails is billed no more than if the caller had stayed.
 */
static bool was_left_at_work(const relay_request *r)
{
    gw_status why = r->troubles->failure.error.code;

    return r->caller_gone && r->attempts > 0 && !r->is_to_send && r->mode != ANSWER_ERROR &&
           (!r->has_failed || why == GW_ERR_CANCELLED || why == GW_ERR_SHUTTING_DOWN);
}

/*
 * The provider made output, as its own usage says, that cannot be handed on: a tool call that cannot be read, media in a chat
 * completion. It costs what it costs, or such answers would pass every budget by.
 */
static bool was_made_in_vain(const relay_request *r)
{
    return r->has_failed && r->tap.has_usage && r->tap.tokens.completion > 0;
}

/* In the middle of its answer: it broke off, was silent for too long, or had no time left. */
static bool was_cut_short(const relay_request *r)
{
    gw_status why = r->troubles->failure.error.code;

    return r->mode == ANSWER_EVENTS &&
           (why == GW_ERR_UPSTREAM_CUT || why == GW_ERR_UPSTREAM_TIMEOUT ||
            why == GW_ERR_DEADLINE_EXCEEDED);
}

/*
 * LibreChat says 200 before its agent has asked anybody, and what a run cost that failed afterwards it does not say: an error in the place of
 * the content, or an end without [DONE], by a timeout of ours too, is estimated (LIBRECHAT.md §7.6).
 */
static bool has_run_in_vain(const relay_request *r)
{
    return r->has_failed && (r->adapted.ran_in_vain ||
                             (was_cut_short(r) && r->asked->provider->kind == PROVIDER_LIBRECHAT));
}

bool relay_request_is_refusal(const relay_request *r)
{
    return r->has_failed && !r->caller_gone && r->attempts == 0;
}

static const char *outcome_of(const relay_request *r)
{
    if (!r->has_failed && !r->caller_gone)
        return "complete";
    if (relay_request_is_refusal(r))
        return "refused";
    return r->content_seen || r->hold_is_spent || was_left_at_work(r) ? "partial" : "failed";
}

/* More output was made than the upstream request allowed, by the provider's own count. */
static bool has_ignored_ceiling(const relay_request *r)
{
    int64_t ceiling = adapter_ceiling(&r->job), completions = GW_MAX(r->body.completions, 1);

    return ceiling > 0 && (r->tap.tokens.completion - 1) / completions - r->predicted >= ceiling;
}

/* 0: any. */
static int64_t allowed_output(const relay_request *r)
{
    return relay_bounded_product(adapter_ceiling(&r->job), GW_MAX(r->body.completions, 1));
}

/* What was seen of a stream is more than that, however its text is counted. */
static bool is_beyond_ceiling(const relay_request *r)
{
    int64_t allowed = allowed_output(r);

    if (r->call.endpoint == ENDPOINT_COMPLETIONS && !r->hold_is_spent) /* its prompt may be in it */
        return false;
    return r->tap.is_bounded && allowed > 0 && usage_tap_least(&r->tap) > allowed;
}

int64_t relay_request_estimated_output(const relay_request *r)
{
    int64_t tokens = text_size_tokens(&r->tap.completion);

    if (is_beyond_ceiling(r))
        return GW_MAX(tokens, usage_tap_least(&r->tap));
    int64_t allowed = allowed_output(r);
    return allowed > 0 ? GW_MIN(tokens, allowed) : tokens;
}

/* Of a stream that was ended here: what its provider last said may be of its begin. */
static bool is_report_behind(const relay_request *r)
{
    return r->hold_is_spent && r->tap.tokens.completion < usage_tap_least(&r->tap);
}

/* As the provider stated it, also of an answer that did not come to its end; else our estimate. */
static token_counts prompt_of(const relay_request *r)
{
    const token_counts *t = &r->tap.tokens;

    if (!r->tap.has_prompt)
        return (token_counts){.prompt = r->prompt_estimate};
    return (token_counts){.prompt = t->prompt,
                          .cached = t->cached,
                          .cache_write = t->cache_write,
                          .long_cache_write = t->long_cache_write};
}

/* Reported where the provider said; else estimated from what was delivered. */
static void count_tokens(relay_request *r)
{
    relay_bill *b = &r->bill;
    bool billed = r->answer_complete || r->content_seen || r->hold_is_spent ||
                  was_left_at_work(r) || was_made_in_vain(r) || has_run_in_vain(r);

    b->basis = "unpriced";
    if (!r->route || !billed || !endpoint_describe(r->call.endpoint)->is_billed)
        return;
    if (r->tap.has_usage && !is_report_behind(r)) {
        b->basis = "reported";
        b->tokens = r->tap.tokens;
        b->tokens.images = r->images;
        b->total_tokens = r->tap.total_tokens;
        r->ceiling_ignored = has_ignored_ceiling(r);
        return;
    }
    b->basis = "estimated";
    b->tokens = prompt_of(r);
    b->tokens.images = r->images;
    b->tokens.completion = relay_request_estimated_output(r);
    b->total_tokens = b->tokens.prompt + b->tokens.completion;
    r->ceiling_ignored = is_beyond_ceiling(r);
}

static void price_tokens(relay_request *r)
{
    relay_bill *b = &r->bill;

    if (b->total_tokens == 0)
        return;
    const model_price *p = relay_request_billed_price(r, &b->tokens, &b->service_tier);
    if (p)
        b->cost_nano_usd = price_of(p, &b->tokens);
    else
        b->basis = "unpriced";
}

relay_stage settle_enter(relay_request *r)
{
    relay_request_note_outcome(r);
    relay_request_give_back_turn(r);
    stop_operations(r);
    r->duration_ms = relay_request_elapsed_ms(r);
    r->bill.outcome = outcome_of(r);
    r->bill.finish_reason = r->tap.finish_reason;
    r->bill.request_id = r->id;
    count_tokens(r);
    price_tokens(r);
    relay_request_settle_hold(r);
    return STAGE_RECORD;
}

relay_stage settle_resume(relay_request *r)
{
    (void)r;
    return STAGE_SETTLE;
}

/* ---- RECORD ---- */

static void count_tokens_of(relay_request *r, const char *type, int64_t n)
{
    gw_str label = gw_str_of(type);

    if (n > 0)
        gw_metric_add(r->core->metrics, M_relay_tokens_total, n, &label, 1);
}

static void measure(relay_request *r)
{
    gw_metrics_shard *m = r->core->metrics;
    gw_str endpoint = gw_str_of(endpoint_describe(r->call.endpoint)->name);

    gw_metric_count(m, M_relay_requests_total, endpoint,
                    gw_str_of(r->policy ? r->bill.outcome : "unrecognised"));
    gw_metric_observe(m, M_relay_request_duration_seconds, (double)r->duration_ms / 1000, &endpoint,
                      1);
    if (r->ttft_ms >= 0)
        gw_metric_observe(m, M_relay_ttft_seconds, (double)r->ttft_ms / 1000, &endpoint, 1);
    count_tokens_of(r, "prompt", r->bill.tokens.prompt);
    count_tokens_of(r, "completion", r->bill.tokens.completion);
    count_tokens_of(r, "cached", r->bill.tokens.cached);
    count_tokens_of(r, "reasoning", r->bill.tokens.reasoning);
    if (r->bill.cost_nano_usd > 0)
        gw_metric_add(m, M_relay_cost_nano_usd_total, r->bill.cost_nano_usd, NULL, 0);
}

static void log_settled(relay_request *r)
{
    const char *error =
        r->has_failed ? gw_status_describe(r->troubles->failure.error.code)->openai_code : "";
    const char *detail = "";

    if (r->upstream_rc != GW_OK)
        detail = r->troubles->upstream_err.message; /* with addresses */
    else if (r->has_failed && r->attempts == 0)
        detail = r->troubles->failure.error
                     .message; /* our own words: a provider's may repeat the prompt */
    gw_log_info(
        r->core->log, "request_settled", gw_kv("request.id", (const char *)r->id),
        gw_kv("key.id", r->policy ? r->policy->key_id : GW_STR("")),
        gw_kv("endpoint", endpoint_describe(r->call.endpoint)->path),
        gw_kv("model", gw_str_slice(r->body.model, 0, 128)),
        gw_kv("provider", r->asked ? r->asked->provider->name : GW_STR("")),
        gw_kv("user_key", relay_request_uses_user_key(r)), gw_kv("stream", r->stream),
        gw_kv("outcome", r->bill.outcome),
        gw_kv("http.response.status_code", relay_request_status_code(r)),
        gw_kv("error.code", error), gw_kv("error.message", detail), gw_kv("attempts", r->attempts),
        gw_kv("upstream.status", r->upstream_status), gw_kv("duration_ms", r->duration_ms),
        gw_kv("ttft_ms", r->ttft_ms), gw_kv("prompt_tokens", r->bill.tokens.prompt),
        gw_kv("completion_tokens", r->bill.tokens.completion),
        gw_kv("cost_nano_usd", r->bill.cost_nano_usd), gw_kv("billing_basis", r->bill.basis));
    if (r->asked && relay_request_tier_is_unknown(r))
        gw_log_warn(r->core->log, "service_tier_unpriced", gw_kv("request.id", (const char *)r->id),
                    gw_kv("provider", r->asked->provider->name),
                    gw_kv("model", gw_str_slice(r->body.model, 0, 128)),
                    gw_kv("service_tier", (const char *)r->tap.service_tier));
    if (r->ceiling_ignored && r->asked)
        gw_log_warn(r->core->log, "ceiling_ignored", gw_kv("request.id", (const char *)r->id),
                    gw_kv("provider", r->asked->provider->name),
                    gw_kv("model", gw_str_slice(r->body.model, 0, 128)),
                    gw_kv("ceiling", adapter_ceiling(&r->job)),
                    gw_kv("completion_tokens", r->bill.tokens.completion));
}

relay_stage record_enter(relay_request *r)
{
    if (r->policy) {
        relay_request_write_event(r);
        r->slot = NULL; /* the recorder's from now on */
    }
    measure(r);
    log_settled(r);
    return STAGE_FINISH;
}

relay_stage record_resume(relay_request *r)
{
    (void)r;
    return STAGE_RECORD;
}

/* ---- FINISH ---- */

static void send_end(relay_request *r, relay_sink *sink)
{
    relay_answer head = {0};

    if (r->has_failed) {
        relay_request_failure_head(r, &head);
        if (r->started)
            sink->ops->fail_stream(sink, &r->troubles->failure);
        else
            sink->ops->fail(sink, &r->troubles->failure, &head);
    } else if (r->started) {
        sink->ops->finish(sink, r->done_raw, &r->bill);
    } else {
        relay_request_success_head(r, &head);
        head.body = r->answer;
        sink->ops->respond(sink, &head, &r->bill);
    }
}

relay_stage finish_enter(relay_request *r)
{
    relay_sink *sink = r->sink;

    r->sink = NULL;
    if (sink) {
        sink->ops->released(sink);
        if (!r->transport_answers)
            send_end(r, sink);
    }
    r->core->in_flight--;
    gw_metric_set(r->core->metrics, M_relay_requests_in_flight, r->core->in_flight, NULL, 0);
    return STAGE_DONE;
}

relay_stage finish_resume(relay_request *r)
{
    (void)r;
    return STAGE_FINISH;
}
