/*
 * libcurl on the loop: its multi interface, its sockets and its timer behind one loop, and the rules for outgoing
 * connections. Private to libs/http: the connector (connections that we drive ourselves) and the transfers that libcurl
 * drives (client_transfer.c) stand on it.
 *
 * Every address is checked in the callback that makes its socket, so what is checked is what is connected to, whatever
 * DNS said a moment ago: public addresses pass, private and loopback ones only inside the allow list, the rest never.
 *
 * Thread: the loop's. `done` is never called from inside a callback of libcurl's.
 */
#pragma once

#include "core/net.h"
#include "loop/loop.h"

#include <curl/curl.h>

typedef struct gw_curl_loop gw_curl_loop;

/* One easy handle at work, embedded in its owner. */
typedef struct gw_curl_job {
    gw_curl_loop *loop;
    CURL *easy;
    /* libcurl is through with it: the owner removes it and has the handle again. */
    void (*done)(struct gw_curl_job *j, CURLcode code);
    bool tried; /* some address was allowed */
    bool refused; /* some address was not */
    char refused_text[GW_IP_TEXT_SIZE]; /* the last one that was not */
} gw_curl_job;

/* `keeps_sockets`: every socket is libcurl's until it closes it, and may serve exchange after exchange. Else jobs may take theirs. */
GW_CHECK gw_status gw_curl_loop_new(gw_loop *l, const gw_cidr *allow, size_t allow_count,
                                    bool keeps_sockets, gw_curl_loop **ret, gw_error *err);
/* Every job is done or removed by now. `closed(arg)` follows from the loop. Not from inside a `done`. */
void gw_curl_loop_close(gw_curl_loop *c, void (*closed)(void *arg), void *arg);

CURLM *gw_curl_loop_multi(gw_curl_loop *c); /* for its options */

/* Sets what every handle of ours needs: no proxy, no signals, the address rules. False when libcurl cannot. */
GW_CHECK bool gw_curl_job_prepare(gw_curl_job *j, gw_curl_loop *c, CURL *easy,
                                  void (*done)(gw_curl_job *j, CURLcode code));
/* Neither from inside a callback of libcurl's. */
GW_CHECK bool gw_curl_job_start(gw_curl_job *j);
void gw_curl_job_remove(gw_curl_job *j); /* no `done` afterwards */

/* Why no connection came about, in our words; `code` is not CURLE_OK. */
gw_status gw_curl_job_describe(const gw_curl_job *j, CURLcode code, const char *host, uint16_t port,
                               gw_error *err);
