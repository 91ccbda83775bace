#include "access/signing_secret.h"

#include "core/id.h"

#include <stdio.h>

#define PLACE_SIZE 64

/* An id is 24 hex digits; a longer one only binds to less of itself. */
static gw_str place_of(gw_str api_key_id, char out[PLACE_SIZE])
{
    int n = snprintf(out, PLACE_SIZE, "api_keys/" GW_STR_FMT "/signing.secret",
                     GW_STR_ARG(gw_str_slice(api_key_id, 0, 32)));

    return gw_str_n(out, (size_t)n);
}

void gw_signing_secret_mint(char out[GW_SIGNING_SECRET_LEN + 1])
{
    const size_t prefix_len = sizeof(GW_SIGNING_SECRET_PREFIX) - 1;

    memcpy(out, GW_SIGNING_SECRET_PREFIX, prefix_len);
    gw_random_base62(out + prefix_len, GW_SIGNING_SECRET_LEN - prefix_len);
}

gw_status gw_signing_secret_seal(const gw_master_keys *k, gw_str api_key_id, gw_str secret,
                                 gw_buf *out, gw_error *err)
{
    char place[PLACE_SIZE];

    return gw_seal(k, secret, place_of(api_key_id, place), out, err);
}

gw_status gw_signing_secret_open(const gw_master_keys *k, gw_str api_key_id, gw_str sealed,
                                 gw_buf *out, gw_error *err)
{
    char place[PLACE_SIZE];

    return gw_unseal(k, sealed, place_of(api_key_id, place), out, err);
}
