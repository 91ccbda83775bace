/*
 * Changes of an API key as decisions: what each does to a record, and when it may.
 *
 * revoked is final: any change of a revoked key but another revoke is GW_ERR_FAILED_PRECONDITION.
 * Each fits key_change_plan.apply and may run again on a fresh record.
 *
 * Thread: pure.
 */
#pragma once

#include "core/violations.h"
#include "key_store.h"

#define API_KEY_GRACE_MAX_S      2592000
#define API_KEY_REASON_MAX_CHARS 500

typedef struct api_key_update {
    key_change_plan plan; /* apply = api_key_update_apply */
    const api_key_view *from;
    char *const *paths;
    size_t path_count;
    gw_violations violations; /* of the last try, when it was refused for them */
} api_key_update;
GW_CHECK gw_status api_key_update_apply(key_change_plan *p, gw_arena *a, api_key_record *k,
                                        bool *ret_changed, gw_error *err);

typedef struct api_key_status_change {
    key_change_plan plan; /* apply = api_key_status_apply */
    const char *status; /* "active", "suspended" or "revoked" */
    gw_str reason;
    /* by the caller: of a key that is suspended already it takes the place of the one there */
    bool reason_is_given;
} api_key_status_change;
/* A key that is revoked loses its LibreChat key: it belongs to somebody who has an account elsewhere. */
GW_CHECK gw_status api_key_status_apply(key_change_plan *p, gw_arena *a, api_key_record *k,
                                        bool *ret_changed, gw_error *err);

/*
 * One of the key's own rules (security.auto_suspend) has come true. Changes nothing when the key is not active any more, has no such
 * rule, or was changed since: what was counted belongs to `generation`.
 */
typedef struct api_key_rule_suspension {
    key_change_plan plan; /* apply = api_key_rule_suspension_apply */
    gw_str rule; /* api_key_rule_is_known() */
    int64_t generation;
} api_key_rule_suspension;
GW_CHECK gw_status api_key_rule_suspension_apply(key_change_plan *p, gw_arena *a, api_key_record *k,
                                                 bool *ret_changed, gw_error *err);
GW_CHECK bool api_key_rule_is_known(gw_str rule);

/* A new signing secret; the one before it stays for the grace. */
typedef struct api_key_signing_rotation {
    key_change_plan plan; /* apply = api_key_signing_rotation_apply */
    int64_t grace_s;
    gw_str sealed; /* the new one */
} api_key_signing_rotation;
GW_CHECK gw_status api_key_signing_rotation_apply(key_change_plan *p, gw_arena *a,
                                                  api_key_record *k, bool *ret_changed,
                                                  gw_error *err);

/* All signing secrets go: GW_ERR_FAILED_PRECONDITION while they are required. */
GW_CHECK gw_status api_key_signing_removal_apply(key_change_plan *p, gw_arena *a, api_key_record *k,
                                                 bool *ret_changed, gw_error *err);

/* The LibreChat key of its user, in the place of another. */
typedef struct api_key_librechat_setting {
    key_change_plan plan; /* apply = api_key_librechat_setting_apply */
    gw_str origin, key_prefix;
    gw_str sealed;
} api_key_librechat_setting;
GW_CHECK gw_status api_key_librechat_setting_apply(key_change_plan *p, gw_arena *a,
                                                   api_key_record *k, bool *ret_changed,
                                                   gw_error *err);
GW_CHECK gw_status api_key_librechat_removal_apply(key_change_plan *p, gw_arena *a,
                                                   api_key_record *k, bool *ret_changed,
                                                   gw_error *err);

typedef struct api_key_regeneration {
    key_change_plan plan; /* apply = api_key_regenerate_apply */
    int64_t grace_s;
    api_key_secret secret; /* the new one */
} api_key_regeneration;
GW_CHECK gw_status api_key_regenerate_apply(key_change_plan *p, gw_arena *a, api_key_record *k,
                                            bool *ret_changed, gw_error *err);
