/* Requests that are let in while the store is away: counted, and held against nothing. */
#include "grant.h"

void grant_cut_unheld(grant *g, int64_t now_ms)
{
    g->used_ms = now_ms;
    g->open_count++;
    if (g->limits.per_minute > 0)
        g->cuts++;
}

/* The position's own windows have not ended as far as the store has said; this is of those to come. */
static void spend_after(grant *g, int64_t day, const ledger_amounts *real)
{
    for (int d = 0; d < LEDGER_WINDOWS; d++) {
        if (ledger_same_window((ledger_window)d, day, g->day))
            continue;
        if (!ledger_same_window((ledger_window)d, day, g->after_day))
            g->after.of[d] = 0;
        g->after.of[d] += real->of[d];
    }
    g->after_day = day;
}

void grant_settle_unheld(grant *g, const ledger_amounts *hold, int64_t day,
                         const ledger_amounts *real, int64_t now_ms)
{
    g->open_count--;
    g->used_ms = now_ms;
    if (g->day == 0)
        g->day = day;
    if (day == 0)
        day = g->day;
    for (int d = 0; d < LEDGER_WINDOWS; d++) {
        if (!ledger_same_window((ledger_window)d, day, g->day))
            continue;
        g->open.of[d] -= hold->of[d];
        (g->load == 0 ? &g->late : &g->spent)->of[d] += real->of[d];
    }
    if (day > g->day)
        spend_after(g, day, real);
}
