/* The upstream's callbacks: they take what comes, the stages decide. */
#include "relay_request_internal.h"

#define ERROR_BODY_MAX ((size_t)64 * 1024)

/* ---- head ---- */

static gw_str keep_header(relay_request *r, gw_headers headers, const char *name)
{
    gw_str value = gw_headers_get(headers, name);

    return value.ptr && gw_header_value_is_valid(value) ? gw_arena_dup(r->arena, value)
                                                        : GW_STR("");
}

void relay_request_fail_as_adapted(relay_request *r)
{
    openai_error *e = r->adapted.failure;

    if (e->retry_ms > 0 && e->error.code != GW_ERR_UPSTREAM_QUOTA) {
        relay_request_set_retry(r, e->retry_ms);
        e->retry_after = r->retry_after;
    }
    (void)relay_request_fail_with(r, e);
}

static gw_status on_event(void *arg, const gw_sse_event *e, gw_error *err)
{
    relay_request *r = arg;
    gw_status rc;

    if (r->answer_complete || r->stage >= STAGE_SETTLE)
        return GW_OK;
    rc = r->adapter->on_event(&r->adapted, e);
    if (rc != GW_OK) {
        relay_request_fail_as_adapted(r);
        *err = r->adapted.failure->error;
    } else if (r->has_failed) { /* what it costs has passed what is held */
        *err = r->troubles->failure.error;
        rc = err->code;
    }
    return rc;
}

/* A stream may stay open for minutes. */
void relay_request_release_body(relay_request *r)
{
    if (!r->call_upstream || !gw_http_release_request(r->call_upstream))
        return;
    gw_buf_fini(&r->request_body);
    adapter_text_free(r->text);
}

static gw_status expect_events(relay_request *r, gw_error *err)
{
    if (!relay_request_has_another(r))
        relay_request_release_body(r);
    r->events = gw_sse_reader_new(r->core->limits.event_max_bytes, on_event, r);
    if (!r->events)
        return relay_request_no_memory(err);
    r->mode = ANSWER_EVENTS;
    return GW_OK;
}

static bool can_be_streamed(const relay_request *r)
{
    return r->adapter->stream_answer && r->call.endpoint != ENDPOINT_COMPLETIONS;
}

static int64_t read_retry(const relay_request *r, gw_headers headers)
{
    const retry_heads h = {.retry_after_ms = gw_headers_get(headers, "retry-after-ms"),
                           .retry_after = gw_headers_get(headers, "retry-after"),
                           .date = gw_headers_get(headers, "date")};

    return retry_hint_of_heads(&h, gw_clock_wall_ms(r->core->clock));
}

/* What kind of answer this is. A provider that answers something else is not speaking our dialect. */
static gw_status read_head(relay_request *r, int status, gw_headers headers, gw_error *err)
{
    gw_str type = gw_headers_get(headers, "content-type");
    gw_str name = r->target->provider->name;

    r->upstream_is_json = gw_content_type_is(type, "application/json");
    if (status >= 400) {
        r->mode = ANSWER_ERROR;
        relay_request_set_retry(r, read_retry(r, headers));
        return GW_OK;
    }
    if (status < 200 || status >= 300)
        return gw_fail(err, GW_ERR_UPSTREAM_PROTOCOL,
                       "the provider %.*s answered %d, which is no answer", GW_STR_ARG(name),
                       status);
    r->counts_by_name = counted_models_take(r->core->counted, r->route, r->body.model,
                                            gw_clock_wall_ms(r->core->clock));
    if (r->stream && gw_content_type_is(type, "text/event-stream"))
        return expect_events(r, err);
    if (r->upstream_is_json && (!r->stream || can_be_streamed(r))) {
        r->mode = ANSWER_JSON;
        return GW_OK;
    }
    return gw_fail(err, GW_ERR_UPSTREAM_PROTOCOL, "the provider %.*s answered %.*s instead of %s",
                   GW_STR_ARG(name), GW_STR_ARG(gw_str_slice(type, 0, 60)),
                   r->stream ? "text/event-stream" : "application/json");
}

