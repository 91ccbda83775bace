/*
 * Generates the struct GW_CONF_NAME and the declaration of its table from GW_CONF_DEF. See conf.h;
 * included once for each table, hence no #pragma once.
 */
#include "conf/conf.h"

#ifndef GW_CONF_CTYPE_STRING
#define GW_CONF_CTYPE_STRING   const char *
#define GW_CONF_CTYPE_BOOL     bool
#define GW_CONF_CTYPE_INT      int64_t
#define GW_CONF_CTYPE_PORT     uint16_t
#define GW_CONF_CTYPE_LISTEN   const char *
#define GW_CONF_CTYPE_DURATION int64_t
#define GW_CONF_CTYPE_BYTES    int64_t
#define GW_CONF_CTYPE_SECRET   const char *
#define GW_CONF_CTYPE_PATH     const char *
#define GW_CONF_CTYPE_URL      const char *
#define GW_CONF_CTYPE_LIST     gw_conf_list
#define GW_CONF_CTYPE_CIDRS    gw_conf_cidrs
#define GW_CONF_CTYPE_USER     const char *
#define GW_CONF_JOIN_(a, b)    a##b
#define GW_CONF_JOIN(a, b)     GW_CONF_JOIN_(a, b)
#endif

#define CONF(type, field, default_text, flags, doc)                     GW_CONF_CTYPE_##type field;
#define CONF_INT(field, default_text, min_value, max_value, flags, doc) int64_t field;
#define CONF_ENUM(field, default_text, values, flags, doc)              const char *field;

typedef struct GW_CONF_NAME {
    gw_conf_base base;
#include GW_CONF_DEF
} GW_CONF_NAME;

extern const gw_conf_table GW_CONF_JOIN(GW_CONF_NAME, _table);

#undef CONF
#undef CONF_INT
#undef CONF_ENUM
#undef GW_CONF_NAME
#undef GW_CONF_DEF
