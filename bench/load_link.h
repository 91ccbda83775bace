/*
 * One client connection of a load run: connects, writes, reads whole answers, one after the other.
 *
 * Thread: the loop's. Callbacks come from the loop, never from inside a call.
 */
#pragma once

#include "core/str.h"
#include "loop/loop.h"

#include <stdbool.h>
#include <stdint.h>

typedef struct load_link load_link;

typedef struct load_link_ops {
    void (*connected)(load_link *l, void *arg);
    void (*body)(load_link *l, gw_str bytes, void *arg); /* may be NULL */
    /* The answer is whole. `keeps`: the connection takes another request. */
    void (*answered)(load_link *l, int status, bool keeps, void *arg);
    /* Closed by the peer, or failed; not after load_link_close(). The link is gone when it returns. */
    void (*lost)(load_link *l, void *arg);
} load_link_ops;

typedef struct load_target load_target; /* where links go: an address, and TLS or not */
/* `ca_file` NULL: plain. GW_ERR_IO when it cannot be read. */
GW_CHECK gw_status load_target_new(gw_loop *l, uint16_t port, const char *ca_file,
                                   load_target **ret, gw_error *err);
void load_target_free(load_target *t); /* every link is closed by now */
GW_DEFINE_FREEP(load_target)

/* Starts to connect. NULL when out of memory or descriptors. `ops` outlives it. */
load_link *load_link_open(load_target *t, const load_link_ops *ops, void *arg);
/* Once connected. Copies what the socket does not take at once. */
void load_link_write(load_link *l, const gw_str *parts, size_t count);
void load_link_stop_reading(load_link *l); /* once connected: from now on nothing is taken */
/* No callback afterwards. `resets`: with a RST, as a process that died. */
void load_link_close(load_link *l, bool resets);
