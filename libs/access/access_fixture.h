/*
 * For the tests of libs/access: a server that serves every rpc of the schema behind a checker, a
 * client, and an identity in memory.
 *
 *   lcadm_viewer lcadm_admin lcadm_owner lcses_admin   admins
 *   lc_key                                             an API key
 *   anything else                                      not valid
 */
#pragma once

#include "access/access.h"
#include "rpc/init.h"
#include "schema/all.h"

#include "testing/cmocka.h"
#include "testing/watchdog.h"

#include "apirelay/auth/v1/identity_service.pb-c.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#define RELAY_TOKEN   "lcsvc_relay-relay-relay-relay-relay-relay"
#define GATEWAY_TOKEN "lcsvc_gateway-gateway-gateway-gateway-gate"
#define GET_API_KEY   "/apirelay.auth.v1.ApiKeyService/GetApiKey"
#define WATCH_METRICS "/apirelay.usage.v1.UsageService/WatchMetrics"

typedef struct held_question {
    gw_identity_done_fn done;
    void *arg;
    char credential[64];
} held_question;

typedef struct memory_identity {
    size_t asked;
    bool hold; /* answers wait for release_questions() */
    gw_status rc; /* GW_OK, or what every question gets */
    held_question held[64];
    size_t held_count;
    int64_t expires_at_ms;
    char last_address[64];
    bool last_unattended;
} memory_identity;

typedef struct fixture {
    gw_loop *loop;
    gw_schema *schema;
    gw_service_tokens *tokens;
    gw_peers *peers; /* NULL: no TLS */
    gw_tls_files *server_tls, *client_tls;
    gw_access_checker *checker;
    gw_rpc_server *server;
    gw_rpc_pump *pump;
    gw_rpc_channel *channel;
    gw_rpc_handler *handlers;
    memory_identity identity;
    bool server_closed;
    gw_timer watchdog;
    gw_rpc_authorizer inner;
    size_t authorized; /* calls that came to the checker */
    size_t started, done, wanted;
    gw_error err; /* of the last call that failed */
    /* what CheckCredential answers */
    Apirelay__Auth__V1__CheckCredentialResponse identity_answer;
    char seen_credential[64], seen_address[64];
    bool seen_unattended;
    gw_status rc;
    gw_caller_kind kind;
    gw_role role;
    char name[64], id[64], credential[128], address[64];
    const char *client_address, *forwarder; /* that calls tell; NULL: nothing */
} fixture;

/* ---- identity in memory ---- */

static inline void answer_question(memory_identity *m, const char *credential,
                                   gw_identity_done_fn done, void *arg)
{
    static const struct {
        const char *credential;
        gw_caller caller;
    } known[] = {
        {"lcadm_viewer",
         {.kind = GW_CALLER_ADMIN, .name = {"v", 1}, .id = {"1", 1}, .role = GW_ROLE_VIEWER}},
        {"lcadm_admin",
         {.kind = GW_CALLER_ADMIN, .name = {"a", 1}, .id = {"2", 1}, .role = GW_ROLE_ADMIN}},
        {"lcadm_owner",
         {.kind = GW_CALLER_ADMIN, .name = {"o", 1}, .id = {"3", 1}, .role = GW_ROLE_OWNER}},
        {"lcses_admin",
         {.kind = GW_CALLER_ADMIN, .name = {"s", 1}, .id = {"4", 1}, .role = GW_ROLE_ADMIN}},
        {"lc_key", {.kind = GW_CALLER_API_KEY, .name = {"k", 1}, .id = {"5", 1}}},
    };
    gw_identity who = {.valid = false};
    for (size_t i = 0; i < GW_ARRAY_LEN(known); i++) {
        if (strcmp(credential, known[i].credential) == 0)
            who = (gw_identity){
                .valid = true, .caller = known[i].caller, .expires_at_ms = m->expires_at_ms};
    }
    gw_error err;
    if (m->rc == GW_OK)
        done(arg, GW_OK, &who, NULL);
    else
        done(arg, gw_fail(&err, m->rc, "auth is away"), NULL, &err);
}

static inline void memory_identify(void *self, const gw_identity_question *asked,
                                   gw_identity_done_fn done, void *arg)
{
    memory_identity *m = self;
    m->asked++;
    (void)snprintf(m->last_address, sizeof m->last_address, GW_STR_FMT,
                   GW_STR_ARG(asked->peer_address));
    m->last_unattended = asked->unattended;
    char text[64];
    (void)snprintf(text, sizeof text, GW_STR_FMT, GW_STR_ARG(asked->credential));
    if (!m->hold) {
        answer_question(m, text, done, arg);
        return;
    }
    assert_true(m->held_count < GW_ARRAY_LEN(m->held));
    held_question *q = &m->held[m->held_count++];
    *q = (held_question){.done = done, .arg = arg};
    memcpy(q->credential, text, sizeof text);
}

