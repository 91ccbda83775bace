#include "route_plan.h"

#include "testing/cmocka.h"

#define MANY 4

/* A route of up to MANY targets, whose states the test sets. */
typedef struct fixture {
    route_target targets[MANY];
    model_route route;
    target_state states[MANY];
    route_plan plan;
    uint64_t seed;
} fixture;

static target_state state_of(void *arg, const route_target *t)
{
    const fixture *f = arg;
    return f->states[t - f->targets];
}

static route_view view_of(fixture *f)
{
    return (route_view){state_of, f};
}

/* `tiers`: a digit a target. */
static fixture route_of(const char *tiers)
{
    fixture f = {.seed = 1};
    for (; tiers[f.route.target_count]; f.route.target_count++)
        f.targets[f.route.target_count] = (route_target){
            .weight = 1, .tier = (uint8_t)(tiers[f.route.target_count] - '0'), .max_retries = 0};
    return f;
}

/* The index of the next one, -1 for none. */
static int next(fixture *f)
{
    f->route.targets = f->targets;
    route_view view = view_of(f);
    const route_target *t = route_plan_next(&f->plan, &f->route, &view, &f->seed);
    return t ? (int)(t - f->targets) : -1;
}

static int after(fixture *f, int at, failed_attempt failed, int64_t *pause_ms)
{
    f->route.targets = f->targets;
    route_view view = view_of(f);
    plan_step step =
        route_plan_after(&f->plan, &f->route, &f->targets[at], &failed, &view, &f->seed);
    *pause_ms = step.pause_ms;
    return step.target ? (int)(step.target - f->targets) : -1;
}

static failed_attempt failed(attempt_failure failure)
{
    return (failed_attempt){failure, -1, 60000};
}

/* ---- whose turn it is ---- */

static void a_lone_target_has_one_turn_and_draws_no_lot(void **state)
{
    (void)state;
    fixture f = route_of("0");
    assert_int_equal(next(&f), 0);
    assert_int_equal(f.seed, 1);
    assert_int_equal(next(&f), -1);
}

static void tiers_follow_each_other(void **state)
{
    (void)state;
    fixture f = route_of("0145");
    for (int i = 0; i < MANY; i++)
        assert_int_equal(next(&f), i);
    assert_int_equal(next(&f), -1);
}

static void all_of_a_tier_have_their_turn_before_the_next_one(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 100; seed++) {
        fixture f = route_of("0001");
        f.seed = seed;
        bool had[3] = {false};
        for (int i = 0; i < 3; i++) {
            int at = next(&f);
            assert_in_range(at, 0, 2);
            had[at] = true;
        }
        assert_true(had[0] && had[1] && had[2]);
        assert_int_equal(next(&f), 3);
    }
}

static void a_tier_is_shared_by_weight(void **state)
{
    (void)state;
    int hits[MANY] = {0};
    fixture f = route_of("0001");
    f.targets[0].weight = 1;
    f.targets[1].weight = 2;
    f.targets[2].weight = 7;
    f.targets[3].weight = 1000;
    for (int i = 0; i < 10000; i++) {
        f.plan = (route_plan){0};
        hits[next(&f)]++;
    }
    assert_in_range(hits[0], 850, 1150);
    assert_in_range(hits[1], 1800, 2200);
    assert_in_range(hits[2], 6700, 7300);
    assert_int_equal(hits[3], 0);
}

static void a_barred_one_is_passed_over_and_what_is_left_shares_its_part(void **state)
{
    (void)state;
    int hits[MANY] = {0}, asked = 0;
    fixture f = route_of("000");
    f.targets[1].weight = 1000;
    for (target_state s = TARGET_OPEN; s <= TARGET_FORBIDDEN; s++) {
        f.states[1] = s;
        for (int i = 0; i < 1000; i++, asked++) {
            f.plan = (route_plan){0};
            hits[next(&f)]++;
        }
    }
    assert_int_equal(hits[1], 0);
    assert_in_range(hits[0], asked * 46 / 100, asked * 54 / 100);
    f.states[0] = f.states[2] = TARGET_OPEN;
    f.plan = (route_plan){0};
    assert_int_equal(next(&f), -1);
}

static void a_limited_one_comes_last_whatever_its_tier(void **state)
{
    (void)state;
    fixture f = route_of("012");
    f.states[0] = TARGET_LIMITED;
    assert_int_equal(next(&f), 1);
    assert_int_equal(next(&f), 2);
    assert_int_equal(next(&f), 0);
    assert_int_equal(next(&f), -1);
}

