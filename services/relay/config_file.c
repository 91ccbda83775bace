#include "config_file.h"

#include "json/yaml.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#define FILE_MAX_BYTES (4 << 20)

static gw_status read_file(const char *path, gw_buf *text, gw_error *err)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return gw_fail(err, GW_ERR_IO, "%s", strerror(errno));
    ssize_t len = 0;
    while (gw_buf_reserve(text, 65536) && text->len <= FILE_MAX_BYTES &&
           (len = read(fd, text->data + text->len, 65536)) > 0)
        text->len += (size_t)len;
    int failure = errno;
    close(fd);
    if (len < 0)
        return gw_fail(err, GW_ERR_IO, "%s", strerror(failure));
    if (gw_buf_failed(text))
        return gw_fail(err, GW_ERR_NO_MEMORY, "no memory to read it");
    if (text->len > FILE_MAX_BYTES)
        return gw_fail(err, GW_ERR_INVALID_ARGUMENT, "longer than %d bytes", FILE_MAX_BYTES);
    return GW_OK;
}

/* YAML text -> JSON text -> message, so that files and API share one reader with its checks and paths. */
static gw_status read_message(const char *path, const ProtobufCMessageDescriptor *d,
                              ProtobufCMessage **ret, gw_json_violations *v, gw_error *err)
{
    gw_auto_buf text = {0};
    yyjson_mut_doc *doc = NULL;
    gw_status rc = read_file(path, &text, err);
    if (rc == GW_OK)
        rc = gw_yaml_read(gw_buf_str(&text), &doc, err);
    if (rc != GW_OK)
        return rc;
    size_t len = 0;
    gw_auto_free char *json = yyjson_mut_write(doc, 0, &len);
    yyjson_mut_doc_free(doc);
    if (!json)
        return gw_fail(err, GW_ERR_NO_MEMORY, "no memory to read it");
    return gw_json_read(d, gw_str_n(json, len), ret, v, err);
}

/* The first failure is the result; the checks go on and later ones join the further violations. */
static void collect(gw_status found, const gw_error *why, gw_status *rc, gw_json_violations *v,
                    gw_error *err)
{
    if (found == GW_OK)
        return;
    if (*rc == GW_OK) {
        *rc = found;
        *err = *why;
    } else if (v && v->count < GW_ARRAY_LEN(v->items)) {
        gw_json_violation *item = &v->items[v->count++];
        snprintf(item->field, sizeof(item->field), "%s", why->field);
        snprintf(item->description, sizeof(item->description), "%.159s", why->message);
    }
}

static gw_status check_file(const relay_config_file *f, gw_json_violations *v, gw_error *err)
{
    gw_status rc = GW_OK;
    gw_error why;
    char path[32];
    for (size_t i = 0; i < f->n_providers; i++) {
        snprintf(path, sizeof(path), "providers[%zu]", i);
        collect(provider_check(f->providers[i], path, v, &why), &why, &rc, v, err);
    }
    for (size_t i = 0; i < f->n_models; i++) {
        snprintf(path, sizeof(path), "models[%zu]", i);
        collect(route_check(f->models[i], path, v, &why), &why, &rc, v, err);
    }
    return rc;
}

gw_status config_file_read(const char *path, relay_config_file **ret, gw_json_violations *v,
                           gw_error *err)
{
    ProtobufCMessage *m = NULL;
    gw_status rc =
        read_message(path, &apirelay__relay__v1__relay_config_file__descriptor, &m, v, err);
    if (rc == GW_OK)
        rc = check_file((relay_config_file *)(void *)m, v, err);
    if (rc == GW_OK) {
        *ret = (relay_config_file *)(void *)m;
        return GW_OK;
    }
    if (m)
        protobuf_c_message_free_unpacked(m, NULL);
    return gw_error_prefix(err, "%s", path);
}

static gw_status check_price_book(const price_book_message *b, gw_json_violations *v, gw_error *err)
{
    gw_status rc = price_book_check(b, "", v, err);
    if (rc == GW_OK)
        rc = price_book_check_repeats(b, "", v, err);
    if (rc == GW_OK && b->effective_from)
        rc = gw_fail_field(err, GW_ERR_INVALID_ARGUMENT, "effectiveFrom",
                           "is for books of the API: a file is in force while it is read");
    return rc;
}

gw_status price_book_file_read(const char *path, price_book_message **ret, gw_json_violations *v,
                               gw_error *err)
{
    ProtobufCMessage *m = NULL;
    gw_status rc = read_message(path, &apirelay__relay__v1__price_book__descriptor, &m, v, err);
    if (rc == GW_OK)
        rc = check_price_book((price_book_message *)(void *)m, v, err);
    if (rc == GW_OK) {
        *ret = (price_book_message *)(void *)m;
        return GW_OK;
    }
    if (m)
        protobuf_c_message_free_unpacked(m, NULL);
    return gw_error_prefix(err, "%s", path);
}
