#include "rpc/rpc_fixture.h"

#include "google/protobuf/descriptor.pb-c.h"
#include "grpc/health/v1/health.pb-c.h"
#include "grpc/reflection/v1/reflection.pb-c.h"

#define SERVING     GRPC__HEALTH__V1__HEALTH_CHECK_RESPONSE__SERVING_STATUS__SERVING
#define NOT_SERVING GRPC__HEALTH__V1__HEALTH_CHECK_RESPONSE__SERVING_STATUS__NOT_SERVING
#define UNKNOWN     GRPC__HEALTH__V1__HEALTH_CHECK_RESPONSE__SERVING_STATUS__SERVICE_UNKNOWN

/* ---- health ---- */

static void on_health(void *arg, gw_status rc, const ProtobufCMessage *response,
                      const gw_error *err)
{
    fixture *f = arg;
    if (response)
        f->last_value = ((const Grpc__Health__V1__HealthCheckResponse *)response)->status;
    note_done(f, rc, err);
}

static gw_status check_health(fixture *f, const char *service)
{
    gw_rpc_call_options o = {.path = "/grpc.health.v1.Health/Check",
                             .response = &grpc__health__v1__health_check_response__descriptor,
                             .deadline_ms = 5000,
                             .wait_for_ready = true};
    Grpc__Health__V1__HealthCheckRequest q = GRPC__HEALTH__V1__HEALTH_CHECK_REQUEST__INIT;
    q.service = (char *)(uintptr_t)service;
    assert_non_null(gw_rpc_unary(f->channel, &o, &q.base, on_health, f));
    run_until_done(f, f->done + 1);
    return f->rc;
}

static void health_is_checked_without_a_credential(void **state)
{
    fixture *f = *state;
    assert_int_equal(check_health(f, ""), GW_OK);
    assert_int_equal(f->last_value, SERVING);
    assert_int_equal(check_health(f, "apirelay.auth.v1.ApiKeyService"), GW_OK);
    assert_int_equal(check_health(f, "apirelay.auth.v1.AdminService"), GW_ERR_NOT_FOUND);
}

static void on_watch_message(void *arg, const ProtobufCMessage *m)
{
    fixture *f = arg;
    f->last_value = ((const Grpc__Health__V1__HealthCheckResponse *)m)->status;
    f->messages++;
    gw_loop_stop(f->loop);
}

static void watch_health(fixture *f, const char *service)
{
    gw_rpc_call_options o = {.path = "/grpc.health.v1.Health/Watch",
                             .response = &grpc__health__v1__health_check_response__descriptor,
                             .wait_for_ready = true};
    static const gw_rpc_stream_ops ops = {.message = on_watch_message, .done = on_stream_done};
    Grpc__Health__V1__HealthCheckRequest q = GRPC__HEALTH__V1__HEALTH_CHECK_REQUEST__INIT;
    q.service = (char *)(uintptr_t)service;
    f->stream = gw_rpc_stream(f->channel, &o, &q.base, &ops, f);
    while (f->messages == 0)
        gw_loop_run(f->loop);
}

static void a_health_watch_tells_every_change_and_ends_with_the_server(void **state)
{
    fixture *f = *state;
    watch_health(f, "");
    assert_int_equal(f->last_value, SERVING);
    gw_rpc_server_set_serving(f->server, false);
    gw_loop_run(f->loop);
    assert_int_equal(f->last_value, NOT_SERVING);
    gw_rpc_server_set_serving(f->server, true);
    gw_rpc_server_set_serving(f->server, true); /* no change, no message */
    gw_loop_run(f->loop);
    assert_int_equal(f->last_value, SERVING);
    close_server(f, 60000); /* does not wait for the grace time */
    if (f->done == 0)
        run_until_done(f, 1);
    assert_int_equal(f->last_value, NOT_SERVING);
    assert_int_equal(f->messages, 4);
    assert_int_equal(f->rc, GW_ERR_SHUTTING_DOWN);
}

static void a_watch_of_an_unknown_service_stays_open_and_says_so(void **state)
{
    fixture *f = *state;
    watch_health(f, "no.such.Service");
    assert_int_equal(f->last_value, UNKNOWN);
    assert_int_equal(f->done, 0);
}

/* ---- reflection ---- */

typedef struct reflected {
    fixture *f;
    size_t files, services;
    bool has_service, has_file;
    size_t numbers; /* of extensions */
    int32_t error_code;
} reflected;

