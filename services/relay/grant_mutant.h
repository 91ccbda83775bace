/*
 * Rules that the property test takes out one at a time, and must notice (grant_mutants_test.c). Nothing of it is in a relay.
 */
#pragma once

#ifdef GRANT_MUTANTS
extern int grant_mutant;
enum {
    MUTANT_CUT_WHILE_ASKING = 1,
    MUTANT_LEASE_PAST_MIDNIGHT,
    MUTANT_SPEND_AS_DIFFERENCE,
    MUTANT_ONE_LEVEL_IS_ENOUGH,
    MUTANT_OPEN_SLOTS_ARE_FREE,
    MUTANT_MORE_AFTER_MIDNIGHT,
    MUTANT_MORE_IS_NOT_HELD,
};
#define IS_MUTANT(which) (grant_mutant == (which))
#else
#define IS_MUTANT(which) false
#endif
