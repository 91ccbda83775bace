/*
 * User key: the LibreChat key of a user, as the credential of what his relay key asks; and where a token takes its place.
 *
 * It is sent to providers of kind librechat at the very origin it was set for and nowhere else: a provider whose URL is changed
 * collects no keys, and is asked with its own credential, if it may be asked at all (requireUserKey). A provider that users are signed in
 * to (signInAsUser) gets tokens (user_token_book.h) and no keys.
 *
 * Thread: pure.
 */
#pragma once

#include "policy.h"
#include "relay_config.h"

#include "crypto/crypto.h"

/* What is asked of `p` for this key is asked with the user's own. */
bool user_key_is_for(const key_policy *k, const provider_config *p);
/* What is asked of `p` for any key is asked with a token of its user. */
static inline bool user_is_signed_in(const provider_config *p)
{
    return p->sign_in_audience.len > 0;
}
/* One or the other: LibreChat takes who asks for the key's user. */
static inline bool user_is_asked_for(const key_policy *k, const provider_config *p)
{
    return user_is_signed_in(p) || user_key_is_for(k, p);
}
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
