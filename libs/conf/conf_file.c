/* Files: the YAML of settings (one flat mapping) and the files that hold secrets. */
#include "conf/conf_internal.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>
#include <yaml.h>

enum { YAML_MAX_BYTES = 1 << 20 };

/* Up to `size` bytes; fewer at the end of the file only. -1 with errno. */
static ssize_t read_all(int fd, char *out, size_t size)
{
    size_t len = 0;
    while (len < size) {
        ssize_t n = read(fd, out + len, size - len);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return -1;
        if (n == 0)
            break;
        len += (size_t)n;
    }
    return (ssize_t)len;
}

void conf_check_file(conf_loader *l, const gw_conf_field *f, const void *conf)
{
    const char *path = f->flags & CONF_FILE ? gw_conf_path(f, conf) : NULL;
    if (!path)
        return;
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0)
        conf_mistake(l, f, "cannot open %s: %s", path, strerror(errno));
    else
        close(fd);
}

bool conf_read_file(conf_loader *l, const gw_conf_field *f, const char *path, size_t max,
                    char **ret, size_t *ret_len)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) {
        conf_mistake(l, f, "cannot open %s: %s", path, strerror(errno));
        return false;
    }
    char *bytes = malloc(max + 2);
    ssize_t n = bytes ? read_all(fd, bytes, max + 1) : -1;
    int error = errno;
    close(fd);
    if (!bytes) {
        l->no_memory = true;
        return false;
    }
    if (n >= 0 && (size_t)n <= max) {
        bytes[n] = '\0';
        *ret = bytes;
        *ret_len = (size_t)n;
        return true;
    }
    if (n < 0)
        conf_mistake(l, f, "cannot read %s: %s", path, strerror(error));
    else
        conf_mistake(l, f, "%s is larger than %zu bytes", path, max);
    explicit_bzero(bytes, max + 2);
    free(bytes);
    return false;
}

typedef struct yaml_reader {
    conf_loader *l;
    const char *path;
    yaml_document_t *document;
} yaml_reader;

static void yaml_origin(const yaml_reader *r, const yaml_node_t *node, char *out, size_t size)
{
    (void)snprintf(out, size, "%.200s:%zu", r->path, node->start_mark.line + 1);
}

static gw_str scalar_text(const yaml_node_t *node)
{
    return gw_str_n(node->data.scalar.value, node->data.scalar.length);
}

static bool is_null(const yaml_node_t *node)
{
    gw_str text = scalar_text(node);
    return node->data.scalar.style == YAML_PLAIN_SCALAR_STYLE &&
           (text.len == 0 || gw_str_eq_c(text, "~") || gw_str_eq_c(text, "null"));
}

/* A sequence becomes the comma-separated text that the other sources write. */
static bool join_sequence(yaml_reader *r, const yaml_node_t *node, gw_buf *out)
{
    const yaml_node_item_t *item = node->data.sequence.items.start;
    for (; item < node->data.sequence.items.top; item++) {
        const yaml_node_t *member = yaml_document_get_node(r->document, *item);
        if (!member || member->type != YAML_SCALAR_NODE ||
            gw_str_find(scalar_text(member), ',') >= 0)
            return false;
        if (out->len > 0)
            gw_buf_append_char(out, ',');
        gw_buf_append_str(out, scalar_text(member));
    }
    return true;
}

static void note_value(yaml_reader *r, const gw_conf_field *f, const char *origin,
                       const yaml_node_t *value)
{
    bool is_list = f->type == GW_CONF_LIST || f->type == GW_CONF_CIDRS;
    bool is_file = f->type == GW_CONF_SECRET;
    gw_auto_buf joined = {0};
    if (value->type == YAML_SCALAR_NODE) {
        if (!is_null(value))
            conf_note(r->l, CONF_FROM_FILE, f, scalar_text(value), origin, is_file);
    } else if (value->type == YAML_SEQUENCE_NODE && is_list) {
        if (!join_sequence(r, value, &joined))
            conf_mistake(r->l, f, "%s: items must be plain values without commas", origin);
        else if (gw_buf_failed(&joined))
            r->l->no_memory = true;
        else
            conf_note(r->l, CONF_FROM_FILE, f, gw_buf_str(&joined), origin, false);
    } else {
        conf_mistake(r->l, f, "%s: must be a plain value%s", origin, is_list ? " or a list" : "");
    }
}

