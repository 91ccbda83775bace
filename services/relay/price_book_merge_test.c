#include "price_book_merge.h"

#include "testing/cmocka.h"

#define PRICES_MAX 8

typedef struct book {
    price_message prices[PRICES_MAX], *items[PRICES_MAX];
    size_t count;
} book;

static void add(book *b, const char *model, const char *provider, int64_t price)
{
    price_message *p = &b->prices[b->count];
    apirelay__relay__v1__model_price__init(p);
    p->model = (char *)(uintptr_t)model;
    p->provider = (char *)(uintptr_t)provider;
    p->prompt_per_million_nano_usd = price;
    b->items[b->count++] = p;
}

/* "a=1 a@p=2 " */
static void assert_prices(price_list l, const char *expected)
{
    gw_auto_buf text = {0};
    for (size_t i = 0; i < l.count; i++)
        gw_buf_appendf(&text, "%s%s%s=%lld ", l.items[i]->model, *l.items[i]->provider ? "@" : "",
                       l.items[i]->provider, (long long)l.items[i]->prompt_per_million_nano_usd);
    assert_true(gw_str_eq_c(gw_buf_str(&text), expected));
}

static void check(bool keep, const char *expected, price_changes wanted)
{
    gw_auto(gw_arena) arena = gw_arena_new();
    book before = {0}, now = {0};
    price_list merged;
    price_changes changes;
    gw_error err;

    add(&before, "same", "", 1);
    add(&before, "dearer", "", 2);
    add(&before, "gone", "", 3);
    add(&before, "gone", "p", 4);
    add(&now, "new", "", 5);
    add(&now, "dearer", "", 6);
    add(&now, "same", "", 1);
    add(&now, "gone", "q", 7);
    assert_int_equal(price_book_merge(arena, (price_list){before.items, before.count},
                                      (price_list){now.items, now.count}, keep, &merged, &changes,
                                      &err),
                     GW_OK);
    assert_prices(merged, expected);
    assert_int_equal(changes.added, wanted.added);
    assert_int_equal(changes.changed, wanted.changed);
    assert_int_equal(changes.removed, wanted.removed);
}

static void a_whole_book_takes_the_place_of_the_one_before(void **state)
{
    (void)state;
    check(false, "new=5 dearer=6 same=1 gone@q=7 ", (price_changes){2, 1, 2});
}

static void merged_prices_take_the_place_of_their_own_kind(void **state)
{
    (void)state;
    check(true, "same=1 dearer=6 gone=3 gone@p=4 new=5 gone@q=7 ", (price_changes){2, 1, 0});
}

static void nothing_before_is_all_new(void **state)
{
    gw_auto(gw_arena) arena = gw_arena_new();
    book now = {0};
    price_list merged;
    price_changes changes;
    gw_error err;

    (void)state;
    add(&now, "a", "", 1);
    assert_int_equal(price_book_merge(arena, (price_list){0}, (price_list){now.items, 1}, true,
                                      &merged, &changes, &err),
                     GW_OK);
    assert_prices(merged, "a=1 ");
    assert_int_equal(changes.added, 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_whole_book_takes_the_place_of_the_one_before),
        cmocka_unit_test(merged_prices_take_the_place_of_their_own_kind),
        cmocka_unit_test(nothing_before_is_all_new),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
