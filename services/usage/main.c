/* Wiring of usage: settings → log → loop → stores → servers → run → drain. */
#include "doc_store_mongo.h"
#include "ingest.h"
#include "usage_conf.h"
#include "usage_indexes.h"
#include "usage_metrics.h"
#include "usage_queries.h"

#include "access/access.h"
#include "crypto/crypto.h"
#include "ops/ops.h"
#include "rpc/client.h"
#include "schema/all.h"

#include <stdio.h>

#define INDEX_RETRY_MS 1000
#define SETTLE_POLL_MS 20
#define SETTLE_MAX_MS  5000
#define CURSOR_KEY_MIN 32
#define CURSOR_KEY_MAX 4096

typedef struct app {
    usage_conf conf;
    gw_log *log;
    gw_loop *loop;
    gw_metrics *metrics;
    gw_metrics_shard *shard;
    gw_mongo *mongo;
    gw_service_tokens *tokens;
    gw_schema *schema;
    gw_rpc_pump *pump;
    gw_rpc_channel *auth;
    gw_access_checker *access;
    doc_pool *pool;
    fold_runner *folds;
    ingest *ingest;
    usage_queries *queries;
    gw_rpc_server *server;
    gw_ops *ops;
    gw_mongo_job index_job;
    gw_timer timer; /* of the indexes, then of the drain */
    int64_t settle_until_ms;
    bool serving, draining;
} app;

/* ---- ready: when the indexes stand ---- */

static bool is_ready(void *arg, const char **reason)
{
    const app *a = (const app *)arg;
    if (!a->serving)
        *reason = gw_mongo_is_up(a->mongo) ? "indexes are being made" : "MongoDB does not answer";
    return a->serving;
}

static gw_status make_indexes(gw_mongo_job *j, mongoc_client_t *client, mongoc_database_t *db,
                              gw_error *err)
{
    (void)client;
    const usage_conf *c = &GW_CONTAINER_OF(j, app, index_job)->conf;
    const usage_retention keep = {.rows_days = c->retention_days,
                                  .spools_days = c->spool_retention_days,
                                  .rejects_days = c->reject_retention_days,
                                  .losses_days = c->loss_retention_days,
                                  .alerts_days = c->alert_retention_days};
    return usage_indexes_ensure(db, &keep, err);
}

static void indexes_made(gw_mongo_job *j, gw_status rc, const gw_error *err)
{
    app *a = GW_CONTAINER_OF(j, app, index_job);
    if (a->draining)
        return;
    if (rc != GW_OK) {
        gw_log_warn(a->log, "indexes_failed", gw_kv_error(err));
        gw_timer_set(a->loop, &a->timer, INDEX_RETRY_MS);
        return;
    }
    a->serving = true;
    gw_rpc_server_set_serving(a->server, true);
    gw_log_info(a->log, "service_ready");
}

static void start_indexes(void *arg)
{
    app *a = (app *)arg;
    if (!a->draining)
        gw_mongo_submit(a->mongo, &a->index_job);
}

/* ---- drain ---- */

static void ops_closed(void *arg)
{
    app *a = (app *)arg;
    a->ops = NULL;
    gw_loop_stop(a->loop);
}

static void settle(void *arg)
{
    app *a = (app *)arg;
    if (!ingest_is_idle(a->ingest) && gw_loop_now_ms(a->loop) < a->settle_until_ms) {
        gw_timer_set(a->loop, &a->timer, SETTLE_POLL_MS);
        return;
    }
    ingest_cut(a->ingest);
    gw_ops_close(a->ops, ops_closed, a);
}

/* What is claimed is applied before the process goes. */
static void server_closed(void *arg)
{
    app *a = (app *)arg;
    a->server = NULL;
    a->settle_until_ms = gw_loop_now_ms(a->loop) + SETTLE_MAX_MS;
    gw_timer_init(&a->timer, settle, a);
    settle(a);
}

static void server_closed_early(void *arg)
{
    app *a = (app *)arg;
    a->server = NULL;
    gw_loop_stop(a->loop);
}

static void drain(void *arg)
{
    app *a = (app *)arg;
    if (a->draining)
        return;
    a->draining = true;
    gw_log_info(a->log, "shutdown_begun");
    gw_timer_cancel(a->loop, &a->timer);
    gw_ops_set_draining(a->ops);
    fold_runner_stop(a->folds);
    ingest_stop(a->ingest);
    gw_rpc_server_close(a->server, a->conf.shutdown_grace_ms, server_closed, a);
}

