/*
 * What relays send and what stands in usage_spools: any bytes are judged the same twice, an event that
 * is taken makes a row, a claim that is read gives the same document again.
 */
#include "claim.h"
#include "event_row.h"
#include "rollup.h"

#include "testing/fuzz.h"

#define NOW_MS       1700000000000
#define RETENTION_MS (90LL * 24 * 3600 * 1000)

static void check_row(gw_str packed)
{
    usage_event *e = event_unpack(packed);
    bson_t row = BSON_INITIALIZER;
    gw_object_id id;

    fuzz_require(e != NULL && event_id_read(packed, &id));
    event_append_row(e, SUMS_FORMAT, &row);
    fuzz_require(bson_validate(&row, BSON_VALIDATE_UTF8, NULL));
    fuzz_require(bson_has_field(&row, "_id") && bson_has_field(&row, "usage"));
    bson_destroy(&row);
    event_free(e);
}

static void check_event(gw_str packed)
{
    gw_object_id one;
    gw_object_id two;
    const char *why = event_judge(packed, NOW_MS, RETENTION_MS);

    event_id_of(packed, GW_STR("spool"), 7, &one);
    event_id_of(packed, GW_STR("spool"), 7, &two);
    fuzz_require(memcmp(&one, &two, sizeof(one)) == 0);
    if (!why)
        check_row(packed);
}

/* A claim of a few events, the input among them, as ingest makes it. */
static void check_claim(gw_str packed)
{
    event_queue q = {.first_seq = 5};
    claim c = {0};
    claim back = {0};
    gw_error err = {0};
    bson_t p = BSON_INITIALIZER;
    claim_cursor at = {0};
    claim_cursor same = {0};

    fuzz_require(event_queue_push(&q, packed) && event_queue_push(&q, GW_STR("")) &&
                 event_queue_push(&q, packed));
    fuzz_require(claim_take(&q, &c, &err) == GW_OK && c.count == 3 && claim_to(&c) == 7);
    fuzz_require(claim_judge(&c, NOW_MS, RETENTION_MS, &err) == GW_OK);
    claim_append(&c, &p);
    fuzz_require(claim_parse(&p, &back, &err) == GW_OK && back.count == 3);
    while (claim_next(&c, &at)) {
        fuzz_require(claim_next(&back, &same) && at.seq == same.seq);
        fuzz_require(gw_str_eq(at.packed, same.packed));
        fuzz_require((at.reason == NULL) == (same.reason == NULL));
        fuzz_require(!at.reason || strcmp(at.reason, same.reason) == 0);
    }
    event_queue_drop_through(&q, claim_to(&c));
    fuzz_require(event_queue_bytes(&q) == 0);
    event_queue_fini(&q);
    claim_fini(&c);
    claim_fini(&back);
    bson_destroy(&p);
}

static void check_stored(const bson_t *p)
{
    claim c = {0};
    gw_error err = {0};
    claim_cursor at = {0};
    size_t count = 0;

    if (claim_parse(p, &c, &err) != GW_OK) {
        fuzz_require(err.message[0] && c.count == 0);
        return;
    }
    while (claim_next(&c, &at))
        count++;
    fuzz_require(count == c.count && at.next_verdict == c.rejected_count);
    claim_fini(&c);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    bson_t document;
    gw_str bytes = gw_str_n(data, size);

    check_event(bytes);
    check_claim(bytes);
    if (bson_init_static(&document, data, size))
        check_stored(&document);
    return 0;
}
