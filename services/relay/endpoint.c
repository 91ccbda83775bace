#include "endpoint.h"

static const endpoint_info table[ENDPOINT_COUNT] = {
    [ENDPOINT_NONE] = {"none", "", "", "", false, false, false},
    [ENDPOINT_CHAT] = {"chat", "/v1/chat/completions", "POST", "POST, OPTIONS", true, true, true},
    [ENDPOINT_COMPLETIONS] = {"completions", "/v1/completions", "POST", "POST, OPTIONS", true, true,
                              true},
    [ENDPOINT_EMBEDDINGS] = {"embeddings", "/v1/embeddings", "POST", "POST, OPTIONS", true, false,
                             true},
    [ENDPOINT_MESSAGES] = {"messages", "/v1/messages", "POST", "POST, OPTIONS", true, true, true},
    [ENDPOINT_COUNT_TOKENS] = {"count_tokens", "/v1/messages/count_tokens", "POST", "POST, OPTIONS",
                               true, false, false},
    [ENDPOINT_MODELS] = {"models", "/v1/models", "GET", "GET, HEAD, OPTIONS", false, false, false},
    [ENDPOINT_MODEL] = {"model", "/v1/models/{id}", "GET", "GET, HEAD, OPTIONS", false, false,
                        false},
    [ENDPOINT_USAGE] = {"usage", "/v1/usage", "GET", "GET, HEAD, OPTIONS", false, false, false},
};

const endpoint_info *endpoint_describe(relay_endpoint e)
{
    return &table[e];
}

relay_endpoint endpoint_find(gw_str path, gw_str *ret_rest)
{
    const gw_str models = GW_STR("/v1/models/");

    *ret_rest = GW_STR("");
    if (gw_str_starts_with(path, models) && path.len > models.len) {
        *ret_rest = gw_str_slice(path, models.len, path.len);
        return ENDPOINT_MODEL;
    }
    for (int i = ENDPOINT_NONE + 1; i < ENDPOINT_COUNT; i++)
        if (gw_str_eq_c(path, table[i].path))
            return (relay_endpoint)i;
    return ENDPOINT_NONE;
}

caller_dialect endpoint_dialect(relay_endpoint e, gw_str path, gw_str anthropic_version)
{
    if (gw_str_starts_with(path, GW_STR("/v1/messages")))
        return DIALECT_ANTHROPIC;
    /* Models are listed under the same path in both. */
    if (e == ENDPOINT_NONE || e == ENDPOINT_MODELS || e == ENDPOINT_MODEL)
        return anthropic_version.len > 0 ? DIALECT_ANTHROPIC : DIALECT_OPENAI;
    return DIALECT_OPENAI;
}
