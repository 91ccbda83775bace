/*
 * The smallest server on libs/rpc: what a call and a message of a stream cost by themselves. Unary calls get an empty answer, each
 * message of a stream one message.
 *
 *   bench_rpc_echo --listen 127.0.0.1:9104 --ops 127.0.0.1:9204
 */
#include "stand_in.h"

#include "apirelay/auth/v1/key_access_service.pb-c.h"
#include "apirelay/usage/v1/ingest_service.pb-c.h"

static void on_unary(gw_rpc_call *call, const ProtobufCMessage *m, void *arg)
{
    Apirelay__Auth__V1__ReportUseResponse r = APIRELAY__AUTH__V1__REPORT_USE_RESPONSE__INIT;
    (void)m;
    (void)arg;
    gw_rpc_reply(call, &r.base);
}

static void on_start(gw_rpc_call *call, const ProtobufCMessage *m, void *arg)
{
    (void)call;
    (void)m;
    (void)arg;
}

static void on_message(gw_rpc_call *call, const ProtobufCMessage *m, void *arg)
{
    const Apirelay__Usage__V1__StreamRequest *q = (const Apirelay__Usage__V1__StreamRequest *)m;
    Apirelay__Usage__V1__Ack ack = APIRELAY__USAGE__V1__ACK__INIT;
    Apirelay__Usage__V1__StreamResponse r = APIRELAY__USAGE__V1__STREAM_RESPONSE__INIT;
    (void)arg;
    ack.n = q->frame_case == APIRELAY__USAGE__V1__STREAM_REQUEST__FRAME_EVENTS
                ? q->events->first_seq
                : 0;
    r.frame_case = APIRELAY__USAGE__V1__STREAM_RESPONSE__FRAME_ACK;
    r.ack = &ack;
    gw_rpc_send(call, &r.base);
}

static void on_half_closed(gw_rpc_call *call, void *arg)
{
    (void)arg;
    gw_rpc_finish(call);
}

static void on_cancelled(gw_rpc_call *call, void *arg)
{
    gw_error err;
    (void)arg;
    (void)gw_fail(&err, GW_ERR_CANCELLED, "the caller is gone");
    gw_rpc_fail(call, &err);
}

static const gw_rpc_handler handlers[] = {
    {.path = "/apirelay.auth.v1.KeyAccessService/ReportUse", .start = on_unary},
    {.path = "/apirelay.usage.v1.IngestService/Stream",
     .start = on_start,
     .message = on_message,
     .half_closed = on_half_closed,
     .cancelled = on_cancelled},
    {.path = NULL},
};

int main(int argc, char **argv)
{
    static const stand_in_options o = {.name = "bench_rpc_echo", .handlers = handlers};
    return stand_in_run(&o, argc, argv);
}
