#include "secret_rotation.h"

#include "access/key_secret.h"
#include "audit_log.h"
#include "core/str.h"
#include "messages.h"
#include "mongo/command.h"

#define PAGE 100

/* ---- one key ---- */

typedef struct resealing {
    key_change_plan plan;
    const gw_master_keys *keys;
} resealing;

#define SECRETS 3

/* What of a key is sealed; "" where there is none. */
typedef struct sealed_secret {
    const char *field;
    gw_str *sealed;
} sealed_secret;

static void secrets_of(api_key_record *k, sealed_secret ret[SECRETS])
{
    ret[0] = (sealed_secret){GW_KEY_SECRET_SIGNING, &k->signing_sealed};
    ret[1] = (sealed_secret){GW_KEY_SECRET_SIGNING, &k->signing_previous_sealed};
    ret[2] = (sealed_secret){GW_KEY_SECRET_LIBRECHAT, &k->librechat_sealed};
}

static bool is_due(const gw_master_keys *keys, gw_str sealed)
{
    return sealed.len > 0 && !gw_seal_is_newest(keys, sealed);
}

static gw_status reseal(const resealing *r, gw_arena *a, gw_str id, const sealed_secret *s,
                        gw_error *err)
{
    gw_auto_buf plain = {0}, anew = {0};

    gw_status rc = gw_key_secret_open(r->keys, id, s->field, *s->sealed, &plain, err);
    if (rc == GW_OK)
        rc = gw_key_secret_seal(r->keys, id, s->field, gw_buf_str(&plain), &anew, err);
    if (plain.data)
        gw_secret_wipe(plain.data, plain.len);
    if (rc != GW_OK)
        return rc;
    *s->sealed = gw_arena_dup(a, gw_buf_str(&anew));
    return s->sealed->ptr ? GW_OK : gw_fail(err, GW_ERR_NO_MEMORY, "no memory for a secret");
}

static gw_status reseal_apply(key_change_plan *p, gw_arena *a, api_key_record *k, bool *ret_changed,
                              gw_error *err)
{
    const resealing *r = GW_CONTAINER_OF(p, resealing, plan);
    sealed_secret secrets[SECRETS];
    gw_status rc = GW_OK;

    *ret_changed = false;
    secrets_of(k, secrets);
    for (size_t i = 0; i < SECRETS && rc == GW_OK; i++) {
        if (!is_due(r->keys, *secrets[i].sealed))
            continue;
        rc = reseal(r, a, gw_str_of(k->view->id), &secrets[i], err);
        *ret_changed = true;
    }
    return rc;
}

static gw_status rotate_key(const gw_db *d, gw_arena *a, const gw_master_keys *keys,
                            api_key_record *k, int64_t now_ms, secret_rotation *ret, gw_error *err)
{
    resealing r = {.plan = {.apply = reseal_apply, .writes_secrets = true, .now_ms = now_ms},
                   .keys = keys};
    sealed_secret secrets[SECRETS];
    api_key_record stored;
    bool has_any = false, any_is_due = false, changed = false;

    secrets_of(k, secrets);
    for (size_t i = 0; i < SECRETS; i++) {
        has_any |= secrets[i].sealed->len > 0;
        any_is_due |= is_due(keys, *secrets[i].sealed);
    }
    ret->keys += has_any;
    if (!any_is_due)
        return GW_OK;
    gw_status rc = key_store_change(d, a, gw_str_of(k->view->id), &r.plan, &stored, &changed, err);
    ret->rotated += rc == GW_OK && changed;
    ret->failed += rc != GW_OK;
    return rc == GW_OK ? rc : gw_error_prefix(err, "key %s", k->view->id);
}

/* ---- all of them ---- */

static gw_status rotate_page(const gw_db *d, gw_arena *a, const gw_master_keys *keys, key_filter *f,
                             bool *ret_more, int64_t now_ms, secret_rotation *ret, gw_error *first)
{
    api_key_record *page = gw_arena_array(a, api_key_record, PAGE);
    size_t count = 0;
    gw_error err = {0};

    f->limit = PAGE;
    if (!page)
        return gw_fail(first, GW_ERR_NO_MEMORY, "no memory for keys");
    gw_status rc = key_store_list(d, a, f, page, &count, first);
    if (rc != GW_OK)
        return rc;
    for (size_t i = 0; i < count; i++) {
        gw_status one = rotate_key(d, a, keys, &page[i], now_ms, ret, &err);
        if (one != GW_OK && rc == GW_OK) {
            rc = one;
            *first = err;
        }
    }
    *ret_more = count == PAGE;
    if (count > 0)
        f->after_id = gw_str_of(page[count - 1].view->id);
    return rc;
}

