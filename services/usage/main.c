/* Wiring of usage: stores → access → queries, ingest → server; the rest is service/service.h. */
#include "accounting_command.h"
#include "doc_store_mongo.h"
#include "ingest.h"
#include "librechat_watch.h"
#include "usage_conf.h"
#include "usage_indexes.h"
#include "usage_metrics.h"
#include "usage_queries.h"

#include "access/access.h"
#include "crypto/crypto.h"
#include "rpc/client.h"
#include "schema/all.h"
#include "service/service.h"

#define INDEX_RETRY_MS 1000
#define SETTLE_POLL_MS 20
#define SETTLE_MAX_MS  5000

typedef struct app {
    gw_service *service;
    const usage_conf *conf;
    gw_log *log;
    gw_loop *loop;
    gw_metrics_shard *shard;
    gw_mongo *mongo;
    gw_redis *redis; /* NULL: live counters are this replica's own */
    gw_schema *schema;
    gw_rpc_pump *pump;
    gw_rpc_channel *auth;
    gw_access_checker *access;
    doc_pool *pool;
    fold_runner *folds;
    ingest *ingest;
    usage_queries *queries;
    librechat_watch *books; /* NULL: LibreChat's are not looked into */
    gw_rpc_server *server;
    gw_mongo_job index_job;
    usage_retention retention; /* of the job: a worker reads it */
    gw_timer timer; /* of the indexes, then of the drain */
    int64_t settle_until_ms;
    bool indexes_stand, draining;
    bool index_job_runs;
    bool indexes_due; /* again once the job is done: their expiry has changed */
} app;

/* ---- ready: when the indexes stand ---- */

static bool is_ready(void *arg, const char **reason)
{
    const app *a = (const app *)arg;
    if (!a->indexes_stand)
        *reason = gw_mongo_is_up(a->mongo) ? "indexes are being made" : "MongoDB does not answer";
    return a->indexes_stand;
}

static void set_serving(void *arg, bool serving)
{
    app *a = (app *)arg;
    gw_rpc_server_set_serving(a->server, serving);
}

static gw_status make_indexes(gw_mongo_job *j, mongoc_client_t *client, mongoc_database_t *db,
                              gw_error *err)
{
    (void)client;
    return usage_indexes_ensure(db, &GW_CONTAINER_OF(j, app, index_job)->retention, err);
}

static void indexes_made(gw_mongo_job *j, gw_status rc, const gw_error *err)
{
    app *a = GW_CONTAINER_OF(j, app, index_job);
    a->index_job_runs = false;
    if (a->draining)
        return;
    if (rc != GW_OK) {
        gw_log_warn(a->log, "indexes_failed", gw_kv_error(err));
        gw_timer_set(a->loop, &a->timer, INDEX_RETRY_MS);
        return;
    }
    a->indexes_stand = true;
    if (a->indexes_due)
        gw_timer_set(a->loop, &a->timer, 0);
}

static void start_indexes(void *arg)
{
    app *a = (app *)arg;
    a->indexes_due = a->index_job_runs;
    if (a->draining || a->index_job_runs)
        return;
    a->index_job_runs = true;
    a->retention = (usage_retention){.rows_days = a->conf->retention_days,
                                     .spools_days = a->conf->spool_retention_days,
                                     .rejects_days = a->conf->reject_retention_days,
                                     .losses_days = a->conf->loss_retention_days,
                                     .alerts_days = a->conf->alert_retention_days};
    gw_mongo_submit(a->mongo, &a->index_job);
}

/* ---- drain ---- */

/* What is claimed is applied before the process goes, if MongoDB takes it; else by whom the relay turns to. */
static void settle(void *arg)
{
    app *a = (app *)arg;
    if (!ingest_is_idle(a->ingest) && gw_mongo_is_up(a->mongo) &&
        gw_loop_now_ms(a->loop) < a->settle_until_ms) {
        gw_timer_set(a->loop, &a->timer, SETTLE_POLL_MS);
        return;
    }
    ingest_cut(a->ingest);
    gw_service_drained(a->service);
}

static void server_closed(void *arg)
{
    app *a = (app *)arg;
    a->server = NULL;
    a->settle_until_ms = gw_loop_now_ms(a->loop) + SETTLE_MAX_MS;
    gw_timer_init(&a->timer, settle, a);
    settle(a);
}

static void drain(void *arg)
{
    app *a = (app *)arg;
    a->draining = true;
    gw_timer_cancel(a->loop, &a->timer);
    fold_runner_stop(a->folds);
    ingest_stop(a->ingest);
    usage_queries_end_streams(a->queries);
    gw_rpc_server_close(a->server, a->conf->shutdown_grace_ms, server_closed, a);
}

