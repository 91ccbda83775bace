#include "time_zone.h"

#include "core/clock.h"

#include <stdio.h>
#include <stdlib.h>

#define FOLDER         "/usr/share/zoneinfo/"
#define NAME_MAX_BYTES 64
#define FILE_MAX_BYTES (256 << 10)
#define HEADER_BYTES   44
#define TYPE_BYTES     6
#define MAX_OFFSET_S   (26LL * 3600) /* RFC 9636 §3.2 */
#define MS             1000

/* The day on which the clock is changed, as "M10.5.0/3": month, week (5: the last), weekday, s. */
typedef struct change_day {
    int month, week, weekday;
    int64_t local_s;
} change_day;

typedef struct posix_rule {
    bool present, has_summer;
    int64_t winter_s, summer_s; /* offsets, east is positive */
    change_day begin, end;
} posix_rule;

struct time_zone {
    size_t count;
    int64_t *at_s; /* instants of change, rising */
    int64_t *offset_s; /* from then on */
    int64_t first_s; /* offset before all changes */
    posix_rule rule; /* after the last change */
};

void time_zone_free(time_zone *z)
{
    if (!z)
        return;
    free(z->at_s);
    free(z->offset_s);
    free(z);
}

/* ---- the rule after the last change: "CET-1CEST,M3.5.0,M10.5.0/3" ---- */

static bool take(gw_str *s, char c)
{
    if (s->len == 0 || s->ptr[0] != c)
        return false;
    *s = gw_str_slice(*s, 1, s->len);
    return true;
}

static bool is_digit(gw_str s)
{
    return s.len > 0 && s.ptr[0] >= '0' && s.ptr[0] <= '9';
}

static bool take_number(gw_str *s, int64_t most, int64_t *ret)
{
    int64_t v = 0;
    if (!is_digit(*s))
        return false;
    for (; is_digit(*s) && v <= most; *s = gw_str_slice(*s, 1, s->len))
        v = 10 * v + (s->ptr[0] - '0');
    *ret = v;
    return v <= most;
}

static bool take_name(gw_str *s)
{
    size_t n = 0;
    if (take(s, '<')) {
        while (n < s->len && s->ptr[n] != '>')
            n++;
        *s = gw_str_slice(*s, n, s->len);
        return take(s, '>');
    }
    while (n < s->len && ((s->ptr[n] | 0x20) >= 'a' && (s->ptr[n] | 0x20) <= 'z'))
        n++;
    *s = gw_str_slice(*s, n, s->len);
    return n > 0;
}

/* [+-]hh[:mm[:ss]] as seconds. */
static bool take_time(gw_str *s, int64_t *ret)
{
    int64_t h = 0, m = 0, sec = 0;
    bool negative = take(s, '-');
    if (!negative)
        (void)take(s, '+');
    if (!take_number(s, 167, &h) || (take(s, ':') && !take_number(s, 59, &m)) ||
        (take(s, ':') && !take_number(s, 59, &sec)))
        return false;
    *ret = (h * 60 + m) * 60 + sec;
    if (negative)
        *ret = -*ret;
    return true;
}

static bool take_change_day(gw_str *s, change_day *ret)
{
    int64_t month, week, weekday;
    if (!take(s, ',') || !take(s, 'M') || !take_number(s, 12, &month) || !take(s, '.') ||
        !take_number(s, 5, &week) || !take(s, '.') || !take_number(s, 6, &weekday) || month < 1 ||
        week < 1)
        return false;
    *ret = (change_day){(int)month, (int)week, (int)weekday, 2LL * 3600};
    return !take(s, '/') || take_time(s, &ret->local_s);
}

/* Days by number (Jn, n) are in no file of today: such a zone keeps its winter time. */
static void parse_rule(gw_str text, posix_rule *ret)
{
    posix_rule r = {0};
    if (!take_name(&text) || !take_time(&text, &r.winter_s))
        return;
    r.present = true;
    r.winter_s = -r.winter_s; /* POSIX counts west as positive */
    r.summer_s = r.winter_s + 3600;
    if (text.len > 0 && take_name(&text)) {
        bool ok = true;
        if (text.len > 0 && text.ptr[0] != ',') {
            ok = take_time(&text, &r.summer_s);
            r.summer_s = -r.summer_s;
        }
        r.has_summer = ok && take_change_day(&text, &r.begin) && take_change_day(&text, &r.end);
    }
    *ret = r;
}

static int64_t floor_div(int64_t a, int64_t b)
{
    return a / b - (a % b < 0);
}

