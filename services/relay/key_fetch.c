/* Asking auth for the key of an entry, once for all who wait. */
#include "key_cache_internal.h"

#include <stdlib.h>

#define RESOLVE_PATH       "/apirelay.auth.v1.KeyAccessService/Resolve"
#define FETCH_ATTEMPTS_MAX 4

typedef Apirelay__Auth__V1__ResolveResponse resolve_response;

gw_status key_is_unknown(gw_error *err)
{
    return gw_fail(err, GW_ERR_KEY_INVALID, "Incorrect API key provided.");
}

gw_status key_cannot_be_checked(gw_error *err)
{
    return gw_fail(err, GW_ERR_UNAVAILABLE, "the API key cannot be checked at the moment");
}

/* ---- the end ---- */

/* What brought nothing to keep leaves no entry. Who waits is moved out first: the entry may be gone, or asked again, while they are told. */
static void end_fetch(key_entry *e, gw_status rc, const gw_error *err)
{
    gw_list waits;
    key_policy *policy = rc == GW_OK ? key_policy_ref(e->policy) : NULL;
    gw_list_init(&waits);
    for (gw_list *node; (node = gw_list_pop_front(&e->waits));)
        gw_list_push_back(&waits, node);
    if (rc == GW_OK || rc == GW_ERR_KEY_INVALID)
        key_entry_forget_presented(e);
    else
        key_entry_remove(e);
    for (gw_list *node; (node = gw_list_pop_front(&waits));) {
        key_wait *w = GW_CONTAINER_OF(node, key_wait, node);
        w->done(w->arg, rc, policy ? key_policy_ref(policy) : NULL, err);
    }
    key_policy_unref(policy);
}

/* ---- the answer ---- */

/* One from before the last change of its key, or from before a reset, is never believed. */
static bool is_outdated(const key_entry *e, const resolve_response *answer)
{
    int64_t generation = answer->found ? answer->policy->generation : answer->generation;
    return e->fetch_epoch != e->cache->epoch || generation < e->slot->changed_generation ||
           (answer->found && key_groups_outdate(e->cache, answer->policy));
}

/* protobuf-c copies a message only by way of its bytes. */
static Apirelay__Auth__V1__KeyPolicy *policy_copy(const Apirelay__Auth__V1__KeyPolicy *m)
{
    size_t len = apirelay__auth__v1__key_policy__get_packed_size(m);
    gw_auto_free uint8_t *bytes = malloc(len + 1);
    if (!bytes)
        return NULL;
    apirelay__auth__v1__key_policy__pack(m, bytes);
    return apirelay__auth__v1__key_policy__unpack(NULL, len, bytes);
}

static gw_status read_policy(const Apirelay__Auth__V1__KeyPolicy *m, key_policy **ret,
                             gw_error *err)
{
    Apirelay__Auth__V1__KeyPolicy *message = policy_copy(m);
    return message ? key_policy_new(message, ret, err)
                   : gw_fail(err, GW_ERR_NO_MEMORY, "no memory for the policy of a key");
}

/* GW_ERR_KEY_INVALID: that is what is kept. */
static gw_status keep(key_entry *e, const resolve_response *answer, gw_error *err)
{
    key_policy *policy = NULL;
    e->fetched_ms = gw_loop_now_ms(e->cache->loop);
    e->is_unknown = !answer->found;
    if (e->is_unknown)
        return key_is_unknown(err);
    if (read_policy(answer->policy, &policy, err) != GW_OK) {
        gw_log_error(e->cache->options.log, "key_policy_unusable",
                     gw_kv("apirelay.key.id", e->slot->key_id), gw_kv_error(err));
        return key_cannot_be_checked(err);
    }
    key_groups_leave(e);
    key_policy_unref(e->policy);
    e->policy = policy;
    return key_groups_join(e) ? GW_OK : key_cannot_be_checked(err);
}

/* ---- the call ---- */

static void fetch_done(void *arg, gw_status rc, const ProtobufCMessage *response,
                       const gw_error *err);

static void fetch(key_entry *e)
{
    key_cache *c = e->cache;
    Apirelay__Auth__V1__ResolveRequest request = APIRELAY__AUTH__V1__RESOLVE_REQUEST__INIT;
    request.presented_key.data = (uint8_t *)e->presented.data;
    request.presented_key.len = e->presented.len;
    request.since_generation = e->slot->changed_generation;
    e->fetch_epoch = c->epoch;
    gw_rpc_call_options o =
        key_cache_call(c, RESOLVE_PATH, &apirelay__auth__v1__resolve_response__descriptor,
                       c->options.resolve_timeout_ms);
    o.wait_for_ready = true; /* auth may be restarting: wait within the deadline */
    e->fetch = gw_rpc_unary(c->options.auth, &o, &request.base, fetch_done, e);
    if (e->fetch)
        key_cache_operation_begun(c);
}

static bool fetch_again(key_entry *e)
{
    if (++e->fetch_attempts < FETCH_ATTEMPTS_MAX)
        fetch(e);
    return e->fetch != NULL;
}

static void fetch_done(void *arg, gw_status rc, const ProtobufCMessage *response,
                       const gw_error *err)
{
    key_entry *e = arg;
    const resolve_response *answer = (const resolve_response *)(const void *)response;
    gw_error own;
    e->fetch = NULL;
    if (!key_cache_operation_ended(e->cache))
        return;
    if (rc != GW_OK)
        gw_log_warn(e->cache->options.log, "key_resolve_failed",
                    gw_kv("apirelay.key.id", e->slot->key_id), gw_kv_error(err));
    bool is_whole = rc == GW_OK && (!answer->found || answer->policy);
    bool is_late = is_whole && is_outdated(e, answer);
    if (is_late && fetch_again(e))
        return;
    rc = is_whole && !is_late ? keep(e, answer, &own) : key_cannot_be_checked(&own);
    end_fetch(e, rc, &own);
}

key_lookup key_fetch(key_entry *e, gw_str presented, key_wait *wait, gw_error *err)
{
    gw_list_push_back(&e->waits, &wait->node);
    if (e->fetch)
        return KEY_PENDING;
    gw_buf_append_str(&e->presented, presented);
    e->fetch_attempts = 0;
    if (!gw_buf_failed(&e->presented))
        fetch(e);
    if (e->fetch)
        return KEY_PENDING;
    gw_list_remove(&wait->node);
    key_cannot_be_checked(err);
    key_entry_remove(e);
    return KEY_REFUSED;
}
