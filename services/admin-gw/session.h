/*
 * Session: how a session token travels between a browser and us. It lives in a cookie that no
 * script reads, and never in a body.
 *
 * The cookie is `__Host-session` (Secure, HttpOnly, SameSite=Strict, no Domain). Browsers take that
 * name with Secure only, and not every client sends a Secure cookie over plain HTTP, so a request
 * that comes over plain HTTP from loopback for a loopback host gets `session` without Secure instead.
 * A proxy on the same machine forwards its own Host and so gets the secure one.
 *
 * Thread: reentrant.
 */
#pragma once

#include "core/net.h"
#include "http/message.h"
#include "schema/schema.h"

#include <protobuf-c/protobuf-c.h>

/* Whether the plain cookie is right for this request. */
bool session_is_local(bool is_tls, const gw_ip *peer, gw_str host_header);

/*
 * The session token of the request's cookie, a view; "" when there is none. Of two cookies that
 * differ neither is believed: one of them was planted by a neighbour host.
 */
gw_str session_token_of(gw_headers headers, bool is_local);

/* Value of Set-Cookie, in the arena. An empty token ends the cookie. `max_age_s` is the token's. */
gw_str session_cookie(gw_arena *a, gw_str token, int64_t max_age_s, bool is_local);

/* The two rpcs of SessionService that touch the cookie. */
bool session_is_sign_in(const gw_method *m);
bool session_is_sign_out(const gw_method *m);

/* Fields of the sign-in's request that the gateway sets: "address", "user_agent"; NULL at the end. */
extern const char *const session_own_fields[];
/* Sets them; `request` is a CreateSessionRequest on the heap. */
GW_CHECK gw_status session_fill_sign_in(ProtobufCMessage *request, const gw_ip *client,
                                        gw_str user_agent, gw_error *err);
/* The token of a CreateSessionResponse, its life from `now_ms` on, and the rest of it as the body. */
GW_CHECK gw_status session_take_sign_in(const ProtobufCMessage *response, int64_t now_ms,
                                        gw_str *ret_token, int64_t *ret_max_age_s, gw_buf *body,
                                        gw_error *err);
