/* The set of origins; auth is what the test says. */
#include "origin_set.h"

#include "testing/cmocka.h"
#include "testing/fake_clock.h"

#include "apirelay/auth/v1/key_access_service.pb-c.h"

static struct {
    size_t asked;
    gw_rpc_done_fn done; /* NULL: none is under way */
    void *arg;
} auth;

/* In the place of the real one, which is not linked. */
gw_rpc_client_call *gw_rpc_unary(gw_rpc_channel *ch, const gw_rpc_call_options *o,
                                 const ProtobufCMessage *request, gw_rpc_done_fn done, void *arg)
{
    (void)ch;
    (void)request;
    assert_true(gw_str_eq_c(o->credential, "lcsvc_relay"));
    assert_null(auth.done);
    auth.asked++;
    auth.done = done;
    auth.arg = arg;
    return (gw_rpc_client_call *)(void *)&auth;
}

static void auth_answers(gw_status rc, char *origin, bool incomplete)
{
    Apirelay__Auth__V1__ListOriginsResponse m = APIRELAY__AUTH__V1__LIST_ORIGINS_RESPONSE__INIT;
    gw_rpc_done_fn done = auth.done;
    gw_error err;

    m.origins = &origin;
    m.n_origins = origin != NULL;
    m.incomplete = incomplete;
    auth.done = NULL;
    if (rc != GW_OK)
        (void)gw_fail(&err, rc, "auth does not answer");
    done(auth.arg, rc, rc == GW_OK ? &m.base : NULL, &err);
}

static gw_fake_clock now;
static gw_clock fake;
static gw_loop *loop;
static origin_set *set;
static char ours[] = "https://app.example", theirs[] = "https://other.example";

static int setup(void **state)
{
    const origin_set_options o = {.service_token = GW_STR("lcsvc_relay")};
    gw_error err;

    (void)state;
    memset(&auth, 0, sizeof(auth));
    fake = gw_fake_clock_init(&now, 1764000000000);
    if (gw_loop_new(&fake, &loop, &err) != GW_OK)
        return -1;
    return origin_set_new(loop, &o, &set, &err) == GW_OK ? 0 : -1;
}

static int teardown(void **state)
{
    (void)state;
    origin_set_stop(set);
    if (auth.done)
        auth_answers(GW_ERR_CANCELLED, NULL, false);
    origin_set_free(set);
    gw_loop_free(loop);
    return 0;
}

static void pass(int64_t ms)
{
    gw_fake_clock_advance_ms(&now, ms);
    uv_run(gw_loop_uv(loop), UV_RUN_NOWAIT);
}

static bool has(const char *origin)
{
    return origin_set_has(set, gw_str_of(origin));
}

static void an_origin_is_there_once_auth_has_told(void **state)
{
    (void)state;
    assert_false(has(ours));
    auth_answers(GW_OK, ours, false);
    assert_true(has(ours));
    assert_false(has(theirs) || has("") || has("https://app.example:443") || has("null"));
    assert_false(origin_set_has(NULL, GW_STR("https://app.example")));
}

static void changes_that_come_together_are_read_together(void **state)
{
    (void)state;
    auth_answers(GW_OK, ours, false);
    for (int i = 0; i < 100; i++)
        origin_set_refresh(set);
    pass(300);
    assert_int_equal(auth.asked, 2);
    origin_set_refresh(set); /* what is being read may be older */
    auth_answers(GW_OK, theirs, false);
    assert_true(has(theirs) && !has(ours));
    pass(300);
    assert_int_equal(auth.asked, 3);
    auth_answers(GW_OK, theirs, false);
    pass(300);
    assert_int_equal(auth.asked, 3);
    pass(60000);
    assert_int_equal(auth.asked, 4);
}

static void while_auth_is_away_the_last_set_stays(void **state)
{
    (void)state;
    auth_answers(GW_OK, ours, false);
    origin_set_refresh(set);
    pass(300);
    auth_answers(GW_ERR_UNAVAILABLE, NULL, false);
    assert_true(has(ours));
    pass(600);
    auth_answers(GW_OK, NULL, false);
    assert_false(has(ours));
}

static void of_more_than_auth_tells_every_origin_is_taken(void **state)
{
    (void)state;
    auth_answers(GW_OK, ours, true);
    assert_true(has(theirs));
    assert_false(has(""));
}

int main(void)
{
#define WITH(test) cmocka_unit_test_setup_teardown(test, setup, teardown)
    const struct CMUnitTest tests[] = {
        WITH(an_origin_is_there_once_auth_has_told),
        WITH(changes_that_come_together_are_read_together),
        WITH(while_auth_is_away_the_last_set_stays),
        WITH(of_more_than_auth_tells_every_origin_is_taken),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
