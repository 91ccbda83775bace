#include "ledger_store_redis_internal.h"

#include "ledger_script.h"

#include <inttypes.h>

#define LOOK_NUMBERS 15

/* The run id is asked for once a process: what a function keeps is this process's alone (decision 042). */
static const char system_clock[] =
    "local run_id\n"
    "local function clock()\n"
    "  run_id = run_id or string.match(redis.call('INFO', 'server'), 'run_id:(%x+)')\n"
    "  local time = redis.call('TIME')\n"
    "  return time[1] * 1000 + math.floor(time[2] / 1000), run_id\n"
    "end\n";

void ledger_add_text(ledger_arguments *a, const char *text)
{
    a->items[a->count++] = gw_str_of(text);
}

void ledger_add(ledger_arguments *a, int64_t n)
{
    char *text = a->numbers[a->number_count++];
    int len = snprintf(text, LEDGER_NUMBER_SIZE, "%" PRId64, n);

    a->items[a->count++] = gw_str_n(text, (size_t)len);
}

static void add_all(ledger_arguments *a, const ledger_amounts *m)
{
    for (int d = 0; d < LEDGER_WINDOWS; d++)
        ledger_add(a, m->of[d]);
}

void ledger_name_keys(const char *subject, ledger_key_names *k)
{
    unsigned shard = ledger_shard_of(gw_str_of(subject));

    (void)snprintf(k->ledger, sizeof(k->ledger), "ledger:{%02u}:%s", shard, subject);
    (void)snprintf(k->born, sizeof(k->born), "ledger:{%02u}:born", shard);
}

/* A call about one ledger, whose arguments begin with its keys and the verb; NULL: no memory. */
static ledger_call *call_new(const char *subject, const char *verb, void *arg,
                             ledger_key_names *keys, ledger_arguments *a)
{
    ledger_call *c = calloc(1, sizeof(*c));

    if (!c)
        return NULL;
    c->arg = arg;
    ledger_name_keys(subject, keys);
    ledger_add_text(a, keys->ledger);
    ledger_add_text(a, keys->born);
    ledger_add_text(a, verb);
    return c;
}

static void call_begin(ledger_redis *r, ledger_call *c, gw_redis_reply_fn done,
                       const ledger_arguments *a)
{
    gw_redis_eval(r->redis, r->script, done, c, 2, a->count, a->items);
}

/* ---- the build-up ---- */

static void on_loaded(void *arg, gw_status rc, const redisReply *m)
{
    ledger_call *c = arg;
    ledger_loaded how = LEDGER_LOAD_OLD;

    if (rc == GW_OK && m->type == REDIS_REPLY_STRING) {
        gw_str text = gw_str_n(m->str, m->len);
        how = gw_str_eq_c(text, "OK")     ? LEDGER_LOADED
              : gw_str_eq_c(text, "WAIT") ? LEDGER_LOAD_EARLY
                                          : LEDGER_LOAD_OLD;
    }
    c->loaded(c->arg, rc, how);
    free(c);
}

static bool load(ledger_store *s, const char *subject, int64_t load_id, int64_t day,
                 const ledger_amounts *used, ledger_loaded_fn done, void *arg)
{
    ledger_arguments a = {0};
    ledger_key_names keys;
    ledger_call *c = call_new(subject, "load", arg, &keys, &a);

    if (!c)
        return false;
    c->loaded = done;
    ledger_add(&a, load_id);
    ledger_add(&a, day);
    add_all(&a, used);
    call_begin(GW_CONTAINER_OF(s, ledger_redis, base), c, on_loaded, &a);
    return true;
}

/* ---- where a ledger stands ---- */

static bool read_numbers(const redisReply *m, size_t count, int64_t *ret)
{
    if (m->type != REDIS_REPLY_ARRAY || m->elements != count)
        return false;
    for (size_t i = 0; i < count; i++) {
        if (m->element[i]->type != REDIS_REPLY_INTEGER)
            return false;
        ret[i] = m->element[i]->integer;
    }
    return true;
}

