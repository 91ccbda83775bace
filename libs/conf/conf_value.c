/* Values: text to field, field to text. */
#include "conf/conf_internal.h"

#include "core/url.h"
#include "core/user.h"

#include <inttypes.h>
#include <stdio.h>

typedef struct unit {
    const char *name;
    int64_t factor;
} unit;

/* From large to small: conf_format takes the first that divides. */
static const unit duration_units[] = {
    {"d", 86400000}, {"h", 3600000}, {"m", 60000}, {"s", 1000}, {"ms", 1},
};
static const unit byte_units[] = {
    {"TiB", 1LL << 40},
    {"GiB", 1LL << 30},
    {"MiB", 1LL << 20},
    {"KiB", 1LL << 10},
    {"TB", 1000000000000},
    {"GB", 1000000000},
    {"MB", 1000000},
    {"kB", 1000},
    {"B", 1},
    {"", 1},
};

const char *conf_type_name(gw_conf_type type)
{
    static const char *const names[] = {
        [GW_CONF_STRING] = "STRING",    [GW_CONF_BOOL] = "BOOL",
        [GW_CONF_INT] = "INT",          [GW_CONF_PORT] = "PORT",
        [GW_CONF_LISTEN] = "HOST:PORT", [GW_CONF_DURATION] = "DURATION",
        [GW_CONF_BYTES] = "BYTES",      [GW_CONF_SECRET] = "SECRET",
        [GW_CONF_PATH] = "PATH",        [GW_CONF_URL] = "URL",
        [GW_CONF_LIST] = "LIST",        [GW_CONF_CIDRS] = "CIDRS",
        [GW_CONF_ENUM] = "CHOICE",      [GW_CONF_USER] = "USER[:GROUP]",
    };
    return names[type];
}

const char *conf_expected(const gw_conf_field *f, char *buffer, size_t size)
{
    switch (f->type) {
    case GW_CONF_BOOL:
        return "true or false";
    case GW_CONF_INT:
        if (f->min == INT64_MIN && f->max == INT64_MAX)
            return "a whole number";
        (void)snprintf(buffer, size, "a whole number from %" PRId64 " to %" PRId64, f->min, f->max);
        return buffer;
    case GW_CONF_PORT:
        return "a port from 0 to 65535";
    case GW_CONF_LISTEN:
        return "host:port or [v6]:port";
    case GW_CONF_DURATION:
        return "a duration such as 250ms, 60s, 5m, 2h or 7d";
    case GW_CONF_BYTES:
        return "a size such as 4096, 64KiB, 32MiB or 2GiB";
    case GW_CONF_SECRET:
        return "a secret without NUL bytes, not empty";
    case GW_CONF_PATH:
        return "a path, not empty";
    case GW_CONF_URL:
        return "an absolute URL such as https://host:port/path";
    case GW_CONF_LIST:
        return "items separated by commas, none of them empty";
    case GW_CONF_CIDRS:
        return "blocks such as 10.0.0.0/8,fd00::/8 without bits below the prefix";
    case GW_CONF_ENUM:
        (void)snprintf(buffer, size, "one of %s", f->values);
        return buffer;
    case GW_CONF_USER:
        return "a user of this system, or user:group";
    case GW_CONF_STRING:
        break;
    }
    return "text without NUL bytes";
}

static bool parse_bool(gw_str text, bool *ret)
{
    static const char *const words[] = {"false", "true", "no", "yes", "off", "on", "0", "1"};
    for (size_t i = 0; i < GW_ARRAY_LEN(words); i++) {
        if (gw_str_eq_c(text, words[i])) {
            *ret = i % 2 == 1;
            return true;
        }
    }
    return false;
}

/* Digits and one of the units; a bare 0 needs none. */
static bool parse_quantity(gw_str text, const unit *units, size_t n_units, int64_t *ret)
{
    size_t digits = 0;
    while (digits < text.len && text.ptr[digits] >= '0' && text.ptr[digits] <= '9')
        digits++;
    int64_t number;
    if (!gw_str_to_int64(gw_str_slice(text, 0, digits), &number))
        return false;
    gw_str suffix = gw_str_slice(text, digits, text.len);
    if (suffix.len == 0 && number == 0) {
        *ret = 0;
        return true;
    }
    for (size_t i = 0; i < n_units; i++) {
        if (gw_str_eq_c(suffix, units[i].name))
            return !__builtin_mul_overflow(number, units[i].factor, ret);
    }
    return false;
}

static bool is_one_of(const char *values, gw_str text)
{
    gw_str rest = gw_str_of(values);
    gw_str value;
    while (gw_str_split(&rest, '|', &value)) {
        if (gw_str_eq(value, text))
            return true;
    }
    return false;
}

