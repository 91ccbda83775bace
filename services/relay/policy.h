/*
 * Policy: what one API key may do, and the decisions about one request. Plain values in, decisions
 * out, no I/O.
 *
 * Every refusal names what was missing, in the words of the key's permissions.
 *
 * Thread: immutable after key_policy_new(); references are counted without atomics, so a policy
 * belongs to one loop.
 */
#pragma once

#include "ledger.h"

#include "core/net.h"
#include "core/status.h"
#include "core/str.h"

#include "apirelay/auth/v1/key_access_service.pb-c.h"

typedef struct key_policy key_policy;

struct key_policy { /* read-only for everyone but policy.c */
    const Apirelay__Auth__V1__KeyPolicy *message; /* every field, owned by the policy */
    gw_str key_id;
    gw_str api_key_id; /* 24 hex digits */
    uint8_t api_key_oid[12];
    uint8_t user_oid[12]; /* of its owner, if it has one */
    bool has_user_oid;
    int64_t generation;
    int64_t expires_at_ms; /* INT64_MAX when it does not expire */
    bool is_librechat; /* client.kind librechat: always gets the usage chunk */
    bool is_trusted; /* librechat or trusted: its attribution headers are believed */
    bool drain_on_disconnect;
    gw_str librechat_origin; /* of the LibreChat key of its user (user_key.h); "": it has none */
    bool signs; /* has a signing secret, or may not do without */
    ledger_account *ledgers; /* its own, its client's and its owner's that have limits */
    size_t ledger_count;
    bool has_budget; /* of money, be it its client's or owner's */
    gw_cidr *allowed_addresses; /* parsed ipWhitelist */
    size_t allowed_address_count;
    unsigned references;
};

/* Takes ownership of `m` (protobuf_c unpacked). GW_ERR_INVALID_ARGUMENT when it cannot be used (bad
 * id or CIDR, half a LibreChat key). */
GW_CHECK gw_status key_policy_new(Apirelay__Auth__V1__KeyPolicy *m, key_policy **ret,
                                  gw_error *err);
key_policy *key_policy_ref(key_policy *p);
void key_policy_unref(key_policy *p); /* NULL is fine */

/* Status and expiry: GW_ERR_KEY_INVALID (revoked, expired), GW_ERR_KEY_SUSPENDED, or GW_OK. */
GW_CHECK gw_status key_policy_check_state(const key_policy *p, int64_t now_wall_ms, gw_error *err);
/* security.ipWhitelist: GW_ERR_PERMISSION_DENIED naming the address. */
GW_CHECK gw_status key_policy_check_address(const key_policy *p, const gw_ip *client,
                                            gw_error *err);
/* permissions.endpoints, exact or glob on the path: GW_ERR_PERMISSION_DENIED naming the endpoint.
 */
GW_CHECK gw_status key_policy_check_endpoint(const key_policy *p, gw_str path, gw_error *err);
/* permissions.models, exact or glob: GW_ERR_MODEL_NOT_FOUND, worded as for a model that does not
 * exist. */
/* permissions.models: a list that is empty allows every one. */
bool key_policy_allows_model(const key_policy *p, gw_str model);
GW_CHECK gw_status key_policy_check_model(const key_policy *p, gw_str model, gw_error *err);
/* security.domains: true when a browser at `origin` may call; an empty list allows none (no CORS
 * headers). */
bool key_policy_allows_origin(const key_policy *p, gw_str origin);

/* What a request uses that a key may lack. */
typedef struct request_needs {
    bool streaming, function_calling, vision;
    int64_t max_tokens; /* asked for; 0 when absent */
    const char *max_tokens_field; /* "max_tokens" or "max_completion_tokens" */
    /* names models that the provider may answer with instead; NULL: none */
    const char *other_models_field;
} request_needs;
/* GW_ERR_PERMISSION_DENIED naming permissions.features.x; GW_ERR_MAX_TOKENS_EXCEEDED naming the
 * field and the limit; GW_ERR_UNSUPPORTED_PARAMETER when other models are named and those of the key, or its money, are bounded. */
GW_CHECK gw_status key_policy_check_needs(const key_policy *p, const request_needs *n,
                                          gw_error *err);
/* Whether anything of what it may use is counted against a limit, be it its client's or owner's. */
static inline bool key_policy_has_limits(const key_policy *p)
{
    return p->ledger_count > 0;
}
/* permissions.maxTokens to set upstream when the request names none; 0 when the key has no such
 * limit. */
int64_t key_policy_max_tokens(const key_policy *p);
