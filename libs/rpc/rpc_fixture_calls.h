/* The client's side of the fixture: calls, and what came of them. */
#pragma once

#include "rpc_fixture_types.h"

static inline void note_done(fixture *f, gw_status rc, const gw_error *err)
{
    f->rc = rc;
    if (rc != GW_OK)
        f->err = *err;
    f->done++;
    if (f->done >= f->stop_when_done)
        gw_loop_stop(f->loop);
}

static inline void on_unary_done(void *arg, gw_status rc, const ProtobufCMessage *response,
                                 const gw_error *err)
{
    fixture *f = arg;
    assert_int_equal(response != NULL, rc == GW_OK);
    if (response && response->descriptor == &apirelay__auth__v1__get_api_key_response__descriptor)
        (void)snprintf(f->text, sizeof f->text, "%s",
                       ((const Apirelay__Auth__V1__GetApiKeyResponse *)response)->api_key->name);
    if (response &&
        response->descriptor == &apirelay__auth__v1__import_api_keys_response__descriptor)
        (void)snprintf(
            f->text, sizeof f->text, "%s",
            ((const Apirelay__Auth__V1__ImportApiKeysResponse *)response)->api_keys[0]->key_id);
    note_done(f, rc, err);
}

static inline gw_rpc_call_options get_options(const char *credential, int64_t deadline_ms)
{
    return (gw_rpc_call_options){.path = GET_API_KEY,
                                 .response = &apirelay__auth__v1__get_api_key_response__descriptor,
                                 .credential = gw_str_of(credential),
                                 .deadline_ms = deadline_ms,
                                 .wait_for_ready = true};
}

static inline gw_rpc_client_call *start_get(fixture *f, const char *what, const char *credential,
                                            int64_t deadline_ms)
{
    gw_rpc_call_options o = get_options(credential, deadline_ms);
    Apirelay__Auth__V1__GetApiKeyRequest q = APIRELAY__AUTH__V1__GET_API_KEY_REQUEST__INIT;
    q.id = (char *)(uintptr_t)what;
    gw_rpc_client_call *c = gw_rpc_unary(f->channel, &o, &q.base, on_unary_done, f);
    assert_non_null(c);
    return c;
}

static inline void start_revoke(fixture *f, const char *what, bool wait_for_ready)
{
    gw_rpc_call_options o = {.path = REVOKE_API_KEY,
                             .response = &apirelay__auth__v1__revoke_api_key_response__descriptor,
                             .credential = GW_STR("good"),
                             .deadline_ms = 20000,
                             .wait_for_ready = wait_for_ready};
    Apirelay__Auth__V1__RevokeApiKeyRequest q = APIRELAY__AUTH__V1__REVOKE_API_KEY_REQUEST__INIT;
    q.id = (char *)(uintptr_t)what;
    assert_non_null(gw_rpc_unary(f->channel, &o, &q.base, on_unary_done, f));
}

/* Runs until `n` calls are done. */
static inline void run_until_done(fixture *f, size_t n)
{
    f->stop_when_done = n;
    while (f->done < n)
        gw_loop_run(f->loop);
}

static inline gw_status get(fixture *f, const char *what, const char *credential,
                            int64_t deadline_ms)
{
    (void)start_get(f, what, credential, deadline_ms);
    run_until_done(f, f->done + 1);
    return f->rc;
}

static inline void on_stream_message(void *arg, const ProtobufCMessage *m)
{
    fixture *f = arg;
    f->messages++;
    if (m->descriptor == &apirelay__auth__v1__watch_response__descriptor)
        f->last_value = ((const Apirelay__Auth__V1__WatchResponse *)m)->heartbeat->generation;
    else
        f->last_value = ((const Apirelay__Usage__V1__StreamResponse *)m)->ack->n;
    if (f->pause_after && f->messages == f->pause_after)
        gw_rpc_stream_pause(f->stream);
    if (f->stop_when_messages && f->messages == f->stop_when_messages)
        gw_loop_stop(f->loop);
}

static inline void on_stream_writable(void *arg)
{
    fixture *f = arg;

    f->writables++;
    if (f->writables == f->stop_when_writables)
        gw_loop_stop(f->loop);
}

static inline void on_stream_done(void *arg, gw_status rc, const gw_error *err)
{
    fixture *f = arg;
    f->stream = NULL;
    note_done(f, rc, err);
}

static const gw_rpc_stream_ops test_stream_ops = {
    .message = on_stream_message, .writable = on_stream_writable, .done = on_stream_done};

static inline void start_watch(fixture *f, int64_t heartbeats)
{
    gw_rpc_call_options o = {.path = WATCH,
                             .response = &apirelay__auth__v1__watch_response__descriptor,
                             .credential = GW_STR("good"),
                             .wait_for_ready = true};
    Apirelay__Auth__V1__WatchRequest q = APIRELAY__AUTH__V1__WATCH_REQUEST__INIT;
    q.from_generation = heartbeats;
    f->stream = gw_rpc_stream(f->channel, &o, &q.base, &test_stream_ops, f);
    assert_non_null(f->stream);
}

static inline void start_stream(fixture *f)
{
    gw_rpc_call_options o = {.path = STREAM,
                             .response = &apirelay__usage__v1__stream_response__descriptor,
                             .credential = GW_STR("good"),
                             .wait_for_ready = true};
    f->stream = gw_rpc_stream(f->channel, &o, NULL, &test_stream_ops, f);
    assert_non_null(f->stream);
}

static inline void send_events(fixture *f, int64_t seq, size_t padding)
{
    Apirelay__Usage__V1__Events e = APIRELAY__USAGE__V1__EVENTS__INIT;
    Apirelay__Usage__V1__StreamRequest q = APIRELAY__USAGE__V1__STREAM_REQUEST__INIT;
    uint8_t *bytes = calloc(1, padding + 1);
    ProtobufCBinaryData event = {.len = padding, .data = bytes};
    e.first_seq = seq;
    e.n_events = 1;
    e.events = &event;
    q.frame_case = APIRELAY__USAGE__V1__STREAM_REQUEST__FRAME_EVENTS;
    q.events = &e;
    gw_rpc_stream_send(f->stream, &q.base);
    free(bytes);
}

static inline void start_import(fixture *f, const char *credential, int64_t deadline_ms)
{
    gw_rpc_call_options o = {.path = IMPORT,
                             .response = &apirelay__auth__v1__import_api_keys_response__descriptor,
                             .credential = gw_str_of(credential),
                             .deadline_ms = deadline_ms,
                             .wait_for_ready = true};
    f->stream = gw_rpc_send_stream(f->channel, &o, on_stream_writable, on_unary_done, f);
    assert_non_null(f->stream);
}

static inline void send_key(fixture *f, const char *name)
{
    Apirelay__Auth__V1__ApiKey key = APIRELAY__AUTH__V1__API_KEY__INIT;
    Apirelay__Auth__V1__ImportApiKeysRequest q = APIRELAY__AUTH__V1__IMPORT_API_KEYS_REQUEST__INIT;
    key.name = (char *)(uintptr_t)name;
    q.api_key = &key;
    gw_rpc_stream_send(f->stream, &q.base);
}
