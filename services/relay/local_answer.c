/*
 * FORWARD of the endpoints that no provider answers: models come from the configuration, usage from
 * the usage service with the caller's own key.
 */
#include "relay_request_internal.h"

#include "core/url.h"
#include "json/json.h"

#include "apirelay/usage/v1/usage_service.pb-c.h"

#include <stdlib.h>

static relay_stage answer(relay_request *r, const gw_buf *json)
{
    gw_error err;

    r->answer = gw_arena_dup(r->arena, gw_buf_str(json));
    if (gw_buf_failed(json) || !r->answer.ptr) {
        (void)relay_request_no_memory(&err);
        return relay_request_fail(r, &err);
    }
    r->answer_complete = true;
    return STAGE_SETTLE;
}

/* ---- models ---- */

static void append_model(gw_buf *out, gw_str id, gw_str owned_by)
{
    gw_buf_append_c(out, "{\"id\":");
    gw_buf_append_json(out, id);
    gw_buf_append_c(out, ",\"object\":\"model\",\"created\":0,\"owned_by\":");
    gw_buf_append_json(out, owned_by);
    gw_buf_append_c(out, "}");
}

static relay_stage list_models(relay_request *r)
{
    gw_auto_buf out = {0};
    const listed_model *models = NULL;
    size_t n = r->config ? relay_config_models(r->config, r->arena, &models) : 0;
    const char *comma = "";

    gw_buf_append_c(&out, "{\"object\":\"list\",\"data\":[");
    for (size_t i = 0; i < n; i++) {
        if (key_policy_check_model(r->policy, models[i].id, NULL) != GW_OK)
            continue;
        gw_buf_append_c(&out, comma);
        append_model(&out, models[i].id, models[i].owned_by);
        comma = ",";
    }
    gw_buf_append_c(&out, "]}");
    return answer(r, &out);
}

static gw_str owner_of(relay_request *r, const model_route *route, gw_str id)
{
    const listed_model *models = NULL;
    size_t n = relay_config_models(r->config, r->arena, &models);

    for (size_t i = 0; i < n; i++)
        if (gw_str_eq(models[i].id, id))
            return models[i].owned_by;
    return route->owned_by;
}

/* Whatever a request could name is a model, listed or not: routes have globs. */
static relay_stage get_model(relay_request *r)
{
    gw_auto_buf out = {0};
    gw_str id = GW_STR("");
    gw_error err;

    if (!gw_percent_decode(r->arena, r->call.model_id, false, &id) || !gw_str_is_utf8(id)) {
        (void)gw_fail_field(&err, GW_ERR_INVALID_ARGUMENT, "model",
                            "the model's name is not well formed");
        return relay_request_fail(r, &err);
    }
    if (key_policy_check_model(r->policy, id, &err) != GW_OK)
        return relay_request_fail(r, &err);
    r->route = r->config ? relay_config_route(r->config, id) : NULL;
    if (!r->route) {
        (void)gw_fail_field(&err, GW_ERR_MODEL_NOT_FOUND, "model",
                            "The model `%.*s` does not exist or you do not have access to it.",
                            GW_STR_ARG(id));
        return relay_request_fail(r, &err);
    }
    append_model(&out, id, owner_of(r, r->route, id));
    r->route = NULL; /* nothing is routed: the event names none */
    return answer(r, &out);
}

/* ---- usage ---- */

/* The limits are the policy's: usage does not know them. */
static gw_status write_usage(relay_request *r, const ProtobufCMessage *response, gw_buf *out)
{
    static Apirelay__Auth__V1__KeyLimits unlimited = APIRELAY__AUTH__V1__KEY_LIMITS__INIT;
    Apirelay__Usage__V1__GetOwnUsageResponse shown =
        *(const Apirelay__Usage__V1__GetOwnUsageResponse *)(const void *)response;
    shown.limits = r->policy->message->limits ? r->policy->message->limits : &unlimited;
    return gw_json_write(&shown.base, out, &relay_request_troubles(r)->upstream_err);
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

static gw_status read_query(relay_request *r, ProtobufCMessage *m, gw_error *err)
{
    gw_str rest = r->call.query, name, value;

    while (gw_query_next(&rest, &name, &value)) {
        ProtobufCMessage *owner;
        const ProtobufCFieldDescriptor *field;
        if (!gw_percent_decode(r->arena, name, true, &name) ||
            !gw_percent_decode(r->arena, value, true, &value))
            return gw_fail(err, GW_ERR_INVALID_ARGUMENT, "the query string is not well formed");
        gw_status rc = gw_json_field_by_path(m, name, &owner, &field, err);
        if (rc != GW_OK) {
            char parameter[64];
            (void)snprintf(parameter, sizeof(parameter), "%.*s",
                           GW_STR_ARG(gw_str_slice(name, 0, 60)));
            return gw_fail_field(err, GW_ERR_INVALID_ARGUMENT, parameter,
                                 "unknown query parameter '%s'", parameter);
        }
        rc = gw_json_set_from_text(owner, field, value, err);
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

relay_stage local_answer_enter(relay_request *r)
{
    switch (r->call.endpoint) {
    case ENDPOINT_MODELS:
        return list_models(r);
    case ENDPOINT_MODEL:
        return get_model(r);
    default:
        return ask_usage(r);
    }
}

relay_stage local_answer_resume(relay_request *r)
{
    if (!r->upstream_ended)
        return STAGE_FORWARD;
    if (r->upstream_rc == GW_ERR_INVALID_ARGUMENT || r->upstream_rc == GW_ERR_OUT_OF_RANGE)
        return relay_request_fail(r, &r->troubles->upstream_err); /* the caller's own query */
    if (r->upstream_rc != GW_OK) {
        gw_error err;
        (void)gw_fail(&err, GW_ERR_UNAVAILABLE, "usage cannot be read right now");
        return relay_request_fail(r, &err);
    }
    r->answer_complete = true;
    return STAGE_SETTLE;
}
