/*
 * The master keys behind gw_seal(): private to libs/crypto.
 */
#pragma once

#include "crypto/crypto.h"

#define GW_KID_MAX         32
#define GW_MASTER_KEY_SIZE 32

typedef struct gw_master_key {
    char kid[GW_KID_MAX + 1];
    uint8_t bytes[GW_MASTER_KEY_SIZE];
} gw_master_key;

bool gw_kid_is_valid(gw_str kid);
const gw_master_key *gw_master_keys_first(const gw_master_keys *k);
const gw_master_key *gw_master_keys_find(const gw_master_keys *k,
                                         gw_str kid); /* NULL when absent */