/* ---- parts ---- */

static gw_status open_mongo(app *a, gw_error *err)
{
    gw_mongo_options mongo = gw_mongo_defaults;
    mongo.uri = a->conf.mongo_uri;
    mongo.database = a->conf.mongo_database;
    mongo.app_name = "usage";
    mongo.threads = (unsigned)a->conf.mongo_threads;
    return gw_mongo_new(a->loop, &mongo, a->log, &a->mongo, err);
}

static gw_status open_access(app *a, gw_error *err)
{
    gw_status rc = gw_service_tokens_load(a->conf.service_tokens_file, a->log, &a->tokens, err);
    if (rc == GW_OK)
        rc = gw_schema_all(&a->schema, err);
    if (rc == GW_OK)
        rc = gw_rpc_pump_new(a->loop, &a->pump, err);
    if (rc == GW_OK)
        rc = gw_rpc_channel_new(a->pump, a->conf.auth_target, NULL, a->log, &a->auth, err);
    if (rc != GW_OK)
        return rc;
    const gw_access_options options = {.tokens = a->tokens,
                                       .auth = a->auth,
                                       .own_token =
                                           gw_service_tokens_find(a->tokens, GW_STR("usage")),
                                       .log = a->log};
    return gw_access_checker_new(a->loop, &options, &a->access, err);
}

/* What all replicas have and nobody else: the key file, else our service token. */
static gw_status read_cursor_secret(const app *a, gw_buf *ret, gw_error *err)
{
    char bytes[CURSOR_KEY_MAX];
    if (!a->conf.cursor_key_file) {
        gw_buf_append_str(ret, gw_service_tokens_find(a->tokens, GW_STR("usage")));
    } else {
        FILE *f = fopen(a->conf.cursor_key_file, "re");
        size_t len = f ? fread(bytes, 1, sizeof(bytes), f) : 0;
        gw_buf_append(ret, bytes, len);
        gw_secret_wipe(bytes, sizeof(bytes));
        if (f)
            (void)fclose(f);
    }
    if (ret->len < CURSOR_KEY_MIN)
        return gw_fail(err, GW_ERR_INVALID_ARGUMENT,
                       "no key for cursors: %s has fewer than %d bytes",
                       a->conf.cursor_key_file ? a->conf.cursor_key_file
                                               : "the token of usage in the service tokens",
                       CURSOR_KEY_MIN);
    return GW_OK;
}

static gw_status open_queries(app *a, gw_error *err)
{
    gw_auto_buf secret = {0};
    gw_status rc = read_cursor_secret(a, &secret, err);
    if (rc == GW_OK) {
        const usage_queries_options options = {
            .loop = a->loop,
            .mongo = a->mongo,
            .auth = a->auth,
            .own_token = gw_service_tokens_find(a->tokens, GW_STR("usage")),
            .cursor_secret = gw_buf_str(&secret),
            .log = a->log};
        rc = usage_queries_new(&options, &a->queries, err);
    }
    if (secret.data)
        gw_secret_wipe(secret.data, secret.len);
    return rc;
}

static void take_live(void *arg, const Apirelay__Usage__V1__Live *frame)
{
    live_add(usage_queries_live((usage_queries *)arg), frame);
}

static gw_status open_ingest(app *a, gw_error *err)
{
    gw_status rc = doc_pool_mongo_new(a->mongo, &a->pool, err);
    if (rc == GW_OK)
        rc = fold_runner_new(a->loop, a->pool, a->log, a->shard, &a->folds, err);
    if (rc != GW_OK)
        return rc;
    const ingest_options options = {.loop = a->loop,
                                    .pool = a->pool,
                                    .folds = a->folds,
                                    .log = a->log,
                                    .metrics = a->shard,
                                    .retention_ms = a->conf.retention_days * GW_MS_PER_DAY,
                                    .memory_bytes = a->conf.ingest_memory_bytes,
                                    .window_bytes = a->conf.ingest_window_bytes,
                                    .claim_delay_ms = a->conf.claim_delay_ms,
                                    .on_live = take_live,
                                    .live_arg = a->queries};
    return ingest_new(&options, &a->ingest, err);
}

