/* The start of the relay: every part, in the order in which they need each other. */
#include "relay_app_internal.h"

#include "schema/all.h"
#include "service/service_http.h"

#define SLOTS_BEYOND    1024 /* flight slots over RELAY_MAX_INFLIGHT (USAGE.md) */
#define REFUSAL_SLOTS   256 /* rows that count refusals, open at once */
#define KEYS_MAX        200000
#define KEY_NEGATIVE_MS 5000
#define KEY_RESOLVE_MS  3000
#define CONNECTIONS_MIN 1024

static size_t connections_max(const relay_conf *conf, int64_t max_inflight)
{
    if (conf->connections_max > 0)
        return (size_t)conf->connections_max;
    return GW_MAX((size_t)max_inflight * 2, CONNECTIONS_MIN);
}

/* Every caller's connection, and one upstream for each request in flight. */
uint64_t relay_app_descriptors(const void *conf)
{
    const relay_conf *c = conf;

    return connections_max(c, c->max_inflight) + (uint64_t)c->max_inflight;
}

static void on_config(void *arg, const relay_config *now)
{
    relay_app *a = arg;

    relay_core_set_config(&a->core, relay_config_ref(now));
    if (a->catalog)
        model_catalog_set_config(a->catalog, now);
}

static gw_status open_base(relay_app *a, gw_error *err)
{
    gw_timer_init(&a->grace_timer, relay_app_on_grace_over, a);
    gw_timer_init(&a->flush_timer, relay_app_flush, a);
    gw_status rc = relay_core_init(&a->core, err);
    if (rc == GW_OK)
        rc = gw_schema_all(&a->schema, err);
    if (rc == GW_OK)
        rc = gw_rpc_pump_new(a->loop, &a->pump, err);
    if (rc != GW_OK)
        return rc;
    gw_rpc_pump_describe(a->pump, a->schema, (gw_rpc_metrics){a->shard, M_rpc_server_calls_total});
    rc = gw_rpc_channel_new(a->pump, a->conf->auth_target, a->service->tls, a->log, &a->auth, err);
    if (rc == GW_OK)
        rc = gw_rpc_channel_new(a->pump, a->conf->usage_target, a->service->tls, a->log, &a->usage,
                                err);
    return rc;
}

static gw_status open_config(relay_app *a, gw_error *err)
{
    const relay_conf *conf = a->conf;
    gw_mongo_options mongo = gw_mongo_defaults;
    config_store_options options = {
        .config_file = conf->config_file,
        .price_book_file = conf->price_book_file,
        .credentials_dir = conf->credentials_dir,
        .state_dir = conf->state_dir,
        .signs_in = conf->oidc_issuer != NULL,
        .log = a->log,
        .changed = on_config,
        .arg = a,
    };

    mongo.uri = conf->mongo_uri;
    mongo.database = conf->mongo_database;
    mongo.app_name = "relay";
    mongo.threads += BALANCE_READS_MAX; /* whatever they wait for, the configuration has its own */
    if (conf->oidc_issuer)
        mongo.threads += USER_TOKEN_READS_MAX;
    const gw_tls_paths paths = {.ca_file = conf->mongo_ca_file};
    gw_status rc = gw_service_open_tls(a->service, &paths, &mongo.tls, err);
    if (rc == GW_OK)
        rc = gw_mongo_new(a->loop, &mongo, a->log, &a->mongo, err);
    if (rc != GW_OK)
        return rc;
    options.mongo = a->mongo;
    rc = config_store_new(a->loop, &options, &a->config, err);
    if (rc == GW_OK)
        relay_core_set_config(&a->core, relay_config_ref(config_store_current(a->config)));
    return rc;
}

/* Nothing is read before a provider says so (checkBalance). */
static gw_status open_balances(relay_app *a, gw_error *err)
{
    a->balance_store = balance_store_mongo_new(a->mongo, a->conf->librechat_database);
    const balance_book_options o = {.store = a->balance_store, .log = a->log, .metrics = a->shard};
    if (a->balance_store)
        a->core.balances = balance_book_new(a->loop, &o);
    return a->core.balances ? GW_OK : gw_fail(err, GW_ERR_NO_MEMORY, "no memory for balances");
}

static gw_status open_recorder(relay_app *a, gw_error *err)
{
    recorder_options options = {
        .dir = a->conf->spool_dir,
        .lanes = 1,
        .slots_per_lane = (unsigned)a->conf->max_inflight + SLOTS_BEYOND,
        .refusal_slots = REFUSAL_SLOTS,
        .sync_interval_ms = a->conf->spool_sync_ms,
        .spool_max_bytes = a->conf->spool_max_bytes,
        .usage = a->usage,
        .service_token = gw_service_own_token(a->service),
        .clock = &gw_system_clock,
        .log = a->log,
        .metrics = a->shard,
    };

    return recorder_open(a->loop, &options, &a->recorder, err);
}

static gw_status redis_options(const relay_app *a, gw_redis_options *ret, gw_error *err)
{
    const relay_conf *conf = a->conf;
    const gw_tls_paths paths = {conf->redis_cert_file, conf->redis_key_file, conf->redis_ca_file};

    *ret = (gw_redis_options){.url = gw_str_of(conf->redis_url),
                              .password = gw_str_of(conf->redis_password)};
    return gw_service_open_tls(a->service, &paths, &ret->tls, err);
}

