#include "time_range.h"

#define FIRST_SECOND (-62135596800LL) /* 0001-01-01T00:00:00Z */
#define LAST_SECOND  253402300799LL /* 9999-12-31T23:59:59Z */

int64_t time_of(const Google__Protobuf__Timestamp *t, const char *field, gw_violations *v)
{
    if (t->seconds < FIRST_SECOND || t->seconds > LAST_SECOND || t->nanos < 0 ||
        t->nanos > 999999999) {
        gw_violations_add(v, field, "must be a time in the years 1 to 9999");
        return 0;
    }
    return t->seconds * 1000 + t->nanos / 1000000;
}

static time_interval interval_of(const char *text, gw_violations *v)
{
    static const char *const names[] = {"", "hour", "day", "week", "month"};
    for (size_t i = 0; i < GW_ARRAY_LEN(names); i++)
        if (strcmp(text, names[i]) == 0)
            return (time_interval)i;
    gw_violations_add(v, "interval", "must be one of hour|day|week|month");
    return INTERVAL_NONE;
}

static int64_t month_end_ms(int64_t ms)
{
    gw_date d = gw_date_of_ms(gw_month_start_ms(ms));
    d.month++;
    return gw_date_to_ms(d);
}

time_range time_range_of(const Google__Protobuf__Timestamp *from,
                         const Google__Protobuf__Timestamp *to, const char *interval,
                         int64_t now_ms, gw_violations *v)
{
    time_range r = {.interval = interval_of(interval, v)};
    r.from_ms = from ? time_of(from, "from", v) : gw_month_start_ms(now_ms);
    r.to_ms = to ? time_of(to, "to", v) : month_end_ms(now_ms);
    if (r.to_ms <= r.from_ms)
        gw_violations_add(v, to || !from ? "to" : "from", "the range must end after it starts");
    return r;
}

/* ---- intervals ---- */

static int64_t floor_to(int64_t v, int64_t unit)
{
    int64_t rest = v % unit;
    return v - (rest < 0 ? rest + unit : rest);
}

/* The local start of the interval that holds `local_ms`, `ahead` intervals on. */
static int64_t local_start(time_interval i, int64_t local_ms, int ahead)
{
    gw_date d = gw_date_of_ms(local_ms);
    d = (gw_date){.year = d.year, .month = d.month, .day = d.day};
    int64_t days = gw_date_to_ms(d) / GW_MS_PER_DAY;
    if (i == INTERVAL_WEEK)
        d.day -= (int)((days + 3) - floor_to(days + 3, 7)); /* day 0 was a Thursday */
    if (i == INTERVAL_MONTH) {
        d.day = 1;
        d.month += ahead;
    } else {
        d.day += ahead * (i == INTERVAL_WEEK ? 7 : 1);
    }
    return gw_date_to_ms(d);
}

static int64_t start_of(time_interval i, const time_zone *z, int64_t utc_ms)
{
    int64_t local_ms = utc_ms + time_zone_offset_ms(z, utc_ms);
    if (i == INTERVAL_HOUR) /* never by local time: the hour that is there twice is two hours */
        return utc_ms - (local_ms - floor_to(local_ms, GW_MS_PER_HOUR));
    return time_zone_to_utc_ms(z, local_start(i, local_ms, 0));
}

static int64_t start_after(time_interval i, const time_zone *z, int64_t start_ms)
{
    if (i == INTERVAL_HOUR) {
        int64_t next = start_of(i, z, start_ms + GW_MS_PER_HOUR);
        return next > start_ms ? next : start_ms + GW_MS_PER_HOUR;
    }
    /* The start may be a little late where clocks leap over midnight: it is still in its day. */
    int64_t local_ms = start_ms + time_zone_offset_ms(z, start_ms);
    return time_zone_to_utc_ms(z, local_start(i, local_ms, 1));
}

gw_status time_points_make(const time_range *r, const time_zone *z, time_points *ret, gw_error *err)
{
    ret->count = 0;
    if (r->interval == INTERVAL_NONE)
        return GW_OK;
    int64_t at = start_of(r->interval, z, r->from_ms);
    while (at < r->to_ms) {
        if (ret->count == TIME_POINTS_MAX)
            return gw_fail_field(err, GW_ERR_INVALID_ARGUMENT, "interval",
                                 "makes more than %d points of this range", TIME_POINTS_MAX);
        ret->starts[ret->count++] = at;
        at = start_after(r->interval, z, at);
    }
    ret->starts[ret->count] = at;
    return GW_OK;
}

ptrdiff_t time_points_find(const time_points *p, int64_t ms)
{
    size_t low = 0, high = p->count; /* the first start after ms */
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (p->starts[middle] <= ms)
            low = middle + 1;
        else
            high = middle;
    }
    if (low == 0 || (low == p->count && ms >= p->starts[p->count]))
        return -1;
    return (ptrdiff_t)low - 1;
}
