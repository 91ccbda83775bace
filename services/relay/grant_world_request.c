#include "grant_world_internal.h"

#include <stdio.h>
#include <stdlib.h>

static void admitted(world *w, request *q)
{
    int64_t today = ledger_day_of(world_wall_ms(w));

    w->result.admitted++;
    world_count_in_flight(w, q, 1);
    for (size_t i = 0; i < q->take.part_count; i++) {
        int64_t day = q->take.parts[i].day;
        int ledger = world_ledger_at(w, q->key, (int)q->take.parts[i].level);
        if (day != q->take.parts[0].day)
            VIOLATED(w, "cut in two days");
        if (w->skew == 0 && day != today)
            VIOLATED(w, "cut in day %lld, it is %lld", (long long)day, (long long)today);
        world_count_spend(w, ledger, &q->real, day);
        world_count_in_bucket(w, ledger);
    }
}

/* It has more now, and uses all of it. */
static void extended(world *w, request *q)
{
    w->result.extended++;
    for (size_t i = 0; i < q->take.part_count; i++) {
        int64_t day = q->take.parts[i].day;
        if (w->skew == 0 && day != ledger_day_of(world_wall_ms(w))) /* each day has limits */
            VIOLATED(w, "more for day %lld, which has ended", (long long)day);
        world_count_spend(w, world_ledger_at(w, q->key, (int)q->take.parts[i].level), &q->more.hold,
                          day);
    }
    for (int d = 0; d < LEDGER_WINDOWS; d++)
        q->real.of[d] += q->more.hold.of[d];
}

static void on_more(void *arg)
{
    request *q = arg;

    q->more_waits = false;
    if (q->more.outcome == GRANT_CUT)
        extended(q->world, q);
}

void world_request_extend(world *w, request *q)
{
    int64_t tokens = world_between(w, 5, 80), cost = world_between(w, 20, 900);

    q->more = (grant_take){.hold = {{0, tokens, tokens, cost}}, .done = on_more, .arg = q};
    q->more_waits =
        grant_book_extend(w->relays[q->relay].book, &q->take, &q->more, w->now) == GRANT_WAITS;
    if (q->more.outcome == GRANT_CUT)
        extended(w, q);
}

static void start_request(world *w, request *q)
{
    relay *r = &w->relays[q->relay];

    q->open = true;
    q->mark = grant_book_mark(&q->take, w->now);
    admitted(w, q);
    happening *h = world_later(w, q->duration_ms, SETTLE, q->relay);
    h->epoch = r->epoch;
    h->u.request = q;
    if (!world_chance(w, 0.3))
        return;
    h = world_later(w, q->duration_ms / 2, EXTEND, q->relay);
    h->epoch = r->epoch;
    h->u.request = q;
}

static void on_taken(void *arg)
{
    request *q = arg;
    world *w = q->world;

    if (q->take.outcome == GRANT_CUT)
        start_request(w, q);
    else if (q->take.outcome == GRANT_REFUSED)
        w->result.refused++;
    else
        w->result.unavailable++;
}

static grant_outcome take(world *w, relay *r, request *q)
{
    ledger_account accounts[LEDGER_LEVELS];
    size_t count = 0;

    for (int level = 0; level < LEDGER_LEVELS; level++) {
        int l = world_ledger_at(w, q->key, level);
        if (l < 0)
            continue;
        accounts[count].level = (ledger_level)level;
        accounts[count].limits = r->limits[l];
        (void)snprintf(accounts[count].subject, LEDGER_SUBJECT_SIZE, "%s", world_subjects[l]);
        count++;
    }
    return grant_book_take(r->book, accounts, count, &q->take, w->now);
}

void world_traffic(world *w)
{
    int first = (int)world_between(w, 0, w->relay_count - 1);
    int index = world_chance(w, 0.6) ? 0 : first;
    relay *r = &w->relays[index];

    if (w->quiet)
        return;
    if (r->up) {
        request *q = calloc(1, sizeof(*q));
        static const double parts[] = {0, 0, 0.1, 0.5, 1, 1};
        double part = parts[world_between(w, 0, 5)];
        q->world = w;
        q->relay = index;
        q->epoch = r->epoch;
        q->key = (int)world_between(w, 0, w->key_count - 1);
        int64_t tokens = world_between(w, 10, 80), cost = world_between(w, 50, 900);
        q->take.hold = (ledger_amounts){{1, tokens, tokens, cost}};
        q->real =
            (ledger_amounts){{1, (int64_t)((double)tokens * part), (int64_t)((double)tokens * part),
                              (int64_t)((double)cost * part)}};
        q->duration_ms = (int64_t[]){5, 30, 30, 100, 400, REQUEST_MAX_MS}[world_between(w, 0, 5)];
        q->take.done = on_taken;
        q->take.arg = q;
        q->next = r->requests;
        r->requests = q;
        if (take(w, r, q) != GRANT_WAITS)
            on_taken(q);
    }
    world_later(w,
                world_chance(w, 0.003) ? world_between(w, 400, 900)
                                       : world_between(w, 1, INT64_C(2) * w->demand),
                TRAFFIC, -1);
}

void world_request_settle(world *w, request *q)
{
    relay *r = &w->relays[q->relay];
    grant_mark mark = grant_book_mark(&q->take, w->now);

    if (q->more_waits)
        grant_book_forget(r->book, &q->more);
    q->more_waits = false;
    q->open = false;
    world_count_in_flight(w, q, -1);
    world_spool_record(w, r, q->key, &mark, q->take.parts[0].day, &q->real);
    grant_book_settle(r->book, &q->take, &q->real, w->now);
}
