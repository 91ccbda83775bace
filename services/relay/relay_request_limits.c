/* What answers tell of limits: of those of key, client and owner the one that least is left of (x-ratelimit-…). */
#include "relay_request_internal.h"

/* `value` and its unit. Returns its length. */
static size_t put_part(char *at, int64_t value, const char *unit)
{
    size_t len = gw_int_format(value, at);

    while (*unit)
        at[len++] = *unit++;
    return len;
}

/* As OpenAI writes them: 12ms, 1s, 6m0s, 3h2m1s. */
static gw_str duration_text(gw_arena *arena, int64_t ms)
{
    char text[3 * GW_INT_TEXT_SIZE];
    int64_t s = (ms + 999) / 1000;
    size_t len = 0;

    if (ms < 1000)
        return gw_arena_dup(arena, gw_str_n(text, put_part(text, GW_MAX(ms, 0), "ms")));
    if (s >= 3600)
        len += put_part(text + len, s / 3600, "h");
    if (s >= 60)
        len += put_part(text + len, s / 60 % 60, "m");
    len += put_part(text + len, s % 60, "s");
    return gw_arena_dup(arena, gw_str_n(text, len));
}

enum { PER_MINUTE = LEDGER_WINDOWS }; /* behind the windows: what comes back all the time */

/* A limit as the headers tell it. */
typedef struct told_limit {
    int64_t limit, left; /* limit 0: none; left < 0: not known */
    int window; /* a ledger_window or PER_MINUTE */
    int64_t wall_ms; /* the store's time */
} told_limit;

#define NOT_KNOWN (-1)

static int64_t whole_again_ms(const told_limit *t)
{
    if (t->window == PER_MINUTE)
        return GW_MAX(t->limit - t->left, 0) * 60000 / t->limit;
    return ledger_window_ends_ms((ledger_window)t->window, t->wall_ms);
}

/* OpenAI says in how long a limit is whole again, Anthropic when (RFC 3339, to the second). Days end by the store's clock, not by ours. */
static gw_str reset_text(const relay_request *r, const told_limit *t)
{
    char text[GW_RFC3339_SIZE];

    if (r->call.dialect == DIALECT_OPENAI)
        return duration_text(r->arena, whole_again_ms(t));
    gw_rfc3339_format((t->wall_ms + whole_again_ms(t) + 999) / 1000 * 1000, text);
    return gw_arena_dup(r->arena, gw_str_of(text));
}

static void add(relay_answer *a, const char *name, gw_str value)
{
    if (value.len > 0 && a->header_count < GW_ARRAY_LEN(a->headers))
        a->headers[a->header_count++] = (gw_header){gw_str_of(name), value};
}

static void add_limit(relay_request *r, relay_answer *a, const char *const names[3],
                      const told_limit *t)
{
    if (t->limit == 0)
        return;
    add(a, names[0], gw_arena_int(r->arena, t->limit));
    if (t->left < 0)
        return;
    add(a, names[1], gw_arena_int(r->arena, GW_MIN(t->left, t->limit)));
    add(a, names[2], reset_text(r, t));
}

/* Where nothing is known of what is left, the smaller limit is the tighter one, and what is known of others tells nothing. */
static void keep_tighter(told_limit *t, const told_limit *next)
{
    bool known = next->left >= 0 && (t->limit == 0 || t->left >= 0);
    bool is_tighter = t->limit == 0 || (known ? next->left < t->left : next->limit < t->limit);

    if (is_tighter)
        *t = *next;
    if (!known)
        t->left = NOT_KNOWN;
}

static void keep_tighter_window(told_limit *t, const grant_left *l, ledger_window w)
{
    int64_t limit = l->limits.window.of[w];

    if (limit < LEDGER_UNLIMITED)
        keep_tighter(
            t, &(told_limit){limit, l->wall_ms == 0 ? NOT_KNOWN : l->left.of[w], w, l->wall_ms});
}

static void keep_tighter_rate(told_limit *t, const grant_left *l)
{
    int64_t limit = l->limits.per_minute;

    if (limit > 0)
        keep_tighter(t, &(told_limit){limit, l->wall_ms == 0 ? NOT_KNOWN : l->bucket_left,
                                      PER_MINUTE, l->wall_ms});
}

/* Of a hold exactly; of a request that got none, as its ledgers were seen or are known here. */
static size_t levels_of(relay_request *r, grant_left ret[LEDGER_LEVELS])
{
    if (r->take)
        return ledger_keeper_left(r->core->ledgers, r->take, ret);
    if (!r->key_may_call || !key_policy_has_limits(r->policy) || !r->core->ledgers)
        return 0;
    return r->own_limits ? own_usage_left(r, ret)
                         : ledger_keeper_known(r->core->ledgers, r->policy, ret);
}

void relay_request_add_limits(relay_request *r, relay_answer *a)
{
    static const char *const request_names[][3] = {
        [DIALECT_OPENAI] = {"x-ratelimit-limit-requests", "x-ratelimit-remaining-requests",
                            "x-ratelimit-reset-requests"},
        [DIALECT_ANTHROPIC] = {"anthropic-ratelimit-requests-limit",
                               "anthropic-ratelimit-requests-remaining",
                               "anthropic-ratelimit-requests-reset"},
    };
    static const char *const token_names[][3] = {
        [DIALECT_OPENAI] = {"x-ratelimit-limit-tokens", "x-ratelimit-remaining-tokens",
                            "x-ratelimit-reset-tokens"},
        [DIALECT_ANTHROPIC] = {"anthropic-ratelimit-tokens-limit",
                               "anthropic-ratelimit-tokens-remaining",
                               "anthropic-ratelimit-tokens-reset"},
    };
    grant_left left[LEDGER_LEVELS];
    told_limit requests = {0}, tokens = {0};

    size_t count = levels_of(r, left);
    for (size_t i = 0; i < count; i++) {
        keep_tighter_rate(&requests, &left[i]);
        keep_tighter_window(&requests, &left[i], LEDGER_REQUESTS_DAY);
        keep_tighter_window(&tokens, &left[i], LEDGER_TOKENS_DAY);
        keep_tighter_window(&tokens, &left[i], LEDGER_TOKENS_MONTH);
    }
    add_limit(r, a, request_names[r->call.dialect], &requests);
    add_limit(r, a, token_names[r->call.dialect], &tokens);
}
