#include "admin_rules.h"

#include "messages.h"

#define USERNAME_MAX   64
#define NAME_MAX_CHARS 200

void admin_check_username(const char *username, gw_violations *v)
{
    size_t len = strlen(username);
    bool ok = len >= 1 && len <= USERNAME_MAX;
    for (size_t i = 0; ok && i < len; i++) {
        char c = username[i];
        ok = (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || strchr("._@-", c);
    }
    if (!ok)
        gw_violations_add(v, "username", "must match [a-z0-9._@-]{1,%d}", USERNAME_MAX);
}

void admin_check_password(const char *password, gw_violations *v)
{
    size_t len = strlen(password);
    if (len < PASSWORD_MIN_BYTES || len > PASSWORD_MAX_BYTES)
        gw_violations_add(v, "password", "must have %d-%d bytes", PASSWORD_MIN_BYTES,
                          PASSWORD_MAX_BYTES);
}

int admin_role_rank(const char *role)
{
    return strcmp(role, "viewer") == 0  ? 1
           : strcmp(role, "admin") == 0 ? 2
           : strcmp(role, "owner") == 0 ? 3
                                        : 0;
}

void admin_check_role(const char *role, gw_violations *v)
{
    if (admin_role_rank(role) == 0)
        gw_violations_add(v, "role", "must be one of viewer|admin|owner");
}

void admin_check_status(const char *status, gw_violations *v)
{
    if (strcmp(status, "active") != 0 && strcmp(status, "disabled") != 0)
        gw_violations_add(v, "status", "must be one of active|disabled");
}

void admin_check_key(const admin_key_view *k, int64_t now_ms, gw_violations *v)
{
    gw_str name = gw_str_of(k->name);
    size_t chars = 0;
    for (size_t i = 0; i < name.len; i++)
        chars += ((unsigned char)name.ptr[i] & 0xc0) != 0x80;
    if (chars == 0 || chars > NAME_MAX_CHARS || !gw_str_is_label(name))
        gw_violations_add(v, "name", "must have 1-%d characters, " GW_LABEL_RULE, NAME_MAX_CHARS);
    admin_check_role(k->role, v);
    if (k->expires_at && !message_time_is_valid(k->expires_at))
        gw_violations_add(v, "expiresAt", "must be a time in the years 1 to 9999");
    else if (k->expires_at && message_time_ms(k->expires_at) <= now_ms)
        gw_violations_add(v, "expiresAt", "must be in the future");
    if (*k->id)
        gw_violations_add(v, "id", "is read only");
    if (*k->status)
        gw_violations_add(v, "status", "is read only");
    if (k->created_at)
        gw_violations_add(v, "createdAt", "is read only");
    if (*k->created_by)
        gw_violations_add(v, "createdBy", "is read only");
    if (k->last_used_at)
        gw_violations_add(v, "lastUsedAt", "is read only");
}
