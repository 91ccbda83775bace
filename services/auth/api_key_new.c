#include "api_key_new.h"

#include "api_key_mask.h"
#include "api_key_rules.h"
#include "messages.h"

void api_key_new_read(gw_arena *a, const api_key_view *wanted, int64_t now_ms, bool gets_signing,
                      api_key_view *ret, gw_violations *v)
{
    size_t before = v->count;
    api_key_apply(a, ret, wanted, NULL, 0, API_KEY_CREATE, v);
    if (v->count != before) /* nothing was applied, and rules would miss what was given */
        return;
    api_key_pair_cost_limit(ret->limits, v);
    api_key_view *whole = message_copy(a, &ret->base);
    if (!whole)
        return;
    api_key_fill_defaults(a, whole);
    whole->signing->configured = gets_signing && whole->signing->required;
    ret->env = whole->env;
    ret->signing = whole->signing;
    api_key_check(whole, v);
    api_key_check_expiry_is_ahead(whole, now_ms, v);
}

void api_key_new_complete(gw_arena *a, const key_settings *s, api_key_view *k)
{
    key_settings_complete(a, s, k);
    api_key_fill_defaults(a, k);
}
