#include "testing/failing_alloc.h"

#include "core/macros.h"
#include "testing/cmocka.h"

#include <errno.h>
#include <stdlib.h>

static void exactly_the_chosen_allocation_fails(void **state)
{
    (void)state;
    gw_failing_alloc_arm(2);
    void *first = malloc(1);
    errno = 0;
    void *second = calloc(1, 1);
    int error = errno;
    void *third = realloc(NULL, 1);
    assert_true(gw_failing_alloc_disarm());
    assert_non_null(first);
    assert_null(second);
    assert_int_equal(error, ENOMEM);
    assert_non_null(third);
    free(first);
    free(second);
    free(third);
}

static void disarmed_it_never_fails(void **state)
{
    (void)state;
    gw_failing_alloc_arm(1);
    assert_false(gw_failing_alloc_disarm());
    void *p = malloc(1);
    assert_non_null(p);
    free(p);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(exactly_the_chosen_allocation_fails),
        cmocka_unit_test(disarmed_it_never_fails),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
