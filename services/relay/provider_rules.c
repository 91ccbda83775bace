#include "rule_check.h"

#include "provider_kind.h"
#include "relay_config.h"

#include "core/url.h"

#include <ctype.h>

#define LISTED_MODELS_MAX  1000
#define TARGET_RETRIES_MAX 5
#define CREDENTIAL_ENV     "RELAY_CREDENTIAL_"

static bool is_env_name(gw_str s)
{
    if (!gw_str_starts_with(s, GW_STR(CREDENTIAL_ENV)) || s.len > 128)
        return false;
    for (size_t i = 0; i < s.len; i++) {
        if (!isupper((unsigned char)s.ptr[i]) && !isdigit((unsigned char)s.ptr[i]) &&
            s.ptr[i] != '_')
            return false;
    }
    return s.len > strlen(CREDENTIAL_ENV);
}

static void check_status(rule_check *c, const char *status)
{
    gw_str s = gw_str_of(status);
    if (s.len && !gw_str_eq_c(s, "active") && !gw_str_eq_c(s, "disabled"))
        rule_violation(c, "status", "must be \"active\" or \"disabled\"");
}

static void check_transport(rule_check *c, const char *transport)
{
    gw_str s = gw_str_of(transport);
    if (s.len && !gw_str_eq_c(s, "own") && !gw_str_eq_c(s, "curl"))
        rule_violation(c, "transport", "must be \"own\" or \"curl\"");
}

static void check_server_tools(rule_check *c, const provider_message *p)
{
    if (p->expose_server_tools && strcmp(p->kind, "librechat") != 0)
        rule_violation(c, "exposeServerTools", "is for kind \"librechat\", whose tools they are");
}

static void check_user_key(rule_check *c, const provider_message *p)
{
    if (p->require_user_key && strcmp(p->kind, "librechat") != 0)
        rule_violation(c, "requireUserKey", "is for kind \"librechat\", whose users they are");
}

static void check_sign_in(rule_check *c, const provider_message *p)
{
    if (p->sign_in_as_user && strcmp(p->kind, "librechat") != 0)
        rule_violation(c, "signInAsUser", "is for kind \"librechat\", whose users they are");
    else if (p->sign_in_as_user && p->require_user_key)
        rule_violation(
            c, "signInAsUser",
            "does not go with requireUserKey: users are signed in, or have keys of their own");
}

static void check_balance(rule_check *c, const provider_message *p)
{
    if (p->check_balance && strcmp(p->kind, "librechat") != 0)
        rule_violation(c, "checkBalance", "is for kind \"librechat\", whose balances they are");
}

static void check_base_url(rule_check *c, const char *text)
{
    gw_url url;
    gw_error why;
    if (gw_url_parse(gw_str_of(text), &url, &why) != GW_OK)
        rule_violation(c, "baseUrl", "is no URL: %.100s", why.message);
    else if (!gw_str_eq_c(url.scheme, "http") && !gw_str_eq_c(url.scheme, "https"))
        rule_violation(c, "baseUrl", "must begin with http:// or https://");
    else if (url.host.len == 0)
        rule_violation(c, "baseUrl", "has no host");
    else if (url.userinfo.len)
        rule_violation(c, "baseUrl", "may not hold a user name or password; use credential");
    else if (url.query.len)
        rule_violation(c, "baseUrl", "may not have a query");
}

static void check_reference(rule_check *c, const char *field, gw_str s)
{
    if (gw_str_starts_with(s, GW_STR("env:")) && is_env_name(gw_str_slice(s, 4, s.len)))
        return;
    if (gw_str_starts_with(s, GW_STR("file:")) &&
        rule_is_name(gw_str_slice(s, 5, s.len), NAME_MAX_LEN))
        return;
    rule_violation(c, field,
                   "must be \"env:" CREDENTIAL_ENV
                   "…\" or \"file:name\" (a-z, 0-9, -), never the credential itself");
}

