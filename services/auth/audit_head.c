#include "audit_head.h"

#include <stdlib.h>

#define RETRY_MS 60000

struct audit_head {
    auth *auth;
    gw_timer timer;
    gw_mongo_job job;
    bool stopped;
    int64_t seq;
    char hash[AUDIT_HASH_SIZE];
};

static void sign(const uint8_t key[32], int64_t seq, gw_str hash, char out[AUDIT_SIGNATURE_SIZE])
{
    gw_auto_buf text = {0};
    uint8_t mac[GW_SHA256_SIZE];
    gw_buf_appendf(&text, "%lld " GW_STR_FMT, (long long)seq, GW_STR_ARG(hash));
    gw_hmac_sha256(key, 32, text.data, text.len, mac);
    gw_hex_encode(mac, sizeof(mac), out);
}

void audit_head_sign(const peppers *p, int64_t seq, gw_str hash, char out[AUDIT_SIGNATURE_SIZE])
{
    sign(peppers_audit_head_key(p, 0), seq, hash, out);
}

bool audit_head_is_signed(const peppers *p, int64_t seq, gw_str hash, gw_str signature)
{
    const uint8_t *key;
    bool found = false;
    for (size_t i = 0; (key = peppers_audit_head_key(p, i)); i++) {
        char made[AUDIT_SIGNATURE_SIZE];
        sign(key, seq, hash, made);
        found |= gw_secret_eq(made, sizeof(made) - 1, signature.ptr, signature.len);
    }
    return found;
}

static gw_status run(gw_mongo_job *j, mongoc_client_t *client, mongoc_database_t *database,
                     gw_error *err)
{
    (void)client;
    audit_head *h = GW_CONTAINER_OF(j, audit_head, job);
    const gw_db d = {database, j->mongo};
    return audit_log_head(&d, &h->seq, h->hash, err);
}

static void ran(gw_mongo_job *j, gw_status rc, const gw_error *err)
{
    audit_head *h = GW_CONTAINER_OF(j, audit_head, job);
    if (rc == GW_OK) {
        char hex[AUDIT_SIGNATURE_SIZE];
        audit_head_sign(h->auth->peppers, h->seq, gw_str_of(h->hash), hex);
        gw_log_info(h->auth->log, "audit_head_signed", gw_kv("audit.seq", h->seq),
                    gw_kv("audit.hash", (const char *)h->hash),
                    gw_kv("audit.signature", (const char *)hex));
    } else if (rc != GW_ERR_UNAVAILABLE) {
        gw_log_error(h->auth->log, "audit_head_unreadable", gw_kv_error(err));
    }
    if (!h->stopped)
        gw_timer_set(h->auth->loop, &h->timer, rc == GW_OK ? GW_MS_PER_HOUR : RETRY_MS);
}

static void fire(void *arg)
{
    audit_head *h = arg;
    h->job = (gw_mongo_job){.run = run, .done = ran};
    gw_mongo_submit(h->auth->mongo, &h->job);
}

gw_status audit_head_new(auth *a, audit_head **ret, gw_error *err)
{
    audit_head *h = calloc(1, sizeof(*h));
    if (!h)
        return gw_fail(err, GW_ERR_NO_MEMORY, "audit head");
    h->auth = a;
    gw_timer_init(&h->timer, fire, h);
    gw_timer_set(a->loop, &h->timer, GW_MS_PER_HOUR);
    *ret = h;
    return GW_OK;
}

void audit_head_stop(audit_head *h)
{
    h->stopped = true;
    gw_timer_cancel(h->auth->loop, &h->timer);
}

void audit_head_free(audit_head *h)
{
    if (h)
        audit_head_stop(h);
    free(h);
}
