#include "key_tail.h"

static bool waited(key_tail_wait wait, int64_t generation, int64_t ms)
{
    return wait.generation == generation && wait.waited_ms >= ms;
}

key_tail_step key_tail_decide(int64_t applied, const key_change *next, key_tail_wait wait,
                              int64_t wall_ms, int64_t *ret_wait_for)
{
    if (next->generation > applied + 1) {
        *ret_wait_for = applied + 1;
        return waited(wait, applied + 1, KEY_TAIL_GAP_MS) ? KEY_TAIL_LOST : KEY_TAIL_HOLD;
    }
    if (next->settled)
        return KEY_TAIL_PASS;
    *ret_wait_for = next->generation;
    bool overdue = wall_ms - next->at_ms >= KEY_TAIL_OVERDUE_MS;
    return overdue || waited(wait, next->generation, KEY_TAIL_FENCE_MS) ? KEY_TAIL_FENCE
                                                                        : KEY_TAIL_HOLD;
}