static void check_credentials(rule_check *c, const provider_message *p)
{
    char field[48];
    if (*p->credential)
        check_reference(c, "credential", gw_str_of(p->credential));
    if (p->n_more_credentials > 0 && *p->credential == '\0')
        rule_violation(c, "credential", "must be given where moreCredentials are");
    if (p->n_more_credentials > CREDENTIALS_MAX - 1)
        rule_violation(c, "moreCredentials", "must be at most %d", CREDENTIALS_MAX - 1);
    for (size_t i = 0; i < p->n_more_credentials && i < CREDENTIALS_MAX; i++) {
        snprintf(field, sizeof(field), "moreCredentials[%zu]", i);
        check_reference(c, field, gw_str_of(p->more_credentials[i]));
    }
}

static void check_timeout(rule_check *c, const char *field, int64_t ms)
{
    if (ms < 0 || ms > PROVIDER_TIMEOUT_MAX_MS)
        rule_violation(c, field, "must be 0 (the default) to %lld ms", PROVIDER_TIMEOUT_MAX_MS);
}

gw_status note_check(const char *note, gw_error *err)
{
    rule_check c = {.path = "", .err = err};
    rule_check_note(&c, note);
    return c.rc;
}

gw_status provider_check(const provider_message *p, const char *path, gw_json_violations *v,
                         gw_error *err)
{
    rule_check c = {.path = path, .v = v, .err = err};
    provider_kind kind;
    if (!rule_is_name(gw_str_of(p->name), NAME_MAX_LEN))
        rule_violation(&c, "name", "must be 1-%d of a-z, 0-9 and -, not beginning with -",
                       NAME_MAX_LEN);
    if (!provider_kind_find(gw_str_of(p->kind), &kind))
        rule_violation(&c, "kind", "must be " PROVIDER_KIND_NAMES);
    check_base_url(&c, p->base_url);
    check_credentials(&c, p);
    check_status(&c, p->status);
    check_transport(&c, p->transport);
    check_server_tools(&c, p);
    check_user_key(&c, p);
    check_sign_in(&c, p);
    check_balance(&c, p);
    rule_check_note(&c, p->note);
    check_timeout(&c, "connectTimeoutMs", p->connect_timeout_ms);
    check_timeout(&c, "firstByteTimeoutMs", p->first_byte_timeout_ms);
    check_timeout(&c, "idleTimeoutMs", p->idle_timeout_ms);
    check_timeout(&c, "totalTimeoutMs", p->total_timeout_ms);
    if (p->max_connections < 0 || p->max_connections > 10000)
        rule_violation(&c, "maxConnections", "must be 0 (the default) to 10000");
    return c.rc;
}

static void check_target(rule_check *outer, size_t i, const Apirelay__Relay__V1__RouteTarget *t)
{
    char path[256];
    snprintf(path, sizeof(path), "%s%stargets[%zu]", outer->path, *outer->path ? "." : "", i);
    rule_check c = {.path = path, .v = outer->v, .err = outer->err, .rc = outer->rc};

    if (!rule_is_name(gw_str_of(t->provider), NAME_MAX_LEN))
        rule_violation(&c, "provider", "must be the name of a provider");
    if (*t->upstream_model && !rule_is_printable(gw_str_of(t->upstream_model), MODEL_MAX_LEN))
        rule_violation(&c, "upstreamModel", "must be at most %d printable bytes", MODEL_MAX_LEN);
    if (t->weight < 0 || t->weight > 1000)
        rule_violation(&c, "weight", "must be 0 to 1000");
    if (t->tier < 0 || t->tier > 15)
        rule_violation(&c, "tier", "must be 0 to 15");
    if (t->max_retries < 0 || t->max_retries > TARGET_RETRIES_MAX)
        rule_violation(&c, "maxRetries", "must be 0 to %d", TARGET_RETRIES_MAX);
    check_timeout(&c, "connectTimeoutMs", t->connect_timeout_ms);
    check_timeout(&c, "firstByteTimeoutMs", t->first_byte_timeout_ms);
    check_timeout(&c, "idleTimeoutMs", t->idle_timeout_ms);
    check_timeout(&c, "totalTimeoutMs", t->total_timeout_ms);
    outer->rc = c.rc;
}

