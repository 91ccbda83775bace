#include "schema/all.h"
#include "testing/exhaust.h"

static gw_status load_all(void *arg)
{
    (void)arg;
    gw_schema *s = NULL;
    gw_error err;
    gw_status rc = gw_schema_all(&s, &err);
    gw_schema_free(s);
    return rc;
}

static void a_schema_without_memory_is_none(void **state)
{
    (void)state;
    gw_exhaust(load_all, NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_schema_without_memory_is_none),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
