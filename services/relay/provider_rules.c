#include "provider_rules.h"

#include "provider_kind.h"
#include "relay_config.h"

#include "core/map.h"
#include "core/url.h"

#include <ctype.h>

#define NAME_MAX_LEN       63
#define MODEL_MAX_LEN      256
#define VERSION_MAX_LEN    64
#define NOTE_MAX_LEN       500
#define EFFECTIVE_MAX_S    4102444800 /* the year 2100 */
#define LISTED_MODELS_MAX  1000
#define PRICES_MAX         10000
#define TARGET_RETRIES_MAX 5
#define CREDENTIAL_ENV     "RELAY_CREDENTIAL_"

/* One check in progress: where it stands and what it found. */
typedef struct check {
    const char *path;
    gw_json_violations *v;
    gw_error *err;
    gw_status rc;
} check;

static void violation(check *c, const char *field, const char *format, ...) GW_PRINTF(3, 4);
static void violation(check *c, const char *field, const char *format, ...)
{
    gw_json_violation item;
    va_list args;
    snprintf(item.field, sizeof(item.field), "%s%s%s", c->path, *c->path ? "." : "", field);
    va_start(args, format);
    vsnprintf(item.description, sizeof(item.description), format, args);
    va_end(args);
    if (c->rc == GW_OK)
        c->rc = gw_fail_field(c->err, GW_ERR_INVALID_ARGUMENT, item.field, "%s", item.description);
    else if (c->v && c->v->count < GW_ARRAY_LEN(c->v->items))
        c->v->items[c->v->count++] = item;
}

static bool is_printable(gw_str s, size_t max)
{
    return s.len >= 1 && s.len <= max && !gw_str_has_control(s) && gw_str_is_utf8(s);
}

/* [a-z0-9][a-z0-9-]* within `max` bytes. */
static bool is_name(gw_str s, size_t max)
{
    if (s.len < 1 || s.len > max || s.ptr[0] == '-')
        return false;
    for (size_t i = 0; i < s.len; i++) {
        if (!islower((unsigned char)s.ptr[i]) && !isdigit((unsigned char)s.ptr[i]) &&
            s.ptr[i] != '-')
            return false;
    }
    return true;
}

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

static void check_status(check *c, const char *status)
{
    gw_str s = gw_str_of(status);
    if (s.len && !gw_str_eq_c(s, "active") && !gw_str_eq_c(s, "disabled"))
        violation(c, "status", "must be \"active\" or \"disabled\"");
}

static void check_transport(check *c, const char *transport)
{
    gw_str s = gw_str_of(transport);
    if (s.len && !gw_str_eq_c(s, "own") && !gw_str_eq_c(s, "curl"))
        violation(c, "transport", "must be \"own\" or \"curl\"");
}

static void check_server_tools(check *c, const provider_message *p)
{
    if (p->expose_server_tools && strcmp(p->kind, "librechat") != 0)
        violation(c, "exposeServerTools", "is for kind \"librechat\", whose tools they are");
}

static void check_user_key(check *c, const provider_message *p)
{
    if (p->require_user_key && strcmp(p->kind, "librechat") != 0)
        violation(c, "requireUserKey", "is for kind \"librechat\", whose users they are");
}

static void check_sign_in(check *c, const provider_message *p)
{
    if (p->sign_in_as_user && strcmp(p->kind, "librechat") != 0)
        violation(c, "signInAsUser", "is for kind \"librechat\", whose users they are");
    else if (p->sign_in_as_user && p->require_user_key)
        violation(
            c, "signInAsUser",
            "does not go with requireUserKey: users are signed in, or have keys of their own");
}

static void check_balance(check *c, const provider_message *p)
{
    if (p->check_balance && strcmp(p->kind, "librechat") != 0)
        violation(c, "checkBalance", "is for kind \"librechat\", whose balances they are");
}

