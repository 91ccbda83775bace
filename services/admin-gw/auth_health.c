#include "auth_health.h"

#include "grpc/health/v1/health.pb-c.h"

#define CHECK_PATH  "/grpc.health.v1.Health/Check"
#define INTERVAL_MS 1000
#define DEADLINE_MS 2000

static void set_up(auth_health *h, bool is_up, const char *reason)
{
    bool is_news = !h->was_asked || h->is_up != is_up;
    h->was_asked = true;
    h->is_up = is_up;
    if (!is_news)
        return;
    if (is_up)
        gw_log_info(h->log, "auth_reached");
    else
        gw_log_warn(h->log, "auth_lost", gw_kv("error.message", reason));
    if (h->changed)
        h->changed(h->arg, is_up);
}

static void on_checked(void *arg, gw_status rc, const ProtobufCMessage *response,
                       const gw_error *err)
{
    auth_health *h = arg;
    h->call = NULL;
    if (h->stopped)
        return;
    const Grpc__Health__V1__HealthCheckResponse *r =
        (const Grpc__Health__V1__HealthCheckResponse *)(const void *)response;
    if (rc != GW_OK)
        set_up(h, false, err->message);
    else
        set_up(h, r->status == GRPC__HEALTH__V1__HEALTH_CHECK_RESPONSE__SERVING_STATUS__SERVING,
               "auth is up but not serving");
    gw_timer_set(h->loop, &h->timer, INTERVAL_MS);
}

static void check(void *arg)
{
    auth_health *h = arg;
    Grpc__Health__V1__HealthCheckRequest request = GRPC__HEALTH__V1__HEALTH_CHECK_REQUEST__INIT;
    gw_rpc_call_options o = {.path = CHECK_PATH,
                             .response = &grpc__health__v1__health_check_response__descriptor,
                             .deadline_ms = DEADLINE_MS};
    h->call = gw_rpc_unary(h->auth, &o, &request.base, on_checked, h);
    if (!h->call)
        gw_timer_set(h->loop, &h->timer, INTERVAL_MS);
}

void auth_health_start(auth_health *h)
{
    gw_timer_init(&h->timer, check, h);
    check(h);
}

void auth_health_stop(auth_health *h)
{
    h->stopped = true;
    gw_timer_cancel(h->loop, &h->timer);
    if (h->call)
        gw_rpc_cancel(h->call);
}
