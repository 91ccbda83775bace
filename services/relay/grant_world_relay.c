#include "grant_world_internal.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- spool and usage ---- */

void world_spool_record(world *w, relay *r, int key, const grant_mark *m, int64_t day,
                        const ledger_amounts *a)
{
    spool *s = &r->spool;

    if (s->count == EVENTS) {
        VIOLATED(w, "the test's spool is full");
        return;
    }
    s->events[s->count++] = (event){.mark = *m, .day = day, .key = key, .amounts = *a};
    for (int level = 0; level < LEDGER_LEVELS; level++)
        if (m->row[level] > 0)
            ledger_row_add(&s->rows[m->row[level] % ROWS].sums, m->row[level], m->load[level], day,
                           a);
}

static void apply_to(world *w, int ledger, const event *e, int64_t load)
{
    int i = world_day_index(e->day);

    if (load > w->usage[ledger].load[i]) {
        w->usage[ledger].load[i] = load;
        w->usage[ledger].tail[i] = (ledger_amounts){0};
    }
    for (int d = 0; d < LEDGER_WINDOWS; d++) {
        w->usage[ledger].total[i].of[d] += e->amounts.of[d];
        if (load == w->usage[ledger].load[i])
            w->usage[ledger].tail[i].of[d] += e->amounts.of[d];
    }
}

void world_usage_apply(world *w, relay *r)
{
    spool *s = &r->spool;

    for (; s->applied < s->count; s->applied++) {
        const event *e = &s->events[s->applied];
        for (int level = 0; level < LEDGER_LEVELS; level++)
            if (world_ledger_at(w, e->key, level) >= 0)
                apply_to(w, world_ledger_at(w, e->key, level), e, e->mark.load[level]);
    }
}

ledger_amounts world_usage_of(const world *w, int ledger, int64_t day, int64_t load)
{
    ledger_amounts sum = {0};

    for (int i = 0; i < DAYS; i++)
        for (int d = 0; d < LEDGER_WINDOWS; d++) {
            if (!ledger_same_window((ledger_window)d, START_DAY + i, day))
                continue;
            sum.of[d] += w->usage[ledger].total[i].of[d];
            if (load != 0 && w->usage[ledger].load[i] == load)
                sum.of[d] -= w->usage[ledger].tail[i].of[d];
        }
    return sum;
}

/* ---- what the books want ---- */

static void on_state(void *arg, const ledger_statement *st)
{
    book_arg *a = arg;
    relay *r = &a->world->relays[a->relay];

    if (r->out_count == OUT)
        VIOLATED(a->world, "more is stated at once than the test has room for");
    else
        r->out[r->out_count++] = *st;
}

/* One command: it comes whole or not at all, is done without anything between, and is answered whole or not at all. */
static void send_command(world *w, int index, const ledger_statement *first, int count,
                         int64_t delay)
{
    int64_t reply_ms = world_between(w, 1, 5);

    if (!w->quiet && world_chance(w, w->loss))
        reply_ms = -1;
    for (int i = 0; i < count; i++) {
        happening *h = world_later(w, delay, ARRIVE_STATE, index);
        h->reply_ms = reply_ms;
        h->u.st = first[i];
    }
    w->result.batched += count > 1;
}

void world_relay_send(world *w, int index)
{
    relay *r = &w->relays[index];

    for (int at = 0; at < r->out_count; at += BATCH) {
        bool twice = !w->quiet && world_chance(w, w->doubles);
        for (int i = 0; i < 1 + twice; i++)
            if ((w->quiet || !world_chance(w, w->loss)) && !r->cut)
                send_command(w, index, &r->out[at], GW_MIN(r->out_count - at, BATCH),
                             world_between(w, 1, 4) + (i ? world_between(w, 0, 180) : 0));
    }
    r->out_count = 0;
}

