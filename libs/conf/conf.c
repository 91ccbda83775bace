#include "conf/conf_internal.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>

extern char **environ;

void conf_name(const gw_conf_field *f, char out[CONF_NAME_SIZE])
{
    gw_str name = gw_str_of(f->field);
    const char *unit = f->type == GW_CONF_DURATION ? "_ms"
                       : f->type == GW_CONF_BYTES  ? "_bytes"
                                                   : "";
    assert(gw_str_ends_with(name, gw_str_of(unit)));
    assert(name.len < CONF_NAME_SIZE / 2);
    name.len -= strlen(unit);
    memcpy(out, name.ptr, name.len);
    out[name.len] = '\0';
}

void conf_env_name(const gw_conf_table *t, const gw_conf_field *f, char out[CONF_NAME_SIZE])
{
    char name[CONF_NAME_SIZE];
    conf_name(f, name);
    for (char *c = name; *c; c++) {
        if (*c >= 'a' && *c <= 'z')
            *c = (char)(*c - 'a' + 'A');
    }
    (void)snprintf(out, CONF_NAME_SIZE, "%.30s_%.90s", t->prefix, name);
}

void conf_flag_name(const gw_conf_field *f, char out[CONF_NAME_SIZE])
{
    conf_name(f, out);
    for (char *c = out; *c; c++) {
        if (*c == '_')
            *c = '-';
    }
}

/* One more, without a message yet; NULL when out of memory. */
static gw_error *add_mistake(gw_conf_errors *errs)
{
    gw_error *items = realloc(errs->items, (errs->n + 1) * sizeof(*items));
    if (!items) {
        errs->no_memory = true;
        return NULL;
    }
    errs->items = items;
    return &items[errs->n++];
}

void conf_mistake(conf_loader *l, const gw_conf_field *f, const char *format, ...)
{
    gw_error *err = add_mistake(l->errs);
    if (!err)
        return;
    va_list args;
    va_start(args, format);
    gw_vfail(err, GW_ERR_INVALID_ARGUMENT, format, args);
    va_end(args);
    if (f) {
        char name[CONF_NAME_SIZE];
        conf_name(f, name);
        (void)snprintf(err->field, sizeof(err->field), "%.90s", name);
    }
}

void gw_conf_wrong(gw_conf_errors *errs, const char *setting, const char *format, ...)
{
    gw_error *err = add_mistake(errs);
    if (!err)
        return;
    va_list args;
    va_start(args, format);
    gw_vfail(err, GW_ERR_INVALID_ARGUMENT, format, args);
    va_end(args);
    (void)snprintf(err->field, sizeof(err->field), "%.90s", setting);
}

void gw_conf_needs(gw_conf_errors *errs, const char *setting, const char *value, const char *needed,
                   const char *needed_value)
{
    if (value && !needed_value)
        gw_conf_wrong(errs, setting, "needs %s", needed);
}

void gw_conf_errors_fini(gw_conf_errors *errs)
{
    free(errs->items);
    *errs = (gw_conf_errors){0};
}

void *conf_alloc(conf_loader *l, size_t n, size_t size)
{
    void *p = gw_arena_calloc(l->arena, n, size);
    if (!p)
        l->no_memory = true;
    return p;
}

const char *conf_copy(conf_loader *l, gw_str s)
{
    const char *copy = gw_arena_strdup(l->arena, s);
    if (!copy)
        l->no_memory = true;
    return copy;
}

void conf_note(conf_loader *l, conf_source source, const gw_conf_field *f, gw_str text,
               const char *origin, bool is_secret_file)
{
    conf_text *slot = &l->texts[source][f - l->table->fields];
    if (slot->origin) {
        if (strcmp(slot->origin, origin) == 0)
            conf_mistake(l, f, "%s is given twice", origin);
        else
            conf_mistake(l, f, "%s and %s are both given", slot->origin, origin);
        return;
    }
    const char *copy = conf_copy(l, text);
    const char *where = conf_copy(l, gw_str_of(origin));
    if (copy && where)
        *slot = (conf_text){gw_str_n(copy, text.len), where, is_secret_file};
}

