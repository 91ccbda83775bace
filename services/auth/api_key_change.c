#include "api_key_change.h"

#include "api_key_mask.h"
#include "api_key_rules.h"
#include "messages.h"

static gw_status refuse_revoked(const api_key_record *k, gw_error *err)
{
    if (strcmp(k->view->status, "revoked") == 0)
        return gw_fail(err, GW_ERR_FAILED_PRECONDITION, "key %s is revoked, which is final",
                       k->view->key_id);
    return GW_OK;
}

gw_status api_key_update_apply(key_change_plan *p, gw_arena *a, api_key_record *k,
                               bool *ret_changed, gw_error *err)
{
    api_key_update *u = GW_CONTAINER_OF(p, api_key_update, plan);
    gw_violations v = {0};
    gw_status rc = refuse_revoked(k, err);
    if (rc != GW_OK)
        return rc;
    api_key_refresh_view(a, k, p->now_ms);
    const api_key_view *before = message_copy(a, &k->view->base);
    if (!before)
        return gw_fail(err, GW_ERR_NO_MEMORY, "out of memory");
    api_key_apply(a, k->view, u->from, u->paths, u->path_count, API_KEY_UPDATE, &v);
    api_key_fill_defaults(a, k->view);
    api_key_refresh_view(a, k, p->now_ms); /* what is shown only, wherever it was replaced */
    api_key_pair_cost_limit(k->view->limits, &v);
    api_key_check(k->view, &v);
    if (api_key_mask_names(u->from, u->paths, u->path_count, "security.expires_at"))
        api_key_check_expiry_is_ahead(k->view, p->now_ms, &v);
    *ret_changed = !message_is_same(a, &before->base, &k->view->base);
    u->violations = v;
    return gw_violations_status(&v, err);
}

gw_status api_key_status_apply(key_change_plan *p, gw_arena *a, api_key_record *k,
                               bool *ret_changed, gw_error *err)
{
    const api_key_status_change *c = GW_CONTAINER_OF(p, api_key_status_change, plan);
    bool is_so_already = strcmp(k->view->status, c->status) == 0;
    bool has_another_reason = c->reason_is_given && strcmp(c->status, "revoked") != 0 &&
                              !gw_str_eq_c(c->reason, k->view->status_reason);
    *ret_changed = !is_so_already || has_another_reason;
    if (!*ret_changed)
        return GW_OK;
    gw_status rc = refuse_revoked(k, err);
    if (rc != GW_OK)
        return rc;
    if (strcmp(c->status, "revoked") == 0)
        api_key_drop_librechat(k);
    k->view->status = message_text(a, gw_str_of(c->status));
    k->view->status_reason = message_text(a, c->reason);
    return GW_OK;
}

gw_status api_key_regenerate_apply(key_change_plan *p, gw_arena *a, api_key_record *k,
                                   bool *ret_changed, gw_error *err)
{
    const api_key_regeneration *g = GW_CONTAINER_OF(p, api_key_regeneration, plan);
    (void)a;
    gw_status rc = refuse_revoked(k, err);
    if (rc != GW_OK)
        return rc;
    api_key_retire_secret(k, p->now_ms, p->now_ms + g->grace_s * GW_MS_PER_S);
    k->current = g->secret;
    *ret_changed = true;
    return GW_OK;
}

/* ---- rules ---- */

bool api_key_rule_is_known(gw_str rule)
{
    return gw_str_eq_c(rule, "limit_exceeded") || gw_str_eq_c(rule, "bad_signatures");
}

static const Apirelay__Auth__V1__KeyAutoSuspendRule *rule_of(const api_key_record *k, gw_str rule)
{
    const Apirelay__Auth__V1__KeyAutoSuspend *s =
        k->view->security ? k->view->security->auto_suspend : NULL;
    if (!s)
        return NULL;
    return gw_str_eq_c(rule, "limit_exceeded") ? s->limit_exceeded : s->bad_signatures;
}

