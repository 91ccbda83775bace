#include "admin_rules.h"

#include "test_kit.h"

static void names_of_admin_keys_are_labels(void **state)
{
    (void)state;
    static const struct {
        const char *name;
        bool ok;
    } cases[] = {{"CI", true},         {"Schl\xc3\xbcssel", true}, {"", false},  {"  ", false},
                 {"a\xc2\x85", false}, {"a\xe2\x81\xa6", false},   {"\n", false}};
    gw_auto(gw_arena) a = gw_arena_new();
    for (size_t i = 0; i < GW_ARRAY_LEN(cases); i++) {
        gw_violations v = {0};
        admin_key_view *k = message_new(a, &apirelay__auth__v1__admin_key__descriptor);
        k->name = message_text(a, gw_str_of(cases[i].name));
        k->role = message_text(a, GW_STR("viewer"));
        admin_check_key(k, 0, &v);
        assert_int_equal(v.count, cases[i].ok ? 0 : 1);
        assert_true(cases[i].ok || strcmp(v.items[0].field, "name") == 0);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(names_of_admin_keys_are_labels)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
