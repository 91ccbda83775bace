#include "rpc/service_config.h"

/* At most three repetitions, 50 ms to 1 s apart: a restart of one of several replicas takes none of
 * it, and one whose service is down as a whole hears of it within a second. */
#define RETRY_POLICY                                                                               \
    "\"retryPolicy\":{\"maxAttempts\":4,\"initialBackoff\":\"0.05s\",\"maxBackoff\":\"1s\","       \
    "\"backoffMultiplier\":2.5,\"retryableStatusCodes\":[\"UNAVAILABLE\"]}"
/* The budget: each failure takes 1, each success gives 0.1 back; below half of it nothing is repeated,
 * so that a service in trouble is not asked four times as much. */
#define RETRY_BUDGET "\"retryThrottling\":{\"maxTokens\":200,\"tokenRatio\":0.1}"

static bool may_repeat(const gw_method *m)
{
    return m->idempotent && !m->client_streaming && !m->server_streaming;
}

static void write_names(const gw_schema *schema, gw_buf *out)
{
    const char *separator = "";
    for (size_t i = 0; i < gw_schema_method_count(schema); i++) {
        const gw_method *m = gw_schema_method_at(schema, i);
        if (!may_repeat(m))
            continue;
        gw_buf_appendf(out, "%s{\"service\":\"" GW_STR_FMT "\",\"method\":\"" GW_STR_FMT "\"}",
                       separator, GW_STR_ARG(m->service_name), GW_STR_ARG(m->name));
        separator = ",";
    }
}

void rpc_service_config_write(const gw_schema *schema, gw_buf *out)
{
    gw_buf_append_c(out, "{\"loadBalancingConfig\":[{\"round_robin\":{}}],"
                         "\"healthCheckConfig\":{\"serviceName\":\"\"}");
    if (schema) {
        gw_buf_append_c(out, "," RETRY_BUDGET ",\"methodConfig\":[{\"name\":[");
        write_names(schema, out);
        gw_buf_append_c(out, "]," RETRY_POLICY "}]");
    }
    gw_buf_append_c(out, "}");
}
