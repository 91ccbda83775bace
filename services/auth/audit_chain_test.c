#include "audit_head.h"
#include "test_kit.h"

static gw_arena *arena;

static int set_up(void **state)
{
    (void)state;
    arena = gw_arena_new();
    return arena ? 0 : -1;
}

static int tear_down(void **state)
{
    (void)state;
    gw_arena_free(arena);
    return 0;
}

static audit_entry *sealed(void)
{
    audit_entry *e = message_new(arena, &apirelay__auth__v1__audit_entry__descriptor);
    e->seq = 5;
    e->at = message_time(arena, 1700000000123);
    e->actor_kind = "admin";
    e->actor_id = "65f000000000000000000001";
    e->actor_name = "root";
    e->action = "api_key.create";
    e->target = "65f000000000000000000002";
    e->phase = "intent";
    e->payload_json = "{\"name\":\"x\"}";
    e->prev_hash = AUDIT_NO_HASH;
    audit_entry_seal(arena, e);
    return e;
}

static void a_sealed_entry_has_no_fault(void **state)
{
    (void)state;
    audit_entry *e = sealed();
    assert_int_equal(strlen(e->hash), 64);
    assert_null(audit_entry_fault(arena, e, 5, AUDIT_NO_HASH));
}

static void an_erased_payload_leaves_the_chain_whole(void **state)
{
    (void)state;
    audit_entry *e = sealed();
    e->payload_json = "";
    assert_null(audit_entry_fault(arena, e, 5, AUDIT_NO_HASH));
}

static void every_alteration_is_a_fault(void **state)
{
    (void)state;
    audit_entry *e = sealed();
    assert_non_null(audit_entry_fault(arena, e, 4, AUDIT_NO_HASH));
    assert_non_null(audit_entry_fault(arena, e, 5, e->hash));
    const size_t texts[] = {offsetof(audit_entry, actor_kind),  offsetof(audit_entry, actor_id),
                            offsetof(audit_entry, actor_name),  offsetof(audit_entry, address),
                            offsetof(audit_entry, action),      offsetof(audit_entry, target),
                            offsetof(audit_entry, phase),       offsetof(audit_entry, outcome),
                            offsetof(audit_entry, request_id),  offsetof(audit_entry, payload_json),
                            offsetof(audit_entry, payload_hash)};
    for (size_t i = 0; i < GW_ARRAY_LEN(texts); i++) {
        audit_entry *altered = sealed();
        static char text[] = "other";
        void *other = text;
        memcpy((char *)altered + texts[i], &other, sizeof(other));
        assert_non_null(audit_entry_fault(arena, altered, 5, AUDIT_NO_HASH));
    }
    e->at = message_time(arena, 1700000000124);
    assert_non_null(audit_entry_fault(arena, e, 5, AUDIT_NO_HASH));
}

static void text_cannot_move_between_fields(void **state)
{
    (void)state;
    audit_entry *one = sealed(), *two = sealed();
    one->action = "ab";
    one->target = "c";
    two->action = "a";
    two->target = "bc";
    audit_entry_seal(arena, one);
    audit_entry_seal(arena, two);
    assert_string_not_equal(one->hash, two->hash);
}

static void a_signed_head_is_known_under_every_pepper(void **state)
{
    (void)state;
    gw_auto(peppers) before = test_peppers(TEST_ONLY_B);
    gw_auto(peppers) rotated = test_peppers(TEST_PEPPERS);
    char signature[AUDIT_SIGNATURE_SIZE];
    const gw_str hash = GW_STR(AUDIT_NO_HASH);
    audit_head_sign(before, 7, hash, signature);
    assert_true(audit_head_is_signed(before, 7, hash, gw_str_of(signature)));
    assert_true(audit_head_is_signed(rotated, 7, hash, gw_str_of(signature)));
    assert_false(audit_head_is_signed(rotated, 8, hash, gw_str_of(signature)));
    assert_false(audit_head_is_signed(rotated, 7, GW_STR("00"), gw_str_of(signature)));
    assert_false(audit_head_is_signed(rotated, 7, hash, GW_STR("")));
    audit_head_sign(rotated, 7, hash, signature);
    assert_false(audit_head_is_signed(before, 7, hash, gw_str_of(signature)));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_sealed_entry_has_no_fault),
        cmocka_unit_test(an_erased_payload_leaves_the_chain_whole),
        cmocka_unit_test(every_alteration_is_a_fault),
        cmocka_unit_test(text_cannot_move_between_fields),
        cmocka_unit_test(a_signed_head_is_known_under_every_pepper),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
