#include "ledger_store_redis.h"

#include "ledger_script.h"

#include <endian.h>
#include <inttypes.h>
#include <stdlib.h>

#define ARGUMENTS     10 /* of a command, but for its statements */
#define NUMBERS       41 /* of one statement */
#define BATCH_MAX     32 /* statements a command: Redis does nothing else meanwhile */
#define NUMBER_SIZE   24
#define REPLY_NUMBERS 24
#define LOOK_NUMBERS  15

/* INFO's run id is that of the Redis that runs the script, whatever the connection has been through. */
static const char system_clock[] =
    "local function clock()\n"
    "  local t = redis.call('TIME')\n"
    "  local run = string.match(redis.call('INFO', 'server'), 'run_id:(%w+)')\n"
    "  return t[1] * 1000 + math.floor(t[2] / 1000), run\n"
    "end\n";

/* One call under way. */
typedef struct call {
    ledger_stated_fn stated;
    ledger_loaded_fn loaded;
    ledger_born_fn born;
    ledger_looked_fn looked;
    ledger_silent_fn silent;
    ledger_forgiven_fn forgiven;
    void *arg;
    int64_t seq, sent_ns;
    char subject[LEDGER_SUBJECT_SIZE], holder[LEDGER_HOLDER_SIZE];
} call;

typedef struct arguments {
    gw_str items[ARGUMENTS];
    char numbers[ARGUMENTS][NUMBER_SIZE];
    size_t count, number_count;
} arguments;

/* As ledger.lua unpacks them: little-endian doubles. */
typedef struct packed {
    uint64_t items[NUMBERS];
    size_t count;
} packed;

typedef struct key_names {
    char ledger[LEDGER_SUBJECT_SIZE + 16], born[24];
} key_names;

/* Statements that leave together. */
typedef struct batch {
    size_t count;
    call *calls[BATCH_MAX];
    ledger_statement statements[BATCH_MAX];
    /* while they are written */
    key_names keys[BATCH_MAX];
    packed numbers[BATCH_MAX];
} batch;

/* Those on their way. */
typedef struct sent_batch {
    size_t count;
    call *calls[];
} sent_batch;

typedef struct redis_store {
    ledger_store base; /* first */
    gw_redis *redis;
    gw_redis_script *script;
    const ledger_timers *timers; /* the caller's: a reload may change them */
    batch batch;
} redis_store;

static void add_text(arguments *a, const char *text)
{
    a->items[a->count++] = gw_str_of(text);
}

static void add(arguments *a, int64_t n)
{
    char *text = a->numbers[a->number_count++];
    int len = snprintf(text, NUMBER_SIZE, "%" PRId64, n);

    a->items[a->count++] = gw_str_n(text, (size_t)len);
}

static void add_all(arguments *a, const ledger_amounts *m)
{
    for (int d = 0; d < LEDGER_WINDOWS; d++)
        add(a, m->of[d]);
}

static void name_keys(const char *subject, key_names *k)
{
    unsigned shard = ledger_shard_of(gw_str_of(subject));

    (void)snprintf(k->ledger, sizeof(k->ledger), "ledger:{%02u}:%s", shard, subject);
    (void)snprintf(k->born, sizeof(k->born), "ledger:{%02u}:born", shard);
}

/* A call about one ledger, whose arguments begin with its keys and the verb; NULL: no memory. */
static call *call_new(const char *subject, const char *verb, void *arg, key_names *keys,
                      arguments *a)
{
    call *c = calloc(1, sizeof(*c));

    if (!c)
        return NULL;
    c->arg = arg;
    name_keys(subject, keys);
    add_text(a, keys->ledger);
    add_text(a, keys->born);
    add_text(a, verb);
    return c;
}

static void call_begin(redis_store *r, call *c, gw_redis_reply_fn done, const arguments *a)
{
    gw_redis_eval(r->redis, r->script, done, c, 2, a->count, a->items);
}

/* ---- statements ---- */

static bool read_state(gw_str name, ledger_state *ret)
{
    static const struct {
        const char *name;
        ledger_state state;
    } names[] = {
        {"OK", LEDGER_OK},         {"AGAIN", LEDGER_AGAIN}, {"STALE", LEDGER_STALE},
        {"SWITCH", LEDGER_SWITCH}, {"GONE", LEDGER_GONE},   {"WAIT", LEDGER_WAIT},
        {"LOAD", LEDGER_LOAD},     {"SHORT", LEDGER_SHORT},
    };

    for (size_t i = 0; i < GW_ARRAY_LEN(names); i++)
        if (gw_str_eq_c(name, names[i].name)) {
            *ret = names[i].state;
            return true;
        }
    return false;
}

