#include "relay_config_build.h"

#include "core/map.h"
#include "core/pattern.h"
#include "crypto/crypto.h"

#include <ctype.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>

#define DEFAULT_MAX_OUTPUT_TOKENS 4096

/* The snapshot with what owns it. */
typedef struct snapshot {
    relay_config config; /* first: a relay_config is a snapshot */
    atomic_uint references;
    gw_arena *arena;
} snapshot;

static snapshot *snapshot_of(const relay_config *c)
{
    return GW_CONTAINER_OF((uintptr_t)c, snapshot, config);
}

relay_config *relay_config_ref(const relay_config *c)
{
    snapshot *s = snapshot_of(c);
    atomic_fetch_add_explicit(&s->references, 1, memory_order_relaxed);
    return &s->config;
}

void relay_config_unref(relay_config *c)
{
    if (!c)
        return;
    snapshot *s = snapshot_of(c);
    if (atomic_fetch_sub_explicit(&s->references, 1, memory_order_acq_rel) != 1)
        return;
    for (size_t i = 0; i < c->provider_count; i++) {
        for (unsigned k = 0; k < provider_credential_count(&c->providers[i]); k++) {
            gw_str secret = provider_credential(&c->providers[i], k);
            if (secret.len)
                gw_secret_wipe((void *)(uintptr_t)secret.ptr, secret.len);
        }
    }
    gw_arena_free(s->arena);
    free(s);
}

const model_route *relay_config_route(const relay_config *c, gw_str model)
{
    for (size_t i = 0; i < c->route_count; i++) {
        if (gw_glob_match(c->routes[i].pattern, model))
            return &c->routes[i];
    }
    return NULL;
}

/* ---- building ---- */

typedef struct builder {
    snapshot *snapshot;
    gw_arena *arena;
    credential_source credentials;
    config_warnings *warnings;
    gw_map *providers; /* name -> provider_message */
    gw_map *routes; /* pattern -> route_message */
    const price_book_message *prices;
} builder;

static void warn(builder *b, const char *format, ...) GW_PRINTF(2, 3);
static void warn(builder *b, const char *format, ...)
{
    if (!b->warnings || b->warnings->count == GW_ARRAY_LEN(b->warnings->items))
        return;
    config_warning *w = &b->warnings->items[b->warnings->count++];
    va_list args;
    va_start(args, format);
    vsnprintf(w->text, sizeof(w->text), format, args);
    va_end(args);
}

static bool is_active(const char *status)
{
    return !gw_str_eq_c(gw_str_of(status), "disabled");
}

/* NULL: it is missing, which is reported; `why` says so. Else in the arena. */
static const char *read_secret(builder *b, const provider_config *p, gw_str reference,
                               gw_error *why)
{
    char *secret = b->credentials.resolve(b->credentials.self, reference, why);
    if (!secret) {
        warn(b, "provider " GW_STR_FMT ": credential missing: %s", GW_STR_ARG(p->name),
             why->message);
        return NULL;
    }
    const char *kept = gw_arena_strdup(b->arena, gw_str_of(secret));
    gw_secret_wipe(secret, strlen(secret));
    free(secret);
    return kept;
}

/* Those that are there, the first of them in its own place. A provider that has none of its credentials cannot be used. */
static void read_credentials(builder *b, provider_config *p, const provider_message *m)
{
    gw_str *list = gw_arena_array(b->arena, gw_str, m->n_more_credentials + 1);
    size_t count = 0;
    gw_error why = {0};
    if (*m->credential == '\0' || !list)
        return;
    for (size_t i = 0; i <= m->n_more_credentials && count < CREDENTIALS_MAX; i++) {
        const char *reference = i == 0 ? m->credential : m->more_credentials[i - 1];
        const char *secret = read_secret(b, p, gw_str_of(reference), &why);
        if (secret)
            list[count++] = gw_str_of(secret);
    }
    if (count == 0) {
        p->unusable = gw_arena_strdup(
            b->arena, gw_arena_printf(b->arena, "its credential is missing: %s", why.message));
        return;
    }
    p->credential = list[0];
    p->more_credentials = list + 1;
    p->more_credential_count = (unsigned)count - 1;
}

