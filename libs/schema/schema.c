#include "schema/schema_internal.h"

#include <stdlib.h>

static gw_status add_method(gw_schema *s, const ProtobufCServiceDescriptor *service,
                            const ProtobufCMethodDescriptor *descriptor,
                            const Google__Protobuf__MethodDescriptorProto *proto, gw_error *err)
{
    gw_method *m = &s->methods[s->method_count++];
    m->service = service;
    m->descriptor = descriptor;
    m->service_name = gw_str_of(service->name);
    m->name = gw_str_of(descriptor->name);
    m->path = gw_arena_printf(s->arena, "/%s/%s", service->name, descriptor->name);
    m->client_streaming = proto->client_streaming;
    m->server_streaming = proto->server_streaming;
    if (!m->path.ptr || !gw_map_put(s->methods_by_path, m->path, m))
        return gw_fail(err, GW_ERR_NO_MEMORY, "schema: out of memory");
    return gw_schema_read_options(s, proto->options, m, err);
}

/* Pairs what protobuf-c generated with the descriptor: both list methods in the file's order. */
static gw_status add_service(gw_schema *s, const ProtobufCServiceDescriptor *service, gw_error *err)
{
    const schema_service *found = gw_map_get(s->services, gw_str_of(service->name));
    if (!found || found->proto->n_method != service->n_methods)
        return gw_fail(err, GW_ERR_INTERNAL, "schema: %s is not as in the descriptor set",
                       service->name);
    for (unsigned i = 0; i < service->n_methods; i++) {
        const Google__Protobuf__MethodDescriptorProto *proto = found->proto->method[i];
        const ProtobufCMethodDescriptor *descriptor = &service->methods[i];
        if (strcmp(proto->name, descriptor->name) != 0)
            return gw_fail(err, GW_ERR_INTERNAL, "schema: %s.%s is not as in the descriptor set",
                           service->name, descriptor->name);
        gw_status rc = add_method(s, service, descriptor, proto, err);
        if (rc != GW_OK)
            return rc;
    }
    return GW_OK;
}

static gw_schema *new_empty(size_t method_count)
{
    gw_schema *s = calloc(1, sizeof *s);
    if (!s)
        return NULL;
    s->arena = gw_arena_new();
    s->files_by_name = gw_map_new(NULL);
    s->symbols = gw_map_new(NULL);
    s->messages = gw_map_new(NULL);
    s->services = gw_map_new(NULL);
    s->comments = gw_map_new(NULL);
    s->methods_by_path = gw_map_new(NULL);
    s->methods = calloc(method_count ? method_count : 1, sizeof *s->methods);
    if (!s->arena || !s->files_by_name || !s->symbols || !s->messages || !s->services ||
        !s->comments || !s->methods_by_path || !s->methods) {
        gw_schema_free(s);
        return NULL;
    }
    return s;
}

gw_status gw_schema_new(const void *descriptor_set, size_t len,
                        const ProtobufCServiceDescriptor *const *services, size_t service_count,
                        gw_schema **ret, gw_error *err)
{
    size_t methods = 0;
    for (size_t i = 0; i < service_count; i++)
        methods += services[i]->n_methods;
    gw_auto(gw_schema) s = new_empty(methods);
    if (!s)
        return gw_fail(err, GW_ERR_NO_MEMORY, "schema: out of memory");
    gw_status rc = gw_schema_read_files(s, gw_str_n(descriptor_set, len), err);
    for (size_t i = 0; rc == GW_OK && i < service_count; i++)
        rc = add_service(s, services[i], err);
    if (rc == GW_OK)
        *ret = gw_steal(&s);
    return rc;
}

void gw_schema_free(gw_schema *s)
{
    if (!s)
        return;
    for (size_t i = 0; i < s->file_count; i++)
        google__protobuf__file_descriptor_proto__free_unpacked(s->files[i].proto, NULL);
    gw_map_free(s->files_by_name);
    gw_map_free(s->symbols);
    gw_map_free(s->messages);
    gw_map_free(s->services);
    gw_map_free(s->comments);
    gw_map_free(s->methods_by_path);
    gw_arena_free(s->arena);
    free(s->methods);
    free(s);
}

size_t gw_schema_method_count(const gw_schema *s)
{
    return s->method_count;
}

const gw_method *gw_schema_method_at(const gw_schema *s, size_t i)
{
    return i < s->method_count ? &s->methods[i] : NULL;
}

const gw_method *gw_schema_method(const gw_schema *s, gw_str path)
{
    return gw_map_get(s->methods_by_path, path);
}
