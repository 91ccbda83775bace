#include "sign_in_throttle.h"

#include "core/net.h"
#include "crypto/crypto.h"

#include <stdio.h>
#include <stdlib.h>

#define STRING_(x) #x
#define STRING(x)  STRING_(x)

/* Counts each key within a window that begins with its first try; the higher excess decides. */
static const char script_text[] =
    "local over = 0\n"
    "for i = 1, #KEYS do\n"
    "  local n = redis.call('INCR', KEYS[i])\n"
    "  if n == 1 then redis.call('PEXPIRE', KEYS[i], ARGV[1]) end\n"
    "  if n > tonumber(ARGV[i + 1]) then over = math.max(over, redis.call('PTTL', KEYS[i])) end\n"
    "end\n"
    "return over\n";

struct sign_in_throttle {
    gw_redis *redis;
    gw_redis_script *script;
};

typedef struct throttle_key {
    char text[64];
} throttle_key;

/* Who is given one address of IPv6 is given the 2^64 of its network (RFC 4291 §2.5.1): they count as one. */
static gw_str counted_address(gw_str address, char text[GW_IP_TEXT_SIZE])
{
    gw_ip ip;
    if (!gw_ip_parse(address, &ip) || !ip.is_v6)
        return address;
    memset(ip.bytes + sizeof(ip.bytes) / 2, 0, sizeof(ip.bytes) / 2);
    gw_ip_format(&ip, text);
    return gw_str_of(text);
}

/* Hashed: names and addresses as typed do not belong into Redis. */
static throttle_key key_of(const char *kind, gw_str what)
{
    throttle_key k;
    uint8_t hash[GW_SHA256_SIZE];
    char hex[2 * 16 + 1];
    gw_sha256(what.ptr, what.len, hash);
    gw_hex_encode(hash, 16, hex);
    snprintf(k.text, sizeof(k.text), "auth:signin:%s:%s", kind, hex);
    return k;
}

gw_status sign_in_throttle_new(gw_redis *r, sign_in_throttle **ret, gw_error *err)
{
    gw_auto(sign_in_throttle) t = calloc(1, sizeof(*t));
    if (t)
        t->script = gw_redis_script_new(gw_str_of(script_text));
    if (!t || !t->script)
        return gw_fail(err, GW_ERR_NO_MEMORY, "sign-in throttle");
    t->redis = r;
    *ret = gw_steal(&t);
    return GW_OK;
}

void sign_in_throttle_free(sign_in_throttle *t)
{
    if (t)
        gw_redis_script_free(t->script);
    free(t);
}

typedef struct question {
    sign_in_allowed_fn done;
    void *arg;
} question;

static void counted(void *arg, gw_status rc, const redisReply *reply)
{
    question q = *(question *)arg;
    gw_error err = {0};
    int64_t retry_after_ms = 0;
    free(arg);
    if (rc != GW_OK)
        rc = gw_fail(&err, GW_ERR_UNAVAILABLE, "sign-in is not possible now: Redis is away");
    else if (reply->type != REDIS_REPLY_INTEGER)
        rc = gw_fail(&err, GW_ERR_INTERNAL, "the sign-in throttle got an unexpected reply");
    else if (reply->integer > 0) {
        retry_after_ms = reply->integer;
        rc = gw_fail(&err, GW_ERR_RATE_LIMITED, "too many sign-ins; try again in %lld s",
                     (reply->integer + 999) / 1000);
    }
    q.done(q.arg, rc, retry_after_ms, &err);
}

void sign_in_throttle_try(sign_in_throttle *t, gw_str username, gw_str address,
                          sign_in_allowed_fn done, void *arg)
{
    gw_error err = {0};
    char network[GW_IP_TEXT_SIZE];
    throttle_key account = key_of("account", username),
                 from = key_of("address", counted_address(address, network));
    question *q = malloc(sizeof(*q));
    if (!q) {
        gw_status rc = gw_fail(&err, GW_ERR_NO_MEMORY, "out of memory");
        done(arg, rc, 0, &err);
        return;
    }
    *q = (question){done, arg};
    char window[24];
    snprintf(window, sizeof(window), "%lld", SIGN_IN_WINDOW_MS);
    const gw_str both[] = {gw_str_of(account.text), gw_str_of(from.text), gw_str_of(window),
                           GW_STR(STRING(SIGN_IN_TRIES_PER_ACCOUNT)),
                           GW_STR(STRING(SIGN_IN_TRIES_PER_ADDRESS))};
    const gw_str one[] = {both[0], both[2], both[3]};
    if (address.len)
        gw_redis_eval(t->redis, t->script, counted, q, 2, GW_ARRAY_LEN(both), both);
    else
        gw_redis_eval(t->redis, t->script, counted, q, 1, GW_ARRAY_LEN(one), one);
}

void sign_in_throttle_succeeded(sign_in_throttle *t, gw_str username)
{
    throttle_key account = key_of("account", username);
    gw_redis_call(t->redis, NULL, NULL, GW_STR("DEL"), gw_str_of(account.text));
}
