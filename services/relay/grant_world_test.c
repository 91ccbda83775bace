#include "grant_world.h"

#include "core/str.h"
#include "testing/cmocka.h"

#include <limits.h>
#include <stdlib.h>

#ifdef __SANITIZE_THREAD__
#define RUNS_BY_DEFAULT 100 /* twenty times as slow, and there is one thread */
#else
#define RUNS_BY_DEFAULT 1000
#endif

static unsigned wanted(const char *variable, unsigned otherwise)
{
    const char *text = getenv(variable);
    int64_t n = otherwise;

    if (text)
        assert_true(gw_str_to_int64(gw_str_of(text), &n) && n > 0 && n <= UINT_MAX);
    return (unsigned)n;
}

static void no_world_oversells_or_leaks(void **state)
{
    unsigned runs = wanted("GRANT_WORLD_RUNS", RUNS_BY_DEFAULT);
    unsigned from = wanted("GRANT_WORLD_SEED", 1);
    static const char *names[] = {"net", "crash", "part", "redis", "mix"};
    unsigned bad = 0;
    int64_t cut = 0, refused = 0, unavailable = 0, extended_times = 0, batched = 0;

    (void)state;
    for (unsigned seed = from; seed < from + runs; seed++) {
        grant_world_result r;
        grant_world_run(seed, (grant_world_profile)(seed % WORLD_PROFILES), WORLD_WHOLE, &r);
        cut += r.admitted;
        refused += r.refused;
        unavailable += r.unavailable;
        extended_times += r.extended;
        batched += r.batched;
        if (r.violation[0] && bad++ < 10)
            print_message("seed %u (%s) at %lld ms: %s\n", seed, names[seed % WORLD_PROFILES],
                          (long long)r.now_ms, r.violation);
    }
    print_message("%u runs: %lld cut, %lld extended, %lld refused, %lld unavailable, %lld batches, "
                  "%u violations\n",
                  runs, (long long)cut, (long long)extended_times, (long long)refused,
                  (long long)unavailable, (long long)batched, bad);
    assert_int_equal(bad, 0);
    assert_true(cut > 100 * (int64_t)runs);
    assert_true(extended_times > 5 * (int64_t)runs);
    assert_true(batched > 20 * (int64_t)runs);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(no_world_oversells_or_leaks)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
