/* The server's side of the fixture: handlers that answer what the request asks for, and who is let in. */
#pragma once

#include "rpc_fixture_types.h"

static inline void note_start(fixture *f, gw_rpc_call *c)
{
    f->started++;
    gw_str peer = gw_rpc_call_peer(c);
    (void)snprintf(f->peer, sizeof f->peer, GW_STR_FMT, GW_STR_ARG(peer));
    f->hanging = c;
    if (f->stop_when_started && f->started >= f->stop_when_started)
        gw_loop_stop(f->loop);
}

static inline void on_cancelled(gw_rpc_call *c, void *arg)
{
    fixture *f = arg;
    f->cancelled++;
    assert_true(gw_rpc_call_is_cancelled(c));
    gw_error err;
    (void)gw_fail(&err, GW_ERR_CANCELLED, "gone");
    gw_rpc_fail(c, &err);
    if (f->stop_when_cancelled && f->cancelled >= f->stop_when_cancelled)
        gw_loop_stop(f->loop);
}

static inline void on_finished(gw_rpc_call *c, void *arg)
{
    (void)c;
    ((fixture *)arg)->finished++;
}

static inline void reply_with_caller(void *arg)
{
    gw_rpc_call *c = arg;
    Apirelay__Auth__V1__ApiKey key = APIRELAY__AUTH__V1__API_KEY__INIT;
    Apirelay__Auth__V1__GetApiKeyResponse r = APIRELAY__AUTH__V1__GET_API_KEY_RESPONSE__INIT;
    key.name = gw_arena_strdup(gw_rpc_call_arena(c), gw_rpc_call_caller(c)->name);
    r.api_key = &key;
    gw_rpc_reply(c, &r.base);
}

static inline void reply_big(gw_rpc_call *c)
{
    size_t size = 6UL << 20;
    char *text = gw_arena_alloc(gw_rpc_call_arena(c), size);
    memset(text, 'x', size);
    text[size - 1] = '\0';
    Apirelay__Auth__V1__ApiKey key = APIRELAY__AUTH__V1__API_KEY__INIT;
    Apirelay__Auth__V1__GetApiKeyResponse r = APIRELAY__AUTH__V1__GET_API_KEY_RESPONSE__INIT;
    key.name = text;
    r.api_key = &key;
    gw_rpc_reply(c, &r.base);
}

static inline void reply_with_certificate(gw_rpc_call *c)
{
    gw_auto_buf text = {0};
    gw_rpc_peer peer = gw_rpc_call_certificate(c);
    gw_buf_append_str(&text, peer.has_certificate ? GW_STR("certificate") : GW_STR("none"));
    for (size_t i = 0; i < peer.san_count; i++)
        gw_buf_appendf(&text, " %s:" GW_STR_FMT,
                       peer.sans[i].kind == GW_RPC_SAN_DNS ? "DNS" : "URI",
                       GW_STR_ARG(peer.sans[i].value));
    Apirelay__Auth__V1__ApiKey key = APIRELAY__AUTH__V1__API_KEY__INIT;
    Apirelay__Auth__V1__GetApiKeyResponse r = APIRELAY__AUTH__V1__GET_API_KEY_RESPONSE__INIT;
    key.name = text.data;
    r.api_key = &key;
    gw_rpc_reply(c, &r.base);
}

/* 150 bytes, so that a few violations are some hundred bytes. */
static const char long_text[] =
    "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"
    "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx";

/* True when "flaky" failed once more. */
static inline bool fail_flaky(fixture *f, gw_rpc_call *c, gw_str what)
{
    gw_error err;
    if (!gw_str_eq_c(what, "flaky") || f->failures == 0)
        return false;
    f->failures--;
    (void)gw_fail(&err, GW_ERR_UNAVAILABLE, "not now");
    gw_rpc_fail(c, &err);
    return true;
}

