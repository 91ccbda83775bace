#include "ledger_keeper.h"

#include "ledger_fitness.h"
#include "ledger_metrics.h"
#include "ledger_store_redis.h"
#include "ledger_usage.h"
#include "relay_metrics.h"

#include <stdlib.h>

#define BORN_MS         1000
#define LOOK_BIRTHS     30 /* at so many births Redis is asked again whether it is fit */
#define LAPSE_MARGIN_MS 60000

struct ledger_keeper {
    gw_loop *loop;
    ledger_keeper_options o;
    gw_redis *redis; /* NULL once stopped */
    ledger_store *store;
    grant_book *book;
    position_table *positions;
    gw_timer turn, birth;
    ledger_fitness fitness;
    bool lost, turning, loads_fail;
    unsigned births;
    grant_book_figures counted;
    int64_t commands_counted;
};

static int64_t now_of(const ledger_keeper *k)
{
    return gw_loop_now_ms(k->loop);
}

static void wake_within(ledger_keeper *k, int64_t delay_ms)
{
    if (!k->redis)
        return;
    int64_t due_ms = now_of(k) + GW_MAX(delay_ms, 0);
    if (!gw_timer_is_armed(&k->turn) || k->turn.due_ms > due_ms)
        gw_timer_set(k->loop, &k->turn, GW_MAX(delay_ms, 0));
}

/* ---- what has changed ---- */

static void measure(ledger_keeper *k)
{
    const gw_str command = GW_STR("state");
    int64_t commands = k->store->state_commands - k->commands_counted;

    ledger_metrics_count(k->o.metrics, grant_book_get_figures(k->book), &k->counted);
    if (k->o.metrics && commands > 0)
        gw_metric_add(k->o.metrics, M_relay_ledger_commands_total, commands, &command, 1);
    k->commands_counted += commands;
}

static void count_command(const ledger_keeper *k, const char *command)
{
    if (k->o.metrics)
        gw_metric_count(k->o.metrics, M_relay_ledger_commands_total, gw_str_of(command));
}

static void note_loss(ledger_keeper *k)
{
    bool lost = grant_book_is_lost(k->book, now_of(k));

    if (lost == k->lost)
        return;
    k->lost = lost;
    if (lost)
        gw_log_warn(
            k->o.log, "ledger_lost",
            gw_kv("hint", k->o.allow_when_lost
                              ? "Redis does not answer: limits of windows are not enforced"
                              : "Redis does not answer: keys with limits of windows are refused"));
    else
        gw_log_info(k->o.log, "ledger_found");
}

static void on_turn(void *arg)
{
    ledger_keeper *k = arg;
    int64_t now_ms = now_of(k);

    k->turning = true;
    int64_t due_ms = grant_book_advance(k->book, now_ms);
    k->turning = false;
    k->store->ops->flush(k->store);
    note_loss(k);
    measure(k);
    if (due_ms != INT64_MAX)
        wake_within(k, due_ms - now_ms);
}

/* ---- the store ---- */

static void on_stated(void *arg, gw_status rc, const ledger_reply *reply)
{
    ledger_keeper *k = arg;

    ledger_metrics_answer(k->o.metrics, reply);
    if (rc != GW_OK)
        return; /* it is stated again */
    grant_book_answer(k->book, reply, now_of(k));
    wake_within(k, 0);
}

static void state(void *arg, const ledger_statement *st)
{
    ledger_keeper *k = arg;

    k->store->ops->state(k->store, st, on_stated, k);
    if (!k->turning) /* what is stated in this turn of the loop leaves together */
        wake_within(k, 0);
}

static void on_born(void *arg, gw_status rc, const int64_t *born, int64_t now_ms)
{
    ledger_keeper *k = arg;

    if (rc != GW_OK)
        return;
    ledger_metrics_births(k->o.metrics, born, now_ms - k->o.timers.quarantine_ms);
    grant_book_born(k->book, born, now_of(k));
    wake_within(k, 0);
}

const char *ledger_keeper_store_trouble(const ledger_keeper *k)
{
    return ledger_fitness_trouble(&k->fitness);
}

static void ask_births(void *arg)
{
    ledger_keeper *k = arg;

    if (k->births++ % LOOK_BIRTHS == 0)
        ledger_fitness_ask(&k->fitness, k->redis);
    gw_timer_set(k->loop, &k->birth, BORN_MS);
    ledger_metrics_stand(k->o.metrics, k->book);
    count_command(k, "born");
    k->store->ops->born(k->store, on_born, k);
}

/* ---- the build-up ---- */

