#include "rpc/client_internal.h"

#include <grpc/grpc_security.h>
#include <grpc/support/alloc.h>
#include <stdlib.h>

#define SERVICE_CONFIG "{\"loadBalancingConfig\":[{\"round_robin\":{}}]}"

#define INTEGER_ARG(name, number)                                                                  \
    {                                                                                              \
        .type = GRPC_ARG_INTEGER, .key = (char *)(uintptr_t)(name), .value.integer = (number)      \
    }
#define STRING_ARG(name, text)                                                                     \
    {                                                                                              \
        .type = GRPC_ARG_STRING, .key = (char *)(uintptr_t)(name),                                 \
        .value.string = (char *)(uintptr_t)(text)                                                  \
    }

static grpc_channel *new_core(const char *target)
{
    grpc_arg args[] = {
        STRING_ARG(GRPC_ARG_SERVICE_CONFIG, SERVICE_CONFIG),
        /* Only ours: a TXT record must not change it. */
        INTEGER_ARG(GRPC_ARG_SERVICE_CONFIG_DISABLE_RESOLUTION, 1),
        INTEGER_ARG(GRPC_ARG_ENABLE_HTTP_PROXY, 0), /* none from the environment */
        INTEGER_ARG(GRPC_ARG_MAX_RECEIVE_MESSAGE_LENGTH, -1), /* rpc_unpack() bounds each call */
        INTEGER_ARG(GRPC_ARG_KEEPALIVE_TIME_MS, 20000),
        INTEGER_ARG(GRPC_ARG_KEEPALIVE_TIMEOUT_MS, 5000),
        INTEGER_ARG(GRPC_ARG_HTTP2_MAX_PINGS_WITHOUT_DATA, 0), /* a watch may be silent for long */
        /* A restarted peer is found again within a second or two, not after core's two minutes. */
        INTEGER_ARG(GRPC_ARG_INITIAL_RECONNECT_BACKOFF_MS, 100),
        INTEGER_ARG(GRPC_ARG_MAX_RECONNECT_BACKOFF_MS, 2000),
        INTEGER_ARG(GRPC_ARG_MIN_RECONNECT_BACKOFF_MS, 5000), /* really the connect timeout */
        INTEGER_ARG(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1),
        INTEGER_ARG(GRPC_COMPRESSION_CHANNEL_ENABLED_ALGORITHMS_BITSET, 1),
        INTEGER_ARG(GRPC_ARG_ENABLE_PER_MESSAGE_DECOMPRESSION, 0),
    };
    grpc_channel_args channel_args = {GW_ARRAY_LEN(args), args};
    grpc_channel_credentials *insecure = grpc_insecure_credentials_create();
    grpc_channel *core = grpc_channel_create(target, insecure, &channel_args);
    grpc_channel_credentials_release(insecure);
    return core;
}

gw_status gw_rpc_channel_new(gw_rpc_pump *p, const char *target, gw_log *log, gw_rpc_channel **ret,
                             gw_error *err)
{
    gw_rpc_channel *c = calloc(1, sizeof *c);
    if (!c)
        return gw_fail(err, GW_ERR_NO_MEMORY, "rpc: no memory for a channel");
    c->pump = p;
    gw_list_init(&c->calls);
    c->core = new_core(target);
    if (!c->core) {
        free(c);
        return gw_fail(err, GW_ERR_INVALID_ARGUMENT, "rpc: bad target %s", target);
    }
    gw_log_debug(log, "rpc_channel_opened", gw_kv("server.address", target));
    *ret = c;
    return GW_OK;
}

void gw_rpc_channel_free(gw_rpc_channel *c)
{
    if (!c)
        return;
    gw_error why;
    (void)gw_fail(&why, GW_ERR_CANCELLED, "the channel was closed");
    for (gw_list *node = gw_list_pop_front(&c->calls); node; node = gw_list_pop_front(&c->calls))
        rpc_client_orphan(GW_CONTAINER_OF(node, gw_rpc_client_call, node), &why);
    grpc_channel_destroy(c->core);
    free(c);
}
