#include "target_health.h"

#include "core/map.h"

#include <stdlib.h>

#define KNOWN_MAX     4096 /* of breakers, and of limits */
#define MODEL_MAX_LEN 256 /* no model's name is longer, and callers may make up what they like */
#define GROWTH_MAX    8
#define FORGET_MS     600000 /* after this without news of it a breaker is forgotten */
#define SWEEP_MS      60000
#define SWEEP_MAX     64 /* forgotten at once */

typedef struct breaker {
    int64_t failures; /* in a row */
    int64_t open_ms; /* its period; 0: closed */
    int64_t until_ms; /* open: when one is let through */
    int64_t news_ms; /* when it failed last */
    bool tried; /* one was, and has no outcome yet */
} breaker;

struct target_health {
    gw_map *breakers; /* name -> breaker */
    gw_map *limits; /* name and credential -> int64_t, until when */
    int64_t failures_max, open_ms;
    int64_t swept_ms;
    size_t open_count;
};

target_health *target_health_new(void)
{
    target_health *h = calloc(1, sizeof(*h));

    if (!h)
        return NULL;
    h->breakers = gw_map_new(free);
    h->limits = gw_map_new(free);
    if (h->breakers && h->limits)
        return h;
    target_health_free(h);
    return NULL;
}

void target_health_free(target_health *h)
{
    if (!h)
        return;
    gw_map_free(h->breakers);
    gw_map_free(h->limits);
    free(h);
}

void target_health_configure(target_health *h, int64_t failures, int64_t open_ms)
{
    h->failures_max = failures;
    h->open_ms = open_ms;
}

bool target_health_is_quiet(const target_health *h)
{
    return !h || gw_map_count(h->breakers) + gw_map_count(h->limits) == 0;
}

/* ---- names ---- */

typedef struct name_text {
    char bytes[512];
    size_t len;
} name_text;

static void add(name_text *n, gw_str s, size_t max)
{
    gw_str cut = gw_str_slice(s, 0, max);

    if (cut.len > 0)
        memcpy(n->bytes + n->len, cut.ptr, cut.len);
    n->len += cut.len;
    n->bytes[n->len++] = '\0';
}

static gw_str name_of(name_text *n, target_name t)
{
    n->len = 0;
    add(n, t.provider, 64);
    add(n, t.model, MODEL_MAX_LEN);
    return gw_str_n(n->bytes, n->len);
}

static gw_str name_with(name_text *n, target_name t, gw_str credential)
{
    (void)name_of(n, t);
    add(n, credential, CREDENTIAL_NAME_MAX);
    return gw_str_n(n->bytes, n->len);
}

/* ---- breakers ---- */

static breaker *find(const target_health *h, target_name t)
{
    name_text n;

    return h && gw_map_count(h->breakers) > 0 ? gw_map_get(h->breakers, name_of(&n, t)) : NULL;
}

/* NULL: there is no room for it. */
static breaker *find_or_make(target_health *h, target_name t)
{
    name_text n;
    gw_str name = name_of(&n, t);
    breaker *b = gw_map_get(h->breakers, name);

    if (b || gw_map_count(h->breakers) >= KNOWN_MAX)
        return b;
    b = calloc(1, sizeof(*b));
    if (b && !gw_map_put(h->breakers, name, b)) {
        free(b);
        return NULL;
    }
    return b;
}

static bool is_old(const void *value, int64_t now_ms)
{
    return ((const breaker *)value)->news_ms + FORGET_MS <= now_ms;
}

static bool is_over(const void *value, int64_t now_ms)
{
    return *(const int64_t *)value <= now_ms;
}

/* One at a time, for a map may not change under an iteration. False: none is left. */
static bool forget_one(target_health *h, gw_map *m, bool (*is_done)(const void *, int64_t),
                       int64_t now_ms)
{
    size_t at = 0;
    gw_str name;
    void *value;

    while (gw_map_next(m, &at, &name, &value)) {
        if (!is_done(value, now_ms))
            continue;
        name_text copy = {.len = name.len};
        memcpy(copy.bytes, name.ptr, name.len);
        h->open_count -= m == h->breakers && ((const breaker *)value)->open_ms > 0;
        (void)gw_map_remove(m, gw_str_n(copy.bytes, copy.len));
        return true;
    }
    return false;
}

