/*
 * Settings: one table a service; struct, environment, flags, file, --help and documentation come
 * from it.
 *
 *     // relay_conf.def: default NULL = none. DURATION fields end in _ms, BYTES fields in _bytes.
 *     CONF(LISTEN, http_listen, "127.0.0.1:8080", 0, "address of the OpenAI-compatible API")
 *     CONF(DURATION, upstream_timeout_ms, "60s", CONF_RELOADABLE, "deadline of one exchange")
 *     CONF_INT(max_in_flight, "1000", 1, 100000, CONF_RELOADABLE, "requests handled at once")
 *     CONF_ENUM(log_level, "info", "debug|info|warn|error", CONF_RELOADABLE, "least level logged")
 *     CONF(SECRET, redis_password, NULL, CONF_REQUIRED, "password of the ledger's Redis")
 *
 *     // relay_conf.h: the struct `relay_conf` and the declaration of `relay_conf_table`
 *     #define GW_CONF_NAME relay_conf
 *     #define GW_CONF_DEF "relay_conf.def"
 *     #include "conf/conf_struct.h"
 *
 *     // relay_conf.c: the definition of `relay_conf_table`. The last four defines are optional: the
 *     // positional arguments for --help, variables that are no settings and yet no errors, two checks.
 *     #define GW_CONF_NAME relay_conf
 *     #define GW_CONF_DEF "relay_conf.def"
 *     #define GW_CONF_SERVICE "relay"
 *     #define GW_CONF_PREFIX "RELAY"
 *     #define GW_CONF_USAGE "[spool inspect]"
 *     #define GW_CONF_ENV_ALLOWED "RELAY_CREDENTIAL_*", "RELAY_URL"
 *     #define GW_CONF_CHECK check // static void check(const void *conf, gw_conf_errors *errs): settings that do not
 *                                 // go together, reported with all other mistakes; a bad setting has no value here
 *     #define GW_CONF_CHECK_FILES check_files // the same of what stands in files, at the start alone
 *     #include "conf/conf_table.h"
 *
 *     // main.c
 *     relay_conf conf;
 *     int exit_status;
 *     if (!gw_conf_start(&relay_conf_table, argc, argv, &conf, &exit_status))
 *         return exit_status;
 *     …
 *     gw_conf_free(&relay_conf_table, &conf);
 *
 * A setting's name is its field without the unit: `upstream_timeout` is RELAY_UPSTREAM_TIMEOUT,
 * --upstream-timeout and the key `upstream_timeout` of the YAML file named by --config or
 * RELAY_CONFIG. Flag beats environment beats file beats default; an empty environment variable
 * counts as not set. A SECRET comes from RELAY_REDIS_PASSWORD, or from the file named by
 * RELAY_REDIS_PASSWORD_FILE, --redis-password-file or the key `redis_password_file` (one trailing
 * newline is dropped); it is never a flag's value and never printed.
 *
 * Thread: the table is constant; a loaded struct is read-only and may be shared.
 */
#pragma once

#include "core/arena.h"
#include "core/net.h"
#include "core/status.h"
#include "core/str.h"

#include <stddef.h>
#include <stdint.h>

/* Each with the C type of its field and the text that is accepted. */
typedef enum gw_conf_type {
    GW_CONF_STRING, /* const char *: anything; NULL when not set */
    GW_CONF_BOOL, /* bool: true false yes no on off 1 0; as a flag also --name and --no-name */
    GW_CONF_INT, /* int64_t: decimal */
    GW_CONF_PORT, /* uint16_t: 0-65535, 0 = any free one */
    GW_CONF_LISTEN, /* const char *: "host:port" or "[v6]:port" */
    GW_CONF_DURATION, /* int64_t ms: 250ms 60s 5m 2h 7d, or 0 */
    GW_CONF_BYTES, /* int64_t: 1024 64KiB 32MiB 2GiB 1TiB, also kB MB GB TB */
    GW_CONF_SECRET, /* const char *: see above; NULL when not set */
    GW_CONF_PATH, /* const char *: not empty; whether it exists is checked with CONF_FILE only */
    GW_CONF_URL, /* const char *: absolute URL (gw_url_parse); printed without its userinfo */
    GW_CONF_LIST, /* gw_conf_list: comma separated, in the file also a sequence */
    GW_CONF_CIDRS, /* gw_conf_cidrs: the same, of "10.0.0.0/8" or bare addresses */
    GW_CONF_ENUM, /* const char *: one of the values of CONF_ENUM */
    GW_CONF_USER, /* const char *: "user" or "user:group" of this system (core/user.h) */
} gw_conf_type;

enum {
    CONF_REQUIRED = 1, /* loading fails when no source and no default gives it */
    CONF_RELOADABLE = 2, /* a reload may change it: gw_conf_adopt(); not for secrets */
    CONF_WATCHED = 4, /* a PATH whose content is read anew when it changes */
    CONF_FOLDER = 8, /* a PATH of a folder that is made at start */
    CONF_FILE =
        16, /* a PATH of a file that is read: not to be there is a mistake at the start; a reload keeps what was */
};

