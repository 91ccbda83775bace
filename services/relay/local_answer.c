/* FORWARD of the endpoints that no provider answers: models come from the configuration and what providers were asked before (a user's LibreChat: may be asked now), usage from elsewhere (own_usage.c). */
#include "relay_request_internal.h"

#include "user_key.h"

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

/* ---- models of users ---- */

static void on_list(void *arg)
{
    relay_request *r = arg;

    r->list_wait = NULL;
    r->operations--;
    relay_request_wake(r);
}

/* The key's user is asked for, not the provider's own credential; or it is nobody's who has no key of his own. */
static bool is_for_users(const relay_request *r, gw_str provider)
{
    for (size_t i = 0; i < r->config->provider_count; i++) {
        const provider_config *p = &r->config->providers[i];
        if (gw_str_eq(p->name, provider))
            return p->requires_user_key || user_is_asked_for(r->policy, p);
    }
    return false;
}

/* What the user may use of `p`, behind what is there; false while that is asked. */
static bool add_users(relay_request *r, const provider_config *p, provider_models *said,
                      size_t *count)
{
    user_question question = {r->policy, r->core->master_keys, r->config, p, GW_STR("")};
    user_list_wait *wait = gw_arena_new_of(r->arena, user_list_wait);

    if (!wait)
        return true;
    if (user_is_signed_in(p)) {
        user_token_answer answer = relay_request_find_user_token(r, p, &question.token);
        if (answer != USER_TOKEN_IS_GIVEN)
            return answer != USER_TOKEN_WAITS; /* who has none may use nothing there */
    }
    *wait = (user_list_wait){.done = on_list, .arg = r};
    switch (user_catalog_find(r->core->users, &question, r->arena, &said[*count], wait)) {
    case USER_LIST_KNOWN:
        (*count)++;
        return true;
    case USER_LIST_UNKNOWN:
        return true;
    case USER_LIST_ASKED:
        break;
    }
    r->list_wait = wait;
    r->operations++;
    return false;
}

/* What the providers said, those with the user's own key as they said it to him. False while one is asked. */
static bool gather(relay_request *r, const provider_models **ret, size_t *ret_count)
{
    const provider_models *of_all = NULL;
    size_t all = model_catalog_said(r->core->catalog, r->arena, &of_all), count = 0;
    provider_models *said =
        gw_arena_array(r->arena, provider_models, all + r->config->provider_count + 1);

    for (size_t i = 0; said && i < all; i++)
        if (!is_for_users(r, of_all[i].provider))
            said[count++] = of_all[i];
    for (size_t i = 0; said && i < r->config->provider_count; i++) {
        const provider_config *p = &r->config->providers[i];
        if (user_is_asked_for(r->policy, p) && !p->unusable && model_names_need(r->config, p) &&
            !add_users(r, p, said, &count))
            return false;
    }
    *ret = said;
    *ret_count = count;
    return true;
}

/* ---- the list ---- */

/* A request for it would be let in: its name is the key's, and a target of its route. */
static bool is_of_key(const relay_request *r, gw_str id)
{
    const model_route *route = relay_config_route(r->config, id);

    return route && key_policy_allows_model(r->policy, id) && relay_request_may_use(r, route);
}

static relay_stage list_models(relay_request *r)
{
    gw_auto_buf out = {0};
    const provider_models *said = NULL;
    const listed_model *models = NULL;
    size_t said_count = 0;
    if (r->config && !gather(r, &said, &said_count))
        return STAGE_FORWARD;
    size_t n = r->config ? model_names(r->config, said, said_count, r->arena, &models) : 0;
    bool is_anthropic = r->call.dialect == DIALECT_ANTHROPIC;
    gw_str first = GW_STR_NULL, last = GW_STR_NULL;

    gw_buf_append_c(&out, is_anthropic ? "{\"data\":[" : "{\"object\":\"list\",\"data\":[");
    for (size_t i = 0; i < n; i++) {
        if (!is_of_key(r, models[i].id))
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
    if (!r->route || !relay_request_may_use(r, r->route)) {
        r->route = NULL;
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
    if (r->call.endpoint == ENDPOINT_USAGE)
        return own_usage_resume(r);
    return r->list_wait ? STAGE_FORWARD : list_models(r);
}
