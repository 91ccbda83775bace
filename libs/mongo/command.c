#include "mongo/command.h"

#include "loop/loop.h"
#include "tls/tls_files.h"

#define WAIT_MS 30000 /* for MongoDB to answer */

typedef struct process {
    const gw_mongo_command *command;
    gw_loop *loop;
    gw_mongo *mongo;
    gw_mongo_job job;
    gw_timer wait;
    gw_status rc;
    gw_error error;
} process;

static gw_status run(gw_mongo_job *j, mongoc_client_t *client, mongoc_database_t *database,
                     gw_error *err)
{
    (void)client;
    process *p = GW_CONTAINER_OF(j, process, job);
    const gw_db d = {database, j->mongo};
    return p->command->run(p->command->arg, &d, err);
}

static void ran(gw_mongo_job *j, gw_status rc, const gw_error *err)
{
    process *p = GW_CONTAINER_OF(j, process, job);
    p->rc = rc;
    if (rc != GW_OK)
        p->error = *err;
    gw_loop_stop(p->loop);
}

static void begin(void *arg)
{
    process *p = arg;
    gw_timer_cancel(p->loop, &p->wait);
    p->job = (gw_mongo_job){.run = run, .done = ran};
    gw_mongo_submit(p->mongo, &p->job);
}

static void give_up(void *arg)
{
    process *p = arg;
    p->rc = gw_fail(&p->error, GW_ERR_UNAVAILABLE, "MongoDB does not answer");
    gw_loop_stop(p->loop);
}

gw_status gw_mongo_command_run(const gw_mongo_command *c, gw_log *log, gw_error *err)
{
    gw_auto(gw_loop) loop = NULL;
    gw_auto(gw_tls_files) tls = NULL;
    gw_auto(gw_mongo) mongo = NULL;
    process p = {.command = c};
    gw_mongo_options options = gw_mongo_defaults;
    options.uri = c->uri;
    options.database = c->database;
    options.app_name = c->name;
    options.threads = c->threads;
    const gw_tls_paths paths = {.ca_file = c->ca_file};
    gw_status rc = gw_loop_new(&gw_system_clock, &loop, err);
    if (rc == GW_OK && paths.ca_file)
        rc = gw_tls_files_new(loop, &paths, log, &tls, err);
    options.tls = tls;
    if (rc == GW_OK)
        rc = gw_mongo_new(loop, &options, log, &mongo, err);
    if (rc != GW_OK)
        return rc;
    p.loop = loop;
    p.mongo = mongo;
    gw_timer_init(&p.wait, give_up, &p);
    gw_timer_set(loop, &p.wait, WAIT_MS);
    gw_mongo_when_up(mongo, begin, &p);
    gw_loop_run(loop);
    if (p.rc != GW_OK)
        *err = p.error;
    return p.rc;
}