/* ---- parts ---- */

static gw_status open_mongo(app *a, gw_error *err)
{
    gw_mongo_options mongo = gw_mongo_defaults;
    mongo.uri = a->conf->mongo_uri;
    mongo.database = a->conf->mongo_database;
    mongo.app_name = "usage";
    mongo.threads = (unsigned)a->conf->mongo_threads;
    const gw_tls_paths paths = {.ca_file = a->conf->mongo_ca_file};
    gw_status rc = gw_service_open_tls(a->service, &paths, &mongo.tls, err);
    return rc == GW_OK ? gw_mongo_new(a->loop, &mongo, a->log, &a->mongo, err) : rc;
}

static gw_status open_redis(app *a, gw_error *err)
{
    gw_redis_options redis = {.url = gw_str_of(a->conf->redis_url),
                              .password = gw_str_of(a->conf->redis_password)};
    if (!a->conf->redis_url)
        return GW_OK;
    const gw_tls_paths paths = {a->conf->redis_cert_file, a->conf->redis_key_file,
                                a->conf->redis_ca_file};
    gw_status rc = gw_service_open_tls(a->service, &paths, &redis.tls, err);
    if (rc == GW_OK)
        rc = gw_redis_new(a->loop, a->log, &redis, &a->redis, err);
    if (rc == GW_OK)
        gw_redis_connect(a->redis);
    return rc;
}

static gw_status open_access(app *a, gw_error *err)
{
    gw_status rc = gw_schema_all(&a->schema, err);
    if (rc == GW_OK)
        rc = gw_rpc_pump_new(a->loop, &a->pump, err);
    if (rc != GW_OK)
        return rc;
    gw_rpc_pump_describe(a->pump, a->schema, (gw_rpc_metrics){a->shard, M_rpc_server_calls_total});
    rc = gw_rpc_channel_new(a->pump, a->conf->auth_target, a->service->tls, a->log, &a->auth, err);
    if (rc != GW_OK)
        return rc;
    const gw_access_options options = {.tokens = a->service->tokens,
                                       .peers = a->service->peers,
                                       .auth = a->auth,
                                       .own_token = gw_service_own_token(a->service),
                                       .log = a->log};
    return gw_access_checker_new(a->loop, &options, &a->access, err);
}

static gw_status open_folds(app *a, gw_error *err)
{
    gw_status rc = doc_pool_mongo_new(a->mongo, &a->pool, err);
    return rc == GW_OK ? fold_runner_new(a->loop, a->pool, a->log, a->shard, &a->folds, err) : rc;
}

static spool_care spools_of(const usage_conf *c)
{
    return (spool_care){.silent_ms = c->spool_silent_ms, .lost_ms = c->spool_lost_ms};
}

static gw_status open_queries(app *a, gw_error *err)
{
    gw_auto_buf secret = {0};
    gw_status rc = gw_service_cursor_secret(a->service, a->conf->cursor_key_file, &secret, err);
    if (rc == GW_OK) {
        const usage_queries_options options = {.loop = a->loop,
                                               .mongo = a->mongo,
                                               .redis = a->redis,
                                               .auth = a->auth,
                                               .own_token = gw_service_own_token(a->service),
                                               .cursor_secret = gw_buf_str(&secret),
                                               .log = a->log,
                                               .metrics = a->shard,
                                               .folds = a->folds,
                                               .retention_ms =
                                                   a->conf->retention_days * GW_MS_PER_DAY,
                                               .spools = spools_of(a->conf)};
        rc = usage_queries_new(&options, &a->queries, err);
    }
    if (secret.data)
        gw_secret_wipe(secret.data, secret.len);
    return rc;
}

static gw_status open_books(app *a, gw_error *err)
{
    const librechat_watch_options options = {.loop = a->loop,
                                             .mongo = a->mongo,
                                             .database = a->conf->librechat_database,
                                             .log = a->log,
                                             .metrics = a->shard};
    if (!a->conf->librechat_database)
        return GW_OK;
    a->books = librechat_watch_new(&options);
    return a->books ? GW_OK : gw_fail(err, GW_ERR_NO_MEMORY, "no memory for LibreChat's books");
}

static void take_live(void *arg, const Apirelay__Usage__V1__Live *frame)
{
    live_shared_add(usage_queries_live((usage_queries *)arg), frame);
}

static ingest_limits limits_of(const usage_conf *c)
{
    return (ingest_limits){.retention_ms = c->retention_days * GW_MS_PER_DAY,
                           .memory_bytes = c->ingest_memory_bytes,
                           .window_bytes = c->ingest_window_bytes,
                           .claim_delay_ms = c->claim_delay_ms};
}

