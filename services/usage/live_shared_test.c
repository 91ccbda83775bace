#define _GNU_SOURCE /* memfd_create, pipe2 */
/* Live counters of two replicas, by way of a real redis-server. */
#include "live_shared.h"

#include "redis/test_server.h"

typedef struct reading {
    bool done, of_all;
    int64_t requests;
} reading;

static void on_read(void *arg, const live *counters, bool of_all)
{
    reading *r = arg;
    gw_auto(gw_arena) a = gw_arena_new();
    const Apirelay__Usage__V1__GetMetricsResponse *m = live_metrics(counters, a, 60, NULL);
    assert_non_null(m);
    r->requests = m->totals->requests;
    r->of_all = of_all;
    r->done = true;
}

static bool has_read(void *arg)
{
    return ((reading *)arg)->done;
}

static reading read_now(world *w, live_shared *s)
{
    reading r = {0};
    live_shared_read(s, on_read, &r);
    assert_true(wait_until(w, has_read, &r));
    return r;
}

/* Reads every 20 ms until `is_it` holds of what was read. */
typedef struct poll {
    world *w;
    live_shared *s;
    gw_timer timer;
    reading last;
    bool (*is_it)(const reading *r);
} poll;

static void on_poll(void *arg)
{
    poll *p = arg;
    live_shared_read(p->s, on_read, &p->last);
    gw_timer_set(p->w->loop, &p->timer, 20);
}

static bool poll_is_over(void *arg)
{
    const poll *p = arg;
    return p->last.done && p->is_it(&p->last);
}

static reading read_until(world *w, live_shared *s, bool (*is_it)(const reading *r))
{
    poll p = {.w = w, .s = s, .is_it = is_it};
    gw_timer_init(&p.timer, on_poll, &p);
    on_poll(&p);
    bool over = wait_until(w, poll_is_over, &p);
    gw_timer_cancel(w->loop, &p.timer);
    reading last = p.last;
    (void)read_now(w, s); /* and whoever waits is answered while `p` lives */
    assert_true(over);
    return last;
}

static bool is_of_all(const reading *r)
{
    return r->of_all;
}
static bool is_of_one(const reading *r)
{
    return !r->of_all;
}
static bool has_all_requests(const reading *r)
{
    return r->requests == 112;
}

static void report(live_shared *s, int64_t ago_s, int64_t requests)
{
    uint8_t id[12] = {9};
    Apirelay__Usage__V1__Live frame = APIRELAY__USAGE__V1__LIVE__INIT;
    Apirelay__Usage__V1__LiveCounter c = APIRELAY__USAGE__V1__LIVE_COUNTER__INIT;
    Apirelay__Usage__V1__LiveCounter *counters[] = {&c};
    c.api_key_id = (ProtobufCBinaryData){sizeof(id), id};
    c.model = (char *)(uintptr_t) "a|b";
    c.requests = requests;
    frame.second = gw_clock_wall_ms(&gw_system_clock) / 1000 - ago_s;
    frame.open_streams = 1;
    frame.n_counters = 1;
    frame.counters = counters;
    live_shared_add(s, &frame);
}

typedef struct pair {
    live_shared *one, *other;
    gw_redis *second;
    gw_buf url;
} pair;

static void start_pair(world *w, pair *p)
{
    *p = (pair){0};
    gw_redis_options o = options_of(w, &p->url);
    assert_int_equal(gw_redis_new(w->loop, w->log, &o, &w->redis, NULL), GW_OK);
    assert_int_equal(gw_redis_new(w->loop, w->log, &o, &p->second, NULL), GW_OK);
    p->one = live_shared_new(w->loop, w->redis);
    p->other = live_shared_new(w->loop, p->second);
    assert_non_null(p->one);
    assert_non_null(p->other);
}

static void end_pair(world *w, pair *p)
{
    gw_redis_free(w->redis);
    w->redis = NULL;
    gw_redis_free(p->second);
    live_shared_free(p->one);
    live_shared_free(p->other);
    gw_buf_fini(&p->url);
}

static void each_replica_shows_what_all_relays_reported(void **state)
{
    world *w = *state;
    pair p;
    start_pair(w, &p);
    report(p.one, 2, 5);
    report(p.other, 2, 7);
    report(p.other, 4, 100);
    assert_true(read_until(w, p.one, has_all_requests).of_all);
    assert_true(read_until(w, p.other, has_all_requests).of_all);
    end_pair(w, &p);
}

static void without_redis_a_replica_shows_its_own_and_comes_back_by_itself(void **state)
{
    world *w = *state;
    pair p;
    start_pair(w, &p);
    report(p.one, 1, 5);
    report(p.other, 1, 7);
    (void)read_until(w, p.one, is_of_all);
    kill_server(w);
    assert_int_equal(read_until(w, p.one, is_of_one).requests, 5);
    start_server(w, NULL);
    (void)read_until(w, p.one, is_of_all);
    end_pair(w, &p);
}

static void a_replica_without_redis_has_its_own(void **state)
{
    world *w = *state;
    gw_auto(live_shared) s = live_shared_new(w->loop, NULL);
    report(s, 1, 5);
    reading r = read_now(w, s);
    assert_int_equal(r.requests, 5);
    assert_false(r.of_all);
}

static void strange_fields_in_a_hash_are_passed_over(void **state)
{
    world *w = *state;
    pair p;
    char hash[32];
    answer a = {0};
    start_pair(w, &p);
    (void)snprintf(hash, sizeof(hash), "live:%lld",
                   (long long)(gw_clock_wall_ms(&gw_system_clock) / 1000 - 3));
    gw_redis_call(w->redis, on_answer, &a, GW_STR("HSET"), gw_str_of(hash), GW_STR("||r"),
                  GW_STR("4"), GW_STR("nonsense"), GW_STR("1"), GW_STR("|m|r"), GW_STR("x"),
                  GW_STR("||d999"), GW_STR("3"), GW_STR("|m|e"), GW_STR("-9"));
    reading r = read_now(w, p.one);
    assert_int_equal(a.rc, GW_OK);
    assert_int_equal(r.requests, 4);
    end_pair(w, &p);
}

int main(void)
{
#define REDIS_TEST(f) cmocka_unit_test_setup_teardown(f, set_up_world_with_server, tear_down_world)
    const struct CMUnitTest tests[] = {
        REDIS_TEST(each_replica_shows_what_all_relays_reported),
        REDIS_TEST(without_redis_a_replica_shows_its_own_and_comes_back_by_itself),
        REDIS_TEST(a_replica_without_redis_has_its_own),
        REDIS_TEST(strange_fields_in_a_hash_are_passed_over),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
