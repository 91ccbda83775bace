/* AUTHENTICATE, READ_BODY, AUTHORIZE, ADMIT: may this be done at all? */
#include "relay_request_internal.h"

#include "credentials.h"
#include "messages_body.h"
#include "unpriced_extra.h"

#define HOPS_MAX 3 /* relays a request may pass through, this one included */

/* ---- AUTHENTICATE ---- */

static void count_lookup(relay_request *r, const char *result)
{
    gw_metric_count(r->core->metrics, M_relay_key_lookups_total, gw_str_of(result));
}

/* The one before stays where there is none: what it did is still to be recorded. */
static void take_policy(relay_request *r, key_policy *policy)
{
    if (!policy)
        return;
    key_policy_unref(r->policy);
    r->policy = policy;
}

static void on_key(void *arg, gw_status rc, key_policy *policy, const gw_error *err)
{
    relay_request *r = arg;

    r->wait_pending = false;
    r->operations--;
    r->key_rc = rc;
    take_policy(r, policy);
    if (rc != GW_OK)
        relay_request_troubles(r)->key_err = *err;
    relay_request_wake(r);
}

void relay_request_note_offence(const relay_request *r, offence what)
{
    if (r->core->offences)
        offence_book_note(r->core->offences, r->policy, what);
}

/* Is it a key that may call at all, from there, now? */
static gw_status check_caller(relay_request *r, int64_t now_wall_ms, gw_error *err)
{
    gw_status rc = key_policy_check_state(r->policy, now_wall_ms, err);

    if (rc == GW_OK)
        rc = key_policy_check_address(r->policy, &r->call.client, err);
    r->key_may_call = rc == GW_OK;
    r->key_checked_ms = gw_loop_now_ms(r->core->loop);
    r->key_stamp = key_cache_stamp(r->core->keys);
    return rc;
}

/* The key is recognised. */
static relay_stage check_key(relay_request *r)
{
    GW_UNINITIALIZED gw_error err;
    int64_t now_ms = gw_clock_wall_ms(r->core->clock);

    count_lookup(r, "found");
    key_cache_note_use(r->core->keys, r->policy, now_ms);
    if (check_caller(r, now_ms, &err) != GW_OK)
        return relay_request_fail(r, &err);
    return r->policy->signs ? relay_request_read_signature(r) : STAGE_READ_BODY;
}

static key_lookup look_up(relay_request *r, key_policy **ret, gw_error *err)
{
    gw_str presented;

    if (credentials_read(r->call.headers, &presented, err) != GW_OK)
        return KEY_REFUSED;
    r->wait = (key_wait){.done = on_key, .arg = r};
    key_lookup found = key_cache_authenticate(r->core->keys, presented, &r->wait, ret, err);
    if (found == KEY_PENDING) {
        r->wait_pending = true;
        r->operations++;
    }
    return found;
}

relay_stage authenticate_enter(relay_request *r)
{
    GW_UNINITIALIZED gw_error err;

    if (r->core->ending) {
        (void)gw_fail(&err, GW_ERR_SHUTTING_DOWN, "the gateway is shutting down");
        return relay_request_fail(r, &err);
    }
    switch (look_up(r, &r->policy, &err)) {
    case KEY_FOUND:
        return check_key(r);
    case KEY_PENDING:
        return STAGE_AUTHENTICATE;
    case KEY_REFUSED:
        break;
    }
    count_lookup(r, "refused");
    return relay_request_fail(r, &err);
}

relay_stage authenticate_resume(relay_request *r)
{
    if (r->wait_pending)
        return STAGE_AUTHENTICATE;
    if (r->key_rc == GW_OK)
        return check_key(r);
    count_lookup(r, r->key_rc == GW_ERR_KEY_INVALID ? "refused" : "failed");
    return relay_request_fail(r, &r->troubles->key_err);
}

/* ---- the key after a wait ---- */

/* True: `ret` says what is known of it now. False: auth is asked, and `r` is woken. */
static bool look_again(relay_request *r, gw_status *ret, gw_error *err)
{
    key_policy *policy = NULL;

    if (r->asks_key_again) {
        r->asks_key_again = false;
        *ret = r->key_rc;
        if (r->key_rc != GW_OK)
            *err = r->troubles->key_err;
        return true;
    }
    *ret = GW_OK;
    if (r->key_stamp != 0 && key_cache_stamp(r->core->keys) == r->key_stamp)
        return true;
    key_lookup found = look_up(r, &policy, err);
    take_policy(r, policy);
    r->asks_key_again = found == KEY_PENDING;
    *ret = found == KEY_REFUSED ? err->code : GW_OK;
    return !r->asks_key_again;
}

