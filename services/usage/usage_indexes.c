#include "usage_indexes.h"

#include "usage_collections.h"

#include <stdio.h>

#define SECONDS_A_DAY  (24LL * 3600)
#define EXPIRY_OF_ROWS "timestamp_1"
#define SPEC_BYTES     512

/* An index that exists keeps its expiry; collMod changes it. */
static gw_status set_expiry(mongoc_database_t *db, int64_t seconds, gw_error *err)
{
    bson_error_t e;
    bson_t reply;
    bson_t *command =
        BCON_NEW("collMod", BCON_UTF8(COLLECTION_ROWS), "index", "{", "name",
                 BCON_UTF8(EXPIRY_OF_ROWS), "expireAfterSeconds", BCON_INT64(seconds), "}");
    gw_status rc = GW_OK;
    if (!mongoc_database_write_command_with_opts(db, command, NULL, &reply, &e))
        rc = gw_mongo_fail(err, &e, &reply, "change the expiry of rows");
    bson_destroy(&reply);
    bson_destroy(command);
    return rc;
}

static gw_status ensure_rows(mongoc_database_t *db, int64_t retention_days, gw_error *err)
{
    char spec[SPEC_BYTES];
    int64_t seconds = retention_days * SECONDS_A_DAY;
    gw_status rc = gw_mongo_ensure_indexes(
        db, COLLECTION_ROWS,
        "[{\"name\":\"apiKeyId_1_timestamp_1\",\"key\":{\"apiKeyId\":1,\"timestamp\":1}},"
        "{\"name\":\"requestId_1\",\"key\":{\"requestId\":1}}]",
        err);
    if (rc != GW_OK)
        return rc;
    (void)snprintf(spec, sizeof(spec),
                   "[{\"name\":\"" EXPIRY_OF_ROWS
                   "\",\"key\":{\"timestamp\":1},\"expireAfterSeconds\":%lld}]",
                   (long long)seconds);
    rc = gw_mongo_ensure_indexes(db, COLLECTION_ROWS, spec, err);
    return rc == GW_ERR_FAILED_PRECONDITION ? set_expiry(db, seconds, err) : rc;
}

gw_status usage_indexes_ensure(mongoc_database_t *db, int64_t retention_days, gw_error *err)
{
    static const struct {
        const char *collection;
        const char *spec;
    } indexes[] = {
        {COLLECTION_HOURS, "[{\"name\":\"apiKeyId_1_date_1\",\"key\":{\"apiKeyId\":1,\"date\":1}},"
                           "{\"name\":\"dirty_1\",\"key\":{\"dirty\":1},"
                           "\"partialFilterExpression\":{\"dirty\":true}}]"},
        {COLLECTION_DAYS, "[{\"name\":\"apiKeyId_1_date_1\",\"key\":{\"apiKeyId\":1,\"date\":1},"
                          "\"unique\":true}]"},
        {COLLECTION_TOTALS, "[{\"name\":\"date_1\",\"key\":{\"date\":1},\"unique\":true}]"},
        {COLLECTION_SPOOLS, "[{\"name\":\"claimedAt_of_claims\",\"key\":{\"claimedAt\":1},"
                            "\"partialFilterExpression\":{\"p\":{\"$exists\":true}}}]"},
    };
    gw_status rc = ensure_rows(db, retention_days, err);
    for (size_t i = 0; i < GW_ARRAY_LEN(indexes) && rc == GW_OK; i++)
        rc = gw_mongo_ensure_indexes(db, indexes[i].collection, indexes[i].spec, err);
    return rc;
}
