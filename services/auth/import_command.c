#include "import_command.h"

#include "import.h"
#include "key_store.h"

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#define WAIT_MS 30000 /* for MongoDB to answer */

typedef struct command {
    gw_loop *loop;
    gw_mongo *mongo;
    gw_mongo_job job;
    gw_timer wait;
    import_options options;
    int64_t made;
    gw_status rc;
    gw_error error;
} command;

static gw_status run(gw_mongo_job *j, mongoc_client_t *client, mongoc_database_t *database,
                     gw_error *err)
{
    (void)client;
    command *c = GW_CONTAINER_OF(j, command, job);
    const gw_db d = {database, j->mongo};
    gw_status rc = key_store_ensure_indexes(database, err);
    return rc == GW_OK ? import_run(&d, &c->options, &c->made, err) : rc;
}

static void ran(gw_mongo_job *j, gw_status rc, const gw_error *err)
{
    command *c = GW_CONTAINER_OF(j, command, job);
    c->rc = rc;
    if (rc != GW_OK)
        c->error = *err;
    gw_loop_stop(c->loop);
}

static void begin(void *arg)
{
    command *c = arg;
    gw_timer_cancel(c->loop, &c->wait);
    c->job = (gw_mongo_job){.run = run, .done = ran};
    gw_mongo_submit(c->mongo, &c->job);
}

static void give_up(void *arg)
{
    command *c = arg;
    c->rc = gw_fail(&c->error, GW_ERR_UNAVAILABLE, "MongoDB does not answer");
    gw_loop_stop(c->loop);
}

static FILE *open_out(const char *path, gw_error *err)
{
    if (!path)
        return stdout;
    int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    FILE *f = fd >= 0 ? fdopen(fd, "w") : NULL;
    if (!f)
        (void)gw_fail(err, GW_ERR_IO, "%s: %s", path, strerror(errno));
    return f;
}

static gw_status run_loop(command *c, const auth_conf *conf, gw_log *log, gw_error *err)
{
    gw_auto(gw_loop) loop = NULL;
    gw_auto(gw_tls_files) tls = NULL;
    gw_auto(gw_mongo) mongo = NULL;
    gw_mongo_options options = gw_mongo_defaults;
    options.uri = conf->mongo_uri;
    options.database = conf->mongo_database;
    options.app_name = "auth import";
    options.threads = 2;
    const gw_tls_paths paths = {.ca_file = conf->mongo_ca_file};
    gw_status rc = gw_loop_new(&gw_system_clock, &loop, err);
    if (rc == GW_OK && paths.ca_file)
        rc = gw_tls_files_new(loop, &paths, log, &tls, err);
    options.tls = tls;
    if (rc == GW_OK)
        rc = gw_mongo_new(loop, &options, log, &mongo, err);
    if (rc != GW_OK)
        return rc;
    c->loop = loop;
    c->mongo = mongo;
    gw_timer_init(&c->wait, give_up, c);
    gw_timer_set(loop, &c->wait, WAIT_MS);
    gw_mongo_when_up(mongo, begin, c);
    gw_loop_run(loop);
    if (c->rc != GW_OK)
        *err = c->error;
    return c->rc;
}

int import_command(const auth_conf *conf, const peppers *p, gw_log *log)
{
    gw_error err = {0};
    FILE *out = conf->base.n_args == 2 ? open_out(conf->out, &err) : NULL;
    if (conf->base.n_args != 2)
        (void)gw_fail(&err, GW_ERR_INVALID_ARGUMENT, "usage: auth import FILE");
    if (!out) {
        gw_log_error(log, "import_failed", gw_kv_error(&err));
        return 2;
    }
    command c = {.options = {.peppers = p,
                             .path = conf->base.args[1],
                             .out = out,
                             .argon2 = conf->argon2,
                             .threads = (unsigned)conf->argon2_threads}};
    gw_status rc = run_loop(&c, conf, log, &err);
    if (out != stdout)
        fclose(out);
    if (rc == GW_OK)
        gw_log_info(log, "import_done", gw_kv("made", c.made));
    else
        gw_log_error(log, "import_failed", gw_kv("made", c.made), gw_kv_error(&err));
    return rc == GW_OK ? 0 : 1;
}
