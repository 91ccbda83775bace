/*
 * One exchange of the REST front: what its files share (rest_front.c, rest_stream.c). Not for others.
 *
 * Held by the HTTP exchange and by the call in flight; freed when both are over.
 */
#pragma once

#include "rest_front.h"

#include "core/id.h"

typedef struct rest_exchange {
    rest_front *front;
    gw_list node; /* of front->exchanges */
    gw_exchange *x; /* NULL once the caller is gone; all views below go with it */
    gw_rpc_client_call *call;
    route_match match;
    gw_str credential;
    gw_str csrf_token;
    bool by_cookie, is_local;
    gw_ip client; /* seen past the proxies we trust */
    char client_text[GW_IP_TEXT_SIZE];
    int status;
    char request_id[GW_REQUEST_ID_SIZE];
    gw_violations further; /* of a refused call, beside its error's */
    int64_t retry_after_ms; /* of a refused call; 0: it does not say */

    /* of a stream (rest_stream.c) */
    gw_timer timer; /* the next keep-alive, or the end of its life */
    int64_t until_ms; /* its life ends, on the loop's clock */
    bool is_stream, is_ended, is_paused;
} rest_exchange;

/* A call that is made for its caller; the views are of `e`. */
gw_rpc_call_options rest_exchange_call_options(rest_exchange *e, const char *path,
                                               const ProtobufCMessageDescriptor *response);
/* Frees it when nothing holds it any more. */
void rest_exchange_release(rest_exchange *e);

#define REST_HEADERS_MAX 10

typedef struct rest_answer {
    gw_header headers[REST_HEADERS_MAX];
    size_t header_count;
} rest_answer;

/* Leaves out what is empty. `value` lives until the answer is given. */
void rest_answer_add(rest_answer *a, const char *name, gw_str value);
/* The headers that every answer has; notes its status. */
gw_response_head rest_answer_head(rest_exchange *e, rest_answer *a, int status,
                                  const char *content_type);
void rest_answer_json(rest_exchange *e, int status, rest_answer *a, gw_str body);
/* `more` may be NULL. */
void rest_answer_error(rest_exchange *e, const gw_error *err, const gw_json_violations *more);

/* What a caller may see of a failed call: not where the backends are, which gRPC likes to tell. */
gw_error rest_shown_error(const rest_exchange *e, gw_status rc, const gw_error *err);
