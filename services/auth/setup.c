#include "setup.h"

#include "admin_rules.h"
#include "admin_store.h"
#include "key_mint.h"
#include "key_store.h"
#include "limit_policy_store.h"
#include "messages.h"

#include <stdlib.h>

#define RETRY_MS 1000

struct setup {
    auth *auth;
    setup_options options;
    gw_mongo_job job;
    gw_timer retry;
    bool done, stopped, told, made_owner, made_key;
};

static gw_status make_owner(setup *s, const gw_db *d, gw_arena *a, gw_error *err)
{
    char phc[GW_ARGON2_PHC_SIZE];
    bool exists = false;
    gw_status rc = admin_store_has_users(d, &exists, err);
    if (rc != GW_OK || exists)
        return rc;
    rc = gw_argon2id_hash(gw_str_of(s->options.owner_password), gw_argon2_default, phc, err);
    admin_user_record u = {.view = message_new(a, &apirelay__auth__v1__admin_user__descriptor),
                           .password_hash = gw_str_of(phc)};
    if (rc != GW_OK || !u.view)
        return rc != GW_OK ? rc : gw_fail(err, GW_ERR_NO_MEMORY, "first owner");
    u.view->username = message_text(a, gw_str_of(s->options.owner_username));
    u.view->role = message_text(a, GW_STR("owner"));
    u.view->status = message_text(a, GW_STR("active"));
    rc = admin_store_insert_user(d, a, &u, gw_clock_wall_ms(&gw_system_clock), err);
    s->made_owner = rc == GW_OK;
    return rc == GW_ERR_ALREADY_EXISTS ? GW_OK : rc; /* another replica made it */
}

static gw_status make_key(setup *s, const gw_db *d, gw_arena *a, gw_error *err)
{
    gw_str key = gw_str_of(s->options.bootstrap_admin_key), id;
    uint8_t hash[GW_SHA256_SIZE];
    admin_key_record k = {.view = NULL};
    bool exists = false;
    if (!admin_key_parse(key, &id))
        return gw_fail(err, GW_ERR_INTERNAL, "bootstrap admin key");
    gw_status rc = admin_store_find_key(d, a, id, &exists, &k, err);
    if (rc != GW_OK || exists)
        return rc;
    gw_sha256(key.ptr, key.len, hash);
    k.view = message_new(a, &apirelay__auth__v1__admin_key__descriptor);
    if (!k.view)
        return gw_fail(err, GW_ERR_NO_MEMORY, "bootstrap admin key");
    k.hash = gw_str_n(hash, sizeof(hash));
    k.view->id = message_text(a, id);
    k.view->name = message_text(a, GW_STR("bootstrap"));
    k.view->role = message_text(a, GW_STR("owner"));
    k.view->status = message_text(a, GW_STR("active"));
    k.view->created_at = message_time(a, gw_clock_wall_ms(&gw_system_clock));
    rc = admin_store_insert_key(d, &k, err);
    s->made_key = rc == GW_OK;
    return rc == GW_ERR_ALREADY_EXISTS ? GW_OK : rc;
}

static gw_status run(gw_mongo_job *j, mongoc_client_t *client, mongoc_database_t *database,
                     gw_error *err)
{
    (void)client;
    setup *s = GW_CONTAINER_OF(j, setup, job);
    const gw_db d = {database, j->mongo};
    gw_auto(gw_arena) arena = gw_arena_new();
    if (!arena)
        return gw_fail(err, GW_ERR_NO_MEMORY, "setup");
    gw_status rc = key_store_ensure_indexes(database, err);
    if (rc == GW_OK)
        rc = limit_policy_store_ensure_indexes(database, err);
    if (rc == GW_OK)
        rc = admin_store_ensure_indexes(database, err);
    if (rc == GW_OK && s->options.owner_username)
        rc = make_owner(s, &d, arena, err);
    if (rc == GW_OK && s->options.bootstrap_admin_key)
        rc = make_key(s, &d, arena, err);
    return rc;
}

static void ran(gw_mongo_job *j, gw_status rc, const gw_error *err)
{
    setup *s = GW_CONTAINER_OF(j, setup, job);
    if (rc == GW_OK) {
        s->done = true;
        gw_log_info(s->auth->log, "setup_done", gw_kv("owner_made", s->made_owner),
                    gw_kv("admin_key_made", s->made_key));
        return;
    }
    if (!s->told && rc != GW_ERR_UNAVAILABLE) { /* libs/mongo tells of outages */
        s->told = true;
        gw_log_error(s->auth->log, "setup_failed", gw_kv_error(err));
    }
    if (!s->stopped)
        gw_timer_set(s->auth->loop, &s->retry, RETRY_MS);
}

static void begin(void *arg)
{
    setup *s = arg;
    if (s->stopped)
        return;
    s->job = (gw_mongo_job){.run = run, .done = ran};
    gw_mongo_submit(s->auth->mongo, &s->job);
}

gw_status setup_new(auth *a, const setup_options *o, setup **ret, gw_error *err)
{
    setup *s = calloc(1, sizeof(*s));
    if (!s)
        return gw_fail(err, GW_ERR_NO_MEMORY, "setup");
    s->auth = a;
    s->options = *o;
    gw_timer_init(&s->retry, begin, s);
    gw_mongo_when_up(a->mongo, begin, s);
    *ret = s;
    return GW_OK;
}

void setup_stop(setup *s)
{
    s->stopped = true;
    gw_timer_cancel(s->auth->loop, &s->retry);
}

void setup_free(setup *s)
{
    if (s)
        setup_stop(s);
    free(s);
}

bool setup_is_done(const setup *s)
{
    return s->done;
}
