/* FORWARD and STREAM: the provider is asked, its answer passes. */
#include "relay_request_internal.h"

#include "user_key.h"

/* Bodies up to this are the request's own, so that the upstream's request does not depend on the caller. */
#define OWN_BODY_MAX ((size_t)64 * 1024)

/* ---- FORWARD ---- */

/* The user's token or own key, or one of the provider's. */
static gw_status choose_credential(relay_request *r, gw_error *err)
{
    r->job.user_key = GW_STR("");
    r->job.credential = 0;
    if (user_is_signed_in(r->target->provider)) {
        r->job.user_key = r->user_token;
        return GW_OK;
    }
    if (user_key_is_for(r->policy, r->target->provider))
        return relay_request_open_user_key(r, err);
    r->job.credential = relay_request_take_credential(r);
    return GW_OK;
}

static gw_status make_job(relay_request *r, gw_error *err)
{
    r->job.arena = r->arena;
    r->job.endpoint = r->call.endpoint;
    r->job.body = &r->body;
    r->job.route = r->route;
    r->job.target = r->target;
    r->job.policy = r->policy;
    r->job.client_headers = r->call.headers;
    r->job.query = r->call.query;
    r->job.prompt_estimate = r->prompt_estimate;
    r->job.stream = r->stream;
    r->job.request_id = gw_str_of(r->id);
    r->job.created_s = r->arrival_wall_ms / 1000;
    r->adapter = adapter_for(r->call.endpoint, r->target->provider->kind);
    r->adapted = (adapter_stream){.job = &r->job,
                                  .tap = &r->tap,
                                  .emit = relay_request_deliver,
                                  .arg = r,
                                  .failure = &r->core->adapter_failure};
    return choose_credential(r, err);
}

static gw_status copy_body(relay_request *r, adapter_request *u, size_t total, gw_error *err)
{
    char *bytes = gw_arena_alloc(r->arena, total);
    gw_str *whole = gw_arena_new_of(r->arena, gw_str);

    if (!bytes || !whole)
        return relay_request_no_memory(err);
    *whole = (gw_str){bytes, total};
    for (size_t i = 0; i < u->body_parts; i++) {
        if (u->body[i].len > 0)
            memcpy(bytes, u->body[i].ptr, u->body[i].len);
        bytes += u->body[i].len;
    }
    u->body = whole;
    u->body_parts = 1;
    return GW_OK;
}

/*
 * The parts are views into the caller's body, which goes with the caller, unless the adapter wrote a text of its own. A request that
 * is to outlive it takes the body's memory, or a copy of a body that the transport keeps; a large one of a key that closes
 * does without: it is cancelled first, and counts as the transport's for as long. Another target may have to read it again.
 */
static gw_status own_body(relay_request *r, adapter_request *u, gw_error *err)
{
    size_t total = 0;

    for (size_t i = 0; i < u->body_parts; i++)
        total += u->body[i].len;
    r->owns_body = u->owns_body || total <= OWN_BODY_MAX || r->policy->drain_on_disconnect;
    if (!r->owns_body || r->request_body.data) /* an attempt before has taken it */
        return GW_OK;
    if (r->sink && r->sink->ops->take_body)
        r->request_body = r->sink->ops->take_body(r->sink);
    else if (!u->owns_body)
        return copy_body(r, u, total, err);
    if (u->owns_body && !relay_request_has_another(r))
        gw_buf_fini(&r->request_body);
    return GW_OK;
}

/* A stream may stay open for minutes: what its request was read from goes. */
static void forget_json(relay_request *r, const adapter_request *u)
{
    bool is_callers = u->upstream_model.ptr == r->body.model.ptr;

    openai_body_forget_json(&r->body, r->arena);
    r->upstream_model = is_callers ? r->body.model : u->upstream_model;
    r->ignored_params = u->ignored_params;
}

static gw_http_timeouts timeouts_of(const relay_request *r)
{
    const route_target *t = r->target;
    int64_t left_ms = GW_MAX(r->deadline.due_ms - gw_loop_now_ms(r->core->loop), 1);

    return (gw_http_timeouts){
        .connect_ms = t->connect_timeout_ms,
        .first_byte_ms = t->first_byte_timeout_ms,
        .idle_ms = t->idle_timeout_ms,
        .total_ms = t->total_timeout_ms > 0 ? GW_MIN(t->total_timeout_ms, left_ms) : left_ms,
    };
}

