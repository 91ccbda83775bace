/*
 * User key: the LibreChat key of a user, as the credential of what his relay key asks.
 *
 * It is sent to providers of kind librechat at the very origin it was set for and nowhere else: a provider whose URL is changed
 * collects no keys, and is asked with its own credential, if it may be asked at all (requireUserKey).
 *
 * Thread: pure.
 */
#pragma once

#include "policy.h"
#include "relay_config.h"

#include "crypto/crypto.h"

/* What is asked of `p` for this key is asked with the user's own. */
bool user_key_is_for(const key_policy *k, const provider_config *p);
/* `p` serves those alone who have one for it, and this key has none. */
static inline bool user_key_is_missing(const key_policy *k, const provider_config *p)
{
    return p->requires_user_key && !user_key_is_for(k, p);
}
/*
 * The clear key, into `arena`; `keys` may be NULL. Errors as of gw_unseal(), GW_ERR_FAILED_PRECONDITION without master keys,
 * GW_ERR_DATA_LOSS when what was sealed is no value of a header.
 */
GW_CHECK gw_status user_key_open(const key_policy *k, const gw_master_keys *keys, gw_arena *arena,
                                 gw_str *ret, gw_error *err);