static void why_none_may_be_asked_is_the_best_of_the_states(void **state)
{
    (void)state;
    fixture f = route_of("000");
    f.route.targets = f.targets;
    route_view view = view_of(&f);
    f.states[0] = TARGET_FORBIDDEN;
    f.states[1] = TARGET_OPEN;
    f.states[2] = TARGET_UNUSABLE;
    assert_int_equal(route_plan_best(&f.route, &view), TARGET_OPEN);
    f.states[1] = TARGET_FORBIDDEN;
    assert_int_equal(route_plan_best(&f.route, &view), TARGET_UNUSABLE);
}

static target_state always_ready(void *arg, const route_target *t)
{
    (void)arg;
    (void)t;
    return TARGET_READY;
}

static void every_target_of_the_longest_route_has_its_turn(void **state)
{
    (void)state;
    route_target many[ROUTE_TARGETS_MAX] = {0};
    model_route r = {.targets = many, .target_count = ROUTE_TARGETS_MAX};
    route_view view = {always_ready, NULL};
    route_plan p = {0};
    uint64_t seed = 9;
    for (size_t i = 0; i < ROUTE_TARGETS_MAX; i++)
        many[i].weight = 1000;
    for (size_t i = 0; i < ROUTE_TARGETS_MAX; i++)
        assert_non_null(route_plan_next(&p, &r, &view, &seed));
    assert_null(route_plan_next(&p, &r, &view, &seed));
    assert_int_equal(p.taken, UINT32_MAX);
}

/* ---- after a failure ---- */

static void a_final_failure_ends_it(void **state)
{
    (void)state;
    int64_t pause;
    fixture f = route_of("01");
    f.targets[0].max_retries = 3;
    assert_int_equal(after(&f, next(&f), failed(FAILURE_FINAL), &pause), -1);
}

static void a_passing_one_is_retried_later_each_time_then_the_next_is_asked_at_once(void **state)
{
    (void)state;
    int64_t pause;
    fixture f = route_of("01");
    f.targets[0].max_retries = 3;
    assert_int_equal(next(&f), 0);
    for (int i = 0; i < 3; i++) {
        assert_int_equal(after(&f, 0, failed(FAILURE_PASSING), &pause), 0);
        assert_in_range(pause, RETRY_PAUSE_MIN_MS << i >> 1, RETRY_PAUSE_MIN_MS << i);
    }
    assert_int_equal(after(&f, 0, failed(FAILURE_PASSING), &pause), 1);
    assert_int_equal(pause, 0);
    assert_int_equal(after(&f, 1, failed(FAILURE_PASSING), &pause), -1);
}

static void each_target_has_retries_of_its_own(void **state)
{
    (void)state;
    int64_t pause;
    fixture f = route_of("01");
    f.targets[0].max_retries = f.targets[1].max_retries = 1;
    assert_int_equal(next(&f), 0);
    assert_int_equal(after(&f, 0, failed(FAILURE_PASSING), &pause), 0);
    assert_int_equal(after(&f, 0, failed(FAILURE_PASSING), &pause), 1);
    assert_int_equal(after(&f, 1, failed(FAILURE_PASSING), &pause), 1);
    assert_int_equal(after(&f, 1, failed(FAILURE_PASSING), &pause), -1);
}

static void pauses_differ_from_request_to_request(void **state)
{
    (void)state;
    int64_t pause, least = INT64_MAX, most = 0;
    for (uint64_t seed = 1; seed <= 200; seed++) {
        fixture f = route_of("0");
        f.targets[0].max_retries = 1;
        f.seed = seed;
        assert_int_equal(after(&f, next(&f), failed(FAILURE_PASSING), &pause), 0);
        least = GW_MIN(least, pause);
        most = GW_MAX(most, pause);
    }
    assert_in_range(least, RETRY_PAUSE_MIN_MS / 2, RETRY_PAUSE_MIN_MS / 2 + 10);
    assert_in_range(most, RETRY_PAUSE_MIN_MS - 10, RETRY_PAUSE_MIN_MS);
}

static void what_a_target_will_never_do_is_not_retried(void **state)
{
    (void)state;
    int64_t pause;
    fixture f = route_of("01");
    f.targets[0].max_retries = 3;
    assert_int_equal(after(&f, next(&f), failed(FAILURE_OF_TARGET), &pause), 1);
    assert_int_equal(pause, 0);
}

static void a_limited_one_gives_way_to_one_that_is_ready(void **state)
{
    (void)state;
    int64_t pause;
    fixture f = route_of("01");
    f.targets[0].max_retries = 3;
    assert_int_equal(next(&f), 0);
    f.states[0] = TARGET_LIMITED;
    assert_int_equal(after(&f, 0, failed(FAILURE_LIMITED), &pause), 1);
    assert_int_equal(pause, 0);
}

