#include "cors.h"

#define EXPOSED                                                                                    \
    "x-request-id, retry-after, x-should-retry, x-relay-attempts, x-relay-ignored-params, "
#define OPENAI_EXPOSED                                                                             \
    "x-ratelimit-limit-requests, x-ratelimit-remaining-requests, x-ratelimit-reset-requests, "     \
    "x-ratelimit-limit-tokens, x-ratelimit-remaining-tokens, x-ratelimit-reset-tokens"
#define ANTHROPIC_EXPOSED                                                                          \
    "request-id, anthropic-ratelimit-requests-limit, anthropic-ratelimit-requests-remaining, "     \
    "anthropic-ratelimit-requests-reset, anthropic-ratelimit-tokens-limit, "                       \
    "anthropic-ratelimit-tokens-remaining, anthropic-ratelimit-tokens-reset"
#define ANY_METHOD "GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS"
#define MAX_AGE_S  "600"
#define ALLOW_FROM "access-control-allow-origin"
#define VARY_ORIGIN                                                                                \
    {                                                                                              \
        GW_STR("vary"), GW_STR("Origin")                                                           \
    }

bool cors_may_read(const origin_set *known, const key_policy *p, gw_str origin)
{
    if (!origin.ptr)
        return false;
    return p ? key_policy_allows_origin(p, origin) : origin_set_has(known, origin);
}

size_t cors_read_headers(gw_str origin, bool may_read, caller_dialect dialect,
                         gw_header out[CORS_READ_HEADERS])
{
    size_t count = 0;

    if (!origin.ptr)
        return 0;
    out[count++] = (gw_header)VARY_ORIGIN;
    if (!may_read)
        return count;
    out[count++] = (gw_header){GW_STR(ALLOW_FROM), origin};
    out[count++] = (gw_header){GW_STR("access-control-expose-headers"),
                               dialect == DIALECT_ANTHROPIC ? GW_STR(EXPOSED ANTHROPIC_EXPOSED)
                                                            : GW_STR(EXPOSED OPENAI_EXPOSED)};
    return count;
}

size_t cors_preflight_headers(gw_str origin, const char *methods, gw_str wanted,
                              gw_header out[CORS_PREFLIGHT_HEADERS])
{
    size_t count = 0;

    out[count++] = (gw_header){GW_STR(ALLOW_FROM), origin};
    out[count++] = (gw_header){GW_STR("access-control-allow-methods"),
                               *methods ? gw_str_of(methods) : GW_STR(ANY_METHOD)};
    if (wanted.len > 0)
        out[count++] = (gw_header){GW_STR("access-control-allow-headers"), wanted};
    out[count++] = (gw_header){GW_STR("access-control-max-age"), GW_STR(MAX_AGE_S)};
    return count;
}