/* Local seconds of the change in `year`. */
static int64_t change_in_year(const change_day *c, int year)
{
    int64_t first_day =
        gw_date_to_ms((gw_date){.year = year, .month = c->month, .day = 1}) / GW_MS_PER_DAY;
    int64_t next_month =
        gw_date_to_ms((gw_date){.year = year, .month = c->month + 1, .day = 1}) / GW_MS_PER_DAY;
    int64_t first_weekday = (first_day + 4) - 7 * floor_div(first_day + 4, 7); /* 1970: Thursday */
    int64_t day = first_day + (c->weekday - first_weekday + 7) % 7 + 7LL * (c->week - 1);
    while (day >= next_month)
        day -= 7;
    return day * (GW_MS_PER_DAY / MS) + c->local_s;
}

static int64_t offset_by_rule(const posix_rule *r, int64_t utc_s)
{
    if (!r->has_summer)
        return r->winter_s;
    int year = gw_date_of_ms((utc_s + r->winter_s) * MS).year;
    int64_t begin = change_in_year(&r->begin, year) - r->winter_s;
    int64_t end = change_in_year(&r->end, year) - r->summer_s;
    bool summer = begin < end ? utc_s >= begin && utc_s < end : utc_s >= begin || utc_s < end;
    return summer ? r->summer_s : r->winter_s;
}

/* ---- TZif ---- */

static uint32_t read_u32(const char *p)
{
    const unsigned char *b = (const unsigned char *)p;
    return (uint32_t)b[0] << 24 | (uint32_t)b[1] << 16 | (uint32_t)b[2] << 8 | b[3];
}

static int64_t read_i64(const char *p)
{
    return (int64_t)((uint64_t)read_u32(p) << 32 | read_u32(p + 4));
}

typedef struct tzif_block { /* counts of a header */
    size_t isut, isstd, leap, time, type, chars;
} tzif_block;

static bool read_header(gw_str bytes, tzif_block *ret)
{
    if (bytes.len < HEADER_BYTES || memcmp(bytes.ptr, "TZif", 4) != 0 || bytes.ptr[4] < '2')
        return false;
    const char *p = bytes.ptr + 20;
    *ret = (tzif_block){read_u32(p),      read_u32(p + 4),  read_u32(p + 8),
                        read_u32(p + 12), read_u32(p + 16), read_u32(p + 20)};
    const size_t counts[] = {ret->isut, ret->isstd, ret->leap, ret->time, ret->type, ret->chars};
    for (size_t i = 0; i < GW_ARRAY_LEN(counts); i++)
        if (counts[i] > FILE_MAX_BYTES)
            return false;
    return true;
}

static size_t body_bytes(const tzif_block *b, size_t time_bytes)
{
    return b->time * (time_bytes + 1) + b->type * TYPE_BYTES + b->chars +
           b->leap * (time_bytes + 4) + b->isstd + b->isut;
}

static bool read_changes(time_zone *z, const tzif_block *b, const char *body)
{
    const char *indexes = body + b->time * 8, *types = indexes + b->time;
    z->at_s = calloc(b->time + 1, sizeof(int64_t));
    z->offset_s = calloc(b->time + 1, sizeof(int64_t));
    if (!z->at_s || !z->offset_s || b->type == 0)
        return false;
    z->first_s = (int32_t)read_u32(types);
    for (size_t i = 0; i < b->time; i++) {
        size_t type = (unsigned char)indexes[i];
        z->at_s[i] = read_i64(body + 8 * i);
        if (type >= b->type || (i > 0 && z->at_s[i] <= z->at_s[i - 1]))
            return false;
        z->offset_s[i] = (int32_t)read_u32(types + type * TYPE_BYTES);
        if (llabs(z->offset_s[i]) > MAX_OFFSET_S)
            return false;
    }
    z->count = b->time;
    return llabs(z->first_s) <= MAX_OFFSET_S;
}

gw_status time_zone_parse(gw_str tzif, time_zone **ret, gw_error *err)
{
    tzif_block old, b;
    gw_auto(time_zone) z = calloc(1, sizeof(*z));
    if (!z)
        return gw_fail(err, GW_ERR_NO_MEMORY, "no memory for a time zone");
    bool ok = read_header(tzif, &old);
    gw_str second = GW_STR("");
    if (ok)
        second = gw_str_slice(tzif, HEADER_BYTES + body_bytes(&old, 4), tzif.len);
    ok = ok && read_header(second, &b) && second.len >= HEADER_BYTES + body_bytes(&b, 8) &&
         read_changes(z, &b, second.ptr + HEADER_BYTES);
    if (!ok)
        return gw_fail(err, GW_ERR_DATA_LOSS, "not a time zone file");
    gw_str footer = gw_str_slice(second, HEADER_BYTES + body_bytes(&b, 8), second.len), line;
    if (take(&footer, '\n') && gw_str_split(&footer, '\n', &line))
        parse_rule(line, &z->rule);
    *ret = gw_steal(&z);
    return GW_OK;
}