typedef struct gw_conf_list {
    const char *const *items;
    size_t n;
} gw_conf_list;

typedef struct gw_conf_cidrs {
    const gw_cidr *items;
    size_t n;
} gw_conf_cidrs;

typedef struct gw_conf_field {
    gw_conf_type type;
    unsigned flags;
    const char *field; /* the C name, unit included */
    size_t offset;
    const char *default_text;
    const char *doc;
    int64_t min, max; /* INT */
    const char *values; /* ENUM: "a|b|c" */
} gw_conf_field;

/* Everything that is wrong: unknown names as they are met, then settings in the order of the table, then what does not go
 * together. `field` is the setting's name ("" when it belongs to none). */
typedef struct gw_conf_errors {
    gw_error *items;
    size_t n;
    bool no_memory; /* some could not be kept */
} gw_conf_errors;

typedef struct gw_conf_table {
    const char *service; /* "relay" */
    const char *prefix; /* "RELAY" */
    const char *usage; /* positional arguments for --help, "" when none */
    const gw_conf_field *fields;
    size_t n_fields;
    size_t struct_size;
    const char *const *env_allowed; /* globs, NULL at the end */
    void (*check)(const void *conf, gw_conf_errors *errs); /* may be NULL */
    /* What is wrong within files, at the start alone: at a reload whoever reads one keeps what was. May be NULL. */
    void (*check_files)(const void *conf, gw_conf_errors *errs);
} gw_conf_table;

typedef enum gw_conf_action {
    GW_CONF_RUN,
    GW_CONF_HELP,
    GW_CONF_VERSION,
    GW_CONF_PRINT_DOCS,
    GW_CONF_PRINT
} gw_conf_action;

/* First member of every settings struct, named `base`. */
typedef struct gw_conf_base {
    gw_arena *arena; /* holds every text and list of the struct */
    gw_conf_action action; /* after HELP and PRINT_DOCS no setting is filled in */
    const char *const *args; /* positional arguments, in order; "--" ends the flags */
    size_t n_args;
    const char *config_path; /* of --config or PREFIX_CONFIG; NULL when there is none */
} gw_conf_base;

void gw_conf_errors_fini(gw_conf_errors *errs);

/* For GW_CONF_CHECK. Adds a mistake of `setting` (its name). */
void gw_conf_wrong(gw_conf_errors *errs, const char *setting, const char *format, ...)
    GW_PRINTF(3, 4);
/* Adds a mistake when `setting` has a value (not NULL) and the one that it needs has none. */
void gw_conf_needs(gw_conf_errors *errs, const char *setting, const char *value, const char *needed,
                   const char *needed_value);

/*
 * Loads all sources and checks everything. GW_OK: *ret_struct is filled and freed with
 * gw_conf_free(). GW_ERR_INVALID_ARGUMENT: *errs (initialised by this call, freed by
 * gw_conf_errors_fini) lists all mistakes: bad values with what is allowed, missing ones, unknown
 * flags, keys of the file and PREFIX_* variables (those that Kubernetes injects for Services are
 * ignored). Secrets never show in a message. `argv[0]` is skipped; `argv` and `envp` (NULL at the
 * end) need not outlive the call.
 */
GW_CHECK gw_status gw_conf_load(const gw_conf_table *t, int argc, char **argv, char **envp,
                                void *ret_struct, gw_conf_errors *errs);
void gw_conf_free(const gw_conf_table *t, void *conf); /* wipes secrets; zeroes the struct */

/*
 * What a main() does with them: loads from argv and environ, sees whether each CONF_FILE can be opened, and checks files. False when the process is to end with
 * *ret_exit_status: 0 after
 * --help, --print-docs or --print-config (on stdout), 2 after mistakes (on stderr); nothing is to
 * be freed then.
 */
GW_CHECK bool gw_conf_start(const gw_conf_table *t, int argc, char **argv, void *ret_struct,
                            int *ret_exit_status);

void gw_conf_help(const gw_conf_table *t, gw_buf *out); /* the text of --help */
void gw_conf_docs(const gw_conf_table *t, gw_buf *out); /* Markdown, for docs/generated/ */
void gw_conf_print(const gw_conf_table *t, const void *conf,
                   gw_buf *out); /* "name = value" lines, secrets as *** */

/*
 * Takes over the reloadable settings of `from` into `conf`, the others stay. Texts and lists stay
 * `from`'s: they are good until it is freed, so the next gw_conf_adopt() comes before that.
 */
void gw_conf_adopt(const gw_conf_table *t, void *conf, const void *from);

/* The value of a PATH; NULL when not set, or when it is another type. */
const char *gw_conf_path(const gw_conf_field *f, const void *conf);

/* Calls `each` for every setting that differs; `name` lives during the call. How many they are. */
size_t gw_conf_diff(const gw_conf_table *t, const void *a, const void *b,
                    void (*each)(void *arg, const gw_conf_field *f, const char *name), void *arg);
