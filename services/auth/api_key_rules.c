#include "api_key_rules.h"

#include "access/key_format.h"
#include "core/id.h"
#include "core/net.h"
#include "core/url.h"
#include "core/utf8.h"
#include "messages.h"
#include "money.h"

#include <ctype.h>
#include <math.h>
#include <stdio.h>

#define NAME_MAX_CHARS     200
#define ITEMS_MAX          100
#define MODEL_MAX_BYTES    256
#define ENDPOINT_MAX_BYTES 256
#define TTL_MAX_S          2592000
#define RULE_COUNT_MAX     1000
#define RULE_WINDOW_MAX_S  86400
#define LIBRECHAT_KEY_MIN  35 /* LibreChat's have 67 */
#define LIBRECHAT_KEY_MAX  256
#define AGE_MAX_DAYS       3650
#define PER_MINUTE_MAX                                                                             \
    100000000LL /* what the relay's bucket counts: a higher limit would be held at this */
#define COUNT_MAX 1000000000000000LL /* 1e15: sums of limits never overflow */

bool api_key_id_is_valid(gw_str id)
{
    gw_object_id ignored;
    return gw_object_id_parse(id, &ignored);
}

static size_t count_chars(gw_str s)
{
    size_t n = 0;
    for (size_t i = 0; i < s.len; i++)
        n += ((unsigned char)s.ptr[i] & 0xc0) != 0x80;
    return n;
}

static bool is_printable_ascii(gw_str s)
{
    for (size_t i = 0; i < s.len; i++) {
        if (s.ptr[i] <= ' ' || s.ptr[i] > '~')
            return false;
    }
    return true;
}

bool api_key_client_id_is_valid(gw_str id)
{
    return id.len <= CLIENT_ID_MAX_BYTES && is_printable_ascii(id);
}

static void check_identity(const api_key_view *k, gw_violations *v)
{
    gw_str name = gw_str_of(k->name);
    size_t chars = count_chars(name);
    if (chars == 0 || chars > NAME_MAX_CHARS)
        gw_violations_add(v, "name", "must have 1-%d characters", NAME_MAX_CHARS);
    else if (!gw_str_is_label(name))
        gw_violations_add(v, "name", "must be text, " GW_LABEL_RULE);
    if (*k->user_id && !api_key_id_is_valid(gw_str_of(k->user_id)))
        gw_violations_add(v, "userId", "must be 24 hex digits");
    if (!api_key_client_id_is_valid(gw_str_of(k->client_id)))
        gw_violations_add(v, "clientId", "must be at most %d printable characters without spaces",
                          CLIENT_ID_MAX_BYTES);
    if (!gw_key_env_is_valid(gw_str_of(k->env)))
        gw_violations_add(v, "env", "must match [a-z][a-z0-9]{1,9}");
}

typedef const char *(*item_rule)(gw_str item); /* what is allowed, NULL when fine */

static void check_items(const char *path, char **items, size_t n, item_rule rule, gw_violations *v)
{
    if (n > ITEMS_MAX)
        gw_violations_add(v, path, "at most %d items", ITEMS_MAX);
    for (size_t i = 0; i < n && i < ITEMS_MAX; i++) {
        const char *allowed = rule(gw_str_of(items[i]));
        if (!allowed)
            continue;
        char item_path[96];
        snprintf(item_path, sizeof(item_path), "%s[%zu]", path, i);
        gw_violations_add(v, item_path, "must be %s", allowed);
    }
}

static const char *model_rule(gw_str s)
{
    bool ok = s.len > 0 && s.len <= MODEL_MAX_BYTES && is_printable_ascii(s);
    return ok ? NULL : "a model name or glob of 1-256 printable characters";
}

static const char *endpoint_rule(gw_str s)
{
    bool ok = gw_str_starts_with(s, GW_STR("/v1/")) && s.len > 4 && s.len <= ENDPOINT_MAX_BYTES &&
              is_printable_ascii(s) && gw_str_find(s, '?') < 0 && gw_str_find(s, '#') < 0;
    return ok ? NULL : "a path that starts with /v1/";
}

