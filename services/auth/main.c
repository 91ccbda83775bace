/* Wiring of auth: stores → access → servers; what every process does besides is service/service.h. */
#include "access/access.h"
#include "audit_head.h"
#include "auth.h"
#include "auth_conf.h"
#include "identity.h"
#include "import_command.h"
#include "schema/all.h"
#include "secret_rotation.h"
#include "secret_sweep.h"
#include "service/service.h"
#include "setup.h"
#include "sign_in_throttle.h"

#include <stdlib.h>

typedef struct app {
    auth auth;
    gw_service *service;
    const auth_conf *conf;
    peppers *peppers;
    gw_master_keys *master_keys;
    gw_schema *schema;
    gw_access_checker *access;
    gw_rpc_server *server;
    setup *setup;
    audit_head *head;
    secret_sweep *sweep;
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

static void set_serving(void *arg, bool serving)
{
    app *a = arg;
    gw_rpc_server_set_serving(a->server, serving);
}

/* ---- drain ---- */

static void server_closed(void *arg)
{
    app *a = arg;
    a->server = NULL;
    gw_service_drained(a->service);
}

static void drain(void *arg)
{
    app *a = arg;
    watch_rpc_end_all(&a->auth);
    gw_rpc_server_close(a->server, a->conf->shutdown_grace_ms, server_closed, a);
}

static void hint(void *arg, gw_str channel, const gw_str *message)
{
    app *a = arg;
    (void)channel;
    (void)message;
    key_feed_poke(a->auth.feed);
}

/* ---- parts ---- */

static gw_status open_base(app *a, gw_error *err)
{
    gw_status rc = peppers_load(a->conf->peppers_file, &a->peppers, err);
    if (rc == GW_OK && a->conf->master_keys_file)
        rc = gw_master_keys_load(a->conf->master_keys_file, &a->master_keys, err);
    a->auth.master_keys = a->master_keys;
    a->auth.loop = a->service->loop;
    a->auth.log = a->service->log;
    a->auth.metrics = a->service->shard;
    a->auth.peppers = a->peppers;
    gw_list_init(&a->auth.watches);
    return rc;
}

static gw_status open_stores(app *a, gw_error *err)
{
    gw_mongo_options mongo = gw_mongo_defaults;
    mongo.uri = a->conf->mongo_uri;
    mongo.database = a->conf->mongo_database;
    mongo.app_name = "auth";
    mongo.threads = (unsigned)a->conf->mongo_threads;
    gw_redis_options redis = {.url = gw_str_of(a->conf->redis_url),
                              .password = gw_str_of(a->conf->redis_password)};
    gw_loop *loop = a->auth.loop;
    const gw_tls_paths mongo_paths = {.ca_file = a->conf->mongo_ca_file};
    const gw_tls_paths redis_paths = {a->conf->redis_cert_file, a->conf->redis_key_file,
                                      a->conf->redis_ca_file};
    gw_status rc = gw_service_open_tls(a->service, &mongo_paths, &mongo.tls, err);
    if (rc == GW_OK)
        rc = gw_service_open_tls(a->service, &redis_paths, &redis.tls, err);
    if (rc == GW_OK)
        rc = gw_mongo_new(loop, &mongo, a->auth.log, &a->auth.mongo, err);
    if (rc == GW_OK)
        rc = gw_redis_new(loop, a->auth.log, &redis, &a->auth.redis, err);
    if (rc == GW_OK)
        rc = argon2_pool_new(loop, (unsigned)a->conf->argon2_threads, a->auth.metrics,
                             &a->auth.argon2, err);
    if (rc == GW_OK)
        rc = sign_in_throttle_new(a->auth.redis, &a->auth.throttle, err);
    if (rc == GW_OK)
        rc = key_feed_new(loop, a->auth.mongo, a->auth.log, &a->auth.feed, err);
    if (rc == GW_OK)
        rc = gw_redis_subscribe(a->auth.redis, GW_STR(KEY_CHANGES_CHANNEL), hint, a, err);
    if (rc == GW_OK)
        rc = audit_head_new(&a->auth, &a->head, err);
    if (rc == GW_OK)
        rc = secret_sweep_new(&a->auth, &a->sweep, err);
    if (rc != GW_OK)
        return rc;
    gw_redis_connect(a->auth.redis);
    const setup_options options = {.owner_username = a->conf->owner_username,
                                   .owner_password = a->conf->owner_password,
                                   .bootstrap_admin_key = a->conf->bootstrap_admin_key};
    return setup_new(&a->auth, &options, &a->setup, err);
}

static gw_status open_access(app *a, gw_error *err)
{
    gw_status rc = gw_schema_all(&a->schema, err);
    if (rc != GW_OK)
        return rc;
    const gw_access_options options = {.tokens = a->service->tokens,
                                       .peers = a->service->peers,
                                       .identify = identity_seam(&a->auth),
                                       .keeps_nothing = true,
                                       .log = a->auth.log};
    return gw_access_checker_new(a->auth.loop, &options, &a->access, err);
}

static gw_status open_server(app *a, gw_error *err)
{
    const gw_rpc_handler *const handlers[] = {
        api_key_handlers, key_access_handlers, identity_handlers, session_handlers,
        admin_handlers,   audit_handlers,      limit_handlers,    settings_handlers};
    const gw_rpc_server_options rpc = {.listen = a->conf->grpc_listen,
                                       .reflection = a->conf->grpc_reflection,
                                       .schema = a->schema,
                                       .authorizer = gw_access_authorizer(a->access),
                                       .metrics = {a->auth.metrics, M_rpc_server_calls_total},
                                       .connection_age_ms = a->conf->grpc_connection_age_ms,
                                       .connection_age_grace_ms =
                                           a->conf->grpc_connection_age_grace_ms,
                                       .tls = a->service->tls,
                                       .log = a->auth.log};
    gw_status rc = gw_rpc_server_new(a->auth.loop, &rpc, &a->server, err);
    for (size_t i = 0; rc == GW_OK && i < GW_ARRAY_LEN(handlers); i++)
        rc = gw_rpc_server_add(a->server, handlers[i], &a->auth, err);
    if (rc == GW_OK)
        rc = gw_rpc_server_start(a->server, err);
    if (rc != GW_OK)
        return rc;
    gw_rpc_server_set_serving(a->server, false); /* until is_ready */
    gw_log_info(a->auth.log, "listening",
                gw_kv("grpc.port", (int64_t)gw_rpc_server_port(a->server)));
    return GW_OK;
}

static gw_status open_app(void *arg, gw_service *service, gw_error *err)
{
    static gw_status (*const steps[])(app * a, gw_error * err) = {open_base, open_stores,
                                                                  open_access, open_server};
    app *a = arg;
    a->service = service;
    a->conf = service->conf;
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
    app *a = arg;
    key_feed_stop(a->auth.feed);
    setup_stop(a->setup);
    audit_head_stop(a->head);
    secret_sweep_stop(a->sweep);
    argon2_pool_free(a->auth.argon2);
    gw_mongo_free(a->auth.mongo);
    gw_redis_free(a->auth.redis);
    sign_in_throttle_free(a->auth.throttle);
    key_feed_free(a->auth.feed);
    setup_free(a->setup);
    audit_head_free(a->head);
    secret_sweep_free(a->sweep);
    gw_access_checker_free(a->access);
    gw_schema_free(a->schema);
    peppers_free(a->peppers);
    gw_master_keys_free(a->master_keys);
}

/* ---- auth import FILE, auth rotate-secrets ---- */

static bool command(gw_service *s, int *ret_exit_status)
{
    const auth_conf *conf = s->conf;
    gw_auto(peppers) p = NULL;
    gw_error err = {0};
    if (gw_str_eq_c(gw_str_of(conf->base.args[0]), "rotate-secrets")) {
        *ret_exit_status = secret_rotation_command(conf, s->log);
        return true;
    }
    if (!gw_str_eq_c(gw_str_of(conf->base.args[0]), "import"))
        return false;
    *ret_exit_status = EXIT_FAILURE;
    if (peppers_load(conf->peppers_file, &p, &err) == GW_OK)
        *ret_exit_status = import_command(conf, p, s->log);
    else
        gw_log_error(s->log, "start_failed", gw_kv_error(&err));
    return true;
}

int main(int argc, char **argv)
{
    static const gw_service_kind kind = {
        .conf = &auth_conf_table,
        .metrics = auth_metric_table,
        .metric_count = AUTH_METRIC_COUNT,
        .command = command,
        .open = open_app,
        .is_ready = is_ready,
        .set_serving = set_serving,
        .drain = drain,
        .close = close_app,
        .close_max_ms = GW_SERVICE_CLOSE_MAX_MS,
    };
    app a = {0};
    return gw_service_main(&kind, &a, argc, argv);
}
