#include "session_store.h"

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#define PREFIX "auth:session:"

void session_id(gw_str token, char out[SESSION_ID_SIZE])
{
    uint8_t hash[GW_SHA256_SIZE];
    gw_sha256(token.ptr, token.len, hash);
    gw_hex_encode(hash, sizeof(hash), out);
}

void session_csrf(gw_str token, char out[SESSION_CSRF_SIZE])
{
    uint8_t mac[GW_SHA256_SIZE];
    gw_hmac_sha256(token.ptr, token.len, "csrf", 4, mac);
    gw_base64url_encode(mac, sizeof(mac), out);
}

void session_format(const session *s, char out[96])
{
    snprintf(out, 96, "%s %" PRId64 " %" PRId64, s->admin_id, s->epoch, s->created_ms);
}

bool session_parse(gw_str text, session *ret)
{
    session s = {0};
    gw_str id, epoch, created;
    gw_object_id ignored;
    if (!gw_str_split(&text, ' ', &id) || !gw_str_split(&text, ' ', &epoch) ||
        !gw_str_split(&text, ' ', &created) || text.len != 0 || !gw_object_id_parse(id, &ignored) ||
        !gw_str_to_int64(epoch, &s.epoch) || !gw_str_to_int64(created, &s.created_ms))
        return false;
    snprintf(s.admin_id, sizeof(s.admin_id), GW_STR_FMT, GW_STR_ARG(id));
    *ret = s;
    return true;
}

bool session_id_is_shaped(gw_str id)
{
    bool ok = id.len == SESSION_ID_SIZE - 1;
    for (size_t i = 0; ok && i < id.len; i++)
        ok = (id.ptr[i] >= '0' && id.ptr[i] <= '9') || (id.ptr[i] >= 'a' && id.ptr[i] <= 'f');
    return ok;
}

session_key session_key_of(gw_str id)
{
    session_key k;
    snprintf(k.text, sizeof(k.text), PREFIX GW_STR_FMT, GW_STR_ARG(id));
    return k;
}

typedef struct waiting {
    session_done_fn done;
    session_found_fn found;
    void *arg;
} waiting;

gw_status session_store_unavailable(gw_error *err)
{
    return gw_fail(err, GW_ERR_UNAVAILABLE, "sessions cannot be read or written: Redis is away");
}

static void replied(void *arg, gw_status rc, const redisReply *reply)
{
    waiting *w = arg;
    gw_error err = {0};
    session s;
    if (rc != GW_OK)
        rc = session_store_unavailable(&err);
    if (w->done)
        w->done(w->arg, rc, &err);
    else if (rc == GW_OK && reply && reply->type == REDIS_REPLY_STRING &&
             session_parse(gw_str_n(reply->str, reply->len), &s))
        w->found(w->arg, GW_OK, &s, NULL);
    else
        w->found(w->arg, rc, NULL, &err);
    free(w);
}

static waiting *waiting_new(session_done_fn done, session_found_fn found, void *arg)
{
    gw_error err = {0};
    assert(done || found);
    waiting *w = malloc(sizeof(*w));
    if (w) {
        *w = (waiting){done, found, arg};
        return w;
    }
    gw_status rc = gw_fail(&err, GW_ERR_NO_MEMORY, "session");
    if (done)
        done(arg, rc, &err);
    else
        found(arg, rc, NULL, &err);
    return NULL;
}

void session_store_put(gw_redis *r, gw_str id, const session *s, session_done_fn done, void *arg)
{
    waiting *w = waiting_new(done, NULL, arg);
    session_key key = session_key_of(id);
    char value[96], idle[24];
    if (!w)
        return;
    session_format(s, value);
    snprintf(idle, sizeof(idle), "%lld", SESSION_IDLE_MS);
    gw_redis_call(r, replied, w, GW_STR("SET"), gw_str_of(key.text), gw_str_of(value), GW_STR("PX"),
                  gw_str_of(idle));
}

void session_store_get(gw_redis *r, gw_str id, session_found_fn found, void *arg)
{
    waiting *w = waiting_new(NULL, found, arg);
    session_key key = session_key_of(id);
    if (w)
        gw_redis_call(r, replied, w, GW_STR("GET"), gw_str_of(key.text));
}

void session_store_touch(gw_redis *r, gw_str id, const session *s, int64_t now_ms)
{
    session_key key = session_key_of(id);
    int64_t left = GW_MIN(SESSION_IDLE_MS, session_end_ms(s) - now_ms);
    char text[24];
    snprintf(text, sizeof(text), "%" PRId64, GW_MAX(left, 1));
    gw_redis_call(r, NULL, NULL, GW_STR("PEXPIRE"), gw_str_of(key.text), gw_str_of(text));
}

void session_store_delete(gw_redis *r, gw_str id, session_done_fn done, void *arg)
{
    waiting *w = waiting_new(done, NULL, arg);
    session_key key = session_key_of(id);
    if (w)
        gw_redis_call(r, replied, w, GW_STR("DEL"), gw_str_of(key.text));
}
