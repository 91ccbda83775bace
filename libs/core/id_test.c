#include "core/id.h"

#include "core/map.h"
#include "testing/cmocka.h"

#include <sys/wait.h>
#include <unistd.h>

static void random_bytes_fill_every_place(void **state)
{
    (void)state;
    uint8_t seen[1000] = {0};
    for (int round = 0; round < 16; round++) {
        uint8_t bytes[1000];
        gw_random_bytes(bytes, sizeof(bytes));
        for (size_t i = 0; i < sizeof(bytes); i++)
            seen[i] |= bytes[i];
    }
    for (size_t i = 0; i < sizeof(seen); i++)
        assert_int_not_equal(seen[i], 0);
    gw_random_bytes(NULL, 0);
    assert_true(gw_random_u64() != gw_random_u64());
}

static void bounded_numbers_stay_below_and_reach_all(void **state)
{
    (void)state;
    unsigned hits[7] = {0};
    for (int i = 0; i < 7000; i++) {
        uint64_t n = gw_random_below(7);
        assert_true(n < 7);
        hits[n]++;
    }
    for (size_t i = 0; i < 7; i++)
        assert_in_range(hits[i], 700, 1300); /* 10 standard deviations */
    assert_true(gw_random_below(1) == 0);
    assert_true(gw_random_below((UINT64_MAX / 2) + 2) <= UINT64_MAX / 2 + 1);
}

static void base62_uses_the_whole_alphabet_evenly(void **state)
{
    (void)state;
    enum { LEN = 62000 };
    static char text[LEN + 1];
    unsigned hits[256] = {0};
    gw_random_base62(text, LEN);
    assert_int_equal(strlen(text), LEN);
    for (size_t i = 0; i < LEN; i++)
        hits[(unsigned char)text[i]]++;
    unsigned kinds = 0;
    for (int c = 0; c < 256; c++) {
        bool allowed = (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z');
        if (!allowed)
            assert_int_equal(hits[c], 0);
        else
            assert_in_range(hits[c], 700, 1300);
        kinds += hits[c] > 0;
    }
    assert_int_equal(kinds, 62);
    char none[1] = {'x'};
    gw_random_base62(none, 0);
    assert_int_equal(none[0], '\0');
}

static void request_ids_are_unlike_each_other(void **state)
{
    (void)state;
    gw_auto(gw_map) seen = gw_map_new(NULL);
    for (int i = 0; i < 1000; i++) {
        char id[GW_REQUEST_ID_SIZE];
        gw_request_id(id);
        assert_int_equal(strlen(id), 28);
        assert_memory_equal(id, "req_", 4);
        assert_null(gw_map_get(seen, gw_str_of(id)));
        assert_true(gw_map_put(seen, gw_str_of(id), seen));
    }
}

/* The child counts on from the same number; with the same key it would make the same ids. */
static void a_child_process_makes_other_request_ids(void **state)
{
    (void)state;
    char ours[GW_REQUEST_ID_SIZE] = "", theirs[GW_REQUEST_ID_SIZE] = "";
    int ends[2];
    gw_request_id(ours); /* the key is chosen */
    assert_int_equal(pipe(ends), 0);
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        gw_request_id(theirs);
        _exit(write(ends[1], theirs, sizeof(theirs)) != (ssize_t)sizeof(theirs));
    }
    gw_request_id(ours);
    assert_int_equal(read(ends[0], theirs, sizeof(theirs)), sizeof(theirs));
    assert_int_equal(waitpid(child, NULL, 0), child);
    assert_string_not_equal(ours, theirs);
    (void)close(ends[0]);
    (void)close(ends[1]);
}

static void object_ids_carry_time_process_and_counter(void **state)
{
    (void)state;
    gw_object_id a;
    gw_object_id b;
    gw_object_id_make(&a, 0x65432100LL * 1000 + 999);
    gw_object_id_make(&b, 0x65432100LL * 1000);
    const uint8_t seconds[] = {0x65, 0x43, 0x21, 0x00};
    assert_memory_equal(a.bytes, seconds, 4);
    assert_memory_equal(a.bytes, b.bytes, 9);
    unsigned ca = (unsigned)a.bytes[9] << 16 | (unsigned)a.bytes[10] << 8 | a.bytes[11];
    unsigned cb = (unsigned)b.bytes[9] << 16 | (unsigned)b.bytes[10] << 8 | b.bytes[11];
    assert_int_equal(cb, (ca + 1) & 0xffffff);
}

static void object_ids_go_through_text(void **state)
{
    (void)state;
    gw_object_id id;
    gw_object_id back;
    char text[GW_OBJECT_ID_HEX_SIZE];
    gw_object_id_make(&id, 1795416321007);
    gw_object_id_format(&id, text);
    assert_int_equal(strlen(text), 24);
    assert_true(gw_object_id_parse(gw_str_of(text), &back));
    assert_memory_equal(&id, &back, sizeof(id));
    static const char *const bad[] = {"", "65432100", "65432100aabbccddee00112",
                                      "65432100aabbccddee0011223", "65432100aabbccddee00112g"};
    for (size_t i = 0; i < GW_ARRAY_LEN(bad); i++)
        assert_false(gw_object_id_parse(gw_str_of(bad[i]), &back));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(random_bytes_fill_every_place),
        cmocka_unit_test(bounded_numbers_stay_below_and_reach_all),
        cmocka_unit_test(base62_uses_the_whole_alphabet_evenly),
        cmocka_unit_test(request_ids_are_unlike_each_other),
        cmocka_unit_test(a_child_process_makes_other_request_ids),
        cmocka_unit_test(object_ids_carry_time_process_and_counter),
        cmocka_unit_test(object_ids_go_through_text),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