static void check_base_url(check *c, const char *text)
{
    gw_url url;
    gw_error why;
    if (gw_url_parse(gw_str_of(text), &url, &why) != GW_OK)
        violation(c, "baseUrl", "is no URL: %.100s", why.message);
    else if (!gw_str_eq_c(url.scheme, "http") && !gw_str_eq_c(url.scheme, "https"))
        violation(c, "baseUrl", "must begin with http:// or https://");
    else if (url.host.len == 0)
        violation(c, "baseUrl", "has no host");
    else if (url.userinfo.len)
        violation(c, "baseUrl", "may not hold a user name or password; use credential");
    else if (url.query.len)
        violation(c, "baseUrl", "may not have a query");
}

static void check_reference(check *c, const char *field, gw_str s)
{
    if (gw_str_starts_with(s, GW_STR("env:")) && is_env_name(gw_str_slice(s, 4, s.len)))
        return;
    if (gw_str_starts_with(s, GW_STR("file:")) && is_name(gw_str_slice(s, 5, s.len), NAME_MAX_LEN))
        return;
    violation(c, field,
              "must be \"env:" CREDENTIAL_ENV
              "…\" or \"file:name\" (a-z, 0-9, -), never the credential itself");
}

static void check_credentials(check *c, const provider_message *p)
{
    char field[48];
    if (*p->credential)
        check_reference(c, "credential", gw_str_of(p->credential));
    if (p->n_more_credentials > 0 && *p->credential == '\0')
        violation(c, "credential", "must be given where moreCredentials are");
    if (p->n_more_credentials > CREDENTIALS_MAX - 1)
        violation(c, "moreCredentials", "must be at most %d", CREDENTIALS_MAX - 1);
    for (size_t i = 0; i < p->n_more_credentials && i < CREDENTIALS_MAX; i++) {
        snprintf(field, sizeof(field), "moreCredentials[%zu]", i);
        check_reference(c, field, gw_str_of(p->more_credentials[i]));
    }
}

static void check_timeout(check *c, const char *field, int64_t ms)
{
    if (ms < 0 || ms > PROVIDER_TIMEOUT_MAX_MS)
        violation(c, field, "must be 0 (the default) to %lld ms", PROVIDER_TIMEOUT_MAX_MS);
}

static void check_note(check *c, const char *note)
{
    if (strlen(note) > NOTE_MAX_LEN || gw_str_has_control(gw_str_of(note)))
        violation(c, "note", "must be at most %d bytes of text without control characters",
                  NOTE_MAX_LEN);
}

gw_status note_check(const char *note, gw_error *err)
{
    check c = {.path = "", .err = err};
    check_note(&c, note);
    return c.rc;
}

gw_status provider_check(const provider_message *p, const char *path, gw_json_violations *v,
                         gw_error *err)
{
    check c = {.path = path, .v = v, .err = err};
    provider_kind kind;
    if (!is_name(gw_str_of(p->name), NAME_MAX_LEN))
        violation(&c, "name", "must be 1-%d of a-z, 0-9 and -, not beginning with -", NAME_MAX_LEN);
    if (!provider_kind_find(gw_str_of(p->kind), &kind))
        violation(&c, "kind", "must be " PROVIDER_KIND_NAMES);
    check_base_url(&c, p->base_url);
    check_credentials(&c, p);
    check_status(&c, p->status);
    check_transport(&c, p->transport);
    check_server_tools(&c, p);
    check_user_key(&c, p);
    check_sign_in(&c, p);
    check_balance(&c, p);
    check_note(&c, p->note);
    check_timeout(&c, "connectTimeoutMs", p->connect_timeout_ms);
    check_timeout(&c, "firstByteTimeoutMs", p->first_byte_timeout_ms);
    check_timeout(&c, "idleTimeoutMs", p->idle_timeout_ms);
    check_timeout(&c, "totalTimeoutMs", p->total_timeout_ms);
    if (p->max_connections < 0 || p->max_connections > 10000)
        violation(&c, "maxConnections", "must be 0 (the default) to 10000");
    return c.rc;
}

static void check_tokens(check *c, const char *field, int64_t tokens)
{
    if (tokens < 0 || tokens > 100000000)
        violation(c, field, "must be 0 (not known) to 100000000 tokens");
}

