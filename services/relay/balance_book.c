#include "balance_book.h"

#include "relay_metrics.h"

#include "core/map.h"

#include <stdlib.h>

/* What is known of a user, and who waits to know. */
typedef struct balance_entry {
    balance_book *book;
    gw_list
        node; /* of book->idle, least recently asked for first; of book->queue before its read */
    balance_query query;
    bool is_queued, is_reading;
    bool is_known;
    balance_answer answer;
    int64_t read_ms; /* when it came */
    gw_list waits;
    gw_timer limit; /* of the waits */
} balance_entry;

struct balance_book {
    gw_loop *loop;
    balance_book_options o;
    gw_map *entries; /* by user */
    gw_list idle, queue;
    unsigned reads;
    bool is_failing;
    int64_t tried_ms; /* while it fails: the last try */
};

static gw_str user_of(const balance_entry *e)
{
    return gw_str_n((const char *)e->query.user, BALANCE_USER_BYTES);
}

/* ---- answers ---- */

static void count(const balance_book *b, balance_answer answer)
{
    static const char *const names[] = {[BALANCE_IS_ENOUGH] = "enough",
                                        [BALANCE_IS_EMPTY] = "empty",
                                        [BALANCE_IS_MISSING] = "missing",
                                        [BALANCE_IS_UNKNOWN] = "unknown"};

    if (b->o.metrics)
        gw_metric_count(b->o.metrics, M_relay_balance_checks_total, gw_str_of(names[answer]));
}

/* An asker may go away, or others come, while one is told. */
static void tell_all(balance_entry *e, balance_answer answer)
{
    balance_book *b = e->book; /* the entry may go while one is told */
    gw_list told;
    gw_list *node;

    gw_timer_cancel(b->loop, &e->limit);
    gw_list_init(&told);
    while ((node = gw_list_pop_front(&e->waits)))
        gw_list_push_back(&told, node);
    while ((node = gw_list_pop_front(&told))) {
        balance_wait *w = GW_CONTAINER_OF(node, balance_wait, node);
        gw_list_init(&w->node);
        count(b, answer);
        w->done(w->arg, answer);
    }
}

static void note_failure(balance_book *b, const gw_error *err)
{
    b->tried_ms = gw_loop_now_ms(b->loop);
    if (!b->is_failing)
        gw_log_warn(b->o.log, "librechat_balances_lost", gw_kv_error(err));
    b->is_failing = true;
}

static void note_success(balance_book *b)
{
    if (b->is_failing)
        gw_log_info(b->o.log, "librechat_balances_found");
    b->is_failing = false;
}

/* ---- reads ---- */

static void read_next(balance_book *b)
{
    gw_list *node;

    while (b->reads < BALANCE_READS_MAX && (node = gw_list_pop_front(&b->queue))) {
        balance_entry *e = GW_CONTAINER_OF(node, balance_entry, node);
        gw_list_init(&e->node);
        e->is_queued = false;
        if (gw_list_is_empty(&e->waits)) { /* nobody wants to know any more */
            gw_list_push_back(&b->idle, &e->node);
            continue;
        }
        e->is_reading = true;
        b->reads++;
        b->o.store->ops->find(b->o.store, &e->query);
    }
}

static balance_answer answer_of(balance_state state)
{
    switch (state) {
    case BALANCE_ENOUGH:
        return BALANCE_IS_ENOUGH;
    case BALANCE_EMPTY:
        return BALANCE_IS_EMPTY;
    default:
        return BALANCE_IS_MISSING;
    }
}

static void on_read(balance_query *q, gw_status rc, const gw_error *err)
{
    balance_entry *e = GW_CONTAINER_OF(q, balance_entry, query);
    balance_book *b = e->book;

    b->reads--;
    e->is_reading = false;
    gw_list_push_back(&b->idle, &e->node);
    e->is_known = rc == GW_OK;
    if (rc == GW_OK) {
        e->answer = answer_of(q->state);
        e->read_ms = gw_loop_now_ms(b->loop);
        note_success(b);
    } else {
        note_failure(b, err);
    }
    tell_all(e, rc == GW_OK ? e->answer : BALANCE_IS_UNKNOWN);
    read_next(b);
}

