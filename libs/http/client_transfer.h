/*
 * Inside of a transfer: a call that libcurl carries from the request's first byte to the answer's last. Deadlines, pausing
 * and the end stay with the call (client_call.c), and what is asked and answered is held to the same rules as on our own
 * connections.
 *
 * client_transfer.c          its life: begin, pause, end, free
 * client_transfer_request.c  what libcurl is told: the request, the rules, TLS
 * client_transfer_answer.c   what libcurl tells: head, body, and what its codes mean
 *
 * libcurl forbids most of its functions inside its callbacks, and a handler may send, pause and cancel in any of them:
 * a transfer starts and goes from the loop, never from where it was asked.
 */
#pragma once

#include "http/client_internal.h"

struct gw_http_transfer {
    gw_http_carrier carrier;
    gw_curl_job job;
    gw_http_client *client;
    gw_http_origin *origin;
    gw_http_call *call; /* NULL once it has let go */
    struct curl_slist *lines; /* of the request's head */
    size_t part; /* next byte of the body to hand over */
    size_t part_offset;
    size_t body_bytes;
    gw_http_head *head; /* while the answer's comes in */
    unsigned minor_version;
    int status;
    bool head_is_whole;
    bool ends_by_close; /* the answer has no framing of its own */
    bool is_running; /* libcurl has it */
    bool is_paused; /* libcurl holds bytes back for us */
    bool is_finished; /* libcurl is through; a paused call hears of it when it goes on */
    CURLcode code; /* then: how it ended */
    bool is_going; /* to be freed by the loop */
    gw_status problem_rc; /* found by our own checks */
    const char *problem;
    char curl_says[CURL_ERROR_SIZE];
};

/* client_transfer_request.c; false when libcurl cannot */
GW_CHECK bool gw_http_transfer_ask(gw_http_transfer *t, const gw_http_request *r);
/* The connection before was no stale one: see may_be_retried() of our own connections. */
bool gw_http_transfer_took_its_time(const gw_http_transfer *t);

/* client_transfer_answer.c */
GW_CHECK bool gw_http_transfer_listen(gw_http_transfer *t); /* sets the callbacks of the answer */
void gw_http_transfer_drop_head(gw_http_transfer *t);
/* What became of it: GW_OK, or the error, in the words of our own connections. */
gw_status gw_http_transfer_judge(gw_http_transfer *t, gw_error *err);
