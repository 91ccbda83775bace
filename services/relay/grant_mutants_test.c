/* The rules of the ledger, taken out one at a time: the world (grant_world.h) has to notice each within 500 seeds. */
#define GRANT_MUTANTS
/* NOLINTBEGIN(bugprone-suspicious-include): their symbols are defined here, so the library's are not linked */
#include "grant.c"
#include "grant_book_queue.c"
/* NOLINTEND(bugprone-suspicious-include) */
#include "grant_world.h"

#include "testing/cmocka.h"

int grant_mutant;

static void each_rule_that_is_taken_out_is_missed(void **state)
{
    static const struct {
        const char *what;
        int grant;
        grant_world_mutant world;
        grant_world_profile profile;
    } mutants[] = {
        {"what a statement gives back is cut until its answer", MUTANT_CUT_WHILE_ASKING,
         WORLD_WHOLE, WORLD_NET},
        {"a grant outlives its day", MUTANT_LEASE_PAST_MIDNIGHT, WORLD_WHOLE, WORLD_NET},
        {"spend is told as a difference", MUTANT_SPEND_AS_DIFFERENCE, WORLD_WHOLE, WORLD_NET},
        {"one ledger of two is enough for a cut", MUTANT_ONE_LEVEL_IS_ENOUGH, WORLD_WHOLE,
         WORLD_NET},
        {"a slot is cut again while its request runs", MUTANT_OPEN_SLOTS_ARE_FREE, WORLD_WHOLE,
         WORLD_NET},
        {"more is bought for a day that has ended", MUTANT_MORE_AFTER_MIDNIGHT, WORLD_WHOLE,
         WORLD_NET},
        {"what a request has more is not held", MUTANT_MORE_IS_NOT_HELD, WORLD_WHOLE, WORLD_NET},
        {"slots are free as soon as a relay is silent", 0, WORLD_SLOTS_LAPSE_EARLY, WORLD_PART},
        {"what a relay holds is free as soon as it is silent", 0, WORLD_FORGIVEN_AT_LEASE,
         WORLD_PART},
        {"a killed relay's positions are not closed", 0, WORLD_NO_FINAL, WORLD_CRASH},
        {"interrupted requests are not billed", 0, WORLD_OPEN_NOT_BILLED, WORLD_CRASH},
        {"a build-up does not wait for the spools", 0, WORLD_NO_BARRIER, WORLD_REDIS},
        {"a build-up counts what positions state too", 0, WORLD_COUNTS_TWICE, WORLD_REDIS},
        {"after a loss of data it is sold at once", 0, WORLD_NO_QUARANTINE, WORLD_REDIS},
    };
    (void)state;
    for (size_t i = 0; i < GW_ARRAY_LEN(mutants); i++) {
        grant_world_result r;
        unsigned seed = 0;
        grant_mutant = mutants[i].grant;
        do {
            grant_world_run(++seed, mutants[i].profile, mutants[i].world, &r);
        } while (!r.violation[0] && seed < 500);
        print_message("%s: seed %u: %s\n", mutants[i].what, seed, r.violation);
        if (!r.violation[0])
            fail_msg("nothing was wrong although %s", mutants[i].what);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(each_rule_that_is_taken_out_is_missed)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
