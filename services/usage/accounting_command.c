#include "accounting_command.h"

#include "doc_store_mongo.h"
#include "event_row.h"
#include "rebuild.h"
#include "rejects.h"
#include "spool_care.h"
#include "usage_collections.h"

#include "core/clock.h"
#include "mongo/command.h"

#include <stdio.h>

#define EXIT_FAILED   1
#define EXIT_USAGE    2
#define EXIT_DIFFERED 3

typedef struct command {
    const usage_conf *conf;
    int64_t now_ms;
    int64_t from_ms, to_ms;
    gw_status (*run)(struct command *c, const gw_db *d, gw_error *err);
    int exit_status;
} command;

/* ---- the commands, on a worker ---- */

static void print_difference(void *arg, const rebuild_difference *d)
{
    (void)arg;
    (void)printf("{\"hour\":\"%s\",\"path\":\"%s\",\"stored\":%lld,\"computed\":%lld}\n",
                 d->hour_id, d->path, (long long)d->stored, (long long)d->computed);
}

static gw_status run_rebuild(command *c, const gw_db *d, gw_error *err)
{
    doc_store_mongo store;
    spool_db s = {.store = doc_store_mongo_init(&store, d), .now_ms = c->now_ms};
    touched_days touched = {0};
    rebuild_report r;
    const rebuild_options o = {.from_ms = c->from_ms,
                               .to_ms = c->to_ms,
                               .retention_ms = c->conf->retention_days * GW_MS_PER_DAY,
                               .dry_run = c->conf->dry_run,
                               .on_difference = print_difference};
    gw_status rc = rebuild_run(&s, &o, &r, &touched, err);
    touched_days_fini(&touched); /* dirty hours: the service folds their days */
    (void)printf("{\"hours\":%lld,\"documents\":%lld,\"rows\":%lld,\"differingDocuments\":%lld,"
                 "\"differingFigures\":%lld,\"rewrittenDocuments\":%lld,\"keptDocuments\":%lld}\n",
                 (long long)r.hours, (long long)r.documents, (long long)r.rows,
                 (long long)r.differing, (long long)r.differences, (long long)r.rewritten,
                 (long long)r.kept);
    if (r.differences > 0)
        c->exit_status = EXIT_DIFFERED;
    return rc;
}

static gw_status print_document(void *arg, const bson_t *doc, gw_error *err)
{
    (void)arg;
    char *text = bson_as_relaxed_extended_json(doc, NULL);
    if (!text)
        return gw_fail(err, GW_ERR_NO_MEMORY, "no memory to print a document");
    (void)puts(text);
    bson_free(text);
    return GW_OK;
}

static gw_status print_all(const gw_db *d, const char *collection, const bson_t *filter,
                           const char *without, gw_error *err)
{
    bson_t *opts = BCON_NEW("projection", "{", without, BCON_INT32(0), "}", "sort", "{", "_id",
                            BCON_INT32(1), "}");
    gw_status rc = gw_db_find(d, collection, filter, opts, print_document, NULL, err);
    bson_destroy(opts);
    return rc;
}

static gw_status run_rejects_list(command *c, const gw_db *d, gw_error *err)
{
    gw_db_auto_bson filter = BSON_INITIALIZER;
    if (c->conf->reason)
        (void)BSON_APPEND_UTF8(&filter, "reason", c->conf->reason);
    return print_all(d, COLLECTION_REJECTS, &filter, "raw", err);
}

/* Until nothing more passes. */
static gw_status run_rejects_replay(command *c, const gw_db *d, gw_error *err)
{
    const reject_filter f = {.reason = gw_str_of(c->conf->reason), .limit = REJECTS_A_REPLAY};
    int64_t retention_ms = c->conf->retention_days * GW_MS_PER_DAY;
    reject_outcome one = {.replayed = 1};
    int64_t replayed = 0;
    touched_days touched = {0};
    gw_status rc = rejects_recover(d, c->now_ms, GW_MS_PER_S * 60, &touched, err);
    while (rc == GW_OK && one.replayed > 0) {
        rc = rejects_replay(d, &f, c->now_ms, retention_ms, &one, &touched, err);
        replayed += one.replayed;
    }
    touched_days_fini(&touched);
    (void)printf("{\"replayed\":%lld,\"stillRejected\":%lld,\"duplicates\":%lld}\n",
                 (long long)replayed, (long long)one.still_rejected, (long long)one.duplicates);
    return rc;
}