enum { SECRET_MAX_BYTES = 65536 };

/* The secret itself instead of the name of its file. False with a mistake added. */
static bool read_secret(conf_loader *l, const gw_conf_field *f, conf_text *text)
{
    char *bytes;
    size_t len;
    if (!conf_read_file(l, f, text->text.ptr, SECRET_MAX_BYTES, &bytes, &len))
        return false;
    size_t used = len;
    if (used > 0 && bytes[used - 1] == '\n')
        used--;
    if (used > 0 && used < len && bytes[used - 1] == '\r')
        used--;
    const char *copy = conf_copy(l, gw_str_n(bytes, used));
    explicit_bzero(bytes, len);
    free(bytes);
    if (copy)
        text->text = gw_str_n(copy, used);
    return copy != NULL;
}

static void report_missing(conf_loader *l, const gw_conf_field *f)
{
    char name[CONF_NAME_SIZE];
    char env[CONF_NAME_SIZE];
    char flag[CONF_NAME_SIZE];
    conf_name(f, name);
    conf_env_name(l->table, f, env);
    conf_flag_name(f, flag);
    if (f->type == GW_CONF_SECRET)
        conf_mistake(l, f, "is required: set %s_FILE, %s, --%s-file or %s_file in the file", env,
                     env, flag, name);
    else
        conf_mistake(l, f, "is required: set %s, --%s or %s in the file", env, flag, name);
}

static void settle_field(conf_loader *l, const gw_conf_field *f, void *conf)
{
    conf_text chosen = {0};
    for (int source = CONF_SOURCES - 1; source >= 0 && !chosen.origin; source--)
        chosen = l->texts[source][f - l->table->fields];
    if (!chosen.origin && f->default_text) {
        chosen.text = gw_str_of(f->default_text);
        chosen.origin = "the default";
    }
    if ((f->flags & CONF_REQUIRED) && chosen.text.len == 0) {
        report_missing(l, f);
        return;
    }
    if (!chosen.origin)
        return;
    if (chosen.is_secret_file && !read_secret(l, f, &chosen))
        return;
    conf_store(l, f, &chosen, conf);
}

static void load(conf_loader *l, int argc, char **argv, char **envp, void *conf)
{
    for (int source = 0; source < CONF_SOURCES; source++) {
        l->texts[source] = conf_alloc(l, l->table->n_fields + 1, sizeof(conf_text));
        if (!l->texts[source])
            return;
    }
    conf_read_flags(l, argc, argv);
    if (l->base.action == GW_CONF_HELP || l->base.action == GW_CONF_VERSION ||
        l->base.action == GW_CONF_PRINT_DOCS) {
        gw_conf_errors_fini(l->errs); /* who asks for help has made a mistake before */
        return;
    }
    conf_read_env(l, envp);
    if (l->config_path.origin) {
        l->base.config_path = l->config_path.text.ptr;
        conf_read_yaml(l, l->config_path.text.ptr);
    }
    for (size_t i = 0; i < l->table->n_fields; i++) {
        settle_field(l, &l->table->fields[i], conf);
        if (l->at_start && l->base.action == GW_CONF_RUN)
            conf_check_file(l, &l->table->fields[i], conf);
    }
    if (l->table->check)
        l->table->check(conf, l->errs);
    if (l->table->check_files && l->at_start && l->base.action == GW_CONF_RUN)
        l->table->check_files(conf, l->errs);
}

static gw_status load_all(const gw_conf_table *t, int argc, char **argv, char **envp, bool at_start,
                          void *ret_struct, gw_conf_errors *errs)
{
    *errs = (gw_conf_errors){0};
    conf_loader l = {.table = t, .errs = errs, .arena = gw_arena_new(), .at_start = at_start};
    void *conf = calloc(1, t->struct_size);
    if (l.arena && conf)
        load(&l, argc, argv, envp, conf);
    else
        l.no_memory = true;
    if (conf) {
        l.base.arena = l.arena;
        memcpy(conf, &l.base, sizeof(l.base));
    } else {
        gw_arena_free(l.arena);
    }
    gw_status rc = l.no_memory || errs->no_memory ? GW_ERR_NO_MEMORY
                   : errs->n > 0                  ? GW_ERR_INVALID_ARGUMENT
                                                  : GW_OK;
    if (rc == GW_OK)
        memcpy(ret_struct, conf, t->struct_size);
    else if (conf)
        gw_conf_free(t, conf);
    free(conf);
    return rc;
}

