#include "request_signature.h"

#include "core/clock.h"

#define NONCE_MIN      16
#define TIMESTAMP_MAX  20 /* digits */
#define SIGNATURE_LEN  (sizeof("v1=") - 1 + 2 * (size_t)GW_SHA256_SIZE)
#define TIMESTAMP_NAME "x-relay-timestamp"
#define NONCE_NAME     "x-relay-nonce"
#define SIGNATURE_NAME "x-relay-signature"

/* ---- reading ---- */

static gw_status check_once(gw_headers h, gw_error *err)
{
    static const char *const names[] = {TIMESTAMP_NAME, NONCE_NAME, SIGNATURE_NAME};

    for (size_t i = 0; i < GW_ARRAY_LEN(names); i++)
        if (gw_headers_count_of(h, names[i]) > 1)
            return gw_fail(err, GW_ERR_INVALID_ARGUMENT, "the header %s is given twice", names[i]);
    return GW_OK;
}

static bool nonce_is_valid(gw_str s)
{
    if (s.len < NONCE_MIN || s.len > REQUEST_SIGNATURE_NONCE_MAX)
        return false;
    for (size_t i = 0; i < s.len; i++) {
        char c = s.ptr[i];
        if (!((c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') ||
              c == '_' || c == '-'))
            return false;
    }
    return true;
}

static bool mac_is_valid(gw_str s, uint8_t mac[GW_SHA256_SIZE])
{
    return s.len == SIGNATURE_LEN && gw_str_starts_with(s, GW_STR("v1=")) &&
           gw_hex_decode(gw_str_slice(s, 3, s.len), mac, GW_SHA256_SIZE);
}

static gw_status malformed(const char *name, const char *allowed, gw_error *err)
{
    return gw_fail(err, GW_ERR_SIGNATURE_INVALID, "the header %s must be %s", name, allowed);
}

static gw_status check_time(gw_str timestamp, int64_t now_wall_ms, gw_error *err)
{
    int64_t seconds, off_ms;

    if (timestamp.len > TIMESTAMP_MAX || !gw_str_to_int64(timestamp, &seconds) || seconds < 0)
        return malformed(TIMESTAMP_NAME, "the time in seconds since 1970", err);
    if (__builtin_mul_overflow(seconds, GW_MS_PER_S, &off_ms) ||
        __builtin_sub_overflow(off_ms, now_wall_ms, &off_ms) ||
        off_ms > REQUEST_SIGNATURE_SKEW_MS || off_ms < -REQUEST_SIGNATURE_SKEW_MS)
        return gw_fail(err, GW_ERR_SIGNATURE_EXPIRED,
                       "%s is more than 300 s from the time here, which is %lld", TIMESTAMP_NAME,
                       (long long)(now_wall_ms / GW_MS_PER_S));
    return GW_OK;
}

gw_status request_signature_read(gw_headers h, int64_t now_wall_ms, request_signature *ret,
                                 bool *ret_present, gw_error *err)
{
    gw_str signature = gw_headers_get(h, SIGNATURE_NAME);
    request_signature s = {.timestamp = gw_headers_get(h, TIMESTAMP_NAME),
                           .nonce = gw_headers_get(h, NONCE_NAME)};

    if (!signature.ptr && !s.timestamp.ptr && !s.nonce.ptr) {
        *ret_present = false;
        return GW_OK;
    }
    gw_status rc = check_once(h, err);
    if (rc == GW_OK && !mac_is_valid(signature, s.mac))
        rc = malformed(SIGNATURE_NAME, "v1= and 64 hex digits", err);
    if (rc == GW_OK && !nonce_is_valid(s.nonce))
        rc = malformed(NONCE_NAME, "16-128 characters of A-Z, a-z, 0-9, _ and -", err);
    if (rc == GW_OK)
        rc = check_time(s.timestamp, now_wall_ms, err);
    if (rc != GW_OK)
        return rc;
    *ret = s;
    *ret_present = true;
    return GW_OK;
}

/* ---- verifying ---- */

bool request_signature_mac(const request_signature *s, const signed_content *c, gw_str secret,
                           uint8_t out[GW_SHA256_SIZE])
{
    gw_auto_buf text = {0};
    uint8_t digest[GW_SHA256_SIZE];
    char hex[2 * GW_SHA256_SIZE + 1];

    gw_sha256(c->body.ptr, c->body.len, digest);
    gw_hex_encode(digest, sizeof(digest), hex);
    const gw_str lines[] = {GW_STR("v1"), s->timestamp, s->nonce,
                            c->method,    c->target,    gw_str_of(hex)};
    for (size_t i = 0; i < GW_ARRAY_LEN(lines); i++) {
        if (i > 0)
            gw_buf_append_char(&text, '\n');
        gw_buf_append_str(&text, lines[i]);
    }
    if (gw_buf_failed(&text))
        return false;
    gw_hmac_sha256(secret.ptr, secret.len, text.data, text.len, out);
    return true;
}

gw_status request_signature_check(const request_signature *s, const signed_content *c,
                                  gw_str secret, gw_error *err)
{
    uint8_t mac[GW_SHA256_SIZE];

    if (!request_signature_mac(s, c, secret, mac))
        return gw_fail(err, GW_ERR_NO_MEMORY, "the gateway is out of memory");
    if (!gw_secret_eq(mac, sizeof(mac), s->mac, sizeof(s->mac)))
        return gw_fail(err, GW_ERR_SIGNATURE_INVALID,
                       "the signature does not fit the request and this API key's signing secret");
    return GW_OK;
}
