#include "identity.h"

#include "core/net.h"
#include "key_mint.h"
#include "key_resolution.h"
#include "messages.h"
#include "session_store.h"

#define CREDENTIAL_MAX_BYTES 512
#define USED_EVERY_MS        60000

typedef struct check {
    gw_arena *arena;
    auth *auth;
    gw_mongo_job job;
    gw_identity_question asked;
    int64_t now_ms;
    identity_answer *answer;
    admin_user_view *admin;
    char session_id[SESSION_ID_SIZE];
    session session;
    gw_str admin_key_id;
    identity_done_fn done;
    void *arg;
} check;

static void finish(check *c, gw_status rc, const gw_error *err)
{
    gw_arena *arena = c->arena; /* holds the check itself */
    gw_metric_count(c->auth->metrics, M_auth_credential_checks_total,
                    rc != GW_OK        ? GW_STR("error")
                    : c->answer->valid ? GW_STR("valid")
                                       : gw_str_of(c->answer->reason));
    if (rc == GW_OK)
        c->done(c->arg, GW_OK, c->answer, c->admin, NULL);
    else
        c->done(c->arg, rc, NULL, NULL, err);
    gw_arena_free(arena);
}

static void refuse(check *c, const char *reason)
{
    c->answer->valid = false;
    c->answer->reason = message_text(c->arena, gw_str_of(reason));
    c->admin = NULL;
}

static void refuse_unknown(void *arg)
{
    check *c = arg;
    refuse(c, "unknown");
    finish(c, GW_OK, NULL);
}

/* ---- admin keys ---- */

static void accept_key(check *c, const gw_db *d, const admin_key_record *k)
{
    int64_t end = message_time_ms(k->view->expires_at);
    if (strcmp(k->view->status, "active") != 0) {
        refuse(c, "revoked");
        return;
    }
    if (end && end <= c->now_ms) {
        refuse(c, "expired");
        return;
    }
    c->answer->valid = true;
    c->answer->kind = message_text(c->arena, GW_STR("admin"));
    c->answer->username = k->view->name;
    c->answer->role = k->view->role;
    c->answer->admin_key_id = k->view->id;
    c->answer->expires_at = k->view->expires_at;
    c->admin = message_new(c->arena, &apirelay__auth__v1__admin_user__descriptor);
    if (c->admin) {
        c->admin->username = k->view->name;
        c->admin->role = k->view->role;
        c->admin->status = k->view->status;
    }
    gw_error err = {0};
    if (!c->asked.unattended &&
        c->now_ms - message_time_ms(k->view->last_used_at) >= USED_EVERY_MS &&
        admin_store_key_used(d, gw_str_of(k->view->id), c->now_ms, &err) != GW_OK)
        gw_log_warn(c->auth->log, "admin_key_use_not_kept", gw_kv("admin_key.id", k->view->id),
                    gw_kv_error(&err));
}

static gw_status admin_key_run(gw_mongo_job *j, mongoc_client_t *client,
                               mongoc_database_t *database, gw_error *err)
{
    (void)client;
    check *c = GW_CONTAINER_OF(j, check, job);
    const gw_db d = {database, j->mongo};
    static const char nothing[GW_SHA256_SIZE];
    admin_key_record k = {.hash = {nothing, sizeof(nothing)}};
    bool found = false;
    uint8_t hash[GW_SHA256_SIZE];
    gw_status rc = admin_store_find_key(&d, c->arena, c->admin_key_id, &found, &k, err);
    if (rc != GW_OK)
        return rc;
    gw_sha256(c->asked.credential.ptr, c->asked.credential.len, hash);
    bool fits = gw_secret_eq(hash, sizeof(hash), k.hash.ptr, k.hash.len);
    if (found && fits)
        accept_key(c, &d, &k);
    else
        refuse(c, "unknown");
    return GW_OK;
}

/* ---- sessions ---- */

static gw_status session_run(gw_mongo_job *j, mongoc_client_t *client, mongoc_database_t *database,
                             gw_error *err)
{
    (void)client;
    check *c = GW_CONTAINER_OF(j, check, job);
    const gw_db d = {database, j->mongo};
    admin_user_record u;
    bool found = false;
    char csrf[SESSION_CSRF_SIZE];
    gw_status rc =
        admin_store_find_user(&d, c->arena, gw_str_of(c->session.admin_id), &found, &u, err);
    if (rc != GW_OK)
        return rc;
    if (!found || strcmp(u.view->status, "active") != 0 || u.session_epoch != c->session.epoch) {
        refuse(c, "revoked");
        return GW_OK;
    }
    session_csrf(c->asked.credential, csrf);
    c->answer->valid = true;
    c->answer->kind = message_text(c->arena, GW_STR("admin"));
    c->answer->admin_id = u.view->id;
    c->answer->username = u.view->username;
    c->answer->role = u.view->role;
    c->answer->session_id = message_text(c->arena, gw_str_of(c->session_id));
    c->answer->csrf_token = message_text(c->arena, gw_str_of(csrf));
    c->answer->expires_at = message_time(c->arena, session_end_ms(&c->session));
    c->admin = u.view;
    return GW_OK;
}