static inline void release_questions(memory_identity *m)
{
    for (size_t i = 0; i < m->held_count; i++)
        answer_question(m, m->held[i].credential, m->held[i].done, m->held[i].arg);
    m->held_count = 0;
}

/* ---- every rpc, answered with an empty message ---- */

static inline void copy_text(char *out, size_t size, gw_str s)
{
    (void)snprintf(out, size, GW_STR_FMT, GW_STR_ARG(s));
}

static inline void on_start(gw_rpc_call *c, const ProtobufCMessage *request, void *arg)
{
    (void)request;
    fixture *f = arg;
    const gw_caller *caller = gw_rpc_call_caller(c);
    f->started++;
    f->kind = caller->kind;
    f->role = caller->role;
    copy_text(f->name, sizeof f->name, caller->name);
    copy_text(f->id, sizeof f->id, caller->id);
    copy_text(f->credential, sizeof f->credential, caller->credential);
    copy_text(f->address, sizeof f->address, caller->address);
    const gw_method *m = gw_rpc_call_method(c);
    if (m->client_streaming || m->server_streaming) {
        gw_rpc_finish(c);
        return;
    }
    const ProtobufCMessageDescriptor *d = m->descriptor->output;
    if (d == &apirelay__auth__v1__check_credential_response__descriptor) {
        const Apirelay__Auth__V1__CheckCredentialRequest *q =
            (const Apirelay__Auth__V1__CheckCredentialRequest *)request;
        copy_text(f->seen_credential, sizeof f->seen_credential,
                  gw_str_n(q->credential.data, q->credential.len));
        copy_text(f->seen_address, sizeof f->seen_address, gw_str_of(q->peer_address));
        f->seen_unattended = q->unattended;
        gw_rpc_reply(c, &f->identity_answer.base);
        return;
    }
    ProtobufCMessage *reply = gw_arena_zalloc(gw_rpc_call_arena(c), d->sizeof_message);
    d->message_init(reply);
    gw_rpc_reply(c, reply);
}

static inline void make_handlers(fixture *f)
{
    size_t n = gw_schema_method_count(f->schema), at = 0;
    f->handlers = calloc(n + 1, sizeof *f->handlers);
    assert_non_null(f->handlers);
    for (size_t i = 0; i < n; i++) {
        const gw_method *m = gw_schema_method_at(f->schema, i);
        if (gw_str_starts_with(m->path, GW_STR("/apirelay.")))
            f->handlers[at++] = (gw_rpc_handler){.path = m->path.ptr, .start = on_start};
    }
}

/* ---- client ---- */

static inline void note_done(fixture *f, gw_status rc, const gw_error *err)
{
    f->rc = rc;
    if (rc != GW_OK)
        f->err = *err;
    if (++f->done >= f->wanted)
        gw_loop_stop(f->loop);
}

static inline void on_unary_done(void *arg, gw_status rc, const ProtobufCMessage *response,
                                 const gw_error *err)
{
    (void)response;
    note_done(arg, rc, err);
}

static inline void on_stream_done(void *arg, gw_status rc, const gw_error *err)
{
    note_done(arg, rc, err);
}

static inline void start_call(fixture *f, const gw_method *m, const char *credential)
{
    static const gw_rpc_stream_ops ops = {.done = on_stream_done};
    gw_rpc_call_options o = {.path = m->path.ptr,
                             .response = m->descriptor->output,
                             .credential = gw_str_of(credential),
                             .client_address = gw_str_of(f->client_address),
                             .forwarder = gw_str_of(f->forwarder),
                             .deadline_ms = 10000,
                             .wait_for_ready = true};
    ProtobufCMessage *request = calloc(1, m->descriptor->input->sizeof_message);
    assert_non_null(request);
    m->descriptor->input->message_init(request);
    if (m->client_streaming)
        assert_non_null(gw_rpc_stream(f->channel, &o, NULL, &ops, f));
    else if (m->server_streaming)
        assert_non_null(gw_rpc_stream(f->channel, &o, request, &ops, f));
    else
        assert_non_null(gw_rpc_unary(f->channel, &o, request, on_unary_done, f));
    free(request);
}

static inline void run_until_done(fixture *f, size_t n)
{
    f->wanted = n;
    while (f->done < n)
        gw_loop_run(f->loop);
}

static inline gw_status call(fixture *f, const gw_method *m, const char *credential)
{
    start_call(f, m, credential);
    run_until_done(f, f->done + 1);
    return f->rc;
}

static inline gw_status call_path(fixture *f, const char *path, const char *credential)
{
    const gw_method *m = gw_schema_method(f->schema, gw_str_of(path));
    assert_non_null(m);
    return call(f, m, credential);
}

