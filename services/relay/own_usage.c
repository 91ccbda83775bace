/*
 * FORWARD of GET /v1/usage: first where the limits stand (ledger_look.h), then what the usage service says of the caller's own key.
 */
#include "relay_request_internal.h"

#include "core/url.h"
#include "json/json.h"

#include "apirelay/usage/v1/usage_service.pb-c.h"

#include <stdlib.h>

#define QUERY_MAX  16 /* parameters: more than the message has fields */
#define STATES_MAX ((size_t)LEDGER_LEVELS * (LEDGER_SLOTS + 1))

typedef Apirelay__Usage__V1__LimitState limit_state;

/* What the ledgers said; in the request's arena. */
struct own_limits {
    ledger_seen seen[LEDGER_LEVELS];
    size_t count;
};

/* ---- where the limits stand ---- */

typedef struct state_list {
    gw_arena *arena;
    limit_state **items;
    size_t count;
} state_list;

static char *constant(const char *s)
{
    return (char *)(uintptr_t)s; /* protobuf-c's fields are not const; writing only reads */
}

/* `reset_ms` < 0: at no time that is known. */
static bool add_state(state_list *l, const ledger_seen *s, const char *name, int64_t limit,
                      int64_t used, int64_t held, int64_t reset_ms)
{
    static const char *const levels[] = {"key", "client", "owner"};
    limit_state *m = gw_arena_new_of(l->arena, limit_state);
    Google__Protobuf__Timestamp *t = gw_arena_new_of(l->arena, Google__Protobuf__Timestamp);

    if (!m || !t)
        return false;
    apirelay__usage__v1__limit_state__init(m);
    m->level = constant(levels[s->account.level]);
    m->name = constant(name);
    m->limit = limit;
    m->used = GW_MAX(used, 0);
    m->held = GW_MAX(held, 0);
    m->left = GW_MAX(limit - m->used - m->held, 0);
    if (reset_ms >= 0) {
        google__protobuf__timestamp__init(t);
        t->seconds = (s->now_ms + reset_ms) / GW_MS_PER_S;
        t->nanos = (int32_t)((s->now_ms + reset_ms) % GW_MS_PER_S * 1000000);
        m->resets_at = t;
    }
    l->items[l->count++] = m;
    return true;
}

static bool add_windows(state_list *l, const ledger_seen *s)
{
    static const char *const names[LEDGER_WINDOWS] = {"requestsPerDay", "tokensPerDay",
                                                      "tokensPerMonth", "costLimitNanoUsd"};

    for (int d = 0; d < LEDGER_WINDOWS; d++) {
        int64_t limit = s->account.limits.window.of[d];
        if (limit < LEDGER_UNLIMITED &&
            !add_state(l, s, names[d], limit, s->used.of[d], s->held.of[d],
                       ledger_window_ends_ms((ledger_window)d, s->now_ms)))
            return false;
    }
    return true;
}

static bool add_rates(state_list *l, const ledger_seen *s)
{
    int64_t per_minute = s->account.limits.per_minute, in_flight = s->account.limits.in_flight;

    if (per_minute > 0) {
        int64_t used = GW_MAX(per_minute - s->bucket_left - s->bucket_held, 0);
        if (!add_state(l, s, "requestsPerMinute", per_minute, used, s->bucket_held,
                       used * 60000 / per_minute))
            return false;
    }
    return in_flight == 0 || add_state(l, s, "requestsInFlight", in_flight, 0, s->slots_held, -1);
}

static bool list_states(relay_request *r, Apirelay__Usage__V1__GetOwnUsageResponse *shown)
{
    state_list l = {.arena = r->arena,
                    .items = gw_arena_array(r->arena, limit_state *, STATES_MAX)};

    if (!l.items)
        return false;
    for (size_t i = 0; i < r->own_limits->count; i++)
        if (!add_windows(&l, &r->own_limits->seen[i]) || !add_rates(&l, &r->own_limits->seen[i]))
            return false;
    shown->limit_states = l.items;
    shown->n_limit_states = l.count;
    return true;
}

