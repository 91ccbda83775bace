#include "access/access.h"

#include "access/identity_cache.h"
#include "core/list.h"
#include "core/map.h"
#include "core/net.h"
#include "crypto/crypto.h"
#include "rpc/forwarded.h"

#include <stdlib.h>

#define CREDENTIAL_MAX 512

struct gw_access_checker {
    gw_loop *loop;
    gw_log *log;
    const gw_service_tokens *tokens;
    const gw_peers *peers; /* NULL: the tokens count */
    gw_identify identify;
    gw_identity_channel *channel; /* when `identify` is ours */
    bool keeps_nothing;
    gw_identity_cache *cache;
    gw_map *questions; /* key -> question: those that auth has not answered */
};

typedef struct waiter {
    gw_list node;
    gw_rpc_call *call; /* waits for gw_rpc_authorized(), so it lives */
} waiter;

/* One credential from one address. */
typedef struct question {
    gw_access_checker *checker;
    uint8_t key[GW_SHA256_SIZE];
    int64_t asked_ms;
    gw_list waiters;
} question;

gw_status gw_access_checker_new(gw_loop *l, const gw_access_options *o, gw_access_checker **ret,
                                gw_error *err)
{
    gw_auto(gw_access_checker) c = calloc(1, sizeof *c);
    if (!c)
        return gw_fail(err, GW_ERR_NO_MEMORY, "access: out of memory");
    c->loop = l;
    c->log = o->log;
    c->tokens = o->tokens;
    c->peers = o->peers;
    c->identify = o->identify;
    c->keeps_nothing = o->keeps_nothing;
    c->cache = gw_identity_cache_new(GW_ACCESS_CACHE_MAX);
    c->questions = gw_map_new(NULL);
    if (!o->identify.identify && o->auth) {
        c->channel = gw_identity_channel_new(o->auth, o->own_token, o->log);
        if (c->channel)
            c->identify = gw_identity_channel_seam(c->channel);
    }
    if (!c->cache || !c->questions || (o->auth && !c->identify.identify))
        return gw_fail(err, GW_ERR_NO_MEMORY, "access: out of memory");
    *ret = gw_steal(&c);
    return GW_OK;
}

void gw_access_checker_free(gw_access_checker *c)
{
    if (!c)
        return;
    gw_map_free(c->questions);
    gw_identity_cache_free(c->cache);
    gw_identity_channel_free(c->channel);
    free(c);
}

gw_status gw_access_decide(const gw_method *m, const gw_caller *caller, gw_error *err)
{
    const gw_access *a = &m->access;
    bool may = a->anyone;
    switch (caller->kind) {
    case GW_CALLER_SERVICE:
        for (size_t i = 0; i < a->service_count; i++)
            may = may || gw_str_eq(a->services[i], caller->name);
        break;
    case GW_CALLER_ADMIN:
        may = may || (a->admin != GW_ROLE_NONE && caller->role >= a->admin);
        break;
    case GW_CALLER_API_KEY:
        may = may || a->api_key;
        break;
    case GW_CALLER_ANYONE:
        break;
    }
    if (may && a->declared)
        return GW_OK;
    return gw_fail(err, GW_ERR_PERMISSION_DENIED, "the caller may not call " GW_STR_FMT,
                   GW_STR_ARG(m->name));
}

gw_str gw_access_peer_address(gw_str peer)
{
    gw_str scheme, rest = peer;
    if (!gw_str_split(&rest, ':', &scheme) || !rest.ptr)
        return GW_STR("");
    if (gw_str_eq_c(scheme, "ipv4")) {
        ptrdiff_t colon = gw_str_find(rest, ':');
        return gw_str_slice(rest, 0, colon < 0 ? rest.len : (size_t)colon);
    }
    if (!gw_str_eq_c(scheme, "ipv6"))
        return GW_STR("");
    size_t from = gw_str_starts_with(rest, GW_STR("%5B")) ? 3
                  : gw_str_starts_with(rest, GW_STR("[")) ? 1
                                                          : rest.len;
    gw_str address = gw_str_slice(rest, from, rest.len);
    ptrdiff_t end = gw_str_find(address, from == 3 ? '%' : ']');
    return end < 0 ? GW_STR("") : gw_str_slice(address, 0, (size_t)end);
}

/* ---- answers ---- */

static void refuse(gw_rpc_call *call, gw_status code, const char *message)
{
    gw_error err;
    gw_rpc_authorized(call, gw_fail(&err, code, "%s", message), NULL, &err);
}

