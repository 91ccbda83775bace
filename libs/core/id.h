/*
 * Identifiers: randomness from the kernel and the textual forms made of it.
 */
#pragma once

#include "core/status.h"
#include "core/str.h"

/* Bytes of getrandom(2); never fails after boot (aborts when the kernel cannot). */
void gw_random_bytes(void *out, size_t len);
uint64_t gw_random_u64(void);
uint64_t gw_random_below(uint64_t bound); /* unbiased, bound > 0 */

/* `len` characters of [0-9A-Za-z], unbiased, NUL-terminated (out: len + 1). */
void gw_random_base62(char *out, size_t len);

/* A request id: "req_" and 24 characters of base62; sortable is no promise. No secret: not for tokens. Any thread. */
#define GW_REQUEST_ID_SIZE 29
void gw_request_id(char out[GW_REQUEST_ID_SIZE]);

/* 12-byte BSON ObjectId made here: seconds, 5 random bytes of this process, counter. */
typedef struct gw_object_id {
    uint8_t bytes[12];
} gw_object_id;
#define GW_OBJECT_ID_HEX_SIZE 25
void gw_object_id_make(gw_object_id *out, int64_t wall_ms);
void gw_object_id_format(const gw_object_id *id, char out[GW_OBJECT_ID_HEX_SIZE]);
GW_CHECK bool gw_object_id_parse(gw_str hex, gw_object_id *ret); /* 24 hex digits */