typedef struct load_call {
    ledger_keeper *keeper;
    char subject[LEDGER_SUBJECT_SIZE];
    int64_t load, day, begun_ms;
} load_call;

/* Logged when it begins and when it ends, not each time: many ledgers may want one. */
static void note_load_failures(ledger_keeper *k, const load_call *failed, const gw_error *err)
{
    if (failed && !k->loads_fail)
        gw_log_warn(k->o.log, "ledger_load_failed", gw_kv("ledger", (const char *)failed->subject),
                    gw_kv_error(err));
    else if (!failed && k->loads_fail)
        gw_log_info(k->o.log, "ledger_loads_again");
    k->loads_fail = failed != NULL;
}

static void on_loaded(void *arg, gw_status rc, ledger_loaded how)
{
    load_call *c = arg;
    ledger_keeper *k = c->keeper;

    (void)how; /* whatever it was: the next statement says how things stand */
    if (rc == GW_OK && k->o.metrics)
        gw_metric_observe(k->o.metrics, M_relay_ledger_load_seconds,
                          (double)(now_of(k) - c->begun_ms) / GW_MS_PER_S, NULL, 0);
    if (k->redis) {
        grant_book_loaded(k->book, c->subject, now_of(k));
        wake_within(k, 0);
    }
    free(c);
}

static void on_used(void *arg, gw_status rc, const ledger_amounts *used, const gw_error *err)
{
    load_call *c = arg;
    ledger_keeper *k = c->keeper;

    if (!k->redis) {
        free(c);
    } else if (rc != GW_OK) {
        note_load_failures(k, c, err);
        grant_book_load_failed(k->book, c->subject, now_of(k));
        wake_within(k, 0);
        free(c);
    } else {
        note_load_failures(k, NULL, NULL);
        count_command(k, "load");
        if (k->store->ops->load(k->store, c->subject, c->load, c->day, used, on_loaded, c))
            return;
        grant_book_load_failed(k->book, c->subject, now_of(k));
        wake_within(k, 0);
        free(c);
    }
}

static bool load(void *arg, const char *subject, int64_t load_id, int64_t day, bool fresh)
{
    ledger_keeper *k = arg;
    load_call *c = calloc(1, sizeof(*c));

    if (!c)
        return false;
    *c = (load_call){.keeper = k, .load = load_id, .day = day, .begun_ms = now_of(k)};
    (void)snprintf(c->subject, sizeof(c->subject), "%s", subject);
    const ledger_question q = {
        .subject = c->subject, .load = load_id, .day = day, .fresh = fresh, .wait_for_usage = true};
    if (ledger_usage_ask(k->o.usage, k->o.service_token, &q, on_used, c))
        return true;
    free(c);
    return false;
}

/* ---- rows ---- */

static int64_t row_open(void *arg, const char *holder, const char *subject)
{
    return position_table_open_row(((ledger_keeper *)arg)->positions, holder, subject);
}

static void row_load(void *arg, int64_t row, int64_t load_id)
{
    position_table_set_load(((ledger_keeper *)arg)->positions, row, load_id);
}

static void row_close(void *arg, int64_t row)
{
    ledger_keeper *k = arg;

    position_table_close_row(k->positions, row);
}

static const grant_book_ops book_ops = {.state = state,
                                        .load = load,
                                        .row_open = row_open,
                                        .row_load = row_load,
                                        .row_close = row_close};

/* ---- life ---- */

static gw_status close_what_is_left(ledger_keeper *k, gw_error *err)
{
    for (size_t i = 0; i < k->o.left_count; i++)
        if (!grant_book_close_row(k->book, &k->o.left[i].row, &k->o.left[i].sums))
            return gw_fail(err, GW_ERR_NO_MEMORY, "no memory for the positions left behind");
    return GW_OK;
}

static gw_status open_keeper(ledger_keeper *k, gw_error *err)
{
    grant_book_options book = {
        .ops = &book_ops, .arg = k, .timers = k->o.timers, .allow_when_lost = k->o.allow_when_lost};

    (void)snprintf(book.holder, sizeof(book.holder), "%.*s.0", LEDGER_HOLDER_SIZE - 3, k->o.holder);
    k->positions = k->o.positions;
    k->book = grant_book_new(&book);
    if (!k->book)
        return gw_fail(err, GW_ERR_NO_MEMORY, "no memory for the ledgers");
    gw_status rc = gw_redis_new(k->loop, k->o.log, &k->o.redis, &k->redis, err);
    if (rc == GW_OK)
        rc = ledger_store_redis_new(k->redis, &k->o.timers, NULL, &k->store, err);
    return rc == GW_OK ? close_what_is_left(k, err) : rc;
}