static bool is_from_gateway(const gw_access_checker *c, gw_rpc_call *call)
{
    const gw_str gateway = GW_STR("admin-gw");
    gw_str token = gw_rpc_call_metadata(call, GW_RPC_FORWARDER), name = GW_STR("");

    if (!c->peers)
        return c->tokens && gw_str_eq(gw_service_tokens_match(c->tokens, token), gateway);
    gw_rpc_peer peer = gw_rpc_call_certificate(call);
    for (size_t at = 0; gw_peers_next(c->peers, &peer, &at, &name);)
        if (gw_str_eq(name, gateway))
            return true;
    return false;
}

static gw_str address_of(const gw_access_checker *c, gw_rpc_call *call)
{
    gw_str told = gw_rpc_call_metadata(call, GW_RPC_CLIENT_ADDRESS);
    gw_ip ip;

    return gw_ip_parse(told, &ip) && is_from_gateway(c, call)
               ? told
               : gw_access_peer_address(gw_rpc_call_peer(call));
}

static void decide(const gw_access_checker *c, gw_rpc_call *call, const gw_method *m,
                   gw_caller caller, gw_str credential)
{
    gw_error err;
    caller.credential = credential;
    caller.address = address_of(c, call);
    gw_status rc = gw_access_decide(m, &caller, &err);
    gw_rpc_authorized(call, rc, &caller, &err);
}

/* The bearer credential of a call that waits: its metadata is still there. */
static gw_str credential_of(const gw_rpc_call *call)
{
    gw_str scheme, value = gw_rpc_call_metadata(call, "authorization");
    return gw_str_split(&value, ' ', &scheme) ? gw_str_trim(value) : GW_STR("");
}

static void answer(const gw_access_checker *c, gw_rpc_call *call, gw_status rc,
                   const gw_identity *who, const gw_error *err)
{
    if (rc != GW_OK)
        gw_rpc_authorized(call, rc, NULL, err);
    else if (!who->valid)
        refuse(call, GW_ERR_UNAUTHENTICATED, "the credential is not valid");
    else
        decide(c, call, gw_rpc_call_method(call), who->caller, credential_of(call));
}

static void keep(const question *q, const gw_identity *who)
{
    gw_access_checker *c = q->checker;
    int64_t now_ms = gw_loop_now_ms(c->loop);
    /* From when it was asked: the answer may be as old as that. */
    int64_t until_ms = q->asked_ms + GW_ACCESS_CACHE_MS;
    if (who->expires_at_ms > 0) {
        int64_t left_ms = who->expires_at_ms - gw_clock_wall_ms(gw_loop_clock(c->loop));
        until_ms = GW_MIN(until_ms, now_ms + left_ms);
    }
    gw_identity_cache_put(c->cache, gw_str_n(q->key, sizeof q->key), &who->caller, now_ms,
                          until_ms);
}

static void on_identity(void *arg, gw_status rc, const gw_identity *who, const gw_error *err)
{
    question *q = arg;
    (void)gw_map_remove(q->checker->questions, gw_str_n(q->key, sizeof q->key));
    if (rc == GW_OK && who->valid && !q->checker->keeps_nothing)
        keep(q, who);
    for (gw_list *node = gw_list_pop_front(&q->waiters); node;
         node = gw_list_pop_front(&q->waiters)) {
        waiter *w = GW_CONTAINER_OF(node, waiter, node);
        answer(q->checker, w->call, rc, who, err);
        free(w);
    }
    free(q);
}

/* ---- questions ---- */

static void hash_key(const gw_identity_question *q, uint8_t key[GW_SHA256_SIZE])
{
    /* Hashed apart, so that no two pairs make the same bytes. */
    uint8_t parts[2 * GW_SHA256_SIZE + 1];
    gw_sha256(q->credential.ptr, q->credential.len, parts);
    gw_sha256(q->peer_address.ptr, q->peer_address.len, parts + GW_SHA256_SIZE);
    parts[2 * GW_SHA256_SIZE] = q->unattended;
    gw_sha256(parts, sizeof parts, key);
}

static bool is_unattended(const gw_method *m, gw_str credential)
{
    return m->server_streaming && m->max_deadline_ms == INT64_MAX &&
           gw_str_starts_with(credential, GW_STR("lcses_"));
}

