/*
 * What ingest_client.c (the states, what usage says) and ingest_send.c (what we say) share.
 */
#pragma once

#include "ingest_client.h"

#include "core/id.h"

#include "apirelay/usage/v1/ingest_service.pb-c.h"

#define INGEST_ACK_MAX_MS 30000
#define INGEST_PACE_MS    50 /* a frame that is not full waits so long behind the last one */

typedef enum ingest_state {
    IDLE,
    CONNECTING,
    WAIT_WELCOME,
    SENDING,
    BACKOFF,
    RESETTING,
    CLOSING
} ingest_state;

/* A frame sent and not claimed in whole. */
typedef struct sent_frame {
    gw_list node;
    int64_t first_seq;
    uint32_t count, claimed;
    uint16_t sizes[SPOOL_FRAME_EVENTS];
    uint8_t last_id[SPOOL_EVENT_ID_SIZE];
    bool has_last_id;
} sent_frame;

struct ingest_client {
    ingest_client_options o;
    gw_loop *loop;
    char *token;
    char host[128];
    ingest_state state;
    spool_info info;
    int64_t next_seq; /* to send */
    int64_t window_bytes, unacked_bytes;
    gw_list sent;
    gw_rpc_client_call *stream;
    gw_timer timer; /* WELCOME, ACK or the end of a backoff */
    gw_timer tick;
    gw_timer pace;
    int64_t last_frame_ms;
    int64_t backoff_ms;
    int64_t welcome_ms; /* that a welcome is waited for: longer after one that was missed */
    bool live_sent; /* since the last tick */
    spool_frame *frame;
    gw_arena *arena;
    void (*closed)(void *arg);
    void *closed_arg;
};

void ingest_back_off(ingest_client *c);
void ingest_reset_spool(ingest_client *c, ingest_trouble why);

void ingest_send_hello(ingest_client *c);
/*
 * Sends what fits into the window and the transport; may leave SENDING when the spool cannot be read. Full frames go at once, and so
 * does what comes after a pause: else each commit would be a frame of its own, and most of its price that of the frame.
 */
void ingest_pump(ingest_client *c);
/* Each second: the status, and live counters when none were sent since. */
void ingest_send_second(ingest_client *c);

/* Frames sent and not claimed. */
void ingest_forget_sent(ingest_client *c);
/* True when one of them ended with `n`: the id of that event. */
bool ingest_drop_claimed(ingest_client *c, int64_t n, uint8_t ret_id[SPOOL_EVENT_ID_SIZE]);