/*
 * A body may be minutes on its way, a provider that fails and the pause before the next attempt as well, and what is waited for to buy a hold
 * some seconds: the key has to be good afterwards, too, and what follows goes by its policy of then. False: has_failed, or auth is asked and `r` is woken.
 */
static bool key_still_holds(relay_request *r)
{
    GW_UNINITIALIZED gw_error err;
    gw_status rc;

    if (r->wait_pending)
        return false;
    if (!r->asks_key_again && r->key_checked_ms == gw_loop_now_ms(r->core->loop))
        return true; /* nearly always: it came with the head */
    if (!look_again(r, &rc, &err))
        return false;
    if (rc == GW_OK)
        rc = check_caller(r, gw_clock_wall_ms(r->core->clock), &err);
    if (rc == GW_OK)
        return true;
    r->key_may_call = false;
    (void)relay_request_fail(r, &err);
    return false;
}

static relay_stage wait_for_key(const relay_request *r)
{
    return r->has_failed ? STAGE_SETTLE : r->stage;
}

/* ---- READ_BODY ---- */

static relay_stage after_body(const relay_request *r)
{
    return r->signature ? STAGE_VERIFY : STAGE_AUTHORIZE;
}

static relay_stage take_body(relay_request *r)
{
    size_t max_bytes = r->core->limits.body_max_bytes;
    GW_UNINITIALIZED gw_error err;

    if (!r->body_arrived)
        return STAGE_READ_BODY;
    if (r->raw_body.len <= max_bytes)
        return after_body(r);
    (void)gw_fail(&err, GW_ERR_BODY_TOO_LARGE, "the body has more than %zu bytes", max_bytes);
    return relay_request_fail(r, &err);
}

relay_stage read_body_enter(relay_request *r)
{
    if (!endpoint_describe(r->call.endpoint)->has_body)
        return after_body(r);
    r->sink->ops->read_body(r->sink, r->core->limits.body_max_bytes);
    return take_body(r);
}

relay_stage read_body_resume(relay_request *r)
{
    if (!r->body_arrived)
        return STAGE_READ_BODY;
    if (!key_still_holds(r))
        return wait_for_key(r);
    if (r->policy->signs && !r->signature) { /* since its head came, maybe */
        relay_stage next = relay_request_read_signature(r);
        if (next != STAGE_READ_BODY)
            return next;
    }
    return take_body(r);
}

/* ---- AUTHORIZE ---- */

static gw_status check_origin(relay_request *r, gw_error *err)
{
    gw_str origin = gw_headers_get(r->call.headers, "origin");
    const Apirelay__Auth__V1__KeySecurity *security = r->policy->message->security;

    if (!origin.ptr || !security || security->n_domains == 0 ||
        key_policy_allows_origin(r->policy, origin))
        return GW_OK;
    return gw_fail_field(err, GW_ERR_PERMISSION_DENIED, "security.domains",
                         "this API key may not be used from %.*s (security.domains)",
                         GW_STR_ARG(origin));
}

/* To call this, from there. */
static gw_status check_call(relay_request *r, gw_error *err)
{
    gw_status rc = key_policy_check_endpoint(r->policy, r->call.path, err);

    return rc == GW_OK ? check_origin(r, err) : rc;
}

static gw_status read_stream_mode(relay_request *r, gw_error *err)
{
    r->stream = r->body.stream;
    if (r->call.mode == STREAM_REFUSED && r->body.stream)
        return gw_fail_field(err, GW_ERR_INVALID_ARGUMENT, "stream",
                             "use StreamChatCompletion for streamed answers");
    if (r->call.mode == STREAM_REQUIRED) {
        if (r->body.stream_given && !r->body.stream)
            return gw_fail_field(err, GW_ERR_INVALID_ARGUMENT, "stream",
                                 "use CreateChatCompletion for answers in one piece");
        r->stream = r->body.needs.streaming = true;
    }
    return GW_OK;
}

/* No JSON, as it is compressed? Bodies are read as they are. */
static gw_status explain_body(const relay_request *r, gw_status rc, gw_error *err)
{
    gw_str coding = gw_headers_get(r->call.headers, "content-encoding");

    if (rc != GW_ERR_INVALID_JSON || coding.len == 0 ||
        gw_str_eq_nocase(coding, GW_STR("identity")))
        return rc;
    return gw_fail(err, GW_ERR_UNSUPPORTED_MEDIA_TYPE,
                   "a body of content-encoding %.*s is not read: send it as it is",
                   GW_STR_ARG(gw_str_slice(coding, 0, 40)));
}

