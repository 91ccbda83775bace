#include "librechat_db.h"

#include <stdlib.h>

bool librechat_db_init(librechat_db *d, gw_mongo *m, const char *name)
{
    *d = (librechat_db){.mongo = m, .name = gw_str_dup(gw_str_of(name))};
    return d->name != NULL;
}

void librechat_db_fini(librechat_db *d)
{
    free(d->name);
}

static gw_status run_job(gw_mongo_job *j, mongoc_client_t *client, mongoc_database_t *db,
                         gw_error *err)
{
    librechat_read *r = GW_CONTAINER_OF(j, librechat_read, job);
    gw_db_auto_reader librechat = gw_db_reader_open(client, r->db->name);

    (void)db;
    if (!librechat)
        return gw_fail(err, GW_ERR_NO_MEMORY, "no memory to read LibreChat's database");
    return r->run(r, librechat, err);
}

static void job_done(gw_mongo_job *j, gw_status rc, const gw_error *err)
{
    librechat_read *r = GW_CONTAINER_OF(j, librechat_read, job);

    r->done(r, rc, err);
}

void librechat_read_start(librechat_read *r, const librechat_db *d)
{
    r->db = d;
    r->job = (gw_mongo_job){.run = run_job, .done = job_done};
    gw_mongo_submit(d->mongo, &r->job);
}
