#include "key_ring.h"
#include "key_tail.h"

#include "testing/cmocka.h"

static key_tail_step decide(key_change c, key_tail_wait wait, int64_t *wait_for)
{
    *wait_for = 0;
    return key_tail_decide(10, &c, wait, 1000, wait_for);
}

static void a_settled_change_passes(void **state)
{
    (void)state;
    int64_t wait_for;
    key_change c = {.generation = 11, .settled = true, .at_ms = 1000};
    assert_int_equal(decide(c, (key_tail_wait){0}, &wait_for), KEY_TAIL_PASS);
}

static void an_announced_change_is_held_then_fenced(void **state)
{
    (void)state;
    int64_t wait_for;
    key_change c = {.generation = 11, .at_ms = 1000};
    assert_int_equal(decide(c, (key_tail_wait){0}, &wait_for), KEY_TAIL_HOLD);
    assert_int_equal(wait_for, 11);
    assert_int_equal(decide(c, (key_tail_wait){11, KEY_TAIL_FENCE_MS - 1}, &wait_for),
                     KEY_TAIL_HOLD);
    assert_int_equal(decide(c, (key_tail_wait){10, KEY_TAIL_FENCE_MS}, &wait_for), KEY_TAIL_HOLD);
    assert_int_equal(decide(c, (key_tail_wait){11, KEY_TAIL_FENCE_MS}, &wait_for), KEY_TAIL_FENCE);
}

static void a_change_whose_writer_is_long_gone_is_fenced_at_once(void **state)
{
    (void)state;
    int64_t wait_for;
    key_change c = {.generation = 11, .at_ms = 1000 - KEY_TAIL_OVERDUE_MS};
    assert_int_equal(decide(c, (key_tail_wait){0}, &wait_for), KEY_TAIL_FENCE);
}

static void a_gap_is_never_passed_while_it_is_young(void **state)
{
    (void)state;
    int64_t wait_for;
    key_change c = {.generation = 12, .settled = true, .at_ms = -100000};
    assert_int_equal(decide(c, (key_tail_wait){0}, &wait_for), KEY_TAIL_HOLD);
    assert_int_equal(wait_for, 11);
    assert_int_equal(decide(c, (key_tail_wait){11, KEY_TAIL_GAP_MS - 1}, &wait_for), KEY_TAIL_HOLD);
    assert_int_equal(decide(c, (key_tail_wait){11, KEY_TAIL_GAP_MS}, &wait_for), KEY_TAIL_LOST);
}

static key_ring ring;

static void push(const char *key_id)
{
    const change_subject subject = change_subject_of(CHANGE_OF_KEY, gw_str_of(key_id));
    key_ring_push(&ring, &subject);
}

static void the_ring_serves_what_came_after_its_base(void **state)
{
    (void)state;
    key_ring_init(&ring, 100);
    assert_true(key_ring_reaches(&ring, 100));
    assert_false(key_ring_reaches(&ring, 99));
    assert_false(key_ring_reaches(&ring, 101));
    push("abc");
    push("def");
    assert_string_equal(key_ring_at(&ring, 101)->id, "abc");
    assert_string_equal(key_ring_at(&ring, 102)->id, "def");
    assert_true(key_ring_reaches(&ring, 102));
}

static void the_ring_keeps_what_a_change_is_of(void **state)
{
    (void)state;
    const change_subject client =
        change_subject_of(CHANGE_OF_CLIENT_LIMITS, GW_STR("a-client-with-a-longer-name-than-keys"));
    key_ring_init(&ring, 0);
    push("abc");
    key_ring_push(&ring, &client);
    assert_int_equal(key_ring_at(&ring, 1)->kind, CHANGE_OF_KEY);
    assert_int_equal(key_ring_at(&ring, 2)->kind, CHANGE_OF_CLIENT_LIMITS);
    assert_string_equal(key_ring_at(&ring, 2)->id, client.id);
}

static void a_full_ring_forgets_the_oldest(void **state)
{
    (void)state;
    key_ring_init(&ring, 0);
    for (int i = 0; i < KEY_RING_SIZE + 5; i++)
        push(i == 5 ? "first" : "x");
    assert_int_equal(ring.applied, KEY_RING_SIZE + 5);
    assert_false(key_ring_reaches(&ring, 4));
    assert_true(key_ring_reaches(&ring, 5));
    assert_string_equal(key_ring_at(&ring, 6)->id, "first");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_settled_change_passes),
        cmocka_unit_test(an_announced_change_is_held_then_fenced),
        cmocka_unit_test(a_change_whose_writer_is_long_gone_is_fenced_at_once),
        cmocka_unit_test(a_gap_is_never_passed_while_it_is_young),
        cmocka_unit_test(the_ring_serves_what_came_after_its_base),
        cmocka_unit_test(the_ring_keeps_what_a_change_is_of),
        cmocka_unit_test(a_full_ring_forgets_the_oldest),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
