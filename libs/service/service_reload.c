/* Settings and files under a running service. */
#include "service/service_internal.h"

#include <stdlib.h>

extern char **environ;

/* ---- what differs ---- */

typedef struct difference {
    gw_buf changed, needs_restart; /* names, comma separated */
} difference;

static void add_name(void *arg, const gw_conf_field *f, const char *name)
{
    difference *d = arg;
    gw_buf *list = f->flags & CONF_RELOADABLE ? &d->changed : &d->needs_restart;
    gw_buf_appendf(list, "%s%s", list->len ? "," : "", name);
}

/* ---- the steps ---- */

static void append_mistakes(const gw_conf_errors *errs, gw_buf *out)
{
    for (size_t i = 0; i < errs->n; i++) {
        const gw_error *e = &errs->items[i];
        gw_buf_appendf(out, "%s%s%s%s", i ? "; " : "", e->field, e->field[0] ? ": " : "",
                       e->message);
    }
}

static void log_mistakes(const gw_service *s, gw_status rc, const gw_conf_errors *errs)
{
    gw_auto_buf text = {0};
    append_mistakes(errs, &text);
    gw_log_error(s->log, "settings_reload_failed",
                 gw_kv("error.code", gw_status_describe(rc)->name),
                 gw_kv("error.message", gw_buf_str(&text)), gw_kv("mistakes", (int64_t)errs->n));
}

gw_status service_check_reload(const gw_service *s, gw_error *err)
{
    gw_conf_errors errs = {0};
    gw_auto_buf text = {0};
    gw_auto_free void *trial = calloc(1, s->kind->conf->struct_size);
    if (!trial)
        return gw_fail(err, GW_ERR_NO_MEMORY, "no memory for settings");
    gw_status rc = gw_conf_load(s->kind->conf, s->argc, s->argv, environ, trial, &errs);
    if (rc == GW_OK) {
        gw_conf_free(s->kind->conf, trial);
    } else {
        append_mistakes(&errs, &text);
        gw_fail(err, rc, "as user %s: " GW_STR_FMT, service_common(s).run_as,
                GW_STR_ARG(gw_buf_str(&text)));
    }
    gw_conf_errors_fini(&errs);
    return rc;
}

/* The settings of now, or NULL with all mistakes logged. */
static void *load_settings(const gw_service *s)
{
    gw_conf_errors errs = {0};
    void *next = calloc(1, s->kind->conf->struct_size);
    gw_status rc = next ? gw_conf_load(s->kind->conf, s->argc, s->argv, environ, next, &errs)
                        : GW_ERR_NO_MEMORY;
    if (rc != GW_OK) {
        log_mistakes(s, rc, &errs);
        free(next);
        next = NULL;
    }
    gw_conf_errors_fini(&errs);
    return next;
}

void service_reload(void *service)
{
    gw_service *s = service;
    const gw_conf_table *t = s->kind->conf;
    difference d = {0};
    if (s->stopping)
        return;
    for (size_t i = 0; i < s->tls_count; i++)
        (void)!gw_tls_files_reload(s->tls_files[i], NULL); /* logged */
    void *next = load_settings(s);
    if (next) {
        void *before = s->adopted;
        gw_conf_diff(t, s->settings, next, add_name, &d);
        gw_conf_adopt(t, s->settings, next);
        s->adopted = next;
        service_set_log_level(s);
        gw_log_info(s->log, "settings_reloaded", gw_kv("settings.changed", gw_buf_str(&d.changed)),
                    gw_kv("settings.need_restart", gw_buf_str(&d.needs_restart)));
        service_reload_tokens(s);
        if (s->kind->reload)
            s->kind->reload(s->app);
        if (before)
            gw_conf_free(t, before);
        free(before);
    }
    gw_buf_fini(&d.changed);
    gw_buf_fini(&d.needs_restart);
}

/* ---- files that are watched ---- */

gw_status service_watch_files(gw_service *s, gw_error *err)
{
    const gw_conf_table *t = s->kind->conf;
    gw_conf_base base;
    size_t n = 0;
    memcpy(&base, s->conf, sizeof(base));
    gw_auto_free const char **paths = calloc(t->n_fields + 1, sizeof(*paths));
    if (!paths)
        return gw_fail(err, GW_ERR_NO_MEMORY, "no memory to watch files");
    paths[n++] = base.config_path;
    for (size_t i = 0; i < t->n_fields; i++) {
        if (t->fields[i].flags & CONF_WATCHED)
            paths[n++] = gw_conf_path(&t->fields[i], s->conf);
    }
    return gw_file_watch_new(s->loop, paths, n, GW_FILE_WATCH_INTERVAL_MS, service_reload, s,
                             &s->watch, err);
}
