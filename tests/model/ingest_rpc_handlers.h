/* The one thing of usage's ingest that the streams call; its header would bring usage's words for the spool beside the relay's. */
#pragma once

#include "rpc/server.h"

const gw_rpc_handler *ingest_handlers(void);
