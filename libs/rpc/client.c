#include "rpc/client_internal.h"
#include "rpc/service_config.h"
#include "rpc/tls.h"

#include <grpc/grpc_security.h>
#include <grpc/support/alloc.h>
#include <stdlib.h>

#define INTEGER_ARG(name, number)                                                                  \
    {                                                                                              \
        .type = GRPC_ARG_INTEGER, .key = (char *)(uintptr_t)(name), .value.integer = (number)      \
    }
#define STRING_ARG(name, text)                                                                     \
    {                                                                                              \
        .type = GRPC_ARG_STRING, .key = (char *)(uintptr_t)(name),                                 \
        .value.string = (char *)(uintptr_t)(text)                                                  \
    }

/* A stream that no connection was found for yet waits this long on the core of older TLS files. */
#define RETIRED_MS 5000

typedef struct retired_core {
    gw_list node;
    gw_rpc_channel *channel;
    grpc_channel *core;
    gw_timer patience;
} retired_core;

static grpc_channel *new_core(const gw_rpc_channel *c)
{
    gw_auto_buf config = {0};
    rpc_service_config_write(c->pump->schema, &config);
    if (gw_buf_failed(&config))
        return NULL;
    grpc_arg args[] = {
        STRING_ARG(GRPC_ARG_SERVICE_CONFIG, config.data),
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
        /* A name is asked anew when a connection is lost; not only every half minute. */
        INTEGER_ARG(GRPC_ARG_DNS_MIN_TIME_BETWEEN_RESOLUTIONS_MS, 1000),
        INTEGER_ARG(GRPC_ARG_DNS_ARES_QUERY_TIMEOUT_MS, 5000),
        INTEGER_ARG(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1),
        INTEGER_ARG(GRPC_COMPRESSION_CHANNEL_ENABLED_ALGORITHMS_BITSET, 1),
        INTEGER_ARG(GRPC_ARG_ENABLE_PER_MESSAGE_DECOMPRESSION, 0),
    };
    grpc_channel_args channel_args = {GW_ARRAY_LEN(args), args};
    grpc_channel_credentials *credentials = rpc_channel_credentials(c->tls);
    if (!credentials)
        return NULL;
    grpc_channel *core = grpc_channel_create(c->target, credentials, &channel_args);
    grpc_channel_credentials_release(credentials);
    return core;
}

/* ---- a change of the TLS files ---- */

/* What has a connection keeps it to its end. A call that waits for one does so until its deadline. */
static void drop_retired(void *arg)
{
    retired_core *r = arg;
    gw_list_remove(&r->node);
    gw_timer_cancel(r->channel->pump->loop, &r->patience);
    grpc_channel_destroy(r->core);
    free(r);
}

/* A stream may have no deadline: one that the old files never connect would wait for ever. */
static void on_patience_over(void *arg)
{
    retired_core *r = arg;
    gw_list_each (node, &r->channel->calls) {
        gw_rpc_client_call *c = GW_CONTAINER_OF(node, gw_rpc_client_call, node);
        if (c->has_one_answer || c->connected || c->made_on != r->core || c->failure.code != GW_OK)
            continue;
        (void)gw_fail(&c->failure, GW_ERR_UNAVAILABLE,
                      "no connection with the TLS files of before");
        grpc_call_cancel(c->core, NULL);
    }
    drop_retired(r);
}

static void on_tls_changed(void *arg)
{
    gw_rpc_channel *c = arg;
    retired_core *r = calloc(1, sizeof *r);
    grpc_channel *core = r ? new_core(c) : NULL;
    if (!core) {
        free(r);
        gw_log_error(c->log, "rpc_channel_not_renewed", gw_kv("server.address", c->target));
        return;
    }
    *r = (retired_core){.channel = c, .core = c->core};
    gw_timer_init(&r->patience, on_patience_over, r);
    gw_timer_set(c->pump->loop, &r->patience, RETIRED_MS);
    gw_list_push_back(&c->retired, &r->node);
    c->core = core;
    gw_log_debug(c->log, "rpc_channel_renewed", gw_kv("server.address", c->target));
}

/* ---- life ---- */

gw_status gw_rpc_channel_new(gw_rpc_pump *p, const char *target, gw_tls_files *tls, gw_log *log,
                             gw_rpc_channel **ret, gw_error *err)
{
    if (tls && strchr(target, ','))
        return gw_fail(err, GW_ERR_INVALID_ARGUMENT,
                       "rpc: %s: over TLS a target is one host, whose name the certificate bears; "
                       "dns:/// reaches all addresses of a name",
                       target);
    gw_rpc_channel *c = calloc(1, sizeof *c);
    if (c)
        c->target = gw_str_dup(gw_str_of(target));
    if (!c || !c->target) {
        free(c);
        return gw_fail(err, GW_ERR_NO_MEMORY, "rpc: no memory for a channel");
    }
    c->pump = p;
    c->log = log;
    c->tls = tls;
    gw_list_init(&c->retired);
    gw_list_init(&c->calls);
    c->core = new_core(c);
    if (!c->core) {
        free(c->target);
        free(c);
        return gw_fail(err, GW_ERR_INVALID_ARGUMENT, "rpc: bad target %s", target);
    }
    if (tls)
        gw_tls_files_subscribe(tls, &c->tls_changes, on_tls_changed, c);
    gw_log_debug(log, "rpc_channel_opened", gw_kv("server.address", target));
    *ret = c;
    return GW_OK;
}

void gw_rpc_channel_free(gw_rpc_channel *c)
{
    if (!c)
        return;
    gw_tls_files_unsubscribe(&c->tls_changes);
    gw_error why;
    (void)gw_fail(&why, GW_ERR_CANCELLED, "the channel was closed");
    for (gw_list *node = gw_list_pop_front(&c->calls); node; node = gw_list_pop_front(&c->calls))
        rpc_client_orphan(GW_CONTAINER_OF(node, gw_rpc_client_call, node), &why);
    for (gw_list *node = gw_list_first(&c->retired); node; node = gw_list_first(&c->retired))
        drop_retired(GW_CONTAINER_OF(node, retired_core, node));
    grpc_channel_destroy(c->core);
    free(c->target);
    free(c);
}