static void on_looked(void *arg, gw_status rc, const redisReply *m)
{
    ledger_call *c = arg;
    ledger_standing s = {0};
    int64_t v[LOOK_NUMBERS] = {0};

    if (rc == GW_OK && !read_numbers(m, LOOK_NUMBERS, v))
        rc = GW_ERR_INTERNAL;
    s.found = v[0] != 0;
    s.ready = v[1] != 0;
    s.load = v[2];
    s.now_ms = v[3];
    for (int d = 0; d < LEDGER_WINDOWS; d++) {
        s.taken.of[d] = v[4 + d];
        s.lent.of[d] = v[8 + d];
    }
    s.bucket_left = v[12];
    s.bucket_lent = v[13];
    s.slots_lent = v[14];
    c->looked(c->arg, rc, rc == GW_OK ? &s : NULL);
    free(c);
}

static bool look(ledger_store *s, const char *subject, ledger_looked_fn done, void *arg)
{
    ledger_arguments a = {0};
    ledger_key_names keys;
    ledger_call *c = call_new(subject, "look", arg, &keys, &a);

    if (!c)
        return false;
    c->looked = done;
    call_begin(GW_CONTAINER_OF(s, ledger_redis, base), c, on_looked, &a);
    return true;
}

/* ---- relays that are silent ---- */

#define HELD_NUMBERS (LEDGER_WINDOWS + 2)

/* heard, held…, slots: the numbers behind the first element. */
static bool read_held(const redisReply *m, ledger_silent *ret)
{
    int64_t v[HELD_NUMBERS];

    if (m->type != REDIS_REPLY_ARRAY || m->elements != HELD_NUMBERS + 1 ||
        m->element[0]->type != REDIS_REPLY_STRING)
        return false;
    for (size_t i = 0; i < HELD_NUMBERS; i++) {
        if (m->element[i + 1]->type != REDIS_REPLY_INTEGER)
            return false;
        v[i] = m->element[i + 1]->integer;
    }
    ret->heard_ms = v[0];
    for (int d = 0; d < LEDGER_WINDOWS; d++)
        ret->held.of[d] = v[1 + d];
    ret->slots = v[HELD_NUMBERS - 1];
    return true;
}

static void on_silent(void *arg, gw_status rc, const redisReply *m)
{
    ledger_call *c = arg;
    ledger_silent found[LEDGER_RECORDS_MAX] = {0};
    size_t count = 0;

    if (rc == GW_OK && m->type != REDIS_REPLY_ARRAY)
        rc = GW_ERR_INTERNAL;
    for (size_t i = 0; rc == GW_OK && i < m->elements && count < LEDGER_RECORDS_MAX; i++) {
        if (!read_held(m->element[i], &found[count])) {
            rc = GW_ERR_INTERNAL;
            break;
        }
        (void)snprintf(found[count].holder, sizeof(found[count].holder), "%s",
                       m->element[i]->element[0]->str);
        count++;
    }
    c->silent(c->arg, rc, rc == GW_OK ? found : NULL, rc == GW_OK ? count : 0);
    free(c);
}

static bool silent(ledger_store *s, const char *subject, ledger_silent_fn done, void *arg)
{
    ledger_redis *r = GW_CONTAINER_OF(s, ledger_redis, base);
    ledger_arguments a = {0};
    ledger_key_names keys;
    ledger_call *c = call_new(subject, "silent", arg, &keys, &a);

    if (!c)
        return false;
    c->silent = done;
    ledger_add(&a, r->timers->lapse_ms);
    call_begin(r, c, on_silent, &a);
    return true;
}

