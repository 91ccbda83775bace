/* What the parts of the fixture for tests of libs/rpc share: its state, and the methods that are called. */
#pragma once

#include "rpc/client.h"
#include "rpc/init.h"
#include "rpc/peer.h"
#include "rpc/server.h"
#include "schema/all.h"

#include "testing/cmocka.h"
#include "testing/watchdog.h"

#include "apirelay/auth/v1/api_key_service.pb-c.h"
#include "apirelay/auth/v1/key_access_service.pb-c.h"
#include "apirelay/usage/v1/ingest_service.pb-c.h"

#include <stdio.h>
#include <stdlib.h>

#define GET_API_KEY    "/apirelay.auth.v1.ApiKeyService/GetApiKey"
#define REVOKE_API_KEY "/apirelay.auth.v1.ApiKeyService/RevokeApiKey"
#define LIST_API_KEYS  "/apirelay.auth.v1.ApiKeyService/ListApiKeys"
#define IMPORT         "/apirelay.auth.v1.ApiKeyService/ImportApiKeys"
#define WATCH          "/apirelay.auth.v1.KeyAccessService/Watch"
#define STREAM         "/apirelay.usage.v1.IngestService/Stream"
#define QUEUE_MAX      8

typedef struct fixture {
    gw_loop *loop;
    gw_schema *schema;
    gw_metrics *metrics;
    gw_metrics_shard *shard;
    gw_rpc_server *server;
    int64_t connection_age_ms; /* of the next server */
    size_t calls_max; /* likewise */
    const char *host; /* likewise */
    gw_rpc_pump *pump;
    gw_rpc_channel *channel;
    gw_tls_files *server_tls, *client_tls; /* NULL: plain */
    uint16_t port;
    gw_timer watchdog;
    bool server_closed;
    /* what the handlers saw */
    size_t failures; /* of "flaky", still to come */
    size_t started, finished, cancelled, half_closed, most_queued;
    size_t stop_when_started; /* the loop stops then; 0: never */
    size_t stop_when_cancelled; /* likewise */
    gw_rpc_call *hanging;
    char peer[64]; /* of the last call started */
    char names[256]; /* of ImportApiKeys, each followed by a space */
    /* what the client saw */
    size_t done, stop_when_done, messages, writables;
    size_t stop_when_messages, stop_when_writables; /* 0: never */
    int64_t last_value;
    size_t pause_after; /* messages, 0: never */
    gw_rpc_client_call *stream;
    gw_status rc;
    gw_error err;
    char text[256];
} fixture;