static bool is_same_target(const Apirelay__Relay__V1__RouteTarget *a,
                           const Apirelay__Relay__V1__RouteTarget *b)
{
    return gw_str_eq(gw_str_of(a->provider), gw_str_of(b->provider)) &&
           gw_str_eq(gw_str_of(a->upstream_model), gw_str_of(b->upstream_model));
}

/* One place named twice would be asked again as if it were another one, and its weight is not what it seems. */
static void check_repeated(rule_check *c, const route_message *r, size_t i)
{
    char field[64];
    for (size_t k = 0; k < i; k++) {
        if (!is_same_target(r->targets[k], r->targets[i]))
            continue;
        snprintf(field, sizeof(field), "targets[%zu]", i);
        rule_violation(c, field, "must not name the provider and model of targets[%zu] again", k);
        return;
    }
}

static void check_targets(rule_check *c, const route_message *r)
{
    if (r->n_targets < 1 || r->n_targets > ROUTE_TARGETS_MAX) {
        rule_violation(c, "targets", "must name 1 to %d targets", ROUTE_TARGETS_MAX);
        return;
    }
    for (size_t i = 0; i < r->n_targets; i++) {
        check_target(c, i, r->targets[i]);
        check_repeated(c, r, i);
    }
}

static void check_unsupported_params(rule_check *c, const char *text)
{
    gw_str s = gw_str_of(text);
    if (s.len && !gw_str_eq_c(s, "refuse") && !gw_str_eq_c(s, "drop"))
        rule_violation(c, "unsupportedParams", "must be \"refuse\" or \"drop\"");
}

gw_status route_check(const route_message *r, const char *path, gw_json_violations *v,
                      gw_error *err)
{
    rule_check c = {.path = path, .v = v, .err = err};
    if (!rule_is_printable(gw_str_of(r->model), MODEL_MAX_LEN))
        rule_violation(&c, "model", "must be a model name or pattern of 1-%d printable bytes",
                       MODEL_MAX_LEN);
    check_targets(&c, r);
    rule_check_tokens(&c, "defaultMaxOutputTokens", r->default_max_output_tokens);
    rule_check_tokens(&c, "maxOutputTokens", r->max_output_tokens);
    rule_check_note(&c, r->note);
    if (r->n_listed_models > LISTED_MODELS_MAX)
        rule_violation(&c, "listedModels", "must be at most %d names", LISTED_MODELS_MAX);
    for (size_t i = 0; i < r->n_listed_models; i++) {
        char name[48];
        snprintf(name, sizeof(name), "listedModels[%zu]", i);
        if (!rule_is_printable(gw_str_of(r->listed_models[i]), MODEL_MAX_LEN))
            rule_violation(&c, name, "must be 1-%d printable bytes", MODEL_MAX_LEN);
    }
    if (*r->owned_by && !rule_is_printable(gw_str_of(r->owned_by), NAME_MAX_LEN))
        rule_violation(&c, "ownedBy", "must be at most %d printable bytes", NAME_MAX_LEN);
    check_status(&c, r->status);
    check_unsupported_params(&c, r->unsupported_params);
    return c.rc;
}

bool provider_origin_changed(const provider_message *before, const provider_message *after)
{
    gw_url a, b;
    if (gw_url_parse(gw_str_of(before->base_url), &a, NULL) != GW_OK ||
        gw_url_parse(gw_str_of(after->base_url), &b, NULL) != GW_OK)
        return true;
    return !gw_str_eq(a.scheme, b.scheme) || !gw_str_eq_nocase(a.host, b.host) || a.port != b.port;
}
