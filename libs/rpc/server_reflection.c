/*
 * grpc.reflection.v1, and under its old name v1alpha (the same messages), which many tools still
 * ask for first. A file is sent with all it imports, so that a client needs no second question.
 */
#include "rpc/server_internal.h"

#include "grpc/reflection/v1/reflection.pb-c.h"

#include <stdlib.h>

#define QUEUE_MAX 16 /* answers waiting; then questions wait too */

typedef Grpc__Reflection__V1__ServerReflectionRequest reflection_request;
typedef Grpc__Reflection__V1__ServerReflectionResponse reflection_response;

/* Each answer_… completes its own copy of the response: what it points to lives as long as the copy. */
static void answer_error(gw_rpc_call *c, reflection_response r, gw_rpc_code code,
                         const char *message)
{
    Grpc__Reflection__V1__ErrorResponse e = GRPC__REFLECTION__V1__ERROR_RESPONSE__INIT;
    e.error_code = (int32_t)code;
    e.error_message = (char *)(uintptr_t)message;
    r.message_response_case =
        GRPC__REFLECTION__V1__SERVER_REFLECTION_RESPONSE__MESSAGE_RESPONSE_ERROR_RESPONSE;
    r.error_response = &e;
    gw_rpc_send(c, &r.base);
}

/* Files to send: breadth first over the imports, each once. */
typedef struct file_list {
    gw_str names[256];
    ProtobufCBinaryData bytes[256];
    size_t count;
} file_list;

static void add_file(const gw_schema *schema, file_list *l, gw_str name)
{
    for (size_t i = 0; i < l->count; i++) {
        if (gw_str_eq(l->names[i], name))
            return;
    }
    gw_str bytes;
    if (l->count == GW_ARRAY_LEN(l->names) || !gw_schema_file_by_name(schema, name, &bytes))
        return;
    l->names[l->count] = name;
    l->bytes[l->count++] =
        (ProtobufCBinaryData){.len = bytes.len, .data = (uint8_t *)(uintptr_t)bytes.ptr};
}

static void answer_file(gw_rpc_call *c, const gw_schema *schema, gw_str name, reflection_response r)
{
    file_list *files = calloc(1, sizeof *files);
    if (files)
        add_file(schema, files, name);
    if (!files || files->count == 0) {
        free(files);
        answer_error(c, r, GW_RPC_NOT_FOUND, "no such file, symbol or extension");
        return;
    }
    for (size_t i = 0; i < files->count; i++) {
        const gw_str *imports = NULL;
        size_t n = gw_schema_file_imports(schema, files->names[i], &imports);
        for (size_t k = 0; k < n; k++)
            add_file(schema, files, imports[k]);
    }
    Grpc__Reflection__V1__FileDescriptorResponse f =
        GRPC__REFLECTION__V1__FILE_DESCRIPTOR_RESPONSE__INIT;
    f.n_file_descriptor_proto = files->count;
    f.file_descriptor_proto = files->bytes;
    r.message_response_case =
        GRPC__REFLECTION__V1__SERVER_REFLECTION_RESPONSE__MESSAGE_RESPONSE_FILE_DESCRIPTOR_RESPONSE;
    r.file_descriptor_response = &f;
    gw_rpc_send(c, &r.base);
    free(files);
}

/* The services that are served, each once. Names live in the schema. */
static size_t served(const gw_rpc_server *s, gw_str *names, size_t max)
{
    size_t n = 0;
    gw_str path;
    void *value;
    for (size_t at = 0; gw_map_next(s->methods, &at, &path, &value);) {
        gw_str name = ((const rpc_method *)value)->method->service_name;
        size_t i = 0;
        while (i < n && !gw_str_eq(names[i], name))
            i++;
        if (i == n && n < max)
            names[n++] = name;
    }
    return n;
}

static int by_name(const void *a, const void *b)
{
    return gw_str_cmp(*(const gw_str *)a, *(const gw_str *)b);
}

static void answer_services(gw_rpc_call *c, const gw_rpc_server *s, reflection_response r)
{
    gw_str names[64];
    Grpc__Reflection__V1__ServiceResponse services[GW_ARRAY_LEN(names)];
    Grpc__Reflection__V1__ServiceResponse *list[GW_ARRAY_LEN(names)];
    size_t n = served(s, names, GW_ARRAY_LEN(names));
    qsort(names, n, sizeof names[0], by_name);
    for (size_t i = 0; i < n; i++) {
        grpc__reflection__v1__service_response__init(&services[i]);
        services[i].name = (char *)(uintptr_t)names[i].ptr; /* NUL-terminated: protobuf-c's own */
        list[i] = &services[i];
    }
    Grpc__Reflection__V1__ListServiceResponse l = GRPC__REFLECTION__V1__LIST_SERVICE_RESPONSE__INIT;
    l.n_service = n;
    l.service = list;
    r.message_response_case =
        GRPC__REFLECTION__V1__SERVER_REFLECTION_RESPONSE__MESSAGE_RESPONSE_LIST_SERVICES_RESPONSE;
    r.list_services_response = &l;
    gw_rpc_send(c, &r.base);
}

#define EXTENSIONS_MAX 64

