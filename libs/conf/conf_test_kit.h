/*
 * What the tests of settings share: the table of conf_test.def, loading it, and what a load said.
 */
#pragma once

#define GW_CONF_NAME test_conf
#define GW_CONF_DEF  "conf/conf_test.def"
#include "conf/conf_struct.h"

static void check(const void *conf, gw_conf_errors *errs)
{
    const test_conf *c = conf;
    gw_conf_needs(errs, "cert_file", c->cert_file, "key_file", c->key_file);
    gw_conf_needs(errs, "key_file", c->key_file, "cert_file", c->cert_file);
}

static void check_files(const void *conf, gw_conf_errors *errs)
{
    const test_conf *c = conf;
    if (c->list_file && strcmp(c->list_file, "/dev/zero") == 0)
        gw_conf_wrong(errs, "list_file", "%s is no list", c->list_file);
}

#define GW_CONF_NAME        test_conf
#define GW_CONF_DEF         "conf/conf_test.def"
#define GW_CONF_SERVICE     "relay"
#define GW_CONF_PREFIX      "RELAY"
#define GW_CONF_USAGE       "[spool inspect]"
#define GW_CONF_ENV_ALLOWED "RELAY_CREDENTIAL_*", "RELAY_URL"
#define GW_CONF_CHECK       check
#define GW_CONF_CHECK_FILES check_files
#include "conf/conf_table.h"

#include "testing/cmocka.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define SECRET_ENV "RELAY_REDIS_PASSWORD=hunter2"

typedef struct loaded {
    gw_status rc;
    test_conf conf; /* zero unless rc is GW_OK */
    gw_conf_errors errs;
    gw_buf text; /* all messages, one a line */
} loaded;

static inline loaded load(char **argv, char **envp)
{
    loaded l = {0};
    int argc = 0;
    while (argv[argc])
        argc++;
    l.rc = gw_conf_load(&test_conf_table, argc, argv, envp, &l.conf, &l.errs);
    for (size_t i = 0; i < l.errs.n; i++)
        gw_buf_appendf(&l.text, "%s: %s\n", l.errs.items[i].field, l.errs.items[i].message);
    return l;
}

static inline void loaded_fini(loaded *l)
{
    if (l->rc == GW_OK)
        gw_conf_free(&test_conf_table, &l->conf);
    gw_conf_errors_fini(&l->errs);
    gw_buf_fini(&l->text);
}
#define auto_loaded __attribute__((cleanup(loaded_fini))) loaded

#define ARGS(...) ((char *[]){"relay", __VA_ARGS__ __VA_OPT__(, ) NULL})
#define ENV(...)  ((char *[]){SECRET_ENV, __VA_ARGS__ __VA_OPT__(, ) NULL})

/* A file in the test's own folder; its path lives until the next call. */
static char folder[] = "/tmp/conf_test_XXXXXX";
static char path[64];

static inline char *write_file(const char *content, size_t len)
{
    (void)snprintf(path, sizeof(path), "%s/file", folder);
    FILE *f = fopen(path, "w");
    assert_non_null(f);
    assert_int_equal(fwrite(content, 1, len, f), len);
    assert_int_equal(fclose(f), 0);
    return path;
}

static inline int make_folder(void **state)
{
    (void)state;
    return mkdtemp(folder) ? 0 : -1;
}

static inline int remove_folder(void **state)
{
    (void)state;
    (void)unlink(path);
    return rmdir(folder);
}
