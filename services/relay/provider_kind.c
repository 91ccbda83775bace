#include "provider_kind.h"

/*
 * The usual of OpenAI's SDK, but: LibreChat answers slowly and thinks between events (LIBRECHAT.md §7.4), and a
 * local server may load its model first.
 */
static const provider_kind_info kinds[PROVIDER_KIND_COUNT] = {
    [PROVIDER_OPENAI] = {"openai", "", "", 5000, 120000, 120000, 600000},
    [PROVIDER_LIBRECHAT] = {"librechat", "", "/api/agents/v1", 2000, 60000, 300000, 900000},
    [PROVIDER_LOCAL] = {"local", "/v1", "", 5000, 300000, 120000, 900000},
    [PROVIDER_ANTHROPIC] = {"anthropic", "/v1", "", 5000, 120000, 120000, 600000},
    [PROVIDER_GOOGLE] = {"google", "/v1beta", "", 5000, 120000, 120000, 600000},
};

const provider_kind_info *provider_kind_describe(provider_kind kind)
{
    return &kinds[kind];
}

bool provider_kind_find(gw_str name, provider_kind *ret)
{
    for (int i = 0; i < PROVIDER_KIND_COUNT; i++) {
        if (gw_str_eq_c(name, kinds[i].name)) {
            *ret = (provider_kind)i;
            return true;
        }
    }
    return false;
}
