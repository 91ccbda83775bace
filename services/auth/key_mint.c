#include "key_mint.h"

#include "core/id.h"

#include <stdio.h>

gw_status key_mint(const peppers *p, gw_str env, gw_str key_id, minted_key *ret, gw_error *err)
{
    char secret[GW_KEY_SECRET_LEN + 1];
    minted_key k;
    if (!gw_key_env_is_valid(env) || (key_id.len && key_id.len != GW_KEY_ID_LEN))
        return gw_fail(err, GW_ERR_INTERNAL, "mint of a key with a bad env or id");
    if (key_id.len) {
        if (!peppers_has(p, key_id.ptr[0]))
            return gw_fail(err, GW_ERR_FAILED_PRECONDITION,
                           "the pepper of key " GW_STR_FMT " is retired; make a new key",
                           GW_STR_ARG(key_id));
        snprintf(k.key_id, sizeof(k.key_id), GW_STR_FMT, GW_STR_ARG(key_id));
    } else {
        gw_random_base62(k.key_id, GW_KEY_ID_LEN);
        k.key_id[0] = peppers_current(p);
    }
    gw_random_base62(secret, GW_KEY_SECRET_LEN);
    int len = snprintf(k.text, sizeof(k.text), "lc_" GW_STR_FMT "_%s%s", GW_STR_ARG(env), k.key_id,
                       secret);
    gw_secret_wipe(secret, sizeof(secret));

    size_t n;
    const gw_tag_key *keys = peppers_tag_keys(p, &n);
    for (size_t i = 0; i < n; i++) {
        if (keys[i].pepper_id == k.key_id[0])
            gw_key_tag(keys[i].key, gw_str_n(k.text, (size_t)len), k.text + len);
    }
    *ret = k;
    gw_secret_wipe(&k, sizeof(k));
    return GW_OK;
}

bool key_mint_secret(gw_arena *a, const peppers *p, gw_str key, int64_t now_ms, api_key_secret *ret)
{
    gw_key_parts parts;
    uint8_t hmac[GW_SHA256_SIZE];
    if (!gw_key_parse(key, &parts))
        return false;
    char pepper = peppers_has(p, parts.pepper_id) ? parts.pepper_id : peppers_current(p);
    if (!peppers_verifier(p, pepper, key, hmac))
        return false;
    *ret = (api_key_secret){.pepper_id = pepper,
                            .hmac = gw_arena_dup(a, gw_str_n(hmac, sizeof(hmac))),
                            .created_ms = now_ms};
    return ret->hmac.len == sizeof(hmac);
}

static bool is_base62(gw_str s)
{
    for (size_t i = 0; i < s.len; i++) {
        uint64_t ignored;
        if (!gw_base62_decode(gw_str_slice(s, i, i + 1), &ignored))
            return false;
    }
    return true;
}

void admin_key_mint(char out[ADMIN_KEY_SIZE])
{
    memcpy(out, "lcadm_", sizeof("lcadm_"));
    gw_random_base62(out + 6, ADMIN_KEY_ID_LEN + ADMIN_KEY_SECRET_LEN);
}

bool admin_key_parse(gw_str key, gw_str *ret_id)
{
    if (key.len != ADMIN_KEY_SIZE - 1 || !gw_str_starts_with(key, GW_STR("lcadm_")) ||
        !is_base62(gw_str_slice(key, 6, key.len)))
        return false;
    *ret_id = gw_str_slice(key, 6, 6 + ADMIN_KEY_ID_LEN);
    return true;
}

void session_token_mint(char out[SESSION_TOKEN_SIZE])
{
    memcpy(out, "lcses_", sizeof("lcses_"));
    gw_random_base62(out + 6, SESSION_TOKEN_SECRET_LEN);
}

bool session_token_is_shaped(gw_str token)
{
    return token.len == SESSION_TOKEN_SIZE - 1 && gw_str_starts_with(token, GW_STR("lcses_")) &&
           is_base62(gw_str_slice(token, 6, token.len));
}
