/*
 * OIDC signer: what the relay tells a LibreChat of who asks, and the keys that LibreChat checks it with.
 *
 * A token is a JWT (RFC 7519) of 60 s: iss is RELAY_OIDC_ISSUER, sub the user's openidId, aud the origin that it is sent to. It names no
 * email: LibreChat would go by that where it does not find the user, and bind his account to this token (docs/decisions/044).
 *
 * Thread: immutable; references are counted with atomics, signing is on workers.
 */
#pragma once

#include "core/url.h"

#define OIDC_TOKEN_LIFE_S 60

typedef struct oidc_signer oidc_signer;

/* An http or https URL without query and user, https unless it is of this machine: what LibreChat takes for an issuer. */
GW_CHECK gw_status oidc_issuer_check(const char *issuer, gw_error *err);

/* `old_key_file` may be NULL; of up to GW_RSA_KEYS_MAX keys, public or private, that are shown too. Errors as of gw_rsa_key_load(). */
GW_CHECK gw_status oidc_signer_load(const char *issuer, const char *key_file,
                                    const char *old_key_file, oidc_signer **ret, gw_error *err);
oidc_signer *oidc_signer_ref(oidc_signer *s);
void oidc_signer_unref(oidc_signer *s); /* NULL is fine */

gw_str oidc_signer_issuer(
    const oidc_signer *
        s); /* as LibreChat keeps it with its users: without slashes or the path of a discovery at its end */
gw_str oidc_signer_jwks(const oidc_signer *s); /* RFC 7517 §5 */

/* Appends a token; it holds from now on, and is to be wiped. On a worker. GW_ERR_INTERNAL, GW_ERR_NO_MEMORY. */
GW_CHECK gw_status oidc_signer_sign(const oidc_signer *s, gw_str subject, gw_str audience,
                                    int64_t now_s, gw_buf *out, gw_error *err);
