#include "chat_rpc.h"

#include "relay_request.h"

#include "access/access.h"

#include "apirelay/relay/v1/chat_service.pb-c.h"

#define SERVICE_PATH      "/apirelay.relay.v1.ChatService/"
#define QUEUE_HIGH_WATER  16 /* chunks a slow client may leave in the queue */
#define MAX_MESSAGE_BYTES ((size_t)32 * 1024 * 1024)

typedef struct rpc_caller { /* in the call's arena */
    relay_sink sink; /* first: a const sink is read back by its address */
    gw_rpc_call *call;
    relay_request *request; /* NULL once released */
    gw_str json;
} rpc_caller;

static rpc_caller *caller_of(relay_sink *s)
{
    return GW_CONTAINER_OF(s, rpc_caller, sink);
}

/* ---- sink ---- */

static char *constant(const char *s)
{
    return (char *)(uintptr_t)s; /* protobuf-c's fields are not const; packing only reads */
}

static ProtobufCBinaryData bytes_of(gw_str s)
{
    return (ProtobufCBinaryData){.len = s.len, .data = (uint8_t *)(uintptr_t)s.ptr};
}

static void fill_usage(Apirelay__Relay__V1__Usage *u, const relay_bill *b)
{
    apirelay__relay__v1__usage__init(u);
    u->prompt_tokens = b->tokens.prompt;
    u->completion_tokens = b->tokens.completion;
    u->total_tokens = b->total_tokens;
    u->cached_tokens = b->tokens.cached;
    u->reasoning_tokens = b->tokens.reasoning;
    u->cost = nano_usd_to_usd(b->cost_nano_usd);
    u->cost_nano_usd = b->cost_nano_usd;
    u->billing_basis = constant(b->basis);
    u->outcome = constant(b->outcome);
    u->finish_reason = constant(b->finish_reason);
    u->request_id = constant(b->request_id);
}

static void sink_read_body(relay_sink *s, size_t max_bytes)
{
    rpc_caller *caller = caller_of(s);

    (void)max_bytes; /* it is here already; READ_BODY checks its size */
    relay_request_body_arrived(caller->request, caller->json);
}

static void sink_respond(relay_sink *s, const relay_answer *a, const relay_bill *bill)
{
    Apirelay__Relay__V1__CreateChatCompletionResponse m;
    Apirelay__Relay__V1__Usage usage;

    apirelay__relay__v1__create_chat_completion_response__init(&m);
    fill_usage(&usage, bill);
    m.openai_json = bytes_of(a->body);
    m.usage = &usage;
    m.request_id = constant(bill->request_id);
    gw_rpc_reply(caller_of(s)->call, &m.base);
}

static void sink_fail(relay_sink *s, const openai_error *e, const relay_answer *a)
{
    gw_rpc_call *call = caller_of(s)->call;
    int64_t seconds = 0;
    (void)a;
    /* A provider may have named a date instead. */
    if (gw_str_to_int64(e->retry_after, &seconds) && seconds > 0 && seconds < INT32_MAX)
        gw_rpc_set_retry_after(call, seconds * GW_MS_PER_S);
    gw_rpc_fail(call, &e->error);
}

static void sink_start(relay_sink *s, const relay_answer *a)
{
    (void)s;
    (void)a;
}

static void sink_event(relay_sink *s, const answer_event *e)
{
    Apirelay__Relay__V1__StreamChatCompletionResponse m;

    if (e->data.len == 0)
        return; /* comments mean nothing here */
    apirelay__relay__v1__stream_chat_completion_response__init(&m);
    m.event_case = APIRELAY__RELAY__V1__STREAM_CHAT_COMPLETION_RESPONSE__EVENT_CHUNK_JSON;
    m.chunk_json = bytes_of(e->data);
    gw_rpc_send(caller_of(s)->call, &m.base);
}

static void sink_finish(relay_sink *s, gw_str done_raw, const relay_bill *bill)
{
    Apirelay__Relay__V1__StreamChatCompletionResponse m;
    Apirelay__Relay__V1__Usage usage;
    gw_rpc_call *call = caller_of(s)->call;

    (void)done_raw;
    apirelay__relay__v1__stream_chat_completion_response__init(&m);
    fill_usage(&usage, bill);
    m.event_case = APIRELAY__RELAY__V1__STREAM_CHAT_COMPLETION_RESPONSE__EVENT_USAGE;
    m.usage = &usage;
    gw_rpc_send(call, &m.base);
    gw_rpc_finish(call);
}

static void sink_fail_stream(relay_sink *s, const openai_error *e)
{
    gw_rpc_fail(caller_of(s)->call, &e->error);
}

static bool sink_is_congested(const relay_sink *s)
{
    return gw_rpc_call_queued(((const rpc_caller *)(const void *)s)->call) > QUEUE_HIGH_WATER;
}

static void sink_released(relay_sink *s)
{
    caller_of(s)->request = NULL;
}

static const relay_sink_ops sink_ops = {
    .read_body = sink_read_body,
    .respond = sink_respond,
    .fail = sink_fail,
    .start = sink_start,
    .event = sink_event,
    .keep_alive = NULL, /* HTTP/2 pings */
    .finish = sink_finish,
    .fail_stream = sink_fail_stream,
    .is_congested = sink_is_congested,
    .released = sink_released,
};

/* ---- calls ---- */

