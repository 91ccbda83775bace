#include "api_key_mask.h"

#include "field_mask.h"

/* Top-level fields that admins write. Everything below them is written too but what signing says of its secrets. */
static const char *const writable[] = {"name",   "user_id",  "client_id",     "permissions",
                                       "limits", "security", "on_disconnect", "client",
                                       "cache",  "privacy",  "max_age_days",  "signing"};

static bool is_writable_later(const char *path)
{
    gw_str rest = gw_str_of(path), top;
    if (strcmp(path, "signing.configured") == 0 ||
        strcmp(path, "signing.previous_expires_at") == 0 || !gw_str_split(&rest, '.', &top))
        return false;
    for (size_t i = 0; i < GW_ARRAY_LEN(writable); i++) {
        if (gw_str_eq_c(top, writable[i]))
            return true;
    }
    return false;
}

static bool is_writable_at_first(const char *path)
{
    return strcmp(path, "env") == 0 || is_writable_later(path);
}

void api_key_apply(gw_arena *a, api_key_view *to, const api_key_view *from, char *const *paths,
                   size_t n, api_key_write write, gw_violations *v)
{
    bool configured = to->signing && to->signing->configured;
    field_mask_apply(a, &to->base, &from->base, paths, n,
                     write == API_KEY_CREATE ? is_writable_at_first : is_writable_later, v);
    if (to->signing)
        to->signing->configured = configured;
}

bool api_key_mask_names(const api_key_view *from, char *const *paths, size_t n, const char *path)
{
    return field_mask_names(&from->base, paths, n, path);
}