static gw_str base_path_of(builder *b, const provider_config *p)
{
    const provider_kind_info *kind = provider_kind_describe(p->kind);
    gw_str path = p->base_url.path;
    while (gw_str_ends_with(path, GW_STR("/")))
        path.len--;
    if (path.len == 0)
        path = gw_str_of(kind->default_path);
    return *kind->appended_path ? gw_arena_join(b->arena, path, gw_str_of(kind->appended_path))
                                : path;
}

/* scheme://host:port, the port unless it is the scheme's own. A token that was signed for another place is of no use at this one. */
static gw_str origin_of(builder *b, const gw_url *u)
{
    bool is_usual = u->port == 0 || (gw_str_eq_c(u->scheme, "https") && u->port == 443) ||
                    (gw_str_eq_c(u->scheme, "http") && u->port == 80);
    gw_auto_buf out = {0};

    gw_buf_appendf(&out, u->host_is_v6 ? "%.*s://[%.*s]" : "%.*s://%.*s", GW_STR_ARG(u->scheme),
                   GW_STR_ARG(u->host));
    if (!is_usual)
        gw_buf_appendf(&out, ":%u", u->port);
    for (size_t i = 0; i < out.len; i++)
        out.data[i] = (char)tolower((unsigned char)out.data[i]);
    return gw_buf_failed(&out) ? GW_STR("") : gw_arena_dup(b->arena, gw_buf_str(&out));
}

static void build_sign_in(builder *b, provider_config *p)
{
    p->sign_in_audience = origin_of(b, &p->base_url);
    if (p->sign_in_audience.len == 0)
        p->unusable = "there was no memory for it"; /* nor is it asked as anybody else */
    if (b->credentials.signs_in)
        return;
    p->unusable = "users cannot be signed in to it: RELAY_OIDC_ISSUER is not set";
    warn(b, "provider " GW_STR_FMT ": signInAsUser needs RELAY_OIDC_ISSUER, which is not set",
         GW_STR_ARG(p->name));
}

static void build_provider(builder *b, provider_config *p, const provider_message *m)
{
    gw_str url = gw_arena_dup(b->arena, gw_str_of(m->base_url));
    p->name = gw_arena_dup(b->arena, gw_str_of(m->name));
    if (!provider_kind_find(gw_str_of(m->kind), &p->kind)) /* written by a newer relay */
        p->unusable = "its kind is not known to this relay";
    const provider_kind_info *kind = provider_kind_describe(p->kind);
    if (gw_url_parse(url, &p->base_url, NULL) != GW_OK)
        p->unusable = "its base URL is none";
    p->base_path = base_path_of(b, p);
    p->transport = gw_str_eq_c(gw_str_of(m->transport), "curl") ? GW_HTTP_CURL : GW_HTTP_OWN;
    p->exposes_server_tools = m->expose_server_tools;
    p->requires_user_key = m->require_user_key;
    p->checks_balance = m->check_balance;
    p->connect_timeout_ms = m->connect_timeout_ms ? m->connect_timeout_ms : kind->connect_ms;
    p->first_byte_timeout_ms =
        m->first_byte_timeout_ms ? m->first_byte_timeout_ms : kind->first_byte_ms;
    p->idle_timeout_ms = m->idle_timeout_ms ? m->idle_timeout_ms : kind->idle_ms;
    p->total_timeout_ms = m->total_timeout_ms ? m->total_timeout_ms : kind->total_ms;
    p->connections_max = (size_t)m->max_connections;
    read_credentials(b, p, m);
    if (m->sign_in_as_user)
        build_sign_in(b, p);
}

