#include "counted_names.h"

#include "event_name.h"
#include "usage_collections.h"

#include "core/clock.h"
#include "core/map.h"
#include "mongo/bson_read.h"

#include <pthread.h>
#include <stdlib.h>

#define FIGURES_BYTES 150 /* of one model in a document, its name not counted */
#define DAYS_KEPT     8
#define READ_AGAIN_MS 60000

typedef struct day_names {
    int64_t day_ms;
    int64_t read_ms, used_ms; /* 0: never */
    gw_map *names; /* the value says nothing; NULL: no day is here */
    size_t bytes; /* what they take in a document */
} day_names;

struct counted_names {
    pthread_mutex_t lock;
    day_names days[DAYS_KEPT];
};

counted_names *counted_names_new(void)
{
    counted_names *n = (counted_names *)calloc(1, sizeof(*n));
    if (n)
        (void)pthread_mutex_init(&n->lock, NULL);
    return n;
}

void counted_names_free(counted_names *n)
{
    if (!n)
        return;
    for (size_t i = 0; i < DAYS_KEPT; i++)
        gw_map_free(n->days[i].names);
    (void)pthread_mutex_destroy(&n->lock);
    free(n);
}

/* ---- under the lock ---- */

static day_names *day_that_is_here(counted_names *n, int64_t day_ms)
{
    for (size_t i = 0; i < DAYS_KEPT; i++)
        if (n->days[i].names && n->days[i].day_ms == day_ms)
            return &n->days[i];
    return NULL;
}

/* In the place of the day that was asked for the longest ago. NULL when out of memory. */
static day_names *day_of(counted_names *n, int64_t day_ms, int64_t now_ms)
{
    day_names *d = day_that_is_here(n, day_ms);
    if (!d) {
        d = &n->days[0];
        for (size_t i = 1; i < DAYS_KEPT; i++)
            if (n->days[i].used_ms < d->used_ms)
                d = &n->days[i];
        gw_map_free(d->names);
        *d = (day_names){.day_ms = day_ms, .names = gw_map_new(NULL)};
    }
    d->used_ms = now_ms;
    return d->names ? d : NULL;
}

static size_t bytes_of(gw_str model)
{
    return FIGURES_BYTES + gw_bson_key_bytes(model);
}

static bool add_name(day_names *d, gw_str model)
{
    if (!gw_map_put(d->names, model, d))
        return false;
    d->bytes += bytes_of(model);
    return true;
}

static bool take_name(day_names *d, gw_str model)
{
    if (gw_map_get(d->names, model))
        return true;
    return d->bytes + bytes_of(model) <= COUNTED_NAMES_BYTES && add_name(d, model);
}

/* ---- events ---- */

/* Whether a sum would be kept by a name that its caller may have made up. */
static bool next_named(const claim *c, claim_cursor *at, event_name *ret)
{
    while (claim_next(c, at))
        if (!at->reason && event_name_read(at->packed, ret) && ret->accepted_len > 0 &&
            !gw_str_eq(ret->model, ret->route))
            return true;
    return false;
}

/* Whether a name is new here, and others may have counted it since its day was read. */
static bool is_to_be_looked_up(const day_names *d, gw_str model, int64_t now_ms)
{
    if (!d)
        return true;
    return (d->read_ms == 0 || now_ms - d->read_ms >= READ_AGAIN_MS) &&
           !gw_map_get(d->names, model);
}

typedef struct claim_day {
    int64_t day_ms;
    bool is_to_be_read;
} claim_day;

/* The first day after `after_ms`. False when there is none. */
static bool next_day(counted_names *n, const spool_db *s, const claim *c, int64_t after_ms,
                     claim_day *ret)
{
    claim_cursor at = {0};
    event_name name;
    bool found = false;
    const day_names *names = NULL;
    (void)pthread_mutex_lock(&n->lock);
    while (next_named(c, &at, &name)) {
        int64_t day_ms = gw_day_start_ms(name.timestamp_ms);
        if (day_ms <= after_ms || (found && day_ms > ret->day_ms))
            continue;
        if (!found || day_ms < ret->day_ms) {
            *ret = (claim_day){.day_ms = day_ms};
            names = day_that_is_here(n, day_ms);
            found = true;
        }
        ret->is_to_be_read = ret->is_to_be_read || is_to_be_looked_up(names, name.model, s->now_ms);
    }
    (void)pthread_mutex_unlock(&n->lock);
    return found;
}

