/*
 * What the tests of libs/redis share: a loop, a log in memory, a real redis-server as a child process, a scripted
 * server on the same loop, and a wait that ends on an event or fails. For tests only.
 */
#pragma once

#include "redis/redis.h"
#include "testing/cmocka.h"
#include "testing/failing_alloc.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

typedef struct world {
    gw_loop *loop;
    gw_log *log;
    int log_fd;
    char *log_text;
    gw_redis *redis;

    uint16_t port;
    pid_t server; /* 0 when not running */

    gw_timer guard;
    bool guard_fired;

    uv_tcp_t listener; /* the scripted server */
    bool is_listening;
    const char *script; /* sent for each read */
    size_t script_len;
    bool script_closes;
    size_t accepted;
} world;

static inline void on_guard(void *arg)
{
    world *w = arg;
    w->guard_fired = true;
}

/* Turns the loop until `is_done(arg)`; false after 10 s. */
static inline bool wait_until(world *w, bool (*is_done)(void *arg), void *arg)
{
    w->guard_fired = false;
    gw_timer_set(w->loop, &w->guard, 10000);
    while (!is_done(arg) && !w->guard_fired)
        uv_run(gw_loop_uv(w->loop), UV_RUN_ONCE);
    gw_timer_cancel(w->loop, &w->guard);
    return is_done(arg);
}

static inline uint16_t free_port(void)
{
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof(a);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(bind(fd, (struct sockaddr *)&a, sizeof(a)), 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&a, &len), 0);
    close(fd);
    return ntohs(a.sin_port);
}

/* Returns once it accepts connections. `settings` are redis-server's own, NULL at the end. */
static inline void start_server_with(world *w, const char *const *settings)
{
    int out[2];
    const char *argv[32] = {"redis-server", "--bind", "127.0.0.1", "--save", "",
                            "--appendonly", "no"};
    for (size_t n = 7; *settings; settings++) {
        assert_true(n < GW_ARRAY_LEN(argv) - 1);
        argv[n++] = *settings;
    }
    assert_int_equal(pipe2(out, O_CLOEXEC), 0);
    w->server = fork();
    assert_true(w->server >= 0);
    if (w->server == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        dup2(out[1], 1);
        dup2(out[1], 2);
        execvp(argv[0], (char **)(uintptr_t)argv);
        _exit(127);
    }
    close(out[1]);
    FILE *lines = fdopen(out[0], "r");
    char *line = NULL;
    size_t cap = 0;
    bool is_ready = false;
    while (!is_ready && getline(&line, &cap, lines) >= 0)
        is_ready = strstr(line, "Ready to accept connections") != NULL;
    free(line);
    fclose(lines);
    assert_true(is_ready);
}

/* `password` may be NULL. */
static inline void start_server(world *w, const char *password)
{
    char port[8];
    snprintf(port, sizeof(port), "%u", w->port);
    const char *const settings[] = {"--port", port, password ? "--requirepass" : NULL, password,
                                    NULL};
    start_server_with(w, settings);
}

static inline void kill_server(world *w)
{
    if (w->server <= 0)
        return;
    kill(w->server, SIGCONT);
    kill(w->server, SIGKILL);
    waitpid(w->server, NULL, 0);
    w->server = 0;
}

static inline gw_redis_options options_of(world *w, gw_buf *url)
{
    if (url->len == 0)
        gw_buf_appendf(url, "redis://127.0.0.1:%u", w->port);
    return (gw_redis_options){
        .url = gw_buf_str(url), .connect_timeout_ms = 2000, .command_timeout_ms = 2000};
}

static inline int set_up_world(void **state)
{
    world *w = calloc(1, sizeof(*w));
    *state = w;
    w->port = free_port();
    w->log_fd = memfd_create("log", MFD_CLOEXEC);
    w->log = gw_log_new("test", w->log_fd, GW_LOG_INFO, &gw_system_clock);
    gw_timer_init(&w->guard, on_guard, w);
    return !w->log || gw_loop_new(&gw_system_clock, &w->loop, NULL) != GW_OK;
}

static inline int set_up_world_with_server(void **state)
{
    int rc = set_up_world(state);
    world *w = *state;
    if (rc == 0)
        start_server(w, NULL);
    return rc;
}

static inline int tear_down_world(void **state)
{
    world *w = *state;
    gw_redis_free(w->redis);
    kill_server(w);
    if (w->is_listening)
        uv_close((uv_handle_t *)&w->listener, NULL);
    gw_loop_free(w->loop);
    gw_log_free(w->log);
    close(w->log_fd);
    free(w->log_text);
    free(w);
    return 0;
}

static inline const char *log_text(world *w)
{
    off_t size = lseek(w->log_fd, 0, SEEK_END);
    free(w->log_text);
    w->log_text = calloc(1, (size_t)size + 1);
    assert_int_equal(pread(w->log_fd, w->log_text, (size_t)size, 0), size);
    return w->log_text;
}

