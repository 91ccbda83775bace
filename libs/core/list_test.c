#include "core/list.h"

#include "testing/cmocka.h"

typedef struct member {
    int number;
    gw_list node;
} member;

static int joined(const gw_list *l)
{
    int value = 0;
    gw_list_each (node, l)
        value = value * 10 + GW_CONTAINER_OF(node, member, node)->number;
    return value;
}

static void members_stand_in_the_order_of_their_pushes(void **state)
{
    (void)state;
    gw_list l;
    gw_list_init(&l);
    assert_true(gw_list_is_empty(&l));
    assert_null(gw_list_first(&l));
    assert_null(gw_list_last(&l));
    assert_null(gw_list_pop_front(&l));
    member m[3] = {{.number = 1}, {.number = 2}, {.number = 3}};
    gw_list_push_back(&l, &m[1].node);
    gw_list_push_back(&l, &m[2].node);
    gw_list_push_front(&l, &m[0].node);
    assert_int_equal(joined(&l), 123);
    assert_ptr_equal(gw_list_first(&l), &m[0].node);
    assert_ptr_equal(gw_list_last(&l), &m[2].node);
    assert_ptr_equal(gw_list_pop_front(&l), &m[0].node);
    assert_int_equal(joined(&l), 23);
}

static void removing_twice_is_harmless(void **state)
{
    (void)state;
    gw_list l;
    gw_list_init(&l);
    member m[2] = {{.number = 1}, {.number = 2}};
    gw_list_push_back(&l, &m[0].node);
    gw_list_push_back(&l, &m[1].node);
    gw_list_remove(&m[0].node);
    gw_list_remove(&m[0].node);
    assert_false(gw_list_is_linked(&m[0].node));
    assert_true(gw_list_is_linked(&m[1].node));
    assert_int_equal(joined(&l), 2);
}

static void the_safe_walk_allows_removal(void **state)
{
    (void)state;
    gw_list l;
    gw_list_init(&l);
    member m[5];
    for (int i = 0; i < 5; i++) {
        m[i].number = i + 1;
        gw_list_push_back(&l, &m[i].node);
    }
    gw_list_each_safe (node, &l) {
        if (GW_CONTAINER_OF(node, member, node)->number % 2 == 0)
            gw_list_remove(node);
    }
    assert_int_equal(joined(&l), 135);
    gw_list_each_safe (node, &l)
        gw_list_remove(node);
    assert_true(gw_list_is_empty(&l));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(members_stand_in_the_order_of_their_pushes),
        cmocka_unit_test(removing_twice_is_harmless),
        cmocka_unit_test(the_safe_walk_allows_removal),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
