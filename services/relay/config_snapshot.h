/*
 * The configuration of the API on the relay's disk: SHA-256 of the rest, then the packed message. Replaced by rename, so a reader
 * finds the old one or the new one whole.
 *
 * Thread: blocking; at start or on a worker.
 */
#pragma once

#include "core/status.h"

#include "apirelay/relay/v1/config_file.pb-c.h"

typedef Apirelay__Relay__V1__RelayConfigSnapshot config_snapshot;

GW_CHECK gw_status config_snapshot_write(const char *dir, const config_snapshot *s, gw_error *err);
/* GW_ERR_NOT_FOUND when there is none, GW_ERR_DATA_LOSS when it is damaged. Freed with …__free_unpacked(). */
GW_CHECK gw_status config_snapshot_read(const char *dir, config_snapshot **ret, gw_error *err);
