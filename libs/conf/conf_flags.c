/* Flags and positional arguments. */
#include "conf/conf_internal.h"

#include <stdio.h>

typedef struct flag_match {
    const gw_conf_field *field; /* NULL = none */
    bool negated; /* --no-name */
} flag_match;

static flag_match find_flag(const gw_conf_table *t, gw_str name)
{
    for (size_t i = 0; i < t->n_fields; i++) {
        const gw_conf_field *f = &t->fields[i];
        char flag[CONF_NAME_SIZE];
        conf_flag_name(f, flag);
        gw_str wanted = gw_str_of(flag);
        if (f->type == GW_CONF_SECRET) {
            if (gw_str_starts_with(name, wanted) &&
                gw_str_eq_c(gw_str_slice(name, wanted.len, name.len), "-file"))
                return (flag_match){f, false};
        } else if (gw_str_eq(name, wanted)) {
            return (flag_match){f, false};
        } else if (f->type == GW_CONF_BOOL && gw_str_starts_with(name, GW_STR("no-")) &&
                   gw_str_eq(gw_str_slice(name, 3, name.len), wanted)) {
            return (flag_match){f, true};
        }
    }
    return (flag_match){0};
}

/* A secret on the command line shows in every process list. */
static bool is_secret_as_flag(const gw_conf_table *t, gw_str name)
{
    for (size_t i = 0; i < t->n_fields; i++) {
        char flag[CONF_NAME_SIZE];
        conf_flag_name(&t->fields[i], flag);
        if (t->fields[i].type == GW_CONF_SECRET && gw_str_eq_c(name, flag))
            return true;
    }
    return false;
}

static bool read_action(conf_loader *l, gw_str arg)
{
    static const struct {
        const char *flag;
        gw_conf_action action;
    } actions[] = {
        {"--help", GW_CONF_HELP},          {"-h", GW_CONF_HELP},
        {"--version", GW_CONF_VERSION},    {"--print-docs", GW_CONF_PRINT_DOCS},
        {"--print-config", GW_CONF_PRINT},
    };
    for (size_t i = 0; i < GW_ARRAY_LEN(actions); i++) {
        if (gw_str_eq_c(arg, actions[i].flag)) {
            l->base.action = actions[i].action;
            return true;
        }
    }
    return false;
}

static void note_config_path(conf_loader *l, gw_str value)
{
    if (l->config_path.origin) {
        conf_mistake(l, NULL, "--config is given twice");
        return;
    }
    const char *copy = conf_copy(l, value);
    if (copy)
        l->config_path = (conf_text){gw_str_n(copy, value.len), "--config", false};
}

/* One flag at argv[at]; the index of the last argument it used. */
static int read_flag(conf_loader *l, int argc, char **argv, int at)
{
    gw_str arg = gw_str_of(argv[at]);
    if (read_action(l, arg))
        return at;
    gw_str name = gw_str_slice(arg, gw_str_starts_with(arg, GW_STR("--")) ? 2 : 0, arg.len);
    ptrdiff_t equals = gw_str_find(name, '=');
    gw_str value = GW_STR_NULL;
    if (equals >= 0) {
        value = gw_str_slice(name, (size_t)equals + 1, name.len);
        name = gw_str_slice(name, 0, (size_t)equals);
    }
    bool is_config = gw_str_eq_c(name, "config");
    flag_match match = find_flag(l->table, name);
    if (!is_config && !match.field) {
        if (is_secret_as_flag(l->table, name))
            conf_mistake(l, NULL,
                         "--" GW_STR_FMT " is a secret and no flag: use --" GW_STR_FMT "-file",
                         GW_STR_ARG(name), GW_STR_ARG(name));
        else
            conf_mistake(l, NULL, "%s" GW_STR_FMT " is no flag of %s (--help lists them)",
                         arg.ptr[1] == '-' ? "--" : "", GW_STR_ARG(name), l->table->service);
        return at;
    }
    char origin[CONF_NAME_SIZE];
    (void)snprintf(origin, sizeof(origin), "--%.*s", (int)GW_MIN(name.len, 120), name.ptr);
    if (match.field && match.field->type == GW_CONF_BOOL && (match.negated || equals < 0)) {
        if (equals >= 0)
            conf_mistake(l, match.field, "%s takes no value", origin);
        else
            conf_note(l, CONF_FROM_FLAG, match.field, gw_str_of(match.negated ? "false" : "true"),
                      origin, false);
        return at;
    }
    if (equals < 0) {
        if (at + 1 >= argc || gw_str_starts_with(gw_str_of(argv[at + 1]), GW_STR("--"))) {
            conf_mistake(l, match.field, "%s needs a value", origin);
            return at;
        }
        value = gw_str_of(argv[++at]);
    }
    if (is_config)
        note_config_path(l, value);
    else
        conf_note(l, CONF_FROM_FLAG, match.field, value, origin,
                  match.field->type == GW_CONF_SECRET);
    return at;
}

void conf_read_flags(conf_loader *l, int argc, char **argv)
{
    const char **args = conf_alloc(l, (size_t)GW_MAX(argc, 0) + 1, sizeof(*args));
    if (!args)
        return;
    bool flags_are_over = false;
    for (int i = 1; i < argc; i++) {
        gw_str arg = gw_str_of(argv[i]);
        if (!flags_are_over && gw_str_eq_c(arg, "--")) {
            flags_are_over = true;
        } else if (!flags_are_over && arg.len > 1 && arg.ptr[0] == '-') {
            i = read_flag(l, argc, argv, i);
        } else {
            args[l->base.n_args] = conf_copy(l, arg);
            l->base.n_args += args[l->base.n_args] != NULL;
        }
    }
    l->base.args = args;
}