static inline void get_api_key(gw_rpc_call *c, const ProtobufCMessage *request, void *arg)
{
    fixture *f = arg;
    gw_str what = gw_str_of(((const Apirelay__Auth__V1__GetApiKeyRequest *)request)->id);
    note_start(f, c);
    if (fail_flaky(f, c, what))
        return;
    if (gw_str_eq_c(what, "ok") || gw_str_eq_c(what, "flaky")) {
        reply_with_caller(c);
    } else if (gw_str_eq_c(what, "later")) {
        gw_loop_defer(f->loop, reply_with_caller, c);
    } else if (gw_str_eq_c(what, "certificate")) {
        reply_with_certificate(c);
    } else if (gw_str_eq_c(what, "big")) {
        reply_big(c);
    } else if (gw_str_eq_c(what, "bad")) {
        gw_error err;
        (void)gw_fail_field(&err, GW_ERR_MAX_TOKENS_EXCEEDED, "permissions.maxTokens",
                            "%d tokens are too many", 7);
        gw_rpc_fail(c, &err);
    } else if (gw_str_eq_c(what, "wait")) {
        gw_error err;
        (void)gw_fail(&err, GW_ERR_RATE_LIMITED, "too many");
        gw_rpc_set_retry_after(c, 61500);
        gw_rpc_fail(c, &err);
    } else if (gw_str_eq_c(what, "many")) {
        gw_violations v = {0}, further = {0};
        gw_error err;
        gw_violations_add(&v, "name", "is too long");
        for (int i = 0; i < 5; i++)
            gw_violations_add(&v, "models", "entry %d: %.150s", i, long_text);
        if (gw_violations_split(&v, &err, &further) != GW_OK)
            gw_rpc_fail_all(c, &err, &further);
    }
}

static inline void revoke_api_key(gw_rpc_call *c, const ProtobufCMessage *request, void *arg)
{
    fixture *f = arg;
    note_start(f, c);
    if (fail_flaky(f, c, gw_str_of(((const Apirelay__Auth__V1__RevokeApiKeyRequest *)request)->id)))
        return;
    Apirelay__Auth__V1__RevokeApiKeyResponse r = APIRELAY__AUTH__V1__REVOKE_API_KEY_RESPONSE__INIT;
    gw_rpc_reply(c, &r.base);
}

static inline void list_api_keys(gw_rpc_call *c, const ProtobufCMessage *request, void *arg)
{
    (void)request;
    note_start(arg, c);
}

static inline void send_heartbeats(gw_rpc_call *c, fixture *f)
{
    int64_t *left = gw_rpc_call_data(c);
    while (*left > 0 && gw_rpc_call_queued(c) < QUEUE_MAX) {
        Apirelay__Auth__V1__WatchResponse__Heartbeat h =
            APIRELAY__AUTH__V1__WATCH_RESPONSE__HEARTBEAT__INIT;
        Apirelay__Auth__V1__WatchResponse r = APIRELAY__AUTH__V1__WATCH_RESPONSE__INIT;
        h.generation = *left;
        r.event_case = APIRELAY__AUTH__V1__WATCH_RESPONSE__EVENT_HEARTBEAT;
        r.heartbeat = &h;
        gw_rpc_send(c, &r.base);
        f->most_queued = GW_MAX(f->most_queued, gw_rpc_call_queued(c));
        (*left)--;
    }
    if (*left == 0) {
        *left = -1;
        gw_rpc_finish(c);
    }
}

static inline void watch(gw_rpc_call *c, const ProtobufCMessage *request, void *arg)
{
    fixture *f = arg;
    int64_t *left = gw_arena_new_of(gw_rpc_call_arena(c), int64_t);
    *left = ((const Apirelay__Auth__V1__WatchRequest *)request)->from_generation;
    gw_rpc_call_set_data(c, left);
    note_start(f, c);
    if (*left >= 0)
        send_heartbeats(c, f);
}

static inline void watch_writable(gw_rpc_call *c, void *arg)
{
    send_heartbeats(c, arg);
}

static inline void stream_start(gw_rpc_call *c, const ProtobufCMessage *request, void *arg)
{
    assert_null(request);
    note_start(arg, c);
}

static inline void stream_message(gw_rpc_call *c, const ProtobufCMessage *request, void *arg)
{
    fixture *f = arg;
    const Apirelay__Usage__V1__StreamRequest *q =
        (const Apirelay__Usage__V1__StreamRequest *)request;
    assert_int_equal(q->frame_case, APIRELAY__USAGE__V1__STREAM_REQUEST__FRAME_EVENTS);
    Apirelay__Usage__V1__Ack ack = APIRELAY__USAGE__V1__ACK__INIT;
    Apirelay__Usage__V1__StreamResponse r = APIRELAY__USAGE__V1__STREAM_RESPONSE__INIT;
    ack.n = q->events->first_seq;
    r.frame_case = APIRELAY__USAGE__V1__STREAM_RESPONSE__FRAME_ACK;
    r.ack = &ack;
    gw_rpc_send(c, &r.base);
    f->most_queued = GW_MAX(f->most_queued, gw_rpc_call_queued(c));
    if (gw_rpc_call_queued(c) >= QUEUE_MAX)
        gw_rpc_pause(c);
}