/* ---- set up ---- */

static inline void count_and_authorize(void *self, gw_rpc_call *c, const gw_method *m,
                                       gw_str credential)
{
    fixture *f = self;
    f->authorized++;
    f->inner.authorize(f->inner.self, c, m, credential);
}

/* `text` in a file of its own, removed by the caller. */
static inline void write_file(char *path, const char *text, mode_t mode)
{
    int fd = mkstemp(path);
    assert_true(fd >= 0);
    assert_int_equal(fchmod(fd, mode), 0);
    assert_int_equal(write(fd, text, strlen(text)), strlen(text));
    assert_int_equal(close(fd), 0);
}

static inline void on_server_closed(void *arg)
{
    fixture *f = arg;
    f->server_closed = true;
    gw_loop_stop(f->loop);
}

static inline void start_channel(fixture *f)
{
    gw_error err;
    char target[32];
    (void)snprintf(target, sizeof target, "127.0.0.1:%u", gw_rpc_server_port(f->server));
    assert_int_equal(gw_rpc_channel_new(f->pump, target, f->client_tls, NULL, &f->channel, &err),
                     GW_OK);
}

static inline gw_tls_files *open_tls(fixture *f, const gw_tls_paths *paths)
{
    gw_tls_files *files = NULL;
    gw_error err;
    assert_int_equal(gw_tls_files_new(f->loop, paths, NULL, &files, &err), GW_OK);
    return files;
}

/* `tls`: of server and client, who is then to be found in `peers`; NULL: plain. */
static inline int setup_tls(void **state, gw_identify identify, fixture *f, const gw_tls_paths *tls)
{
    *state = f;
    gw_error err;
    char path[] = "/tmp/service_tokens_XXXXXX";
    write_file(path, "relay " RELAY_TOKEN "\nadmin-gw " GATEWAY_TOKEN "\n", 0600);
    assert_int_equal(gw_service_tokens_load(path, NULL, &f->tokens, &err), GW_OK);
    assert_int_equal(unlink(path), 0);
    assert_int_equal(gw_loop_new(&gw_system_clock, &f->loop, &err), GW_OK);
    f->server_tls = tls ? open_tls(f, tls) : NULL;
    f->client_tls = tls ? open_tls(f, tls) : NULL;
    gw_test_watchdog_init(&f->watchdog);
    gw_test_watch(f->loop, &f->watchdog);
    assert_int_equal(gw_schema_all(&f->schema, &err), GW_OK);
    gw_access_options options = {.tokens = f->tokens, .peers = f->peers, .identify = identify};
    assert_int_equal(gw_access_checker_new(f->loop, &options, &f->checker, &err), GW_OK);
    gw_rpc_server_options o = {.listen = "127.0.0.1:0",
                               .schema = f->schema,
                               .authorizer = {count_and_authorize, f},
                               .tls = f->server_tls};
    f->inner = gw_access_authorizer(f->checker);
    apirelay__auth__v1__check_credential_response__init(&f->identity_answer);
    make_handlers(f);
    assert_int_equal(gw_rpc_server_new(f->loop, &o, &f->server, &err), GW_OK);
    assert_int_equal(gw_rpc_server_add(f->server, f->handlers, f, &err), GW_OK);
    assert_int_equal(gw_rpc_server_start(f->server, &err), GW_OK);
    assert_int_equal(gw_rpc_pump_new(f->loop, &f->pump, &err), GW_OK);
    start_channel(f);
    return 0;
}

static inline int setup_with(void **state, gw_identify identify, fixture *f)
{
    return setup_tls(state, identify, f, NULL);
}

static inline int setup(void **state)
{
    fixture *f = calloc(1, sizeof *f);
    assert_non_null(f);
    return setup_with(state, (gw_identify){memory_identify, &f->identity}, f);
}

static inline int teardown(void **state)
{
    fixture *f = *state;
    gw_rpc_channel_free(f->channel);
    if (!f->server_closed)
        gw_rpc_server_close(f->server, 0, on_server_closed, f);
    while (!f->server_closed)
        gw_loop_run(f->loop);
    gw_access_checker_free(f->checker);
    gw_rpc_pump_free(f->pump);
    gw_tls_files_free(f->server_tls);
    gw_tls_files_free(f->client_tls);
    gw_peers_free(f->peers);
    gw_timer_cancel(f->loop, &f->watchdog);
    gw_loop_free(f->loop);
    gw_schema_free(f->schema);
    gw_service_tokens_free(f->tokens);
    free(f->handlers);
    free(f);
    return 0;
}

static inline int setup_group(void **state)
{
    (void)state;
    gw_rpc_init();
    return 0;
}

static inline int teardown_group(void **state)
{
    (void)state;
    gw_rpc_shutdown();
    return 0;
}
