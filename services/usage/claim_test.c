#include "claim.h"

#include "event_testing.h"

static void push(event_queue *q, size_t n, size_t len)
{
    static char bytes[EVENT_BYTES_MAX];
    for (size_t i = 0; i < n; i++)
        assert_true(event_queue_push(q, gw_str_n(bytes, len)));
}

static claim take(const event_queue *q)
{
    claim c = {0};
    gw_error err;
    assert_int_equal(claim_take(q, &c, &err), GW_OK);
    return c;
}

static void a_claim_is_bounded_in_events(void **state)
{
    event_queue q = {.first_seq = 11};
    (void)state;
    push(&q, CLAIM_EVENTS_MAX + 5, 3);
    claim c = take(&q);
    assert_int_equal(c.from, 10);
    assert_int_equal(c.count, CLAIM_EVENTS_MAX);
    assert_int_equal(q.count, CLAIM_EVENTS_MAX + 5);
    event_queue_drop_through(&q, claim_to(&c));
    assert_int_equal(q.count, 5);
    assert_int_equal(q.first_seq, 11 + CLAIM_EVENTS_MAX);
    assert_int_equal(event_queue_bytes(&q), 5 * 7);
    claim_fini(&c);
    event_queue_fini(&q);
}

static void a_claim_is_bounded_in_bytes(void **state)
{
    event_queue q = {.first_seq = 1};
    (void)state;
    push(&q, 300, EVENT_BYTES_MAX);
    claim c = take(&q);
    assert_in_range(c.events.len, CLAIM_BYTES_MAX - 2 * EVENT_BYTES_MAX, CLAIM_BYTES_MAX);
    claim_fini(&c);
    event_queue_fini(&q);
}

static void dropping_stops_at_the_end_of_the_queue(void **state)
{
    event_queue q = {.first_seq = 5};
    (void)state;
    push(&q, 3, 10);
    event_queue_drop_through(&q, 4);
    assert_int_equal(q.count, 3);
    event_queue_drop_through(&q, 6);
    assert_int_equal(q.count, 1);
    event_queue_drop_through(&q, 1000);
    assert_int_equal(q.count, 0);
    assert_int_equal(event_queue_bytes(&q), 0);
    event_queue_fini(&q);
}

static claim judged_claim(void)
{
    event_queue q = {.first_seq = 101};
    test_event t;
    gw_auto_buf packed = {0};
    gw_error err;
    test_event_init(&t);
    assert_true(event_queue_push(&q, test_event_pack(&t, &packed)));
    assert_true(event_queue_push(&q, GW_STR("\xff")));
    t.e.status_code = 7;
    assert_true(event_queue_push(&q, test_event_pack(&t, &packed)));
    t.e.status_code = 200;
    assert_true(event_queue_push(&q, test_event_pack(&t, &packed)));
    claim c = take(&q);
    assert_int_equal(claim_judge(&c, TEST_NOW_MS, TEST_RETENTION_MS, &err), GW_OK);
    event_queue_fini(&q);
    return c;
}

static void expect_verdicts(const claim *c)
{
    static const char *const reasons[] = {NULL, "malformed", "bad_figure", NULL};
    claim_cursor at = {0};
    for (size_t i = 0; i < GW_ARRAY_LEN(reasons); i++) {
        assert_true(claim_next(c, &at));
        assert_int_equal(at.seq, 101 + i);
        if (reasons[i])
            assert_string_equal(at.reason, reasons[i]);
        else
            assert_null(at.reason);
    }
    assert_false(claim_next(c, &at));
}

static void a_claim_reads_back_with_its_verdicts(void **state)
{
    bson_t p = BSON_INITIALIZER;
    claim back = {0};
    gw_error err;
    (void)state;
    claim c = judged_claim();
    expect_verdicts(&c);
    claim_append(&c, &p);
    assert_int_equal(claim_parse(&p, &back, &err), GW_OK);
    assert_int_equal(back.sums_format, SUMS_FORMAT);
    assert_int_equal(back.from, 100);
    assert_int_equal(claim_to(&back), 104);
    expect_verdicts(&back);
    claim_fini(&c);
    claim_fini(&back);
    bson_destroy(&p);
}

/* The claim of judged_claim() with another format, count and verdict index. */
static gw_status parse_changed(int format, int64_t count, int64_t index, size_t cut)
{
    claim back = {0};
    gw_error err;
    claim c = judged_claim();
    bson_t *p = BCON_NEW(
        "format", BCON_INT32(format), "from", BCON_INT64(0), "count", BCON_INT64(count), "events",
        BCON_BIN(BSON_SUBTYPE_BINARY, (const uint8_t *)c.events.data,
                 (uint32_t)(c.events.len - cut)),
        "rejected", "[", "{", "i", BCON_INT64(index), "reason", BCON_UTF8("bad_id"), "}", "]");
    gw_status rc = claim_parse(p, &back, &err);
    claim_fini(&back);
    claim_fini(&c);
    bson_destroy(p);
    return rc;
}

static void a_damaged_claim_is_refused(void **state)
{
    (void)state;
    assert_int_equal(parse_changed(1, 4, 3, 0), GW_OK);
    assert_int_equal(parse_changed(SUMS_FORMAT, 4, 3, 0), GW_OK);
    assert_int_equal(parse_changed(SUMS_FORMAT + 1, 4, 3, 0), GW_ERR_FAILED_PRECONDITION);
    assert_int_equal(parse_changed(0, 4, 3, 0), GW_ERR_DATA_LOSS);
    assert_int_equal(parse_changed(1, 3, 0, 0), GW_ERR_DATA_LOSS);
    assert_int_equal(parse_changed(1, 5, 0, 0), GW_ERR_DATA_LOSS);
    assert_int_equal(parse_changed(1, 0, 0, 0), GW_ERR_DATA_LOSS);
    assert_int_equal(parse_changed(1, INT64_MAX, 0, 0), GW_ERR_DATA_LOSS);
    assert_int_equal(parse_changed(1, 4, 4, 0), GW_ERR_DATA_LOSS);
    assert_int_equal(parse_changed(1, 4, -1, 0), GW_ERR_DATA_LOSS);
    assert_int_equal(parse_changed(1, 4, 3, 1), GW_ERR_DATA_LOSS);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_claim_is_bounded_in_events),
        cmocka_unit_test(a_claim_is_bounded_in_bytes),
        cmocka_unit_test(dropping_stops_at_the_end_of_the_queue),
        cmocka_unit_test(a_claim_reads_back_with_its_verdicts),
        cmocka_unit_test(a_damaged_claim_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