/* ---- what stands in the sums of a day ---- */

static gw_status add_counted(void *arg, const bson_t *total, gw_error *err)
{
    day_names *d = (day_names *)arg;
    bson_t models;
    bson_iter_t at;
    (void)err;
    if (!gw_bson_doc(total, "metrics.models", &models) || !bson_iter_init(&at, &models))
        return GW_OK;
    while (bson_iter_next(&at)) {
        gw_auto_buf name = {0};
        gw_bson_key_unescape(&name, gw_str_n(bson_iter_key(&at), bson_iter_key_len(&at)));
        if (!gw_buf_failed(&name) && !gw_map_get(d->names, gw_buf_str(&name)))
            (void)add_name(d, gw_buf_str(&name));
    }
    return GW_OK;
}

/* When it cannot be read, what this process knows has to do. */
static void read_day(const spool_db *s, day_names *ret)
{
    char id[ROLLUP_ID_SIZE];
    gw_error ignored;
    rollup_day_id(GW_STR(ALL_KEYS), ret->day_ms, id);
    bson_t *filter = BCON_NEW("_id", BCON_UTF8(id));
    bson_t *opts = BCON_NEW("projection", "{", "metrics.models", BCON_INT32(1), "}");
    if (ret->names && doc_store_find(s->store, COLLECTION_TOTALS, filter, opts, add_counted, ret,
                                     "read names of models", &ignored) == GW_OK)
        ret->read_ms = s->now_ms;
    bson_destroy(opts);
    bson_destroy(filter);
}

/* ---- one day of a claim ---- */

/* Under the lock. */
static void merge(day_names *d, const day_names *counted)
{
    size_t at = 0;
    gw_str name;
    void *value;
    if (counted->read_ms == 0)
        return;
    while (gw_map_next(counted->names, &at, &name, &value))
        if (!gw_map_get(d->names, name))
            (void)add_name(d, name);
    d->read_ms = counted->read_ms;
}

/*
 * `counted` is merged and names are taken under one lock, so that no other day, of this claim or of another, takes the day's place in
 * between. NULL: the day as it is here; false when it is not.
 */
static bool take_day(counted_names *n, const spool_db *s, claim *c, int64_t day_ms,
                     const day_names *counted, size_t *dropped)
{
    claim_cursor at = {0};
    event_name name;
    (void)pthread_mutex_lock(&n->lock);
    bool ok = counted || day_that_is_here(n, day_ms);
    day_names *d = ok ? day_of(n, day_ms, s->now_ms) : NULL;
    if (d && counted)
        merge(d, counted);
    while (ok && next_named(c, &at, &name)) {
        if (gw_day_start_ms(name.timestamp_ms) != day_ms || (d && take_name(d, name.model)))
            continue;
        event_name_drop(c->events.data + (at.packed.ptr - c->events.data), &name);
        ++*dropped;
    }
    (void)pthread_mutex_unlock(&n->lock);
    return ok;
}

static void bound_day(counted_names *n, const spool_db *s, claim *c, const claim_day *day,
                      size_t *dropped)
{
    day_names counted = {.day_ms = day->day_ms};
    if (!day->is_to_be_read && take_day(n, s, c, day->day_ms, NULL, dropped))
        return;
    counted.names = gw_map_new(NULL);
    read_day(s, &counted);
    (void)take_day(n, s, c, day->day_ms, &counted, dropped);
    gw_map_free(counted.names);
}

/* One day after another, however many there are: only DAYS_KEPT are kept. */
size_t counted_names_bound(counted_names *n, const spool_db *s, claim *c)
{
    size_t dropped = 0;
    claim_day day = {.day_ms = INT64_MIN};
    while (next_day(n, s, c, day.day_ms, &day))
        bound_day(n, s, c, &day, &dropped);
    return dropped;
}
