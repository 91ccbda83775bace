#include "session.h"

#include "edge.h"
#include "json/json.h"

#include "apirelay/auth/v1/session_service.pb-c.h"

#define SECURE_NAME    "__Host-session"
#define LOCAL_NAME     "session"
#define USER_AGENT_MAX 256

const char *const session_own_fields[] = {"address", "user_agent", NULL};

bool session_is_local(bool is_tls, const gw_ip *peer, gw_str host_header)
{
    gw_str host = edge_host_name(host_header);
    gw_ip ip;
    if (is_tls || gw_ip_classify(peer) != GW_IP_LOOPBACK)
        return false;
    if (gw_str_eq_nocase(host, GW_STR("localhost")))
        return true;
    return gw_ip_parse(host, &ip) && gw_ip_classify(&ip) == GW_IP_LOOPBACK;
}

/* False when the header names a second, different token. */
static bool take_cookies(gw_str line, const char *name, gw_str *token)
{
    gw_str pair;
    while (line.len > 0 && gw_str_split(&line, ';', &pair)) {
        pair = gw_str_trim(pair);
        ptrdiff_t at = gw_str_find(pair, '=');
        if (at < 0 || !gw_str_eq_c(gw_str_slice(pair, 0, (size_t)at), name))
            continue;
        gw_str value = gw_str_slice(pair, (size_t)at + 1, pair.len);
        if (!edge_is_token(value))
            continue;
        if (token->len > 0 && !gw_str_eq(*token, value))
            return false;
        *token = value;
    }
    return true;
}

gw_str session_token_of(gw_headers headers, bool is_local)
{
    gw_str token = GW_STR("");
    for (size_t i = 0; i < headers.count; i++) {
        if (gw_str_eq_nocase(headers.items[i].name, GW_STR("cookie")) &&
            !take_cookies(headers.items[i].value, is_local ? LOCAL_NAME : SECURE_NAME, &token))
            return GW_STR("");
    }
    return token;
}

gw_str session_cookie(gw_arena *a, gw_str token, int64_t max_age_s, bool is_local)
{
    return gw_arena_printf(a,
                           "%s=" GW_STR_FMT "; Path=/; Max-Age=%lld; HttpOnly; SameSite=Strict%s",
                           is_local ? LOCAL_NAME : SECURE_NAME, GW_STR_ARG(token),
                           (long long)(token.len > 0 ? max_age_s : 0), is_local ? "" : "; Secure");
}

static bool is_session_rpc(const gw_method *m, const char *name)
{
    return gw_str_eq_c(m->service_name, "apirelay.auth.v1.SessionService") &&
           gw_str_eq_c(m->name, name);
}

bool session_is_sign_in(const gw_method *m)
{
    return is_session_rpc(m, "CreateSession");
}

bool session_is_sign_out(const gw_method *m)
{
    return is_session_rpc(m, "DeleteSession");
}

static gw_status set_text(ProtobufCMessage *m, const char *name, gw_str text, gw_error *err)
{
    const ProtobufCFieldDescriptor *f =
        protobuf_c_message_descriptor_get_field_by_name(m->descriptor, name);
    return f ? gw_json_set_from_text(m, f, text, err)
             : gw_fail(err, GW_ERR_INTERNAL, "the sign-in has no field %s", name);
}

gw_status session_fill_sign_in(ProtobufCMessage *request, const gw_ip *client, gw_str user_agent,
                               gw_error *err)
{
    char address[GW_IP_TEXT_SIZE];
    gw_ip_format(client, address);
    gw_status rc = set_text(request, "address", gw_str_of(address), err);
    if (rc != GW_OK)
        return rc;
    if (!gw_str_is_utf8(user_agent))
        user_agent = GW_STR(""); /* a header may hold any byte, a string of a message may not */
    user_agent.len = gw_str_utf8_cut(user_agent, USER_AGENT_MAX);
    return set_text(request, "user_agent", user_agent, err);
}

gw_status session_take_sign_in(const ProtobufCMessage *response, int64_t now_ms, gw_str *ret_token,
                               int64_t *ret_max_age_s, gw_buf *body, gw_error *err)
{
    const Apirelay__Auth__V1__CreateSessionResponse *r =
        (const Apirelay__Auth__V1__CreateSessionResponse *)(const void *)response;
    /* The same members but the token: what GET /admin/session shows. */
    Apirelay__Auth__V1__GetSessionResponse shown = APIRELAY__AUTH__V1__GET_SESSION_RESPONSE__INIT;
    gw_str token = gw_str_of(r->token);
    if (!edge_is_token(token) || !r->expires_at)
        return gw_fail(err, GW_ERR_INTERNAL, "auth answered the sign-in without a session");
    shown.csrf_token = r->csrf_token;
    shown.expires_at = r->expires_at;
    shown.admin = r->admin;
    gw_status rc = gw_json_write(&shown.base, body, err);
    if (rc != GW_OK)
        return rc;
    *ret_token = token;
    *ret_max_age_s = GW_MAX(r->expires_at->seconds - now_ms / 1000, 0);
    return GW_OK;
}