static void answer_extension_numbers(gw_rpc_call *c, const gw_schema *schema, gw_str type,
                                     reflection_response r)
{
    if (!gw_schema_has_message(schema, type)) {
        answer_error(c, r, GW_RPC_NOT_FOUND, "no such message type");
        return;
    }
    int32_t numbers[EXTENSIONS_MAX];
    Grpc__Reflection__V1__ExtensionNumberResponse e =
        GRPC__REFLECTION__V1__EXTENSION_NUMBER_RESPONSE__INIT;
    e.base_type_name = (char *)(uintptr_t)type.ptr; /* the request's, NUL-terminated */
    e.extension_number = numbers;
    e.n_extension_number = gw_schema_extension_numbers(schema, type, numbers, EXTENSIONS_MAX);
    r.message_response_case =
        GRPC__REFLECTION__V1__SERVER_REFLECTION_RESPONSE__MESSAGE_RESPONSE_ALL_EXTENSION_NUMBERS_RESPONSE;
    r.all_extension_numbers_response = &e;
    gw_rpc_send(c, &r.base);
}

static void on_message(gw_rpc_call *c, const ProtobufCMessage *request, void *arg)
{
    const gw_rpc_server *s = arg;
    const reflection_request *q = (const reflection_request *)request;
    reflection_response r = GRPC__REFLECTION__V1__SERVER_REFLECTION_RESPONSE__INIT;
    r.valid_host = q->host;
    r.original_request = (reflection_request *)(uintptr_t)q;
    switch (q->message_request_case) {
    case GRPC__REFLECTION__V1__SERVER_REFLECTION_REQUEST__MESSAGE_REQUEST_FILE_BY_FILENAME:
        answer_file(c, s->schema, gw_str_of(q->file_by_filename), r);
        break;
    case GRPC__REFLECTION__V1__SERVER_REFLECTION_REQUEST__MESSAGE_REQUEST_FILE_CONTAINING_SYMBOL:
        answer_file(c, s->schema,
                    gw_schema_file_of_symbol(s->schema, gw_str_of(q->file_containing_symbol)), r);
        break;
    case GRPC__REFLECTION__V1__SERVER_REFLECTION_REQUEST__MESSAGE_REQUEST_LIST_SERVICES:
        answer_services(c, s, r);
        break;
    case GRPC__REFLECTION__V1__SERVER_REFLECTION_REQUEST__MESSAGE_REQUEST_FILE_CONTAINING_EXTENSION:
        answer_file(c, s->schema,
                    gw_schema_file_of_extension(
                        s->schema, gw_str_of(q->file_containing_extension->containing_type),
                        q->file_containing_extension->extension_number),
                    r);
        break;
    case GRPC__REFLECTION__V1__SERVER_REFLECTION_REQUEST__MESSAGE_REQUEST_ALL_EXTENSION_NUMBERS_OF_TYPE:
        answer_extension_numbers(c, s->schema, gw_str_of(q->all_extension_numbers_of_type), r);
        break;
    default:
        answer_error(c, r, GW_RPC_INVALID_ARGUMENT, "the request asks for nothing");
        break;
    }
    if (gw_rpc_call_queued(c) > QUEUE_MAX)
        gw_rpc_pause(c);
}

static void on_start(gw_rpc_call *c, const ProtobufCMessage *request, void *arg)
{
    (void)c;
    (void)request;
    (void)arg;
}

static void on_writable(gw_rpc_call *c, void *arg)
{
    (void)arg;
    gw_rpc_resume(c);
}

static void on_end(gw_rpc_call *c, void *arg)
{
    (void)arg;
    gw_rpc_finish(c);
}

#define PATH_V1      "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo"
#define PATH_V1ALPHA "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo"
#define NAME_V1      "grpc.reflection.v1.ServerReflection"
#define NAME_V1ALPHA "grpc.reflection.v1alpha.ServerReflection"

#define HANDLER(p)                                                                                 \
    {                                                                                              \
        .path = (p), .start = on_start, .message = on_message, .half_closed = on_end,              \
        .writable = on_writable, .cancelled = on_end                                               \
    }
/* In the same order as the methods below. */
const gw_rpc_handler rpc_reflection_handlers[] = {
    HANDLER(PATH_V1), HANDLER(PATH_V1ALPHA), {.path = NULL}};

static const ProtobufCMethodDescriptor descriptor = {
    "ServerReflectionInfo", &grpc__reflection__v1__server_reflection_request__descriptor,
    &grpc__reflection__v1__server_reflection_response__descriptor};

#define METHOD(p, s)                                                                               \
    {                                                                                              \
        .service = &grpc__reflection__v1__server_reflection__descriptor,                           \
        .descriptor = &descriptor, .path = {(p), sizeof(p) - 1},                                   \
        .service_name = {(s), sizeof(s) - 1},                                                      \
        .name = {"ServerReflectionInfo", sizeof("ServerReflectionInfo") - 1},                      \
        .client_streaming = true, .server_streaming = true, .max_deadline_ms = INT64_MAX,          \
        .access = {                                                                                \
            .declared = true,                                                                      \
            .anyone = true                                                                         \
        }                                                                                          \
    }
const gw_method rpc_reflection_methods[] = {METHOD(PATH_V1, NAME_V1),
                                            METHOD(PATH_V1ALPHA, NAME_V1ALPHA)};
