/*
 * Generates the definition of the table of GW_CONF_NAME from GW_CONF_DEF, GW_CONF_SERVICE,
 * GW_CONF_PREFIX and, if defined, GW_CONF_USAGE, GW_CONF_ENV_ALLOWED, GW_CONF_CHECK and GW_CONF_CHECK_FILES. See conf.h; the struct has
 * been generated before.
 */
#ifndef GW_CONF_USAGE
#define GW_CONF_USAGE ""
#endif
#ifndef GW_CONF_ENV_ALLOWED
#define GW_CONF_ENV_ALLOWED NULL
#endif
#ifndef GW_CONF_CHECK
#define GW_CONF_CHECK NULL
#endif
#ifndef GW_CONF_CHECK_FILES
#define GW_CONF_CHECK_FILES NULL
#endif

#define CONF(type_name, field_name, text, flag_bits, doc_text)                                     \
    {.type = GW_CONF_##type_name,                                                                  \
     .field = #field_name,                                                                         \
     .offset = offsetof(GW_CONF_NAME, field_name),                                                 \
     .default_text = (text),                                                                       \
     .flags = (flag_bits),                                                                         \
     .doc = (doc_text),                                                                            \
     .min = INT64_MIN,                                                                             \
     .max = INT64_MAX},
#define CONF_INT(field_name, text, min_value, max_value, flag_bits, doc_text)                      \
    {.type = GW_CONF_INT,                                                                          \
     .field = #field_name,                                                                         \
     .offset = offsetof(GW_CONF_NAME, field_name),                                                 \
     .default_text = (text),                                                                       \
     .flags = (flag_bits),                                                                         \
     .doc = (doc_text),                                                                            \
     .min = (min_value),                                                                           \
     .max = (max_value)},
#define CONF_ENUM(field_name, text, value_list, flag_bits, doc_text)                               \
    {.type = GW_CONF_ENUM,                                                                         \
     .field = #field_name,                                                                         \
     .offset = offsetof(GW_CONF_NAME, field_name),                                                 \
     .default_text = (text),                                                                       \
     .flags = (flag_bits),                                                                         \
     .doc = (doc_text),                                                                            \
     .values = (value_list)},

static const gw_conf_field GW_CONF_JOIN(GW_CONF_NAME, _fields)[] = {
#include GW_CONF_DEF
};
static const char *const GW_CONF_JOIN(GW_CONF_NAME, _env_allowed)[] = {GW_CONF_ENV_ALLOWED, NULL};

const gw_conf_table GW_CONF_JOIN(GW_CONF_NAME, _table) = {
    .service = GW_CONF_SERVICE,
    .prefix = GW_CONF_PREFIX,
    .usage = GW_CONF_USAGE,
    .fields = GW_CONF_JOIN(GW_CONF_NAME, _fields),
    .n_fields = GW_ARRAY_LEN(GW_CONF_JOIN(GW_CONF_NAME, _fields)),
    .struct_size = sizeof(GW_CONF_NAME),
    .env_allowed = GW_CONF_JOIN(GW_CONF_NAME, _env_allowed),
    .check = GW_CONF_CHECK,
    .check_files = GW_CONF_CHECK_FILES,
};

#undef CONF
#undef CONF_INT
#undef CONF_ENUM
#undef GW_CONF_NAME
#undef GW_CONF_DEF
#undef GW_CONF_SERVICE
#undef GW_CONF_PREFIX
#undef GW_CONF_USAGE
#undef GW_CONF_ENV_ALLOWED
#undef GW_CONF_CHECK
#undef GW_CONF_CHECK_FILES