static void on_reflected(void *arg, const ProtobufCMessage *m)
{
    reflected *r = arg;
    const Grpc__Reflection__V1__ServerReflectionResponse *a =
        (const Grpc__Reflection__V1__ServerReflectionResponse *)m;
    r->error_code = 0;
    r->files = r->services = r->numbers = 0;
    if (a->message_response_case ==
        GRPC__REFLECTION__V1__SERVER_REFLECTION_RESPONSE__MESSAGE_RESPONSE_LIST_SERVICES_RESPONSE) {
        r->services = a->list_services_response->n_service;
        for (size_t i = 0; i < r->services; i++)
            r->has_service |= strcmp(a->list_services_response->service[i]->name,
                                     "apirelay.auth.v1.ApiKeyService") == 0;
    } else if (a->message_response_case ==
               GRPC__REFLECTION__V1__SERVER_REFLECTION_RESPONSE__MESSAGE_RESPONSE_ERROR_RESPONSE) {
        r->error_code = a->error_response->error_code;
    } else if (
        a->message_response_case ==
        GRPC__REFLECTION__V1__SERVER_REFLECTION_RESPONSE__MESSAGE_RESPONSE_ALL_EXTENSION_NUMBERS_RESPONSE) {
        r->numbers = a->all_extension_numbers_response->n_extension_number;
        assert_string_equal(a->all_extension_numbers_response->base_type_name,
                            "google.protobuf.MethodOptions");
    } else {
        r->files = a->file_descriptor_response->n_file_descriptor_proto;
        gw_str bytes, first = gw_str_n(a->file_descriptor_response->file_descriptor_proto[0].data,
                                       a->file_descriptor_response->file_descriptor_proto[0].len);
        r->has_file = gw_schema_file_by_name(
                          r->f->schema, GW_STR("apirelay/auth/v1/api_key_service.proto"), &bytes) &&
                      gw_str_eq(bytes, first);
    }
    gw_loop_stop(r->f->loop);
}

static void on_reflection_done(void *arg, gw_status rc, const gw_error *err)
{
    note_done(((reflected *)arg)->f, rc, err);
}

static void ask_reflection(reflected *r, const char *path)
{
    fixture *f = r->f;
    static const gw_rpc_stream_ops ops = {.message = on_reflected, .done = on_reflection_done};
    gw_rpc_call_options o = {.path = path,
                             .response =
                                 &grpc__reflection__v1__server_reflection_response__descriptor,
                             .wait_for_ready = true};
    gw_rpc_client_call *c = gw_rpc_stream(f->channel, &o, NULL, &ops, r);
    Grpc__Reflection__V1__ServerReflectionRequest q =
        GRPC__REFLECTION__V1__SERVER_REFLECTION_REQUEST__INIT;
    q.message_request_case =
        GRPC__REFLECTION__V1__SERVER_REFLECTION_REQUEST__MESSAGE_REQUEST_LIST_SERVICES;
    q.list_services = "";
    gw_rpc_stream_send(c, &q.base);
    gw_loop_run(f->loop);
    assert_int_equal(r->services, 6); /* three of ours, health, reflection under two names */
    assert_true(r->has_service);

    q.message_request_case =
        GRPC__REFLECTION__V1__SERVER_REFLECTION_REQUEST__MESSAGE_REQUEST_FILE_CONTAINING_SYMBOL;
    q.file_containing_symbol = "apirelay.auth.v1.ApiKeyService";
    gw_rpc_stream_send(c, &q.base);
    gw_loop_run(f->loop);
    assert_true(r->files > 5); /* with all it imports */
    assert_true(r->has_file);

    q.file_containing_symbol = "no.such.Thing";
    gw_rpc_stream_send(c, &q.base);
    gw_loop_run(f->loop);
    assert_int_equal(r->error_code, GW_RPC_NOT_FOUND);

    q.message_request_case =
        GRPC__REFLECTION__V1__SERVER_REFLECTION_REQUEST__MESSAGE_REQUEST_FILE_BY_FILENAME;
    q.file_by_filename = "apirelay/auth/v1/api_key_service.proto";
    gw_rpc_stream_send(c, &q.base);
    gw_loop_run(f->loop);
    assert_true(r->has_file);

    Grpc__Reflection__V1__ExtensionRequest e = GRPC__REFLECTION__V1__EXTENSION_REQUEST__INIT;
    q.message_request_case =
        GRPC__REFLECTION__V1__SERVER_REFLECTION_REQUEST__MESSAGE_REQUEST_FILE_CONTAINING_EXTENSION;
    q.file_containing_extension = &e;
    e.containing_type = "google.protobuf.MethodOptions";
    e.extension_number = 50501;
    gw_rpc_stream_send(c, &q.base);
    gw_loop_run(f->loop);
    assert_int_equal(r->files, 2); /* with descriptor.proto */
    e.extension_number = 9;
    gw_rpc_stream_send(c, &q.base);
    gw_loop_run(f->loop);
    assert_int_equal(r->error_code, GW_RPC_NOT_FOUND);

    q.message_request_case =
        GRPC__REFLECTION__V1__SERVER_REFLECTION_REQUEST__MESSAGE_REQUEST_ALL_EXTENSION_NUMBERS_OF_TYPE;
    q.all_extension_numbers_of_type = "google.protobuf.MethodOptions";
    gw_rpc_stream_send(c, &q.base);
    gw_loop_run(f->loop);
    assert_int_equal(r->numbers, 3);
    q.all_extension_numbers_of_type = "no.such.Message";
    gw_rpc_stream_send(c, &q.base);
    gw_loop_run(f->loop);
    assert_int_equal(r->error_code, GW_RPC_NOT_FOUND);

    q.message_request_case =
        GRPC__REFLECTION__V1__SERVER_REFLECTION_REQUEST__MESSAGE_REQUEST__NOT_SET;
    gw_rpc_stream_send(c, &q.base);
    gw_loop_run(f->loop);
    assert_int_equal(r->error_code, GW_RPC_INVALID_ARGUMENT);
    gw_rpc_stream_close_send(c);
    run_until_done(f, f->done + 1);
    assert_int_equal(f->rc, GW_OK);
}

