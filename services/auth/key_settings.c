#include "key_settings.h"

#include "api_key_rules.h"
#include "field_mask.h"
#include "messages.h"

#include <stdio.h>

#define ENVIRONMENTS_MAX 50
#define DAYS_MAX         1000000 /* whatever was stored: further away than any clock */

typedef Apirelay__Auth__V1__KeyDefaults key_defaults_view;

static key_settings_view *new_view(gw_arena *a)
{
    return message_new(a, &apirelay__auth__v1__settings__descriptor);
}

key_settings key_settings_none(gw_arena *a)
{
    return (key_settings){.view = new_view(a)};
}

/* ---- new keys ---- */

static const Apirelay__Auth__V1__EnvironmentSettings *environment(const key_settings *s,
                                                                  const char *env)
{
    for (size_t i = 0; i < s->view->n_environments; i++) {
        if (strcmp(s->view->environments[i]->env, env) == 0)
            return s->view->environments[i];
    }
    return NULL;
}

/* Days, 0 when there is no greatest age. */
static int64_t max_age_days(const key_settings *s, const api_key_view *k)
{
    if (k->max_age_days_presence_case)
        return k->max_age_days;
    const Apirelay__Auth__V1__EnvironmentSettings *e =
        environment(s, *k->env ? k->env : API_KEY_ENV_DEFAULT);
    return e && e->max_age_days_presence_case ? e->max_age_days : 0;
}

/* The two are one limit: half of a default beside the request's half would contradict it. */
static void drop_cost_limit(Apirelay__Auth__V1__KeyLimits *l)
{
    l->cost_limit_presence_case = 0;
    l->cost_limit_nano_usd_presence_case = 0;
}

static bool has_cost_limit(const Apirelay__Auth__V1__KeyLimits *l)
{
    return l && (l->cost_limit_presence_case || l->cost_limit_nano_usd_presence_case);
}

bool key_settings_complete(gw_arena *a, const key_settings *s, api_key_view *k)
{
    int64_t days = max_age_days(s, k);
    if (days && !k->max_age_days_presence_case) {
        k->max_age_days_presence_case =
            APIRELAY__AUTH__V1__API_KEY__MAX_AGE_DAYS_PRESENCE_MAX_AGE_DAYS;
        k->max_age_days = days;
    }
    if (!s->view->key_defaults)
        return true;
    key_defaults_view *d = message_copy(a, &s->view->key_defaults->base);
    if (!d)
        return false;
    if (d->limits && has_cost_limit(k->limits))
        drop_cost_limit(d->limits);
    api_key_view offered = APIRELAY__AUTH__V1__API_KEY__INIT;
    offered.permissions = d->permissions;
    offered.limits = d->limits;
    offered.security = d->security;
    message_fill_absent(&k->base, &offered.base);
    return true;
}

bool key_settings_rotation_is_due(const key_settings *s, const api_key_view *k, int64_t created_ms,
                                  int64_t now_ms)
{
    int64_t days = GW_MIN(max_age_days(s, k), DAYS_MAX);
    int64_t percent = s->view->rotation_due_percent_presence_case ? s->view->rotation_due_percent
                                                                  : ROTATION_DUE_PERCENT_DEFAULT;
    if (days <= 0 || created_ms == 0 || strcmp(k->status, "revoked") == 0)
        return false;
    return now_ms - created_ms >= days * (GW_MS_PER_DAY / 100) * percent;
}

/* ---- what admins see and write ---- */

key_settings_view *key_settings_shown(gw_arena *a, const key_settings *s)
{
    key_settings_view *v = message_copy(a, &s->view->base);
    if (!v)
        return NULL;
    if (!v->key_defaults)
        v->key_defaults = message_new(a, &apirelay__auth__v1__key_defaults__descriptor);
    if (!v->rotation_due_percent_presence_case) {
        v->rotation_due_percent_presence_case =
            APIRELAY__AUTH__V1__SETTINGS__ROTATION_DUE_PERCENT_PRESENCE_ROTATION_DUE_PERCENT;
        v->rotation_due_percent = ROTATION_DUE_PERCENT_DEFAULT;
    }
    v->etag = message_text(a, gw_arena_printf(a, "v%lld", (long long)s->version));
    return v;
}