static void on_head(gw_http_call *c, int status, gw_headers headers, void *arg)
{
    relay_request *r = arg;
    GW_UNINITIALIZED gw_error err;

    (void)c;
    if (r->stage >= STAGE_SETTLE)
        return;
    r->upstream_status = status;
    r->processing_ms = keep_header(r, headers, "openai-processing-ms");
    r->openai_version = keep_header(r, headers, "openai-version");
    if (read_head(r, status, headers, &err) != GW_OK)
        (void)relay_request_fail(r, &err);
    relay_request_wake(r);
}

/* ---- body ---- */

static void hold(relay_request *r, gw_str bytes)
{
    bool is_error = r->mode == ANSWER_ERROR;
    size_t max = is_error ? ERROR_BODY_MAX : r->core->limits.answer_max_bytes;
    GW_UNINITIALIZED gw_error err;

    if (is_error)
        bytes = gw_str_slice(bytes, 0, max - GW_MIN(r->held.len, max));
    if (bytes.len > max - r->held.len) {
        (void)gw_fail(&err, GW_ERR_UPSTREAM_PROTOCOL,
                      "the provider's answer has more than %zu bytes", max);
        (void)relay_request_fail(r, &err);
        return;
    }
    gw_buf_append_str(&r->held, bytes);
    if (gw_buf_failed(&r->held)) {
        (void)relay_request_no_memory(&err);
        (void)relay_request_fail(r, &err);
    }
}

static void feed(relay_request *r, gw_str bytes)
{
    int64_t max = r->core->limits.stream_max_bytes;
    GW_UNINITIALIZED gw_error err;

    r->stream_bytes += (int64_t)bytes.len;
    if (r->stream_bytes > max) {
        (void)gw_fail(&err, GW_ERR_UPSTREAM_PROTOCOL,
                      "the provider's stream has more than %lld bytes", (long long)max);
        (void)relay_request_fail(r, &err);
        return;
    }
    /* An adapter's failure is noted already and stands: the first one is kept. */
    if (gw_sse_feed(r->events, bytes, &err) != GW_OK)
        (void)relay_request_fail(r, &err);
}

/* After [DONE] only white space may follow; a provider that goes on is cut off, not waited for. */
static void skip_rest(gw_http_call *c, gw_str bytes)
{
    for (size_t i = 0; i < bytes.len; i++) {
        if (bytes.ptr[i] != '\r' && bytes.ptr[i] != '\n') {
            gw_http_cancel(c);
            return;
        }
    }
}

static void on_body(gw_http_call *c, gw_str bytes, void *arg)
{
    relay_request *r = arg;

    if (r->stage >= STAGE_SETTLE) {
        skip_rest(c, bytes);
        return;
    }
    if (r->has_failed)
        return;
    if (r->mode == ANSWER_EVENTS)
        feed(r, bytes);
    else
        hold(r, bytes);
    if (r->has_failed || r->answer_complete)
        relay_request_wake(r);
}

/* ---- end ---- */

static const char *result_of(const relay_request *r, gw_status rc)
{
    if (rc == GW_ERR_CANCELLED)
        return "cancelled";
    if (rc == GW_ERR_UPSTREAM_TIMEOUT)
        return "timeout";
    if (rc != GW_OK)
        return r->upstream_status == 0 ? "unreachable" : "cut";
    if (r->upstream_status >= 500)
        return "error";
    return r->upstream_status >= 400 ? "rejected" : "ok";
}

static void on_done(gw_http_call *c, gw_status rc, const gw_error *err, void *arg)
{
    relay_request *r = arg;

    r->call_upstream = NULL;
    r->operations--;
    relay_request_give_back_credential(r);
    r->upstream_ended = true;
    if (rc != GW_ERR_CANCELLED ||
        !r->has_failed) { /* not what came of a failure, but the failure */
        r->upstream_was_sent = gw_http_call_was_sent(c);
        r->upstream_rc = rc;
        if (rc != GW_OK)
            relay_request_troubles(r)->upstream_err = *err;
    }
    gw_metric_count(r->core->metrics, M_relay_upstream_calls_total, gw_str_of(r->adapter->name),
                    gw_str_of(result_of(r, rc)));
    relay_request_wake(r);
}

const gw_http_call_ops relay_upstream_ops = {
    .on_head = on_head,
    .on_body = on_body,
    .on_done = on_done,
};
