#include "claim.h"
#include "event_testing.h"
#include "rollup.h"

#include "testing/exhaust.h"

static gw_status judge_and_parse(void *arg)
{
    (void)arg;
    event_queue q = {.first_seq = 1};
    claim c = {0};
    claim back = {0};
    bson_t p = BSON_INITIALIZER;
    gw_error err;
    gw_status rc = event_queue_push(&q, GW_STR("no event")) && event_queue_push(&q, GW_STR(""))
                       ? GW_OK
                       : GW_ERR_NO_MEMORY;
    if (rc == GW_OK)
        rc = claim_take(&q, &c, &err);
    if (rc == GW_OK)
        rc = claim_judge(&c, 1700000000000, 1000, &err);
    if (rc == GW_OK) {
        claim_append(&c, &p);
        rc = claim_parse(&p, &back, &err);
    }
    event_queue_fini(&q);
    claim_fini(&c);
    claim_fini(&back);
    bson_destroy(&p);
    return rc;
}

static void claims_without_memory_are_refused(void **state)
{
    (void)state;
    gw_exhaust(judge_and_parse, NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(claims_without_memory_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
