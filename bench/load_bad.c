/*
 * Bad input: options.rate attempts a second, each on a connection of its own, the kinds in turn. What is malformed or
 * oversized is to be refused; what is slow or cut is ended by the server, or by us with a RST after 2 s. An answer of
 * 2xx to something that should be refused counts as ok: nobody expects one.
 */
#include "load_run.h"
#include "script.h"

#include <stdlib.h>

#define TICK_MS     5
#define PATIENCE_MS 2000
#define DRIP_MS     100
#define FLOOD_BYTES (200U << 10)

typedef enum bad_kind {
    BAD_REQUEST_LINE,
    BAD_TWO_LENGTHS,
    BAD_LONG_HEAD,
    BAD_LONG_BODY,
    BAD_JSON,
    BAD_KEY,
    BAD_SLOW_HEAD, /* a byte each DRIP_MS */
    BAD_SLOW_READER, /* asks for a long answer and takes nothing of it */
    BAD_CUT_BODY, /* resets in the middle of the request's body */
    BAD_CUT_ANSWER, /* resets after the first bytes of a stream */
    BAD_KINDS
} bad_kind;

typedef struct attempt {
    load_run *run;
    load_link *link;
    bad_kind kind;
    gw_timer timer;
    int64_t give_up_ms;
    size_t dripped;
} attempt;

typedef struct bad {
    load_run *run;
    gw_timer timer;
    int64_t started_ns, begun;
    size_t open;
    gw_buf texts[BAD_KINDS];
} bad;

static void append_request(gw_buf *b, const char *key, const char *more, size_t length,
                           const char *body)
{
    gw_buf_appendf(
        b,
        "POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer %s\r\n"
        "Content-Type: application/json\r\n%sContent-Length: %zu\r\n\r\n%s",
        key, more, length, body);
}

static void build_texts(bad *all, const load_options *o)
{
    static const char stream_body[] =
        "{\"model\":\"" SCRIPT_MODEL SCRIPT_SSE_SUFFIX
        "100-20\",\"stream\":true,\"messages\":[{\"role\":\"user\",\"content\":\"hello\"}]}";
    static const char large_body[] =
        "{\"model\":\"" SCRIPT_MODEL SCRIPT_SIZE_SUFFIX
        "3000000\",\"messages\":[{\"role\":\"user\",\"content\":\"hello\"}]}";
    gw_buf *t = all->texts;
    gw_buf_append_c(&t[BAD_REQUEST_LINE],
                    "POST  /v1/chat/completions HTCPCP/1.0\r\nHost : x\r\n\r\n");
    append_request(&t[BAD_TWO_LENGTHS], o->key, "Transfer-Encoding: chunked\r\n", 5, "0\r\n\r\n");
    gw_buf_append_c(&t[BAD_LONG_HEAD], "GET /v1/models HTTP/1.1\r\nHost: localhost\r\nX-Long: ");
    while (t[BAD_LONG_HEAD].len < FLOOD_BYTES && !gw_buf_failed(&t[BAD_LONG_HEAD]))
        gw_buf_append_c(&t[BAD_LONG_HEAD], "0123456789abcdef");
    append_request(&t[BAD_LONG_BODY], o->key, "", (size_t)10 << 30, "{\"model\":");
    append_request(&t[BAD_JSON], o->key, "", 21, "{\"model\": \"gpt-4o\",,,,");
    append_request(&t[BAD_KEY], "lc_test_0000000000000000000000000000000000", "",
                   sizeof(large_body) - 1, large_body);
    append_request(&t[BAD_SLOW_HEAD], o->key, "", sizeof(large_body) - 1, large_body);
    append_request(&t[BAD_SLOW_READER], o->key, "", sizeof(large_body) - 1, large_body);
    append_request(&t[BAD_CUT_BODY], o->key, "", 100000,
                   "{\"model\":\"gpt-4o-mini\",\"messages\":[");
    append_request(&t[BAD_CUT_ANSWER], o->key, "", sizeof(stream_body) - 1, stream_body);
    for (size_t i = 0; i < BAD_KINDS; i++)
        if (gw_buf_failed(&t[i]))
            abort();
}

