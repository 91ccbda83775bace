#include "core/clock.h"

#include <time.h>

static int64_t system_mono_ns(void *self)
{
    (void)self;
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

static int64_t system_wall_ms(void *self)
{
    (void)self;
    struct timespec t;
    clock_gettime(CLOCK_REALTIME, &t);
    return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

const gw_clock gw_system_clock = {system_mono_ns, system_wall_ms, NULL};

static int64_t floor_div(int64_t a, int64_t b)
{
    return a / b - (a % b < 0 ? 1 : 0);
}

/*
 * Days from 1970-01-01 and back (H. Hinnant, "chrono-compatible low-level date algorithms"). Years
 * begin in March, so that the leap day is the last of its year; 400 years make an era of 146097
 * days.
 */
static int64_t days_of_civil(int64_t year, int64_t month, int64_t day)
{
    year -= month <= 2;
    int64_t era = floor_div(year, 400);
    int64_t year_of_era = year - era * 400;
    int64_t day_of_year = (153 * (month + (month > 2 ? -3 : 9)) + 2) / 5;
    int64_t day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    return era * 146097 + day_of_era - 719468 + (day - 1);
}

static void civil_of_days(int64_t days, gw_date *d)
{
    days += 719468;
    int64_t era = floor_div(days, 146097);
    int64_t day_of_era = days - era * 146097;
    int64_t year_of_era =
        (day_of_era - day_of_era / 1460 + day_of_era / 36524 - day_of_era / 146096) / 365;
    int64_t day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    int64_t march_month = (5 * day_of_year + 2) / 153;
    d->day = (int)(day_of_year - (153 * march_month + 2) / 5 + 1);
    d->month = (int)(march_month < 10 ? march_month + 3 : march_month - 9);
    d->year = (int)(year_of_era + era * 400 + (d->month <= 2));
}

gw_date gw_date_of_ms(int64_t wall_ms)
{
    gw_date d = {0};
    int64_t days = floor_div(wall_ms, GW_MS_PER_DAY);
    int64_t rest = wall_ms - days * GW_MS_PER_DAY;
    civil_of_days(days, &d);
    d.hour = (int)(rest / GW_MS_PER_HOUR);
    d.minute = (int)(rest / 60000 % 60);
    d.second = (int)(rest / 1000 % 60);
    d.millisecond = (int)(rest % 1000);
    return d;
}

int64_t gw_date_to_ms(gw_date d)
{
    int64_t months = (int64_t)d.month - 1;
    int64_t year = d.year + floor_div(months, 12);
    int64_t days = days_of_civil(year, months - floor_div(months, 12) * 12 + 1, d.day);
    return days * GW_MS_PER_DAY + d.hour * GW_MS_PER_HOUR + d.minute * 60000LL + d.second * 1000LL +
           d.millisecond;
}

int64_t gw_day_start_ms(int64_t wall_ms)
{
    return floor_div(wall_ms, GW_MS_PER_DAY) * GW_MS_PER_DAY;
}

int64_t gw_month_start_ms(int64_t wall_ms)
{
    gw_date d = gw_date_of_ms(wall_ms);
    return gw_date_to_ms((gw_date){.year = d.year, .month = d.month, .day = 1});
}

static const int64_t first_ms = -62135596800000; /* 0001-01-01T00:00:00.000Z */
static const int64_t last_ms = 253402300799999; /* 9999-12-31T23:59:59.999Z */

/* `value` as `count` digits, and `after`. Returns where it ends. */
static char *put_number(char *at, int value, size_t count, char after)
{
    for (size_t i = count; i-- > 0; value /= 10)
        at[i] = (char)('0' + value % 10);
    at[count] = after;
    return at + count + 1;
}

void gw_rfc3339_format(int64_t wall_ms, char out[GW_RFC3339_SIZE])
{
    gw_date d = gw_date_of_ms(GW_MAX(first_ms, GW_MIN(wall_ms, last_ms)));
    char *at = put_number(out, d.year, 4, '-');
    at = put_number(at, d.month, 2, '-');
    at = put_number(at, d.day, 2, 'T');
    at = put_number(at, d.hour, 2, ':');
    at = put_number(at, d.minute, 2, ':');
    at = put_number(at, d.second, 2, '.');
    at = put_number(at, d.millisecond, 3, 'Z');
    *at = '\0';
}

/* Takes `digits` digits with a value of min to max off the front, then `after` when it is not 0. */
static bool take_number(gw_str *rest, size_t digits, int min, int max, char after, int *ret)
{
    if (rest->len < digits + (after ? 1 : 0))
        return false;
    int value = 0;
    for (size_t i = 0; i < digits; i++) {
        char c = rest->ptr[i];
        if (c < '0' || c > '9')
            return false;
        value = value * 10 + (c - '0');
    }
    if (value < min || value > max || (after && rest->ptr[digits] != after))
        return false;
    *rest = gw_str_slice(*rest, digits + (after ? 1 : 0), rest->len);
    *ret = value;
    return true;
}

static bool take_either(gw_str *rest, char a, char b)
{
    if (rest->len == 0 || (rest->ptr[0] != a && rest->ptr[0] != b))
        return false;
    *rest = gw_str_slice(*rest, 1, rest->len);
    return true;
}

static bool take_fraction(gw_str *rest, int *ret_ms)
{
    *ret_ms = 0;
    if (!take_either(rest, '.', '.'))
        return true;
    size_t n = 0;
    int scale = 100;
    for (; n < rest->len && rest->ptr[n] >= '0' && rest->ptr[n] <= '9'; n++) {
        *ret_ms += (rest->ptr[n] - '0') * scale;
        scale /= 10;
    }
    *rest = gw_str_slice(*rest, n, rest->len);
    return n >= 1 && n <= 9;
}

static bool take_offset(gw_str *rest, int64_t *ret_ms)
{
    *ret_ms = 0;
    if (take_either(rest, 'Z', 'z'))
        return true;
    bool east = rest->len > 0 && rest->ptr[0] == '+';
    int hours;
    int minutes;
    if (!take_either(rest, '+', '-') || !take_number(rest, 2, 0, 23, ':', &hours) ||
        !take_number(rest, 2, 0, 59, 0, &minutes))
        return false;
    *ret_ms = (hours * 60 + minutes) * (east ? 60000LL : -60000LL);
    return true;
}

bool gw_rfc3339_parse(gw_str text, int64_t *ret_wall_ms)
{
    gw_date d = {0};
    int64_t offset_ms;
    if (!take_number(&text, 4, 1, 9999, '-', &d.year) ||
        !take_number(&text, 2, 1, 12, '-', &d.month) || !take_number(&text, 2, 1, 31, 0, &d.day) ||
        !take_either(&text, 'T', 't') || !take_number(&text, 2, 0, 23, ':', &d.hour) ||
        !take_number(&text, 2, 0, 59, ':', &d.minute) ||
        !take_number(&text, 2, 0, 60, 0, &d.second) || !take_fraction(&text, &d.millisecond) ||
        !take_offset(&text, &offset_ms) || text.len > 0)
        return false;
    gw_date next_month = {.year = d.year, .month = d.month + 1, .day = 0};
    if (d.day > gw_date_of_ms(gw_date_to_ms(next_month)).day)
        return false;
    bool leap = d.second == 60;
    if (leap)
        d.second = 59;
    int64_t ms = gw_date_to_ms(d) - offset_ms;
    if (leap) { /* leap seconds end a UTC day (§5.7); our clock shows them as the second that
                   follows */
        if ((ms - d.millisecond + GW_MS_PER_S) % GW_MS_PER_DAY != 0)
            return false;
        ms += GW_MS_PER_S;
    }
    if (ms < first_ms || ms > last_ms)
        return false;
    *ret_wall_ms = ms;
    return true;
}
