#include "ledger.h"

const ledger_timers ledger_timers_defaults = {
    .lease_ms = 3000,
    .quarantine_ms = 7000,
    .retry_ms = 200,
    .sweep_ms = 1000,
    .wait_ms = 1000,
    .lapse_ms = 900000,
};

int64_t ledger_day_of(int64_t wall_ms)
{
    int64_t day = wall_ms / LEDGER_DAY_MS;

    return wall_ms % LEDGER_DAY_MS < 0 ? day - 1 : day;
}

int64_t ledger_month_of(int64_t day)
{
    return gw_month_start_ms(day * LEDGER_DAY_MS);
}

bool ledger_same_window(ledger_window w, int64_t day_a, int64_t day_b)
{
    if (day_a == day_b)
        return true;
    return (w == LEDGER_TOKENS_MONTH || w == LEDGER_COST_MONTH) &&
           ledger_month_of(day_a) == ledger_month_of(day_b);
}

int64_t ledger_window_ends_ms(ledger_window w, int64_t wall_ms)
{
    if (w != LEDGER_TOKENS_MONTH && w != LEDGER_COST_MONTH)
        return (ledger_day_of(wall_ms) + 1) * LEDGER_DAY_MS - wall_ms;
    /* The first of a month and 32 days are in the next one. */
    int64_t next = gw_month_start_ms(gw_month_start_ms(wall_ms) + 32 * LEDGER_DAY_MS);
    return next - wall_ms;
}

/* CRC-16/XMODEM, which Redis Cluster finds a key's slot by. */
unsigned ledger_shard_of(gw_str subject)
{
    unsigned crc = 0;

    for (size_t i = 0; i < subject.len; i++) {
        crc ^= (unsigned)(unsigned char)subject.ptr[i] << 8;
        for (int bit = 0; bit < 8; bit++)
            crc = (crc & 0x8000 ? crc << 1 ^ 0x1021 : crc << 1) & 0xffff;
    }
    return crc % LEDGER_SHARDS;
}

void ledger_row_add(ledger_row_sums *s, int64_t id, int64_t load, int64_t day,
                    const ledger_amounts *spent)
{
    if (id < s->id || (id == s->id && load < s->load))
        return;
    if (id > s->id || load > s->load)
        *s = (ledger_row_sums){.id = id, .load = load, .day = day};
    int64_t newest = GW_MAX(s->day, day);
    for (int d = 0; d < LEDGER_WINDOWS; d++) {
        if (!ledger_same_window((ledger_window)d, s->day, newest))
            s->spent.of[d] = 0;
        if (ledger_same_window((ledger_window)d, day, newest))
            s->spent.of[d] += spent->of[d];
    }
    s->day = newest;
}

ledger_amounts ledger_row_spent(const ledger_row *row, const ledger_row_sums *s)
{
    return s->id == row->id && s->load == row->load ? s->spent : (ledger_amounts){0};
}
