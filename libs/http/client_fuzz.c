/*
 * Bytes from an upstream to the real client over a real socket, in pieces (testing/fuzz.h), then the end
 * of the connection; a first piece of 'h' bytes makes it the answer to a HEAD. However they are cut, the
 * caller hears the same; one head at most, its body after it, one end, and no connection is left.
 */
#include "http/client_internal.h"
#include "testing/fuzz.h"

#include <arpa/inet.h>
#include <netinet/tcp.h>
#include <sys/socket.h>

#define TURNS_MAX 1000000

static struct {
    gw_loop *loop;
    gw_http_client *client;
    int listener;
    uint16_t port;
} world;

typedef struct heard {
    gw_buf text; /* status, headers, body */
    size_t heads, dones;
    gw_status rc;
} heard;

static void on_head(gw_http_call *c, int status, gw_headers headers, void *arg)
{
    heard *h = arg;

    (void)c;
    fuzz_require(h->heads++ == 0 && h->dones == 0 && status >= 200 && status <= 999);
    gw_buf_appendf(&h->text, "%d\n", status);
    for (size_t i = 0; i < headers.count; i++) {
        fuzz_require(gw_header_name_is_valid(headers.items[i].name));
        fuzz_require(gw_header_value_is_valid(headers.items[i].value));
        gw_buf_appendf(&h->text, GW_STR_FMT ": " GW_STR_FMT "\n", GW_STR_ARG(headers.items[i].name),
                       GW_STR_ARG(headers.items[i].value));
    }
}

static void on_body(gw_http_call *c, gw_str bytes, void *arg)
{
    heard *h = arg;

    (void)c;
    fuzz_require(h->heads == 1 && h->dones == 0);
    gw_buf_append_str(&h->text, bytes);
}

static void on_done(gw_http_call *c, gw_status rc, const gw_error *err, void *arg)
{
    heard *h = arg;

    (void)c;
    fuzz_require(h->dones++ == 0);
    fuzz_require(rc == GW_OK || rc == GW_ERR_UPSTREAM_PROTOCOL || rc == GW_ERR_UPSTREAM_CUT ||
                 rc == GW_ERR_UPSTREAM_UNAVAILABLE);
    fuzz_require(rc != GW_OK || h->heads == 1);
    fuzz_require(rc == GW_OK || err->message[0]);
    h->rc = rc;
}

static void open_world(void)
{
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof(a);
    gw_cidr loopback;
    gw_http_client_options o = gw_http_client_defaults;

    fuzz_require(gw_cidr_parse(GW_STR("127.0.0.0/8"), &loopback));
    o.allow_cidrs = &loopback;
    o.allow_cidr_count = 1;
    o.head_max_bytes = 1024;
    fuzz_require(gw_loop_new(&gw_system_clock, &world.loop, NULL) == GW_OK);
    fuzz_require(gw_http_client_new(world.loop, &o, NULL, &world.client, NULL) == GW_OK);
    world.listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
    fuzz_require(bind(world.listener, (struct sockaddr *)&a, sizeof(a)) == 0 &&
                 listen(world.listener, 16) == 0 &&
                 getsockname(world.listener, (struct sockaddr *)&a, &len) == 0);
    world.port = ntohs(a.sin_port);
}

static void turn(void)
{
    for (int i = 0; i < 4; i++)
        uv_run(gw_loop_uv(world.loop), UV_RUN_NOWAIT);
}

/* The other end of the client's connection, once the whole request has come. */
static int accept_request(const heard *h)
{
    char head[2048];
    size_t len = 0;
    int fd = -1;

    for (int i = 0; fd < 0; i++) {
        fuzz_require(i < TURNS_MAX && h->dones == 0);
        turn();
        fd = accept(world.listener, NULL, NULL);
    }
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &(int){1}, sizeof(int)); /* each piece at once */
    for (int i = 0; !gw_str_ends_with(gw_str_n(head, len), GW_STR("\r\n\r\n")); i++) {
        fuzz_require(i < TURNS_MAX && len < sizeof(head));
        turn();
        ssize_t n = recv(fd, head + len, sizeof(head) - len, MSG_DONTWAIT);
        len += n > 0 ? (size_t)n : 0;
    }
    return fd;
}

static heard call(fuzz_pieces pieces, const char *method)
{
    static const gw_http_call_ops ops = {on_head, on_body, on_done};
    gw_http_request r = {.method = method, .target = GW_STR("/v1/x")};
    heard h = {.rc = GW_OK};
    gw_http_call *c = NULL;
    gw_str piece;

    r.url = (gw_url){.scheme = GW_STR("http"), .host = GW_STR("127.0.0.1"), .port = world.port};
    fuzz_require(gw_http_send(world.client, &r, &ops, &h, &c, NULL) == GW_OK);
    int fd = accept_request(&h);
    while (fuzz_next_piece(&pieces, &piece) &&
           send(fd, piece.ptr, piece.len, MSG_NOSIGNAL) == (ssize_t)piece.len)
        turn();
    (void)shutdown(fd, SHUT_WR);
    for (int i = 0; h.dones == 0 || world.client->connections > 0; i++) {
        fuzz_require(i < TURNS_MAX);
        turn();
    }
    close(fd);
    return h;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    fuzz_pieces pieces = fuzz_pieces_of(data, size);
    const char *method = gw_str_starts_with(pieces.lengths, GW_STR("h")) ? "HEAD" : "GET";

    if (!world.loop)
        open_world();
    heard cut = call(pieces, method);
    heard whole = call((fuzz_pieces){.rest = pieces.rest}, method);
    fuzz_require(cut.rc == whole.rc && cut.heads == whole.heads);
    fuzz_require(gw_str_eq(gw_buf_str(&cut.text), gw_buf_str(&whole.text)));
    gw_buf_fini(&cut.text);
    gw_buf_fini(&whole.text);
    return 0;
}
