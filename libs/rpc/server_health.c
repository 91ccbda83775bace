/*
 * grpc.health.v1. The services of a process rise and fall together: "" and every service that is
 * served answer alike.
 */
#include "rpc/server_internal.h"

#include "grpc/health/v1/health.pb-c.h"

#include <stdlib.h>

typedef struct health_watch {
    gw_list node;
    gw_rpc_call *call;
    bool is_known;
} health_watch;

typedef Grpc__Health__V1__HealthCheckResponse health_response;

static bool is_known(const gw_rpc_server *s, const char *service)
{
    return service[0] == '\0' || rpc_server_serves(s, gw_str_of(service));
}

static health_response response_of(const gw_rpc_server *s)
{
    health_response r = GRPC__HEALTH__V1__HEALTH_CHECK_RESPONSE__INIT;
    r.status = s->serving ? GRPC__HEALTH__V1__HEALTH_CHECK_RESPONSE__SERVING_STATUS__SERVING
                          : GRPC__HEALTH__V1__HEALTH_CHECK_RESPONSE__SERVING_STATUS__NOT_SERVING;
    return r;
}

static void check(gw_rpc_call *c, const ProtobufCMessage *request, void *arg)
{
    const gw_rpc_server *s = arg;
    const Grpc__Health__V1__HealthCheckRequest *r =
        (const Grpc__Health__V1__HealthCheckRequest *)request;
    if (is_known(s, r->service)) {
        health_response response = response_of(s);
        gw_rpc_reply(c, &response.base);
        return;
    }
    gw_error err;
    (void)gw_fail(&err, GW_ERR_NOT_FOUND, "service %s is not served here", r->service);
    gw_rpc_fail(c, &err);
}

static void send_state(const gw_rpc_server *s, const health_watch *w)
{
    health_response response = response_of(s);
    if (!w->is_known)
        response.status = GRPC__HEALTH__V1__HEALTH_CHECK_RESPONSE__SERVING_STATUS__SERVICE_UNKNOWN;
    gw_rpc_send(w->call, &response.base);
}

static void watch(gw_rpc_call *c, const ProtobufCMessage *request, void *arg)
{
    gw_rpc_server *s = arg;
    const Grpc__Health__V1__HealthCheckRequest *r =
        (const Grpc__Health__V1__HealthCheckRequest *)request;
    health_watch *w = gw_arena_new_of(gw_rpc_call_arena(c), health_watch);
    if (!w) {
        gw_error err;
        (void)gw_fail(&err, GW_ERR_NO_MEMORY, "no memory for a watch");
        gw_rpc_fail(c, &err);
        return;
    }
    w->call = c;
    w->is_known = is_known(s, r->service);
    gw_list_push_back(&s->watches, &w->node);
    gw_rpc_call_set_data(c, w);
    send_state(s, w);
}

static void watch_cancelled(gw_rpc_call *c, void *arg)
{
    (void)arg;
    gw_rpc_finish(c);
}

static void watch_finished(gw_rpc_call *c, void *arg)
{
    (void)arg;
    health_watch *w = gw_rpc_call_data(c);
    if (w)
        gw_list_remove(&w->node);
}

void rpc_health_changed(gw_rpc_server *s)
{
    gw_list_each (node, &s->watches) {
        const health_watch *w = GW_CONTAINER_OF(node, health_watch, node);
        if (w->is_known)
            send_state(s, w);
    }
}

/* In the same order as the methods below. */
const gw_rpc_handler rpc_health_handlers[] = {
    {.path = "/grpc.health.v1.Health/Check", .start = check},
    {.path = "/grpc.health.v1.Health/Watch",
     .start = watch,
     .cancelled = watch_cancelled,
     .finished = watch_finished},
    {.path = NULL},
};

static const ProtobufCMethodDescriptor descriptors[] = {
    {"Check", &grpc__health__v1__health_check_request__descriptor,
     &grpc__health__v1__health_check_response__descriptor},
    {"Watch", &grpc__health__v1__health_check_request__descriptor,
     &grpc__health__v1__health_check_response__descriptor},
};

#define SERVICE                                                                                    \
    {                                                                                              \
        "grpc.health.v1.Health", sizeof("grpc.health.v1.Health") - 1                               \
    }
const gw_method rpc_health_methods[] = {
    {.service = &grpc__health__v1__health__descriptor,
     .descriptor = &descriptors[0],
     .path = {"/grpc.health.v1.Health/Check", sizeof("/grpc.health.v1.Health/Check") - 1},
     .service_name = SERVICE,
     .name = {"Check", 5},
     .max_deadline_ms = GW_METHOD_DEADLINE_MS,
     .access = {.declared = true, .anyone = true}},
    {.service = &grpc__health__v1__health__descriptor,
     .descriptor = &descriptors[1],
     .path = {"/grpc.health.v1.Health/Watch", sizeof("/grpc.health.v1.Health/Watch") - 1},
     .service_name = SERVICE,
     .name = {"Watch", 5},
     .max_deadline_ms = INT64_MAX,
     .server_streaming = true,
     .access = {.declared = true, .anyone = true}},
};
