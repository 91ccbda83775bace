/*
 * `relay spool replay DIR [--to TARGET] [settings]`: sends what the spool of a relay that will not come back still has to usage, with
 * the service token or certificate that the relay's settings name; see spool_replay.h.
 *
 * One JSON object on stdout: {"events", "claimed", "left"}; errors in the log. Exit status 0 when all is claimed, else 1.
 */
#pragma once

#include "service/service.h"

/* gw_service_kind.command */
bool spool_command(gw_service *s, int *ret_exit_status);
