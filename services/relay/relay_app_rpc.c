/* What the relay serves over gRPC: chats, providers with their history and prices, trials of routes, silent ledgers. */
#include "relay_app_internal.h"

#include "ledger_store_redis.h"

#include "crypto/crypto.h"

static gw_status open_providers(relay_app *a, gw_error *err)
{
    gw_auto_buf secret = {0};

    a->providers.mongo = a->mongo;
    a->providers.config = a->config;
    a->providers.log = a->log;
    a->providers.usage = a->usage;
    a->providers.service_token = &a->core.service_token;
    a->providers.audit = &a->audit;
    gw_status rc = gw_service_cursor_secret(a->service, a->conf->cursor_key_file, &secret, err);
    if (rc == GW_OK)
        rc = gw_hkdf_sha256(secret.data, secret.len, GW_STR("provider list cursors"),
                            a->providers.cursor_key, sizeof(a->providers.cursor_key), err);
    if (secret.data)
        gw_secret_wipe(secret.data, secret.len);
    if (rc != GW_OK)
        return rc;
    provider_rpc_prepare(&a->providers);
    return GW_OK;
}

static gw_status open_silent(relay_app *a, gw_error *err)
{
    a->silent = (ledger_rpc){.redis = a->redis, .audit = &a->audit};
    return ledger_store_redis_new(a->redis, ledger_keeper_timers(a->ledgers), NULL,
                                  &a->silent.store, err);
}

gw_status relay_app_open_rpc(relay_app *a, gw_error *err)
{
    gw_access_options access = {
        .tokens = a->service->tokens,
        .peers = a->service->peers,
        .auth = a->auth,
        .own_token = gw_service_own_token(a->service),
        .log = a->log,
    };
    gw_rpc_server_options options = {
        .listen = a->conf->grpc_listen,
        .reflection = a->conf->grpc_reflection,
        .tls = a->service->tls,
        .log = a->log,
        .metrics = {a->shard, M_rpc_server_calls_total},
        .connection_age_ms = a->conf->grpc_connection_age_ms,
        .connection_age_grace_ms = a->conf->grpc_connection_age_grace_ms,
    };

    gw_status rc = gw_access_checker_new(a->loop, &access, &a->access, err);
    if (rc != GW_OK)
        return rc;
    a->audit =
        (gw_audit_link){.auth = a->auth, .service_token = &a->core.service_token, .log = a->log};
    a->trials = (route_trial_rpc){.core = &a->core, .audit = &a->audit};
    a->chat_access.others = gw_access_authorizer(a->access);
    options.schema = a->schema;
    options.authorizer = chat_rpc_authorizer(&a->chat_access);
    rc = open_providers(a, err);
    if (rc == GW_OK)
        rc = open_silent(a, err);
    if (rc == GW_OK)
        rc = gw_rpc_server_new(a->loop, &options, &a->rpc, err);
    if (rc == GW_OK)
        rc = gw_rpc_server_add(a->rpc, chat_rpc_handlers, &a->core, err);
    if (rc == GW_OK)
        rc = gw_rpc_server_add(a->rpc, provider_rpc_handlers, &a->providers, err);
    if (rc == GW_OK)
        rc = gw_rpc_server_add(a->rpc, history_rpc_handlers, &a->providers, err);
    if (rc == GW_OK)
        rc = gw_rpc_server_add(a->rpc, price_book_rpc_handlers, &a->providers, err);
    if (rc == GW_OK)
        rc = gw_rpc_server_add(a->rpc, route_trial_handlers, &a->trials, err);
    if (rc == GW_OK)
        rc = gw_rpc_server_add(a->rpc, ledger_rpc_handlers, &a->silent, err);
    if (rc == GW_OK)
        rc = gw_rpc_server_start(a->rpc, err);
    if (rc == GW_OK)
        gw_rpc_server_set_serving(a->rpc, false); /* until is_ready() */
    return rc;
}
