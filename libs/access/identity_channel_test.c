#include "access/access_fixture.h"

/* What came back; texts are copied, since they live during the callback only. */
typedef struct outcome {
    fixture *f;
    size_t answers;
    gw_status rc;
    bool valid;
    gw_caller_kind kind;
    gw_role role;
    int64_t expires_at_ms;
    char name[64], id[64], key_id[64], session_id[64];
} outcome;

static void on_identity(void *arg, gw_status rc, const gw_identity *who, const gw_error *err)
{
    outcome *o = arg;
    o->answers++;
    o->rc = rc;
    assert_int_equal(who != NULL, rc == GW_OK);
    assert_int_equal(err != NULL, rc != GW_OK);
    if (who) {
        o->valid = who->valid;
        o->kind = who->caller.kind;
        o->role = who->caller.role;
        o->expires_at_ms = who->expires_at_ms;
        copy_text(o->name, sizeof o->name, who->caller.name);
        copy_text(o->id, sizeof o->id, who->caller.id);
        copy_text(o->key_id, sizeof o->key_id, who->caller.key_id);
        copy_text(o->session_id, sizeof o->session_id, who->caller.session_id);
    }
    gw_loop_stop(o->f->loop);
}

static outcome ask(fixture *f, const char *token)
{
    outcome o = {.f = f};
    gw_identity_channel *c = gw_identity_channel_new(f->channel, gw_str_of(token), NULL);
    assert_non_null(c);
    gw_identify seam = gw_identity_channel_seam(c);
    const gw_identity_question q = {GW_STR("lcses_abc"), GW_STR("10.0.0.1"), .unattended = true};
    seam.identify(seam.self, &q, on_identity, &o);
    while (o.answers == 0)
        gw_loop_run(f->loop);
    gw_identity_channel_free(c);
    return o;
}

static void a_session_is_an_admin(void **state)
{
    fixture *f = *state;
    Google__Protobuf__Timestamp t = GOOGLE__PROTOBUF__TIMESTAMP__INIT;
    t.seconds = 1764000000;
    t.nanos = 5000000;
    f->identity_answer.valid = true;
    f->identity_answer.kind = "admin";
    f->identity_answer.admin_id = "u1";
    f->identity_answer.username = "ann";
    f->identity_answer.role = "owner";
    f->identity_answer.session_id = "s1";
    f->identity_answer.expires_at = &t;
    outcome o = ask(f, RELAY_TOKEN);
    assert_int_equal(o.rc, GW_OK);
    assert_true(o.valid);
    assert_int_equal(o.kind, GW_CALLER_ADMIN);
    assert_int_equal(o.role, GW_ROLE_OWNER);
    assert_int_equal(o.expires_at_ms, 1764000000005);
    assert_string_equal(o.name, "ann");
    assert_string_equal(o.id, "u1");
    assert_string_equal(o.session_id, "s1");
    assert_string_equal(f->seen_credential, "lcses_abc");
    assert_true(f->seen_unattended);
    assert_string_equal(f->seen_address, "10.0.0.1");
}

static void an_admin_key_of_nobody_is_known_by_itself(void **state)
{
    fixture *f = *state;
    f->identity_answer.valid = true;
    f->identity_answer.kind = "admin";
    f->identity_answer.username = "ci";
    f->identity_answer.role = "viewer";
    f->identity_answer.admin_key_id = "k1";
    outcome o = ask(f, RELAY_TOKEN);
    assert_int_equal(o.role, GW_ROLE_VIEWER);
    assert_string_equal(o.id, "k1");
    assert_string_equal(o.key_id, "k1");
}

static void an_api_key_is_an_api_key(void **state)
{
    fixture *f = *state;
    f->identity_answer.valid = true;
    f->identity_answer.kind = "api_key";
    f->identity_answer.api_key_id = "65a000000000000000000001";
    f->identity_answer.key_id = "abcdefghijkl";
    outcome o = ask(f, RELAY_TOKEN);
    assert_true(o.valid);
    assert_int_equal(o.kind, GW_CALLER_API_KEY);
    assert_int_equal(o.role, GW_ROLE_NONE);
    assert_string_equal(o.id, "65a000000000000000000001");
    assert_string_equal(o.key_id, "abcdefghijkl");
}

static void what_is_not_known_to_be_good_is_not_valid(void **state)
{
    fixture *f = *state;
    f->identity_answer.reason = "unknown";
    outcome o = ask(f, RELAY_TOKEN);
    assert_int_equal(o.rc, GW_OK);
    assert_false(o.valid);
    f->identity_answer.valid = true;
    f->identity_answer.kind = "something new";
    o = ask(f, RELAY_TOKEN);
    assert_false(o.valid);
    f->identity_answer.kind = "admin";
    f->identity_answer.role = "something new";
    o = ask(f, RELAY_TOKEN);
    assert_int_equal(o.role, GW_ROLE_NONE); /* may call nothing */
}

static void trouble_with_our_own_token_is_not_the_callers(void **state)
{
    fixture *f = *state;
    outcome o = ask(f, "lcsvc_wrong-wrong-wrong-wrong-wrong-wrong");
    assert_int_equal(o.rc, GW_ERR_UNAVAILABLE);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
#define CASE(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
        CASE(a_session_is_an_admin),
        CASE(an_admin_key_of_nobody_is_known_by_itself),
        CASE(an_api_key_is_an_api_key),
        CASE(what_is_not_known_to_be_good_is_not_valid),
        CASE(trouble_with_our_own_token_is_not_the_callers),
    };
    return cmocka_run_group_tests(tests, setup_group, teardown_group);
}