static inline void stream_writable(gw_rpc_call *c, void *arg)
{
    (void)arg;
    gw_rpc_resume(c);
}

static inline void stream_half_closed(gw_rpc_call *c, void *arg)
{
    ((fixture *)arg)->half_closed++;
    gw_rpc_finish(c);
}

static inline void import_reply(gw_rpc_call *c, fixture *f)
{
    Apirelay__Auth__V1__ImportedApiKey key = APIRELAY__AUTH__V1__IMPORTED_API_KEY__INIT,
                                       *keys[] = {&key};
    Apirelay__Auth__V1__ImportApiKeysResponse r =
        APIRELAY__AUTH__V1__IMPORT_API_KEYS_RESPONSE__INIT;
    key.key_id = f->names;
    r.n_api_keys = 1, r.api_keys = keys;
    gw_rpc_reply(c, &r.base);
}

static inline void import_message(gw_rpc_call *c, const ProtobufCMessage *request, void *arg)
{
    fixture *f = arg;
    const char *name = ((const Apirelay__Auth__V1__ImportApiKeysRequest *)request)->api_key->name;
    size_t len = strlen(f->names);
    (void)snprintf(f->names + len, sizeof f->names - len, "%s ", name);
    gw_error err;
    if (strcmp(name, "bad") == 0) {
        (void)gw_fail_field(&err, GW_ERR_INVALID_ARGUMENT, "api_key.name", "is bad");
        gw_rpc_fail(c, &err);
    } else if (strcmp(name, "enough") == 0) {
        import_reply(c, f);
    }
}

static inline void import_half_closed(gw_rpc_call *c, void *arg)
{
    ((fixture *)arg)->half_closed++;
    import_reply(c, arg);
}

static const gw_rpc_handler test_handlers[] = {
    {.path = GET_API_KEY, .start = get_api_key, .cancelled = on_cancelled, .finished = on_finished},
    {.path = REVOKE_API_KEY, .start = revoke_api_key, .finished = on_finished},
    {.path = LIST_API_KEYS,
     .start = list_api_keys,
     .cancelled = on_cancelled,
     .finished = on_finished},
    {.path = IMPORT,
     .start = stream_start,
     .message = import_message,
     .half_closed = import_half_closed,
     .cancelled = on_cancelled,
     .finished = on_finished},
    {.path = WATCH,
     .start = watch,
     .writable = watch_writable,
     .cancelled = on_cancelled,
     .finished = on_finished},
    {.path = STREAM,
     .start = stream_start,
     .message = stream_message,
     .half_closed = stream_half_closed,
     .writable = stream_writable,
     .cancelled = on_cancelled,
     .finished = on_finished,
     .max_message_bytes = 64 << 10},
    {.path = NULL},
};

static inline void authorize_later(void *arg)
{
    gw_caller caller = {.kind = GW_CALLER_ADMIN, .name = GW_STR("slow admin")};
    gw_rpc_authorized(arg, GW_OK, &caller, NULL);
}

static inline void test_authorize(void *self, gw_rpc_call *c, const gw_method *m, gw_str credential)
{
    fixture *f = self;
    gw_error err;
    gw_caller caller = {.kind = GW_CALLER_ADMIN, .name = GW_STR("good admin")};
    assert_true(m->access.declared);
    if (gw_str_eq_c(credential, "good"))
        gw_rpc_authorized(c, GW_OK, &caller, NULL);
    else if (gw_str_eq_c(credential, "slow"))
        gw_loop_defer(f->loop, authorize_later, c);
    else if (gw_str_eq_c(credential, "low"))
        gw_rpc_authorized(c, gw_fail(&err, GW_ERR_PERMISSION_DENIED, "not you"), NULL, &err);
    else
        gw_rpc_authorized(c, gw_fail(&err, GW_ERR_UNAUTHENTICATED, "who?"), NULL, &err);
}