static gw_status send_upstream(relay_request *r, const adapter_request *u, gw_error *err)
{
    const provider_config *p = r->target->provider;
    gw_http_request request = {
        .transport = p->transport,
        .method = "POST",
        .url = p->base_url,
        .target = u->target,
        .headers = u->headers,
        .header_count = u->header_count,
        .names_are_constants = true,
        .body = u->body,
        .body_parts = u->body_parts,
        .timeouts = timeouts_of(r),
        .idle_max = p->connections_max,
    };
    gw_status rc =
        gw_http_send(r->core->upstreams, &request, &relay_upstream_ops, r, &r->call_upstream, err);

    if (rc == GW_OK) {
        r->operations++;
        r->attempts++;
        r->outcome_is_known = false;
        r->turn = HEALTH_NO_TURN;
    }
    return rc;
}

/* After an attempt: what the body was read as is gone. */
static gw_status read_again(relay_request *r, gw_error *err)
{
    return r->body.root ? GW_OK
                        : openai_body_read(r->arena, r->call.endpoint, r->raw_body, &r->body, err);
}

static gw_status write_request(relay_request *r, adapter_request *u, gw_error *err)
{
    gw_status rc = read_again(r, err);

    if (rc == GW_OK)
        rc = make_job(r, err);
    if (rc == GW_OK)
        rc = r->adapter->write_request(&r->job, u, err);
    if (rc == GW_OK)
        rc = own_body(r, u, err);
    if (rc != GW_OK)
        return rc;
    forget_json(r, u);
    adapter_text_free(r->text); /* of an attempt before */
    r->text = u->text;
    /* Without memory for it, it is written again; and for another credential, as each token is. */
    if (r->target->max_retries > 0 && r->target->provider->more_credential_count == 0 &&
        !user_is_signed_in(r->target->provider))
        r->written = gw_arena_new_of(r->arena, adapter_request);
    if (r->written)
        *r->written = *u;
    return GW_OK;
}

/* The same request as before, to the same target. */
static gw_status write_as_before(relay_request *r, adapter_request *u, gw_error *err)
{
    if (!r->written)
        return write_request(r, u, err);
    *u = *r->written;
    return make_job(r, err);
}

static bool send_attempt(relay_request *r)
{
    adapter_request u = {0};
    GW_UNINITIALIZED gw_error err;

    r->is_to_send = false;
    gw_status rc = write_as_before(r, &u, &err);
    if (rc == GW_OK) {
        r->asked = r->target;
        if (endpoint_describe(r->call.endpoint)->is_billed)
            r->price = relay_request_price(r, r->target);
        relay_request_open_event(r);
        rc = send_upstream(r, &u, &err);
    }
    if (rc == GW_OK)
        return true;
    relay_request_give_back_credential(r);
    if (r->attempts > 0)
        r->has_failed = true; /* what the one before failed of says more */
    else
        (void)relay_request_fail(r, &err);
    return false;
}

/* Asks the target whose turn it is, and further ones when it cannot even be asked. */
static relay_stage ask(relay_request *r)
{
    while (!r->pause || !gw_timer_is_armed(r->pause)) {
        if (r->attempts > 0 && !relay_request_still_may(r))
            return r->has_failed ? STAGE_SETTLE : STAGE_FORWARD;
        if (!relay_request_has_user_token(r) || !relay_request_has_balance(r))
            return r->has_failed ? STAGE_SETTLE : STAGE_FORWARD;
        if (send_attempt(r))
            break;
        if (!relay_request_may_try_again(r) || !relay_request_try_again(r))
            return STAGE_SETTLE;
    }
    return STAGE_FORWARD;
}

/* The attempt has failed: the end, or another one once nothing of this one can call back. */
static relay_stage follow_failure(relay_request *r)
{
    if (!relay_request_may_try_again(r))
        return STAGE_SETTLE;
    if (r->call_upstream) {
        gw_http_cancel(r->call_upstream);
        return r->stage;
    }
    if (!relay_request_try_again(r))
        return STAGE_SETTLE;
    return r->stage == STAGE_FORWARD ? ask(r) : STAGE_FORWARD;
}

/*
 * The connection failed. Addresses are the operator's business, not the caller's: the log has the
 * detail.
 */
