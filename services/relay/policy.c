#include "policy.h"

#include "core/clock.h"
#include "core/id.h"
#include "core/pattern.h"
#include "core/url.h"

#include <assert.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

static gw_str str_of(const char *text)
{
    return gw_str_of(text ? text : "");
}

static gw_status read_addresses(key_policy *p, gw_error *err)
{
    const Apirelay__Auth__V1__KeySecurity *security = p->message->security;
    size_t count = security ? security->n_ip_whitelist : 0;
    if (count == 0)
        return GW_OK;
    p->allowed_addresses = calloc(count, sizeof(gw_cidr));
    if (!p->allowed_addresses)
        return gw_fail(err, GW_ERR_NO_MEMORY, "no memory for the address list of a key");
    for (size_t i = 0; i < count; i++) {
        if (!gw_cidr_parse(gw_str_of(security->ip_whitelist[i]), &p->allowed_addresses[i]))
            return gw_fail_field(err, GW_ERR_INVALID_ARGUMENT, "security.ipWhitelist",
                                 "key %s has an address block that is none", p->message->key_id);
    }
    p->allowed_address_count = count;
    return GW_OK;
}

/* What is beyond is no limit that could be reached. */
static int64_t bounded(int64_t limit)
{
    return GW_MIN(GW_MAX(limit, 0), LEDGER_UNLIMITED);
}

static int64_t cost_limit_of(const Apirelay__Auth__V1__KeyLimits *l)
{
    if (l->cost_limit_nano_usd_presence_case)
        return bounded(l->cost_limit_nano_usd);
    if (!l->cost_limit_presence_case || l->cost_limit * 1e9 >= (double)LEDGER_UNLIMITED)
        return LEDGER_UNLIMITED;
    return bounded(llround(l->cost_limit * 1e9));
}

/* Unlimited where nothing is said. */
static ledger_limits limits_of(const Apirelay__Auth__V1__KeyLimits *l, int64_t generation)
{
    ledger_limits ret = {.generation = generation};
    int64_t *w = ret.window.of;

    for (int d = 0; d < LEDGER_WINDOWS; d++)
        w[d] = LEDGER_UNLIMITED;
    if (l->requests_per_minute_presence_case)
        ret.per_minute = GW_MIN(GW_MAX(l->requests_per_minute, 1), LEDGER_PER_MINUTE_MAX);
    if (l->requests_in_flight_presence_case)
        ret.in_flight = GW_MAX(bounded(l->requests_in_flight), 1);
    if (l->requests_per_day_presence_case)
        w[LEDGER_REQUESTS_DAY] = bounded(l->requests_per_day);
    if (l->tokens_per_day_presence_case)
        w[LEDGER_TOKENS_DAY] = bounded(l->tokens_per_day);
    if (l->tokens_per_month_presence_case)
        w[LEDGER_TOKENS_MONTH] = bounded(l->tokens_per_month);
    w[LEDGER_COST_MONTH] = cost_limit_of(l);
    return ret;
}

/* An account, if there is a limit to keep. */
static gw_status add_ledger(key_policy *p, ledger_level level, char kind, gw_str id,
                            const Apirelay__Auth__V1__KeyLimits *l, int64_t generation,
                            gw_error *err)
{
    ledger_account *a = &p->ledgers[p->ledger_count];

    if (!l)
        return GW_OK;
    a->level = level;
    a->limits = limits_of(l, generation);
    if (!ledger_has_limit(&a->limits))
        return GW_OK;
    int len = snprintf(a->subject, sizeof(a->subject), "%c:" GW_STR_FMT, kind, GW_STR_ARG(id));
    if (id.len == 0 || (size_t)len >= sizeof(a->subject)) /* two of them would be one ledger */
        return gw_fail_field(
            err, GW_ERR_INVALID_ARGUMENT, level == LEDGER_OF_CLIENT ? "clientId" : "userId",
            "key %s has limits of nobody, or of a name that is too long", p->message->key_id);
    p->ledger_count++;
    p->has_budget = p->has_budget || a->limits.window.of[LEDGER_COST_MONTH] < LEDGER_UNLIMITED;
    return GW_OK;
}

static gw_status read_limits(key_policy *p, gw_error *err)
{
    const Apirelay__Auth__V1__KeyPolicy *m = p->message;
    const Apirelay__Auth__V1__SharedLimits *client = m->client_limits, *owner = m->owner_limits;

    if (!m->limits && !client && !owner)
        return GW_OK;
    p->ledgers = calloc(LEDGER_LEVELS, sizeof(*p->ledgers));
    if (!p->ledgers)
        return gw_fail(err, GW_ERR_NO_MEMORY, "no memory for the limits of a key");
    gw_status rc = add_ledger(p, LEDGER_OF_KEY, 'k', p->api_key_id, m->limits, p->generation, err);
    if (rc == GW_OK && client)
        rc = add_ledger(p, LEDGER_OF_CLIENT, 'c', str_of(m->client_id), client->limits,
                        client->generation, err);
    if (rc == GW_OK && owner)
        rc = add_ledger(p, LEDGER_OF_OWNER, 'o', str_of(m->user_id), owner->limits,
                        owner->generation, err);
    return rc;
}