static void reflection_shows_the_services_and_their_files(void **state)
{
    reflected r = {.f = *state};
    ask_reflection(&r, "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo");
    ask_reflection(&r, "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo");
}

/* ---- start and stop ---- */

static void a_drain_lets_calls_end_in_peace(void **state)
{
    fixture *f = *state;
    (void)start_get(f, "hang", "good", 20000);
    f->stop_when_started = 1;
    gw_loop_run(f->loop);
    gw_rpc_call *hanging = f->hanging;
    gw_rpc_server_close(f->server, 20000, on_server_closed, f);
    gw_loop_defer(f->loop, reply_with_caller, hanging);
    while (!f->server_closed || f->done == 0)
        gw_loop_run(f->loop);
    assert_int_equal(f->rc, GW_OK);
    assert_int_equal(f->cancelled, 0);
    assert_int_equal(f->finished, 1);
}

static void a_drain_cancels_what_is_left_after_the_grace_time(void **state)
{
    fixture *f = *state;
    (void)start_get(f, "hang", "good", 20000);
    start_watch(f, -1);
    f->stop_when_started = 2;
    while (f->started < 2)
        gw_loop_run(f->loop);
    close_server(f, 20);
    assert_int_equal(f->cancelled, 2);
    assert_int_equal(f->finished, 2);
    gw_rpc_channel_free(gw_steal(&f->channel)); /* an idempotent call waits for a server anew */
    assert_int_equal(f->done, 2);
    assert_int_not_equal(f->rc, GW_OK);
}

static void a_client_finds_a_restarted_server_again(void **state)
{
    fixture *f = *state;
    assert_int_equal(get(f, "ok", "good", 5000), GW_OK);
    close_server(f, 0);
    gw_rpc_call_options o = get_options("good", 5000);
    o.wait_for_ready = false;
    Apirelay__Auth__V1__GetApiKeyRequest q = APIRELAY__AUTH__V1__GET_API_KEY_REQUEST__INIT;
    assert_non_null(gw_rpc_unary(f->channel, &o, &q.base, on_unary_done, f));
    run_until_done(f, f->done + 1);
    assert_int_equal(f->rc, GW_ERR_UNAVAILABLE);
    (void)start_get(f, "ok", "good", 15000); /* waits for it */
    start_server(f);
    run_until_done(f, f->done + 1);
    assert_int_equal(f->rc, GW_OK);
}

static void a_port_that_is_taken_is_an_error(void **state)
{
    fixture *f = *state;
    char listen[32];
    (void)snprintf(listen, sizeof listen, "127.0.0.1:%u", f->port);
    gw_rpc_server_options o = {.listen = listen, .schema = f->schema};
    gw_rpc_server *second = NULL;
    gw_error err;
    assert_int_equal(gw_rpc_server_new(f->loop, &o, &second, &err), GW_OK);
    assert_int_equal(gw_rpc_server_start(second, &err), GW_ERR_IO);
    gw_rpc_server_close(second, 0, NULL, NULL);
}

static void ignore(gw_rpc_call *c, const ProtobufCMessage *request, void *arg)
{
    (void)c;
    (void)request;
    (void)arg;
}