static inline size_t count_in_log(world *w, const char *what)
{
    size_t count = 0;
    for (const char *at = log_text(w); (at = strstr(at, what)) != NULL; at++)
        count++;
    return count;
}

/* ---- one command and its reply, copied ---- */

typedef struct answer {
    size_t calls;
    gw_status rc;
    int type; /* 0 without a reply */
    long long integer;
    char text[200]; /* of a string, status, error; of an array's members, separated by blanks */
} answer;

static inline void append_text(answer *a, const redisReply *reply)
{
    size_t used = strlen(a->text);
    snprintf(a->text + used, sizeof(a->text) - used, "%s%.*s", used ? " " : "", (int)reply->len,
             reply->str);
}

static inline void on_answer(void *arg, gw_status rc, const redisReply *reply)
{
    answer *a = arg;
    a->calls++;
    a->rc = rc;
    a->text[0] = '\0';
    a->type = reply ? reply->type : 0;
    a->integer = reply ? reply->integer : 0;
    if (!reply)
        return;
    if (reply->str)
        append_text(a, reply);
    for (size_t i = 0; i < reply->elements; i++)
        if (reply->element[i]->str)
            append_text(a, reply->element[i]);
}

static inline bool is_answered(void *arg)
{
    return ((const answer *)arg)->calls > 0;
}

#define call_and_wait(w, r, a, ...)                                                                \
    do {                                                                                           \
        *(a) = (answer){0};                                                                        \
        gw_redis_call((r), on_answer, (a), __VA_ARGS__);                                           \
        assert_int_equal((a)->calls, 0);                                                           \
        assert_true(wait_until((w), is_answered, (a)));                                            \
    } while (0)

static inline bool redis_is_up(void *arg)
{
    return gw_redis_is_up(arg);
}

static inline bool redis_is_down(void *arg)
{
    return !gw_redis_is_up(arg);
}

/* ---- the scripted server ---- */

typedef struct scripted_peer {
    uv_tcp_t tcp;
    world *w;
    char input[4096];
} scripted_peer;

static inline void scripted_closed(uv_handle_t *h)
{
    free(h->data);
}

static inline void scripted_alloc(uv_handle_t *h, size_t suggested, uv_buf_t *ret)
{
    (void)suggested;
    scripted_peer *p = h->data;
    *ret = (uv_buf_t){.base = p->input, .len = sizeof(p->input)};
}

static inline void scripted_read(uv_stream_t *s, ssize_t n, const uv_buf_t *bytes)
{
    (void)bytes;
    scripted_peer *p = s->data;
    if (n < 0) {
        if (!uv_is_closing((uv_handle_t *)s))
            uv_close((uv_handle_t *)s, scripted_closed);
        return;
    }
    if (p->w->script_len == 0)
        return;
    gw_auto_free char *copy = malloc(p->w->script_len);
    memcpy(copy, p->w->script, p->w->script_len);
    uv_buf_t out = {.base = copy, .len = p->w->script_len};
    uv_read_stop(s);
    (void)uv_try_write(s, &out, 1);
    if (p->w->script_closes)
        uv_close((uv_handle_t *)s, scripted_closed);
    else
        uv_read_start(s, scripted_alloc, scripted_read);
}

static inline void scripted_accept(uv_stream_t *listener, int status)
{
    world *w = listener->data;
    scripted_peer *p = calloc(1, sizeof(*p));
    assert_int_equal(status, 0);
    p->w = w;
    p->tcp.data = p;
    w->accepted++;
    uv_tcp_init(gw_loop_uv(w->loop), &p->tcp);
    assert_int_equal(uv_accept(listener, (uv_stream_t *)&p->tcp), 0);
    uv_read_start((uv_stream_t *)&p->tcp, scripted_alloc, scripted_read);
}

static inline void listen_scripted(world *w)
{
    struct sockaddr_in a;
    uv_ip4_addr("127.0.0.1", w->port, &a);
    uv_tcp_init(gw_loop_uv(w->loop), &w->listener);
    w->listener.data = w;
    w->is_listening = true;
    assert_int_equal(uv_tcp_bind(&w->listener, (const struct sockaddr *)&a, 0), 0);
    assert_int_equal(uv_listen((uv_stream_t *)&w->listener, 8, scripted_accept), 0);
}

/* `url` NULL: of the server; 0: the defaults. */
static inline void make_client(world *w, const char *url, int64_t command_timeout_ms,
                               size_t max_pending)
{
    gw_auto_buf text = {0};
    gw_error err = {0};
    gw_buf_append_c(&text, url ? url : "");
    gw_redis_options o = options_of(w, &text);
    o.command_timeout_ms = command_timeout_ms;
    o.max_pending = max_pending;
    if (gw_redis_new(w->loop, w->log, &o, &w->redis, &err) != GW_OK)
        fail_msg("%s", err.message);
}