static bool read_reply(const redisReply *m, int64_t seq, ledger_reply *ret)
{
    int64_t v[REPLY_NUMBERS];

    if (m->type != REDIS_REPLY_ARRAY || m->elements != REPLY_NUMBERS + 1 ||
        m->element[0]->type != REDIS_REPLY_STRING ||
        !read_state(gw_str_n(m->element[0]->str, m->element[0]->len), &ret->state))
        return false;
    for (size_t i = 0; i < REPLY_NUMBERS; i++) {
        if (m->element[i + 1]->type != REDIS_REPLY_INTEGER)
            return false;
        v[i] = m->element[i + 1]->integer;
    }
    ret->seq = seq;
    ret->load = v[0];
    ret->ready = v[1] != 0;
    ret->fresh = v[2] != 0;
    ret->born = v[3];
    ret->day = v[4];
    ret->midnight_ms = v[5];
    ret->now_ms = v[6];
    ret->wait_ms = v[7];
    for (int d = 0; d < LEDGER_WINDOWS; d++) {
        ret->lent.of[d] = v[8 + d];
        ret->left.of[d] = v[14 + d];
    }
    ret->bucket_lent = v[12];
    ret->slots_lent = v[13];
    ret->bucket_left = v[18];
    ret->slots_left = v[19];
    ret->records = v[20];
    if (v[21] < 0 || v[21] > LEDGER_SLOTS)
        return false;
    ret->dimension = (ledger_window)v[21];
    ret->others = v[22];
    ret->silent = v[23];
    return true;
}

static void answer(call *c, gw_status rc, const redisReply *m)
{
    ledger_reply reply = {0};

    memcpy(reply.subject, c->subject, sizeof(reply.subject));
    memcpy(reply.holder, c->holder, sizeof(reply.holder));
    reply.took_us = GW_MAX((gw_clock_mono_ns(&gw_system_clock) - c->sent_ns) / 1000, 1);
    if (rc == GW_OK && !read_reply(m, c->seq, &reply))
        rc = GW_ERR_INTERNAL;
    c->stated(c->arg, rc, rc == GW_OK ? &reply : NULL);
    free(c);
}

static void on_stated(void *arg, gw_status rc, const redisReply *m)
{
    sent_batch *b = arg;

    if (rc == GW_OK && (m->type != REDIS_REPLY_ARRAY || m->elements != b->count))
        rc = GW_ERR_INTERNAL;
    for (size_t i = 0; i < b->count; i++)
        answer(b->calls[i], rc, rc == GW_OK ? m->element[i] : NULL);
    free(b);
}

static void pack(packed *p, int64_t n)
{
    double d = (double)n;
    uint64_t bits;

    memcpy(&bits, &d, sizeof(bits));
    p->items[p->count++] = htole64(bits);
}

static void pack_all(packed *p, const ledger_amounts *m)
{
    for (int d = 0; d < LEDGER_WINDOWS; d++)
        pack(p, m->of[d]);
}

static void pack_statement(packed *p, const ledger_statement *st)
{
    p->count = 0;
    pack(p, st->seq);
    pack(p, st->first);
    pack(p, st->final);
    pack(p, st->bye);
    pack(p, st->ask);
    pack(p, st->load);
    pack(p, st->day);
    pack_all(p, &st->spent);
    pack_all(p, &st->floor);
    pack_all(p, &st->need);
    pack_all(p, &st->want);
    pack_all(p, &st->late);
    pack(p, st->cuts);
    pack(p, st->bucket_floor);
    pack(p, st->bucket_need);
    pack(p, st->bucket_want);
    pack(p, st->slot_floor);
    pack(p, st->slot_need);
    pack(p, st->slot_want);
    pack(p, st->limits.generation);
    pack_all(p, &st->limits.window);
    pack(p, st->limits.per_minute);
    pack(p, st->limits.in_flight);
}

/* As if they were lost: they are stated again. */
static void drop(batch *b)
{
    for (size_t i = 0; i < b->count; i++)
        free(b->calls[i]);
    b->count = 0;
}

static void flush(ledger_store *s)
{
    redis_store *r = GW_CONTAINER_OF(s, redis_store, base);
    batch *b = &r->batch;
    gw_str items[BATCH_MAX * 4 + ARGUMENTS];
    arguments head = {0};
    size_t count = 0, keys = 2 * b->count;

    if (b->count == 0)
        return;
    sent_batch *sent = calloc(1, sizeof(*sent) + b->count * sizeof(*sent->calls));
    if (!sent) {
        drop(b);
        return;
    }
    add_text(&head, "state");
    add(&head, r->timers->quarantine_ms);
    add(&head, r->timers->lease_ms);
    add(&head, r->timers->lapse_ms);
    for (size_t i = 0; i < b->count; i++) {
        name_keys(b->statements[i].subject, &b->keys[i]);
        items[count++] = gw_str_of(b->keys[i].ledger);
        items[count++] = gw_str_of(b->keys[i].born);
        sent->calls[sent->count++] = b->calls[i];
    }
    memcpy(&items[count], head.items, head.count * sizeof(*items));
    count += head.count;
    for (size_t i = 0; i < b->count; i++) {
        pack_statement(&b->numbers[i], &b->statements[i]);
        items[count++] = gw_str_of(b->statements[i].holder);
        items[count++] = gw_str_n((const char *)b->numbers[i].items, sizeof(b->numbers[i].items));
    }
    b->count = 0;
    s->state_commands++;
    gw_redis_eval(r->redis, r->script, on_stated, sent, keys, count, items);
}