static void end_if_last(bad *all)
{
    if (all->run->is_stopping && all->open == 0)
        load_run_end(all->run);
}

static void finish(attempt *a)
{
    bad *all = a->run->state;
    gw_timer_cancel(a->run->loop, &a->timer);
    all->open--;
    end_if_last(all);
    free(a);
}

static void give_up(attempt *a)
{
    load_link_close(a->link, true);
    finish(a);
}

static void drip(attempt *a)
{
    const bad *all = a->run->state;
    gw_str text = gw_buf_str(&all->texts[BAD_SLOW_HEAD]);
    gw_str part = gw_str_slice(text, a->dripped, a->dripped + 1);
    a->dripped++;
    load_link_write(a->link, &part, 1);
}

static void on_timer(void *arg)
{
    attempt *a = arg;
    if (gw_loop_now_ms(a->run->loop) >= a->give_up_ms) {
        give_up(a);
        return;
    }
    if (a->kind == BAD_SLOW_HEAD)
        drip(a);
    gw_timer_set(a->run->loop, &a->timer, DRIP_MS);
}

static void on_connected(load_link *l, void *arg)
{
    attempt *a = arg;
    const bad *all = a->run->state;
    gw_str text = gw_buf_str(&all->texts[a->kind]);
    if (a->kind == BAD_SLOW_READER)
        load_link_stop_reading(l);
    if (a->kind == BAD_SLOW_HEAD)
        drip(a);
    else
        load_link_write(l, &text, 1);
    if (a->kind == BAD_CUT_BODY)
        a->give_up_ms = gw_loop_now_ms(a->run->loop) + DRIP_MS;
}

static void on_body(load_link *l, gw_str bytes, void *arg)
{
    attempt *a = arg;
    (void)l;
    (void)bytes;
    if (a->kind == BAD_CUT_ANSWER)
        give_up(a);
}

static void on_answered(load_link *l, int status, bool keeps, void *arg)
{
    attempt *a = arg;
    (void)keeps;
    load_run_count_answer(a->run, status, load_now_ns());
    load_link_close(l, false);
    finish(a);
}

static void on_lost(load_link *l, void *arg)
{
    attempt *a = arg;
    (void)l;
    a->run->lost++;
    finish(a);
}

static const load_link_ops link_ops = {
    .connected = on_connected, .body = on_body, .answered = on_answered, .lost = on_lost};

static void try_next(bad *all)
{
    load_run *r = all->run;
    attempt *a = calloc(1, sizeof(*a));
    if (!a)
        abort();
    a->run = r;
    a->kind = (bad_kind)(all->begun++ % BAD_KINDS);
    a->give_up_ms = gw_loop_now_ms(r->loop) + PATIENCE_MS;
    a->link = load_link_open(r->target, &link_ops, a);
    if (!a->link)
        abort();
    gw_timer_init(&a->timer, on_timer, a);
    gw_timer_set(r->loop, &a->timer, DRIP_MS);
    all->open++;
    r->sent++;
}

static void open_due(void *arg)
{
    bad *all = arg;
    load_run *r = all->run;
    if (r->is_stopping)
        return;
    double due = (double)(load_now_ns() - all->started_ns) * 1e-9 * r->options->rate + 1;
    while ((double)all->begun < due)
        try_next(all);
    gw_timer_set(r->loop, &all->timer, TICK_MS);
}

static void start(load_run *r)
{
    bad *all = calloc(1, sizeof(*all));
    if (!all)
        abort();
    all->run = r;
    all->started_ns = load_now_ns();
    r->state = all;
    build_texts(all, r->options);
    gw_timer_init(&all->timer, open_due, all);
    open_due(all);
    load_run_open_window(r);
}

static void stop(load_run *r)
{
    end_if_last(r->state);
}

const load_kind load_bad = {.start = start, .stop = stop};