size_t own_usage_left(const relay_request *r, grant_left ret[LEDGER_LEVELS])
{
    for (size_t i = 0; i < r->own_limits->count; i++) {
        const ledger_seen *s = &r->own_limits->seen[i];
        ret[i] = (grant_left){
            .limits = s->account.limits, .bucket_left = s->bucket_left, .wall_ms = s->now_ms};
        for (int d = 0; d < LEDGER_WINDOWS; d++)
            ret[i].left.of[d] =
                GW_MAX(s->account.limits.window.of[d] - s->used.of[d] - s->held.of[d], 0);
    }
    return r->own_limits->count;
}

static void on_seen(void *arg, gw_status rc, const ledger_seen *seen, size_t count)
{
    relay_request *r = arg;
    gw_error *err = &relay_request_troubles(r)->upstream_err;

    r->look = NULL;
    r->operations--;
    r->own_limits = rc == GW_OK ? gw_arena_new_of(r->arena, struct own_limits) : NULL;
    if (r->own_limits) {
        memcpy(r->own_limits->seen, seen, count * sizeof(*seen));
        r->own_limits->count = count;
    } else {
        r->upstream_ended = true;
        r->upstream_rc = gw_fail(err, GW_ERR_UNAVAILABLE, "where the limits stand is not known");
    }
    relay_request_wake(r);
}

/* ---- what was used ---- */

/* The limits are the policy's: usage does not know them. */
static gw_status write_usage(relay_request *r, const ProtobufCMessage *response, gw_buf *out)
{
    static Apirelay__Auth__V1__KeyLimits unlimited = APIRELAY__AUTH__V1__KEY_LIMITS__INIT;
    Apirelay__Usage__V1__GetOwnUsageResponse shown =
        *(const Apirelay__Usage__V1__GetOwnUsageResponse *)(const void *)response;
    gw_error *err = &relay_request_troubles(r)->upstream_err;

    shown.limits = r->policy->message->limits ? r->policy->message->limits : &unlimited;
    shown.n_limit_states = 0;
    if (r->own_limits && !list_states(r, &shown))
        return relay_request_no_memory(err);
    return gw_json_write(&shown.base, out, err);
}

static void on_usage(void *arg, gw_status rc, const ProtobufCMessage *response, const gw_error *err)
{
    relay_request *r = arg;
    gw_auto_buf out = {0};

    r->usage_call = NULL;
    r->operations--;
    r->upstream_ended = true;
    r->upstream_rc = rc;
    if (rc == GW_OK)
        r->upstream_rc = write_usage(r, response, &out);
    else
        relay_request_troubles(r)->upstream_err = *err;
    if (r->upstream_rc == GW_OK) {
        r->answer = gw_arena_dup(r->arena, gw_buf_str(&out));
        if (!r->answer.ptr)
            r->upstream_rc = relay_request_no_memory(&relay_request_troubles(r)->upstream_err);
    }
    relay_request_wake(r);
}

static bool was_given(const ProtobufCFieldDescriptor *const *given, size_t count,
                      const ProtobufCFieldDescriptor *field)
{
    for (size_t i = 0; i < count; i++)
        if (given[i] == field)
            return true;
    return count == QUERY_MAX; /* more than there are */
}