static void check_target(check *outer, size_t i, const Apirelay__Relay__V1__RouteTarget *t)
{
    char path[256];
    snprintf(path, sizeof(path), "%s%stargets[%zu]", outer->path, *outer->path ? "." : "", i);
    check c = {.path = path, .v = outer->v, .err = outer->err, .rc = outer->rc};

    if (!is_name(gw_str_of(t->provider), NAME_MAX_LEN))
        violation(&c, "provider", "must be the name of a provider");
    if (*t->upstream_model && !is_printable(gw_str_of(t->upstream_model), MODEL_MAX_LEN))
        violation(&c, "upstreamModel", "must be at most %d printable bytes", MODEL_MAX_LEN);
    if (t->weight < 0 || t->weight > 1000)
        violation(&c, "weight", "must be 0 to 1000");
    if (t->tier < 0 || t->tier > 15)
        violation(&c, "tier", "must be 0 to 15");
    if (t->max_retries < 0 || t->max_retries > TARGET_RETRIES_MAX)
        violation(&c, "maxRetries", "must be 0 to %d", TARGET_RETRIES_MAX);
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
static void check_repeated(check *c, const route_message *r, size_t i)
{
    char field[64];
    for (size_t k = 0; k < i; k++) {
        if (!is_same_target(r->targets[k], r->targets[i]))
            continue;
        snprintf(field, sizeof(field), "targets[%zu]", i);
        violation(c, field, "must not name the provider and model of targets[%zu] again", k);
        return;
    }
}

static void check_targets(check *c, const route_message *r)
{
    if (r->n_targets < 1 || r->n_targets > ROUTE_TARGETS_MAX) {
        violation(c, "targets", "must name 1 to %d targets", ROUTE_TARGETS_MAX);
        return;
    }
    for (size_t i = 0; i < r->n_targets; i++) {
        check_target(c, i, r->targets[i]);
        check_repeated(c, r, i);
    }
}

static void check_unsupported_params(check *c, const char *text)
{
    gw_str s = gw_str_of(text);
    if (s.len && !gw_str_eq_c(s, "refuse") && !gw_str_eq_c(s, "drop"))
        violation(c, "unsupportedParams", "must be \"refuse\" or \"drop\"");
}

gw_status route_check(const route_message *r, const char *path, gw_json_violations *v,
                      gw_error *err)
{
    check c = {.path = path, .v = v, .err = err};
    if (!is_printable(gw_str_of(r->model), MODEL_MAX_LEN))
        violation(&c, "model", "must be a model name or pattern of 1-%d printable bytes",
                  MODEL_MAX_LEN);
    check_targets(&c, r);
    check_tokens(&c, "defaultMaxOutputTokens", r->default_max_output_tokens);
    check_tokens(&c, "maxOutputTokens", r->max_output_tokens);
    check_note(&c, r->note);
    if (r->n_listed_models > LISTED_MODELS_MAX)
        violation(&c, "listedModels", "must be at most %d names", LISTED_MODELS_MAX);
    for (size_t i = 0; i < r->n_listed_models; i++) {
        char name[48];
        snprintf(name, sizeof(name), "listedModels[%zu]", i);
        if (!is_printable(gw_str_of(r->listed_models[i]), MODEL_MAX_LEN))
            violation(&c, name, "must be 1-%d printable bytes", MODEL_MAX_LEN);
    }
    if (*r->owned_by && !is_printable(gw_str_of(r->owned_by), NAME_MAX_LEN))
        violation(&c, "ownedBy", "must be at most %d printable bytes", NAME_MAX_LEN);
    check_status(&c, r->status);
    check_unsupported_params(&c, r->unsupported_params);
    return c.rc;
}

static void check_price(check *c, size_t i, const char *field, int64_t nano_usd)
{
    char name[64];
    snprintf(name, sizeof(name), "prices[%zu].%s", i, field);
    if (nano_usd < 0 || nano_usd > PRICE_MAX_NANO_USD)
        violation(c, name, "must be 0 to %lld nano-USD", PRICE_MAX_NANO_USD);
}

static void check_model_price(check *c, size_t i, const Apirelay__Relay__V1__ModelPrice *p)
{
    char name[64];
    snprintf(name, sizeof(name), "prices[%zu].model", i);
    if (!is_printable(gw_str_of(p->model), MODEL_MAX_LEN))
        violation(c, name, "must be a model name or pattern of 1-%d printable bytes",
                  MODEL_MAX_LEN);
    snprintf(name, sizeof(name), "prices[%zu].provider", i);
    if (*p->provider && !is_name(gw_str_of(p->provider), NAME_MAX_LEN))
        violation(c, name, "must be empty or the name of a provider");
    check_price(c, i, "promptPerMillionNanoUsd", p->prompt_per_million_nano_usd);
    check_price(c, i, "completionPerMillionNanoUsd", p->completion_per_million_nano_usd);
    check_price(c, i, "cachedPromptPerMillionNanoUsd", p->cached_prompt_per_million_nano_usd);
    check_price(c, i, "reasoningPerMillionNanoUsd", p->reasoning_per_million_nano_usd);
    check_price(c, i, "cacheWritePerMillionNanoUsd", p->cache_write_per_million_nano_usd);
    check_price(c, i, "longCacheWritePerMillionNanoUsd", p->long_cache_write_per_million_nano_usd);
    check_price(c, i, "requestNanoUsd", p->request_nano_usd);
    check_price(c, i, "imageNanoUsd", p->image_nano_usd);
    snprintf(name, sizeof(name), "prices[%zu].maxOutputTokens", i);
    check_tokens(c, name, p->max_output_tokens);
}

static void check_effective_from(check *c, const Google__Protobuf__Timestamp *t)
{
    if (t &&
        (t->seconds < 0 || t->seconds >= EFFECTIVE_MAX_S || t->nanos < 0 || t->nanos > 999999999))
        violation(c, "effectiveFrom", "must be a time from 1970 to 2100");
}

gw_status price_book_check(const price_book_message *b, const char *path, gw_json_violations *v,
                           gw_error *err)
{
    check c = {.path = path, .v = v, .err = err};
    if (*b->version && !is_printable(gw_str_of(b->version), VERSION_MAX_LEN))
        violation(&c, "version", "must be at most %d printable bytes", VERSION_MAX_LEN);
    if (b->n_prices > PRICES_MAX)
        violation(&c, "prices", "must be at most %d entries", PRICES_MAX);
    check_note(&c, b->note);
    check_effective_from(&c, b->effective_from);
    for (size_t i = 0; i < b->n_prices && i < PRICES_MAX; i++)
        check_model_price(&c, i, b->prices[i]);
    return c.rc;
}

gw_status price_book_check_repeats(const price_book_message *b, const char *path,
                                   gw_json_violations *v, gw_error *err)
{
    check c = {.path = path, .v = v, .err = err};
    gw_auto(gw_map) seen = gw_map_new(NULL);
    for (size_t i = 0; seen && i < b->n_prices; i++) {
        gw_auto_buf key = {0};
        char name[64];
        price_key(b->prices[i], &key);
        if (gw_map_get(seen, gw_buf_str(&key))) {
            snprintf(name, sizeof(name), "prices[%zu]", i);
            violation(&c, name, "is a second price of %.60s at %.60s", b->prices[i]->model,
                      *b->prices[i]->provider ? b->prices[i]->provider : "any provider");
        } else if (gw_buf_failed(&key) || !gw_map_put(seen, gw_buf_str(&key), b->prices[i])) {
            return gw_fail(err, GW_ERR_NO_MEMORY, "no memory to check the prices");
        }
    }
    return seen ? c.rc : gw_fail(err, GW_ERR_NO_MEMORY, "no memory to check the prices");
}

void price_key(const Apirelay__Relay__V1__ModelPrice *p, gw_buf *out)
{
    gw_buf_append_str(out, gw_str_of(p->model));
    gw_buf_append_char(out, '\n'); /* in neither */
    gw_buf_append_str(out, gw_str_of(p->provider));
}

bool provider_origin_changed(const provider_message *before, const provider_message *after)
{
    gw_url a, b;
    if (gw_url_parse(gw_str_of(before->base_url), &a, NULL) != GW_OK ||
        gw_url_parse(gw_str_of(after->base_url), &b, NULL) != GW_OK)
        return true;
    return !gw_str_eq(a.scheme, b.scheme) || !gw_str_eq_nocase(a.host, b.host) || a.port != b.port;
}
