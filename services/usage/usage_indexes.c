#include "usage_indexes.h"

#include "alert_rules.h"
#include "usage_collections.h"

#include <stdio.h>

#define SECONDS_A_DAY (24LL * 3600)
#define SPEC_BYTES    512

/* ---- what expires: a date and a number of days ---- */

typedef struct expiry {
    const char *collection;
    const char *field; /* a date; documents without it stay */
    int64_t days;
} expiry;

static gw_status make_expiry(mongoc_database_t *db, const expiry *x, gw_error *err)
{
    char spec[SPEC_BYTES];
    (void)snprintf(spec, sizeof(spec),
                   "[{\"name\":\"%s_1\",\"key\":{\"%s\":1},\"expireAfterSeconds\":%lld}]", x->field,
                   x->field, (long long)(x->days * SECONDS_A_DAY));
    return gw_mongo_ensure_indexes(db, x->collection, spec, err);
}

/* `command` is consumed. */
static gw_status run_command(mongoc_database_t *db, bson_t *command, const char *what,
                             gw_error *err)
{
    bson_error_t e;
    bson_t reply;
    gw_status rc = GW_OK;
    if (!mongoc_database_write_command_with_opts(db, command, NULL, &reply, &e))
        rc = gw_mongo_fail(err, &e, &reply, what);
    bson_destroy(&reply);
    bson_destroy(command);
    return rc;
}

/* An index that exists keeps its expiry. collMod changes it in place; an index that it cannot change
 * (one made without expiry, on an old server) is made anew. */
static gw_status change_expiry(mongoc_database_t *db, const expiry *x, gw_error *err)
{
    char name[64];
    (void)snprintf(name, sizeof(name), "%s_1", x->field);
    gw_status rc = run_command(db,
                               BCON_NEW("collMod", BCON_UTF8(x->collection), "index", "{", "name",
                                        BCON_UTF8(name), "expireAfterSeconds",
                                        BCON_INT64(x->days * SECONDS_A_DAY), "}"),
                               "change an expiry", err);
    if (rc == GW_OK || rc == GW_ERR_UNAVAILABLE)
        return rc;
    rc =
        run_command(db, BCON_NEW("dropIndexes", BCON_UTF8(x->collection), "index", BCON_UTF8(name)),
                    "drop an expiry", err);
    return rc == GW_OK ? make_expiry(db, x, err) : rc;
}

static gw_status ensure_expiry(mongoc_database_t *db, const expiry *x, gw_error *err)
{
    gw_status rc = make_expiry(db, x, err);
    return rc == GW_ERR_FAILED_PRECONDITION ? change_expiry(db, x, err) : rc;
}

static gw_status ensure_expiries(mongoc_database_t *db, const usage_retention *keep, gw_error *err)
{
    const expiry all[] = {
        {COLLECTION_ROWS, "timestamp", keep->rows_days},
        {COLLECTION_SPOOLS, "seen", keep->spools_days},
        {COLLECTION_REJECTS, "at", keep->rejects_days},
        {COLLECTION_LOSSES, "at", keep->losses_days},
        {COLLECTION_ALERTS, "resolvedAt", keep->alerts_days},
    };
    gw_status rc = GW_OK;
    for (size_t i = 0; i < GW_ARRAY_LEN(all) && rc == GW_OK; i++)
        rc = ensure_expiry(db, &all[i], err);
    return rc;
}

gw_status usage_indexes_ensure(mongoc_database_t *db, const usage_retention *keep, gw_error *err)
{
    static const struct {
        const char *collection;
        const char *spec;
    } indexes[] = {
        /* {timestamp, _id} is the order of the log over all keys, and of its pages; lookAt that of librechat_join.h. */
        {COLLECTION_ROWS,
         "[{\"name\":\"apiKeyId_1_timestamp_1\",\"key\":{\"apiKeyId\":1,\"timestamp\":1}},"
         "{\"name\":\"timestamp_1__id_1\",\"key\":{\"timestamp\":1,\"_id\":1}},"
         "{\"name\":\"requestId_1\",\"key\":{\"requestId\":1}},"
         "{\"name\":\"librechat_lookAt_1\",\"key\":{\"librechat.lookAt\":1},"
         "\"partialFilterExpression\":{\"librechat.lookAt\":{\"$exists\":true}}}]"},
        /* {date} finds the hours, and the days, of all keys or owners at once: by them, and of a rebuild. */
        {COLLECTION_HOURS, "[{\"name\":\"apiKeyId_1_date_1\",\"key\":{\"apiKeyId\":1,\"date\":1}},"
                           "{\"name\":\"date_1\",\"key\":{\"date\":1}},"
                           "{\"name\":\"dirty_1_apiKeyId_1_date_1\","
                           "\"key\":{\"dirty\":1,\"apiKeyId\":1,\"date\":1},"
                           "\"partialFilterExpression\":{\"dirty\":true}}]"},
        {COLLECTION_OWNER_HOURS,
         "[{\"name\":\"apiKeyId_1_date_1\",\"key\":{\"apiKeyId\":1,\"date\":1}},"
         "{\"name\":\"date_1\",\"key\":{\"date\":1}},"
         "{\"name\":\"dirty_1_date_1\",\"key\":{\"dirty\":1,\"date\":1},"
         "\"partialFilterExpression\":{\"dirty\":true}}]"},
        {COLLECTION_DAYS, "[{\"name\":\"apiKeyId_1_date_1\",\"key\":{\"apiKeyId\":1,\"date\":1},"
                          "\"unique\":true},"
                          "{\"name\":\"date_1\",\"key\":{\"date\":1}}]"},
        {COLLECTION_BY_KEY, "[{\"name\":\"date_1\",\"key\":{\"date\":1},\"unique\":true}]"},
        {COLLECTION_OWNERS, "[{\"name\":\"date_1_apiKeyId_1\",\"key\":{\"date\":1,\"apiKeyId\":1},"
                            "\"unique\":true}]"},
        {COLLECTION_TOTALS, "[{\"name\":\"date_1\",\"key\":{\"date\":1},\"unique\":true}]"},
        {COLLECTION_REJECTS, "[{\"name\":\"replay_1\",\"key\":{\"replay\":1},"
                             "\"partialFilterExpression\":{\"replay\":{\"$exists\":true}}}]"},
        {COLLECTION_SPOOLS, "[{\"name\":\"claimedAt_of_claims\",\"key\":{\"claimedAt\":1},"
                            "\"partialFilterExpression\":{\"p\":{\"$exists\":true}}}]"},
    };
    gw_status rc = ensure_expiries(db, keep, err);
    for (size_t i = 0; i < GW_ARRAY_LEN(indexes) && rc == GW_OK; i++)
        rc = gw_mongo_ensure_indexes(db, indexes[i].collection, indexes[i].spec, err);
    return rc;
}
