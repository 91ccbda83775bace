#include "key_resolution.h"

#include "key_mint.h"
#include "key_store.h"
#include "messages.h"

static void finish(key_resolution *r, gw_status rc, const gw_error *err)
{
    gw_arena *arena = r->arena; /* holds the resolution itself */
    r->done(r, rc, err);
    gw_arena_free(arena);
}

/* ---- keeping a verifier that Argon2id has confirmed ---- */

typedef struct verifier_job {
    gw_mongo_job job;
    gw_arena *arena;
    gw_log *log;
    gw_str id;
    api_key_secret secret;
} verifier_job;

static gw_status keep_run(gw_mongo_job *j, mongoc_client_t *client, mongoc_database_t *database,
                          gw_error *err)
{
    (void)client;
    verifier_job *v = GW_CONTAINER_OF(j, verifier_job, job);
    const gw_db d = {database, j->mongo};
    return key_store_keep_verifier(&d, v->id, &v->secret, err);
}

static void keep_done(gw_mongo_job *j, gw_status rc, const gw_error *err)
{
    verifier_job *v = GW_CONTAINER_OF(j, verifier_job, job);
    gw_arena *arena = v->arena;
    if (rc != GW_OK)
        gw_log_warn(v->log, "verifier_not_kept", gw_kv_error(err));
    gw_arena_free(arena);
}

/* Only the current secret's: a previous one goes soon anyway. */
static void keep_verifier(key_resolution *r)
{
    api_key_secret made;
    if (r->secret != &r->record.current)
        return;
    gw_arena *arena = gw_arena_new();
    verifier_job *v = arena ? gw_arena_new_of(arena, verifier_job) : NULL;
    if (!v || !key_mint_secret(arena, r->auth->peppers, r->presented, r->now_ms, &made)) {
        gw_arena_free(arena);
        return;
    }
    made.phc = gw_arena_dup(arena, r->secret->phc);
    v->arena = arena;
    v->log = r->auth->log;
    v->id = gw_arena_dup(arena, gw_str_of(r->record.view->id));
    v->secret = made;
    v->job = (gw_mongo_job){.run = keep_run, .done = keep_done};
    gw_mongo_submit(r->auth->mongo, &v->job);
}

/* ---- Argon2id ---- */

static void next_slow(key_resolution *r);

static void slow_done(argon2_task *t, gw_status rc, const gw_error *err)
{
    key_resolution *r = GW_CONTAINER_OF(t, key_resolution, argon2);
    if (rc != GW_OK) {
        finish(r, rc, err);
        return;
    }
    if (t->fits) {
        r->found = true;
        r->secret = r->match.slow[r->slow_at];
        keep_verifier(r);
        finish(r, GW_OK, NULL);
        return;
    }
    r->slow_at++;
    next_slow(r);
}

static void next_slow(key_resolution *r)
{
    if (r->slow_at == r->match.slow_count) {
        finish(r, GW_OK, NULL);
        return;
    }
    r->argon2.secret = r->presented;
    r->argon2.stored = r->match.slow[r->slow_at]->phc;
    r->argon2.done = slow_done;
    argon2_pool_run(r->auth->argon2, &r->argon2);
}

/* ---- MongoDB ---- */

static gw_status find_run(gw_mongo_job *j, mongoc_client_t *client, mongoc_database_t *database,
                          gw_error *err)
{
    (void)client;
    key_resolution *r = GW_CONTAINER_OF(j, key_resolution, job);
    const gw_db d = {database, j->mongo};
    gw_status rc = key_store_find(&d, r->arena, r->parts.key_id, &r->exists, &r->record, err);
    if (rc == GW_OK)
        r->match = key_match_secrets(r->auth->peppers, r->exists ? &r->record : NULL, r->presented,
                                     r->now_ms);
    /* A wrong secret of a known key must not take longer than an unknown key. */
    if (rc == GW_OK && r->exists && (r->match.secret || r->match.slow_count))
        rc = limit_policy_store_shared(&d, r->arena, gw_str_of(r->record.view->client_id),
                                       gw_str_of(r->record.view->user_id), &r->shared, err);
    return rc;
}

static void find_done(gw_mongo_job *j, gw_status rc, const gw_error *err)
{
    key_resolution *r = GW_CONTAINER_OF(j, key_resolution, job);
    gw_metric_add(r->auth->metrics, M_auth_key_reads_total, 1, NULL, 0);
    if (rc != GW_OK) {
        finish(r, rc, err);
        return;
    }
    gw_metric_add(r->auth->metrics, M_auth_verifiers_compared_total, (int64_t)r->match.compared,
                  NULL, 0);
    r->secret = r->match.secret;
    r->found = r->secret != NULL;
    if (r->found)
        finish(r, GW_OK, NULL);
    else
        next_slow(r);
}

static void refuse(void *arg)
{
    finish(arg, GW_OK, NULL);
}

void key_resolve(auth *a, gw_str presented,
                 void (*done)(key_resolution *r, gw_status rc, const gw_error *err), void *arg)
{
    gw_arena *arena = gw_arena_new();
    key_resolution *r = arena ? gw_arena_new_of(arena, key_resolution) : NULL;
    if (!r) {
        gw_error err = {0};
        key_resolution none = {.auth = a, .arg = arg};
        gw_arena_free(arena);
        gw_status rc = gw_fail(&err, GW_ERR_NO_MEMORY, "out of memory");
        done(&none, rc, &err);
        return;
    }
    r->arena = arena;
    r->auth = a;
    r->done = done;
    r->arg = arg;
    r->now_ms = auth_wall_ms(a);
    r->generation = key_feed_applied(a->feed);
    r->presented = gw_arena_dup(arena, presented);
    size_t count;
    const gw_tag_key *keys = peppers_tag_keys(a->peppers, &count);
    /* The tag of a retired pepper's key cannot be told; Argon2id tells then. */
    if (!gw_key_parse(r->presented, &r->parts) || (peppers_has(a->peppers, r->parts.pepper_id) &&
                                                   !gw_key_tag_is_valid(keys, count, &r->parts))) {
        gw_loop_defer(a->loop, refuse, r);
        return;
    }
    r->job = (gw_mongo_job){.run = find_run, .done = find_done};
    gw_mongo_submit(a->mongo, &r->job);
}
