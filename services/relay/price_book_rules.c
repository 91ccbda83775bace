/* Provider rules: what price books may say. */
#include "rule_check.h"

#include "core/map.h"
#include "price/price_tier.h"

#define VERSION_MAX_LEN  64
#define EFFECTIVE_MAX_S  4102444800 /* the year 2100 */
#define PRICES_MAX       10000
#define PRICE_TIERS_MAX  16
#define TIER_MAX_LEN     32
#define LONG_PROMPTS_MAX 8
#define ABOVE_MAX        100000000 /* tokens that a prompt is believed to have */

static void check_price(rule_check *c, const char *where, const char *field, int64_t nano_usd,
                        int64_t most)
{
    char name[96];
    snprintf(name, sizeof(name), "%s.%s", where, field);
    if (nano_usd < 0 || nano_usd > (c->is_stored ? INT64_MAX : most))
        rule_violation(c, name, "must be 0 to %lld nano-USD", (long long)most);
}

/* A model's price, a tier's and one of long prompts have the same names for these. */
#define CHECK_TOKEN_PRICES(c, where, p)                                                            \
    do {                                                                                           \
        const struct {                                                                             \
            const char *field;                                                                     \
            int64_t nano_usd;                                                                      \
        } fields[] = {                                                                             \
            {"promptPerMillionNanoUsd", (p)->prompt_per_million_nano_usd},                         \
            {"completionPerMillionNanoUsd", (p)->completion_per_million_nano_usd},                 \
            {"cachedPromptPerMillionNanoUsd", (p)->cached_prompt_per_million_nano_usd},            \
            {"reasoningPerMillionNanoUsd", (p)->reasoning_per_million_nano_usd},                   \
            {"cacheWritePerMillionNanoUsd", (p)->cache_write_per_million_nano_usd},                \
            {"longCacheWritePerMillionNanoUsd", (p)->long_cache_write_per_million_nano_usd},       \
        };                                                                                         \
        for (size_t n = 0; n < GW_ARRAY_LEN(fields); n++)                                          \
            check_price(c, where, fields[n].field, fields[n].nano_usd,                             \
                        PRICE_PER_MILLION_MAX_NANO_USD);                                           \
    } while (0)

/* What stands for a model's own price has to say both: one that is left out would be free. */
static void check_is_given(rule_check *c, const char *where, bool prompt, bool completion)
{
    char name[96];
    snprintf(name, sizeof(name), "%s.promptPerMillionNanoUsd", where);
    if (!prompt)
        rule_violation(c, name, "must be given");
    snprintf(name, sizeof(name), "%s.completionPerMillionNanoUsd", where);
    if (!completion)
        rule_violation(c, name, "must be given");
}

static void check_long_prompts(rule_check *c, const char *of,
                               Apirelay__Relay__V1__LongPromptPrice *const *list, size_t count)
{
    char where[64], name[96];
    int64_t before = 0;
    snprintf(name, sizeof(name), "%s.longPrompts", of);
    if (count > LONG_PROMPTS_MAX)
        rule_violation(c, name, "must be at most %d entries", LONG_PROMPTS_MAX);
    for (size_t i = 0; i < count && i < LONG_PROMPTS_MAX; i++) {
        const Apirelay__Relay__V1__LongPromptPrice *l = list[i];
        snprintf(where, sizeof(where), "%s.longPrompts[%zu]", of, i);
        snprintf(name, sizeof(name), "%s.abovePromptTokens", where);
        if (l->above_prompt_tokens <= before || l->above_prompt_tokens > ABOVE_MAX)
            rule_violation(c, name, "must be %lld to %d", (long long)before + 1, ABOVE_MAX);
        before = GW_MAX(before, l->above_prompt_tokens);
        check_is_given(c, where, l->prompt_per_million_nano_usd_presence_case,
                       l->completion_per_million_nano_usd_presence_case);
        CHECK_TOKEN_PRICES(c, where, l);
    }
}

static void check_tier_name(rule_check *c, const Apirelay__Relay__V1__ModelPrice *p, size_t i,
                            const char *where)
{
    gw_str tier = gw_str_of(p->tiers[i]->tier);
    char name[96];
    snprintf(name, sizeof(name), "%s.tier", where);
    if (!rule_is_printable(tier, TIER_MAX_LEN))
        rule_violation(c, name, "must be the name of a service tier, of 1-%d printable bytes",
                       TIER_MAX_LEN);
    else if (price_tier_is_open(tier) || price_tier_is_standard(tier))
        rule_violation(c, name, "must not be %.*s, whose prices are the model's own",
                       GW_STR_ARG(tier));
    for (size_t k = 0; k < i; k++)
        if (gw_str_eq_c(tier, p->tiers[k]->tier)) {
            rule_violation(c, name, "is a second price of the tier %.*s", GW_STR_ARG(tier));
            return;
        }
}