static bool is_writable(const char *path)
{
    return strcmp(path, "updated_at") != 0;
}

static void put_under(const gw_violations *found, const char *above, gw_violations *v)
{
    for (size_t i = 0; i < found->count; i++) {
        char path[160];
        (void)snprintf(path, sizeof(path), "%s.%s", above, found->items[i].field);
        gw_violations_add(v, path, "%s", found->items[i].description);
    }
}

/* By the rules of a key that has these and nothing else. */
static void check_as_key(gw_arena *a, const api_key_view *parts, const char *above,
                         gw_violations *v)
{
    gw_violations found = {0};
    api_key_view *k = message_copy(a, &parts->base);
    if (!k) {
        gw_violations_add(v, above, "cannot be checked: out of memory");
        return;
    }
    k->name = message_text(a, GW_STR("new"));
    api_key_fill_defaults(a, k);
    api_key_check(k, &found);
    put_under(&found, above, v);
}

static void check_defaults(gw_arena *a, key_defaults_view *d, gw_violations *v)
{
    gw_violations money = {0};
    api_key_view parts = APIRELAY__AUTH__V1__API_KEY__INIT;
    if (!d)
        return;
    api_key_pair_cost_limit(d->limits, &money);
    put_under(&money, "keyDefaults", v);
    parts.permissions = d->permissions;
    parts.limits = d->limits;
    parts.security = d->security;
    check_as_key(a, &parts, "keyDefaults", v);
    if (d->security && d->security->expires_at)
        gw_violations_add(v, "keyDefaults.security.expiresAt",
                          "must not be set; set environments[].maxAgeDays");
}

static void check_environments(gw_arena *a, const key_settings *s, gw_violations *v)
{
    if (s->view->n_environments > ENVIRONMENTS_MAX)
        gw_violations_add(v, "environments", "at most %d items", ENVIRONMENTS_MAX);
    for (size_t i = 0; i < s->view->n_environments && i < ENVIRONMENTS_MAX; i++) {
        const Apirelay__Auth__V1__EnvironmentSettings *e = s->view->environments[i];
        char path[64];
        api_key_view parts = APIRELAY__AUTH__V1__API_KEY__INIT;
        (void)snprintf(path, sizeof(path), "environments[%zu]", i);
        parts.env = e->env;
        parts.max_age_days_presence_case =
            e->max_age_days_presence_case
                ? APIRELAY__AUTH__V1__API_KEY__MAX_AGE_DAYS_PRESENCE_MAX_AGE_DAYS
                : 0;
        parts.max_age_days = e->max_age_days;
        check_as_key(a, &parts, path, v);
        (void)snprintf(path, sizeof(path), "environments[%zu].env", i);
        if (*e->env == '\0') /* a key's would be its default */
            gw_violations_add(v, path, "must match [a-z][a-z0-9]{1,9}");
        else if (environment(s, e->env) != e)
            gw_violations_add(v, path, "stands there twice");
    }
}

static gw_status check_etag(const key_settings_update *u, const key_settings *s, gw_error *err)
{
    char etag[24];
    (void)snprintf(etag, sizeof(etag), "v%lld", (long long)s->version);
    if (u->etag.len && !gw_str_eq_c(u->etag, etag))
        return gw_fail_field(err, GW_ERR_ABORTED, "etag",
                             "the settings were changed by somebody else; their etag is now %s",
                             etag);
    return GW_OK;
}

gw_status key_settings_apply(key_settings_update *u, gw_arena *a, key_settings *s, gw_error *err)
{
    gw_violations v = {0};
    gw_status rc = check_etag(u, s, err);
    if (rc != GW_OK)
        return rc;
    field_mask_apply(a, &s->view->base, &u->from->base, u->paths, u->path_count, is_writable, &v);
    check_defaults(a, s->view->key_defaults, &v);
    check_environments(a, s, &v);
    if (s->view->rotation_due_percent_presence_case &&
        (s->view->rotation_due_percent < 1 || s->view->rotation_due_percent > 100))
        gw_violations_add(&v, "rotationDuePercent", "must be 1-100");
    u->violations = v;
    return gw_violations_status(&v, err);
}
