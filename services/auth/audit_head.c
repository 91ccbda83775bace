#include "audit_head.h"

#include "audit_log.h"

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
        gw_auto_buf text = {0};
        uint8_t mac[GW_SHA256_SIZE];
        char hex[2 * GW_SHA256_SIZE + 1];
        gw_buf_appendf(&text, "%lld %s", (long long)h->seq, h->hash);
        gw_hmac_sha256(peppers_audit_head_key(h->auth->peppers), 32, text.data, text.len, mac);
        gw_hex_encode(mac, sizeof(mac), hex);
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