static gw_status open_ingest(app *a, gw_error *err)
{
    const ingest_options options = {.loop = a->loop,
                                    .pool = a->pool,
                                    .folds = a->folds,
                                    .log = a->log,
                                    .metrics = a->shard,
                                    .limits = limits_of(a->conf),
                                    .on_live = take_live,
                                    .live_arg = a->queries};
    return ingest_new(&options, &a->ingest, err);
}

static gw_status open_server(app *a, gw_error *err)
{
    const gw_rpc_server_options rpc = {.listen = a->conf->grpc_listen,
                                       .reflection = a->conf->grpc_reflection,
                                       .schema = a->schema,
                                       .authorizer = gw_access_authorizer(a->access),
                                       .metrics = {a->shard, M_rpc_server_calls_total},
                                       .connection_age_ms = a->conf->grpc_connection_age_ms,
                                       .connection_age_grace_ms =
                                           a->conf->grpc_connection_age_grace_ms,
                                       .tls = a->service->tls,
                                       .log = a->log};
    gw_status rc = gw_rpc_server_new(a->loop, &rpc, &a->server, err);
    if (rc == GW_OK)
        rc = gw_rpc_server_add(a->server, ingest_handlers(), a->ingest, err);
    if (rc == GW_OK)
        rc = usage_queries_register(a->queries, a->server, err);
    if (rc == GW_OK)
        rc = gw_rpc_server_start(a->server, err);
    if (rc != GW_OK)
        return rc;
    gw_rpc_server_set_serving(a->server, false); /* until the indexes stand */
    gw_log_info(a->log, "listening", gw_kv("grpc.port", (int64_t)gw_rpc_server_port(a->server)));
    gw_mongo_when_up(a->mongo, start_indexes, a);
    return GW_OK;
}

static void reload(void *arg)
{
    app *a = (app *)arg;
    const ingest_limits limits = limits_of(a->conf);
    ingest_adjust(a->ingest, &limits);
    gw_access_checker_set_own_token(a->access, gw_service_own_token(a->service));
    usage_queries_set_own_token(a->queries, gw_service_own_token(a->service));
    usage_queries_adjust(a->queries, limits.retention_ms, spools_of(a->conf));
    gw_mongo_when_up(a->mongo, start_indexes, a);
}

static gw_status open_app(void *arg, gw_service *service, gw_error *err)
{
    static gw_status (*const steps[])(app * a, gw_error * err) = {
        open_mongo,   open_redis, open_access, open_folds,
        open_queries, open_books, open_ingest, open_server,
    };
    app *a = (app *)arg;
    a->service = service;
    a->conf = service->conf;
    a->log = service->log;
    a->loop = service->loop;
    a->shard = service->shard;
    gw_timer_init(&a->timer, start_indexes, a);
    a->index_job.run = make_indexes;
    a->index_job.done = indexes_made;
    for (size_t i = 0; i < GW_ARRAY_LEN(steps); i++) {
        gw_status rc = steps[i](a, err);
        if (rc != GW_OK)
            return rc;
    }
    return GW_OK;
}

/* What waits for a worker's answer goes after the workers. */
static void close_app(void *arg)
{
    app *a = (app *)arg;
    gw_timer_cancel(a->loop, &a->timer);
    usage_queries_stop(a->queries);
    librechat_watch_stop(a->books);
    gw_mongo_free(a->mongo);
    gw_redis_free(a->redis);
    usage_queries_free(a->queries);
    librechat_watch_free(a->books);
    ingest_free(a->ingest);
    fold_runner_free(a->folds);
    doc_pool_mongo_free(a->pool);
    gw_access_checker_free(a->access);
    gw_rpc_channel_free(a->auth);
    gw_rpc_pump_free(a->pump);
    gw_schema_free(a->schema);
}

static bool command(gw_service *s, int *ret_exit_status)
{
    const usage_conf *conf = s->conf;
    return accounting_command(conf, s->log, ret_exit_status);
}

int main(int argc, char **argv)
{
    static const gw_service_kind kind = {
        .conf = &usage_conf_table,
        .metrics = usage_metric_table,
        .metric_count = USAGE_METRIC_COUNT,
        .command = command,
        .open = open_app,
        .is_ready = is_ready,
        .set_serving = set_serving,
        .reload = reload,
        .drain = drain,
        .close = close_app,
        .close_max_ms = GW_SERVICE_CLOSE_MAX_MS,
    };
    app a = {0};
    return gw_service_main(&kind, &a, argc, argv);
}
