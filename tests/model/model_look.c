/* What is in the store of usage, and what must hold of it at any time. */
#include "model_audit.h"

#include "claim.h"
#include "event_row.h"
#include "spool_store.h"
#include "usage_collections.h"

#include "mongo/bson_read.h"

#include <stdio.h>

#define DAYS_MAX 64
/* All is up, and a sweep comes each 15 s for what is 15 s old; but several may be at it at once, and time leaps. */
#define CLAIM_AGE_MAX_MS 240000

/* ---- what is in the store ---- */

void audit_each(const memory_db *db, const char *collection, audit_fn each, void *arg)
{
    bson_t all = BSON_INITIALIZER;
    memory_db_find(db, collection, &all, NULL, each, arg);
}

static void look_at_spool(void *arg, const bson_t *d)
{
    world *w = arg;
    int64_t n = -1, done = -1;
    gw_str id = GW_STR_NULL;
    if (!gw_bson_str(d, "_id", &id) || !gw_bson_int64(d, "n", &n) ||
        !gw_bson_int64(d, "done", &done) || done > n)
        world_fail(w, "spool %.10s: done %lld is above n %lld", id.ptr ? id.ptr : "?",
                   (long long)done, (long long)n);
}

/* ---- days whose hours say that they are in it ---- */

typedef struct day_look {
    char id[ROLLUP_ID_SIZE];
    bool dirty;
    int64_t requests, tokens; /* of the hours */
    int64_t day_requests, day_tokens; /* as folded */
} day_look;

typedef struct days_look {
    day_look days[DAYS_MAX];
    size_t count;
} days_look;

static void add_requests(const bson_t *d, int64_t *requests, int64_t *tokens)
{
    int64_t n = 0;
    if (gw_bson_int64(d, "metrics.requests.total", &n))
        *requests += n;
    if (gw_bson_int64(d, "metrics.tokens.total", &n))
        *tokens += n;
}

static day_look *day_of(days_look *l, gw_str id)
{
    for (size_t i = 0; i < l->count; i++)
        if (gw_str_eq_c(id, l->days[i].id))
            return &l->days[i];
    if (l->count == DAYS_MAX || id.len >= ROLLUP_ID_SIZE)
        return NULL;
    day_look *d = &l->days[l->count++];
    *d = (day_look){0};
    memcpy(d->id, id.ptr, id.len);
    return d;
}

static void look_at_hour(void *arg, const bson_t *hour)
{
    gw_str id = GW_STR_NULL;
    bool dirty = false;
    (void)gw_bson_str(hour, "_id", &id);
    day_look *d = day_of(arg, gw_str_slice(id, 0, id.len - (sizeof("T00") - 1)));
    if (!d)
        return;
    d->dirty |= gw_bson_bool(hour, "dirty", &dirty) && dirty;
    add_requests(hour, &d->requests, &d->tokens);
}

static void look_at_day(void *arg, const bson_t *day)
{
    gw_str id = GW_STR_NULL;
    (void)gw_bson_str(day, "_id", &id);
    day_look *d = day_of(arg, id);
    if (d)
        add_requests(day, &d->day_requests, &d->day_tokens);
}

/*
 * Reports read a day from its document while none of its hours waits for the fold: then it is their sum, at any time. Only a crash may
 * leave a day with a claim that its hours have lost, until that claim is applied again.
 */
static void look_at_days(world *w)
{
    static days_look l;
    l.count = 0;
    audit_each(store_db(), COLLECTION_HOURS, look_at_hour, &l);
    audit_each(store_db(), COLLECTION_DAYS, look_at_day, &l);
    audit_each(store_db(), COLLECTION_TOTALS, look_at_day, &l);
    for (size_t i = 0; i < l.count; i++) {
        const day_look *d = &l.days[i];
        if (!d->dirty && (d->requests != d->day_requests || d->tokens != d->day_tokens))
            world_fail(w, "day %s has %lld requests, its hours %lld, and none waits for the fold",
                       d->id, (long long)d->day_requests, (long long)d->requests);
    }
}

