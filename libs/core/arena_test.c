#include "core/arena.h"

#include "testing/cmocka.h"
#include "testing/failing_alloc.h"

static void allocations_are_aligned_and_apart(void **state)
{
    (void)state;
    gw_auto(gw_arena) a = gw_arena_new();
    char *last = NULL;
    for (size_t size = 0; size < 300; size++) {
        char *p = gw_arena_alloc(a, size);
        assert_non_null(p);
        assert_int_equal((uintptr_t)p % _Alignof(max_align_t), 0);
        assert_ptr_not_equal(p, last);
        memset(p, (int)size, size);
        last = p;
    }
}

static void zeroed_memory_is_zero_after_a_reset_too(void **state)
{
    (void)state;
    gw_auto(gw_arena) a = gw_arena_new();
    memset(gw_arena_alloc(a, 1000), 'x', 1000);
    gw_arena_reset(a);
    const char *p = gw_arena_zalloc(a, 1000);
    for (size_t i = 0; i < 1000; i++)
        assert_int_equal(p[i], 0);
    uint64_t *numbers = gw_arena_array(a, uint64_t, 10);
    for (size_t i = 0; i < 10; i++)
        assert_int_equal(numbers[i], 0);
}

static void sizes_that_overflow_give_null(void **state)
{
    (void)state;
    gw_auto(gw_arena) a = gw_arena_new();
    assert_null(gw_arena_alloc(a, SIZE_MAX));
    assert_null(gw_arena_alloc(a, SIZE_MAX - 32));
    assert_null(gw_arena_calloc(a, SIZE_MAX / 2, 3));
    assert_int_equal(gw_arena_bytes(a), 0);
}

static void strings_are_terminated_copies(void **state)
{
    (void)state;
    gw_auto(gw_arena) a = gw_arena_new();
    char text[] = "hello";
    gw_str copy = gw_arena_dup(a, gw_str_n(text, 4));
    text[0] = 'X';
    assert_string_equal(copy.ptr, "hell");
    assert_int_equal(copy.len, 4);
    assert_string_equal(gw_arena_strdup(a, GW_STR_NULL), "");
    gw_str formatted = gw_arena_printf(a, "%s-%05d", "n", 42);
    assert_string_equal(formatted.ptr, "n-00042");
    assert_int_equal(formatted.len, 7);
    assert_int_equal(gw_arena_printf(a, "%0*d", 9000, 1).len, 9000);
    for (int len = 254; len < 259; len++) { /* around what is formatted at once */
        gw_str padded = gw_arena_printf(a, "%0*d", len, 7);
        assert_int_equal(padded.len, len);
        assert_int_equal(strlen(padded.ptr), len);
        assert_int_equal(padded.ptr[len - 1], '7');
    }
    assert_string_equal(gw_arena_join(a, GW_STR("/v1"), GW_STR("/chat")).ptr, "/v1/chat");
    assert_string_equal(gw_arena_join(a, GW_STR_NULL, GW_STR_NULL).ptr, "");
}

static char order[8];

static void look(void *arg)
{
    const gw_str *text = arg;
    for (size_t i = 0; i < text->len; i++)
        assert_int_equal(text->ptr[i], '\0');
    order[0] = 's';
}

static void secrets_are_wiped_when_the_arena_ends(void **state)
{
    (void)state;
    for (int i = 0; i < 2; i++) {
        gw_arena *a = gw_arena_new();
        gw_str text = GW_STR_NULL;
        assert_true(gw_arena_defer(a, look, &text)); /* after what is deferred later */
        text = gw_arena_join_secret(a, GW_STR("Bearer "), GW_STR("sk-1"));
        assert_string_equal(text.ptr, "Bearer sk-1");
        order[0] = '\0';
        if (i)
            gw_arena_reset(a);
        gw_arena_free(a);
        assert_int_equal(order[0], 's');
    }
}

static void note(void *arg)
{
    strncat(order, arg, 1);
}

static void deferred_calls_run_in_reverse_order(void **state)
{
    (void)state;
    order[0] = '\0';
    gw_arena *a = gw_arena_new();
    char names[] = "abc";
    for (size_t i = 0; i < 3; i++)
        assert_true(gw_arena_defer(a, note, &names[i]));
    gw_arena_reset(a);
    assert_string_equal(order, "cba");
    assert_true(gw_arena_defer(a, note, &names[0]));
    gw_arena_free(a);
    assert_string_equal(order, "cbaa");
}

