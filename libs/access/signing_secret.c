#include "access/signing_secret.h"

#include "core/id.h"

void gw_signing_secret_mint(char out[GW_SIGNING_SECRET_LEN + 1])
{
    const size_t prefix_len = sizeof(GW_SIGNING_SECRET_PREFIX) - 1;

    memcpy(out, GW_SIGNING_SECRET_PREFIX, prefix_len);
    gw_random_base62(out + prefix_len, GW_SIGNING_SECRET_LEN - prefix_len);
}
