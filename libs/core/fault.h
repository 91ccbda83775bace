/*
 * Faults, for test builds: the places where a test kills or stops a process, and known mistakes that tests must notice.
 *
 *     gw_fault_point("claim.made");
 *     if (GW_MUTANT(ACK_BEFORE_CLAIM)) …
 *
 * In a product build both are nothing: no code is left of them, so there is nothing to switch on. The presets dev, asan and tsan
 * define GW_FAULT_POINTS: there the environment's GW_FAULT, "claim.made:kill" or "claim.made:stop:3", ends (SIGKILL) or stops
 * (SIGSTOP) the process at the first, or third, time it comes by. Only the model test's own copy of the services
 * (tests/model) defines GW_MUTANTS.
 *
 * Thread: any.
 */
#pragma once

#include <stdbool.h>

#ifdef GW_FAULT_POINTS
#define gw_fault_point(name) gw_fault_reach(name)
void gw_fault_reach(const char *name);
/* Called instead at every point, by the thread that reaches it; NULL: the environment rules again. */
void gw_fault_set_hook(void (*hook)(const char *name));
#else
#define gw_fault_point(name) ((void)0)
#endif

#ifdef GW_MUTANTS
/* What the accounting protocol must not be (docs/accounting.md). */
#define GW_MUTANT_LIST(X)                                                                          \
    X(ROLLUP_UNCONDITIONAL) /* an hour is added to, whatever its mark says */                      \
    X(ACK_BEFORE_CLAIM)                                                                            \
    X(WELCOME_UNCONFIRMED) /* from a read that no write of ours followed */                        \
    X(RESUME_WITHOUT_REDO) /* a claim that is found is not applied */                              \
    X(NO_SWEEP)                                                                                    \
    X(SWEEP_UNCONFIRMED)                                                                           \
    X(LATE_JUDGE) /* poison is judged by who applies */                                            \
    X(MARKS_PRUNED) /* when the claim is done */                                                   \
    X(FOLD_BY_SUM) /* a day is guarded by how often its hours changed */                           \
    X(REBUILD_BLIND) /* does not look at claims */                                                 \
    X(RECOVERY_WITHOUT_GENERATION)                                                                 \
    X(SEND_BEFORE_DURABLE)                                                                         \
    X(SPOOL_ID_REUSED) /* of the host, not random */
typedef enum gw_mutant {
    GW_MUTANT_NONE,
#define X(name) GW_MUTANT_##name,
    GW_MUTANT_LIST(X)
#undef X
} gw_mutant;
extern gw_mutant gw_mutant_now; /* the test defines it */
#define GW_MUTANT(name) (gw_mutant_now == GW_MUTANT_##name)
#else
#define GW_MUTANT(name) false
#endif
