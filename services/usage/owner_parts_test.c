/* As many owners as no single document has room for. */
#include "owner_parts.h"

#include "event_testing.h"
#include "fold.h"
#include "hour_update.h"

#define OWNERS             40000
#define DOCUMENT_BYTES_MAX (16 << 20) /* what MongoDB takes */

/* Each owner with a client of its own, within an hour, held against limits. */
static void add_owners(rollup *r, int sums_format)
{
    for (int i = 0; i < OWNERS; i++) {
        test_event t;
        char client[80];
        bson_t row = BSON_INITIALIZER;
        test_event_init(&t);
        (void)snprintf(client, sizeof(client),
                       "application-%05d-of-a-department-with-a-name-as-they-have", i);
        t.e.client_id = client;
        if (sums_format == SUMS_FORMAT) /* they make it larger still */
            t.e.owner_load_id = t.e.client_load_id = 1700000000000;
        for (size_t b = 0; b < 3; b++)
            t.user[9 + b] = (uint8_t)(i >> (8 * b));
        t.key[11] = (uint8_t)(i % 200);
        event_append_row(&t.e, sums_format, &row);
        assert_int_equal(rollup_add_row(r, &row, NULL), GW_OK);
        bson_destroy(&row);
    }
}

/* As it is stored, but for its marks. */
static void append_document(hour_delta *h, bson_t *d)
{
    hour_append_names(d, h);
    for (size_t i = 0; i < h->load_count; i++) {
        gw_auto_buf path = {0};
        gw_buf_append_str(&path, gw_buf_str(&h->loads[i].path));
        gw_buf_append_c(&path, ".load.id");
        sums_add(h->sums, gw_buf_str(&path), h->loads[i].id);
    }
    sums_append_nested(h->sums, d);
}

static size_t largest_hour(const rollup *r)
{
    size_t largest = 0;
    for (size_t i = 0; i < rollup_count(r); i++) {
        bson_t d = BSON_INITIALIZER;
        append_document(rollup_at(r, i), &d);
        largest = GW_MAX(largest, d.len);
        bson_destroy(&d);
    }
    return largest;
}

static size_t day_of_part(const rollup *r, const char *subject)
{
    bson_t day = BSON_INITIALIZER;
    gw_auto(fold) f = fold_new(ROLLUP_OWNERS);
    for (size_t i = 0; i < rollup_count(r); i++) {
        hour_delta *h = rollup_at(r, i);
        if (strcmp(h->subject, subject) != 0)
            continue;
        bson_t d = BSON_INITIALIZER;
        append_document(h, &d);
        fold_add_hour(f, &d);
        bson_destroy(&d);
    }
    assert_int_equal(fold_append_day(f, &day, NULL), GW_OK);
    assert_false(bson_has_field(&day, "byHour"));
    size_t len = day.len;
    bson_destroy(&day);
    return len;
}

static void forty_thousand_owners_an_hour_fit_where_one_document_would_not_do(void **state)
{
    (void)state;
    gw_auto(rollup) together = rollup_new();
    gw_auto(rollup) apart = rollup_new();
    add_owners(together, SUMS_FORMAT_FIRST);
    add_owners(apart, SUMS_FORMAT);
    assert_true(largest_hour(together) > DOCUMENT_BYTES_MAX);
    assert_true(largest_hour(apart) < DOCUMENT_BYTES_MAX / 32);
    assert_true(day_of_part(apart, "*00") < DOCUMENT_BYTES_MAX / 32);
    assert_int_equal(rollup_count(apart), rollup_count(together) + OWNER_PARTS);
}

/* Stored documents depend on it. */
static void a_name_has_the_same_part_for_ever(void **state)
{
    static const struct {
        const char *name, *part;
    } names[] = {{"app.one", "*28"}, {"b00300000000000000000000", "*61"}, {"123456789", "*03"}};
    (void)state;
    for (size_t i = 0; i < GW_ARRAY_LEN(names); i++) {
        char part[OWNER_SUBJECT_SIZE];
        owner_part_of(gw_str_of(names[i].name), part);
        assert_string_equal(part, names[i].part);
        assert_int_equal(rollup_kind_of(gw_str_of(part)), ROLLUP_OWNERS);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(forty_thousand_owners_an_hour_fit_where_one_document_would_not_do),
        cmocka_unit_test(a_name_has_the_same_part_for_ever),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
