#include "live_shared.h"

#include <stdio.h>
#include <stdlib.h>

#define KEY_SIZE        32
#define EXPIRY_S        "120"
#define FIGURES_A_CALL  1000
#define FRESH_MS        500 /* a look at Redis answers whoever asks so soon after it */
#define GROWING_SECONDS 5 /* relays report a second just after it, and a frame may be under way */

typedef struct reader {
    live_shared_fn done;
    void *arg;
} reader;

/* One second of a look. */
typedef struct fetch {
    live_shared *shared;
    int64_t second;
} fetch;

struct live_shared {
    gw_loop *loop;
    gw_redis *redis;
    gw_redis_script *add;
    live *own, *all;
    int64_t read_second[2 * LIVE_SECONDS]; /* that this slot was read for when it was grown up */
    bool has_looked;
    int64_t looked_ms; /* on the loop's clock */
    /* the look in flight */
    fetch fetches[LIVE_SECONDS];
    size_t waiting_for;
    bool failed;
    reader *readers;
    size_t reader_count, reader_cap;
};

static const char add_lua[] = "for i = 2, #ARGV, 2 do "
                              "redis.call('HINCRBY', KEYS[1], ARGV[i], ARGV[i + 1]) end "
                              "redis.call('EXPIRE', KEYS[1], ARGV[1])";

live_shared *live_shared_new(gw_loop *l, gw_redis *redis)
{
    live_shared *s = calloc(1, sizeof(*s));
    if (!s)
        return NULL;
    s->loop = l;
    s->redis = redis;
    s->own = live_new(gw_loop_clock(l));
    s->all = redis ? live_new(gw_loop_clock(l)) : NULL;
    s->add = redis ? gw_redis_script_new(gw_str_of(add_lua)) : NULL;
    if (!s->own || (redis && (!s->all || !s->add))) {
        live_shared_free(s);
        return NULL;
    }
    return s;
}

static void answer_all(live_shared *s, const live *counters, bool of_all)
{
    reader *readers = s->readers;
    size_t n = s->reader_count;
    s->readers = NULL; /* an answer may ask again */
    s->reader_count = s->reader_cap = 0;
    for (size_t i = 0; i < n; i++)
        readers[i].done(readers[i].arg, counters, of_all);
    free(readers);
}

void live_shared_free(live_shared *s)
{
    if (!s)
        return;
    if (s->own)
        answer_all(s, s->own, false);
    gw_redis_script_free(s->add);
    live_free(s->own);
    live_free(s->all);
    free(s);
}

static void name_hash(int64_t second, char out[KEY_SIZE])
{
    (void)snprintf(out, KEY_SIZE, "live:%lld", (long long)second);
}

/* ---- adding ---- */

typedef struct sending {
    live_shared *shared;
    char hash[KEY_SIZE];
    gw_buf text; /* names and values, one after the other */
    size_t ends[2 * FIGURES_A_CALL];
    size_t count; /* of ends */
} sending;

static void send_figures(sending *s)
{
    gw_str argv[2 * FIGURES_A_CALL + 2] = {gw_str_of(s->hash), GW_STR(EXPIRY_S)};
    size_t from = 0;
    if (s->count == 0 || gw_buf_failed(&s->text))
        return;
    for (size_t i = 0; i < s->count; i++) {
        argv[2 + i] = gw_str_n(s->text.data + from, s->ends[i] - from);
        from = s->ends[i];
    }
    gw_redis_eval(s->shared->redis, s->shared->add, NULL, NULL, 1, 2 + s->count, argv);
    gw_buf_clear(&s->text);
    s->count = 0;
}

static void add_figure(void *arg, const live_figure *f)
{
    sending *s = arg;
    if (f->value < 0)
        return;
    live_figure_name(f, &s->text);
    s->ends[s->count++] = s->text.len;
    gw_buf_appendf(&s->text, "%lld", (long long)f->value);
    s->ends[s->count++] = s->text.len;
    if (s->count == GW_ARRAY_LEN(s->ends))
        send_figures(s);
}

