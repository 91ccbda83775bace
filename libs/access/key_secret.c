#include "access/key_secret.h"

#include <stdio.h>

#define PLACE_SIZE 80

/* An id is 24 hex digits, and a field is one of ours; what is longer only binds to less of itself. */
static gw_str place_of(gw_str api_key_id, const char *field, char out[PLACE_SIZE])
{
    int n = snprintf(out, PLACE_SIZE, "api_keys/" GW_STR_FMT "/%.32s",
                     GW_STR_ARG(gw_str_slice(api_key_id, 0, 32)), field);

    return gw_str_n(out, (size_t)n);
}

gw_status gw_key_secret_seal(const gw_master_keys *k, gw_str api_key_id, const char *field,
                             gw_str secret, gw_buf *out, gw_error *err)
{
    char place[PLACE_SIZE];

    return gw_seal(k, secret, place_of(api_key_id, field, place), out, err);
}

gw_status gw_key_secret_open(const gw_master_keys *k, gw_str api_key_id, const char *field,
                             gw_str sealed, gw_buf *out, gw_error *err)
{
    char place[PLACE_SIZE];

    return gw_unseal(k, sealed, place_of(api_key_id, field, place), out, err);
}
