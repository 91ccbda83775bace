#include "balance_book.h"

#include "relay_metrics.h"

#include "core/map.h"

#include <stdlib.h>

/* What is known of a user. */
typedef struct balance_entry {
    shared_read read;
    balance_book *book;
    balance_query query;
    bool is_known;
    balance_answer answer;
    int64_t read_ms; /* when it came */
} balance_entry;

struct balance_book {
    shared_reads reads;
    balance_book_options o;
    gw_map *entries; /* by user */
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

/* ---- reads ---- */

static void begin(shared_read *r)
{
    balance_entry *e = GW_CONTAINER_OF(r, balance_entry, read);

    e->book->o.store->ops->find(e->book->o.store, &e->query);
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

    e->is_known = rc == GW_OK;
    if (e->is_known) {
        e->answer = answer_of(q->state);
        e->read_ms = gw_loop_now_ms(e->book->reads.loop);
    }
    shared_read_ended(&e->read, rc, err, false);
}

/* ---- entries ---- */

static void entry_free(void *arg)
{
    balance_entry *e = arg;

    shared_read_fini(&e->read);
    free(e);
}

static void make_room(balance_book *b)
{
    shared_read *oldest = shared_reads_oldest(&b->reads);

    if (oldest && gw_map_count(b->entries) >= BALANCE_USERS_MAX)
        (void)gw_map_remove(b->entries, user_of(GW_CONTAINER_OF(oldest, balance_entry, read)));
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
    if (!gw_map_put(b->entries, user_of(e), e)) {
        free(e);
        return NULL;
    }
    shared_read_init(&e->read, &b->reads);
    return e;
}

static bool is_fresh(const balance_entry *e, int64_t now_ms)
{
    int64_t kept_ms = e->answer == BALANCE_IS_ENOUGH ? BALANCE_KEPT_MS : BALANCE_RETRY_MS;

    return e->is_known && now_ms - e->read_ms < kept_ms;
}

/* ---- asking ---- */

balance_answer balance_book_check(balance_book *b, const uint8_t user[BALANCE_USER_BYTES],
                                  shared_wait *w)
{
    balance_entry *e = entry_of(b, user);
    balance_answer answer = BALANCE_IS_UNKNOWN;

    gw_list_init(&w->node);
    if (e && is_fresh(e, gw_loop_now_ms(b->reads.loop)))
        answer = e->answer;
    else if (e && shared_read_ask(&e->read, w))
        return BALANCE_WAITS;
    if (e)
        shared_read_used(&e->read);
    count(b, answer);
    return answer;
}

/* ---- life ---- */

balance_book *balance_book_new(gw_loop *l, const balance_book_options *o)
{
    balance_book *b = calloc(1, sizeof(*b));

    if (!b)
        return NULL;
    b->o = *o;
    shared_reads_init(&b->reads, l,
                      &(shared_reads_options){.reads_max = BALANCE_READS_MAX,
                                              .wait_ms = BALANCE_WAIT_MS,
                                              .retry_ms = BALANCE_RETRY_MS,
                                              .what = "a balance",
                                              .lost = "librechat_balances_lost",
                                              .found = "librechat_balances_found",
                                              .begin = begin,
                                              .log = o->log});
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