static question *open_question(gw_access_checker *c, const uint8_t *key)
{
    question *q = calloc(1, sizeof *q);
    if (!q)
        return NULL;
    q->checker = c;
    q->asked_ms = gw_loop_now_ms(c->loop);
    gw_list_init(&q->waiters);
    memcpy(q->key, key, sizeof q->key);
    if (gw_map_put(c->questions, gw_str_n(q->key, sizeof q->key), q))
        return q;
    free(q);
    return NULL;
}

static void ask(gw_access_checker *c, gw_rpc_call *call, const gw_method *m, gw_str credential)
{
    const gw_identity_question asked = {
        .credential = credential,
        .peer_address = gw_access_peer_address(gw_rpc_call_peer(call)),
        .unattended = is_unattended(m, credential),
    };
    uint8_t key[GW_SHA256_SIZE];
    hash_key(&asked, key);
    const gw_caller *known =
        gw_identity_cache_get(c->cache, gw_str_n(key, sizeof key), gw_loop_now_ms(c->loop));
    if (known) {
        decide(c, call, m, *known, credential);
        return;
    }
    question *q = gw_map_get(c->questions, gw_str_n(key, sizeof key));
    bool is_first = q == NULL;
    waiter *w = calloc(1, sizeof *w);
    if (is_first && w)
        q = open_question(c, key);
    if (!w || !q) {
        free(w);
        refuse(call, GW_ERR_NO_MEMORY, "no memory to check a credential");
        return;
    }
    w->call = call;
    gw_list_push_back(&q->waiters, &w->node);
    if (is_first)
        c->identify.identify(c->identify.self, &asked, on_identity, q);
}

static bool is_auths(gw_str credential)
{
    return credential.len <= CREDENTIAL_MAX && (gw_str_starts_with(credential, GW_STR("lcadm_")) ||
                                                gw_str_starts_with(credential, GW_STR("lcses_")) ||
                                                gw_str_starts_with(credential, GW_STR("lc_")));
}

static void authorize_token(gw_access_checker *c, gw_rpc_call *call, const gw_method *m,
                            gw_str credential)
{
    if (c->peers) {
        refuse(call, GW_ERR_UNAUTHENTICATED,
               "service tokens do not count where TLS is on: certificates do");
        return;
    }
    gw_str name = gw_service_tokens_match(c->tokens, credential);
    if (name.len > 0)
        decide(c, call, m, (gw_caller){.kind = GW_CALLER_SERVICE, .name = name}, credential);
    else
        refuse(call, GW_ERR_UNAUTHENTICATED, "the service token is not known");
}

/* Of the services that a certificate speaks for, the first that may. */
static void authorize_certificate(gw_access_checker *c, gw_rpc_call *call, const gw_method *m)
{
    gw_rpc_peer peer = gw_rpc_call_certificate(call);
    gw_caller caller = {.kind = GW_CALLER_SERVICE};
    gw_error err;
    bool is_listed = false;
    for (size_t at = 0; gw_peers_next(c->peers, &peer, &at, &caller.name);) {
        is_listed = true;
        if (gw_access_decide(m, &caller, &err) == GW_OK)
            break;
    }
    if (is_listed)
        decide(c, call, m, caller, GW_STR(""));
    else
        refuse(call, GW_ERR_UNAUTHENTICATED,
               peer.has_certificate
                   ? "the certificate is of nobody on the list of peers (setting tls_peers)"
                   : "the call has neither a credential nor a certificate");
}

static void authorize(void *self, gw_rpc_call *call, const gw_method *m, gw_str credential)
{
    gw_access_checker *c = self;
    if (m->access.anyone) {
        decide(c, call, m, (gw_caller){.kind = GW_CALLER_ANYONE}, credential);
    } else if (credential.len == 0 && c->peers && m->access.service_count > 0) {
        authorize_certificate(c, call, m);
    } else if (credential.len == 0) {
        refuse(call, GW_ERR_UNAUTHENTICATED, "the call has no credential");
    } else if (gw_str_starts_with(credential, GW_STR(GW_SERVICE_TOKEN_PREFIX))) {
        authorize_token(c, call, m, credential);
    } else if (!is_auths(credential) || !c->identify.identify) {
        refuse(call, GW_ERR_UNAUTHENTICATED, "the credential is not valid");
    } else {
        ask(c, call, m, credential);
    }
}

void gw_access_checker_set_own_token(gw_access_checker *c, gw_str own_token)
{
    if (c->channel)
        gw_identity_channel_set_token(c->channel, own_token);
}

gw_rpc_authorizer gw_access_authorizer(gw_access_checker *c)
{
    return (gw_rpc_authorizer){.authorize = authorize, .self = c};
}