void live_shared_add(live_shared *s, const Apirelay__Usage__V1__Live *frame)
{
    live_add(s->own, frame);
    int64_t now_s = gw_clock_wall_ms(gw_loop_clock(s->loop)) / GW_MS_PER_S;
    /* What is of no use to anybody makes no hash: a wrong clock could make one for each second. */
    if (!s->redis || frame->second <= now_s - LIVE_SECONDS || frame->second > now_s + 5)
        return;
    sending out = {.shared = s};
    name_hash(frame->second, out.hash);
    live_figures_of(frame, add_figure, &out);
    send_figures(&out);
    gw_buf_fini(&out.text);
}

/* ---- reading ---- */

static void look_ended(live_shared *s)
{
    s->has_looked = !s->failed;
    s->looked_ms = gw_loop_now_ms(s->loop);
    answer_all(s, s->failed ? s->own : s->all, !s->failed);
}

static void take_hash(live_shared *s, int64_t second, const redisReply *reply)
{
    live_clear(s->all, second);
    for (size_t i = 0; i + 1 < reply->elements; i += 2) {
        const redisReply *name = reply->element[i], *value = reply->element[i + 1];
        char key[12];
        live_figure f;
        if (name->type != REDIS_REPLY_STRING || value->type != REDIS_REPLY_STRING ||
            !live_figure_parse(gw_str_n(name->str, name->len), key, &f) ||
            !gw_str_to_int64(gw_str_n(value->str, value->len), &f.value))
            continue;
        live_add_figure(s->all, second, &f);
    }
}

static void on_hash(void *arg, gw_status rc, const redisReply *reply)
{
    const fetch *f = arg;
    live_shared *s = f->shared;
    int64_t now_s = gw_clock_wall_ms(gw_loop_clock(s->loop)) / GW_MS_PER_S;
    int64_t *read_second = &s->read_second[f->second % (2 * LIVE_SECONDS)];
    if (rc == GW_OK && reply->type == REDIS_REPLY_ARRAY) {
        take_hash(s, f->second, reply);
        if (f->second < now_s - GROWING_SECONDS)
            *read_second = f->second;
    } else {
        s->failed = true;
    }
    if (--s->waiting_for == 0)
        look_ended(s);
}

/* The current second is in no answer yet. */
static void look(live_shared *s)
{
    int64_t now_s = gw_clock_wall_ms(gw_loop_clock(s->loop)) / GW_MS_PER_S;
    s->failed = false;
    size_t n = 0;
    for (int64_t second = now_s - LIVE_SECONDS; second < now_s; second++)
        if (s->read_second[second % (2 * LIVE_SECONDS)] != second)
            s->fetches[n++] = (fetch){s, second};
    s->waiting_for = n; /* at least those that may grow */
    for (size_t i = 0; i < n; i++) {
        char hash[KEY_SIZE];
        name_hash(s->fetches[i].second, hash);
        gw_redis_call(s->redis, on_hash, &s->fetches[i], GW_STR("HGETALL"), gw_str_of(hash));
    }
}

static bool keep_reader(live_shared *s, live_shared_fn done, void *arg)
{
    if (s->reader_count == s->reader_cap) {
        size_t cap = s->reader_cap ? 2 * s->reader_cap : 8;
        reader *grown = realloc(s->readers, cap * sizeof(*grown));
        if (!grown)
            return false;
        s->readers = grown;
        s->reader_cap = cap;
    }
    s->readers[s->reader_count++] = (reader){done, arg};
    return true;
}

void live_shared_read(live_shared *s, live_shared_fn done, void *arg)
{
    bool is_fresh = s->has_looked && gw_loop_now_ms(s->loop) - s->looked_ms < FRESH_MS;
    if (s->redis && s->waiting_for == 0 && is_fresh) {
        done(arg, s->all, true);
        return;
    }
    if (!s->redis || !keep_reader(s, done, arg)) {
        done(arg, s->own, false);
        return;
    }
    if (s->waiting_for == 0)
        look(s);
}