static void note_claim(void *arg, const bson_t *d)
{
    *(bool *)arg |= bson_has_field(d, "p");
}

void usage_look(world *w)
{
    bool claimed = false;
    audit_each(store_db(), COLLECTION_SPOOLS, look_at_spool, w);
    audit_each(store_db(), COLLECTION_SPOOLS, note_claim, &claimed);
    w->taken_back &= claimed;
    if (!w->taken_back)
        look_at_days(w);
}

/* ---- on the way to rest ---- */

static void look_at_claim(void *arg, const bson_t *d)
{
    world *w = arg;
    gw_str id = GW_STR_NULL;
    int64_t n = 0;
    size_t i = 0;
    if (!bson_has_field(d, "p") || !gw_bson_str(d, "_id", &id) || !gw_bson_int64(d, "n", &n))
        return;
    while (i < w->claim_count && (w->claims[i].n != n || !gw_str_eq_c(id, w->claims[i].spool)))
        i++;
    if (i == CLAIMS_MAX)
        return;
    if (i == w->claim_count) {
        claim_seen *c = &w->claims[w->claim_count++];
        *c = (claim_seen){.n = n, .since_ms = w->mono_ms};
        (void)snprintf(c->spool, sizeof(c->spool), GW_STR_FMT, GW_STR_ARG(id));
    }
    int64_t age_ms = w->mono_ms - w->claims[i].since_ms;
    if (age_ms > CLAIM_AGE_MAX_MS)
        world_fail(w, "spool %s: its claim up to %lld is left behind, for %lld s by now",
                   w->claims[i].spool, (long long)n, (long long)age_ms / 1000);
}

void usage_look_for_old_claims(world *w)
{
    audit_each(store_db(), COLLECTION_SPOOLS, look_at_claim, w);
}

static void take_n(void *arg, const bson_t *d)
{
    (void)gw_bson_int64(d, "n", (int64_t *)arg);
}

int64_t audit_claimed(const memory_db *db, const char *id)
{
    int64_t n = -1;
    bson_t *by_id = BCON_NEW("_id", BCON_UTF8(id));
    memory_db_find(db, COLLECTION_SPOOLS, by_id, NULL, take_n, &n);
    bson_destroy(by_id);
    return n;
}

int64_t usage_claimed(const uint8_t spool_id[5])
{
    char hex[SPOOL_ID_SIZE];
    gw_hex_encode(spool_id, SPOOL_ID_BYTES, hex);
    return audit_claimed(store_db(), hex);
}

static void note_restless(void *arg, const bson_t *d)
{
    bool dirty = false;
    if (bson_has_field(d, "p") || (gw_bson_bool(d, "dirty", &dirty) && dirty))
        *(bool *)arg = true;
}

bool usage_is_quiet(void)
{
    bool restless = false;
    audit_each(store_db(), COLLECTION_SPOOLS, note_restless, &restless);
    audit_each(store_db(), COLLECTION_HOURS, note_restless, &restless);
    audit_each(store_db(), COLLECTION_OWNER_HOURS, note_restless, &restless);
    return !restless;
}

static void excuse_row(void *arg, const bson_t *d)
{
    gw_object_id id;
    if (gw_bson_oid(d, "_id", &id))
        world_excuse(arg, id.bytes);
}

static void excuse_claim(void *arg, const bson_t *d)
{
    bson_t p;
    claim c = {0};
    claim_cursor at = {0};
    if (!gw_bson_doc(d, "p", &p) || claim_parse(&p, &c, NULL) != GW_OK)
        return;
    while (claim_next(&c, &at)) {
        gw_object_id id;
        if (event_id_read(at.packed, &id))
            world_excuse(arg, id.bytes);
    }
    claim_fini(&c);
}

void usage_excuse_all(world *w)
{
    audit_each(store_db(), COLLECTION_ROWS, excuse_row, w);
    audit_each(store_expired(), COLLECTION_ROWS, excuse_row, w); /* its backup is as old */
    audit_each(store_db(), COLLECTION_REJECTS, excuse_row, w);
    audit_each(store_db(), COLLECTION_SPOOLS, excuse_claim, w);
}