static void state(ledger_store *s, const ledger_statement *st, ledger_stated_fn done, void *arg)
{
    redis_store *r = GW_CONTAINER_OF(s, redis_store, base);
    call *c = calloc(1, sizeof(*c));

    if (!c)
        return; /* as if it were lost: it is asked again */
    *c = (call){
        .stated = done, .arg = arg, .seq = st->seq, .sent_ns = gw_clock_mono_ns(&gw_system_clock)};
    memcpy(c->subject, st->subject, sizeof(c->subject));
    memcpy(c->holder, st->holder, sizeof(c->holder));
    r->batch.calls[r->batch.count] = c;
    r->batch.statements[r->batch.count++] = *st;
    if (r->batch.count == BATCH_MAX)
        flush(s);
}

/* ---- the build-up ---- */

static void on_loaded(void *arg, gw_status rc, const redisReply *m)
{
    call *c = arg;
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

static void load(ledger_store *s, const char *subject, int64_t load_id, int64_t day,
                 const ledger_amounts *used, ledger_loaded_fn done, void *arg)
{
    arguments a = {0};
    key_names keys;
    call *c = call_new(subject, "load", arg, &keys, &a);

    if (!c)
        return;
    c->loaded = done;
    add(&a, load_id);
    add(&a, day);
    add_all(&a, used);
    call_begin(GW_CONTAINER_OF(s, redis_store, base), c, on_loaded, &a);
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
    call *c = arg;
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
    arguments a = {0};
    key_names keys;
    call *c = call_new(subject, "look", arg, &keys, &a);

    if (!c)
        return false;
    c->looked = done;
    call_begin(GW_CONTAINER_OF(s, redis_store, base), c, on_looked, &a);
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
    call *c = arg;
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
    redis_store *r = GW_CONTAINER_OF(s, redis_store, base);
    arguments a = {0};
    key_names keys;
    call *c = call_new(subject, "silent", arg, &keys, &a);

    if (!c)
        return false;
    c->silent = done;
    add(&a, r->timers->lapse_ms);
    call_begin(r, c, on_silent, &a);
    return true;
}

static void on_forgiven(void *arg, gw_status rc, const redisReply *m)
{
    call *c = arg;
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
    redis_store *r = GW_CONTAINER_OF(s, redis_store, base);
    arguments a = {0};
    key_names keys;
    call *c = call_new(subject, "forgive", arg, &keys, &a);

    if (!c)
        return false;
    c->forgiven = done;
    (void)snprintf(c->holder, sizeof(c->holder), "%s", holder);
    add(&a, r->timers->lapse_ms);
    add(&a, r->timers->quarantine_ms);
    add_text(&a, holder);
    call_begin(r, c, on_forgiven, &a);
    return true;
}

/* ---- births ---- */

static void on_born(void *arg, gw_status rc, const redisReply *m)
{
    call *c = arg;
    int64_t born[LEDGER_SHARDS + 1] = {0};

    if (rc == GW_OK && !read_numbers(m, LEDGER_SHARDS + 1, born))
        rc = GW_ERR_INTERNAL;
    c->born(c->arg, rc, rc == GW_OK ? born : NULL, born[LEDGER_SHARDS]);
    free(c);
}

static void born(ledger_store *s, ledger_born_fn done, void *arg)
{
    redis_store *r = GW_CONTAINER_OF(s, redis_store, base);
    call *c = calloc(1, sizeof(*c));
    char names[LEDGER_SHARDS][24];
    gw_str items[LEDGER_SHARDS + 1];

    if (!c)
        return;
    *c = (call){.born = done, .arg = arg};
    for (unsigned i = 0; i < LEDGER_SHARDS; i++) {
        (void)snprintf(names[i], sizeof(names[i]), "ledger:{%02u}:born", i);
        items[i] = gw_str_of(names[i]);
    }
    items[LEDGER_SHARDS] = GW_STR("born");
    gw_redis_eval(r->redis, r->script, on_born, c, LEDGER_SHARDS, GW_ARRAY_LEN(items), items);
}

static void free_store(ledger_store *s)
{
    redis_store *r = GW_CONTAINER_OF(s, redis_store, base);

    drop(&r->batch);
    gw_redis_script_free(r->script);
    free(r);
}

static const ledger_store_ops ops = {.state = state,
                                     .flush = flush,
                                     .load = load,
                                     .born = born,
                                     .look = look,
                                     .silent = silent,
                                     .forgive = forgive,
                                     .free = free_store};

gw_status ledger_store_redis_new(gw_redis *redis, const ledger_timers *timers, const char *clock,
                                 ledger_store **ret, gw_error *err)
{
    redis_store *r = calloc(1, sizeof(*r));
    gw_auto_buf text = {0};

    gw_buf_append_c(&text, clock ? clock : system_clock);
    gw_buf_append_str(&text, gw_str_n((const char *)ledger_script, ledger_script_len));
    if (r && !gw_buf_failed(&text))
        r->script = gw_redis_script_new(gw_buf_str(&text));
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