typedef struct chain {
    gw_arena *arena;
    int left;
} chain;

static void defer_again(void *arg)
{
    chain *c = arg;
    if (c->left-- > 0)
        assert_true(gw_arena_defer(c->arena, defer_again, c));
}

static void a_deferred_call_may_defer(void **state)
{
    (void)state;
    chain c = {gw_arena_new(), 3};
    assert_true(gw_arena_defer(c.arena, defer_again, &c));
    gw_arena_free(c.arena);
    assert_int_equal(c.left, -1);
}

static void a_reset_keeps_one_ordinary_block(void **state)
{
    (void)state;
    gw_auto(gw_arena) a = gw_arena_new();
    assert_int_equal(gw_arena_bytes(a), 0);
    for (int i = 0; i < 1000; i++)
        assert_non_null(gw_arena_alloc(a, 1000));
    assert_non_null(gw_arena_alloc(a, 8u << 20));
    assert_true(gw_arena_bytes(a) > 8u << 20);
    gw_arena_reset(a);
    size_t kept = gw_arena_bytes(a);
    assert_in_range(kept, 4096, 70000);
    assert_non_null(gw_arena_alloc(a, 1000));
    assert_int_equal(gw_arena_bytes(a), kept);
}

static void a_large_allocation_does_not_waste_the_block_in_use(void **state)
{
    (void)state;
    gw_auto(gw_arena) a = gw_arena_new();
    char *first = gw_arena_alloc(a, 16);
    assert_non_null(gw_arena_alloc(a, 1u << 20));
    assert_ptr_equal(gw_arena_alloc(a, 16), first + 16);
}

static void without_memory_everything_is_null_and_nothing_leaks(void **state)
{
    (void)state;
    gw_failing_alloc_arm(1);
    gw_arena *none = gw_arena_new();
    assert_true(gw_failing_alloc_disarm());
    assert_null(none);
    gw_arena_free(NULL);

    gw_auto(gw_arena) a = gw_arena_new();
    gw_failing_alloc_arm(1);
    assert_null(gw_arena_alloc(a, 1));
    assert_true(gw_failing_alloc_disarm());
    gw_failing_alloc_arm(1);
    assert_null(gw_arena_dup(a, GW_STR("x")).ptr);
    gw_failing_alloc_arm(1);
    assert_null(gw_arena_printf(a, "x").ptr);
    gw_failing_alloc_arm(1);
    assert_false(gw_arena_defer(a, note, NULL));
    gw_failing_alloc_disarm();
    assert_non_null(gw_arena_alloc(a, 1));
}

static void count_run(void *arg)
{
    ++*(int *)arg;
}

static void an_arena_of_two_holders_goes_with_the_last(void **state)
{
    (void)state;
    gw_auto(gw_arena) second = NULL;
    int runs = 0;
    {
        gw_auto(gw_arena) first = gw_arena_new();
        second = gw_arena_ref(first);
        assert_true(gw_arena_is_shared(first));
        assert_true(gw_arena_defer(first, count_run, &runs));
    }
    assert_int_equal(runs, 0);
    assert_false(gw_arena_is_shared(second));
    assert_non_null(gw_arena_alloc(second, 100));
    gw_arena_reset(second);
    assert_int_equal(runs, 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(allocations_are_aligned_and_apart),
        cmocka_unit_test(zeroed_memory_is_zero_after_a_reset_too),
        cmocka_unit_test(sizes_that_overflow_give_null),
        cmocka_unit_test(strings_are_terminated_copies),
        cmocka_unit_test(deferred_calls_run_in_reverse_order),
        cmocka_unit_test(secrets_are_wiped_when_the_arena_ends),
        cmocka_unit_test(a_deferred_call_may_defer),
        cmocka_unit_test(a_reset_keeps_one_ordinary_block),
        cmocka_unit_test(a_large_allocation_does_not_waste_the_block_in_use),
        cmocka_unit_test(an_arena_of_two_holders_goes_with_the_last),
        cmocka_unit_test(without_memory_everything_is_null_and_nothing_leaks),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
