/*
 * What the sources of libs/conf share. A load gathers the text of each setting from each source, takes the one of the
 * strongest source and parses it into the struct; mistakes pile up on the way.
 */
#pragma once

#include "conf/conf.h"

/* From weak to strong; defaults stand in the table. */
typedef enum conf_source {
    CONF_FROM_FILE,
    CONF_FROM_ENV,
    CONF_FROM_FLAG,
    CONF_SOURCES
} conf_source;

typedef struct conf_text {
    gw_str text; /* NUL-terminated, in the arena */
    const char *origin; /* "RELAY_DATA_DIR", "--data-dir", "relay.yaml:3"; NULL = not given */
    bool is_secret_file; /* `text` names the file that holds the value */
} conf_text;

typedef struct conf_loader {
    const gw_conf_table *table;
    gw_arena *arena;
    gw_conf_errors *errs;
    bool no_memory;
    bool at_start;
    gw_conf_base base;
    conf_text *texts[CONF_SOURCES]; /* each n_fields long */
    conf_text config_path;
} conf_loader;

/* Names of a field. NAME_SIZE bounds the longest with prefix and "_FILE". */
#define CONF_NAME_SIZE 128
void conf_name(const gw_conf_field *f, char out[CONF_NAME_SIZE]); /* upstream_timeout */
void conf_env_name(const gw_conf_table *t, const gw_conf_field *f, char out[CONF_NAME_SIZE]);
void conf_flag_name(const gw_conf_field *f, char out[CONF_NAME_SIZE]); /* upstream-timeout */

/* Adds a mistake; f may be NULL. */
void conf_mistake(conf_loader *l, const gw_conf_field *f, const char *format, ...) GW_PRINTF(3, 4);

/* Arena helpers that remember running out of memory; NULL then. */
void *conf_alloc(conf_loader *l, size_t n, size_t size);
const char *conf_copy(conf_loader *l, gw_str s);

/* Notes what a source says about a setting; a second time from the same source is a mistake. */
void conf_note(conf_loader *l, conf_source source, const gw_conf_field *f, gw_str text,
               const char *origin, bool is_secret_file);

/* The sources. */
void conf_read_flags(conf_loader *l, int argc, char **argv);
void conf_read_env(conf_loader *l, char **envp);
void conf_read_yaml(conf_loader *l, const char *path);

/* Whole file of at most `max` bytes, NUL-terminated, malloc'ed. False with a mistake added. */
bool conf_read_file(conf_loader *l, const gw_conf_field *f, const char *path, size_t max,
                    char **ret, size_t *ret_len);

/* A mistake when a CONF_FILE that is set cannot be opened. */
void conf_check_file(conf_loader *l, const gw_conf_field *f, const void *conf);

/* Parses `text` into the struct; a mistake when it is not allowed. */
void conf_store(conf_loader *l, const gw_conf_field *f, const conf_text *text, void *conf);
const char *conf_expected(const gw_conf_field *f, char *buffer,
                          size_t size); /* "a duration such as 250ms, …" */
const char *conf_type_name(gw_conf_type type);

/* The value as text, secrets as ***. */
void conf_format(const gw_conf_field *f, const void *conf, gw_buf *out);
void conf_copy_field(const gw_conf_field *f, void *conf, const void *from);
bool conf_equal(const gw_conf_field *f, const void *a, const void *b);
