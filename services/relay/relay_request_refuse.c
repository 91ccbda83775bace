/* What a caller is told of a limit that refuses: whose it is, whether the request would ever fit, and when. */
#include "relay_request_internal.h"

#define RETRY_HELPS_MAX_MS 60000
#define AMOUNT_SIZE        40
#define FIELD_SIZE         64
#define NANO_USD_A_USD     INT64_C(1000000000)

/* How each limit is called, and what is said when it is reached. */
static const struct {
    const char *field, *what, *per;
    gw_status status;
} dimensions[] = {
    [LEDGER_REQUESTS_DAY] = {"requestsPerDay", "requests", " per day", GW_ERR_RATE_LIMITED},
    [LEDGER_TOKENS_DAY] = {"tokensPerDay", "tokens", " per day", GW_ERR_RATE_LIMITED},
    [LEDGER_TOKENS_MONTH] = {"tokensPerMonth", "tokens", " per month", GW_ERR_BUDGET_EXCEEDED},
    [LEDGER_COST_MONTH] = {"costLimit", "cost", " per month", GW_ERR_BUDGET_EXCEEDED},
    [LEDGER_BUCKET] = {"requestsPerMinute", "requests", " per minute", GW_ERR_RATE_LIMITED},
    [LEDGER_SLOTS] = {"requestsInFlight", "requests", " in flight", GW_ERR_RATE_LIMITED},
};

static const struct {
    const char *field, *who;
} levels[] = {
    [LEDGER_OF_KEY] = {"limits", "this API key"},
    [LEDGER_OF_CLIENT] = {"clientLimits", "the client of this API key"},
    [LEDGER_OF_OWNER] = {"ownerLimits", "the owner of this API key"},
};

/* "26 tokens", "0.00042 USD"; `amount` >= 0. */
static const char *amount_text(ledger_window w, int64_t amount, char ret[AMOUNT_SIZE])
{
    if (w != LEDGER_COST_MONTH) {
        (void)snprintf(ret, AMOUNT_SIZE, "%lld %s", (long long)amount, dimensions[w].what);
        return ret;
    }
    int len = snprintf(ret, AMOUNT_SIZE, "%lld.%09lld", (long long)(amount / NANO_USD_A_USD),
                       (long long)(amount % NANO_USD_A_USD));
    while (ret[len - 1] == '0')
        len--;
    if (ret[len - 1] == '.')
        len--;
    (void)snprintf(ret + len, AMOUNT_SIZE - (size_t)len, " USD");
    return ret;
}

static int64_t seconds_until(const grant_take *t)
{
    return GW_MAX((t->reset_ms + 999) / 1000, 1);
}

static const char *field_text(const grant_take *t, char ret[FIELD_SIZE])
{
    (void)snprintf(ret, FIELD_SIZE, "%s.%s", levels[t->short_level].field,
                   dimensions[t->short_of].field);
    return ret;
}

void relay_request_limit_reached(relay_request *r, const grant_take *t, const char *what_then,
                                 openai_error *ret)
{
    char field[FIELD_SIZE];
    gw_error err;

    (void)gw_fail_field(&err, dimensions[t->short_of].status, field_text(t, field),
                        "%s has reached its limit of %s%s%s; %s %lld s", levels[t->short_level].who,
                        dimensions[t->short_of].what, dimensions[t->short_of].per, what_then,
                        t->short_of == LEDGER_SLOTS ? "try again in" : "it resets in",
                        (long long)seconds_until(t));
    openai_error_from(ret, &err);
    ret->retry_after = gw_arena_int(r->arena, seconds_until(t));
}

/* Something is left, but less than the request needs. */
static void needs_more_than_left(relay_request *r, int64_t need, openai_error *ret)
{
    const grant_take *t = r->take;
    char needed[AMOUNT_SIZE], left[AMOUNT_SIZE], limit[AMOUNT_SIZE], field[FIELD_SIZE];
    gw_error err;

    (void)gw_fail_field(&err, dimensions[t->short_of].status, field_text(t, field),
                        "this request needs at least %s, and %s has %s left of its limit of %s%s; "
                        "it resets in %lld s",
                        amount_text(t->short_of, need, needed), levels[t->short_level].who,
                        amount_text(t->short_of, t->left, left),
                        amount_text(t->short_of, t->limit, limit), dimensions[t->short_of].per,
                        (long long)seconds_until(t));
    openai_error_from(ret, &err);
    ret->retry_after = gw_arena_int(r->arena, seconds_until(t));
}

/* The limit never has so much. */
static void needs_more_than_there_is(const grant_take *t, int64_t need, openai_error *ret)
{
    char needed[AMOUNT_SIZE], limit[AMOUNT_SIZE], field[FIELD_SIZE];
    gw_error err;

    (void)gw_fail_field(&err, dimensions[t->short_of].status, field_text(t, field),
                        "this request needs at least %s, and the whole limit of %s is %s%s: "
                        "waiting does not help",
                        amount_text(t->short_of, need, needed), levels[t->short_level].who,
                        amount_text(t->short_of, t->limit, limit), dimensions[t->short_of].per);
    openai_error_from(ret, &err);
}

relay_stage relay_request_refuse_hold(relay_request *r, const ledger_amounts *least)
{
    const grant_take *t = r->take;
    bool is_window = t->short_of < LEDGER_WINDOWS;
    int64_t need = is_window ? least->of[t->short_of] : 0;
    openai_error e;

    if (is_window && need <= t->left) /* others were quicker, each time that less was tried */
        need = t->hold.of[t->short_of];
    r->waiting_does_not_help = need > t->limit || t->reset_ms > RETRY_HELPS_MAX_MS;
    if (need > t->limit)
        needs_more_than_there_is(t, need, &e);
    else if (is_window && t->left > 0)
        needs_more_than_left(r, need, &e);
    else
        relay_request_limit_reached(r, t, "", &e);
    if (t->short_level == LEDGER_OF_KEY) /* what others used up is no offence of this key */
        relay_request_note_offence(r, OFFENCE_LIMIT_EXCEEDED);
    return relay_request_fail_with(r, &e);
}
