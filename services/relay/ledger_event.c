#include "ledger_event.h"

bool ledger_event_of(const event_figures *f, ledger_event *ret)
{
    *ret = (ledger_event){0};
    if (f->grant_id <= 0 && f->client_grant_id <= 0 && f->owner_grant_id <= 0)
        return false;
    *ret = (ledger_event){
        .row = {f->grant_id, f->client_grant_id, f->owner_grant_id},
        .load = {f->key_load_id, f->client_load_id, f->owner_load_id},
        .day = ledger_day_of(f->timestamp_ms),
        .spent = {.of = {[LEDGER_REQUESTS_DAY] = 1,
                         [LEDGER_TOKENS_DAY] = f->total_tokens,
                         [LEDGER_TOKENS_MONTH] = f->total_tokens,
                         [LEDGER_COST_MONTH] = f->cost_nano_usd}},
    };
    return true;
}

bool ledger_event_read(gw_str packed, ledger_event *ret)
{
    event_figures f;
    return event_read_figures(packed, &f) && ledger_event_of(&f, ret);
}