static void handlers_must_be_known_and_single(void **state)
{
    fixture *f = *state;
    static const gw_rpc_handler unknown[] = {{.path = "/no.such.Service/Method", .start = ignore},
                                             {.path = NULL}};
    static const gw_rpc_handler list[] = {{.path = "/grpc.health.v1.Health/List", .start = ignore},
                                          {.path = NULL}};
    gw_rpc_server_options o = {.listen = "127.0.0.1:0", .schema = f->schema};
    gw_rpc_server *s = NULL;
    gw_error err;
    assert_int_equal(gw_rpc_server_new(f->loop, &o, &s, &err), GW_OK);
    assert_int_equal(gw_rpc_server_add(s, unknown, f, &err), GW_ERR_INTERNAL);
    assert_int_equal(gw_rpc_server_add(s, list, f, &err), GW_OK);
    assert_int_equal(gw_rpc_server_add(s, list, f, &err), GW_ERR_INTERNAL); /* twice */
    gw_rpc_server_close(s, 0, NULL, NULL);
}

/* A file like ours, made without options: service test.S { rpc R(test.M) returns (test.M); } */
static gw_schema *schema_without_access(const ProtobufCServiceDescriptor *service)
{
    Google__Protobuf__MethodDescriptorProto rpc = GOOGLE__PROTOBUF__METHOD_DESCRIPTOR_PROTO__INIT;
    Google__Protobuf__MethodDescriptorProto *rpcs[] = {&rpc};
    rpc.name = "R", rpc.input_type = ".test.M", rpc.output_type = ".test.M";
    Google__Protobuf__ServiceDescriptorProto s = GOOGLE__PROTOBUF__SERVICE_DESCRIPTOR_PROTO__INIT;
    Google__Protobuf__ServiceDescriptorProto *services[] = {&s};
    s.name = "S", s.n_method = 1, s.method = rpcs;
    Google__Protobuf__FileDescriptorProto file = GOOGLE__PROTOBUF__FILE_DESCRIPTOR_PROTO__INIT;
    Google__Protobuf__FileDescriptorProto *files[] = {&file};
    file.name = "test.proto", file.package = "test", file.n_service = 1, file.service = services;
    Google__Protobuf__FileDescriptorSet set = GOOGLE__PROTOBUF__FILE_DESCRIPTOR_SET__INIT;
    set.n_file = 1, set.file = files;
    static uint8_t bytes[256];
    size_t len = google__protobuf__file_descriptor_set__pack(&set, bytes);
    gw_schema *schema = NULL;
    gw_error err;
    assert_int_equal(gw_schema_new(bytes, len, &service, 1, &schema, &err), GW_OK);
    return schema;
}

static void an_rpc_without_the_access_option_keeps_the_server_from_starting(void **state)
{
    fixture *f = *state;
    const ProtobufCMethodDescriptor rpc = {"R", &grpc__health__v1__health_check_request__descriptor,
                                           &grpc__health__v1__health_check_response__descriptor};
    ProtobufCServiceDescriptor service = grpc__health__v1__health__descriptor;
    service.name = "test.S", service.n_methods = 1, service.methods = &rpc;
    gw_schema *schema = schema_without_access(&service);
    static const gw_rpc_handler handlers[] = {{.path = "/test.S/R", .start = ignore},
                                              {.path = NULL}};
    gw_rpc_server_options o = {.listen = "127.0.0.1:0", .schema = schema};
    gw_rpc_server *s = NULL;
    gw_error err;
    assert_int_equal(gw_rpc_server_new(f->loop, &o, &s, &err), GW_OK);
    assert_int_equal(gw_rpc_server_add(s, handlers, f, &err), GW_OK);
    assert_int_equal(gw_rpc_server_start(s, &err), GW_ERR_INTERNAL);
    assert_non_null(strstr(err.message, "/test.S/R"));
    gw_rpc_server_close(s, 0, NULL, NULL);
    gw_schema_free(schema);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
#define CASE(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
        CASE(health_is_checked_without_a_credential),
        CASE(a_health_watch_tells_every_change_and_ends_with_the_server),
        CASE(a_watch_of_an_unknown_service_stays_open_and_says_so),
        CASE(reflection_shows_the_services_and_their_files),
        CASE(a_drain_lets_calls_end_in_peace),
        CASE(a_drain_cancels_what_is_left_after_the_grace_time),
        CASE(a_client_finds_a_restarted_server_again),
        CASE(a_port_that_is_taken_is_an_error),
        CASE(handlers_must_be_known_and_single),
        CASE(an_rpc_without_the_access_option_keeps_the_server_from_starting),
    };
    return cmocka_run_group_tests(tests, setup_group, teardown_group);
}
