#include "loop/loop.h"
#include "loop/mailbox.h"
#include "loop/workers.h"
#include "testing/exhaust.h"

static gw_status make_loop(void *arg)
{
    (void)arg;
    gw_loop *l = NULL;
    gw_error err;
    gw_status rc = gw_loop_new(&gw_system_clock, &l, &err);
    if (rc == GW_OK)
        gw_loop_free(l);
    return rc;
}

static gw_status make_mailbox(void *arg)
{
    gw_mailbox *box = NULL;
    gw_error err;
    gw_status rc = gw_mailbox_new(arg, &box, &err);
    if (rc == GW_OK)
        gw_mailbox_free(box);
    return rc;
}

static gw_status make_workers(void *arg)
{
    gw_workers *w = NULL;
    gw_error err;
    gw_status rc = gw_workers_new(arg, "test", 2, 4, &w, &err);
    if (rc == GW_OK)
        gw_workers_free(w);
    return rc;
}

static void loops_and_what_is_on_them_are_made_whole_or_not(void **state)
{
    (void)state;
    gw_loop *l = NULL;
    gw_exhaust(make_loop, NULL);
    assert_int_equal(gw_loop_new(&gw_system_clock, &l, NULL), GW_OK);
    gw_exhaust(make_mailbox, l);
    gw_exhaust(make_workers, l);
    gw_loop_free(l);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(loops_and_what_is_on_them_are_made_whole_or_not),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
