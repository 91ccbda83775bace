#include "price_book_index.h"

#include "testing/cmocka.h"

#define VERSIONS_MAX 8

typedef struct fixture {
    price_book_index index;
    price_book_version versions[VERSIONS_MAX], *list[VERSIONS_MAX];
    Google__Protobuf__Timestamp times[VERSIONS_MAX];
} fixture;

/* Books "a", "b", … that take force at these seconds; -1: ever. */
static void make(fixture *f, const int *seconds, size_t count)
{
    static char names[VERSIONS_MAX][2] = {"a", "b", "c", "d", "e", "f", "g", "h"};

    apirelay__relay__v1__price_book_index__init(&f->index);
    for (size_t i = 0; i < count; i++) {
        apirelay__relay__v1__price_book_version__init(&f->versions[i]);
        google__protobuf__timestamp__init(&f->times[i]);
        f->times[i].seconds = seconds[i];
        f->versions[i].version = names[i];
        f->versions[i].effective_from = seconds[i] < 0 ? NULL : &f->times[i];
        f->list[i] = &f->versions[i];
    }
    f->index.versions = f->list;
    f->index.n_versions = count;
}

static const char *at(const fixture *f, int seconds)
{
    const price_book_version *v = price_book_index_at(&f->index, seconds * 1000LL);
    return v ? v->version : "none";
}

static void the_latest_start_that_has_come_is_in_force(void **state)
{
    fixture f;

    (void)state;
    make(&f, (const int[]){100, 300, 200}, 3);
    assert_string_equal(at(&f, 99), "none");
    assert_string_equal(at(&f, 100), "a");
    assert_string_equal(at(&f, 250), "c"); /* stored last, and for a time before "b"'s */
    assert_string_equal(at(&f, 300), "b");
    assert_int_equal(price_book_index_later(&f.index, 150000), 2);
}

static void of_the_same_start_the_one_stored_last_is_in_force(void **state)
{
    fixture f;

    (void)state;
    make(&f, (const int[]){-1, 100, 100}, 3);
    assert_string_equal(at(&f, 0), "a");
    assert_string_equal(at(&f, 100), "c");
}

static void a_span_has_what_was_in_force_and_what_followed(void **state)
{
    static const struct {
        int from, to;
        const char *books;
        bool starts;
    } cases[] = {
        {0, 100, "", false},     {0, 101, "a", false},     {100, 200, "a", true},
        {150, 201, "ac", true},  {150, 1000, "acb", true}, {400, 500, "b", true},
        {50, 301, "acb", false},
    };
    fixture f;
    const price_book_version *items[VERSIONS_MAX];

    (void)state;
    make(&f, (const int[]){100, 300, 200}, 3);
    for (size_t i = 0; i < GW_ARRAY_LEN(cases); i++) {
        price_book_span s = {.items = items};
        gw_auto_buf books = {0};
        price_book_index_span(&f.index, cases[i].from * 1000LL, cases[i].to * 1000LL, &s);
        for (size_t k = 0; k < s.count; k++)
            gw_buf_append_c(&books, s.items[k]->version);
        assert_true(gw_str_eq_c(gw_buf_str(&books), cases[i].books));
        assert_int_equal(s.starts, cases[i].starts);
    }
}

static void a_version_is_found_by_its_name(void **state)
{
    fixture f;

    (void)state;
    make(&f, (const int[]){100, 300}, 2);
    assert_ptr_equal(price_book_index_find(&f.index, GW_STR("b")), &f.versions[1]);
    assert_null(price_book_index_find(&f.index, GW_STR("current")));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_latest_start_that_has_come_is_in_force),
        cmocka_unit_test(of_the_same_start_the_one_stored_last_is_in_force),
        cmocka_unit_test(a_span_has_what_was_in_force_and_what_followed),
        cmocka_unit_test(a_version_is_found_by_its_name),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