/* Half of it would send what is the user's on somebody else's account. */
static gw_status check_librechat(const key_policy *p, gw_error *err)
{
    bool has_key = p->message->librechat_key_sealed.len > 0;

    if (p->librechat_origin.len > 0 ? has_key && gw_origin_is_valid(p->librechat_origin) : !has_key)
        return GW_OK;
    return gw_fail_field(err, GW_ERR_INVALID_ARGUMENT, "librechatOrigin",
                         "key %s has a LibreChat key without an origin, or an origin without one",
                         p->message->key_id);
}

gw_status key_policy_new(Apirelay__Auth__V1__KeyPolicy *m, key_policy **ret, gw_error *err)
{
    key_policy *p = calloc(1, sizeof(*p));
    if (!p) {
        apirelay__auth__v1__key_policy__free_unpacked(m, NULL);
        return gw_fail(err, GW_ERR_NO_MEMORY, "no memory for the policy of a key");
    }
    gw_str kind = str_of(m->client_kind);
    p->references = 1;
    p->message = m;
    p->key_id = str_of(m->key_id);
    p->api_key_id = str_of(m->api_key_id);
    p->generation = m->generation;
    p->expires_at_ms = INT64_MAX;
    if (m->expires_at)
        p->expires_at_ms = m->expires_at->seconds * GW_MS_PER_S + m->expires_at->nanos / 1000000;
    p->is_librechat = gw_str_eq(kind, GW_STR("librechat"));
    p->is_trusted = p->is_librechat || gw_str_eq(kind, GW_STR("trusted"));
    p->signs = m->signing_required || m->signing_secret_sealed.len > 0;
    p->librechat_origin = str_of(m->librechat_origin);
    p->drain_on_disconnect = gw_str_eq_c(str_of(m->on_disconnect), "drain");

    gw_object_id id;
    gw_status rc = GW_OK;
    if (!gw_object_id_parse(p->api_key_id, &id))
        rc = gw_fail_field(err, GW_ERR_INVALID_ARGUMENT, "apiKeyId",
                           "key %s has an id that is not 24 hex digits", m->key_id);
    else
        memcpy(p->api_key_oid, id.bytes, sizeof(id.bytes));
    p->has_user_oid = gw_object_id_parse(str_of(m->user_id), &id);
    if (p->has_user_oid)
        memcpy(p->user_oid, id.bytes, sizeof(id.bytes));
    if (rc == GW_OK)
        rc = check_librechat(p, err);
    if (rc == GW_OK)
        rc = read_addresses(p, err);
    if (rc == GW_OK)
        rc = read_limits(p, err);
    if (rc != GW_OK) {
        key_policy_unref(p);
        return rc;
    }
    *ret = p;
    return GW_OK;
}

key_policy *key_policy_ref(key_policy *p)
{
    p->references++;
    return p;
}

void key_policy_unref(key_policy *p)
{
    if (!p)
        return;
    assert(p->references > 0);
    if (--p->references > 0)
        return;
    /* The message is const for readers only; the policy owns it. */
    union {
        const Apirelay__Auth__V1__KeyPolicy *read;
        Apirelay__Auth__V1__KeyPolicy *own;
    } message = {.read = p->message};
    apirelay__auth__v1__key_policy__free_unpacked(message.own, NULL);
    free(p->allowed_addresses);
    free(p->ledgers);
    free(p);
}

gw_status key_policy_check_state(const key_policy *p, int64_t now_wall_ms, gw_error *err)
{
    gw_str status = str_of(p->message->status);
    if (gw_str_eq(status, GW_STR("suspended")))
        return gw_fail(err, GW_ERR_KEY_SUSPENDED, "this API key is suspended");
    if (!gw_str_eq(status, GW_STR("active")))
        return gw_fail(err, GW_ERR_KEY_INVALID, "this API key has been revoked");
    if (now_wall_ms >= p->expires_at_ms)
        return gw_fail(err, GW_ERR_KEY_INVALID, "this API key has expired");
    return GW_OK;
}

gw_status key_policy_check_address(const key_policy *p, const gw_ip *client, gw_error *err)
{
    if (p->allowed_address_count == 0 ||
        gw_cidr_any_contains(p->allowed_addresses, p->allowed_address_count, client))
        return GW_OK;
    char text[GW_IP_TEXT_SIZE];
    gw_ip_format(client, text);
    return gw_fail(err, GW_ERR_PERMISSION_DENIED,
                   "this API key may not be used from %s (security.ipWhitelist)", text);
}

