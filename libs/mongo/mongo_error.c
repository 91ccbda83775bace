#include "mongo/mongo.h"

/* Server codes: https://github.com/mongodb/mongo/blob/master/src/mongo/base/error_codes.yml */
enum {
    CODE_HOST_UNREACHABLE = 6,
    CODE_HOST_NOT_FOUND = 7,
    CODE_UNAUTHORIZED = 13,
    CODE_AUTHENTICATION_FAILED = 18,
    CODE_LOCK_TIMEOUT = 24,
    CODE_MAX_TIME_MS_EXPIRED = 50,
    CODE_WRITE_CONCERN_FAILED = 64,
    CODE_INDEX_OPTIONS_CONFLICT = 85,
    CODE_INDEX_KEY_SPECS_CONFLICT = 86,
    CODE_NETWORK_TIMEOUT = 89,
    CODE_SHUTDOWN_IN_PROGRESS = 91,
    CODE_WRITE_CONFLICT = 112,
    CODE_READ_PREFERENCE_NOT_SATISFIED = 133,
    CODE_READ_MAJORITY_NOT_YET = 134,
    CODE_PRIMARY_STEPPED_DOWN = 189,
    CODE_EXCEEDED_TIME_LIMIT = 262,
    CODE_SOCKET_EXCEPTION = 9001,
    CODE_LEGACY_NOT_PRIMARY = 10058,
    CODE_NOT_WRITABLE_PRIMARY = 10107,
    CODE_DUPLICATE_KEY = 11000,
    CODE_INTERRUPTED_AT_SHUTDOWN = 11600,
    CODE_INTERRUPTED_BY_REPLICA_STATE = 11602,
    CODE_LEGACY_DUPLICATE_KEY_CAPPED = 12582,
    CODE_NOT_PRIMARY_NO_SECONDARY_OK = 13435,
    CODE_NOT_PRIMARY_OR_SECONDARY = 13436,
    CODE_OUT_OF_DISK_SPACE = 14031,
};

static bool is_duplicate_code(int64_t code)
{
    return code == CODE_DUPLICATE_KEY || code == CODE_DUPLICATE_KEY + 1 ||
           code == CODE_LEGACY_DUPLICATE_KEY_CAPPED;
}

/* A bulk write reports each refused document; one refused for another reason is the worse news. */
static bool all_write_errors_are_duplicates(const bson_t *reply)
{
    bson_iter_t errors;
    bson_iter_t item;
    bson_iter_t code;
    bool any = false;

    if (!reply || !bson_iter_init_find(&errors, reply, "writeErrors") ||
        !BSON_ITER_HOLDS_ARRAY(&errors) || !bson_iter_recurse(&errors, &item))
        return false;
    while (bson_iter_next(&item)) {
        if (!BSON_ITER_HOLDS_DOCUMENT(&item) || !bson_iter_recurse(&item, &code) ||
            !bson_iter_find(&code, "code") || !is_duplicate_code(bson_iter_as_int64(&code)))
            return false;
        any = true;
    }
    return any;
}

static bool has_write_errors(const bson_t *reply)
{
    bson_iter_t at;
    bson_iter_t item;
    return reply && bson_iter_init_find(&at, reply, "writeErrors") && BSON_ITER_HOLDS_ARRAY(&at) &&
           bson_iter_recurse(&at, &item) && bson_iter_next(&item);
}

bool gw_mongo_is_duplicate_key(const bson_error_t *e, const bson_t *reply)
{
    if (has_write_errors(reply))
        return all_write_errors_are_duplicates(reply);
    return is_duplicate_code((int64_t)e->code);
}

static gw_status status_of_server_code(uint32_t code)
{
    switch (code) {
    case CODE_HOST_UNREACHABLE:
    case CODE_HOST_NOT_FOUND:
    case CODE_NETWORK_TIMEOUT:
    case CODE_SHUTDOWN_IN_PROGRESS:
    case CODE_READ_PREFERENCE_NOT_SATISFIED:
    case CODE_READ_MAJORITY_NOT_YET:
    case CODE_PRIMARY_STEPPED_DOWN:
    case CODE_SOCKET_EXCEPTION:
    case CODE_LEGACY_NOT_PRIMARY:
    case CODE_NOT_WRITABLE_PRIMARY:
    case CODE_INTERRUPTED_AT_SHUTDOWN:
    case CODE_INTERRUPTED_BY_REPLICA_STATE:
    case CODE_NOT_PRIMARY_NO_SECONDARY_OK:
    case CODE_NOT_PRIMARY_OR_SECONDARY:
    case CODE_OUT_OF_DISK_SPACE:
        return GW_ERR_UNAVAILABLE;
    case CODE_WRITE_CONFLICT:
        return GW_ERR_ABORTED;
    case CODE_LOCK_TIMEOUT:
    case CODE_MAX_TIME_MS_EXPIRED:
    case CODE_WRITE_CONCERN_FAILED:
    case CODE_EXCEEDED_TIME_LIMIT:
        return GW_ERR_DEADLINE_EXCEEDED;
    case CODE_UNAUTHORIZED:
    case CODE_AUTHENTICATION_FAILED:
    case CODE_INDEX_OPTIONS_CONFLICT:
    case CODE_INDEX_KEY_SPECS_CONFLICT:
        return GW_ERR_FAILED_PRECONDITION;
    default:
        return GW_ERR_INTERNAL;
    }
}

static gw_status status_of(const bson_error_t *e)
{
    switch (e->domain) {
    case MONGOC_ERROR_STREAM:
    case MONGOC_ERROR_SERVER_SELECTION:
        return GW_ERR_UNAVAILABLE;
    case MONGOC_ERROR_CLIENT:
        /* MONGOC_ERROR_CLIENT_NOT_READY and friends: no server could be used. */
        return e->code == MONGOC_ERROR_CLIENT_AUTHENTICATE ? GW_ERR_FAILED_PRECONDITION
               : e->code == MONGOC_ERROR_CLIENT_NOT_READY  ? GW_ERR_UNAVAILABLE
                                                           : GW_ERR_INTERNAL;
    case MONGOC_ERROR_SASL:
    case MONGOC_ERROR_SCRAM:
        return GW_ERR_FAILED_PRECONDITION;
    case MONGOC_ERROR_SERVER:
    case MONGOC_ERROR_COMMAND:
    case MONGOC_ERROR_QUERY:
    case MONGOC_ERROR_WRITE_CONCERN:
        return status_of_server_code(e->code);
    default:
        return GW_ERR_INTERNAL;
    }
}

gw_status gw_mongo_fail(gw_error *err, const bson_error_t *e, const bson_t *reply, const char *what)
{
    /* The server's message would quote the value that exists twice. */
    if (gw_mongo_is_duplicate_key(e, reply))
        return gw_fail(err, GW_ERR_ALREADY_EXISTS, "%s: it exists already", what);
    /* Here it would quote the command, hashes and filters included. */
    if (e->code == CODE_UNAUTHORIZED && status_of(e) == GW_ERR_FAILED_PRECONDITION)
        return gw_fail(err, GW_ERR_FAILED_PRECONDITION,
                       "%s: MongoDB does not allow it to our user (MongoDB code %u)", what,
                       e->code);
    return gw_fail(err, status_of(e), "%s: %s (MongoDB code %u)", what, e->message, e->code);
}