static gw_status authorize_body(relay_request *r, gw_error *err)
{
    gw_status rc = openai_body_read(r->arena, r->call.endpoint, r->raw_body, &r->body, err);
    rc = explain_body(r, rc, err);

    if (rc == GW_OK)
        rc = read_stream_mode(r, err);
    if (rc == GW_OK)
        rc = key_policy_check_model(r->policy, r->body.model, err);
    if (rc == GW_OK && r->policy->has_budget)
        r->extras = unpriced_extras(&r->body, r->call.endpoint);
    if (rc == GW_OK)
        rc = relay_request_find_route(r, err);
    if (rc == GW_OK)
        rc = key_policy_check_needs(r->policy, &r->body.needs, err);
    return rc;
}

/* All that stands in the policy, of a request that passed once. */
static gw_status check_permissions(relay_request *r, gw_error *err)
{
    gw_status rc = check_call(r, err);

    if (rc == GW_OK && r->policy->message->signing_required && !r->signature)
        rc = gw_fail(err, GW_ERR_SIGNATURE_REQUIRED, "requests of this API key have to be signed");
    if (rc == GW_OK)
        rc = key_policy_check_model(r->policy, r->body.model, err);
    if (rc == GW_OK)
        rc = key_policy_check_needs(r->policy, &r->body.needs, err);
    return rc;
}

bool relay_request_still_may(relay_request *r)
{
    GW_UNINITIALIZED gw_error err;

    if (!key_still_holds(r))
        return false;
    gw_status rc = check_permissions(r, &err);
    if (rc == GW_OK)
        rc = relay_request_check_target(r, &err);
    if (rc == GW_OK)
        return true;
    (void)relay_request_fail(r, &err);
    return false;
}

/* Relays that point at each other would ask in a circle until the deadline. */
static relay_stage refuse_loop(relay_request *r)
{
    GW_UNINITIALIZED gw_error err;

    (void)gw_fail(&err, GW_ERR_LOOP_DETECTED, "the request has passed through %d relays: a loop?",
                  HOPS_MAX);
    return relay_request_fail(r, &err);
}

relay_stage authorize_enter(relay_request *r)
{
    gw_str hops = gw_headers_get(r->call.headers, "x-relay-hop");
    GW_UNINITIALIZED gw_error err;

    if (hops.ptr && (!gw_str_to_int64(hops, &r->job.hop) || r->job.hop < 0))
        r->job.hop = HOPS_MAX; /* not ours: the safe reading */
    if (r->job.hop >= HOPS_MAX)
        return refuse_loop(r);
    r->job.hop++; /* as it goes on */
    if (check_call(r, &err) != GW_OK)
        return relay_request_fail(r, &err);
    if (endpoint_describe(r->call.endpoint)->has_body && authorize_body(r, &err) != GW_OK)
        return relay_request_fail(r, &err);
    return STAGE_ADMIT;
}

relay_stage authorize_resume(relay_request *r)
{
    (void)r;
    return STAGE_AUTHORIZE;
}

/* ---- ADMIT ---- */

/* What is limited has to be counted; what is not may be served all the same. */
static bool may_go_unrecorded(const relay_request *r)
{
    return r->core->degrades && !key_policy_has_limits(r->policy);
}

static gw_status claim_slot(relay_request *r, gw_error *err)
{
    recorder_stats stats;

    if (r->core->in_flight > r->core->limits.max_in_flight)
        return gw_fail(err, GW_ERR_OVERLOADED, "the gateway has too many requests in flight");
    recorder_get_stats(r->core->recorder, &stats);
    if (!stats.full)
        r->slot = recorder_claim(r->core->lane);
    r->unrecorded = !r->slot && may_go_unrecorded(r);
    if (r->slot || r->unrecorded)
        return GW_OK;
    return gw_fail(err, GW_ERR_SPOOL_BUSY, "usage cannot be recorded: %s",
                   stats.full ? "the spool is full" : "no slot is free");
}

relay_stage admit_enter(relay_request *r)
{
    GW_UNINITIALIZED gw_error err;

    if (claim_slot(r, &err) != GW_OK)
        return relay_request_fail(r, &err);
    if (!endpoint_describe(r->call.endpoint)->is_billed)
        return STAGE_FORWARD;
    bool holds = key_policy_has_limits(r->policy) && r->core->ledgers;
    prompt_tokens prompt = r->call.endpoint == ENDPOINT_MESSAGES
                               ? messages_body_estimate(&r->body, holds)
                               : prompt_estimate(&r->body, holds);
    r->prompt_estimate = prompt.usual;
    r->prompt_most = prompt.most;
    r->images = prompt.images;
    r->predicted = predicted_tokens(&r->body, holds);
    return holds ? relay_request_take_hold(r) : STAGE_FORWARD;
}

relay_stage admit_resume(relay_request *r)
{
    if (r->take && r->take->outcome == GRANT_CUT && !relay_request_still_may(r))
        return wait_for_key(r);
    return relay_request_resume_hold(r);
}