static void on_limit(void *arg)
{
    balance_entry *e = arg;
    gw_error err;

    if (gw_list_is_empty(&e->waits))
        return;
    (void)gw_fail(&err, GW_ERR_DEADLINE_EXCEEDED, "a balance was not read within %d ms",
                  BALANCE_WAIT_MS);
    note_failure(e->book, &err);
    tell_all(e, BALANCE_IS_UNKNOWN);
}

/* ---- entries ---- */

static void entry_free(void *arg)
{
    balance_entry *e = arg;

    gw_list_remove(&e->node);
    gw_timer_cancel(e->book->loop, &e->limit);
    free(e);
}

static void make_room(balance_book *b)
{
    gw_list *oldest;

    if (gw_map_count(b->entries) >= BALANCE_USERS_MAX && (oldest = gw_list_first(&b->idle)))
        (void)gw_map_remove(b->entries, user_of(GW_CONTAINER_OF(oldest, balance_entry, node)));
}

/* NULL when out of memory. */
static balance_entry *entry_of(balance_book *b, const uint8_t user[BALANCE_USER_BYTES])
{
    balance_entry *e = gw_map_get(b->entries, gw_str_n((const char *)user, BALANCE_USER_BYTES));

    if (e)
        return e;
    make_room(b);
    e = calloc(1, sizeof(*e));
    if (!e)
        return NULL;
    e->book = b;
    memcpy(e->query.user, user, BALANCE_USER_BYTES);
    e->query.done = on_read;
    gw_list_init(&e->waits);
    gw_timer_init(&e->limit, on_limit, e);
    if (!gw_map_put(b->entries, user_of(e), e)) {
        free(e);
        return NULL;
    }
    gw_list_push_back(&b->idle, &e->node);
    return e;
}

static bool is_fresh(const balance_entry *e, int64_t now_ms)
{
    int64_t kept_ms = e->answer == BALANCE_IS_ENOUGH ? BALANCE_KEPT_MS : BALANCE_RETRY_MS;

    return e->is_known && now_ms - e->read_ms < kept_ms;
}

/* ---- asking ---- */

static balance_answer look(balance_book *b, balance_entry *e, balance_wait *w)
{
    int64_t now_ms = gw_loop_now_ms(b->loop);

    if (is_fresh(e, now_ms))
        return e->answer;
    if (b->is_failing && now_ms - b->tried_ms < BALANCE_RETRY_MS)
        return BALANCE_IS_UNKNOWN;
    if (b->is_failing)
        b->tried_ms = now_ms; /* this is the try */
    if (gw_list_is_empty(&e->waits))
        gw_timer_set(b->loop, &e->limit, BALANCE_WAIT_MS);
    gw_list_push_back(&e->waits, &w->node);
    if (!e->is_queued && !e->is_reading) {
        gw_list_remove(&e->node);
        gw_list_push_back(&b->queue, &e->node);
        e->is_queued = true;
        read_next(b);
    }
    return BALANCE_WAITS;
}

balance_answer balance_book_check(balance_book *b, const uint8_t user[BALANCE_USER_BYTES],
                                  balance_wait *w)
{
    balance_entry *e = entry_of(b, user);
    balance_answer answer;

    gw_list_init(&w->node);
    answer = e ? look(b, e, w) : BALANCE_IS_UNKNOWN;
    if (e && !e->is_queued && !e->is_reading) { /* asked for just now */
        gw_list_remove(&e->node);
        gw_list_push_back(&b->idle, &e->node);
    }
    if (answer != BALANCE_WAITS)
        count(b, answer);
    return answer;
}

void balance_book_forget(balance_wait *w)
{
    gw_list_remove(&w->node);
}

/* ---- life ---- */

balance_book *balance_book_new(gw_loop *l, const balance_book_options *o)
{
    balance_book *b = calloc(1, sizeof(*b));

    if (!b)
        return NULL;
    b->loop = l;
    b->o = *o;
    gw_list_init(&b->idle);
    gw_list_init(&b->queue);
    b->entries = gw_map_new(entry_free);
    if (b->entries)
        return b;
    free(b);
    return NULL;
}

void balance_book_free(balance_book *b)
{
    if (!b)
        return;
    gw_map_free(b->entries);
    free(b);
}
