#include "access/key_format.h"

#include "crypto/crypto.h"

#define BODY_LEN (GW_KEY_ID_LEN + GW_KEY_SECRET_LEN + GW_KEY_TAG_LEN)
#define TAG_BITS 35

static bool is_base62(gw_str s)
{
    for (size_t i = 0; i < s.len; i++) {
        char c = s.ptr[i];
        if (!((c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z')))
            return false;
    }
    return true;
}

bool gw_key_env_is_valid(gw_str env)
{
    if (env.len < 2 || env.len > 10 || env.ptr[0] < 'a' || env.ptr[0] > 'z')
        return false;
    for (size_t i = 1; i < env.len; i++) {
        char c = env.ptr[i];
        if (!((c >= 'a' && c <= 'z') || (c >= '0' && c <= '9')))
            return false;
    }
    return true;
}

bool gw_key_parse(gw_str key, gw_key_parts *ret)
{
    const gw_str prefix = GW_STR("lc_");
    if (key.len > GW_KEY_MAX_LEN || key.len < prefix.len + 2 + 1 + BODY_LEN ||
        !gw_str_starts_with(key, prefix))
        return false;
    size_t body_at = key.len - BODY_LEN;
    gw_str env = gw_str_slice(key, prefix.len, body_at - 1);
    gw_str body = gw_str_slice(key, body_at, key.len);
    if (key.ptr[body_at - 1] != '_' || !gw_key_env_is_valid(env) || !is_base62(body))
        return false;
    *ret = (gw_key_parts){
        .env = env,
        .key_id = gw_str_slice(body, 0, GW_KEY_ID_LEN),
        .pepper_id = body.ptr[0],
        .secret = gw_str_slice(body, GW_KEY_ID_LEN, GW_KEY_ID_LEN + GW_KEY_SECRET_LEN),
        .tag = gw_str_slice(body, BODY_LEN - GW_KEY_TAG_LEN, BODY_LEN),
        .untagged = gw_str_slice(key, 0, key.len - GW_KEY_TAG_LEN),
    };
    return true;
}

void gw_key_tag(const uint8_t tag_key[GW_TAG_KEY_SIZE], gw_str untagged,
                char out[GW_KEY_TAG_LEN + 1])
{
    uint8_t mac[GW_SHA256_SIZE];
    gw_hmac_sha256(tag_key, GW_TAG_KEY_SIZE, untagged.ptr, untagged.len, mac);
    uint64_t bits = 0;
    for (size_t i = 0; i < 5; i++)
        bits = bits << 8 | mac[i];
    bits >>= 40 - TAG_BITS;
    /* 62^6 > 2^35, so the number always fits. */
    if (!gw_base62_encode(bits, out, GW_KEY_TAG_LEN))
        memset(out, '0', GW_KEY_TAG_LEN);
    out[GW_KEY_TAG_LEN] = '\0';
}

bool gw_key_tag_is_valid(const gw_tag_key *keys, size_t count, const gw_key_parts *parts)
{
    for (size_t i = 0; i < count; i++) {
        if (keys[i].pepper_id != parts->pepper_id)
            continue;
        char tag[GW_KEY_TAG_LEN + 1];
        gw_key_tag(keys[i].key, parts->untagged, tag);
        return gw_secret_eq(tag, GW_KEY_TAG_LEN, parts->tag.ptr, parts->tag.len);
    }
    return false;
}