static void fail_upstream(relay_request *r)
{
    static const struct {
        gw_status code;
        const char *what;
    } words[] = {
        {GW_ERR_UPSTREAM_UNAVAILABLE, "cannot be reached"},
        {GW_ERR_UPSTREAM_TIMEOUT, "did not answer in time"},
        {GW_ERR_UPSTREAM_PROTOCOL, "answered with something that is not HTTP"},
        {GW_ERR_UPSTREAM_CUT, "closed the connection before the end of its answer"},
        {GW_ERR_ADDRESS_REFUSED, "has an address that may not be connected to"},
        {GW_ERR_DEADLINE_EXCEEDED, "did not answer before the request's deadline"},
    };
    const char *what = "failed";
    GW_UNINITIALIZED gw_error err;

    for (size_t i = 0; i < GW_ARRAY_LEN(words); i++)
        if (words[i].code == r->upstream_rc)
            what = words[i].what;
    (void)gw_fail(&err, r->upstream_rc, "the provider %.*s %s",
                  GW_STR_ARG(r->target->provider->name), what);
    (void)relay_request_fail(r, &err);
}

relay_stage forward_enter(relay_request *r)
{
    return endpoint_describe(r->call.endpoint)->has_body ? ask(r) : local_answer_enter(r);
}

relay_stage forward_resume(relay_request *r)
{
    if (!endpoint_describe(r->call.endpoint)->has_body)
        return local_answer_resume(r);
    if (r->is_to_send)
        return ask(r);
    if (!r->has_failed && r->mode != ANSWER_NONE)
        return STAGE_STREAM;
    if (!r->has_failed && r->upstream_ended)
        fail_upstream(r);
    return r->has_failed ? follow_failure(r) : STAGE_FORWARD;
}

/* ---- STREAM ---- */

static void end_of_events(relay_request *r)
{
    if (r->upstream_rc != GW_OK)
        fail_upstream(r);
    else if (r->adapter->on_end(&r->adapted) != GW_OK)
        relay_request_fail_as_adapted(r);
    else
        r->answer_complete = true;
}

static void end_of_json(relay_request *r)
{
    gw_str json = gw_buf_str(&r->held);
    gw_status rc;

    if (r->upstream_rc != GW_OK) {
        fail_upstream(r);
        return;
    }
    if (r->stream)
        rc = r->adapter->stream_answer(&r->adapted, json);
    else
        rc = r->adapter->on_answer(&r->adapted, json, &r->answer);
    if (rc == GW_OK)
        r->answer_complete = true;
    else
        relay_request_fail_as_adapted(r);
}

/* A cut in the middle of an error body changes nothing: the status was an error. */
static void end_of_error(relay_request *r)
{
    const provider_config *p = r->target->provider;
    openai_error e;

    r->adapter->map_error(&r->job, r->upstream_status, r->upstream_is_json, gw_buf_str(&r->held),
                          &e);
    bool is_of_credential =
        e.error.code == GW_ERR_UPSTREAM_AUTH || e.error.code == GW_ERR_UPSTREAM_QUOTA;
    if (e.error.code == GW_ERR_UPSTREAM_QUOTA)
        relay_request_set_retry(r, RETRY_HINT_NONE); /* whatever it says: waiting does not help */
    else if (r->retry_ms == RETRY_HINT_NONE && e.retry_ms > 0)
        relay_request_set_retry(r, e.retry_ms);
    if (is_of_credential && relay_request_uses_user_key(r)) {
        relay_request_explain_user_key(r, &e);
    } else if (is_of_credential) {
        gw_metric_count(r->core->metrics, M_relay_upstream_auth_errors_total,
                        gw_str_of(r->adapter->name));
        gw_log_error(r->core->log,
                     e.error.code == GW_ERR_UPSTREAM_QUOTA ? "upstream_quota_used_up"
                                                           : "upstream_credential_refused",
                     gw_kv("request.id", (const char *)r->id), gw_kv("provider", p->name),
                     gw_kv("upstream.status", r->upstream_status));
    }
    e.retry_after = r->retry_after;
    (void)relay_request_fail_with(r, &e);
}

relay_stage stream_enter(relay_request *r)
{
    return stream_resume(r);
}

relay_stage stream_resume(relay_request *r)
{
    static void (*const ends[])(relay_request *) = {[ANSWER_ERROR] = end_of_error,
                                                    [ANSWER_JSON] = end_of_json,
                                                    [ANSWER_EVENTS] = end_of_events};

    if (!r->has_failed && !r->answer_complete && r->upstream_ended)
        ends[r->mode](r);
    if (!r->has_failed && !r->answer_complete)
        relay_request_follow_extension(r);
    if (r->has_failed)
        return follow_failure(r);
    return r->answer_complete ? STAGE_SETTLE : STAGE_STREAM;
}
