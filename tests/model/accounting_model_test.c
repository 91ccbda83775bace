/*
 * The model of accounting: thousands of courses of events, each from a seed, each checked at rest; and that each known mistake is noticed.
 *
 *     accounting_model_test                                all of it
 *     MODEL_SEED=17 accounting_model_test                  one course, told step by step
 *     MODEL_MUTANT=NO_SWEEP accounting_model_test          of the mistakes this one; with a seed: in that course
 *     MODEL_SEEDS=100000 accounting_model_test             more of them
 */
#include "model.h"

#include "core/fault.h"
#include "testing/cmocka.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define SEEDS 150
#define MUTANT_SEEDS_MAX                                                                           \
    60 /* slow here: for what the sanitizer sees, not for whether each is noticed */
#define MUST_NOTICE false
#else
#define SEEDS            2000
#define MUTANT_SEEDS_MAX 6000
#define MUST_NOTICE      true
#endif
#define PROCESSES 2

gw_mutant gw_mutant_now = GW_MUTANT_NONE;

static const char *const mutant_names[] = {"NONE",
#define X(name) #name,
                                           GW_MUTANT_LIST(X)
#undef X
};

static uint64_t number_of(const char *variable, uint64_t otherwise)
{
    const char *text = getenv(variable);
    return text ? strtoull(text, NULL, 10) : otherwise;
}

static void seeds_hold(void **state)
{
    uint64_t seeds = number_of("MODEL_SEEDS", SEEDS);
    pid_t children[PROCESSES];
    (void)state;
    (void)fflush(NULL);
    for (uint64_t p = 0; p < PROCESSES; p++) {
        children[p] = fork();
        if (children[p] != 0)
            continue;
        static world w;
        int failures = 0;
        for (uint64_t seed = 1 + p; seed <= seeds; seed += PROCESSES) {
            world_run(&w, seed, false);
            if (w.failure[0]) {
                (void)fprintf(stderr, "seed %llu: %s\n", (unsigned long long)seed, w.failure);
                failures++;
            }
        }
        _exit(failures ? 1 : 0);
    }
    bool ok = true;
    for (int p = 0; p < PROCESSES; p++) {
        int status = 0;
        ok &= waitpid(children[p], &status, 0) == children[p] && status == 0;
    }
    assert_true(ok);
}

static void each_known_mistake_is_noticed(void **state)
{
    static world w;
    (void)state;
    const char *only = getenv("MODEL_MUTANT");
    for (size_t i = 1; i < GW_ARRAY_LEN(mutant_names); i++) {
        uint64_t seed = 0;
        if (only && strcmp(only, mutant_names[i]) != 0)
            continue;
        gw_mutant_now = (gw_mutant)i;
        do {
            world_run(&w, ++seed, false);
        } while (!w.failure[0] && seed < MUTANT_SEEDS_MAX);
        gw_mutant_now = GW_MUTANT_NONE;
        if (!w.failure[0] && MUST_NOTICE)
            fail_msg("no seed notices %s", mutant_names[i]);
        (void)printf("%-28s seed %llu: %s\n", mutant_names[i], (unsigned long long)seed, w.failure);
        (void)fflush(stdout);
    }
}

static void a_seed_runs_the_same_twice(void **state)
{
    static world one, two;
    (void)state;
    for (uint64_t seed = 1; seed <= 5; seed++) {
        world_run(&one, seed, false);
        world_run(&two, seed, false);
        assert_int_equal(one.random, two.random);
        assert_int_equal(one.mono_ms, two.mono_ms);
    }
}

static int tell_one(uint64_t seed, const char *mutant)
{
    static world w;
    for (size_t i = 1; mutant && i < GW_ARRAY_LEN(mutant_names); i++)
        if (strcmp(mutant, mutant_names[i]) == 0)
            gw_mutant_now = (gw_mutant)i;
    world_run(&w, seed, true);
    (void)printf("seed %llu: %s\n", (unsigned long long)seed, w.failure[0] ? w.failure : "holds");
    return w.failure[0] ? 1 : 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_seed_runs_the_same_twice),
        cmocka_unit_test(seeds_hold),
        cmocka_unit_test(each_known_mistake_is_noticed),
    };
    if (getenv("MODEL_SEED"))
        return tell_one(number_of("MODEL_SEED", 1), getenv("MODEL_MUTANT"));
    return cmocka_run_group_tests(tests, NULL, NULL);
}
