/*
 * API keys as text: lc_<env>_<id:12><secret:32><tag:6>, base62.
 *
 * env matches [a-z][a-z0-9]{1,9}; the first character of id names the pepper, so peppers rotate
 * without killing keys. tag = first 35 bits of HMAC-SHA256(tag key, everything before the tag), as
 * 6 base62 characters; tag key = HKDF-SHA256(pepper, info "tag", 32 bytes). The tag is a filter
 * against floods, not a secret: the relay holds tag keys only, never a pepper.
 *
 * Thread: values; a gw_tag_keys is immutable.
 */
#pragma once

#include "core/status.h"
#include "core/str.h"

#define GW_KEY_ID_LEN     12
#define GW_KEY_SECRET_LEN 32
#define GW_KEY_TAG_LEN    6
#define GW_KEY_MAX_LEN    64 /* of a whole key, without NUL */
#define GW_TAG_KEY_SIZE   32

typedef struct gw_key_parts { /* views into the key */
    gw_str env;
    gw_str key_id; /* 12 characters, the public part */
    char pepper_id; /* key_id[0] */
    gw_str secret;
    gw_str tag;
    gw_str untagged; /* all before the tag */
} gw_key_parts;

/* False when the shape is wrong; says nothing about the tag. */
GW_CHECK bool gw_key_parse(gw_str key, gw_key_parts *ret);

typedef struct gw_tag_key {
    char pepper_id; /* [0-9A-Za-z] */
    uint8_t key[GW_TAG_KEY_SIZE];
} gw_tag_key;

/* The tag of `untagged`; out gets GW_KEY_TAG_LEN characters and NUL. */
void gw_key_tag(const uint8_t tag_key[GW_TAG_KEY_SIZE], gw_str untagged,
                char out[GW_KEY_TAG_LEN + 1]);
/* Constant time in the tag. False when no tag key has the key's pepper id. */
bool gw_key_tag_is_valid(const gw_tag_key *keys, size_t count, const gw_key_parts *parts);

/* True for [a-z][a-z0-9]{1,9}. */
bool gw_key_env_is_valid(gw_str env);