gw_status ledger_keeper_new(gw_loop *l, const ledger_keeper_options *o, ledger_keeper **ret,
                            gw_error *err)
{
    ledger_keeper *k = calloc(1, sizeof(*k));

    if (!k)
        return gw_fail(err, GW_ERR_NO_MEMORY, "no memory for the ledgers");
    k->loop = l;
    k->o = *o;
    k->fitness.log = o->log;
    gw_timer_init(&k->turn, on_turn, k);
    gw_timer_init(&k->birth, ask_births, k);
    gw_status rc = open_keeper(k, err);
    if (rc != GW_OK) {
        ledger_keeper_stop(k);
        ledger_keeper_free(k);
        return rc;
    }
    gw_redis_connect(k->redis);
    ask_births(k);
    wake_within(k, 0);
    *ret = k;
    return GW_OK;
}

void ledger_keeper_drain(ledger_keeper *k)
{
    grant_book_drain(k->book);
    wake_within(k, 0);
}

bool ledger_keeper_is_idle(const ledger_keeper *k)
{
    return grant_book_is_idle(k->book);
}

void ledger_keeper_stop(ledger_keeper *k)
{
    if (!k || !k->redis)
        return;
    gw_timer_cancel(k->loop, &k->turn);
    gw_timer_cancel(k->loop, &k->birth);
    gw_redis_free(gw_steal(&k->redis));
}

void ledger_keeper_free(ledger_keeper *k)
{
    if (!k)
        return;
    ledger_store_free(k->store);
    grant_book_free(k->book);
    free(k);
}

void ledger_keeper_set_request_max(ledger_keeper *k, int64_t request_max_ms)
{
    ledger_timers *t = &k->o.timers;

    t->lapse_ms = GW_MAX(t->lapse_ms, request_max_ms + t->lease_ms + LAPSE_MARGIN_MS);
}

const ledger_timers *ledger_keeper_timers(const ledger_keeper *k)
{
    return &k->o.timers;
}

void ledger_keeper_set_service_token(ledger_keeper *k, gw_str token)
{
    k->o.service_token = token;
}

ledger_look *ledger_keeper_look(ledger_keeper *k, const key_policy *p, ledger_seen_fn done,
                                void *arg)
{
    ledger_look_options o = {.store = k->store,
                             .usage = k->o.usage,
                             .service_token = k->o.service_token,
                             .accounts = p->ledgers,
                             .count = p->ledger_count,
                             .now_ms = gw_clock_wall_ms(gw_loop_clock(k->loop)),
                             .done = done,
                             .arg = arg};

    if (!k->redis)
        return NULL;
    k->store->ops->flush(k->store); /* what is stated comes there before the look */
    grant_book_unstated(k->book, p->ledgers, p->ledger_count, o.unstated);
    for (size_t i = 0; i < p->ledger_count; i++)
        count_command(k, "look");
    return ledger_look_begin(&o);
}

/* ---- requests ---- */

grant_outcome ledger_keeper_take(ledger_keeper *k, const key_policy *p, grant_take *t)
{
    if (!k->redis)
        return t->outcome = GRANT_UNAVAILABLE;
    grant_outcome o = grant_book_take(k->book, p->ledgers, p->ledger_count, t, now_of(k));
    if (!gw_timer_is_armed(&k->turn))
        wake_within(k, k->o.timers.retry_ms);
    return o;
}

grant_outcome ledger_keeper_extend(ledger_keeper *k, grant_take *t, grant_take *more)
{
    if (!k->redis)
        return more->outcome = GRANT_UNAVAILABLE;
    grant_outcome o = grant_book_extend(k->book, t, more, now_of(k));
    if (!gw_timer_is_armed(&k->turn))
        wake_within(k, k->o.timers.retry_ms);
    return o;
}

void ledger_keeper_forget(ledger_keeper *k, grant_take *t)
{
    grant_book_forget(k->book, t);
}

void ledger_keeper_settle(ledger_keeper *k, grant_take *t, const ledger_amounts *real)
{
    grant_book_settle(k->book, t, real, now_of(k));
}

grant_mark ledger_keeper_mark(const ledger_keeper *k, const grant_take *t)
{
    return grant_book_mark(t, now_of(k));
}

size_t ledger_keeper_left(const ledger_keeper *k, const grant_take *t,
                          grant_left ret[LEDGER_LEVELS])
{
    return grant_book_left(t, now_of(k), ret);
}

size_t ledger_keeper_known(const ledger_keeper *k, const key_policy *p,
                           grant_left ret[LEDGER_LEVELS])
{
    return grant_book_known(k->book, p->ledgers, p->ledger_count, now_of(k), ret);
}
