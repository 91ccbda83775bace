#include "ledger_metrics.h"

#include "relay_metrics.h"

#include <stdio.h>

static const char *const levels[LEDGER_LEVELS] = {
    [LEDGER_OF_KEY] = "key", [LEDGER_OF_CLIENT] = "client", [LEDGER_OF_OWNER] = "owner"};

/* As the limits are called in the API. */
static const char *const dimensions[LEDGER_DIMENSIONS] = {
    [LEDGER_REQUESTS_DAY] = "requestsPerDay", [LEDGER_TOKENS_DAY] = "tokensPerDay",
    [LEDGER_TOKENS_MONTH] = "tokensPerMonth", [LEDGER_COST_MONTH] = "costLimit",
    [LEDGER_BUCKET] = "requestsPerMinute",    [LEDGER_SLOTS] = "requestsInFlight"};

static const char *const replies[LEDGER_STATES] = {
    [LEDGER_OK] = "ok",         [LEDGER_AGAIN] = "again", [LEDGER_STALE] = "stale",
    [LEDGER_SWITCH] = "switch", [LEDGER_GONE] = "gone",   [LEDGER_WAIT] = "wait",
    [LEDGER_LOAD] = "load",     [LEDGER_SHORT] = "short"};

static void add(gw_metrics_shard *m, int metric, int64_t delta, const char *a, const char *b)
{
    const gw_str labels[] = {gw_str_of(a ? a : ""), gw_str_of(b ? b : "")};

    if (delta > 0)
        gw_metric_add(m, metric, delta, labels, (size_t)(a != NULL) + (b != NULL));
}

void ledger_metrics_count(gw_metrics_shard *m, const grant_book_figures *now,
                          grant_book_figures *was)
{
    if (!m)
        return;
    add(m, M_relay_ledger_cut_total, now->cut_from_grant - was->cut_from_grant, "grant", NULL);
    add(m, M_relay_ledger_cut_total, now->cut_bought - was->cut_bought, "bought", NULL);
    add(m, M_relay_ledger_loads_total, now->fresh_loads - was->fresh_loads, "fresh", NULL);
    add(m, M_relay_ledger_loads_total, now->rebuilds - was->rebuilds, "rebuild", NULL);
    add(m, M_relay_ledger_load_failures_total, now->failed_loads - was->failed_loads, NULL, NULL);
    add(m, M_relay_ledger_switch_total, now->switches - was->switches, NULL, NULL);
    add(m, M_relay_ledger_gone_total, now->gone - was->gone, NULL, NULL);
    add(m, M_relay_ledger_silent_total, now->silent - was->silent, NULL, NULL);
    add(m, M_relay_ledger_final_total, now->finals - was->finals, NULL, NULL);
    add(m, M_relay_ledger_late_nano_usd_total, now->late_nano_usd - was->late_nano_usd, NULL, NULL);
    for (int i = 0; i < LEDGER_STATES; i++)
        add(m, M_relay_ledger_statements_total, now->replies[i] - was->replies[i], replies[i],
            NULL);
    for (int i = 0; i < LEDGER_LEVELS; i++)
        for (int d = 0; d < LEDGER_DIMENSIONS; d++)
            add(m, M_relay_ledger_refused_total, now->refused[i][d] - was->refused[i][d], levels[i],
                dimensions[d]);
    *was = *now;
}

void ledger_metrics_answer(gw_metrics_shard *m, const ledger_reply *reply)
{
    if (!m)
        return;
    if (!reply)
        add(m, M_relay_ledger_statements_total, 1, "failed", NULL);
    else
        gw_metric_observe(m, M_relay_ledger_statement_seconds, (double)reply->took_us / 1e6, NULL,
                          0);
}

void ledger_metrics_births(gw_metrics_shard *m, const int64_t born[LEDGER_SHARDS], int64_t since_ms)
{
    for (unsigned i = 0; m && i < LEDGER_SHARDS; i++) {
        char name[8];
        (void)snprintf(name, sizeof(name), "%02u", i);
        const gw_str label = gw_str_of(name);
        gw_metric_set(m, M_relay_ledger_quarantine, born[i] > since_ms, &label, 1);
    }
}

void ledger_metrics_stand(gw_metrics_shard *m, const grant_book *b)
{
    grant_book_standing s;

    if (!m)
        return;
    grant_book_stand(b, &s);
    gw_metric_set(m, M_relay_ledger_positions, s.positions, NULL, 0);
    gw_metric_set(m, M_relay_ledger_rows, s.rows, NULL, 0);
    gw_metric_set(m, M_relay_ledger_open_nano_usd, s.open_nano_usd, NULL, 0);
    gw_metric_set(m, M_relay_ledger_free_nano_usd, s.free_nano_usd, NULL, 0);
}
