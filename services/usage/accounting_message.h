/*
 * Spools, losses and rejects as messages of AccountingService, in an arena.
 *
 * Thread: values.
 */
#pragma once

#include "core/arena.h"

#include <bson/bson.h>

#include "apirelay/usage/v1/accounting_service.pb-c.h"

/* Each NULL when out of memory. */
Apirelay__Usage__V1__Spool *spool_message(gw_arena *a, const bson_t *doc, int64_t now_ms);
Apirelay__Usage__V1__Loss *loss_message(gw_arena *a, const bson_t *doc);
Apirelay__Usage__V1__Reject *reject_message(gw_arena *a, const bson_t *doc);