gw_status api_key_rule_suspension_apply(key_change_plan *p, gw_arena *a, api_key_record *k,
                                        bool *ret_changed, gw_error *err)
{
    const api_key_rule_suspension *s = GW_CONTAINER_OF(p, api_key_rule_suspension, plan);
    const Apirelay__Auth__V1__KeyAutoSuspendRule *rule = rule_of(k, s->rule);
    (void)err;
    *ret_changed =
        rule && strcmp(k->view->status, "active") == 0 && k->view->generation == s->generation;
    if (!*ret_changed)
        return GW_OK;
    bool limits = gw_str_eq_c(s->rule, "limit_exceeded");
    k->view->status = message_text(a, GW_STR("suspended"));
    k->view->status_reason = message_text(
        a, gw_arena_printf(a, "by the rule security.autoSuspend.%s: %s %lld times within %lld s",
                           limits ? "limitExceeded" : "badSignatures",
                           limits ? "a limit was exceeded" : "a signature did not hold",
                           (long long)rule->count, (long long)rule->window_seconds));
    return GW_OK;
}

/* ---- signing secrets ---- */

gw_status api_key_signing_rotation_apply(key_change_plan *p, gw_arena *a, api_key_record *k,
                                         bool *ret_changed, gw_error *err)
{
    const api_key_signing_rotation *r = GW_CONTAINER_OF(p, api_key_signing_rotation, plan);
    (void)a;
    gw_status rc = refuse_revoked(k, err);
    if (rc != GW_OK)
        return rc;
    api_key_retire_signing_secret(k, p->now_ms, p->now_ms + r->grace_s * GW_MS_PER_S);
    k->signing_sealed = r->sealed;
    *ret_changed = true;
    return GW_OK;
}

gw_status api_key_signing_removal_apply(key_change_plan *p, gw_arena *a, api_key_record *k,
                                        bool *ret_changed, gw_error *err)
{
    (void)a;
    *ret_changed = k->signing_sealed.len > 0 || k->signing_previous_sealed.len > 0;
    if (!*ret_changed)
        return GW_OK;
    gw_status rc = refuse_revoked(k, err);
    if (rc == GW_OK && k->view->signing->required)
        rc = gw_fail_field(
            err, GW_ERR_FAILED_PRECONDITION, "signing.required",
            "requests of key %s have to be signed; set signing.required to false first",
            k->view->key_id);
    if (rc != GW_OK)
        return rc;
    api_key_retire_signing_secret(k, p->now_ms, 0);
    return GW_OK;
}

/* ---- the user's LibreChat key ---- */

gw_status api_key_librechat_setting_apply(key_change_plan *p, gw_arena *a, api_key_record *k,
                                          bool *ret_changed, gw_error *err)
{
    const api_key_librechat_setting *s = GW_CONTAINER_OF(p, api_key_librechat_setting, plan);
    gw_status rc = refuse_revoked(k, err);
    if (rc != GW_OK)
        return rc;
    Apirelay__Auth__V1__KeyLibrechat *m =
        message_new(a, &apirelay__auth__v1__key_librechat__descriptor);
    if (!m)
        return gw_fail(err, GW_ERR_NO_MEMORY, "out of memory");
    m->origin = message_text(a, s->origin);
    m->key_prefix = message_text(a, s->key_prefix);
    m->set_at = message_time(a, p->now_ms);
    k->view->librechat = m;
    k->librechat_sealed = s->sealed;
    *ret_changed = true;
    return GW_OK;
}

gw_status api_key_librechat_removal_apply(key_change_plan *p, gw_arena *a, api_key_record *k,
                                          bool *ret_changed, gw_error *err)
{
    (void)p;
    (void)a;
    *ret_changed = false;
    gw_status rc = refuse_revoked(k, err);
    if (rc != GW_OK)
        return rc;
    *ret_changed = k->librechat_sealed.len > 0;
    api_key_drop_librechat(k);
    return GW_OK;
}
