/* Wiring of auth: settings → log → loop → stores → servers → run → drain. */
#include "access/access.h"
#include "audit_head.h"
#include "auth.h"
#include "auth_conf.h"
#include "identity.h"
#include "import_command.h"
#include "ops/ops.h"
#include "schema/all.h"
#include "setup.h"
#include "sign_in_throttle.h"

#include <string.h>

#define READY_EVERY_MS 100

typedef struct app {
    auth auth;
    auth_conf conf;
    peppers *peppers;
    gw_service_tokens *tokens;
    gw_schema *schema;
    gw_access_checker *access;
    gw_metrics *metrics;
    gw_rpc_server *server;
    gw_ops *ops;
    setup *setup;
    audit_head *head;
    gw_timer ready_timer;
    bool serving, draining;
} app;

/* ---- ready ---- */

static bool is_ready(void *arg, const char **reason)
{
    app *a = arg;
    if (!setup_is_done(a->setup)) {
        *reason =
            gw_mongo_is_up(a->auth.mongo) ? "setup has not finished" : "MongoDB does not answer";
        return false;
    }
    if (!key_feed_is_ready(a->auth.feed)) {
        *reason = "changes of keys have not been read yet";
        return false;
    }
    return true;
}

static void watch_readiness(void *arg)
{
    app *a = arg;
    const char *reason;
    if (is_ready(a, &reason)) {
        a->serving = true;
        gw_rpc_server_set_serving(a->server, true);
        gw_log_info(a->auth.log, "service_ready");
    } else {
        gw_timer_set(a->auth.loop, &a->ready_timer, READY_EVERY_MS);
    }
}

/* ---- drain ---- */

static void ops_closed(void *arg)
{
    app *a = arg;
    a->ops = NULL;
    gw_loop_stop(a->auth.loop);
}

static void server_closed(void *arg)
{
    app *a = arg;
    a->server = NULL;
    gw_ops_close(a->ops, ops_closed, a);
}

static void server_closed_early(void *arg)
{
    app *a = arg;
    a->server = NULL;
    gw_loop_stop(a->auth.loop);
}

static void drain(void *arg)
{
    app *a = arg;
    if (a->draining)
        return;
    a->draining = true;
    gw_log_info(a->auth.log, "shutdown_begun");
    gw_timer_cancel(a->auth.loop, &a->ready_timer);
    gw_ops_set_draining(a->ops);
    gw_rpc_server_set_serving(a->server, false);
    watch_rpc_end_all(&a->auth);
    gw_rpc_server_close(a->server, a->conf.shutdown_grace_ms, server_closed, a);
}

static void hint(void *arg, gw_str channel, const gw_str *message)
{
    app *a = arg;
    (void)channel;
    (void)message;
    key_feed_poke(a->auth.feed);
}

/* ---- parts ---- */

static gw_status open_stores(app *a, gw_error *err)
{
    gw_mongo_options mongo = gw_mongo_defaults;
    mongo.uri = a->conf.mongo_uri;
    mongo.database = a->conf.mongo_database;
    mongo.app_name = "auth";
    mongo.threads = (unsigned)a->conf.mongo_threads;
    gw_redis_options redis = {.url = gw_str_of(a->conf.redis_url),
                              .password = gw_str_of(a->conf.redis_password)};
    gw_loop *loop = a->auth.loop;
    gw_status rc = gw_mongo_new(loop, &mongo, a->auth.log, &a->auth.mongo, err);
    if (rc == GW_OK)
        rc = gw_redis_new(loop, a->auth.log, &redis, &a->auth.redis, err);
    if (rc == GW_OK)
        rc = argon2_pool_new(loop, (unsigned)a->conf.argon2_threads, &a->auth.argon2, err);
    if (rc == GW_OK)
        rc = sign_in_throttle_new(a->auth.redis, &a->auth.throttle, err);
    if (rc == GW_OK)
        rc = key_feed_new(loop, a->auth.mongo, a->auth.log, &a->auth.feed, err);
    if (rc == GW_OK)
        rc = gw_redis_subscribe(a->auth.redis, GW_STR(KEY_CHANGES_CHANNEL), hint, a, err);
    if (rc == GW_OK)
        rc = audit_head_new(&a->auth, &a->head, err);
    if (rc != GW_OK)
        return rc;
    gw_redis_connect(a->auth.redis);
    const setup_options options = {.owner_username = a->conf.owner_username,
                                   .owner_password = a->conf.owner_password,
                                   .bootstrap_admin_key = a->conf.bootstrap_admin_key};
    return setup_new(&a->auth, &options, &a->setup, err);
}

static gw_status open_access(app *a, gw_error *err)
{
    gw_status rc =
        gw_service_tokens_load(a->conf.service_tokens_file, a->auth.log, &a->tokens, err);
    if (rc == GW_OK)
        rc = gw_schema_all(&a->schema, err);
    if (rc != GW_OK)
        return rc;
    const gw_access_options options = {.tokens = a->tokens,
                                       .identify = identity_seam(&a->auth),
                                       .keeps_nothing = true,
                                       .log = a->auth.log};
    return gw_access_checker_new(a->auth.loop, &options, &a->access, err);
}

