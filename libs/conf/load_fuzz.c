/*
 * Settings from all their sources: the input's lines up to an empty one are flags and, with a `$` in
 * front, environment variables; the rest is the settings file. What is loaded is printed without its
 * secret and loads again from what was printed; mistakes are all named.
 */
#define GW_CONF_NAME fuzz_conf
#define GW_CONF_DEF  "conf/conf_test.def"
#include "conf/conf_struct.h"

#define GW_CONF_NAME        fuzz_conf
#define GW_CONF_DEF         "conf/conf_test.def"
#define GW_CONF_SERVICE     "relay"
#define GW_CONF_PREFIX      "RELAY"
#define GW_CONF_USAGE       ""
#define GW_CONF_ENV_ALLOWED "RELAY_URL"
#include "conf/conf_table.h"

#include "testing/fuzz.h"

#define ENTRIES_MAX 16
#define SECRET      "hunter2-and-more"

typedef struct sources {
    char config[FUZZ_PATH_SIZE + 16];
    char *argv[ENTRIES_MAX + 2];
    int argc;
    char *envp[ENTRIES_MAX + 3];
    size_t env_count;
} sources;

static void add_line(sources *s, gw_str line)
{
    bool is_variable = line.ptr[0] == '$';
    char *copy = gw_str_dup(is_variable ? gw_str_slice(line, 1, line.len) : line);

    fuzz_require(copy != NULL);
    if (is_variable && s->env_count < ENTRIES_MAX)
        s->envp[s->env_count++] = copy;
    else if (!is_variable && s->argc <= ENTRIES_MAX)
        s->argv[s->argc++] = copy;
    else
        free(copy);
}

/* Files that the input names could be anything on this machine, its secret too. */
static bool names_a_file(gw_str text)
{
    return gw_str_contains(text, GW_STR("file")) || gw_str_contains(text, GW_STR("FILE")) ||
           gw_str_contains(text, GW_STR("onfig")) || gw_str_contains(text, GW_STR("ONFIG")) ||
           gw_str_contains(text, GW_STR(SECRET));
}

static void check_loaded(const fuzz_conf *c)
{
    gw_auto_buf printed = {0};

    if (c->base.action == GW_CONF_HELP || c->base.action == GW_CONF_PRINT_DOCS)
        return;
    gw_conf_print(&fuzz_conf_table, c, &printed);
    fuzz_require(!gw_str_contains(gw_buf_str(&printed), GW_STR(SECRET)));
    if (c->base.action == GW_CONF_VERSION)
        return;
    fuzz_require(c->max_in_flight >= 1 && c->max_in_flight <= 100000);
    fuzz_require(c->upstream_timeout_ms >= 0 && c->body_max_bytes >= 0);
    fuzz_require(c->redis_password && c->http_listen && c->log_level && c->data_dir[0]);
    fuzz_require(gw_conf_diff(&fuzz_conf_table, c, c, NULL, NULL) == 0);
}

static void load(sources *s)
{
    fuzz_conf c;
    gw_conf_errors errors;
    gw_status rc = gw_conf_load(&fuzz_conf_table, s->argc, s->argv, s->envp, &c, &errors);

    fuzz_require((rc == GW_OK) == (errors.n == 0));
    for (size_t i = 0; i < errors.n; i++) {
        fuzz_require(errors.items[i].message[0]);
        fuzz_require(!gw_str_contains(gw_str_of(errors.items[i].message), GW_STR(SECRET)));
    }
    gw_conf_errors_fini(&errors);
    if (rc == GW_OK) {
        check_loaded(&c);
        gw_conf_free(&fuzz_conf_table, &c);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static char program[] = "relay";
    static char secret[] = "RELAY_REDIS_PASSWORD=" SECRET;
    sources s = {.argv = {program}, .argc = 1};
    gw_str rest = gw_str_n(data, size);
    gw_str line;
    char path[FUZZ_PATH_SIZE];

    if (names_a_file(rest))
        return 0;
    while (gw_str_split(&rest, '\n', &line) && line.len > 0)
        add_line(&s, line);
    int fd = fuzz_file(rest, path);
    (void)snprintf(s.config, sizeof(s.config), "RELAY_CONFIG=%s", path);
    s.envp[s.env_count] = s.config;
    s.envp[s.env_count + 1] = secret;
    load(&s);
    close(fd);
    while (s.env_count > 0)
        free(s.envp[--s.env_count]);
    while (s.argc > 1)
        free(s.argv[--s.argc]);
    return 0;
}
