#include "mongo/reader.h"

#include <stdlib.h>

struct gw_db_reader {
    mongoc_database_t *database;
};

gw_db_reader *gw_db_reader_open(mongoc_client_t *client, const char *database)
{
    gw_db_reader *r = calloc(1, sizeof(*r));
    if (r)
        r->database = mongoc_client_get_database(client, database);
    return r;
}

void gw_db_reader_close(gw_db_reader *r)
{
    if (!r)
        return;
    mongoc_database_destroy(r->database);
    free(r);
}

gw_status gw_db_reader_find(gw_db_reader *r, const char *collection, const bson_t *filter,
                            const bson_t *opts, gw_db_each_fn each, void *arg, gw_error *err)
{
    const gw_db d = {.database = r->database};
    return gw_db_find(&d, collection, filter, opts, each, arg, err);
}