/* ---- names ---- */

static gw_status refuse(gw_str name, gw_error *err)
{
    return gw_fail_field(err, GW_ERR_INVALID_ARGUMENT, "timeZone",
                         "\"" GW_STR_FMT "\" is no time zone: an IANA name as \"Europe/Berlin\", "
                         "or an offset as \"+05:30\"",
                         (int)gw_str_utf8_cut(name, NAME_MAX_BYTES), name.ptr ? name.ptr : "");
}

/* It becomes a path below FOLDER. */
static bool is_name(gw_str name)
{
    if (name.len > NAME_MAX_BYTES || name.len == 0 || name.ptr[0] < 'A' || name.ptr[0] > 'Z')
        return false;
    for (size_t i = 0; i < name.len; i++) {
        char c = name.ptr[i];
        bool fits = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
                    c == '/' || c == '_' || c == '-' || c == '+';
        if (!fits)
            return false;
    }
    return true;
}

/* ±hh:mm */
static bool parse_fixed(gw_str name, int64_t *ret_s)
{
    int64_t h, m;
    bool shaped = name.len == 6 && (name.ptr[0] == '+' || name.ptr[0] == '-') && name.ptr[3] == ':';
    if (!shaped || !gw_str_to_int64(gw_str_slice(name, 1, 3), &h) ||
        !gw_str_to_int64(gw_str_slice(name, 4, 6), &m) || h < 0 || h > 14 || m < 0 || m > 59)
        return false;
    *ret_s = (h * 60 + m) * 60 * (name.ptr[0] == '-' ? -1 : 1);
    return true;
}

static gw_status load_file(gw_str name, time_zone **ret, gw_error *err)
{
    char path[sizeof(FOLDER) + NAME_MAX_BYTES];
    (void)snprintf(path, sizeof(path), FOLDER GW_STR_FMT, GW_STR_ARG(name));
    FILE *f = fopen(path, "rbe");
    if (!f)
        return refuse(name, err);
    gw_auto_free char *bytes = malloc(FILE_MAX_BYTES);
    size_t len = bytes ? fread(bytes, 1, FILE_MAX_BYTES, f) : 0;
    (void)fclose(f);
    gw_error ignored;
    return time_zone_parse(gw_str_n(bytes, len), ret, &ignored) == GW_OK ? GW_OK
                                                                         : refuse(name, err);
}

gw_status time_zone_load(gw_str name, time_zone **ret, gw_error *err)
{
    int64_t fixed_s = 0;
    bool is_fixed = name.len == 0 || gw_str_eq_c(name, "UTC") || gw_str_eq_c(name, "Z") ||
                    parse_fixed(name, &fixed_s);
    if (!is_fixed)
        return is_name(name) ? load_file(name, ret, err) : refuse(name, err);
    time_zone *z = calloc(1, sizeof(*z));
    if (!z)
        return gw_fail(err, GW_ERR_NO_MEMORY, "no memory for a time zone");
    z->first_s = fixed_s;
    *ret = z;
    return GW_OK;
}

/* ---- use ---- */

int64_t time_zone_offset_ms(const time_zone *z, int64_t utc_ms)
{
    int64_t utc_s = floor_div(utc_ms, MS);
    size_t low = 0, high = z->count; /* the first change after utc_s */
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (z->at_s[middle] <= utc_s)
            low = middle + 1;
        else
            high = middle;
    }
    if (low == z->count && z->rule.present)
        return offset_by_rule(&z->rule, utc_s) * MS;
    return (low == 0 ? z->first_s : z->offset_s[low - 1]) * MS;
}

int64_t time_zone_to_utc_ms(const time_zone *z, int64_t local_ms)
{
    int64_t before = time_zone_offset_ms(z, local_ms - GW_MS_PER_DAY);
    int64_t after = time_zone_offset_ms(z, local_ms + GW_MS_PER_DAY);
    if (time_zone_offset_ms(z, local_ms - before) != before &&
        time_zone_offset_ms(z, local_ms - after) == after)
        return local_ms - after;
    return local_ms - before;
}