static bool on_load(void *arg, const char *subject, int64_t load, int64_t day, bool fresh)
{
    book_arg *a = arg;
    happening *h = world_later(a->world, world_between(a->world, 1, 10), LOAD_USAGE, a->relay);

    h->key = world_ledger_of(subject);
    h->u.load.load = load;
    h->u.load.day = day;
    h->u.load.fresh = fresh;
    return true;
}

static int64_t on_row_open(void *arg, const char *holder, const char *subject)
{
    book_arg *a = arg;
    spool *s = &a->world->relays[a->relay].spool;

    for (int i = 0; i < ROWS; i++) {
        int64_t id = ++s->row_id;
        if (id % ROWS == 0)
            id = ++s->row_id;
        if (s->rows[id % ROWS].live)
            continue;
        s->rows[id % ROWS].live = true;
        s->rows[id % ROWS].row = (ledger_row){.id = id};
        (void)snprintf(s->rows[id % ROWS].row.subject, LEDGER_SUBJECT_SIZE, "%s", subject);
        (void)snprintf(s->rows[id % ROWS].row.holder, LEDGER_HOLDER_SIZE, "%s", holder);
        return id;
    }
    return 0;
}

static void on_row_load(void *arg, int64_t row, int64_t load)
{
    book_arg *a = arg;

    a->world->relays[a->relay].spool.rows[row % ROWS].row.load = load;
}

static void on_row_close(void *arg, int64_t row)
{
    book_arg *a = arg;

    a->world->relays[a->relay].spool.rows[row % ROWS].live = false;
}

static const grant_book_ops book_ops = {.state = on_state,
                                        .load = on_load,
                                        .row_open = on_row_open,
                                        .row_load = on_row_load,
                                        .row_close = on_row_close};

void world_relay_start(world *w, int index)
{
    relay *r = &w->relays[index];
    grant_book_options o = {.ops = &book_ops, .arg = &w->book_args[index], .timers = w->timers};

    r->up = true;
    r->epoch++;
    r->spool.boot++;
    (void)snprintf(o.holder, sizeof(o.holder), "s%d-%d.%lld.0", index, w->gone,
                   (long long)r->spool.boot);
    r->book = grant_book_new(&o);
    memcpy(r->limits, w->limits, sizeof(r->limits));
    for (request *q = r->requests; q; q = q->next) {
        if (!q->open)
            continue;
        for (int level = 0; level < LEDGER_LEVELS; level++)
            if (q->mark.row[level] > 0)
                q->mark.load[level] = r->spool.rows[q->mark.row[level] % ROWS].row.load;
        q->open = false;
        w->interrupted = true;
        if (w->mutant != WORLD_OPEN_NOT_BILLED)
            world_spool_record(w, r, q->key, &q->mark, q->take.parts[0].day, &q->take.hold);
    }
    for (int i = 0; i < ROWS; i++)
        if (w->mutant != WORLD_NO_FINAL && r->spool.rows[i].live &&
            !grant_book_close_row(r->book, &r->spool.rows[i].row, &r->spool.rows[i].sums))
            abort();
    world_later(w, 1, TURN, index);
    world_later(w, world_between(w, 1, HEART_MS), HEART, index);
    world_later(w, 5, SHIP, index);
}

void world_relay_kill(world *w, int index, bool gone)
{
    relay *r = &w->relays[index];

    if (!r->up)
        return;
    r->up = false;
    r->epoch++;
    for (request *q = r->requests; q; q = q->next)
        if (q->open)
            world_count_in_flight(w, q, -1);
    grant_book_free(r->book);
    r->book = NULL;
    if (gone) {
        w->gone = true;
        for (request *q = r->requests; q; q = q->next)
            q->open = false;
        world_usage_apply(
            w, r); /* what usage has is usage's; the rest is lost with the counted position */
        memset(&r->spool, 0, sizeof(r->spool));
        r->spool.boot = 100 + w->order;
    }
    happening *h = world_later(w, (int64_t[]){20, 200, 900}[world_between(w, 0, 2)], START, index);
    h->epoch = r->epoch;
}
