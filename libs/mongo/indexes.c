#include "mongo/mongo.h"

static bool parse_spec(const char *spec_json, bson_t *ret, bson_error_t *e)
{
    /* libbson reads documents only, so the array is wrapped in one. */
    gw_auto_buf text = {0};
    gw_buf_appendf(&text, "{\"indexes\":%s}", spec_json);
    if (gw_buf_failed(&text)) {
        bson_set_error(e, 0, 0, "out of memory");
        return false;
    }
    return bson_init_from_json(ret, text.data, (ssize_t)text.len, e);
}

gw_status gw_mongo_ensure_indexes(mongoc_database_t *db, const char *collection,
                                  const char *spec_json, gw_error *err)
{
    bson_t command = BSON_INITIALIZER;
    bson_t reply;
    bson_t spec;
    bson_error_t e = {0};
    gw_status rc = GW_OK;

    if (!parse_spec(spec_json, &spec, &e)) {
        bson_destroy(&command);
        return gw_fail(err, GW_ERR_INTERNAL, "the index specification of %s is no JSON: %s",
                       collection, e.message);
    }
    BSON_APPEND_UTF8(&command, "createIndexes", collection); /* a command's name comes first */
    (void)bson_concat(&command, &spec);
    if (!mongoc_database_write_command_with_opts(db, &command, NULL, &reply, &e)) {
        rc = gw_mongo_fail(err, &e, &reply, "make the indexes");
        gw_error_prefix(err, "%s", collection);
    }
    bson_destroy(&reply);
    bson_destroy(&spec);
    bson_destroy(&command);
    return rc;
}