/* Metadata with the meaning of the HTTP header of that name. */
static const char *const metadata[] = {
    "x-request-id",
    "x-relay-conversation-id",
    "x-relay-message-id",
    "x-relay-hop",
    "x-relay-client-version",
    "x-relay-end-user",
    "user-agent",
    "traceparent",
    "tracestate",
    "x-relay-timestamp",
    "x-relay-nonce",
    "x-relay-signature",
};
#define TIMES_MAX 2 /* that one is given twice is to be seen */

static gw_headers headers_of(gw_rpc_call *call)
{
    gw_arena *arena = gw_rpc_call_arena(call);
    gw_header *items = gw_arena_array(arena, gw_header, TIMES_MAX * GW_ARRAY_LEN(metadata) + 1);
    size_t count = 0;

    if (!items)
        return (gw_headers){0};
    items[count++] = (gw_header){
        GW_STR("authorization"),
        gw_arena_printf(arena, "Bearer %.*s", GW_STR_ARG(gw_rpc_call_caller(call)->credential))};
    for (size_t i = 0; i < GW_ARRAY_LEN(metadata); i++) {
        size_t at = 0, times = 0;
        gw_str value;
        while (times++ < TIMES_MAX &&
               (value = gw_rpc_call_metadata_next(call, metadata[i], &at)).ptr)
            if (value.len > 0)
                items[count++] = (gw_header){gw_str_of(metadata[i]), value};
    }
    return (gw_headers){.items = items, .count = count};
}

static void start(relay_core *core, gw_rpc_call *call, gw_str json, stream_mode mode)
{
    rpc_caller *caller = gw_arena_new_of(gw_rpc_call_arena(call), rpc_caller);
    relay_call what = {
        .endpoint = ENDPOINT_CHAT,
        .mode = mode,
        .target = gw_rpc_call_method(call)->path,
        .path = gw_str_of(endpoint_describe(ENDPOINT_CHAT)->path),
        .headers = headers_of(call),
        .arrival_ns = gw_clock_mono_ns(core->clock),
        .deadline_ms = gw_rpc_call_deadline_ms(call),
    };
    gw_error err;

    if (!gw_ip_parse(gw_access_peer_address(gw_rpc_call_peer(call)), &what.client))
        what.client = (gw_ip){0}; /* a Unix socket: no address list allows it */
    if (caller) {
        *caller = (rpc_caller){.sink = {.ops = &sink_ops}, .call = call, .json = json};
        gw_rpc_call_set_data(call, caller);
        if (relay_request_start(core, &what, &caller->sink, &caller->request))
            return;
    }
    (void)gw_fail(&err, GW_ERR_NO_MEMORY, "the gateway is out of memory");
    gw_rpc_fail(call, &err);
}

static void on_create(gw_rpc_call *call, const ProtobufCMessage *request, void *arg)
{
    const Apirelay__Relay__V1__CreateChatCompletionRequest *m = (const void *)request;

    start(arg, call, gw_str_n(m->openai_json.data, m->openai_json.len), STREAM_REFUSED);
}

static void on_stream(gw_rpc_call *call, const ProtobufCMessage *request, void *arg)
{
    const Apirelay__Relay__V1__StreamChatCompletionRequest *m = (const void *)request;

    start(arg, call, gw_str_n(m->openai_json.data, m->openai_json.len), STREAM_REQUIRED);
}

static void on_writable(gw_rpc_call *call, void *arg)
{
    rpc_caller *caller = gw_rpc_call_data(call);

    (void)arg;
    if (caller && caller->request && !sink_is_congested(&caller->sink))
        relay_request_drained(caller->request);
}

static void on_cancelled(gw_rpc_call *call, void *arg)
{
    rpc_caller *caller = gw_rpc_call_data(call);
    gw_error err;

    (void)arg;
    if (!caller || !caller->request)
        return; /* answered already */
    relay_request *request = caller->request;
    caller->request = NULL;
    relay_request_caller_gone(request);
    (void)gw_fail(&err, GW_ERR_CANCELLED, "the caller left before the end of the answer");
    gw_rpc_fail(call, &err);
}

static void on_finished(gw_rpc_call *call, void *arg)
{
    rpc_caller *caller = gw_rpc_call_data(call);

    (void)arg;
    if (caller && caller->request)
        relay_request_caller_gone(caller->request);
}

const gw_rpc_handler chat_rpc_handlers[] = {
    {.path = SERVICE_PATH "CreateChatCompletion",
     .start = on_create,
     .cancelled = on_cancelled,
     .finished = on_finished,
     .max_message_bytes = MAX_MESSAGE_BYTES},
    {.path = SERVICE_PATH "StreamChatCompletion",
     .start = on_stream,
     .writable = on_writable,
     .cancelled = on_cancelled,
     .finished = on_finished,
     .max_message_bytes = MAX_MESSAGE_BYTES},
    {.path = NULL},
};

/* ---- access ---- */

static void authorize(void *self, gw_rpc_call *call, const gw_method *method, gw_str credential)
{
    const chat_authorizer *a = self;
    gw_caller caller = {.kind = GW_CALLER_API_KEY, .credential = credential};

    if (gw_str_starts_with(method->path, GW_STR(SERVICE_PATH)) &&
        gw_str_starts_with(credential, GW_STR("lc_")))
        gw_rpc_authorized(call, GW_OK, &caller, NULL);
    else
        a->others.authorize(a->others.self, call, method, credential);
}

gw_rpc_authorizer chat_rpc_authorizer(chat_authorizer *a)
{
    return (gw_rpc_authorizer){.authorize = authorize, .self = a};
}