static void while_a_credential_is_left_the_same_target_is_asked_at_once(void **state)
{
    static const attempt_failure failures[] = {FAILURE_LIMITED, FAILURE_OF_CREDENTIAL};
    (void)state;
    for (size_t i = 0; i < GW_ARRAY_LEN(failures); i++) {
        int64_t pause;
        fixture f = route_of("01");
        assert_int_equal(next(&f), 0);
        for (int k = 0; k < CREDENTIALS_MAX - 1; k++) { /* though it says so for ever */
            assert_int_equal(after(&f, 0, failed(failures[i]), &pause), 0);
            assert_int_equal(pause, 0);
        }
        assert_int_equal(after(&f, 0, failed(failures[i]), &pause), 1);
    }
}

static void a_refused_credential_without_another_is_not_retried(void **state)
{
    (void)state;
    int64_t pause;
    fixture f = route_of("01");
    f.targets[0].max_retries = 3;
    assert_int_equal(next(&f), 0);
    f.states[0] = TARGET_LIMITED;
    assert_int_equal(after(&f, 0, failed(FAILURE_OF_CREDENTIAL), &pause), 1);
}

static void a_limited_one_is_waited_for_when_no_other_is_ready(void **state)
{
    (void)state;
    int64_t pause;
    failed_attempt limited = {FAILURE_LIMITED, 2000, 60000};
    fixture f = route_of("01");
    f.targets[0].max_retries = 1;
    assert_int_equal(next(&f), 0);
    f.states[0] = f.states[1] = TARGET_LIMITED;
    assert_int_equal(after(&f, 0, limited, &pause), 0);
    assert_in_range(pause, 2000, 2000 + RETRY_PAUSE_MIN_MS);
    assert_int_equal(after(&f, 0, limited, &pause), 1);
    assert_int_equal(pause, 0);
}

/* retry_after_ms, left_ms, total_timeout_ms → waits? */
static void a_pause_that_takes_too_long_is_none(void **state)
{
    static const struct {
        int64_t retry_after_ms, left_ms, total_ms;
        bool waits;
    } cases[] = {
        {-1, 60000, 0, true},
        {0, 60000, 0, true},
        {3000, 60000, 0, true},
        {3000, 2000, 0, false},
        {3000, 60000, 2000, false},
        {3000, 60000, 20000, true},
        {RETRY_PAUSE_MAX_MS + 1, 600000, 0, false},
        {INT64_MAX / 2, INT64_MAX, 0, false},
        {-1, 100, 0, false},
    };
    (void)state;
    for (size_t i = 0; i < GW_ARRAY_LEN(cases); i++) {
        int64_t pause;
        fixture f = route_of("01");
        f.targets[0].max_retries = 1;
        f.targets[0].total_timeout_ms = cases[i].total_ms;
        assert_int_equal(next(&f), 0);
        print_message("case %zu\n", i);
        assert_int_equal(
            after(&f, 0,
                  (failed_attempt){FAILURE_PASSING, cases[i].retry_after_ms, cases[i].left_ms},
                  &pause),
            cases[i].waits ? 0 : 1);
        if (cases[i].waits)
            assert_true(pause >= cases[i].retry_after_ms);
    }
}

static void one_whose_breaker_has_opened_meanwhile_is_not_retried(void **state)
{
    (void)state;
    int64_t pause;
    fixture f = route_of("01");
    f.targets[0].max_retries = 3;
    assert_int_equal(next(&f), 0);
    f.states[0] = TARGET_OPEN;
    assert_int_equal(after(&f, 0, failed(FAILURE_PASSING), &pause), 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_lone_target_has_one_turn_and_draws_no_lot),
        cmocka_unit_test(tiers_follow_each_other),
        cmocka_unit_test(all_of_a_tier_have_their_turn_before_the_next_one),
        cmocka_unit_test(a_tier_is_shared_by_weight),
        cmocka_unit_test(a_barred_one_is_passed_over_and_what_is_left_shares_its_part),
        cmocka_unit_test(a_limited_one_comes_last_whatever_its_tier),
        cmocka_unit_test(why_none_may_be_asked_is_the_best_of_the_states),
        cmocka_unit_test(every_target_of_the_longest_route_has_its_turn),
        cmocka_unit_test(a_final_failure_ends_it),
        cmocka_unit_test(a_passing_one_is_retried_later_each_time_then_the_next_is_asked_at_once),
        cmocka_unit_test(each_target_has_retries_of_its_own),
        cmocka_unit_test(pauses_differ_from_request_to_request),
        cmocka_unit_test(what_a_target_will_never_do_is_not_retried),
        cmocka_unit_test(a_limited_one_gives_way_to_one_that_is_ready),
        cmocka_unit_test(while_a_credential_is_left_the_same_target_is_asked_at_once),
        cmocka_unit_test(a_refused_credential_without_another_is_not_retried),
        cmocka_unit_test(a_limited_one_is_waited_for_when_no_other_is_ready),
        cmocka_unit_test(a_pause_that_takes_too_long_is_none),
        cmocka_unit_test(one_whose_breaker_has_opened_meanwhile_is_not_retried),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