/* The parts of a comma-separated text, in the arena. False when one is empty. */
static bool split_list(conf_loader *l, gw_str text, gw_conf_list *ret)
{
    size_t commas = 0;
    for (size_t i = 0; i < text.len; i++)
        commas += text.ptr[i] == ',';
    const char **items = conf_alloc(l, commas + 1, sizeof(*items));
    if (!items)
        return true; /* reported as out of memory */
    gw_conf_list list = {.items = items};
    gw_str rest = gw_str_trim(text).len > 0 ? text : GW_STR_NULL;
    gw_str part;
    while (gw_str_split(&rest, ',', &part)) {
        part = gw_str_trim(part);
        if (part.len == 0)
            return false;
        items[list.n] = conf_copy(l, part);
        list.n += items[list.n] != NULL;
    }
    *ret = list;
    return true;
}

static bool parse_cidrs(conf_loader *l, gw_str text, gw_conf_cidrs *ret)
{
    gw_conf_list list = {0};
    if (!split_list(l, text, &list))
        return false;
    gw_cidr *blocks = conf_alloc(l, list.n + 1, sizeof(*blocks));
    if (!blocks)
        return true;
    for (size_t i = 0; i < list.n; i++) {
        if (!gw_cidr_parse(gw_str_of(list.items[i]), &blocks[i]))
            return false;
    }
    *ret = (gw_conf_cidrs){blocks, list.n};
    return true;
}

static bool is_good_text(const gw_conf_field *f, gw_str text)
{
    gw_str host;
    uint16_t port;
    gw_url url;
    gw_user user;
    switch (f->type) {
    case GW_CONF_LISTEN:
        return gw_host_port_split(text, &host, &port);
    case GW_CONF_SECRET:
    case GW_CONF_PATH:
        return text.len > 0;
    case GW_CONF_URL:
        return gw_url_parse(text, &url, NULL) == GW_OK;
    case GW_CONF_ENUM:
        return is_one_of(f->values, text);
    case GW_CONF_USER:
        return gw_user_find(text.ptr, &user);
    default:
        return true;
    }
}

static void put(void *conf, const gw_conf_field *f, const void *value, size_t size)
{
    memcpy((char *)conf + f->offset, value, size);
}

static bool store_text(const gw_conf_field *f, gw_str text, void *conf)
{
    if (!is_good_text(f, text))
        return false;
    put(conf, f, &text.ptr, sizeof(text.ptr));
    return true;
}

static bool store_number(const gw_conf_field *f, gw_str text, void *conf)
{
    int64_t number = 0;
    bool ok;
    if (f->type == GW_CONF_DURATION)
        ok = parse_quantity(text, duration_units, GW_ARRAY_LEN(duration_units), &number);
    else if (f->type == GW_CONF_BYTES)
        ok = parse_quantity(text, byte_units, GW_ARRAY_LEN(byte_units), &number);
    else
        ok = gw_str_to_int64(text, &number) && number >= f->min && number <= f->max;
    if (ok)
        put(conf, f, &number, sizeof(number));
    return ok;
}

static bool store(conf_loader *l, const gw_conf_field *f, gw_str text, void *conf)
{
    bool flag;
    uint64_t port;
    gw_conf_list list = {0};
    gw_conf_cidrs cidrs = {0};
    if (gw_str_find(text, '\0') >= 0)
        return false;
    switch (f->type) {
    case GW_CONF_BOOL:
        if (!parse_bool(text, &flag))
            return false;
        put(conf, f, &flag, sizeof(flag));
        return true;
    case GW_CONF_PORT:
        if (!gw_str_to_uint64(text, &port) || port > UINT16_MAX)
            return false;
        put(conf, f, &(uint16_t){(uint16_t)port}, sizeof(uint16_t));
        return true;
    case GW_CONF_LIST:
        if (!split_list(l, text, &list))
            return false;
        put(conf, f, &list, sizeof(list));
        return true;
    case GW_CONF_CIDRS:
        if (!parse_cidrs(l, text, &cidrs))
            return false;
        put(conf, f, &cidrs, sizeof(cidrs));
        return true;
    case GW_CONF_INT:
    case GW_CONF_DURATION:
    case GW_CONF_BYTES:
        return store_number(f, text, conf);
    default:
        return store_text(f, text, conf);
    }
}

void conf_store(conf_loader *l, const gw_conf_field *f, const conf_text *text, void *conf)
{
    if (store(l, f, text->text, conf))
        return;
    char buffer[256];
    const char *expected = conf_expected(f, buffer, sizeof(buffer));
    /* A URL may hold a password. */
    if (f->type == GW_CONF_SECRET || f->type == GW_CONF_URL)
        conf_mistake(l, f, "the value from %s is not %s", text->origin, expected);
    else
        conf_mistake(l, f, "\"%.*s\" from %s is not %s", (int)GW_MIN(text->text.len, 80),
                     text->text.ptr, text->origin, expected);
}

static const void *field_at(const gw_conf_field *f, const void *conf)
{
    return (const char *)conf + f->offset;
}

#define GET(type, f, conf) (*(type const *)field_at((f), (conf)))

static void format_quantity(int64_t value, const unit *units, size_t n, gw_buf *out)
{
    size_t i = 0;
    while (i + 1 < n && (value == 0 || value % units[i].factor != 0))
        i++;
    gw_buf_appendf(out, "%" PRId64 "%s", value / units[i].factor, units[i].name);
}