gw_status gw_conf_load(const gw_conf_table *t, int argc, char **argv, char **envp, void *ret_struct,
                       gw_conf_errors *errs)
{
    return load_all(t, argc, argv, envp, false, ret_struct, errs);
}

void gw_conf_free(const gw_conf_table *t, void *conf)
{
    gw_conf_base base;
    memcpy(&base, conf, sizeof(base));
    for (size_t i = 0; i < t->n_fields; i++) {
        char *secret;
        if (t->fields[i].type != GW_CONF_SECRET)
            continue;
        memcpy(&secret, (char *)conf + t->fields[i].offset, sizeof(secret));
        if (secret)
            explicit_bzero(secret, strlen(secret));
    }
    gw_arena_free(base.arena);
    memset(conf, 0, t->struct_size);
}

static void print_and_free(gw_buf *text)
{
    if (text->data)
        (void)fwrite(text->data, 1, text->len, stdout);
    (void)fflush(stdout);
    gw_buf_fini(text);
}

static void print_errors(const gw_conf_table *t, const gw_conf_errors *errs)
{
    for (size_t i = 0; i < errs->n; i++) {
        const gw_error *e = &errs->items[i];
        (void)fprintf(stderr, "%s: %s%s%s\n", t->service, e->field, e->field[0] ? ": " : "",
                      e->message);
    }
    (void)fprintf(stderr, "%s: %zu mistake%s in the settings; %s --help lists them all\n",
                  t->service, errs->n, errs->n == 1 ? "" : "s", t->service);
}

bool gw_conf_start(const gw_conf_table *t, int argc, char **argv, void *ret_struct,
                   int *ret_exit_status)
{
    gw_conf_errors errs;
    gw_status rc = load_all(t, argc, argv, environ, true, ret_struct, &errs);
    if (rc != GW_OK) {
        if (rc == GW_ERR_NO_MEMORY)
            (void)fprintf(stderr, "%s: out of memory while reading the settings\n", t->service);
        else
            print_errors(t, &errs);
        gw_conf_errors_fini(&errs);
        *ret_exit_status = 2;
        return false;
    }
    gw_conf_base base;
    memcpy(&base, ret_struct, sizeof(base));
    if (base.action == GW_CONF_RUN)
        return true;
    gw_buf text = {0};
    if (base.action == GW_CONF_HELP)
        gw_conf_help(t, &text);
    else if (base.action == GW_CONF_VERSION)
        gw_buf_appendf(&text, "%s %s\n", t->service, GW_VERSION);
    else if (base.action == GW_CONF_PRINT_DOCS)
        gw_conf_docs(t, &text);
    else
        gw_conf_print(t, ret_struct, &text);
    print_and_free(&text);
    gw_conf_free(t, ret_struct);
    *ret_exit_status = 0;
    return false;
}

size_t gw_conf_diff(const gw_conf_table *t, const void *a, const void *b,
                    void (*each)(void *arg, const gw_conf_field *f, const char *name), void *arg)
{
    size_t n = 0;
    for (size_t i = 0; i < t->n_fields; i++) {
        const gw_conf_field *f = &t->fields[i];
        if (conf_equal(f, a, b))
            continue;
        char name[CONF_NAME_SIZE];
        conf_name(f, name);
        if (each)
            each(arg, f, name);
        n++;
    }
    return n;
}

void gw_conf_adopt(const gw_conf_table *t, void *conf, const void *from)
{
    for (size_t i = 0; i < t->n_fields; i++) {
        const gw_conf_field *f = &t->fields[i];
        assert(!(f->flags & CONF_RELOADABLE) || f->type != GW_CONF_SECRET);
        if (f->flags & CONF_RELOADABLE)
            conf_copy_field(f, conf, from);
    }
}
