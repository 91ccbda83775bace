#include "limit_states.h"

#include "core/clock.h"
#include "query_op.h"

#define DAY_MS INT64_C(86400000)

typedef Apirelay__Usage__V1__LimitState limit_state;

static char key_level[] = "key";

static int64_t month_end_ms(int64_t now_ms)
{
    return gw_month_start_ms(gw_month_start_ms(now_ms) + 32 * DAY_MS);
}

static limit_state *state_of(gw_arena *a, char *name, int64_t limit, int64_t used, int64_t ends_ms)
{
    limit_state *m = reply_new(a, &apirelay__usage__v1__limit_state__descriptor);

    if (!m)
        return NULL;
    m->level = key_level;
    m->name = name;
    m->limit = limit;
    m->used = used;
    m->left = GW_MAX(limit - used, 0);
    m->resets_at = reply_time(a, ends_ms);
    return m->resets_at ? m : NULL;
}

gw_status limit_states_of(gw_arena *a, const Apirelay__Auth__V1__KeyLimits *l,
                          const ledger_amounts *used, int64_t now_ms, limit_state ***ret,
                          size_t *ret_count, gw_error *err)
{
    static char names[][20] = {"requestsPerDay", "tokensPerDay", "tokensPerMonth",
                               "costLimitNanoUsd"};
    const int64_t day_end_ms = (now_ms / DAY_MS + 1) * DAY_MS;
    const struct {
        bool set;
        int64_t limit, used, ends_ms;
    } windows[] = {
        {l->requests_per_day_presence_case != 0, l->requests_per_day, used->requests_today,
         day_end_ms},
        {l->tokens_per_day_presence_case != 0, l->tokens_per_day, used->tokens_today, day_end_ms},
        {l->tokens_per_month_presence_case != 0, l->tokens_per_month, used->tokens_this_month,
         month_end_ms(now_ms)},
        {l->cost_limit_nano_usd_presence_case != 0, l->cost_limit_nano_usd,
         used->cost_nano_usd_this_month, month_end_ms(now_ms)},
    };
    size_t count = 0;

    limit_state **states = gw_arena_array(a, limit_state *, GW_ARRAY_LEN(windows));
    for (size_t i = 0; states && i < GW_ARRAY_LEN(windows); i++) {
        if (!windows[i].set)
            continue;
        states[count] =
            state_of(a, names[i], windows[i].limit, windows[i].used, windows[i].ends_ms);
        if (!states[count++])
            states = NULL;
    }
    if (!states)
        return gw_fail(err, GW_ERR_NO_MEMORY, "no memory for the state of limits");
    *ret = states;
    *ret_count = count;
    return GW_OK;
}
