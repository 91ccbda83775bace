/*
 * Time zone: how far local time is from UTC at an instant. UTC, "+05:30" and the like, or an IANA
 * name, read from the system's zoneinfo (TZif, RFC 9636): the C library knows one zone a process.
 *
 * Thread: immutable once made. time_zone_load() reads a file of some KB.
 */
#pragma once

#include "core/status.h"
#include "core/str.h"

typedef struct time_zone time_zone;

/* "" is UTC. GW_ERR_INVALID_ARGUMENT (field "timeZone") for what is none. */
GW_CHECK gw_status time_zone_load(gw_str name, time_zone **ret, gw_error *err);
/* The same from the bytes of a TZif file; GW_ERR_DATA_LOSS when they are none. */
GW_CHECK gw_status time_zone_parse(gw_str tzif, time_zone **ret, gw_error *err);
void time_zone_free(time_zone *z);
GW_DEFINE_FREEP(time_zone)

/* Local time = UTC + offset. */
int64_t time_zone_offset_ms(const time_zone *z, int64_t utc_ms);
/* The instant of a local time (ms as if it were UTC): the first of two; where clocks leap over it,
 * as far after the leap. */
int64_t time_zone_to_utc_ms(const time_zone *z, int64_t local_ms);