/* Models that nobody asks for any more, above all those that callers made up. */
static void sweep(target_health *h, int64_t now_ms)
{
    if (now_ms < h->swept_ms + SWEEP_MS)
        return;
    h->swept_ms = now_ms;
    for (int i = 0; i < SWEEP_MAX && forget_one(h, h->breakers, is_old, now_ms); i++)
        continue;
    for (int i = 0; i < SWEEP_MAX && forget_one(h, h->limits, is_over, now_ms); i++)
        continue;
}

int64_t target_health_closed_ms(target_health *h, target_name t, int64_t now_ms)
{
    if (target_health_is_quiet(h))
        return 0;
    sweep(h, now_ms);
    const breaker *b = find(h, t);

    return b && b->open_ms > 0 && b->until_ms > now_ms ? b->until_ms - now_ms : 0;
}

/* A turn is known by its end: no two of a breaker have the same. */
health_turn target_health_chosen(target_health *h, target_name t, int64_t now_ms)
{
    breaker *b = find(h, t);

    if (!b || b->open_ms == 0 || b->until_ms > now_ms)
        return HEALTH_NO_TURN;
    b->tried = true;
    b->until_ms = now_ms + b->open_ms;
    return b->until_ms;
}

void target_health_give_back(target_health *h, target_name t, health_turn turn, int64_t now_ms)
{
    breaker *b = turn == HEALTH_NO_TURN ? NULL : find(h, t);

    if (!b || !b->tried || b->until_ms != turn)
        return;
    b->tried = false;
    b->until_ms = now_ms;
}

health_change target_health_failed(target_health *h, target_name t, int64_t now_ms)
{
    breaker *b = h && h->failures_max > 0 ? find_or_make(h, t) : NULL;

    if (!b)
        return HEALTH_SAME;
    b->failures++;
    b->news_ms = now_ms;
    if (b->open_ms > 0 && b->tried) {
        b->tried = false;
        b->open_ms = GW_MIN(b->open_ms * 2, h->open_ms * GROWTH_MAX);
        b->until_ms = now_ms + b->open_ms;
    }
    if (b->open_ms > 0) /* else one that was under way when it opened: nothing new */
        return HEALTH_SAME;
    if (b->failures < h->failures_max)
        return HEALTH_SAME;
    b->open_ms = h->open_ms;
    b->until_ms = now_ms + b->open_ms;
    h->open_count++;
    return HEALTH_OPENED;
}

health_change target_health_answered(target_health *h, target_name t)
{
    const breaker *b = find(h, t);
    name_text n;

    if (!b)
        return HEALTH_SAME;
    bool was_open = b->open_ms > 0;
    h->open_count -= was_open;
    (void)gw_map_remove(h->breakers, name_of(&n, t));
    return was_open ? HEALTH_CLOSED : HEALTH_SAME;
}

size_t target_health_open_count(const target_health *h)
{
    return h ? h->open_count : 0;
}

/* ---- limits ---- */

void target_health_limit(target_health *h, target_name t, gw_str credential, int64_t now_ms,
                         int64_t until_ms)
{
    name_text n;

    if (!h || until_ms <= now_ms)
        return;
    if (gw_map_count(h->limits) >= KNOWN_MAX) /* most are over */
        gw_map_clear(h->limits);
    int64_t *until = malloc(sizeof(*until));
    if (!until)
        return;
    *until = until_ms;
    if (!gw_map_put(h->limits, name_with(&n, t, credential), until))
        free(until);
}

bool target_health_is_limited(target_health *h, target_name t, gw_str credential, int64_t now_ms)
{
    name_text n;

    if (!h || gw_map_count(h->limits) == 0)
        return false;
    gw_str name = name_with(&n, t, credential);
    const int64_t *until = gw_map_get(h->limits, name);
    if (!until || *until > now_ms)
        return until != NULL;
    (void)gw_map_remove(h->limits, name);
    return false;
}