static void job_done(gw_mongo_job *j, gw_status rc, const gw_error *err)
{
    check *c = GW_CONTAINER_OF(j, check, job);
    if (rc == GW_OK && c->answer->valid && *c->answer->session_id && !c->asked.unattended)
        session_store_touch(c->auth->redis, gw_str_of(c->session_id), &c->session, c->now_ms);
    finish(c, rc, err);
}

static void session_found(void *arg, gw_status rc, const session *found, const gw_error *err)
{
    check *c = arg;
    if (rc != GW_OK) {
        finish(c, rc, err);
    } else if (!found) {
        refuse_unknown(c);
    } else if (session_end_ms(found) <= c->now_ms) {
        refuse(c, "expired");
        finish(c, GW_OK, NULL);
    } else {
        c->session = *found;
        c->job = (gw_mongo_job){.run = session_run, .done = job_done};
        gw_mongo_submit(c->auth->mongo, &c->job);
    }
}

/* ---- API keys ---- */

static bool address_is_allowed(const api_key_view *k, gw_str peer_address)
{
    const Apirelay__Auth__V1__KeySecurity *s = k->security;
    gw_ip ip;
    if (s->n_ip_whitelist == 0)
        return true;
    if (!gw_ip_parse(peer_address, &ip))
        return false;
    for (size_t i = 0; i < s->n_ip_whitelist; i++) {
        gw_cidr block;
        if (gw_cidr_parse(gw_str_of(s->ip_whitelist[i]), &block) && gw_cidr_contains(&block, &ip))
            return true;
    }
    return false;
}

/* Why a key that was found is not good, NULL when it is. */
static const char *key_fault(const key_resolution *r, gw_str peer_address)
{
    const api_key_view *k = r->record.view;
    int64_t end = api_key_secret_end_ms(&r->record, r->secret);
    if (strcmp(k->status, "suspended") == 0)
        return "suspended";
    if (strcmp(k->status, "active") != 0)
        return "revoked";
    if (end && end <= r->now_ms)
        return "expired";
    return address_is_allowed(k, peer_address) ? NULL : "address";
}

static void key_resolved(key_resolution *r, gw_status rc, const gw_error *err)
{
    check *c = r->arg;
    if (rc != GW_OK) {
        finish(c, rc, err);
        return;
    }
    const char *fault = r->found ? key_fault(r, c->asked.peer_address) : "unknown";
    if (fault) {
        refuse(c, fault);
        finish(c, GW_OK, NULL);
        return;
    }
    const api_key_view *k = r->record.view;
    c->answer->valid = true;
    c->answer->kind = message_text(c->arena, GW_STR("api_key"));
    c->answer->username = k->name;
    c->answer->key_id = k->key_id;
    c->answer->api_key_id = k->id;
    c->answer->client_id = k->client_id;
    c->answer->user_id = k->user_id;
    c->answer->limits = k->limits;
    c->answer->expires_at = message_time(c->arena, api_key_secret_end_ms(&r->record, r->secret));
    finish(c, GW_OK, NULL);
}

void identity_check(auth *a, const gw_identity_question *q, identity_done_fn done, void *arg)
{
    gw_arena *arena = gw_arena_new();
    check *c = arena ? gw_arena_new_of(arena, check) : NULL;
    identity_answer *answer =
        c ? message_new(arena, &apirelay__auth__v1__check_credential_response__descriptor) : NULL;
    if (!answer) {
        gw_error err = {0};
        gw_status rc = gw_fail(&err, GW_ERR_NO_MEMORY, "out of memory");
        gw_arena_free(arena);
        done(arg, rc, NULL, NULL, &err);
        return;
    }
    *c = (check){.arena = arena,
                 .auth = a,
                 .now_ms = auth_wall_ms(a),
                 .answer = answer,
                 .done = done,
                 .arg = arg};
    c->asked.credential = gw_arena_dup(arena, gw_str_slice(q->credential, 0, CREDENTIAL_MAX_BYTES));
    c->asked.peer_address = gw_arena_dup(arena, q->peer_address);
    c->asked.unattended = q->unattended;
    if (admin_key_parse(c->asked.credential, &c->admin_key_id)) {
        c->job = (gw_mongo_job){.run = admin_key_run, .done = job_done};
        gw_mongo_submit(a->mongo, &c->job);
    } else if (session_token_is_shaped(c->asked.credential)) {
        session_id(c->asked.credential, c->session_id);
        session_store_get(a->redis, gw_str_of(c->session_id), session_found, c);
    } else if (gw_str_starts_with(c->asked.credential, GW_STR("lc_"))) {
        key_resolve(a, c->asked.credential, key_resolved, c);
    } else {
        gw_loop_defer(a->loop, refuse_unknown, c);
    }
}
