#include "core/id.h"
#include "crypto/crypto.h"

#include <argon2.h>

#define SALT_SIZE      16
#define TAG_SIZE       32
#define MEMORY_KIB_MAX (64 * 1024)
#define PASSES_MAX     10
#define LANES_MAX      8

const gw_argon2_cost gw_argon2_default = {.memory_kib = 19 * 1024, .passes = 2, .lanes = 1};

/* RFC 9106 §3.1 asks for 8 KiB a lane at least. */
static bool cost_is_sane(gw_argon2_cost c)
{
    return c.lanes >= 1 && c.lanes <= LANES_MAX && c.passes >= 1 && c.passes <= PASSES_MAX &&
           c.memory_kib >= 8 * c.lanes && c.memory_kib <= MEMORY_KIB_MAX;
}

gw_status gw_argon2id_hash(gw_str secret, gw_argon2_cost cost, char out[GW_ARGON2_PHC_SIZE],
                           gw_error *err)
{
    if (!cost_is_sane(cost) || secret.len > UINT32_MAX)
        return gw_fail(err, GW_ERR_INVALID_ARGUMENT, "Argon2id cost m=%u,t=%u,p=%u is out of range",
                       cost.memory_kib, cost.passes, cost.lanes);
    uint8_t salt[SALT_SIZE];
    gw_random_bytes(salt, sizeof(salt));
    int rc = argon2id_hash_encoded(cost.passes, cost.memory_kib, cost.lanes,
                                   secret.len ? secret.ptr : "", secret.len, salt, sizeof(salt),
                                   TAG_SIZE, out, GW_ARGON2_PHC_SIZE);
    if (rc == ARGON2_MEMORY_ALLOCATION_ERROR)
        return gw_fail(err, GW_ERR_NO_MEMORY, "out of memory for Argon2id (%u KiB)",
                       cost.memory_kib);
    if (rc != ARGON2_OK)
        return gw_fail(err, GW_ERR_INTERNAL, "Argon2id failed: %s", argon2_error_message(rc));
    return GW_OK;
}

static bool take_prefix(gw_str *rest, gw_str prefix)
{
    if (!gw_str_starts_with(*rest, prefix))
        return false;
    *rest = gw_str_slice(*rest, prefix.len, rest->len);
    return true;
}

static bool take_number(gw_str *rest, gw_str name, char end, uint32_t *ret)
{
    gw_str digits;
    int64_t value;
    if (!take_prefix(rest, name) || !gw_str_split(rest, end, &digits) ||
        !gw_str_to_int64(digits, &value) || value < 0 || value > UINT32_MAX)
        return false;
    *ret = (uint32_t)value;
    return true;
}

/* The cost is read before the library sees the string: it would allocate whatever `m` asks for. */
static bool parse_cost(gw_str phc, gw_argon2_cost *ret)
{
    return take_prefix(&phc, GW_STR("$argon2id$v=19$")) &&
           take_number(&phc, GW_STR("m="), ',', &ret->memory_kib) &&
           take_number(&phc, GW_STR("t="), ',', &ret->passes) &&
           take_number(&phc, GW_STR("p="), '$', &ret->lanes);
}

bool gw_argon2id_verify(const char *phc, gw_str secret)
{
    gw_argon2_cost cost;
    gw_str text = gw_str_of(phc);
    if (text.len >= GW_ARGON2_PHC_SIZE || !parse_cost(text, &cost) || !cost_is_sane(cost))
        return false;
    return argon2id_verify(phc, secret.len ? secret.ptr : "", secret.len) == ARGON2_OK;
}
