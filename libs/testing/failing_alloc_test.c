#include "testing/failing_alloc.h"

#include "core/macros.h"
#include "testing/cmocka.h"

#include <errno.h>
#include <stdlib.h>

static void exactly_the_chosen_allocation_fails(void **state)
{
    (void)state;
    gw_failing_alloc_arm(2);
    gw_auto_free void *first = malloc(1);
    errno = 0;
    gw_auto_free void *second = calloc(1, 1);
    int error = errno;
    gw_auto_free void *third = realloc(NULL, 1);
    assert_true(gw_failing_alloc_disarm());
    assert_non_null(first);
    assert_null(second);
    assert_int_equal(error, ENOMEM);
    assert_non_null(third);
}

static void disarmed_it_never_fails(void **state)
{
    (void)state;
    gw_failing_alloc_arm(1);
    assert_false(gw_failing_alloc_disarm());
    gw_auto_free void *p = malloc(1);
    assert_non_null(p);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(exactly_the_chosen_allocation_fails),
        cmocka_unit_test(disarmed_it_never_fails),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