static gw_status open_ledgers(relay_app *a, gw_error *err)
{
    const relay_conf *conf = a->conf;
    ledger_keeper_options o = {
        .timers = ledger_timers_defaults,
        .allow_when_lost = strcmp(conf->on_redis_loss, "allow") == 0,
        .positions = recorder_positions(a->recorder),
        .holder = recorder_holder(a->recorder),
        .usage = a->usage,
        .service_token = gw_service_own_token(a->service),
        .log = a->log,
        .metrics = a->shard,
    };

    o.left_count = recorder_left_positions(a->recorder, &o.left);
    o.timers.lease_ms = conf->ledger_lease_ms;
    o.timers.quarantine_ms = conf->ledger_quarantine_ms;
    o.timers.wait_ms = conf->admit_wait_ms;
    gw_status rc = redis_options(a, &o.redis, err);
    return rc == GW_OK ? ledger_keeper_new(a->loop, &o, &a->ledgers, err) : rc;
}

/* Signed requests and rules of keys. A connection of its own: what keys do wrong does not delay the ledgers. */
static gw_status open_guard(relay_app *a, gw_error *err)
{
    gw_redis_options redis;
    offence_book_options o = {.auth = a->auth,
                              .service_token = gw_service_own_token(a->service),
                              .log = a->log,
                              .metrics = a->shard};

    gw_status rc = redis_options(a, &redis, err);
    if (rc == GW_OK)
        rc = gw_redis_new(a->loop, a->log, &redis, &a->redis, err);
    o.redis = a->redis;
    if (rc == GW_OK)
        rc = offence_book_new(&o, &a->offences, err);
    if (rc == GW_OK && a->conf->master_keys_file)
        rc = gw_master_keys_load(a->conf->master_keys_file, &a->core.master_keys, err);
    return rc;
}

static void on_keys_changed(void *arg)
{
    relay_app *a = arg;

    origin_set_refresh(a->origins);
}

static gw_status open_origins(relay_app *a, gw_error *err)
{
    const origin_set_options o = {
        .auth = a->auth, .service_token = gw_service_own_token(a->service), .log = a->log};

    return origin_set_new(a->loop, &o, &a->origins, err);
}

static gw_status open_keys(relay_app *a, gw_error *err)
{
    key_cache_options options = {
        .auth = a->auth,
        .service_token = gw_service_own_token(a->service),
        .stale_max_ms = a->conf->key_stale_max_ms,
        .negative_ttl_ms = KEY_NEGATIVE_MS,
        .max_entries = KEYS_MAX,
        .resolve_timeout_ms = KEY_RESOLVE_MS,
        .changed = on_keys_changed,
        .changed_arg = a,
        .log = a->log,
        .metrics = a->shard,
    };

    return key_cache_new(a->loop, &options, &a->keys, err);
}

static gw_status open_upstreams(relay_app *a, gw_error *err)
{
    gw_http_client_options options = gw_http_client_defaults;

    options.allow_cidrs = a->conf->upstream_allow_cidrs.items;
    options.allow_cidr_count = a->conf->upstream_allow_cidrs.n;
    const gw_tls_paths paths = {a->conf->upstream_cert_file, a->conf->upstream_key_file,
                                a->conf->upstream_ca_file};
    gw_status rc = gw_service_open_tls(a->service, &paths, &options.tls, err);
    if (rc != GW_OK)
        return rc;
    return gw_http_client_new(a->loop, &options, a->log, &a->upstreams, err);
}

static gw_status open_catalog(relay_app *a, gw_error *err)
{
    const model_catalog_options o = {
        .upstreams = a->upstreams, .log = a->log, .refresh_ms = a->conf->model_list_refresh_ms};
    gw_status rc = model_catalog_new(a->loop, &o, &a->catalog, err);

    if (rc == GW_OK)
        model_catalog_set_config(a->catalog, config_store_current(a->config));
    return rc == GW_OK ? user_catalog_new(a->loop, a->upstreams, a->log, &a->users, err) : rc;
}

/* Settings that a reload may change, and our own token. */
static void adjust_core(relay_app *a)
{
    const relay_conf *conf = a->conf;
    relay_limits *l = &a->core.limits;

    a->core.service_token = gw_service_own_token(a->service);
    a->core.degrades = strcmp(conf->spool_full, "degrade") == 0;
    a->core.refuses_unknown_balance = strcmp(conf->on_balance_loss, "refuse") == 0;
    l->body_max_bytes = (size_t)conf->body_max_bytes;
    l->answer_max_bytes = (size_t)conf->answer_max_bytes;
    l->request_timeout_ms = conf->request_timeout_ms;
    l->stream_max_bytes = conf->stream_max_bytes;
    l->drain_max_ms = conf->drain_max_ms;
    l->drains_max = conf->drains_max;
    l->keep_alive_ms = conf->stream_keep_alive_ms;
    target_health_configure(a->core.health, conf->breaker_failures, conf->breaker_open_ms);
    l->max_in_flight = GW_MIN(conf->max_inflight, a->inflight_bound);
    model_catalog_set_refresh(a->catalog, conf->model_list_refresh_ms);
    a->core.users = conf->model_list_refresh_ms > 0 ? a->users : NULL;
    a->providers.history_keep_ms = conf->history_retention_days * GW_MS_PER_DAY;
    ledger_keeper_set_request_max(a->ledgers, conf->request_timeout_ms + conf->drain_max_ms);
    a->front.trusted_proxies = conf->trusted_proxies.items;
    a->front.trusted_proxy_count = conf->trusted_proxies.n;
}