static const char *address_rule(gw_str s)
{
    gw_cidr ignored;
    return gw_cidr_parse(s, &ignored) ? NULL
                                      : "an address or CIDR block without bits below the prefix";
}

static const char *origin_rule(gw_str s)
{
    return gw_origin_is_valid(s) ? NULL
                                 : "an origin as a browser sends it, as https://app.example or "
                                   "http://localhost:3000: no path, no *, no port that is the "
                                   "scheme's own";
}

static void check_permissions(const Apirelay__Auth__V1__KeyPermissions *p, gw_violations *v)
{
    if (!p)
        return;
    check_items("permissions.models", p->models, p->n_models, model_rule, v);
    check_items("permissions.endpoints", p->endpoints, p->n_endpoints, endpoint_rule, v);
    if (p->max_tokens_presence_case && (p->max_tokens <= 0 || p->max_tokens > COUNT_MAX))
        gw_violations_add(v, "permissions.maxTokens", "must be 1-%lld", COUNT_MAX);
}

static void check_count(const char *path, bool present, int64_t n, int64_t most, gw_violations *v)
{
    if (present && n == 0)
        gw_violations_add(v, path, "must be over 0; to stop a key, suspend the key");
    else if (present && (n < 0 || n > most))
        gw_violations_add(v, path, "must be 1-%lld", (long long)most);
}

void api_key_check_limits(const Apirelay__Auth__V1__KeyLimits *l, gw_violations *v)
{
    if (!l)
        return;
    check_count("limits.requestsPerMinute", l->requests_per_minute_presence_case,
                l->requests_per_minute, PER_MINUTE_MAX, v);
    check_count("limits.requestsPerDay", l->requests_per_day_presence_case, l->requests_per_day,
                COUNT_MAX, v);
    check_count("limits.tokensPerDay", l->tokens_per_day_presence_case, l->tokens_per_day,
                COUNT_MAX, v);
    check_count("limits.tokensPerMonth", l->tokens_per_month_presence_case, l->tokens_per_month,
                COUNT_MAX, v);
    check_count("limits.requestsInFlight", l->requests_in_flight_presence_case,
                l->requests_in_flight, COUNT_MAX, v);
}

static void check_rule(const char *path, const Apirelay__Auth__V1__KeyAutoSuspendRule *r,
                       gw_violations *v)
{
    char field[96];
    if (!r)
        return;
    if (r->count < 1 || r->count > RULE_COUNT_MAX) {
        snprintf(field, sizeof(field), "%s.count", path);
        gw_violations_add(v, field, "must be 1-%d", RULE_COUNT_MAX);
    }
    if (r->window_seconds < 1 || r->window_seconds > RULE_WINDOW_MAX_S) {
        snprintf(field, sizeof(field), "%s.windowSeconds", path);
        gw_violations_add(v, field, "must be 1-%d", RULE_WINDOW_MAX_S);
    }
}

static void check_security(const Apirelay__Auth__V1__KeySecurity *s, gw_violations *v)
{
    if (!s)
        return;
    check_items("security.ipWhitelist", s->ip_whitelist, s->n_ip_whitelist, address_rule, v);
    check_items("security.domains", s->domains, s->n_domains, origin_rule, v);
    if (!s->auto_suspend)
        return;
    check_rule("security.autoSuspend.limitExceeded", s->auto_suspend->limit_exceeded, v);
    check_rule("security.autoSuspend.badSignatures", s->auto_suspend->bad_signatures, v);
}

