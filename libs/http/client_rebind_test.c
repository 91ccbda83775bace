/*
 * A name that says another address each time it is asked (DNS rebinding): what counts is the address that is connected to, not one
 * that was looked at before. The resolver is the test's: libcurl's threads call the getaddrinfo() of this program.
 */
#include "client_test_kit.h"

#include <dlfcn.h>
#include <netdb.h>
#include <pthread.h>

#define REBINDING "rebinding.test"
#define OURS      (1 << 30) /* of ai_flags: made here */

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static const char *const *answers; /* of the following look-ups; "," between addresses of one */
static size_t looked_up;

static const char *next_answer(void)
{
    pthread_mutex_lock(&lock);
    const char *answer = answers[looked_up++];
    pthread_mutex_unlock(&lock);
    return answer;
}

static struct addrinfo *make_info(gw_str address, int port)
{
    struct addrinfo *info = calloc(1, sizeof(*info));
    struct sockaddr_in *in = calloc(1, sizeof(*in));
    char text[INET_ADDRSTRLEN];
    if (!info || !in)
        abort();
    (void)snprintf(text, sizeof(text), GW_STR_FMT, GW_STR_ARG(address));
    *in = (struct sockaddr_in){.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    if (inet_pton(AF_INET, text, &in->sin_addr) != 1)
        abort();
    *info = (struct addrinfo){.ai_flags = OURS,
                              .ai_family = AF_INET,
                              .ai_socktype = SOCK_STREAM,
                              .ai_addrlen = sizeof(*in),
                              .ai_addr = (struct sockaddr *)in};
    return info;
}

/* NOLINTNEXTLINE(readability-inconsistent-declaration-parameter-name): libc's own are reserved names */
int getaddrinfo(const char *node, const char *service, const struct addrinfo *hints,
                struct addrinfo **ret)
{
    if (!node || strcmp(node, REBINDING) != 0) {
        int (*libcs)(const char *, const char *, const struct addrinfo *, struct addrinfo **);
        *(void **)&libcs = dlsym(RTLD_NEXT, "getaddrinfo");
        return libcs(node, service, hints, ret);
    }
    gw_str rest = gw_str_of(next_answer()), address;
    struct addrinfo **end = ret;
    int64_t port = 0;
    if (service && !gw_str_to_int64(gw_str_of(service), &port))
        abort(); /* not this test's thread */
    while (gw_str_split(&rest, ',', &address)) {
        *end = make_info(address, (int)port);
        end = &(*end)->ai_next;
    }
    return 0;
}

/* NOLINTNEXTLINE(readability-inconsistent-declaration-parameter-name) */
void freeaddrinfo(struct addrinfo *info)
{
    void (*libcs)(struct addrinfo *);
    *(void **)&libcs = dlsym(RTLD_NEXT, "freeaddrinfo");
    for (struct addrinfo *next; info; info = next) {
        next = info->ai_next;
        if (info->ai_flags != OURS) {
            libcs(info);
            return;
        }
        free(info->ai_addr);
        free(info);
    }
}

static void open_client(kit *k) /* one that remembers no name; the server answers */
{
    static gw_cidr allowed;
    gw_http_client_options o = gw_http_client_defaults;
    assert_true(gw_cidr_parse(GW_STR("127.0.0.1/32"), &allowed));
    o.allow_cidrs = &allowed;
    o.allow_cidr_count = 1;
    k->server.answer = GW_STR("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
    kit_close_client(k);
    kit_open_client(k, o);
}

static gw_status ask(kit *k, kit_call *c)
{
    gw_http_request r = kit_request(k, "GET");
    r.url.host = GW_STR(REBINDING);
    kit_start(k, c, &r);
    kit_run(k);
    return c->rc;
}

static void a_name_that_turns_to_a_private_address_is_refused(void **state)
{
    static const char *const turning[] = {"127.0.0.1", "127.0.0.2", "169.254.169.254", "127.0.0.1"};
    static const gw_status expected[] = {GW_OK, GW_ERR_ADDRESS_REFUSED, GW_ERR_ADDRESS_REFUSED,
                                         GW_OK};
    kit *k = *state;
    answers = turning;
    looked_up = 0;
    for (size_t i = 0; i < GW_ARRAY_LEN(turning); i++) {
        kit_auto_call c = {0};
        open_client(k);
        if (ask(k, &c) != expected[i])
            fail_msg("%s: %s (%s)", turning[i], gw_status_describe(c.rc)->name, c.err.message);
        assert_int_equal(looked_up, i + 1);
    }
    assert_int_equal(k->server.accepted, 2);
}

static void of_several_addresses_only_allowed_ones_are_connected_to(void **state)
{
    static const char *const mixed[] = {"127.0.0.2,127.0.0.1",
                                        "10.0.0.1,169.254.169.254,127.0.0.2"};
    kit *k = *state;
    kit_auto_call first = {0}, second = {0};
    answers = mixed;
    looked_up = 0;
    open_client(k);
    assert_int_equal(ask(k, &first), GW_OK);
    open_client(k);
    assert_int_equal(ask(k, &second), GW_ERR_ADDRESS_REFUSED);
    assert_int_equal(k->server.accepted, 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        KIT_TEST_BOTH(a_name_that_turns_to_a_private_address_is_refused),
        KIT_TEST_BOTH(of_several_addresses_only_allowed_ones_are_connected_to),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
