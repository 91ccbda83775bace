/* Who a certificate makes its bearer, over mutual TLS. */
#include "access/access_fixture.h"

#include "tls/tls_testing.h"

#define TAG_KEYS       "/apirelay.auth.v1.KeyAccessService/GetTagKeys" /* the relay's */
#define CREATE_SESSION "/apirelay.auth.v1.SessionService/CreateSession" /* admin-gw's */

typedef struct tls_fixture {
    fixture *f;
    tls_test_identity ca;
    tls_test_folder files, mine; /* of the server, which notices when they change; of the client */
} tls_fixture;

static const char *const peers[] = {"relay=relay", "relay=spiffe://apirelay/relay",
                                    "admin-gw=admin-gw.example"};

static int tls_setup(void **state)
{
    tls_fixture *t = calloc(1, sizeof *t);
    fixture *f = calloc(1, sizeof *f);
    assert_non_null(t);
    assert_non_null(f);
    gw_error err;
    t->ca = tls_test_make(&(tls_test_spec){.name = "authority", .is_ca = true});
    tls_test_identity server =
        tls_test_make(&(tls_test_spec){.san = "IP:127.0.0.1", .issuer = &t->ca});
    tls_test_folder_make(&t->files);
    tls_test_put_identity(&t->files, &server);
    tls_test_put_ca(&t->files, &t->ca);
    tls_test_folder_make(&t->mine);
    tls_test_put_ca(&t->mine, &t->ca);
    tls_test_drop(&server);
    assert_int_equal(gw_peers_new(peers, GW_ARRAY_LEN(peers), &f->peers, &err), GW_OK);
    gw_tls_paths paths = tls_test_paths(&t->files);
    void *inner;
    t->f = f;
    *state = t;
    return setup_tls(&inner, (gw_identify){memory_identify, &f->identity}, f, &paths);
}

static int tls_teardown(void **state)
{
    tls_fixture *t = *state;
    void *inner = t->f;
    (void)teardown(&inner);
    tls_test_folder_drop(&t->files);
    tls_test_folder_drop(&t->mine);
    tls_test_drop(&t->ca);
    free(t);
    return 0;
}

/* Calls go on with a certificate of these names; NULL: without one. */
static void become(tls_fixture *t, const char *san)
{
    fixture *f = t->f;
    gw_tls_paths paths = tls_test_paths(&t->mine);
    if (san) {
        tls_test_identity client = tls_test_make(&(tls_test_spec){.san = san, .issuer = &t->ca});
        tls_test_put_identity(&t->mine, &client);
        tls_test_drop(&client);
    } else {
        paths.cert_file = paths.key_file = NULL;
    }
    gw_rpc_channel_free(f->channel);
    gw_tls_files_free(f->client_tls);
    f->client_tls = open_tls(f, &paths);
    start_channel(f);
}

static gw_status expected(const gw_method *m, const char *services, bool is_known)
{
    if (m->access.service_count == 0 || !is_known)
        return GW_ERR_UNAUTHENTICATED; /* such an rpc wants a credential, whoever brings it */
    for (size_t i = 0; i < m->access.service_count; i++) {
        if (strstr(services, m->access.services[i].ptr))
            return GW_OK;
    }
    return GW_ERR_PERMISSION_DENIED;
}

static void every_method_is_called_by_every_kind_of_certificate(void **state)
{
    tls_fixture *t = *state;
    fixture *f = t->f;
    const struct {
        const char *san, *services;
        bool is_known;
    } kinds[] = {
        {"DNS:relay", "relay", true},
        {"DNS:nobody,URI:spiffe://apirelay/relay", "relay", true},
        {"DNS:admin-gw.example", "admin-gw", true},
        {"DNS:admin-gw.example,DNS:relay", "relay admin-gw", true},
        {"DNS:admin-gw", "", false},
        {"URI:spiffe://other/relay", "", false},
        {"email:relay,IP:127.0.0.1", "", false},
        {NULL, "", false},
    };
    size_t calls = 0;
    for (size_t k = 0; k < GW_ARRAY_LEN(kinds); k++) {
        become(t, kinds[k].san);
        for (size_t i = 0; i < gw_schema_method_count(f->schema); i++) {
            const gw_method *m = gw_schema_method_at(f->schema, i);
            if (!gw_str_starts_with(m->path, GW_STR("/apirelay.")) || m->access.anyone)
                continue;
            gw_status rc = call(f, m, "");
            if (rc != expected(m, kinds[k].services, kinds[k].is_known))
                fail_msg("%s with %s: %s", m->path.ptr, kinds[k].san ? kinds[k].san : "none",
                         gw_status_describe(rc)->name);
            calls++;
        }
    }
    assert_true(calls > 250);
}