static void format_url(gw_str text, gw_buf *out)
{
    gw_url u;
    if (gw_url_parse(text, &u, NULL) != GW_OK || u.userinfo.len == 0) {
        gw_buf_append_str(out, text);
        return;
    }
    gw_buf_append_str(out, u.scheme);
    gw_buf_append_c(out, "://***");
    gw_buf_append_c(out, u.userinfo.ptr + u.userinfo.len); /* from the @ on */
}

static void format_items(const gw_conf_field *f, const void *conf, gw_buf *out)
{
    if (f->type == GW_CONF_LIST) {
        gw_conf_list list = GET(gw_conf_list, f, conf);
        for (size_t i = 0; i < list.n; i++)
            gw_buf_appendf(out, "%s%s", i > 0 ? "," : "", list.items[i]);
        return;
    }
    gw_conf_cidrs cidrs = GET(gw_conf_cidrs, f, conf);
    for (size_t i = 0; i < cidrs.n; i++) {
        char text[GW_IP_TEXT_SIZE];
        gw_ip_format(&cidrs.items[i].base, text);
        gw_buf_appendf(out, "%s%s/%u", i > 0 ? "," : "", text, cidrs.items[i].prefix);
    }
}

void conf_format(const gw_conf_field *f, const void *conf, gw_buf *out)
{
    switch (f->type) {
    case GW_CONF_BOOL:
        gw_buf_append_c(out, GET(bool, f, conf) ? "true" : "false");
        return;
    case GW_CONF_INT:
        gw_buf_appendf(out, "%" PRId64, GET(int64_t, f, conf));
        return;
    case GW_CONF_PORT:
        gw_buf_appendf(out, "%u", (unsigned)GET(uint16_t, f, conf));
        return;
    case GW_CONF_DURATION:
        format_quantity(GET(int64_t, f, conf), duration_units, GW_ARRAY_LEN(duration_units), out);
        return;
    case GW_CONF_BYTES:
        format_quantity(GET(int64_t, f, conf), byte_units, GW_ARRAY_LEN(byte_units), out);
        return;
    case GW_CONF_LIST:
    case GW_CONF_CIDRS:
        format_items(f, conf, out);
        return;
    default:
        break;
    }
    const char *text = GET(const char *, f, conf);
    if (!text)
        gw_buf_append_c(out, "(not set)");
    else if (f->type == GW_CONF_SECRET)
        gw_buf_append_c(out, "***");
    else if (f->type == GW_CONF_URL)
        format_url(gw_str_of(text), out);
    else
        gw_buf_append_c(out, text);
}

static bool lists_equal(gw_conf_list a, gw_conf_list b)
{
    bool equal = a.n == b.n;
    for (size_t i = 0; equal && i < a.n; i++)
        equal = strcmp(a.items[i], b.items[i]) == 0;
    return equal;
}

static bool cidrs_equal(gw_conf_cidrs a, gw_conf_cidrs b)
{
    bool equal = a.n == b.n;
    for (size_t i = 0; equal && i < a.n; i++)
        equal =
            a.items[i].prefix == b.items[i].prefix && gw_ip_eq(&a.items[i].base, &b.items[i].base);
    return equal;
}

bool conf_equal(const gw_conf_field *f, const void *a, const void *b)
{
    switch (f->type) {
    case GW_CONF_BOOL:
        return GET(bool, f, a) == GET(bool, f, b);
    case GW_CONF_PORT:
        return GET(uint16_t, f, a) == GET(uint16_t, f, b);
    case GW_CONF_INT:
    case GW_CONF_DURATION:
    case GW_CONF_BYTES:
        return GET(int64_t, f, a) == GET(int64_t, f, b);
    case GW_CONF_LIST:
        return lists_equal(GET(gw_conf_list, f, a), GET(gw_conf_list, f, b));
    case GW_CONF_CIDRS:
        return cidrs_equal(GET(gw_conf_cidrs, f, a), GET(gw_conf_cidrs, f, b));
    default:
        break;
    }
    const char *x = GET(const char *, f, a);
    const char *y = GET(const char *, f, b);
    return x && y ? strcmp(x, y) == 0 : x == y;
}

static size_t size_of(const gw_conf_field *f)
{
    switch (f->type) {
    case GW_CONF_BOOL:
        return sizeof(bool);
    case GW_CONF_PORT:
        return sizeof(uint16_t);
    case GW_CONF_INT:
    case GW_CONF_DURATION:
    case GW_CONF_BYTES:
        return sizeof(int64_t);
    case GW_CONF_LIST:
        return sizeof(gw_conf_list);
    case GW_CONF_CIDRS:
        return sizeof(gw_conf_cidrs);
    default:
        return sizeof(const char *);
    }
}

void conf_copy_field(const gw_conf_field *f, void *conf, const void *from)
{
    put(conf, f, field_at(f, from), size_of(f));
}

const char *gw_conf_path(const gw_conf_field *f, const void *conf)
{
    return f->type == GW_CONF_PATH ? GET(const char *, f, conf) : NULL;
}
