/* The rules of the ledger, taken out one at a time: the world (grant_world_test.c) has to notice each within 500 seeds. */
#define GRANT_MUTANTS
/* NOLINTBEGIN(bugprone-suspicious-include): their symbols are defined here, so the library's are not linked */
#include "grant.c"
#include "grant_book_queue.c"
#include "grant_world_test.c"
/* NOLINTEND(bugprone-suspicious-include) */

int grant_mutant;

static void each_rule_that_is_taken_out_is_missed(void **state)
{
    static const struct {
        const char *what;
        int grant, world;
        profile profile;
    } mutants[] = {
        {"what a statement gives back is cut until its answer", MUTANT_CUT_WHILE_ASKING, 0, NET},
        {"a grant outlives its day", MUTANT_LEASE_PAST_MIDNIGHT, 0, NET},
        {"spend is told as a difference", MUTANT_SPEND_AS_DIFFERENCE, 0, NET},
        {"one ledger of two is enough for a cut", MUTANT_ONE_LEVEL_IS_ENOUGH, 0, NET},
        {"a slot is cut again while its request runs", MUTANT_OPEN_SLOTS_ARE_FREE, 0, NET},
        {"more is bought for a day that has ended", MUTANT_MORE_AFTER_MIDNIGHT, 0, NET},
        {"what a request has more is not held", MUTANT_MORE_IS_NOT_HELD, 0, NET},
        {"slots are free as soon as a relay is silent", 0, WORLD_SLOTS_LAPSE_EARLY, PART},
        {"what a relay holds is free as soon as it is silent", 0, WORLD_FORGIVEN_AT_LEASE, PART},
        {"a killed relay's positions are not closed", 0, WORLD_NO_FINAL, CRASH},
        {"interrupted requests are not billed", 0, WORLD_OPEN_NOT_BILLED, CRASH},
        {"a build-up does not wait for the spools", 0, WORLD_NO_BARRIER, REDIS},
        {"a build-up counts what positions state too", 0, WORLD_COUNTS_TWICE, REDIS},
        {"after a loss of data it is sold at once", 0, WORLD_NO_QUARANTINE, REDIS},
    };
    static world the_world; /* too large for the stack */
    world *w = &the_world;

    (void)state;
    for (size_t i = 0; i < GW_ARRAY_LEN(mutants); i++) {
        unsigned seed = 0;
        grant_mutant = mutants[i].grant;
        world_mutant = mutants[i].world;
        do {
            run_world(w, ++seed, mutants[i].profile);
        } while (!w->violation[0] && seed < 500);
        print_message("%s: seed %u: %s\n", mutants[i].what, seed, w->violation);
        if (!w->violation[0])
            fail_msg("nothing was wrong although %s", mutants[i].what);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(each_rule_that_is_taken_out_is_missed)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