static void build_providers(builder *b)
{
    relay_config *c = &b->snapshot->config;
    provider_config *list =
        gw_arena_array(b->arena, provider_config, gw_map_count(b->providers) + 1);
    size_t at = 0, count = 0;
    gw_str name;
    void *value;
    while (list && gw_map_next(b->providers, &at, &name, &value)) {
        const provider_message *m = value;
        if (is_active(m->status))
            build_provider(b, &list[count++], m);
    }
    c->providers = list;
    c->provider_count = count;
}

static const provider_config *find_provider(const relay_config *c, gw_str name)
{
    for (size_t i = 0; i < c->provider_count; i++) {
        if (gw_str_eq(c->providers[i].name, name))
            return &c->providers[i];
    }
    return NULL;
}

static void build_target(builder *b, route_target *t, const Apirelay__Relay__V1__RouteTarget *m,
                         const provider_config *p)
{
    *t = (route_target){
        .provider = p,
        .upstream_model = gw_arena_dup(b->arena, gw_str_of(m->upstream_model)),
        .connect_timeout_ms = m->connect_timeout_ms ? m->connect_timeout_ms : p->connect_timeout_ms,
        .first_byte_timeout_ms =
            m->first_byte_timeout_ms ? m->first_byte_timeout_ms : p->first_byte_timeout_ms,
        .idle_timeout_ms = m->idle_timeout_ms ? m->idle_timeout_ms : p->idle_timeout_ms,
        .total_timeout_ms = m->total_timeout_ms ? m->total_timeout_ms : p->total_timeout_ms,
        .weight = (uint16_t)GW_MAX(m->weight, 1),
        .tier = (uint8_t)m->tier,
        .max_retries = (uint8_t)m->max_retries,
    };
}

/* Sorted in by tier, behind those of the same tier. */
static void insert_target(route_target *list, size_t count, route_target t)
{
    size_t at = count;

    for (; at > 0 && list[at - 1].tier > t.tier; at--)
        list[at] = list[at - 1];
    list[at] = t;
}

/* A target whose provider is missing is reported, and the route goes on without it. */
static void build_targets(builder *b, model_route *r, const route_message *m)
{
    const relay_config *c = &b->snapshot->config;
    route_target *list = gw_arena_array(b->arena, route_target, m->n_targets + 1);
    route_target t;

    for (size_t i = 0; list && i < m->n_targets && r->target_count < ROUTE_TARGETS_MAX; i++) {
        gw_str name = gw_str_of(m->targets[i]->provider);
        const provider_config *provider = find_provider(c, name);
        if (provider) {
            build_target(b, &t, m->targets[i], provider);
            if (r->is_exact)
                t.price = price_find_of_target(c->prices, c->price_count, t.upstream_model,
                                               r->pattern, name);
            insert_target(list, r->target_count++, t);
        } else {
            warn(b, "model %s: its provider " GW_STR_FMT " does not exist or is disabled", m->model,
                 GW_STR_ARG(name));
        }
    }
    r->targets = list;
}

static void build_route(builder *b, model_route *r, const route_message *m)
{
    gw_str *listed = gw_arena_array(b->arena, gw_str, m->n_listed_models + 1);
    r->default_max_output_tokens =
        m->default_max_output_tokens ? m->default_max_output_tokens : DEFAULT_MAX_OUTPUT_TOKENS;
    r->max_output_tokens = m->max_output_tokens;
    r->drops_params = gw_str_eq_c(gw_str_of(m->unsupported_params), "drop");
    for (size_t i = 0; listed && i < m->n_listed_models; i++)
        listed[r->listed_count++] = gw_arena_dup(b->arena, gw_str_of(m->listed_models[i]));
    r->listed_models = listed;
    r->owned_by = *m->owned_by ? gw_arena_dup(b->arena, gw_str_of(m->owned_by))
                               : r->targets[0].provider->name;
}

