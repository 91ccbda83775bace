#include "core/map.h"

#include "testing/cmocka.h"
#include "testing/failing_alloc.h"

#include <stdio.h>
#include <stdlib.h>

static gw_str key_of(char *text, size_t size, unsigned n)
{
    return gw_str_n(text, (size_t)snprintf(text, size, "key-%u", n));
}

static void values_come_back_under_their_keys(void **state)
{
    (void)state;
    gw_auto(gw_map) m = gw_map_new(NULL);
    int one = 1;
    int two = 2;
    assert_null(gw_map_get(m, GW_STR("a")));
    assert_false(gw_map_remove(m, GW_STR("a")));
    assert_true(gw_map_put(m, GW_STR("a"), &one));
    assert_true(gw_map_put(m, GW_STR(""), &two));
    assert_true(gw_map_put(m, gw_str_n("a\0b", 3), &two));
    assert_ptr_equal(gw_map_get(m, GW_STR("a")), &one);
    assert_ptr_equal(gw_map_get(m, GW_STR_NULL), &two);
    assert_ptr_equal(gw_map_get(m, gw_str_n("a\0b", 3)), &two);
    assert_null(gw_map_get(m, gw_str_n("a\0", 2)));
    assert_int_equal(gw_map_count(m), 3);
    assert_true(gw_map_put(m, GW_STR("a"), &two));
    assert_ptr_equal(gw_map_get(m, GW_STR("a")), &two);
    assert_int_equal(gw_map_count(m), 3);
    assert_ptr_equal(gw_map_take(m, GW_STR("a")), &two);
    assert_null(gw_map_take(m, GW_STR("a")));
    assert_int_equal(gw_map_count(m), 2);
}

static void keys_are_copied(void **state)
{
    (void)state;
    gw_auto(gw_map) m = gw_map_new(NULL);
    char key[] = "abc";
    assert_true(gw_map_put(m, gw_str_of(key), m));
    key[0] = 'x';
    assert_non_null(gw_map_get(m, GW_STR("abc")));
    assert_null(gw_map_get(m, GW_STR("xbc")));
}

/* Against a plain table as the model: growth, collisions, closed gaps. */
static void random_changes_agree_with_a_plain_table(void **state)
{
    (void)state;
    enum { KEYS = 700, STEPS = 60000 };
    static int values[KEYS];
    bool present[KEYS] = {false};
    size_t count = 0;
    gw_auto(gw_map) m = gw_map_new(NULL);
    uint32_t random = 12345;
    for (int step = 0; step < STEPS; step++) {
        random = random * 1664525 + 1013904223;
        unsigned n = (random >> 8) % KEYS;
        char text[16];
        gw_str key = key_of(text, sizeof(text), n);
        if (random >> 31) {
            assert_true(gw_map_put(m, key, &values[n]));
            count += !present[n];
            present[n] = true;
        } else {
            assert_int_equal(gw_map_remove(m, key), present[n]);
            count -= present[n];
            present[n] = false;
        }
        assert_int_equal(gw_map_count(m), count);
    }
    for (unsigned n = 0; n < KEYS; n++) {
        char text[16];
        assert_ptr_equal(gw_map_get(m, key_of(text, sizeof(text), n)),
                         present[n] ? &values[n] : NULL);
    }
}

static void iteration_meets_every_member_once(void **state)
{
    (void)state;
    gw_auto(gw_map) m = gw_map_new(NULL);
    size_t at = 0;
    gw_str key;
    void *value;
    assert_false(gw_map_next(m, &at, &key, &value));
    int seen[100] = {0};
    for (unsigned n = 0; n < 100; n++) {
        char text[16];
        assert_true(gw_map_put(m, key_of(text, sizeof(text), n), &seen[n]));
    }
    at = 0;
    while (gw_map_next(m, &at, &key, &value)) {
        assert_ptr_equal(gw_map_get(m, key), value);
        (*(int *)value)++;
    }
    for (size_t n = 0; n < 100; n++)
        assert_int_equal(seen[n], 1);
}

static void owned_values_are_freed_exactly_once(void **state)
{
    (void)state;
    gw_map *m = gw_map_new(free);
    void *kept = malloc(1);
    assert_true(gw_map_put(m, GW_STR("replaced"), malloc(1)));
    assert_true(gw_map_put(m, GW_STR("replaced"), malloc(1)));
    assert_true(gw_map_put(m, GW_STR("same"), kept));
    assert_true(gw_map_put(m, GW_STR("same"), kept));
    assert_true(gw_map_put(m, GW_STR("removed"), malloc(1)));
    assert_true(gw_map_remove(m, GW_STR("removed")));
    assert_ptr_equal(gw_map_take(m, GW_STR("same")), kept);
    free(kept);
    gw_map_clear(m);
    assert_int_equal(gw_map_count(m), 0);
    assert_null(gw_map_get(m, GW_STR("replaced")));
    assert_true(gw_map_put(m, GW_STR("again"), malloc(1)));
    gw_map_free(m);
    gw_map_free(NULL);
}

static void a_put_without_memory_changes_nothing(void **state)
{
    (void)state;
    gw_failing_alloc_arm(1);
    gw_map *none = gw_map_new(NULL);
    assert_true(gw_failing_alloc_disarm());
    assert_null(none);
    for (size_t n = 1; n <= 2; n++) { /* the table, then the copy of the key */
        gw_auto(gw_map) m = gw_map_new(NULL);
        gw_failing_alloc_arm(n);
        bool put = gw_map_put(m, GW_STR("a"), m);
        assert_true(gw_failing_alloc_disarm());
        assert_false(put);
        assert_int_equal(gw_map_count(m), 0);
        assert_null(gw_map_get(m, GW_STR("a")));
        assert_true(gw_map_put(m, GW_STR("a"), m));
    }
}

static void siphash_matches_the_vectors_of_its_authors(void **state)
{
    (void)state;
    /* vectors_sip64 of the reference implementation: key 00..0f, input 00, 01, … of growing length */
    static const uint64_t expected[] = {
        0x726fdb47dd0e0e31ULL, 0x74f839c593dc67fdULL, 0x0d6c8009d9a94f5aULL, 0x85676696d7fb7e2dULL,
        0xcf2794e0277187b7ULL, 0x18765564cd99a68dULL, 0xcbc9466e58fee3ceULL, 0xab0200f58b01d137ULL,
        0x93f5f5799a932462ULL, 0x9e0082df0ba9e4b0ULL,
    };
    uint8_t bytes[16];
    for (unsigned i = 0; i < sizeof(bytes); i++)
        bytes[i] = (uint8_t)i;
    for (size_t len = 0; len < GW_ARRAY_LEN(expected); len++)
        assert_true(gw_siphash(bytes, bytes, len) == expected[len]);
    assert_true(gw_siphash(bytes, bytes, 15) == 0xa129ca6149be45e5ULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(values_come_back_under_their_keys),
        cmocka_unit_test(keys_are_copied),
        cmocka_unit_test(random_changes_agree_with_a_plain_table),
        cmocka_unit_test(iteration_meets_every_member_once),
        cmocka_unit_test(owned_values_are_freed_exactly_once),
        cmocka_unit_test(a_put_without_memory_changes_nothing),
        cmocka_unit_test(siphash_matches_the_vectors_of_its_authors),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