static void on_forgiven(void *arg, gw_status rc, const redisReply *m)
{
    ledger_call *c = arg;
    ledger_silent was = {0};
    ledger_forgiven how = LEDGER_FORGIVEN;

    memcpy(was.holder, c->holder, sizeof(was.holder));
    if (rc == GW_OK && !read_held(m, &was)) {
        bool is_word = m->type == REDIS_REPLY_ARRAY && m->elements == 1 &&
                       m->element[0]->type == REDIS_REPLY_STRING;
        how = is_word && strcmp(m->element[0]->str, "HEARD") == 0 ? LEDGER_NOT_SILENT
                                                                  : LEDGER_NOT_THERE;
        rc = is_word ? GW_OK : GW_ERR_INTERNAL;
    }
    c->forgiven(c->arg, rc, how, &was);
    free(c);
}

static bool forgive(ledger_store *s, const char *subject, const char *holder,
                    ledger_forgiven_fn done, void *arg)
{
    ledger_redis *r = GW_CONTAINER_OF(s, ledger_redis, base);
    ledger_arguments a = {0};
    ledger_key_names keys;
    ledger_call *c = call_new(subject, "forgive", arg, &keys, &a);

    if (!c)
        return false;
    c->forgiven = done;
    (void)snprintf(c->holder, sizeof(c->holder), "%s", holder);
    ledger_add(&a, r->timers->lapse_ms);
    ledger_add(&a, r->timers->quarantine_ms);
    ledger_add_text(&a, holder);
    call_begin(r, c, on_forgiven, &a);
    return true;
}

/* ---- births ---- */

static void on_born(void *arg, gw_status rc, const redisReply *m)
{
    ledger_call *c = arg;
    int64_t born[LEDGER_SHARDS + 1] = {0};

    if (rc == GW_OK && !read_numbers(m, LEDGER_SHARDS + 1, born))
        rc = GW_ERR_INTERNAL;
    c->born(c->arg, rc, rc == GW_OK ? born : NULL, born[LEDGER_SHARDS]);
    free(c);
}

static void born(ledger_store *s, ledger_born_fn done, void *arg)
{
    ledger_redis *r = GW_CONTAINER_OF(s, ledger_redis, base);
    ledger_call *c = calloc(1, sizeof(*c));
    char names[LEDGER_SHARDS][24];
    gw_str items[LEDGER_SHARDS + 1];

    if (!c)
        return;
    *c = (ledger_call){.born = done, .arg = arg};
    for (unsigned i = 0; i < LEDGER_SHARDS; i++) {
        (void)snprintf(names[i], sizeof(names[i]), "ledger:{%02u}:born", i);
        items[i] = gw_str_of(names[i]);
    }
    items[LEDGER_SHARDS] = GW_STR("born");
    gw_redis_eval(r->redis, r->script, on_born, c, LEDGER_SHARDS, GW_ARRAY_LEN(items), items);
}

static void free_store(ledger_store *s)
{
    ledger_redis *r = GW_CONTAINER_OF(s, ledger_redis, base);

    ledger_redis_drop(&r->batch);
    gw_redis_script_free(r->script);
    free(r);
}

static const ledger_store_ops ops = {.state = ledger_redis_state,
                                     .flush = ledger_redis_flush,
                                     .load = load,
                                     .born = born,
                                     .look = look,
                                     .silent = silent,
                                     .forgive = forgive,
                                     .free = free_store};

gw_status ledger_store_redis_new(gw_redis *redis, const ledger_timers *timers, const char *clock,
                                 ledger_store **ret, gw_error *err)
{
    ledger_redis *r = calloc(1, sizeof(*r));
    gw_auto_buf text = {0};

    gw_buf_append_c(&text, clock ? clock : system_clock);
    gw_buf_append_str(&text, gw_str_n((const char *)ledger_script, ledger_script_len));
    if (r && !gw_buf_failed(&text))
        r->script = gw_redis_function_new("ledger", gw_buf_str(&text));
    if (!r || !r->script) {
        free(r);
        return gw_fail(err, GW_ERR_NO_MEMORY, "no memory for the ledgers' store");
    }
    r->base.ops = &ops;
    r->redis = redis;
    r->timers = timers;
    *ret = &r->base;
    return GW_OK;
}