static gw_status read_query(relay_request *r, ProtobufCMessage *m, gw_error *err)
{
    gw_str rest = r->call.query, name, value;
    const ProtobufCFieldDescriptor *given[QUERY_MAX];
    size_t count = 0;

    while (gw_query_next(&rest, &name, &value)) {
        ProtobufCMessage *owner;
        const ProtobufCFieldDescriptor *field;
        char parameter[64];
        if (!gw_percent_decode(r->arena, name, true, &name) ||
            !gw_percent_decode(r->arena, value, true, &value))
            return gw_fail(err, GW_ERR_INVALID_ARGUMENT, "the query string is not well formed");
        (void)snprintf(parameter, sizeof(parameter), "%.*s", GW_STR_ARG(gw_str_slice(name, 0, 60)));
        if (gw_json_field_by_path(m, name, &owner, &field, err) != GW_OK)
            return gw_fail_field(err, GW_ERR_INVALID_ARGUMENT, parameter,
                                 "unknown query parameter '%s'", parameter);
        if (was_given(given, count, field))
            return gw_fail_field(err, GW_ERR_INVALID_ARGUMENT, parameter, "'%s' is given twice",
                                 parameter);
        given[count++] = field;
        gw_status rc = gw_json_set_from_text(owner, field, value, err);
        if (rc != GW_OK)
            return rc;
    }
    return GW_OK;
}

static relay_stage ask_usage(relay_request *r)
{
    Apirelay__Usage__V1__GetOwnUsageRequest *m = calloc(1, sizeof(*m)); /* read_query adds to it */
    gw_rpc_call_options options = {
        .path = "/apirelay.usage.v1.UsageService/GetOwnUsage",
        .response = &apirelay__usage__v1__get_own_usage_response__descriptor,
        .credential = r->core->service_token,
        .request_id = gw_str_of(r->id),
        .wait_for_ready = false,
    };
    gw_error err;
    gw_status rc;

    if (!m) {
        (void)relay_request_no_memory(&err);
        return relay_request_fail(r, &err);
    }
    apirelay__usage__v1__get_own_usage_request__init(m);
    rc = read_query(r, &m->base, &err);
    if (rc == GW_OK && *m->api_key_id) /* not the caller's to choose */
        rc = gw_fail_field(&err, GW_ERR_INVALID_ARGUMENT, "apiKeyId",
                           "unknown query parameter 'apiKeyId'");
    if (rc == GW_OK && !r->core->usage)
        rc = gw_fail(&err, GW_ERR_UNAVAILABLE, "the usage service is not configured");
    if (rc == GW_OK) {
        char *own = m->api_key_id;
        m->api_key_id = gw_arena_strdup(r->arena, r->policy->api_key_id);
        if (m->api_key_id)
            r->usage_call = gw_rpc_unary(r->core->usage, &options, &m->base, on_usage, r);
        m->api_key_id = own;
        if (r->usage_call)
            r->operations++;
        else
            rc = relay_request_no_memory(&err);
    }
    apirelay__usage__v1__get_own_usage_request__free_unpacked(m, NULL);
    return rc == GW_OK ? STAGE_FORWARD : relay_request_fail(r, &err);
}

/* ---- the stage ---- */

relay_stage own_usage_enter(relay_request *r)
{
    gw_error err;

    if (!key_policy_has_limits(r->policy) || !r->core->ledgers)
        return ask_usage(r);
    r->look = ledger_keeper_look(r->core->ledgers, r->policy, on_seen, r);
    if (!r->look) {
        (void)relay_request_no_memory(&err);
        return relay_request_fail(r, &err);
    }
    r->operations++;
    return STAGE_FORWARD;
}

static relay_stage fail_usage(relay_request *r)
{
    gw_error err;

    if (r->upstream_rc == GW_ERR_INVALID_ARGUMENT || r->upstream_rc == GW_ERR_OUT_OF_RANGE) {
        err = r->troubles->upstream_err; /* the caller's own query */
        if (err.field[0])
            (void)gw_error_prefix(&err, "'%s'", err.field);
        return relay_request_fail(r, &err);
    }
    (void)gw_fail(&err, GW_ERR_UNAVAILABLE, "usage cannot be read right now");
    return relay_request_fail(r, &err);
}

relay_stage own_usage_resume(relay_request *r)
{
    if (r->look || r->usage_call)
        return STAGE_FORWARD;
    if (!r->upstream_ended)
        return ask_usage(r);
    if (r->upstream_rc != GW_OK)
        return fail_usage(r);
    r->answer_complete = true;
    return STAGE_SETTLE;
}
