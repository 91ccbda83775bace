#include "import_command.h"

#include "import.h"
#include "key_store.h"

#include "mongo/command.h"

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

typedef struct command {
    import_options options;
    int64_t made;
} command;

static gw_status run(void *arg, const gw_db *d, gw_error *err)
{
    command *c = arg;
    gw_status rc = key_store_ensure_indexes(d->database, err);
    return rc == GW_OK ? import_run(d, &c->options, &c->made, err) : rc;
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
    const gw_mongo_command in_db = {.name = "auth import",
                                    .uri = conf->mongo_uri,
                                    .database = conf->mongo_database,
                                    .ca_file = conf->mongo_ca_file,
                                    .threads = 2,
                                    .run = run,
                                    .arg = &c};
    gw_status rc = gw_mongo_command_run(&in_db, log, &err);
    if (out != stdout)
        fclose(out);
    if (rc == GW_OK)
        gw_log_info(log, "import_done", gw_kv("made", c.made));
    else
        gw_log_error(log, "import_failed", gw_kv("made", c.made), gw_kv_error(&err));
    return rc == GW_OK ? 0 : 1;
}