void api_key_pair_cost_limit(Apirelay__Auth__V1__KeyLimits *l, gw_violations *v)
{
    if (!l)
        return;
    bool usd_given = l->cost_limit_presence_case;
    bool nano_given = l->cost_limit_nano_usd_presence_case;
    int64_t nano = l->cost_limit_nano_usd;
    if (usd_given && !money_nano_of_usd(l->cost_limit, &nano)) {
        gw_violations_add(v, "limits.costLimit", "must be USD over 0, at most " USD_MAX_TEXT);
        return;
    }
    if (usd_given && nano == 0) {
        gw_violations_add(v, "limits.costLimit",
                          "must be at least a nano-USD; to stop a key, suspend the key");
        return;
    }
    if (nano_given && (l->cost_limit_nano_usd <= 0 || l->cost_limit_nano_usd > NANO_USD_MAX)) {
        gw_violations_add(v, "limits.costLimitNanoUsd",
                          "must be 1-%lld; to stop a key, suspend the key", NANO_USD_MAX);
        return;
    }
    /* From 2^22 USD on the double of a stored pair is not exact to the nano, yet writing it back is no mistake. */
    if (usd_given && nano_given && nano != l->cost_limit_nano_usd &&
        money_usd_of_nano(l->cost_limit_nano_usd) != l->cost_limit) {
        gw_violations_add(v, "limits.costLimit", "is not limits.costLimitNanoUsd in USD");
        return;
    }
    if (nano_given)
        nano = l->cost_limit_nano_usd;
    if (!usd_given && !nano_given)
        return;
    l->cost_limit_nano_usd_presence_case =
        APIRELAY__AUTH__V1__KEY_LIMITS__COST_LIMIT_NANO_USD_PRESENCE_COST_LIMIT_NANO_USD;
    l->cost_limit_nano_usd = nano;
    l->cost_limit_presence_case = APIRELAY__AUTH__V1__KEY_LIMITS__COST_LIMIT_PRESENCE_COST_LIMIT;
    l->cost_limit = money_usd_of_nano(nano);
}

static void check_one_of(const char *path, const char *value, const char *allowed, gw_violations *v)
{
    gw_str rest = gw_str_of(allowed), part;
    while (gw_str_split(&rest, '|', &part)) {
        if (gw_str_eq_c(part, value))
            return;
    }
    gw_violations_add(v, path, "must be one of %s", allowed);
}

void api_key_check(const api_key_view *k, gw_violations *v)
{
    check_identity(k, v);
    check_permissions(k->permissions, v);
    api_key_check_limits(k->limits, v);
    check_security(k->security, v);
    check_one_of("onDisconnect", k->on_disconnect, "close|drain", v);
    if (k->client)
        check_one_of("client.kind", k->client->kind, "app|librechat|trusted", v);
    if (k->cache && k->cache->ttl_seconds_presence_case &&
        (k->cache->ttl_seconds < 1 || k->cache->ttl_seconds > TTL_MAX_S))
        gw_violations_add(v, "cache.ttlSeconds", "must be 1-%d", TTL_MAX_S);
    if (k->max_age_days_presence_case && (k->max_age_days < 1 || k->max_age_days > AGE_MAX_DAYS))
        gw_violations_add(v, "maxAgeDays", "must be 1-%d", AGE_MAX_DAYS);
    /* Nobody could sign, so each request would be refused. */
    if (k->signing && k->signing->required && !k->signing->configured)
        gw_violations_add(v, "signing.required", "the key has no signing secret");
}

void api_key_check_librechat(gw_str origin, gw_str key, gw_violations *v)
{
    bool is_key = key.len >= LIBRECHAT_KEY_MIN && key.len <= LIBRECHAT_KEY_MAX &&
                  gw_str_starts_with(key, GW_STR("sk-"));
    for (size_t i = 3; is_key && i < key.len; i++)
        is_key = isalnum((unsigned char)key.ptr[i]) || key.ptr[i] == '-' || key.ptr[i] == '_';
    const char *allowed = origin_rule(origin);
    if (allowed)
        gw_violations_add(v, "origin", "must be %s", allowed);
    if (!is_key)
        gw_violations_add(v, "key",
                          "must be a key as LibreChat makes it: \"sk-\" and then letters and "
                          "digits, %d to %d bytes in all",
                          LIBRECHAT_KEY_MIN, LIBRECHAT_KEY_MAX);
}

void api_key_check_expiry_is_ahead(const api_key_view *k, int64_t now_ms, gw_violations *v)
{
    const Google__Protobuf__Timestamp *t = k->security ? k->security->expires_at : NULL;
    if (t && !message_time_is_valid(t))
        gw_violations_add(v, "security.expiresAt", "must be a time in the years 1 to 9999");
    else if (t && message_time_ms(t) <= now_ms)
        gw_violations_add(v, "security.expiresAt", "must be in the future");
}
