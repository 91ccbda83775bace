/* Statements of positions: those of one turn of the loop leave as one command. */
#include "ledger_store_redis_internal.h"

#include <endian.h>

#define NUMBER_MAX 1e18

/*
 * An answer: what was decided, then the ledger and the record as ledger.lua stores them. Without the record when there is none.
 *
 *     state now wait dimension others silent | ld bn wt fr rd dy t0-t3 lv bt bo gn nr ft og oa lm0-lm5 | seq at dead void sold day S0-S3 out0-out3 cuts b f
 */
enum {
    ANSWER_STATE,
    ANSWER_NOW,
    ANSWER_WAIT,
    ANSWER_DIMENSION,
    ANSWER_OTHERS,
    ANSWER_SILENT,
    ANSWER_LEDGER,
    LEDGER_NUMBERS = 24,
    ANSWER_RECORD = ANSWER_LEDGER + LEDGER_NUMBERS,
    RECORD_NUMBERS = 17,
    ANSWER_NUMBERS = ANSWER_RECORD + RECORD_NUMBERS,
};

/* Those on their way. */
typedef struct sent_batch {
    size_t count;
    ledger_call *calls[];
} sent_batch;

/* Little-endian doubles, of amounts below 2^53; what is not there is 0. */
static bool unpack(const redisReply *m, int64_t ret[ANSWER_NUMBERS])
{
    size_t count = m->type == REDIS_REPLY_STRING ? m->len / sizeof(uint64_t) : 0;

    if ((count != ANSWER_RECORD && count != ANSWER_NUMBERS) || m->len % sizeof(uint64_t) != 0)
        return false;
    memset(ret, 0, ANSWER_NUMBERS * sizeof(*ret));
    for (size_t i = 0; i < count; i++) {
        uint64_t bits;
        double d;
        memcpy(&bits, m->str + i * sizeof(bits), sizeof(bits));
        bits = le64toh(bits);
        memcpy(&d, &bits, sizeof(d));
        if (!(d >= -NUMBER_MAX && d <= NUMBER_MAX)) /* not a number is neither */
            return false;
        ret[i] = (int64_t)d;
    }
    return true;
}

static void read_ledger(const int64_t l[LEDGER_NUMBERS], ledger_reply *ret)
{
    const int64_t *taken = &l[6], *limits = &l[18];

    ret->load = l[0];
    ret->born = l[1];
    ret->fresh = l[3] != 0;
    ret->ready = l[4] != 0;
    ret->day = l[5];
    ret->midnight_ms = (ret->day + 1) * LEDGER_DAY_MS - ret->now_ms;
    for (int d = 0; d < LEDGER_WINDOWS; d++)
        ret->left.of[d] = limits[d] - taken[d];
    ret->bucket_left = l[10];
    ret->records = l[14];
    ret->slots_left = limits[LEDGER_WINDOWS + 1] - l[15];
}

/* What was lent in a window that has ended is nobody's. */
static void read_record(const int64_t r[RECORD_NUMBERS], ledger_reply *ret)
{
    int64_t day = r[5];

    for (int d = 0; d < LEDGER_WINDOWS; d++) {
        ret->lent.of[d] = ledger_same_window((ledger_window)d, day, ret->day) ? r[10 + d] : 0;
    }
    ret->bucket_lent = r[15];
    ret->slots_lent = r[16];
}

static bool read_reply(const redisReply *m, int64_t seq, ledger_reply *ret)
{
    int64_t v[ANSWER_NUMBERS];

    if (!unpack(m, v) || v[ANSWER_STATE] < 0 || v[ANSWER_STATE] >= LEDGER_STATES ||
        v[ANSWER_DIMENSION] < 0 || v[ANSWER_DIMENSION] > LEDGER_SLOTS)
        return false;
    ret->state = (ledger_state)v[ANSWER_STATE];
    ret->seq = seq;
    ret->now_ms = v[ANSWER_NOW];
    ret->wait_ms = v[ANSWER_WAIT];
    ret->dimension = (ledger_window)v[ANSWER_DIMENSION];
    ret->others = v[ANSWER_OTHERS];
    ret->silent = v[ANSWER_SILENT];
    read_ledger(&v[ANSWER_LEDGER], ret);
    read_record(&v[ANSWER_RECORD], ret);
    return true;
}

