/*
 * One reading of a set of TLS files: what they hold, and all that is wrong with them. Not for others than libs/tls.
 *
 * Thread: values.
 */
#pragma once

#include "core/clock.h"
#include "tls/tls_files.h"

typedef struct tls_pem_set {
    gw_buf cert, key, ca; /* PEM texts, empty where there is no file */
    int64_t not_before_ms, not_after_ms; /* of the own certificate, wall time; 0 without one */
    bool key_is_open; /* others than owner and group may read the key */
} tls_pem_set;

/* *ret is filled only on GW_OK. All mistakes are in one message: GW_ERR_INVALID_ARGUMENT, GW_ERR_IO, GW_ERR_NO_MEMORY. */
GW_CHECK gw_status tls_pem_read(const gw_tls_paths *paths, tls_pem_set *ret, gw_error *err);
void tls_pem_fini(tls_pem_set *s); /* wipes the key; zeroes */
bool tls_pem_equal(const tls_pem_set *a, const tls_pem_set *b);
