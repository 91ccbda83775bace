/*
 * Resolver: names to addresses on a thread of its own, addresses at once. Private to libs/redis.
 *
 * Not uv_getaddrinfo: a look-up that hangs there cannot be ended, and would outlive its loop.
 */
#pragma once

#include "core/status.h"
#include "loop/loop.h"

#include <sys/socket.h>

#define GW_REDIS_ADDRESSES_MAX 8

typedef struct gw_redis_addresses {
    size_t count;
    struct sockaddr_storage list[GW_REDIS_ADDRESSES_MAX];
} gw_redis_addresses;

typedef struct gw_redis_resolver gw_redis_resolver;

gw_redis_resolver *gw_redis_resolver_new(
    gw_loop *l); /* NULL when out of memory; the thread comes with the first name */
/* Waits for a look-up under way, and calls what is due. Not from a callback. */
void gw_redis_resolver_free(gw_redis_resolver *v);
GW_DEFINE_FREEP(gw_redis_resolver)

/* `addresses` is NULL on failure, `err` NULL on success. */
typedef void (*gw_redis_resolved_fn)(void *arg, const gw_redis_addresses *addresses,
                                     const gw_error *err);

/* `done` is called exactly once: inside this call for an address, on the loop for a name. */
void gw_redis_resolve(gw_redis_resolver *v, const char *host, uint16_t port,
                      gw_redis_resolved_fn done, void *arg);