/* The more special first; names break ties, so that the order is total. */
static int by_precedence(const void *a, const void *b)
{
    gw_str x = ((const model_route *)a)->pattern, y = ((const model_route *)b)->pattern;
    uint32_t x_rank = gw_glob_rank(x), y_rank = gw_glob_rank(y);
    if (x_rank != y_rank)
        return x_rank > y_rank ? -1 : 1;
    return gw_str_cmp(x, y);
}

static void build_routes(builder *b)
{
    relay_config *c = &b->snapshot->config;
    model_route *list = gw_arena_array(b->arena, model_route, gw_map_count(b->routes) + 1);
    size_t at = 0, count = 0;
    gw_str pattern;
    void *value;
    while (list && gw_map_next(b->routes, &at, &pattern, &value)) {
        const route_message *m = value;
        if (!is_active(m->status))
            continue;
        model_route r = {.pattern = gw_arena_dup(b->arena, pattern),
                         .is_exact = gw_glob_is_exact(pattern)};
        build_targets(b, &r, m);
        if (r.target_count == 0)
            continue;
        build_route(b, &r, m);
        list[count++] = r;
    }
    if (list)
        qsort(list, count, sizeof(*list), by_precedence);
    c->routes = list;
    c->route_count = count;
}

static bool keep_price(builder *b, const Apirelay__Relay__V1__ModelPrice *m, model_price *ret)
{
    if (!price_from_message(b->arena, m, ret))
        return false;
    ret->model = gw_arena_dup(b->arena, ret->model);
    ret->provider = gw_arena_dup(b->arena, ret->provider);
    return true;
}

/* False when out of memory. */
static bool build_prices(builder *b)
{
    relay_config *c = &b->snapshot->config;
    if (!b->prices)
        return true;
    model_price *list = gw_arena_array(b->arena, model_price, b->prices->n_prices + 1);
    for (size_t i = 0; list && i < b->prices->n_prices; i++)
        if (!keep_price(b, b->prices->prices[i], &list[c->price_count++]))
            return false;
    c->prices = list;
    c->price_book_version = gw_arena_dup(b->arena, gw_str_of(b->prices->version));
    return list;
}

/* Later layers replace what earlier ones said under the same name. */
static bool overlay(builder *b, const relay_config_layer *layer)
{
    bool ok = true;
    for (size_t i = 0; i < layer->provider_count; i++)
        ok = gw_map_put(b->providers, gw_str_of(layer->providers[i]->name), layer->providers[i]) &&
             ok;
    for (size_t i = 0; i < layer->route_count; i++)
        ok = gw_map_put(b->routes, gw_str_of(layer->routes[i]->model), layer->routes[i]) && ok;
    if (layer->prices)
        b->prices = layer->prices;
    return ok;
}

gw_status relay_config_build(const relay_config_layer *layers, size_t count,
                             credential_source credentials, config_warnings *warnings,
                             relay_config **ret, gw_error *err)
{
    gw_auto(gw_map) providers = gw_map_new(NULL);
    gw_auto(gw_map) routes = gw_map_new(NULL);
    gw_auto(gw_arena) arena = gw_arena_new();
    snapshot *s = calloc(1, sizeof(*s));
    builder b = {.snapshot = s,
                 .arena = arena,
                 .credentials = credentials,
                 .warnings = warnings,
                 .providers = providers,
                 .routes = routes};
    bool ok = s && providers && routes && arena;
    for (size_t i = 0; ok && i < count; i++)
        ok = overlay(&b, &layers[i]);
    if (ok) {
        build_providers(&b);
        ok = build_prices(&b);
        build_routes(&b);
        ok = ok && s->config.providers && s->config.routes;
    }
    if (!ok) {
        free(s);
        return gw_fail(err, GW_ERR_NO_MEMORY, "no memory for the relay's configuration");
    }
    s->config.version = s->config.price_book_version;
    s->arena = gw_steal(&arena);
    atomic_init(&s->references, 1);
    *ret = &s->config;
    return GW_OK;
}
