/*
 * Request signature: that a request was made by the holder of its key's signing secret, just now, and is what was signed
 * (docs/api.md, Signed requests).
 *
 *     X-Relay-Timestamp: 1764230400          unix seconds, 300 s off at most
 *     X-Relay-Nonce: 16-128 of [A-Za-z0-9_-]  once (nonce_store.h)
 *     X-Relay-Signature: v1=<64 hex digits>   HMAC-SHA256(secret, string to sign)
 *
 *     v1\n<timestamp>\n<nonce>\n<METHOD>\n<raw request target>\n<hex SHA-256 of the body>
 *
 * Thread: values.
 */
#pragma once

#include "crypto/crypto.h"
#include "http/message.h"

#define REQUEST_SIGNATURE_SKEW_MS   300000
#define REQUEST_SIGNATURE_NONCE_MAX 128

typedef struct request_signature {
    gw_str timestamp, nonce; /* views of the headers */
    uint8_t mac[GW_SHA256_SIZE];
} request_signature;

/* What is signed beside them. */
typedef struct signed_content {
    gw_str method, target, body;
} signed_content;

/*
 * What the headers say; *ret_present is false, and nothing else set, when there is none of the three. GW_ERR_INVALID_ARGUMENT:
 * one of them twice. GW_ERR_SIGNATURE_INVALID: one missing or malformed. GW_ERR_SIGNATURE_EXPIRED: the time is too far off.
 */
GW_CHECK gw_status request_signature_read(gw_headers h, int64_t now_wall_ms, request_signature *ret,
                                          bool *ret_present, gw_error *err);

/* The HMAC of the string to sign. False when out of memory. */
GW_CHECK bool request_signature_mac(const request_signature *s, const signed_content *c,
                                    gw_str secret, uint8_t out[GW_SHA256_SIZE]);

/* GW_ERR_SIGNATURE_INVALID when it is another one, compared in constant time; GW_ERR_NO_MEMORY. */
GW_CHECK gw_status request_signature_check(const request_signature *s, const signed_content *c,
                                           gw_str secret, gw_error *err);