static void answer(ledger_call *c, gw_status rc, const redisReply *m)
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

static void pack(ledger_packed *p, int64_t n)
{
    double d = (double)n;
    uint64_t bits;

    memcpy(&bits, &d, sizeof(bits));
    p->items[p->count++] = htole64(bits);
}

static void pack_all(ledger_packed *p, const ledger_amounts *m)
{
    for (int d = 0; d < LEDGER_WINDOWS; d++)
        pack(p, m->of[d]);
}

static bool is_any(const ledger_amounts *m)
{
    for (int d = 0; d < LEDGER_WINDOWS; d++) {
        if (m->of[d] != 0)
            return true;
    }
    return false;
}

static void pack_statement(ledger_packed *p, const ledger_statement *st)
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
    if (is_any(&st->late))
        pack_all(p, &st->late);
}

void ledger_redis_drop(ledger_batch *b)
{
    for (size_t i = 0; i < b->count; i++)
        free(b->calls[i]);
    b->count = 0;
}

void ledger_redis_flush(ledger_store *s)
{
    ledger_redis *r = GW_CONTAINER_OF(s, ledger_redis, base);
    ledger_batch *b = &r->batch;
    gw_str items[LEDGER_BATCH_MAX * 4 + LEDGER_ARGUMENTS_MAX];
    ledger_arguments head = {0};
    size_t count = 0, keys = 2 * b->count;

    if (b->count == 0)
        return;
    sent_batch *sent = calloc(1, sizeof(*sent) + b->count * sizeof(*sent->calls));
    if (!sent) {
        ledger_redis_drop(b);
        return;
    }
    ledger_add_text(&head, "state");
    ledger_add(&head, r->timers->quarantine_ms);
    ledger_add(&head, r->timers->lease_ms);
    ledger_add(&head, r->timers->lapse_ms);
    for (size_t i = 0; i < b->count; i++) {
        ledger_name_keys(b->statements[i].subject, &b->keys[i]);
        (void)snprintf(b->keys[i].record, sizeof(b->keys[i].record), "r:%s",
                       b->statements[i].holder);
        items[count++] = gw_str_of(b->keys[i].ledger);
        items[count++] = gw_str_of(b->keys[i].born);
        sent->calls[sent->count++] = b->calls[i];
    }
    memcpy(&items[count], head.items, head.count * sizeof(*items));
    count += head.count;
    for (size_t i = 0; i < b->count; i++) {
        pack_statement(&b->numbers[i], &b->statements[i]);
        items[count++] = gw_str_of(b->keys[i].record);
        items[count++] = gw_str_n((const char *)b->numbers[i].items,
                                  b->numbers[i].count * sizeof(*b->numbers[i].items));
    }
    b->count = 0;
    s->state_commands++;
    gw_redis_eval(r->redis, r->script, on_stated, sent, keys, count, items);
}

void ledger_redis_state(ledger_store *s, const ledger_statement *st, ledger_stated_fn done,
                        void *arg)
{
    ledger_redis *r = GW_CONTAINER_OF(s, ledger_redis, base);
    ledger_call *c = calloc(1, sizeof(*c));

    if (!c)
        return; /* as if it were lost: it is asked again */
    *c = (ledger_call){
        .stated = done, .arg = arg, .seq = st->seq, .sent_ns = gw_clock_mono_ns(&gw_system_clock)};
    memcpy(c->subject, st->subject, sizeof(c->subject));
    memcpy(c->holder, st->holder, sizeof(c->holder));
    r->batch.calls[r->batch.count] = c;
    r->batch.statements[r->batch.count++] = *st;
    if (r->batch.count == LEDGER_BATCH_MAX)
        ledger_redis_flush(s);
}