static gw_status run_spool_list(command *c, const gw_db *d, gw_error *err)
{
    gw_db_auto_bson all = BSON_INITIALIZER;
    (void)c;
    return print_all(d, COLLECTION_SPOOLS, &all, "p", err);
}

static gw_status run_spool_lost(command *c, const gw_db *d, gw_error *err)
{
    const char *id = c->conf->base.args[2];
    gw_db_auto_bson filter = BSON_INITIALIZER;
    gw_status rc = spool_care_lose(d, id, GW_STR("command line"), c->now_ms, err);
    (void)BSON_APPEND_UTF8(&filter, "S", id);
    return rc == GW_OK ? print_all(d, COLLECTION_LOSSES, &filter, "boot", err) : rc;
}

/* ---- which one is meant ---- */

static bool check_reason(const command *c, gw_error *err)
{
    if (!c->conf->reason || event_reason_is_known(gw_str_of(c->conf->reason)))
        return true;
    (void)gw_fail(err, GW_ERR_INVALID_ARGUMENT, "--reason: must be one of %s", EVENT_REASONS);
    return false;
}

static bool parse_times(command *c, gw_error *err)
{
    if (gw_rfc3339_parse(gw_str_of(c->conf->from), &c->from_ms) &&
        gw_rfc3339_parse(gw_str_of(c->conf->to), &c->to_ms) && c->from_ms < c->to_ms)
        return true;
    (void)gw_fail(err, GW_ERR_INVALID_ARGUMENT,
                  "usage rebuild --from 2026-11-23T00:00:00Z --to … [--dry-run]: from before to");
    return false;
}

static const struct {
    const char *words[2];
    size_t args;
    gw_status (*run)(command *c, const gw_db *d, gw_error *err);
} commands[] = {
    {{"rebuild", NULL}, 1, run_rebuild},
    {{"rejects", "list"}, 2, run_rejects_list},
    {{"rejects", "replay"}, 2, run_rejects_replay},
    {{"spool", "list"}, 2, run_spool_list},
    {{"spool", "lost"}, 3, run_spool_lost},
};

static bool find_command(command *c)
{
    const gw_conf_base *base = &c->conf->base;
    for (size_t i = 0; i < GW_ARRAY_LEN(commands); i++) {
        bool fits = base->n_args == commands[i].args &&
                    strcmp(base->args[0], commands[i].words[0]) == 0 &&
                    (!commands[i].words[1] || strcmp(base->args[1], commands[i].words[1]) == 0);
        if (fits) {
            c->run = commands[i].run;
            return true;
        }
    }
    return false;
}

static gw_status run(void *arg, const gw_db *d, gw_error *err)
{
    command *c = arg;
    return c->run(c, d, err);
}

bool accounting_command(const usage_conf *conf, gw_log *log, int *ret_exit_status)
{
    command c = {.conf = conf, .now_ms = gw_clock_wall_ms(&gw_system_clock)};
    gw_error err = {0};
    if (!find_command(&c))
        return false;
    *ret_exit_status = EXIT_USAGE;
    if (!check_reason(&c, &err) || (c.run == run_rebuild && !parse_times(&c, &err))) {
        gw_log_error(log, "command_failed", gw_kv_error(&err));
        return true;
    }
    const gw_mongo_command in_db = {.name = "usage command",
                                    .uri = conf->mongo_uri,
                                    .database = conf->mongo_database,
                                    .ca_file = conf->mongo_ca_file,
                                    .threads = 2,
                                    .run = run,
                                    .arg = &c};
    if (gw_mongo_command_run(&in_db, log, &err) != GW_OK) {
        gw_log_error(log, "command_failed", gw_kv_error(&err));
        c.exit_status = EXIT_FAILED;
    }
    *ret_exit_status = c.exit_status;
    return true;
}