static gw_status open_servers(app *a, gw_error *err)
{
    const gw_rpc_server_options rpc = {.listen = a->conf.grpc_listen,
                                       .reflection = a->conf.grpc_reflection,
                                       .schema = a->schema,
                                       .authorizer = gw_access_authorizer(a->access),
                                       .log = a->log};
    const gw_ops_options ops = {
        .listen = a->conf.ops_listen, .metrics = a->metrics, .is_ready = is_ready, .arg = a};
    gw_status rc = gw_rpc_server_new(a->loop, &rpc, &a->server, err);
    if (rc == GW_OK)
        rc = gw_rpc_server_add(a->server, ingest_handlers(), a->ingest, err);
    if (rc == GW_OK)
        rc = usage_queries_register(a->queries, a->server, err);
    if (rc == GW_OK)
        rc = gw_rpc_server_start(a->server, err);
    if (rc == GW_OK)
        gw_rpc_server_set_serving(a->server, false); /* until the indexes stand */
    if (rc == GW_OK)
        rc = gw_ops_new(a->loop, &ops, a->log, &a->ops, err);
    if (rc == GW_OK)
        gw_log_info(a->log, "service_started", gw_kv("grpc.listen", a->conf.grpc_listen),
                    gw_kv("ops.listen", a->conf.ops_listen));
    return rc;
}

/* What waits for a worker's answer goes after the workers. */
static void close_all(app *a)
{
    gw_timer_cancel(a->loop, &a->timer);
    if (a->folds)
        fold_runner_stop(a->folds);
    if (a->queries)
        usage_queries_stop(a->queries);
    gw_mongo_free(a->mongo);
    usage_queries_free(a->queries);
    ingest_free(a->ingest);
    fold_runner_free(a->folds);
    doc_pool_mongo_free(a->pool);
    gw_access_checker_free(a->access);
    gw_rpc_channel_free(a->auth);
    gw_rpc_pump_free(a->pump);
    gw_schema_free(a->schema);
    gw_service_tokens_free(a->tokens);
}

static int serve(app *a)
{
    gw_error err = {0};
    gw_status rc = gw_loop_new(&gw_system_clock, &a->loop, &err);
    if (rc != GW_OK) {
        gw_log_error(a->log, "start_failed", gw_kv_error(&err));
        return 1;
    }
    gw_timer_init(&a->timer, start_indexes, a);
    a->index_job.run = make_indexes;
    a->index_job.done = indexes_made;
    rc = open_mongo(a, &err);
    if (rc == GW_OK)
        rc = open_access(a, &err);
    if (rc == GW_OK)
        rc = open_queries(a, &err);
    if (rc == GW_OK)
        rc = open_ingest(a, &err);
    if (rc == GW_OK)
        rc = open_servers(a, &err);
    if (rc == GW_OK) {
        gw_loop_on_signals(a->loop, drain, NULL, a);
        gw_mongo_when_up(a->mongo, start_indexes, a);
        gw_loop_run(a->loop);
        gw_log_info(a->log, "service_stopped");
    } else {
        gw_log_error(a->log, "start_failed", gw_kv_error(&err));
        if (a->server) { /* its pump posts to the loop until it is closed */
            gw_rpc_server_close(a->server, 0, server_closed_early, a);
            gw_loop_run(a->loop);
        }
    }
    close_all(a);
    gw_loop_free(a->loop);
    return rc == GW_OK ? 0 : 1;
}

int main(int argc, char **argv)
{
    app a = {0};
    int exit_status = 1;
    gw_log_level level = GW_LOG_INFO;
    if (!gw_conf_start(&usage_conf_table, argc, argv, &a.conf, &exit_status))
        return exit_status;
    (void)!gw_log_level_parse(gw_str_of(a.conf.log_level), &level);
    a.log = gw_log_new("usage", 2, level, &gw_system_clock);
    a.metrics = gw_metrics_new(usage_metric_table, USAGE_METRIC_COUNT);
    a.shard = a.metrics ? gw_metrics_shard_new(a.metrics) : NULL;
    exit_status = a.log && a.shard ? serve(&a) : 1;
    gw_metrics_free(a.metrics);
    gw_log_free(a.log);
    gw_conf_free(&usage_conf_table, &a.conf);
    return exit_status;
}
