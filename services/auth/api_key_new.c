#include "api_key_new.h"

#include "api_key_mask.h"
#include "api_key_rules.h"
#include "messages.h"

gw_status api_key_new_read(gw_arena *a, const api_key_view *wanted, int64_t now_ms,
                           bool gets_signing, api_key_view *ret, gw_violations *v, gw_error *err)
{
    size_t before = v->count;
    api_key_apply(a, ret, wanted, NULL, 0, API_KEY_CREATE, v);
    if (v->count != before) /* nothing was applied, and rules would miss what was given */
        return GW_OK;
    api_key_pair_cost_limit(ret->limits, v);
    api_key_view *whole = message_copy(a, &ret->base);
    if (!whole)
        return gw_fail(err, GW_ERR_NO_MEMORY, "new key");
    api_key_fill_defaults(a, whole);
    if (!whole->signing)
        return gw_fail(err, GW_ERR_NO_MEMORY, "new key");
    whole->signing->configured = gets_signing && whole->signing->required;
    ret->env = whole->env;
    ret->signing = whole->signing;
    api_key_check(whole, v);
    api_key_check_expiry_is_ahead(whole, now_ms, v);
    return GW_OK;
}

gw_status api_key_new_complete(gw_arena *a, const key_settings *s, api_key_view *k, gw_error *err)
{
    if (!key_settings_complete(a, s, k))
        return gw_fail(err, GW_ERR_NO_MEMORY, "new key");
    api_key_fill_defaults(a, k);
    return GW_OK;
}
