/* FORWARD of the endpoints that no provider answers: models come from the configuration and what providers were asked before, usage from elsewhere (own_usage.c). */
#include "relay_request_internal.h"

#include "core/url.h"

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

static void append_model(const relay_request *r, gw_buf *out, gw_str id, gw_str owned_by)
{
    if (r->call.dialect == DIALECT_ANTHROPIC) {
        gw_buf_append_c(out, "{\"type\":\"model\",\"id\":");
        gw_buf_append_json(out, id);
        gw_buf_append_c(out, ",\"display_name\":");
        gw_buf_append_json(out, id);
        gw_buf_append_c(out, ",\"created_at\":\"1970-01-01T00:00:00Z\","); /* not known */
        gw_buf_append_c(out, "\"lifecycle\":\"active\"}");
        return;
    }
    gw_buf_append_c(out, "{\"id\":");
    gw_buf_append_json(out, id);
    gw_buf_append_c(out, ",\"object\":\"model\",\"created\":0,\"owned_by\":");
    gw_buf_append_json(out, owned_by);
    gw_buf_append_c(out, "}");
}

/* Anthropic's list is one of pages; ours is one page, whatever `limit` says. */
static void append_page(gw_buf *out, gw_str first, gw_str last)
{
    gw_buf_append_c(out, "],\"has_more\":false,\"first_id\":");
    if (first.ptr)
        gw_buf_append_json(out, first);
    else
        gw_buf_append_c(out, "null");
    gw_buf_append_c(out, ",\"last_id\":");
    if (last.ptr)
        gw_buf_append_json(out, last);
    else
        gw_buf_append_c(out, "null");
    gw_buf_append_char(out, '}');
}

static size_t names_of(relay_request *r, const listed_model **ret)
{
    const provider_models *said = NULL;
    size_t said_count = model_catalog_said(r->core->catalog, r->arena, &said);

    return r->config ? model_names(r->config, said, said_count, r->arena, ret) : 0;
}

static relay_stage list_models(relay_request *r)
{
    gw_auto_buf out = {0};
    const listed_model *models = NULL;
    size_t n = names_of(r, &models);
    bool is_anthropic = r->call.dialect == DIALECT_ANTHROPIC;
    gw_str first = GW_STR_NULL, last = GW_STR_NULL;

    gw_buf_append_c(&out, is_anthropic ? "{\"data\":[" : "{\"object\":\"list\",\"data\":[");
    for (size_t i = 0; i < n; i++) {
        if (key_policy_check_model(r->policy, models[i].id, NULL) != GW_OK)
            continue;
        gw_buf_append_c(&out, first.ptr ? "," : "");
        append_model(r, &out, models[i].id, models[i].owned_by);
        first = first.ptr ? first : models[i].id;
        last = models[i].id;
    }
    if (is_anthropic)
        append_page(&out, first, last);
    else
        gw_buf_append_c(&out, "]}");
    return answer(r, &out);
}

static gw_str owner_of(relay_request *r, const model_route *route, gw_str id)
{
    const listed_model *models = NULL;
    size_t n = names_of(r, &models);

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
    append_model(r, &out, id, owner_of(r, r->route, id));
    r->route = NULL; /* nothing is routed: the event names none */
    return answer(r, &out);
}

/* ---- the stage ---- */

relay_stage local_answer_enter(relay_request *r)
{
    switch (r->call.endpoint) {
    case ENDPOINT_MODELS:
        return list_models(r);
    case ENDPOINT_MODEL:
        return get_model(r);
    default:
        return own_usage_enter(r);
    }
}

relay_stage local_answer_resume(relay_request *r)
{
    return own_usage_resume(r); /* the others have nothing to wait for */
}
