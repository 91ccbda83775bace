#include "refusal_table.h"

#include "testing/cmocka.h"

static const uint8_t *id_of(uint32_t n)
{
    static uint8_t id[REFUSAL_KEY_ID_SIZE];
    memset(id, 7, sizeof(id));
    memcpy(id + 8, &n, sizeof(n));
    return id;
}

static void a_key_is_found_again_and_others_are_not(void **state)
{
    (void)state;
    refusal_table t;
    assert_true(refusal_table_init(&t, 64));
    for (uint32_t n = 0; n < 64; n++) {
        assert_null(refusal_table_find(&t, id_of(n)));
        refusal_table_add(&t, id_of(n))->rows = n;
    }
    for (uint32_t n = 0; n < 64; n++)
        assert_int_equal(refusal_table_find(&t, id_of(n))->rows, n);
    refusal_table_fini(&t);
}

static void the_key_refused_longest_ago_makes_room(void **state)
{
    (void)state;
    refusal_table t;
    assert_true(refusal_table_init(&t, 4));
    for (uint32_t n = 0; n < 4; n++) {
        assert_null(refusal_table_oldest(&t));
        (void)refusal_table_add(&t, id_of(n));
    }
    assert_non_null(refusal_table_find(&t, id_of(0)));
    assert_memory_equal(refusal_table_oldest(&t)->id, id_of(1), REFUSAL_KEY_ID_SIZE);
    (void)refusal_table_add(&t, id_of(9));
    assert_null(refusal_table_find(&t, id_of(1)));
    assert_non_null(refusal_table_find(&t, id_of(0)));
    assert_non_null(refusal_table_find(&t, id_of(9)));
    refusal_table_fini(&t);
}

static void a_million_keys_need_no_more_than_the_bound(void **state)
{
    (void)state;
    refusal_table t;
    assert_true(refusal_table_init(&t, 256));
    for (uint32_t n = 0; n < 1000000; n++)
        if (!refusal_table_find(&t, id_of(n * 2654435761U)))
            (void)refusal_table_add(&t, id_of(n * 2654435761U));
    assert_int_equal(t.count, 256);
    size_t listed = 0;
    gw_list_each (node, &t.recent)
        listed++;
    assert_int_equal(listed, 256);
    for (uint32_t n = 1000000 - 256; n < 1000000; n++)
        assert_non_null(refusal_table_find(&t, id_of(n * 2654435761U)));
    refusal_table_fini(&t);
}

static void open_rows_are_listed_oldest_first_until_closed(void **state)
{
    (void)state;
    refusal_table t;
    int somewhere[2];
    assert_true(refusal_table_init(&t, 8));
    refusal_key *a = refusal_table_add(&t, id_of(1)), *b = refusal_table_add(&t, id_of(2));
    assert_true(gw_list_is_empty(&t.open));
    refusal_table_set_slot(&t, a, (struct flight_slot *)(void *)&somewhere[0]);
    refusal_table_set_slot(&t, b, (struct flight_slot *)(void *)&somewhere[1]);
    assert_ptr_equal(gw_list_first(&t.open), &a->open);
    refusal_table_set_slot(&t, a, NULL);
    assert_ptr_equal(gw_list_first(&t.open), &b->open);
    assert_null(a->slot);
    assert_int_equal(t.open_count, 1);
    refusal_table_fini(&t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_key_is_found_again_and_others_are_not),
        cmocka_unit_test(the_key_refused_longest_ago_makes_room),
        cmocka_unit_test(a_million_keys_need_no_more_than_the_bound),
        cmocka_unit_test(open_rows_are_listed_oldest_first_until_closed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
