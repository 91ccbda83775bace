#include "rpc/peer.h"

#include "rpc/server_internal.h"

#include <grpc/grpc_security.h>

static bool has_property(const grpc_auth_context *context, const char *name)
{
    grpc_auth_property_iterator at = grpc_auth_context_find_properties_by_name(context, name);
    return grpc_auth_property_iterator_next(&at) != NULL;
}

static size_t read_sans(gw_rpc_call *c, const grpc_auth_context *context, const char *name,
                        gw_rpc_san_kind kind, gw_rpc_san *ret, size_t room)
{
    size_t n = 0;
    grpc_auth_property_iterator at = grpc_auth_context_find_properties_by_name(context, name);
    for (const grpc_auth_property *p = grpc_auth_property_iterator_next(&at); p && n < room;
         p = grpc_auth_property_iterator_next(&at)) {
        gw_str value = gw_arena_dup(c->arena, gw_str_n(p->value, p->value_length));
        if (value.ptr)
            ret[n++] = (gw_rpc_san){kind, value};
    }
    return n;
}

gw_rpc_peer gw_rpc_call_certificate(gw_rpc_call *c)
{
    gw_rpc_peer peer = {0};
    grpc_auth_context *context = grpc_call_auth_context(c->core);
    if (!context)
        return peer;
    gw_rpc_san *sans = gw_arena_alloc(c->arena, GW_RPC_SANS_MAX * sizeof *sans);
    peer.has_certificate = sans && has_property(context, GRPC_X509_PEM_CERT_PROPERTY_NAME);
    if (peer.has_certificate) {
        size_t n = read_sans(c, context, GRPC_PEER_DNS_PROPERTY_NAME, GW_RPC_SAN_DNS, sans,
                             GW_RPC_SANS_MAX);
        n += read_sans(c, context, GRPC_PEER_URI_PROPERTY_NAME, GW_RPC_SAN_URI, sans + n,
                       GW_RPC_SANS_MAX - n);
        peer.sans = sans;
        peer.san_count = n;
    }
    grpc_auth_context_release(context);
    return peer;
}
