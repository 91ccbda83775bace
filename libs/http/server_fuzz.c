/*
 * Bytes from a client to the real server over a real socket, in pieces (testing/fuzz.h). However they
 * are cut, the handler sees the same requests and the client the same answers; what reaches the handler
 * has one meaning to every reader (no framing twice, one Host); each exchange begun is closed.
 */
#include "http/server_internal.h"
#include "testing/fake_clock.h"
#include "testing/fuzz.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <sys/socket.h>

#define BODY_MAX  512
#define TURNS_MAX 10000

static struct {
    gw_fake_clock time;
    gw_clock clock;
    gw_loop *loop;
    gw_http_server *server;
    struct sockaddr_in address;
    gw_buf seen; /* the requests of one conversation */
    size_t open; /* exchanges */
} world;

static void check_framing(const gw_exchange *x)
{
    gw_headers h = gw_exchange_headers(x);
    size_t lengths = gw_headers_count_of(h, "Content-Length");
    size_t codings = gw_headers_count_of(h, "Transfer-Encoding");

    fuzz_require(lengths + codings <= 1);
    fuzz_require(x->is_http_1_0 || gw_headers_count_of(h, "Host") == 1);
    for (size_t i = 0; i < h.count; i++) {
        fuzz_require(gw_header_name_is_valid(h.items[i].name));
        fuzz_require(gw_header_value_is_valid(h.items[i].value));
        gw_buf_appendf(&world.seen, GW_STR_FMT ": " GW_STR_FMT "\n", GW_STR_ARG(h.items[i].name),
                       GW_STR_ARG(h.items[i].value));
    }
}

static void on_head(gw_exchange *x, void *arg)
{
    gw_str method = gw_exchange_method(x);
    gw_str target = gw_exchange_target(x);
    gw_str path = gw_exchange_path(x);

    (void)arg;
    world.open++;
    fuzz_require(method.len > 0 && path.len > 0 && !gw_str_has_control(target));
    gw_buf_appendf(&world.seen, GW_STR_FMT " " GW_STR_FMT " " GW_STR_FMT "\n", GW_STR_ARG(method),
                   GW_STR_ARG(target), GW_STR_ARG(path));
    check_framing(x);
    if (gw_str_starts_with(path, GW_STR("/early")))
        gw_exchange_respond(x, &(gw_response_head){.status = 200}, GW_STR("early"));
    else
        gw_exchange_read_body(x, BODY_MAX);
}

static void on_body(gw_exchange *x, void *arg)
{
    gw_str body = gw_exchange_body(x);

    (void)arg;
    fuzz_require(body.len <= BODY_MAX);
    gw_buf_append_str(&world.seen, body);
    gw_buf_append_char(&world.seen, '\n');
    if (gw_str_starts_with(gw_exchange_path(x), GW_STR("/stream"))) {
        gw_exchange_start(x, &(gw_response_head){.status = 200}, -1);
        gw_exchange_write(x, &body, 1);
        gw_exchange_end(x);
    } else {
        gw_exchange_respond(x, &(gw_response_head){.status = 200}, body);
    }
}

static void on_closed(gw_exchange *x, bool complete, void *arg)
{
    (void)x;
    (void)complete;
    (void)arg;
    fuzz_require(world.open-- > 0);
}

static void write_error(gw_exchange *x, const gw_error *err, gw_buf *body,
                        const char **content_type, void *arg)
{
    (void)x;
    (void)arg;
    *content_type = "text/plain";
    gw_buf_append_c(body, err->message);
}

static void turn(void)
{
    for (int i = 0; i < 4; i++)
        uv_run(gw_loop_uv(world.loop), UV_RUN_NOWAIT);
}

static void open_world(void)
{
    static const gw_http_handler_ops ops = {
        .on_head = on_head, .on_body = on_body, .on_closed = on_closed, .write_error = write_error};
    gw_http_server_options o = gw_http_server_defaults;

    o.head_max_bytes = 1024;
    o.headers_max = 16;
    world.clock = gw_fake_clock_init(&world.time, 1795417521000);
    fuzz_require(gw_loop_new(&world.clock, &world.loop, NULL) == GW_OK);
    fuzz_require(gw_http_server_new(world.loop, &o, &ops, NULL, NULL, &world.server, NULL) ==
                 GW_OK);
    world.address.sin_family = AF_INET;
    world.address.sin_port = htons(gw_http_server_port(world.server));
    world.address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
}

static void take_answer(int fd, gw_buf *answer)
{
    char bytes[4096];
    ssize_t n;

    while ((n = recv(fd, bytes, sizeof(bytes), MSG_DONTWAIT)) > 0)
        gw_buf_append(answer, bytes, (size_t)n);
}

/* Loopback delivers at once, so what a few turns do not bring is not on its way. */
static void converse(fuzz_pieces pieces, gw_buf *answer)
{
    const struct linger resets = {.l_onoff = 1}; /* no port in TIME_WAIT for each input */
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    gw_str piece;

    fuzz_require(fd >= 0);
    /* libFuzzer's alarm may interrupt it. */
    while (connect(fd, (const struct sockaddr *)&world.address, sizeof(world.address)) != 0 &&
           errno != EISCONN)
        fuzz_require(errno == EINTR || errno == EALREADY);
    setsockopt(fd, SOL_SOCKET, SO_LINGER, &resets, sizeof(resets));
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &(int){1}, sizeof(int)); /* each piece at once */
    gw_buf_clear(&world.seen);
    turn();
    while (fuzz_next_piece(&pieces, &piece)) {
        if (send(fd, piece.ptr, piece.len, MSG_NOSIGNAL) < 0)
            break;
        turn();
        take_answer(fd, answer);
    }
    turn();
    take_answer(fd, answer);
    close(fd);
    for (int i = 0; gw_http_server_connections(world.server) > 0; i++) {
        fuzz_require(i < TURNS_MAX);
        turn();
    }
    fuzz_require(world.open == 0);
    fuzz_require(answer->len == 0 || gw_str_starts_with(gw_buf_str(answer), GW_STR("HTTP/1.1 ")));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    fuzz_pieces pieces = fuzz_pieces_of(data, size);
    gw_auto_buf answer = {0};
    gw_auto_buf whole_answer = {0};
    gw_auto_buf seen = {0};

    if (!world.loop)
        open_world();
    converse(pieces, &answer);
    gw_buf_append_str(&seen, gw_buf_str(&world.seen));
    converse((fuzz_pieces){.rest = pieces.rest}, &whole_answer);
    fuzz_require(gw_str_eq(gw_buf_str(&seen), gw_buf_str(&world.seen)));
    fuzz_require(gw_str_eq(gw_buf_str(&answer), gw_buf_str(&whole_answer)));
    return 0;
}