static void check_tier(rule_check *c, const Apirelay__Relay__V1__ModelPrice *p, size_t i,
                       const char *of_model)
{
    const Apirelay__Relay__V1__TierPrice *t = p->tiers[i];
    char where[48];
    snprintf(where, sizeof(where), "%s.tiers[%zu]", of_model, i);
    check_tier_name(c, p, i, where);
    check_is_given(c, where, t->prompt_per_million_nano_usd_presence_case,
                   t->completion_per_million_nano_usd_presence_case);
    CHECK_TOKEN_PRICES(c, where, t);
    check_long_prompts(c, where, t->long_prompts, t->n_long_prompts);
}

static void check_model_price(rule_check *c, size_t i, const Apirelay__Relay__V1__ModelPrice *p)
{
    char where[32], name[64];
    snprintf(where, sizeof(where), "prices[%zu]", i);
    snprintf(name, sizeof(name), "%s.model", where);
    if (!rule_is_printable(gw_str_of(p->model), MODEL_MAX_LEN))
        rule_violation(c, name, "must be a model name or pattern of 1-%d printable bytes",
                       MODEL_MAX_LEN);
    snprintf(name, sizeof(name), "%s.provider", where);
    if (*p->provider && !rule_is_name(gw_str_of(p->provider), NAME_MAX_LEN))
        rule_violation(c, name, "must be empty or the name of a provider");
    CHECK_TOKEN_PRICES(c, where, p);
    check_price(c, where, "requestNanoUsd", p->request_nano_usd, PRICE_PER_REQUEST_MAX_NANO_USD);
    check_price(c, where, "imageNanoUsd", p->image_nano_usd, PRICE_PER_IMAGE_MAX_NANO_USD);
    snprintf(name, sizeof(name), "%s.maxOutputTokens", where);
    rule_check_tokens(c, name, p->max_output_tokens);
    check_long_prompts(c, where, p->long_prompts, p->n_long_prompts);
    snprintf(name, sizeof(name), "%s.tiers", where);
    if (p->n_tiers > PRICE_TIERS_MAX)
        rule_violation(c, name, "must be at most %d entries", PRICE_TIERS_MAX);
    for (size_t k = 0; k < p->n_tiers && k < PRICE_TIERS_MAX; k++)
        check_tier(c, p, k, where);
}

static void check_effective_from(rule_check *c, const Google__Protobuf__Timestamp *t)
{
    if (t &&
        (t->seconds < 0 || t->seconds >= EFFECTIVE_MAX_S || t->nanos < 0 || t->nanos > 999999999))
        rule_violation(c, "effectiveFrom", "must be a time from 1970 to 2100");
}

static void check_book(rule_check *c, const price_book_message *b)
{
    if (*b->version && !rule_is_printable(gw_str_of(b->version), VERSION_MAX_LEN))
        rule_violation(c, "version", "must be at most %d printable bytes", VERSION_MAX_LEN);
    if (b->n_prices > PRICES_MAX)
        rule_violation(c, "prices", "must be at most %d entries", PRICES_MAX);
    rule_check_note(c, b->note);
    check_effective_from(c, b->effective_from);
    for (size_t i = 0; i < b->n_prices && i < PRICES_MAX; i++)
        check_model_price(c, i, b->prices[i]);
}

gw_status price_book_check(const price_book_message *b, const char *path, gw_json_violations *v,
                           gw_error *err)
{
    rule_check c = {.path = path, .v = v, .err = err};
    check_book(&c, b);
    return c.rc;
}

gw_status price_book_check_stored(const price_book_message *b, gw_error *err)
{
    rule_check c = {.path = "", .err = err, .is_stored = true};
    check_book(&c, b);
    return c.rc;
}

gw_status price_book_check_repeats(const price_book_message *b, const char *path,
                                   gw_json_violations *v, gw_error *err)
{
    rule_check c = {.path = path, .v = v, .err = err};
    gw_auto(gw_map) seen = gw_map_new(NULL);
    for (size_t i = 0; seen && i < b->n_prices; i++) {
        gw_auto_buf key = {0};
        char name[64];
        price_key(b->prices[i], &key);
        if (gw_map_get(seen, gw_buf_str(&key))) {
            snprintf(name, sizeof(name), "prices[%zu]", i);
            rule_violation(&c, name, "is a second price of %.60s at %.60s", b->prices[i]->model,
                           *b->prices[i]->provider ? b->prices[i]->provider : "any provider");
        } else if (gw_buf_failed(&key) || !gw_map_put(seen, gw_buf_str(&key), b->prices[i])) {
            return gw_fail(err, GW_ERR_NO_MEMORY, "no memory to check the prices");
        }
    }
    return seen ? c.rc : gw_fail(err, GW_ERR_NO_MEMORY, "no memory to check the prices");
}

void price_key(const Apirelay__Relay__V1__ModelPrice *p, gw_buf *out)
{
    gw_buf_append_str(out, gw_str_of(p->model));
    gw_buf_append_char(out, '\n'); /* in neither */
    gw_buf_append_str(out, gw_str_of(p->provider));
}
