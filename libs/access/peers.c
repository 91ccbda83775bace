#include "access/peers.h"

#include "access/service_name.h"

#include <stdlib.h>

#define NAME_MAX_LEN 2048 /* of a URI (SPIFFE) */
#define DNS_MAX_LEN  253

typedef struct peer_entry {
    gw_str service, name; /* views into the text */
    gw_rpc_san_kind kind;
} peer_entry;

struct gw_peers {
    gw_buf text;
    peer_entry *entries;
    size_t count;
};

static bool is_uri(gw_str s)
{
    return gw_str_find(s, ':') > 0;
}

static bool is_dns_name(gw_str s)
{
    for (size_t i = 0; i < s.len; i++) {
        char c = s.ptr[i];
        if (!((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
              c == '-' || c == '.' || c == '_'))
            return false;
    }
    return s.len > 0 && s.len <= DNS_MAX_LEN;
}

static bool is_plain_uri(gw_str s)
{
    for (size_t i = 0; i < s.len; i++) {
        if (s.ptr[i] <= ' ' || s.ptr[i] == 0x7f || s.ptr[i] == '*')
            return false;
    }
    return s.len <= NAME_MAX_LEN;
}

static bool parse(gw_str text, peer_entry *ret)
{
    gw_str name = text, service;
    if (!gw_str_split(&name, '=', &service) || !gw_is_service_name(service) || name.len == 0)
        return false;
    *ret = (peer_entry){service, name, is_uri(name) ? GW_RPC_SAN_URI : GW_RPC_SAN_DNS};
    return ret->kind == GW_RPC_SAN_URI ? is_plain_uri(name) : is_dns_name(name);
}

gw_status gw_peers_new(const char *const *entries, size_t n, gw_peers **ret, gw_error *err)
{
    gw_auto(gw_peers) p = calloc(1, sizeof *p);
    if (p)
        p->entries = calloc(n + 1, sizeof *p->entries);
    if (!p || !p->entries)
        return gw_fail(err, GW_ERR_NO_MEMORY, "peers: out of memory");
    for (size_t i = 0; i < n; i++)
        gw_buf_append_str(&p->text, gw_str_of(entries[i]));
    if (gw_buf_failed(&p->text))
        return gw_fail(err, GW_ERR_NO_MEMORY, "peers: out of memory");
    gw_auto_buf bad = {0};
    size_t at = 0;
    for (size_t i = 0; i < n; i++) {
        gw_str text = gw_str_slice(gw_buf_str(&p->text), at, at + strlen(entries[i]));
        at += text.len;
        if (parse(text, &p->entries[p->count]))
            p->count++;
        else
            gw_buf_appendf(&bad, "%s`%s`", bad.len ? ", " : "", entries[i]);
    }
    if (bad.len > 0)
        return gw_fail(err, GW_ERR_INVALID_ARGUMENT,
                       "not `<service>=<DNS name or URI of its certificate>`: %s", bad.data);
    *ret = gw_steal(&p);
    return GW_OK;
}

void gw_peers_free(gw_peers *p)
{
    if (!p)
        return;
    gw_buf_fini(&p->text);
    free(p->entries);
    free(p);
}

static bool bears(const gw_rpc_peer *peer, const peer_entry *e)
{
    for (size_t i = 0; i < peer->san_count; i++) {
        const gw_rpc_san *san = &peer->sans[i];
        if (san->kind == e->kind &&
            (e->kind == GW_RPC_SAN_DNS ? gw_str_eq_nocase(san->value, e->name)
                                       : gw_str_eq(san->value, e->name)))
            return true;
    }
    return false;
}

bool gw_peers_next(const gw_peers *p, const gw_rpc_peer *peer, size_t *at, gw_str *ret_service)
{
    while (*at < p->count) {
        const peer_entry *e = &p->entries[(*at)++];
        if (!bears(peer, e))
            continue;
        *ret_service = e->service;
        return true;
    }
    return false;
}
