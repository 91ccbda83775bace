#include "oidc_signer.h"

#include "crypto/crypto.h"
#include "crypto/rsa_key.h"

#include <stdatomic.h>
#include <stdlib.h>

struct oidc_signer {
    gw_buf issuer, jwks;
    gw_rsa_key *key;
    atomic_uint references;
};

/* ---- issuer ---- */

static bool is_of_this_machine(const gw_url *u)
{
    return gw_str_eq_c(u->host, "localhost") || gw_str_ends_with(u->host, GW_STR(".localhost")) ||
           gw_str_eq_c(u->host, "127.0.0.1") || gw_str_eq_c(u->host, "::1");
}

gw_status oidc_issuer_check(const char *issuer, gw_error *err)
{
    gw_url u;
    gw_status rc = gw_url_parse(gw_str_of(issuer), &u, err);

    if (rc != GW_OK)
        return rc;
    if (u.host.len == 0 || u.userinfo.len > 0 || u.query.len > 0)
        return gw_fail(err, GW_ERR_INVALID_ARGUMENT,
                       "must be a URL with a host, and without user and query");
    if (gw_str_eq_c(u.scheme, "https") || (gw_str_eq_c(u.scheme, "http") && is_of_this_machine(&u)))
        return GW_OK;
    return gw_fail(err, GW_ERR_INVALID_ARGUMENT, "must begin with https:// unless it is localhost");
}

/* As LibreChat keeps it with its users. */
static gw_str plain_issuer(gw_str issuer)
{
    const gw_str discovery = GW_STR("/.well-known/openid-configuration");

    while (gw_str_ends_with(issuer, GW_STR("/")))
        issuer.len--;
    return gw_str_ends_with(issuer, discovery) ? gw_str_slice(issuer, 0, issuer.len - discovery.len)
                                               : issuer;
}

/* ---- signing ---- */

static void append_base64url(gw_buf *out, const gw_buf *text)
{
    if (gw_buf_failed(text) || !gw_buf_reserve(out, 4 * ((text->len + 2) / 3) + 1))
        out->failed = true;
    else
        out->len += gw_base64url_encode(text->data, text->len, out->data + out->len);
}

static void append_claims(const oidc_signer *s, gw_str subject, gw_str audience, int64_t now_s,
                          gw_buf *out)
{
    gw_buf_append_c(out, "{\"iss\":");
    gw_buf_append_json(out, gw_buf_str(&s->issuer));
    gw_buf_append_c(out, ",\"sub\":");
    gw_buf_append_json(out, subject);
    gw_buf_append_c(out, ",\"aud\":");
    gw_buf_append_json(out, audience);
    gw_buf_appendf(out, ",\"iat\":%lld,\"exp\":%lld}", (long long)now_s,
                   (long long)now_s + OIDC_TOKEN_LIFE_S);
}

gw_status oidc_signer_sign(const oidc_signer *s, gw_str subject, gw_str audience, int64_t now_s,
                           gw_buf *out, gw_error *err)
{
    gw_auto_buf head = {0};
    gw_auto_buf claims = {0};
    gw_auto_buf token = {0};

    gw_buf_appendf(&head, "{\"alg\":\"RS256\",\"typ\":\"JWT\",\"kid\":\"%s\"}",
                   gw_rsa_key_id(s->key));
    append_claims(s, subject, audience, now_s, &claims);
    append_base64url(&token, &head);
    gw_buf_append_char(&token, '.');
    append_base64url(&token, &claims);
    if (gw_buf_failed(&token))
        return gw_fail(err, GW_ERR_NO_MEMORY, "no memory for a token");
    size_t signed_len = token.len; /* is none yet: nothing of it is secret before the signature */
    gw_auto_buf signature = {0};
    gw_status rc = gw_rsa_sign(s->key, gw_buf_str(&token), &signature, err);
    if (rc != GW_OK)
        return rc;
    /* In one piece: growing would leave copies in freed memory. */
    if (!gw_buf_reserve(out, signed_len + 1 + signature.len + 1)) {
        rc = gw_fail(err, GW_ERR_NO_MEMORY, "no memory for a token");
    } else {
        gw_buf_append_str(out, gw_buf_str(&token));
        gw_buf_append_char(out, '.');
        gw_buf_append_str(out, gw_buf_str(&signature));
    }
    gw_secret_wipe(signature.data, signature.len);
    return rc;
}

gw_str oidc_signer_issuer(const oidc_signer *s)
{
    return gw_buf_str(&s->issuer);
}

gw_str oidc_signer_jwks(const oidc_signer *s)
{
    return gw_buf_str(&s->jwks);
}

/* ---- life ---- */

static bool is_among(const char *kid, gw_rsa_key *const *keys, size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (strcmp(gw_rsa_key_id(keys[i]), kid) == 0)
            return true;
    return false;
}

/* Each once: while keys change the same stands in both files. */
static void append_jwks(oidc_signer *s, gw_rsa_key *const *others, size_t count)
{
    gw_buf_append_c(&s->jwks, "{\"keys\":[");
    gw_rsa_key_append_jwk(s->key, &s->jwks);
    for (size_t i = 0; i < count; i++) {
        const char *kid = gw_rsa_key_id(others[i]);
        if (is_among(kid, &s->key, 1) || is_among(kid, others, i))
            continue;
        gw_buf_append_char(&s->jwks, ',');
        gw_rsa_key_append_jwk(others[i], &s->jwks);
    }
    gw_buf_append_c(&s->jwks, "]}");
}

static gw_status load(oidc_signer *s, const char *issuer, const char *key_file,
                      const char *old_key_file, gw_error *err)
{
    gw_rsa_key *others[GW_RSA_KEYS_MAX];
    size_t count = 0;
    gw_status rc = gw_rsa_key_load(key_file, &s->key, err);

    if (rc == GW_OK && old_key_file)
        rc = gw_rsa_keys_load(old_key_file, others, &count, err);
    if (rc != GW_OK)
        return rc;
    gw_buf_append_str(&s->issuer, plain_issuer(gw_str_of(issuer)));
    append_jwks(s, others, count);
    while (count > 0)
        gw_rsa_key_free(others[--count]);
    if (gw_buf_failed(&s->issuer) || gw_buf_failed(&s->jwks))
        return gw_fail(err, GW_ERR_NO_MEMORY, "no memory for the keys that sign users in");
    return GW_OK;
}

gw_status oidc_signer_load(const char *issuer, const char *key_file, const char *old_key_file,
                           oidc_signer **ret, gw_error *err)
{
    oidc_signer *s = calloc(1, sizeof(*s));

    if (!s)
        return gw_fail(err, GW_ERR_NO_MEMORY, "no memory for the keys that sign users in");
    atomic_init(&s->references, 1);
    gw_status rc = load(s, issuer, key_file, old_key_file, err);
    if (rc == GW_OK)
        *ret = s;
    else
        oidc_signer_unref(s);
    return rc;
}

oidc_signer *oidc_signer_ref(oidc_signer *s)
{
    atomic_fetch_add_explicit(&s->references, 1, memory_order_relaxed);
    return s;
}

void oidc_signer_unref(oidc_signer *s)
{
    if (!s || atomic_fetch_sub_explicit(&s->references, 1, memory_order_acq_rel) != 1)
        return;
    gw_rsa_key_free(s->key);
    gw_buf_fini(&s->issuer);
    gw_buf_fini(&s->jwks);
    free(s);
}
