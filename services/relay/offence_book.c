#include "offence_book.h"

#include "relay_metrics.h"

#include "core/map.h"

#include <inttypes.h>
#include <stdlib.h>

#define SUSPEND_PATH    "/apirelay.auth.v1.KeyAccessService/SuspendByRule"
#define SUSPEND_WAIT_MS 30000
#define NAME_SIZE       96
#define NUMBER_SIZE     24
#define ARGUMENTS       4
#define ENTRIES_MANY    1024
#define KEY_ID_SIZE     32
#define API_KEY_ID_SIZE 32

/* Whether the oldest of the last ARGV[2] times is within the window. Times are Redis's: the relays' clocks differ. */
static const char script_text[] = "local t = redis.call('TIME')\n"
                                  "local now = t[1] * 1000 + math.floor(t[2] / 1000)\n"
                                  "local count, window = tonumber(ARGV[2]), tonumber(ARGV[3])\n"
                                  "for _ = 1, ARGV[1] do redis.call('LPUSH', KEYS[1], now) end\n"
                                  "redis.call('LTRIM', KEYS[1], 0, count - 1)\n"
                                  "redis.call('PEXPIRE', KEYS[1], window)\n"
                                  "local oldest = redis.call('LINDEX', KEYS[1], count - 1)\n"
                                  "return oldest and now - oldest <= window and 1 or 0\n";

static const char *const rule_names[] = {"limit_exceeded", "bad_signatures"};

struct offence_book {
    offence_book_options o;
    gw_redis_script *script;
    gw_map *entries; /* by name */
};

/* What one rule of one policy has to count or do; gone when there is nothing. */
typedef struct offence_entry {
    offence_book *book;
    char name[NAME_SIZE]; /* in Redis */
    char key_id[KEY_ID_SIZE], api_key_id[API_KEY_ID_SIZE];
    offence what;
    int64_t generation, count, window_ms;
    int64_t noted; /* not stated yet */
    bool stating, suspending;
    bool settled; /* auth has answered: nothing more to ask of this generation */
} offence_entry;

static const Apirelay__Auth__V1__KeyAutoSuspendRule *rule_of(const key_policy *p, offence what)
{
    const Apirelay__Auth__V1__KeySecurity *s = p->message->security;

    if (!s || !s->auto_suspend)
        return NULL;
    const Apirelay__Auth__V1__KeyAutoSuspendRule *r = what == OFFENCE_LIMIT_EXCEEDED
                                                          ? s->auto_suspend->limit_exceeded
                                                          : s->auto_suspend->bad_signatures;
    return r && r->count > 0 && r->window_seconds > 0 ? r : NULL;
}

static void forget_idle(offence_entry *e)
{
    if (e->noted == 0 && !e->stating && !e->suspending && !e->settled)
        gw_map_remove(e->book->entries, gw_str_of(e->name));
}

/* ---- auth ---- */

static void on_suspended(void *arg, gw_status rc, const ProtobufCMessage *response,
                         const gw_error *err)
{
    offence_entry *e = arg;
    const offence_book *b = e->book;
    const Apirelay__Auth__V1__SuspendByRuleResponse *m = (const void *)response;

    e->suspending = false;
    e->settled = rc == GW_OK;
    if (rc != GW_OK && rc != GW_ERR_CANCELLED)
        gw_log_warn(b->o.log, "key_suspension_failed", gw_kv("key.id", (const char *)e->key_id),
                    gw_kv("rule", rule_names[e->what]), gw_kv_error(err));
    if (rc == GW_OK && m->suspended) {
        gw_log_info(b->o.log, "key_suspended_by_rule", gw_kv("key.id", (const char *)e->key_id),
                    gw_kv("rule", rule_names[e->what]));
        if (b->o.metrics)
            gw_metric_count(b->o.metrics, M_relay_keys_suspended_total,
                            gw_str_of(rule_names[e->what]));
    }
    forget_idle(e);
}

static void suspend(offence_entry *e)
{
    const offence_book *b = e->book;
    Apirelay__Auth__V1__SuspendByRuleRequest m = APIRELAY__AUTH__V1__SUSPEND_BY_RULE_REQUEST__INIT;
    const gw_rpc_call_options options = {
        .path = SUSPEND_PATH,
        .response = &apirelay__auth__v1__suspend_by_rule_response__descriptor,
        .credential = b->o.service_token,
        .deadline_ms = SUSPEND_WAIT_MS,
        .wait_for_ready = true,
    };

    m.api_key_id = e->api_key_id;
    m.rule = (char *)(uintptr_t)rule_names[e->what];
    m.generation = e->generation;
    e->suspending = gw_rpc_unary(b->o.auth, &options, &m.base, on_suspended, e) != NULL;
}

