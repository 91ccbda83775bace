/*
 * Log: JSON lines with typed fields, named as the Elastic Common Schema names them.
 *
 *     gw_log_info(log, "request_settled", gw_kv("model", model), gw_kv("ttft_ms", ttft_ms));
 *     {"@timestamp":"…","log.level":"info","service.name":"relay","event.action":"request_settled","model":"gpt-4o",…}
 *
 * The event is a past-tense snake_case name; values are fields, never formatted into it. A logger
 * may carry fields (request id, key id) that every line of it repeats. Secrets, prompts and answers
 * never enter.
 *
 * Thread: a root logger may be used from any thread (one write(2) a line unless they are gathered, <= 8 KiB, longer
 * values are cut); a child belongs to one thread.
 */
#pragma once

#include "core/clock.h"
#include "core/status.h"
#include "core/str.h"

typedef enum gw_log_level { GW_LOG_DEBUG, GW_LOG_INFO, GW_LOG_WARN, GW_LOG_ERROR } gw_log_level;

typedef enum gw_log_value_kind {
    GW_LOG_STR,
    GW_LOG_INT,
    GW_LOG_DOUBLE,
    GW_LOG_BOOL,
} gw_log_value_kind;

typedef struct gw_log_field {
    gw_str name; /* as it is written: `,"name":` */
    gw_log_value_kind kind;
    union {
        gw_str str;
        int64_t i64;
        double f64;
        bool b;
    };
} gw_log_field;

static inline gw_log_field gw_log_field_str(gw_str name, gw_str v)
{
    return (gw_log_field){.name = name, .kind = GW_LOG_STR, .str = v};
}
static inline gw_log_field gw_log_field_c(gw_str name, const char *v)
{
    return (gw_log_field){.name = name, .kind = GW_LOG_STR, .str = gw_str_of(v)};
}
static inline gw_log_field gw_log_field_int(gw_str name, int64_t v)
{
    return (gw_log_field){.name = name, .kind = GW_LOG_INT, .i64 = v};
}
static inline gw_log_field gw_log_field_double(gw_str name, double v)
{
    return (gw_log_field){.name = name, .kind = GW_LOG_DOUBLE, .f64 = v};
}
static inline gw_log_field gw_log_field_bool(gw_str name, bool v)
{
    return (gw_log_field){.name = name, .kind = GW_LOG_BOOL, .b = v};
}

/* A field of gw_str, C string, bool, any integer or floating type. The name is a literal that JSON needs not escape, of at
 * most 250 bytes. Views must live until the call returns. */
#define gw_kv(name, value)                                                                         \
    _Generic((value),                                                                              \
        gw_str: gw_log_field_str,                                                                  \
        char *: gw_log_field_c,                                                                    \
        const char *: gw_log_field_c,                                                              \
        bool: gw_log_field_bool,                                                                   \
        float: gw_log_field_double,                                                                \
        double: gw_log_field_double,                                                               \
        default: gw_log_field_int)(GW_STR(",\"" name "\":"), (value))

typedef struct gw_log gw_log;

/* Lines go to `fd` (borrowed; 2 in the services). `service` is static. NULL when out of memory. */
gw_log *gw_log_new(const char *service, int fd, gw_log_level level, const gw_clock *clock);
void gw_log_free(gw_log *l); /* children are gone by then */
GW_DEFINE_FREEP(gw_log)

/*
 * From now on lines of this thread below warn are gathered, so that a busy loop does not make a system call a line. What is
 * gathered goes out with gw_log_flush(), before any other line, or when it is 32 KiB. `waiting(arg)` tells, on this thread,
 * that something is gathered: a flush has to follow soon. A process that is killed loses what is gathered then.
 * GW_ERR_NO_MEMORY.
 */
GW_CHECK gw_status gw_log_gather(gw_log *root, void (*waiting)(void *arg), void *arg,
                                 gw_error *err);
void gw_log_flush(gw_log *root); /* any thread */
void gw_log_stop_gathering(gw_log *root); /* flushes; every line goes out at once again */

void gw_log_set_level(gw_log *root, gw_log_level level);
GW_CHECK bool gw_log_level_parse(gw_str name, gw_log_level *ret); /* debug info warn error */

/* A child repeats `fields` on each line; they are copied. The parent outlives it. */
gw_log *gw_log_child(gw_log *parent, const gw_log_field *fields, size_t n);

bool gw_log_is_on(const gw_log *l, gw_log_level level);
void gw_log_write(gw_log *l, gw_log_level level, const char *event, const gw_log_field *fields,
                  size_t n);

/* `l` NULL is fine: nothing is written. */
#define gw_log_at(l, level, event, ...)                                                            \
    do {                                                                                           \
        if (gw_log_is_on((l), (level))) {                                                          \
            const gw_log_field gw_fields_[] = {{.kind = GW_LOG_BOOL}, __VA_ARGS__};                \
            gw_log_write((l), (level), (event), gw_fields_ + 1, GW_ARRAY_LEN(gw_fields_) - 1);     \
        }                                                                                          \
    } while (0)
#define gw_log_debug(l, ...) gw_log_at((l), GW_LOG_DEBUG, __VA_ARGS__, )
#define gw_log_info(l, ...)  gw_log_at((l), GW_LOG_INFO, __VA_ARGS__, )
#define gw_log_warn(l, ...)  gw_log_at((l), GW_LOG_WARN, __VA_ARGS__, )
#define gw_log_error(l, ...) gw_log_at((l), GW_LOG_ERROR, __VA_ARGS__, )

/* The usual pair for a failure: error.code and error.message. */
#define gw_kv_error(err)                                                                           \
    gw_kv("error.code", gw_status_describe((err)->code)->name),                                    \
        gw_kv("error.message", (const char *)(err)->message)
