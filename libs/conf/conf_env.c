/* Environment variables. */
#include "conf/conf_internal.h"

#include "core/pattern.h"

#include <stdio.h>

/* Docker-style service links: every pod gets them for every Service, one named like us among them. */
static bool is_kubernetes_service_link(gw_str name, gw_str value)
{
    static const char *const globs[] = {"*_SERVICE_HOST", "*_SERVICE_PORT", "*_SERVICE_PORT_*",
                                        "*_PORT_*_TCP",   "*_PORT_*_TCP_*", "*_PORT_*_UDP",
                                        "*_PORT_*_UDP_*"};
    for (size_t i = 0; i < GW_ARRAY_LEN(globs); i++) {
        if (gw_glob_match(gw_str_of(globs[i]), name))
            return true;
    }
    return gw_str_ends_with(name, GW_STR("_PORT")) && gw_str_contains(value, GW_STR("://"));
}

static bool is_allowed(const gw_conf_table *t, gw_str name)
{
    for (const char *const *glob = t->env_allowed; glob && *glob; glob++) {
        if (gw_glob_match(gw_str_of(*glob), name))
            return true;
    }
    return false;
}

static bool note_variable(conf_loader *l, gw_str name, gw_str value)
{
    const gw_conf_table *t = l->table;
    for (size_t i = 0; i < t->n_fields; i++) {
        const gw_conf_field *f = &t->fields[i];
        char env[CONF_NAME_SIZE];
        conf_env_name(t, f, env);
        if (gw_str_eq_c(name, env)) {
            conf_note(l, CONF_FROM_ENV, f, value, env, false);
            return true;
        }
        char env_file[CONF_NAME_SIZE + 5];
        (void)snprintf(env_file, sizeof(env_file), "%s_FILE", env);
        if (f->type == GW_CONF_SECRET && gw_str_eq_c(name, env_file)) {
            conf_note(l, CONF_FROM_ENV, f, value, env_file, true);
            return true;
        }
    }
    return false;
}

void conf_read_env(conf_loader *l, char **envp)
{
    gw_str prefix = gw_str_of(l->table->prefix);
    for (char **entry = envp; entry && *entry; entry++) {
        gw_str text = gw_str_of(*entry);
        ptrdiff_t equals = gw_str_find(text, '=');
        if (equals < 0 || (size_t)equals + 1 == text.len) /* an empty one counts as not set */
            continue;
        gw_str name = gw_str_slice(text, 0, (size_t)equals);
        gw_str value = gw_str_slice(text, (size_t)equals + 1, text.len);
        if (!gw_str_starts_with(name, prefix) || name.len <= prefix.len ||
            name.ptr[prefix.len] != '_')
            continue;
        if (gw_str_eq_c(gw_str_slice(name, prefix.len, name.len), "_CONFIG")) {
            const char *copy = l->config_path.origin ? NULL : conf_copy(l, value);
            if (copy)
                l->config_path = (conf_text){gw_str_n(copy, value.len), "the environment", false};
        } else if (is_kubernetes_service_link(name, value)) {
            continue; /* before the settings: RELAY_PORT=tcp://… is no mistake about a setting `port` */
        } else if (!note_variable(l, name, value) && !is_allowed(l->table, name)) {
            conf_mistake(l, NULL, GW_STR_FMT " is no setting of %s (--help lists them)",
                         GW_STR_ARG(name), l->table->service);
        }
    }
}