static void the_handler_learns_which_service_calls(void **state)
{
    tls_fixture *t = *state;
    become(t, "DNS:relay,DNS:admin-gw.example");
    assert_int_equal(call_path(t->f, CREATE_SESSION, ""), GW_OK);
    assert_int_equal(t->f->kind, GW_CALLER_SERVICE);
    assert_string_equal(t->f->name, "admin-gw");
    assert_int_equal(call_path(t->f, TAG_KEYS, ""), GW_OK);
    assert_string_equal(t->f->name, "relay");
}

static void a_refusal_says_what_is_wrong(void **state)
{
    tls_fixture *t = *state;
    become(t, "DNS:stranger");
    assert_int_equal(call_path(t->f, TAG_KEYS, ""), GW_ERR_UNAUTHENTICATED);
    assert_non_null(strstr(t->f->err.message, "tls_peers"));
    become(t, "DNS:admin-gw.example");
    assert_int_equal(call_path(t->f, TAG_KEYS, ""), GW_ERR_PERMISSION_DENIED);
    assert_non_null(strstr(t->f->err.message, "GetTagKeys"));
    become(t, NULL);
    assert_int_equal(call_path(t->f, TAG_KEYS, ""), GW_ERR_UNAUTHENTICATED);
    assert_non_null(strstr(t->f->err.message, "neither"));
}

static void service_tokens_do_not_count(void **state)
{
    tls_fixture *t = *state;
    const char *const names[] = {"DNS:relay", "DNS:stranger", NULL};
    for (size_t i = 0; i < GW_ARRAY_LEN(names); i++) {
        become(t, names[i]);
        assert_int_equal(call_path(t->f, TAG_KEYS, RELAY_TOKEN), GW_ERR_UNAUTHENTICATED);
    }
}

static void people_need_no_certificate_and_a_service_brings_their_credential(void **state)
{
    tls_fixture *t = *state;
    const char *const names[] = {NULL, "DNS:admin-gw.example", "DNS:stranger"};
    for (size_t i = 0; i < GW_ARRAY_LEN(names); i++) {
        become(t, names[i]);
        assert_int_equal(call_path(t->f, GET_API_KEY, "lcadm_viewer"), GW_OK);
        assert_int_equal(t->f->kind, GW_CALLER_ADMIN);
        assert_int_equal(call_path(t->f, GET_API_KEY, "lcadm_nobody"), GW_ERR_UNAUTHENTICATED);
        assert_int_equal(call_path(t->f, CREATE_SESSION, "lcadm_owner"), GW_ERR_PERMISSION_DENIED);
        assert_int_equal(call_path(t->f, GET_API_KEY, ""), GW_ERR_UNAUTHENTICATED);
    }
}

static void where_an_admin_is_the_gateways_certificate_vouches_for(void **state)
{
    static const struct {
        const char *san, *address;
    } cases[] = {{"DNS:admin-gw.example", "203.0.113.9"},
                 {"DNS:relay,DNS:admin-gw.example", "203.0.113.9"},
                 {"DNS:relay", "127.0.0.1"},
                 {"DNS:stranger", "127.0.0.1"},
                 {NULL, "127.0.0.1"}};
    tls_fixture *t = *state;
    t->f->client_address = "203.0.113.9";
    t->f->forwarder = GATEWAY_TOKEN; /* counts for nothing here */
    for (size_t i = 0; i < GW_ARRAY_LEN(cases); i++) {
        become(t, cases[i].san);
        assert_int_equal(call_path(t->f, GET_API_KEY, "lcadm_viewer"), GW_OK);
        assert_string_equal(t->f->address, cases[i].address);
    }
}

#define TLS_TEST(name) cmocka_unit_test_setup_teardown(name, tls_setup, tls_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TLS_TEST(every_method_is_called_by_every_kind_of_certificate),
        TLS_TEST(the_handler_learns_which_service_calls),
        TLS_TEST(a_refusal_says_what_is_wrong),
        TLS_TEST(service_tokens_do_not_count),
        TLS_TEST(people_need_no_certificate_and_a_service_brings_their_credential),
        TLS_TEST(where_an_admin_is_the_gateways_certificate_vouches_for),
    };
    return cmocka_run_group_tests(tests, setup_group, teardown_group);
}