static void note_pair(yaml_reader *r, const yaml_node_t *key, const yaml_node_t *value)
{
    char origin[256];
    yaml_origin(r, key, origin, sizeof(origin));
    if (key->type != YAML_SCALAR_NODE) {
        conf_mistake(r->l, NULL, "%s: a key must be the name of a setting", origin);
        return;
    }
    gw_str name = scalar_text(key);
    for (size_t i = 0; i < r->l->table->n_fields; i++) {
        const gw_conf_field *f = &r->l->table->fields[i];
        char own[CONF_NAME_SIZE];
        conf_name(f, own);
        if (f->type == GW_CONF_SECRET && gw_str_eq_c(name, own)) {
            conf_mistake(r->l, f, "%s: a secret does not stand in this file: use %s_file", origin,
                         own);
            return;
        }
        char key_name[CONF_NAME_SIZE + 5];
        (void)snprintf(key_name, sizeof(key_name), "%s%s", own,
                       f->type == GW_CONF_SECRET ? "_file" : "");
        if (gw_str_eq_c(name, key_name)) {
            note_value(r, f, origin, value);
            return;
        }
    }
    conf_mistake(r->l, NULL, "%s: \"" GW_STR_FMT "\" is no setting of %s (--help lists them)",
                 origin, (int)GW_MIN(name.len, 100), name.ptr, r->l->table->service);
}

static void note_document(yaml_reader *r)
{
    const yaml_node_t *root = yaml_document_get_root_node(r->document);
    if (!root || (root->type == YAML_SCALAR_NODE && is_null(root)))
        return; /* an empty file */
    if (root->type != YAML_MAPPING_NODE) {
        conf_mistake(r->l, NULL, "%s: must be one mapping of settings to values", r->path);
        return;
    }
    const yaml_node_pair_t *pair = root->data.mapping.pairs.start;
    for (; pair < root->data.mapping.pairs.top; pair++) {
        const yaml_node_t *key = yaml_document_get_node(r->document, pair->key);
        const yaml_node_t *value = yaml_document_get_node(r->document, pair->value);
        if (key && value)
            note_pair(r, key, value);
    }
}

static void report_syntax(conf_loader *l, const char *path, const yaml_parser_t *parser)
{
    if (parser->error == YAML_MEMORY_ERROR)
        l->no_memory = true;
    else
        conf_mistake(l, NULL, "%s:%zu: no valid YAML: %s", path, parser->problem_mark.line + 1,
                     parser->problem ? parser->problem : "unknown mistake");
}

static void parse_yaml(conf_loader *l, const char *path, const char *text, size_t len)
{
    yaml_parser_t parser;
    yaml_document_t document;
    if (!yaml_parser_initialize(&parser)) {
        l->no_memory = true;
        return;
    }
    yaml_parser_set_input_string(&parser, (const unsigned char *)text, len);
    for (int n = 0;; n++) {
        if (!yaml_parser_load(&parser, &document)) {
            report_syntax(l, path, &parser);
            break;
        }
        bool is_end = yaml_document_get_root_node(&document) == NULL;
        yaml_reader r = {l, path, &document};
        if (n == 0)
            note_document(&r);
        else if (!is_end)
            conf_mistake(l, NULL, "%s: must be one document", path);
        yaml_document_delete(&document);
        if (is_end || n > 0)
            break;
    }
    yaml_parser_delete(&parser);
}

void conf_read_yaml(conf_loader *l, const char *path)
{
    char *text;
    size_t len;
    if (!conf_read_file(l, NULL, path, YAML_MAX_BYTES, &text, &len))
        return;
    parse_yaml(l, path, text, len);
    free(text);
}