/* A page at a time: each in an arena of its own. */
static gw_status rotate_status(const gw_db *d, const gw_master_keys *keys, const char *status,
                               int64_t now_ms, secret_rotation *ret, gw_error *first)
{
    char after[32] = "";
    gw_status rc = GW_OK;

    for (bool more = true; more;) {
        gw_auto(gw_arena) a = gw_arena_new();
        key_filter f = {.status = gw_str_of(status), .after_id = gw_str_of(after)};
        gw_error err = {0};

        more = false;
        if (!a)
            return gw_fail(first, GW_ERR_NO_MEMORY, "no memory for keys");
        gw_status page = rotate_page(d, a, keys, &f, &more, now_ms, ret, &err);
        if (page != GW_OK && rc == GW_OK) {
            rc = page;
            *first = err;
        }
        (void)snprintf(after, sizeof(after), "%.*s", GW_STR_ARG(f.after_id));
    }
    return rc;
}

gw_status secret_rotation_run(const gw_db *d, const gw_master_keys *k, int64_t now_ms,
                              secret_rotation *ret, gw_error *err)
{
    static const char *const statuses[] = {"", "revoked"}; /* "": all the others */
    gw_status rc = GW_OK;

    *ret = (secret_rotation){0};
    for (size_t i = 0; i < GW_ARRAY_LEN(statuses); i++) {
        gw_error own = {0};
        gw_status one = rotate_status(d, k, statuses[i], now_ms, ret, &own);
        if (one != GW_OK && rc == GW_OK) {
            rc = one;
            *err = own;
        }
    }
    return rc;
}

/* ---- auth rotate-secrets ---- */

typedef struct command {
    const gw_master_keys *keys;
    secret_rotation done;
} command;

static gw_status note(const gw_db *d, const char *phase, const char *outcome, const char *payload,
                      gw_error *err)
{
    gw_auto(gw_arena) a = gw_arena_new();
    audit_entry *e = a ? message_new(a, &apirelay__auth__v1__audit_entry__descriptor) : NULL;

    if (!e)
        return gw_fail(err, GW_ERR_NO_MEMORY, "audit entry");
    e->at = message_time(a, gw_clock_wall_ms(&gw_system_clock));
    e->actor_kind = message_text(a, GW_STR("system"));
    e->actor_id = e->actor_name = message_text(a, GW_STR("auth rotate-secrets"));
    e->action = message_text(a, GW_STR("secrets.rotate"));
    e->phase = message_text(a, gw_str_of(phase));
    e->outcome = message_text(a, gw_str_of(outcome));
    e->payload_json = message_text(a, gw_str_of(payload));
    return audit_log_append(d, a, e, err);
}

static gw_status run(void *arg, const gw_db *d, gw_error *err)
{
    command *c = arg;
    gw_error lost;
    char payload[128];

    gw_status rc = note(d, "intent", "", "", err);
    if (rc != GW_OK)
        return gw_error_prefix(err, "nothing was done, the audit log cannot be written");
    rc = secret_rotation_run(d, c->keys, gw_clock_wall_ms(&gw_system_clock), &c->done, err);
    (void)snprintf(payload, sizeof(payload), "{\"keys\":%lld,\"rotated\":%lld,\"failed\":%lld}",
                   (long long)c->done.keys, (long long)c->done.rotated, (long long)c->done.failed);
    const char *outcome = rc == GW_OK ? "ok" : gw_status_describe(rc)->name;
    gw_status noted = note(d, "result", outcome, payload, &lost);
    if (rc == GW_OK && noted != GW_OK)
        *err = lost;
    return rc == GW_OK ? noted : rc;
}

int secret_rotation_command(const auth_conf *conf, gw_log *log)
{
    gw_auto(gw_master_keys) keys = NULL;
    gw_error err = {0};
    command c = {0};
    const gw_mongo_command in_db = {.name = "auth rotate-secrets",
                                    .uri = conf->mongo_uri,
                                    .database = conf->mongo_database,
                                    .ca_file = conf->mongo_ca_file,
                                    .threads = 1,
                                    .run = run,
                                    .arg = &c};

    gw_status rc = conf->base.n_args != 1
                       ? gw_fail(&err, GW_ERR_INVALID_ARGUMENT, "usage: auth rotate-secrets")
                   : !conf->master_keys_file
                       ? gw_fail(&err, GW_ERR_INVALID_ARGUMENT, "master_keys_file is not set")
                       : gw_master_keys_load(conf->master_keys_file, &keys, &err);
    bool began = rc == GW_OK;
    c.keys = keys;
    if (began)
        rc = gw_mongo_command_run(&in_db, log, &err);
    if (rc == GW_OK)
        gw_log_info(log, "secrets_rotated", gw_kv("keys", c.done.keys),
                    gw_kv("rotated", c.done.rotated));
    else
        gw_log_error(log, "secrets_rotation_failed", gw_kv("keys", c.done.keys),
                     gw_kv("rotated", c.done.rotated), gw_kv("failed", c.done.failed),
                     gw_kv_error(&err));
    return rc == GW_OK ? 0 : began ? 1 : 2;
}