static bool any_glob_matches(char **patterns, size_t count, gw_str text)
{
    for (size_t i = 0; i < count; i++) {
        if (gw_glob_match(gw_str_of(patterns[i]), text))
            return true;
    }
    return false;
}

gw_status key_policy_check_endpoint(const key_policy *p, gw_str path, gw_error *err)
{
    const Apirelay__Auth__V1__KeyPermissions *allowed = p->message->permissions;
    if (!allowed || allowed->n_endpoints == 0 ||
        any_glob_matches(allowed->endpoints, allowed->n_endpoints, path))
        return GW_OK;
    return gw_fail(err, GW_ERR_PERMISSION_DENIED,
                   "this API key may not call " GW_STR_FMT " (permissions.endpoints)",
                   GW_STR_ARG(gw_str_slice(path, 0, 100)));
}

bool key_policy_allows_model(const key_policy *p, gw_str model)
{
    const Apirelay__Auth__V1__KeyPermissions *allowed = p->message->permissions;
    return !allowed || allowed->n_models == 0 ||
           any_glob_matches(allowed->models, allowed->n_models, model);
}

gw_status key_policy_check_model(const key_policy *p, gw_str model, gw_error *err)
{
    if (key_policy_allows_model(p, model))
        return GW_OK;
    return gw_fail_field(err, GW_ERR_MODEL_NOT_FOUND, "model",
                         "The model `" GW_STR_FMT
                         "` does not exist or you do not have access to it.",
                         GW_STR_ARG(gw_str_slice(model, 0, 200)));
}

bool key_policy_allows_origin(const key_policy *p, gw_str origin)
{
    const Apirelay__Auth__V1__KeySecurity *security = p->message->security;
    for (size_t i = 0; security && i < security->n_domains; i++) {
        if (gw_str_eq_nocase(gw_str_of(security->domains[i]), origin))
            return true;
    }
    return false;
}

static gw_status lacks_feature(const char *feature, gw_error *err)
{
    return gw_fail(err, GW_ERR_PERMISSION_DENIED,
                   "this API key lacks the permission permissions.features.%s", feature);
}

static gw_status check_features(const Apirelay__Auth__V1__KeyFeatures *f, const request_needs *n,
                                gw_error *err)
{
    if (!f) /* absent = everything */
        return GW_OK;
    if (n->streaming &&
        f->streaming_presence_case ==
            APIRELAY__AUTH__V1__KEY_FEATURES__STREAMING_PRESENCE_STREAMING &&
        !f->streaming)
        return lacks_feature("streaming", err);
    if (n->function_calling &&
        f->function_calling_presence_case ==
            APIRELAY__AUTH__V1__KEY_FEATURES__FUNCTION_CALLING_PRESENCE_FUNCTION_CALLING &&
        !f->function_calling)
        return lacks_feature("functionCalling", err);
    if (n->vision &&
        f->vision_presence_case == APIRELAY__AUTH__V1__KEY_FEATURES__VISION_PRESENCE_VISION &&
        !f->vision)
        return lacks_feature("vision", err);
    return GW_OK;
}

int64_t key_policy_max_tokens(const key_policy *p)
{
    const Apirelay__Auth__V1__KeyPermissions *allowed = p->message->permissions;
    if (!allowed || allowed->max_tokens_presence_case !=
                        APIRELAY__AUTH__V1__KEY_PERMISSIONS__MAX_TOKENS_PRESENCE_MAX_TOKENS)
        return 0;
    return allowed->max_tokens;
}

/* They are neither allowed nor priced by anybody here: routes have several targets for that. */
static gw_status check_other_models(const key_policy *p, const request_needs *n, gw_error *err)
{
    const Apirelay__Auth__V1__KeyPermissions *allowed = p->message->permissions;
    bool is_bounded = p->has_budget || (allowed && allowed->n_models > 0);

    if (!n->other_models_field || !is_bounded)
        return GW_OK;
    return gw_fail_field(err, GW_ERR_UNSUPPORTED_PARAMETER, n->other_models_field,
                         "'%s' names models beside 'model', which is what this API key's models "
                         "and budget are checked on",
                         n->other_models_field);
}

gw_status key_policy_check_needs(const key_policy *p, const request_needs *n, gw_error *err)
{
    const Apirelay__Auth__V1__KeyPermissions *allowed = p->message->permissions;
    gw_status rc = check_features(allowed ? allowed->features : NULL, n, err);
    if (rc == GW_OK)
        rc = check_other_models(p, n, err);
    if (rc != GW_OK)
        return rc;
    int64_t limit = key_policy_max_tokens(p);
    if (limit > 0 && n->max_tokens > limit)
        return gw_fail_field(err, GW_ERR_MAX_TOKENS_EXCEEDED,
                             n->max_tokens_field ? n->max_tokens_field : "max_tokens",
                             "this API key may ask for at most %lld completion tokens "
                             "(permissions.maxTokens)",
                             (long long)limit);
    return GW_OK;
}