static void fill_core(relay_app *a)
{
    relay_core *c = &a->core;

    c->loop = a->loop;
    c->clock = &gw_system_clock;
    c->log = a->log;
    c->metrics = a->shard;
    c->keys = a->keys;
    c->recorder = a->recorder;
    c->lane = recorder_lane_at(a->recorder, 0);
    c->ledgers = a->ledgers;
    c->redis = a->redis;
    c->offences = a->offences;
    c->origins = a->origins;
    c->upstreams = a->upstreams;
    c->catalog = a->catalog;
    c->usage = a->usage;
    c->idle = relay_app_on_idle;
    c->idle_arg = a;
    a->front.core = c;
    a->inflight_bound = a->conf->max_inflight;
    adjust_core(a);
}

static gw_http_server_options http_options(const relay_app *a)
{
    const relay_conf *conf = a->conf;
    gw_http_server_options options = gw_http_server_defaults;

    options.head_timeout_ms = conf->head_timeout_ms;
    options.body_timeout_ms = conf->body_timeout_ms;
    options.idle_timeout_ms = conf->idle_timeout_ms;
    options.body_memory_max_bytes = (size_t)conf->body_memory_max_bytes;
    options.connections_max = connections_max(a->conf, a->inflight_bound);
    return options;
}

static gw_status open_http(relay_app *a, gw_error *err)
{
    const relay_conf *conf = a->conf;
    gw_service_http http = {.listen = conf->listen,
                            .cert_file = conf->listen_tls_cert_file,
                            .key_file = conf->listen_tls_key_file,
                            .options = http_options(a),
                            .ops = &front_http_ops,
                            .arg = &a->front};

    http.options.shares_port = conf->listen_shared;
    gw_log_info(a->log, "listening", gw_kv("grpc.port", gw_rpc_server_port(a->rpc)));
    return gw_service_open_http(a->service, &http, &a->http, err);
}

gw_status relay_app_open(void *app, gw_service *service, gw_error *err)
{
    static gw_status (*const steps[])(relay_app * a, gw_error * err) = {
        open_base,     open_config,    open_balances, relay_app_open_sign_in,
        open_recorder, open_ledgers,   open_guard,    open_origins,
        open_keys,     open_upstreams, open_catalog,
    };
    relay_app *a = app;

    a->service = service;
    a->conf = service->conf;
    a->log = service->log;
    a->loop = service->loop;
    a->shard = service->shard;
    for (size_t i = 0; i < GW_ARRAY_LEN(steps); i++) {
        gw_status rc = steps[i](a, err);
        if (rc != GW_OK)
            return rc;
    }
    fill_core(a);
    gw_status rc = relay_app_open_rpc(a, err);
    return rc == GW_OK ? open_http(a, err) : rc;
}

/* A file that cannot be used changes nothing. */
static void reload_master_keys(relay_app *a)
{
    gw_auto(gw_master_keys) now = NULL;
    gw_error err;

    if (a->conf->master_keys_file &&
        gw_master_keys_load(a->conf->master_keys_file, &now, &err) != GW_OK) {
        gw_log_error(a->log, "master_keys_reload_failed", gw_kv_error(&err));
        return;
    }
    gw_master_keys_free(a->core.master_keys);
    a->core.master_keys = gw_steal(&now);
}

void relay_app_reload(void *app)
{
    relay_app *a = app;
    const gw_http_server_options options = http_options(a);
    gw_error err;

    adjust_core(a);
    if (a->conf->max_inflight > a->inflight_bound)
        gw_log_warn(a->log, "max_inflight_bounded", gw_kv("max_inflight", a->inflight_bound),
                    gw_kv("hint", "the flight table was made for it: restart for more"));
    gw_http_server_adjust(a->http, &options);
    key_cache_adjust(a->keys, gw_service_own_token(a->service), a->conf->key_stale_max_ms);
    ledger_keeper_set_service_token(a->ledgers, gw_service_own_token(a->service));
    origin_set_set_service_token(a->origins, gw_service_own_token(a->service));
    offence_book_set_service_token(a->offences, gw_service_own_token(a->service));
    reload_master_keys(a);
    relay_app_reload_signer(a);
    recorder_set_service_token(a->recorder, gw_service_own_token(a->service));
    gw_access_checker_set_own_token(a->access, gw_service_own_token(a->service));
    if (config_store_reload(a->config, &err) != GW_OK)
        gw_log_error(a->log, "relay_config_reload_failed", gw_kv_error(&err));
}
