/*
 * Clock: the seam through which time enters, and calendar arithmetic in UTC.
 *
 * Durations come from the monotonic clock, timestamps from the wall clock; never one from the
 * other. Both in ns or ms as the name says. libs/testing has a fake.
 */
#pragma once

#include "core/str.h"

#include <stdint.h>

typedef struct gw_clock {
    int64_t (*mono_ns)(void *self);
    int64_t (*wall_ms)(void *self); /* ms since 1970-01-01T00:00:00Z */
    void *self;
} gw_clock;

extern const gw_clock gw_system_clock;

static inline int64_t gw_clock_mono_ns(const gw_clock *c)
{
    return c->mono_ns(c->self);
}
static inline int64_t gw_clock_mono_ms(const gw_clock *c)
{
    return c->mono_ns(c->self) / 1000000;
}
static inline int64_t gw_clock_wall_ms(const gw_clock *c)
{
    return c->wall_ms(c->self);
}

#define GW_MS_PER_S    1000LL
#define GW_MS_PER_HOUR (3600LL * 1000)
#define GW_MS_PER_DAY  (24LL * 3600 * 1000)

typedef struct gw_date { /* UTC, proleptic Gregorian */
    int year, month, day; /* month 1-12, day 1-31 */
    int hour, minute, second, millisecond;
} gw_date;

gw_date gw_date_of_ms(int64_t wall_ms);
int64_t gw_date_to_ms(gw_date d); /* fields may be outside their range and are carried over */
int64_t gw_day_start_ms(int64_t wall_ms);
int64_t gw_month_start_ms(int64_t wall_ms);

/* RFC 3339 in UTC with milliseconds: "2026-11-23T06:45:21.000Z" (24 characters + NUL). Years
 * 0001-9999. */
#define GW_RFC3339_SIZE 25
void gw_rfc3339_format(int64_t wall_ms, char out[GW_RFC3339_SIZE]);
/* Accepts any offset and 0-9 fraction digits (RFC 3339 §5.6); rounds down to ms. False when
 * malformed. */
GW_CHECK bool gw_rfc3339_parse(gw_str text, int64_t *ret_wall_ms);
