/*
 * Ingest client: hands the spool's events to usage and learns what is claimed (USAGE.md).
 *
 *     IDLE ─▶ CONNECTING ─▶ WAIT_WELCOME ─▶ SENDING ─▶ BACKOFF ─▶ CONNECTING …
 *                                  └──────────┴─▶ RESETTING ─▶ CONNECTING    (the spool gets a new id)
 *
 * Only committed events are sent, in order, within the window that usage granted. Losing the stream loses nothing: the next
 * welcome says where to go on.
 *
 * Thread: one loop.
 */
#pragma once

#include "live_counters.h"
#include "spool.h"

#include "log/log.h"
#include "loop/loop.h"
#include "rpc/client.h"

typedef struct ingest_client ingest_client;

typedef enum ingest_trouble {
    INGEST_RESTORED, /* usage forgot claims or the whole spool: MongoDB was restored */
    INGEST_COPIED, /* the spool is a copy or was rolled back */
    INGEST_DAMAGED, /* it cannot be read */
} ingest_trouble;

typedef struct ingest_gauges {
    int64_t open_slots, open_streams, dropped;
    int64_t pending; /* finished, not committed as of ingest_client_committed() */
} ingest_gauges;

typedef struct ingest_client_options {
    gw_rpc_channel *usage;
    gw_str service_token; /* copied */
    spool *spool; /* read only */
    gw_log *log; /* may be NULL */
    const gw_clock *clock;
    /* All up to `seq` is claimed; the id of the event there, zeroes when it is not known. */
    void (*acked)(void *arg, int64_t seq, const uint8_t event_id[SPOOL_EVENT_ID_SIZE]);
    /* The spool has to change its id; ingest_client_spool_changed() tells when it has. */
    void (*reset)(void *arg, ingest_trouble why);
    ingest_gauges (*gauges)(void *arg);
    void *arg;
} ingest_client_options;

GW_CHECK gw_status ingest_client_new(gw_loop *l, const ingest_client_options *o,
                                     const spool_info *info, ingest_client **ret, gw_error *err);
/* Cancels the stream; `closed(arg)` on the loop when it is gone and the client freed. */
void ingest_client_set_token(ingest_client *c, gw_str service_token); /* for streams to come */
void ingest_client_close(ingest_client *c, void (*closed)(void *arg), void *arg);

void ingest_client_committed(ingest_client *c, const spool_info *info); /* the tail has moved */
void ingest_client_spool_changed(ingest_client *c, const spool_info *info);
void ingest_client_damaged(ingest_client *c); /* the writer found it */
void ingest_client_send_live(ingest_client *c,
                             const live_table *t); /* when SENDING, else nothing */

bool ingest_client_is_sending(const ingest_client *c);
int64_t ingest_client_acked(const ingest_client *c);