static gw_status open_servers(app *a, gw_error *err)
{
    const gw_rpc_handler *const handlers[] = {api_key_handlers,  key_access_handlers,
                                              identity_handlers, session_handlers,
                                              admin_handlers,    audit_handlers};
    const gw_rpc_server_options rpc = {.listen = a->conf.grpc_listen,
                                       .reflection = a->conf.grpc_reflection,
                                       .schema = a->schema,
                                       .authorizer = gw_access_authorizer(a->access),
                                       .log = a->auth.log};
    const gw_ops_options ops = {
        .listen = a->conf.ops_listen, .metrics = a->metrics, .is_ready = is_ready, .arg = a};
    gw_status rc = gw_rpc_server_new(a->auth.loop, &rpc, &a->server, err);
    for (size_t i = 0; rc == GW_OK && i < GW_ARRAY_LEN(handlers); i++)
        rc = gw_rpc_server_add(a->server, handlers[i], &a->auth, err);
    if (rc == GW_OK)
        rc = gw_rpc_server_start(a->server, err);
    if (rc == GW_OK)
        gw_rpc_server_set_serving(a->server, false); /* until is_ready */
    if (rc == GW_OK)
        rc = gw_ops_new(a->auth.loop, &ops, a->auth.log, &a->ops, err);
    if (rc == GW_OK)
        gw_log_info(a->auth.log, "service_started", gw_kv("grpc.listen", a->conf.grpc_listen),
                    gw_kv("ops.listen", a->conf.ops_listen));
    return rc;
}

/* What waits for a worker's answer goes after the workers. */
static void close_all(app *a)
{
    if (a->auth.feed)
        key_feed_stop(a->auth.feed);
    if (a->setup)
        setup_stop(a->setup);
    if (a->head)
        audit_head_stop(a->head);
    argon2_pool_free(a->auth.argon2);
    gw_mongo_free(a->auth.mongo);
    gw_redis_free(a->auth.redis);
    sign_in_throttle_free(a->auth.throttle);
    key_feed_free(a->auth.feed);
    setup_free(a->setup);
    audit_head_free(a->head);
    gw_access_checker_free(a->access);
    gw_schema_free(a->schema);
    gw_service_tokens_free(a->tokens);
}

static int serve(app *a)
{
    gw_error err = {0};
    gw_list_init(&a->auth.watches);
    a->auth.metrics = gw_metrics_shard_new(a->metrics);
    gw_status rc = !a->auth.metrics ? gw_fail(&err, GW_ERR_NO_MEMORY, "out of memory")
                                    : gw_loop_new(&gw_system_clock, &a->auth.loop, &err);
    if (rc == GW_OK)
        rc = open_stores(a, &err);
    if (rc == GW_OK)
        rc = open_access(a, &err);
    if (rc == GW_OK)
        rc = open_servers(a, &err);
    if (rc == GW_OK) {
        gw_loop_on_signals(a->auth.loop, drain, NULL, a);
        gw_timer_init(&a->ready_timer, watch_readiness, a);
        gw_timer_set(a->auth.loop, &a->ready_timer, 0);
        gw_loop_run(a->auth.loop);
        gw_log_info(a->auth.log, "service_stopped");
    } else {
        gw_log_error(a->auth.log, "start_failed", gw_kv_error(&err));
        if (a->server) { /* its pump posts to the loop until it is closed */
            gw_rpc_server_close(a->server, 0, server_closed_early, a);
            gw_loop_run(a->auth.loop);
        }
    }
    close_all(a);
    gw_loop_free(a->auth.loop);
    return rc == GW_OK ? 0 : 1;
}

int main(int argc, char **argv)
{
    app a = {0};
    gw_error err = {0};
    int exit_status = 1;
    gw_log_level level = GW_LOG_INFO;
    if (!gw_conf_start(&auth_conf_table, argc, argv, &a.conf, &exit_status))
        return exit_status;
    (void)!gw_log_level_parse(gw_str_of(a.conf.log_level), &level);
    a.auth.log = gw_log_new("auth", 2, level, &gw_system_clock);
    a.metrics = gw_metrics_new(auth_metric_table, AUTH_METRIC_COUNT);
    gw_status rc = a.auth.log && a.metrics ? peppers_load(a.conf.peppers_file, &a.peppers, &err)
                                           : gw_fail(&err, GW_ERR_NO_MEMORY, "out of memory");
    a.auth.peppers = a.peppers;
    exit_status = 1;
    if (rc != GW_OK)
        gw_log_error(a.auth.log, "start_failed", gw_kv_error(&err));
    else if (a.conf.base.n_args && strcmp(a.conf.base.args[0], "import") == 0)
        exit_status = import_command(&a.conf, a.peppers, a.auth.log);
    else
        exit_status = serve(&a);
    peppers_free(a.peppers);
    gw_metrics_free(a.metrics);
    gw_log_free(a.auth.log);
    gw_conf_free(&auth_conf_table, &a.conf);
    return exit_status;
}
