#include "redis/resolve.h"

#include "loop/workers.h"

#include <netdb.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>

struct gw_redis_resolver {
    gw_loop *loop;
    gw_workers *workers;
};

typedef struct look_up {
    gw_job job;
    gw_redis_resolved_fn done;
    void *arg;
    uint16_t port;
    gw_status rc;
    gw_error err;
    gw_redis_addresses addresses;
    char host[];
} look_up;

gw_redis_resolver *gw_redis_resolver_new(gw_loop *l)
{
    gw_redis_resolver *v = calloc(1, sizeof(*v));
    if (v)
        v->loop = l;
    return v;
}

void gw_redis_resolver_free(gw_redis_resolver *v)
{
    if (!v)
        return;
    if (v->workers)
        gw_workers_free(v->workers);
    free(v);
}

static gw_status resolve(const char *host, uint16_t port, int flags, gw_redis_addresses *ret,
                         gw_error *err)
{
    char service[8];
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = flags | AI_NUMERICSERV};
    struct addrinfo *found = NULL;
    snprintf(service, sizeof(service), "%u", port);
    int rc = getaddrinfo(host, service, &hints, &found);
    if (rc != 0)
        return gw_fail(err, GW_ERR_UNAVAILABLE, "cannot resolve %s: %s", host, gai_strerror(rc));
    ret->count = 0;
    for (const struct addrinfo *a = found; a && ret->count < GW_REDIS_ADDRESSES_MAX;
         a = a->ai_next) {
        if (a->ai_addrlen <= sizeof(ret->list[0]))
            memcpy(&ret->list[ret->count++], a->ai_addr, a->ai_addrlen);
    }
    freeaddrinfo(found);
    return GW_OK;
}

static void look_up_work(gw_job *j)
{
    look_up *u = GW_CONTAINER_OF(j, look_up, job);
    u->rc = resolve(u->host, u->port, AI_ADDRCONFIG, &u->addresses, &u->err);
}

static void look_up_done(gw_job *j)
{
    look_up *u = GW_CONTAINER_OF(j, look_up, job);
    bool ok = u->rc == GW_OK;
    u->done(u->arg, ok ? &u->addresses : NULL, ok ? NULL : &u->err);
    free(u);
}

static gw_status submit(gw_redis_resolver *v, const char *host, uint16_t port,
                        gw_redis_resolved_fn done, void *arg, gw_error *err)
{
    gw_status rc = GW_OK;
    if (!v->workers)
        rc = gw_workers_new(v->loop, "redis-dns", 1, 8, &v->workers, err);
    if (rc != GW_OK)
        return rc;
    size_t size = strlen(host) + 1;
    look_up *u = calloc(1, sizeof(*u) + size);
    if (!u)
        return gw_fail(err, GW_ERR_NO_MEMORY, "out of memory");
    u->job.work = look_up_work;
    u->job.done = look_up_done;
    u->done = done;
    u->arg = arg;
    u->port = port;
    memcpy(u->host, host, size);
    rc = gw_workers_submit(v->workers, &u->job, err);
    if (rc != GW_OK)
        free(u);
    return rc;
}

void gw_redis_resolve(gw_redis_resolver *v, const char *host, uint16_t port,
                      gw_redis_resolved_fn done, void *arg)
{
    gw_redis_addresses addresses;
    gw_error err = {0};
    if (resolve(host, port, AI_NUMERICHOST, &addresses, NULL) == GW_OK)
        done(arg, &addresses, NULL);
    else if (submit(v, host, port, done, arg, &err) != GW_OK)
        done(arg, NULL, &err);
}
