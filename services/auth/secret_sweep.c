#include "secret_sweep.h"

#include "key_store.h"

#include <stdlib.h>

#define EVERY_MS 60000

struct secret_sweep {
    auth *auth;
    gw_timer timer;
    gw_mongo_job job;
    bool stopped;
    int64_t now_ms, keys;
};

static gw_status run(gw_mongo_job *j, mongoc_client_t *client, mongoc_database_t *database,
                     gw_error *err)
{
    (void)client;
    secret_sweep *s = GW_CONTAINER_OF(j, secret_sweep, job);
    const gw_db d = {database, j->mongo};
    return key_store_drop_ended_secrets(&d, s->now_ms, &s->keys, err);
}

static void ran(gw_mongo_job *j, gw_status rc, const gw_error *err)
{
    secret_sweep *s = GW_CONTAINER_OF(j, secret_sweep, job);
    if (rc == GW_OK && s->keys)
        gw_log_info(s->auth->log, "ended_secrets_dropped", gw_kv("keys", s->keys));
    else if (rc != GW_OK && rc != GW_ERR_UNAVAILABLE) /* libs/mongo tells of outages */
        gw_log_warn(s->auth->log, "ended_secrets_not_dropped", gw_kv_error(err));
    if (!s->stopped)
        gw_timer_set(s->auth->loop, &s->timer, EVERY_MS);
}

static void fire(void *arg)
{
    secret_sweep *s = arg;
    if (s->stopped)
        return;
    s->now_ms = auth_wall_ms(s->auth);
    s->keys = 0;
    s->job = (gw_mongo_job){.run = run, .done = ran};
    gw_mongo_submit(s->auth->mongo, &s->job);
}

gw_status secret_sweep_new(auth *a, secret_sweep **ret, gw_error *err)
{
    secret_sweep *s = calloc(1, sizeof(*s));
    if (!s)
        return gw_fail(err, GW_ERR_NO_MEMORY, "secret sweep");
    s->auth = a;
    gw_timer_init(&s->timer, fire, s);
    gw_mongo_when_up(a->mongo, fire, s);
    *ret = s;
    return GW_OK;
}

void secret_sweep_stop(secret_sweep *s)
{
    s->stopped = true;
    gw_timer_cancel(s->auth->loop, &s->timer);
}

void secret_sweep_free(secret_sweep *s)
{
    if (s)
        secret_sweep_stop(s);
    free(s);
}