/* ---- Redis ---- */

static void state(offence_entry *e);

static void on_stated(void *arg, gw_status rc, const redisReply *m)
{
    offence_entry *e = arg;

    e->stating = false;
    if (rc == GW_ERR_CANCELLED) /* the end */
        return;
    if (rc != GW_OK)
        e->noted = 0;
    else if (m->type == REDIS_REPLY_INTEGER && m->integer == 1 && !e->suspending && !e->settled)
        suspend(e);
    if (e->noted > 0)
        state(e);
    forget_idle(e);
}

static void state(offence_entry *e)
{
    char numbers[ARGUMENTS - 1][NUMBER_SIZE];
    const int64_t values[] = {e->noted, e->count, e->window_ms};
    gw_str items[ARGUMENTS] = {gw_str_of(e->name)};

    for (size_t i = 0; i < GW_ARRAY_LEN(values); i++) {
        int len = snprintf(numbers[i], NUMBER_SIZE, "%" PRId64, values[i]);
        items[i + 1] = gw_str_n(numbers[i], (size_t)len);
    }
    e->noted = 0;
    e->stating = true;
    gw_redis_eval(e->book->o.redis, e->book->script, on_stated, e, 1, GW_ARRAY_LEN(items), items);
}

/* ---- noting ---- */

/* Settled ones stay until many are there: their policy may be known here for a while yet. */
static void make_room(offence_book *b)
{
    gw_str names[64], name;
    size_t count = 0, at = 0;
    void *value;

    if (gw_map_count(b->entries) < ENTRIES_MANY)
        return;
    while (count < GW_ARRAY_LEN(names) && gw_map_next(b->entries, &at, &name, &value)) {
        const offence_entry *e = value;
        if (e->settled && !e->stating && !e->suspending)
            names[count++] = gw_str_of(e->name);
    }
    for (size_t i = 0; i < count; i++)
        gw_map_remove(b->entries, names[i]);
}

static offence_entry *entry_of(offence_book *b, const key_policy *p, offence what,
                               const Apirelay__Auth__V1__KeyAutoSuspendRule *rule)
{
    char name[NAME_SIZE];
    (void)snprintf(name, sizeof(name), "{" GW_STR_FMT "}:offences:%s:%" PRId64,
                   GW_STR_ARG(p->key_id), rule_names[what], p->generation);
    offence_entry *e = gw_map_get(b->entries, gw_str_of(name));
    if (e)
        return e;
    make_room(b);
    e = calloc(1, sizeof(*e));
    if (!e)
        return NULL;
    *e = (offence_entry){.book = b,
                         .what = what,
                         .generation = p->generation,
                         .count = rule->count,
                         .window_ms = rule->window_seconds * GW_MS_PER_S};
    (void)snprintf(e->name, sizeof(e->name), "%s", name);
    (void)snprintf(e->key_id, sizeof(e->key_id), GW_STR_FMT, GW_STR_ARG(p->key_id));
    (void)snprintf(e->api_key_id, sizeof(e->api_key_id), GW_STR_FMT, GW_STR_ARG(p->api_key_id));
    if (gw_map_put(b->entries, gw_str_of(e->name), e))
        return e;
    free(e);
    return NULL;
}

void offence_book_note(offence_book *b, const key_policy *p, offence what)
{
    const Apirelay__Auth__V1__KeyAutoSuspendRule *rule = rule_of(p, what);
    if (!rule)
        return;
    offence_entry *e = entry_of(b, p, what, rule);
    if (!e || e->settled)
        return;
    e->noted = GW_MIN(e->noted + 1, e->count); /* no more is remembered of them */
    if (!e->stating)
        state(e);
}

/* ---- life ---- */

gw_status offence_book_new(const offence_book_options *o, offence_book **ret, gw_error *err)
{
    offence_book *b = calloc(1, sizeof(*b));

    if (b) {
        b->o = *o;
        b->script = gw_redis_script_new(gw_str_of(script_text));
        b->entries = gw_map_new(free);
    }
    if (!b || !b->script || !b->entries) {
        offence_book_free(b);
        return gw_fail(err, GW_ERR_NO_MEMORY, "no memory for the book of offences");
    }
    *ret = b;
    return GW_OK;
}

void offence_book_free(offence_book *b)
{
    if (!b)
        return;
    gw_map_free(b->entries);
    gw_redis_script_free(b->script);
    free(b);
}

void offence_book_set_service_token(offence_book *b, gw_str token)
{
    b->o.service_token = token;
}
