#include "rating.h"

#include "core/id.h"

#include "testing/cmocka.h"

#define BOOKS_MAX  4
#define PRICES_MAX 4

typedef Apirelay__Relay__V1__PriceBook book_message;
typedef Apirelay__Relay__V1__ModelPrice price_message;
typedef Apirelay__Usage__V1__RateUsageResponse rate_response;

typedef struct book {
    book_message message;
    Google__Protobuf__Timestamp from;
    price_message prices[PRICES_MAX], *list[PRICES_MAX];
} book;

typedef struct fixture {
    gw_arena *arena;
    book books[BOOKS_MAX];
    book_message *list[BOOKS_MAX];
    size_t count;
    rating *rating;
    rate_response reply;
} fixture;

static int set_up(void **state)
{
    static fixture f;

    f = (fixture){.arena = gw_arena_new()};
    *state = &f;
    return f.arena ? 0 : -1;
}

static int tear_down(void **state)
{
    fixture *f = *state;

    rating_free(f->rating);
    gw_arena_free(f->arena);
    return 0;
}

/* In force from that second on. */
static book *add_book(fixture *f, int64_t from_s)
{
    book *b = &f->books[f->count];

    apirelay__relay__v1__price_book__init(&b->message);
    google__protobuf__timestamp__init(&b->from);
    b->from.seconds = from_s;
    b->message.effective_from = &b->from;
    b->message.prices = b->list;
    f->list[f->count++] = &b->message;
    return b;
}

/* So much a prompt token, and ten times that a completion token. */
static price_message *add_price(book *b, const char *model, const char *provider, int64_t nano_usd)
{
    price_message *p = &b->prices[b->message.n_prices];

    apirelay__relay__v1__model_price__init(p);
    p->model = (char *)(uintptr_t)model;
    p->provider = (char *)(uintptr_t)provider;
    p->prompt_per_million_nano_usd = nano_usd * 1000000;
    p->completion_per_million_nano_usd = nano_usd * 10000000;
    b->list[b->message.n_prices++] = p;
    return p;
}

static void begin(fixture *f, bool by_key)
{
    f->rating = rating_new(f->arena, &(rating_options){f->list, f->count, by_key});
    assert_non_null(f->rating);
}

typedef struct row {
    int64_t at_s, prompt, completion, cost;
    const char *model, *upstream, *provider, *basis;
    int key;
    const char *usage; /* further members, beginning with a comma */
    const char *tier;
} row;

static void add_row(fixture *f, row r)
{
    gw_auto_buf json = {0};
    long long at_ms = r.at_s * 1000;
    bson_error_t e;
    gw_error err;

    gw_buf_appendf(
        &json,
        "{\"timestamp\":{\"$date\":{\"$numberLong\":\"%lld\"}},\"apiKeyId\":{\"$oid\":\"%024d\"},"
        "\"provider\":\"%s\",\"upstreamModel\":\"%s\",\"request\":{\"model\":\"%s\"},"
        "\"billingBasis\":\"%s\",\"usage\":{\"promptTokens\":%lld,\"completionTokens\":%lld,"
        "\"totalTokens\":%lld,\"costNanoUsd\":%lld%s},\"serviceTier\":\"%s\"}",
        at_ms, r.key, r.provider ? r.provider : "p", r.upstream ? r.upstream : r.model, r.model,
        r.basis ? r.basis : "reported", (long long)r.prompt, (long long)r.completion,
        (long long)r.prompt + (long long)r.completion, (long long)r.cost, r.usage ? r.usage : "",
        r.tier ? r.tier : "");
    bson_t *doc = bson_new_from_json((const uint8_t *)json.data, (ssize_t)json.len, &e);
    assert_non_null(doc);
    gw_status rc = rating_add(f->rating, doc, &err);
    bson_destroy(doc);
    assert_int_equal(rc, GW_OK);
}

static const Apirelay__Relay__V1__RatedFigures *totals(fixture *f)
{
    gw_error err;

    apirelay__usage__v1__rate_usage_response__init(&f->reply);
    assert_int_equal(rating_reply(f->rating, &f->reply, &err), GW_OK);
    return f->reply.totals;
}

static void a_row_is_priced_by_the_book_of_its_time(void **state)
{
    fixture *f = *state;

    add_price(add_book(f, 200), "m", "", 3); /* in any order */
    add_price(add_book(f, 100), "m", "", 2);
    begin(f, false);
    add_row(f, (row){.at_s = 99, .prompt = 10, .cost = 7, .model = "m"});
    add_row(f, (row){.at_s = 100, .prompt = 10, .cost = 20, .model = "m"});
    add_row(f, (row){.at_s = 200, .prompt = 10, .completion = 1, .cost = 22, .model = "m"});
    const Apirelay__Relay__V1__RatedFigures *t = totals(f);
    assert_int_equal(t->requests, 3);
    assert_int_equal(t->cost_nano_usd, 49);
    assert_int_equal(t->rated_nano_usd, 0 + 20 + 60);
    assert_int_equal(t->difference_nano_usd, 31);
    assert_int_equal(t->changed, 2);
    assert_int_equal(t->unpriced, 1);
}

static void a_row_is_priced_as_the_relay_prices_requests(void **state)
{
    fixture *f = *state;
    book *b = add_book(f, 0);
    price_message *p = add_price(b, "real", "p", 2);

    p->cached_prompt_per_million_nano_usd_presence_case =
        APIRELAY__RELAY__V1__MODEL_PRICE__CACHED_PROMPT_PER_MILLION_NANO_USD_PRESENCE_CACHED_PROMPT_PER_MILLION_NANO_USD;
    p->cached_prompt_per_million_nano_usd = 1000000;
    p->cache_write_per_million_nano_usd_presence_case =
        APIRELAY__RELAY__V1__MODEL_PRICE__CACHE_WRITE_PER_MILLION_NANO_USD_PRESENCE_CACHE_WRITE_PER_MILLION_NANO_USD;
    p->cache_write_per_million_nano_usd = 5000000;
    p->long_cache_write_per_million_nano_usd_presence_case =
        APIRELAY__RELAY__V1__MODEL_PRICE__LONG_CACHE_WRITE_PER_MILLION_NANO_USD_PRESENCE_LONG_CACHE_WRITE_PER_MILLION_NANO_USD;
    p->long_cache_write_per_million_nano_usd = 7000000;
    p->image_nano_usd = 1000;
    p->request_nano_usd = 10000;
    add_price(b, "alias", "", 1);
    begin(f, false);
    add_row(f, (row){.prompt = 10,
                     .completion = 2,
                     .model = "alias",
                     .upstream = "real",
                     .usage = ",\"cachedTokens\":4,\"cacheWriteTokens\":3,\"longCacheWriteTokens\":"
                              "2,\"images\":2"});
    add_row(f, (row){.prompt = 10, .model = "alias", .upstream = "real", .provider = "other"});
    assert_int_equal(totals(f)->rated_nano_usd,
                     (3 * 2 + 4 + 5 + 2 * 7 + 2 * 20 + 2000 + 10000) + 10);
}

static void a_row_is_priced_by_the_tier_it_was_billed_by(void **state)
{
    fixture *f = *state;
    price_message *p = add_price(add_book(f, 0), "m", "", 1);
    Apirelay__Relay__V1__TierPrice tier = APIRELAY__RELAY__V1__TIER_PRICE__INIT;
    Apirelay__Relay__V1__TierPrice *list[] = {&tier};

    tier.tier = (char *)(uintptr_t) "priority";
    tier.prompt_per_million_nano_usd = 3000000;
    p->tiers = list;
    p->n_tiers = 1;
    begin(f, false);
    add_row(f, (row){.prompt = 10, .cost = 10, .model = "m"});
    add_row(f, (row){.prompt = 10, .cost = 30, .model = "m", .tier = "priority"});
    /* Nobody asked for it, and the model's price stood in. */
    add_row(f, (row){.prompt = 10, .cost = 10, .model = "m", .tier = "scale"});
    const Apirelay__Relay__V1__RatedFigures *t = totals(f);
    assert_int_equal(t->rated_nano_usd, 10 + 30 + 10);
    assert_int_equal(t->changed, 0);
    assert_int_equal(t->unpriced, 0);
    add_row(f, (row){.prompt = 10, .basis = "unpriced", .model = "m", .tier = "scale"});
    add_row(f, (row){.prompt = 10, .basis = "unpriced", .model = "m", .tier = "priority"});
    assert_int_equal(t->unpriced, 1);
    assert_int_equal(t->rated_nano_usd, 50 + 30);
}

static void a_row_is_priced_by_the_length_of_its_prompt(void **state)
{
    fixture *f = *state;
    price_message *p = add_price(add_book(f, 0), "m", "", 1);
    Apirelay__Relay__V1__LongPromptPrice more = APIRELAY__RELAY__V1__LONG_PROMPT_PRICE__INIT;
    Apirelay__Relay__V1__LongPromptPrice *list[] = {&more};

    more.above_prompt_tokens = 10;
    more.prompt_per_million_nano_usd = 3000000;
    p->long_prompts = list;
    p->n_long_prompts = 1;
    begin(f, false);
    add_row(f, (row){.prompt = 10, .model = "m"});
    add_row(f, (row){.prompt = 11, .model = "m"});
    assert_int_equal(totals(f)->rated_nano_usd, 10 + 33);
}

static void rows_without_tokens_are_left_out(void **state)
{
    fixture *f = *state;

    add_price(add_book(f, 0), "m", "", 2)->request_nano_usd = 99;
    begin(f, false);
    add_row(f, (row){.model = "m"});
    add_row(f, (row){.model = "m", .basis = "unpriced", .prompt = 1});
    const Apirelay__Relay__V1__RatedFigures *t = totals(f);
    assert_int_equal(t->requests, 1);
    assert_int_equal(t->formerly_unpriced, 1);
    assert_int_equal(t->rated_nano_usd, 101);
}

static void groups_are_by_model_and_provider_the_largest_difference_first(void **state)
{
    fixture *f = *state;

    add_price(add_book(f, 0), "*", "", 1);
    begin(f, false);
    add_row(f, (row){.prompt = 10, .cost = 10, .model = "as-it-was"});
    add_row(f, (row){.prompt = 10, .cost = 12, .model = "dearer", .key = 1});
    add_row(f, (row){.prompt = 10, .cost = 90, .model = "cheaper", .provider = "q"});
    add_row(f, (row){.prompt = 10, .cost = 12, .model = "dearer", .key = 2});
    totals(f);
    assert_int_equal(f->reply.n_groups, 3);
    assert_string_equal(f->reply.groups[0]->model, "cheaper");
    assert_string_equal(f->reply.groups[0]->provider, "q");
    assert_int_equal(f->reply.groups[0]->figures->difference_nano_usd, -80);
    assert_string_equal(f->reply.groups[1]->model, "dearer");
    assert_int_equal(f->reply.groups[1]->figures->requests, 2);
    assert_string_equal(f->reply.groups[1]->api_key_id, "");
}

static void groups_may_be_by_key_too(void **state)
{
    fixture *f = *state;

    begin(f, true);
    add_row(f, (row){.prompt = 10, .cost = 3, .model = "m", .key = 7});
    add_row(f, (row){.prompt = 10, .cost = 2, .model = "m", .key = 8});
    totals(f);
    assert_int_equal(f->reply.n_groups, 2);
    assert_string_equal(f->reply.groups[0]->api_key_id, "000000000000000000000007");
    assert_int_equal(f->reply.groups[0]->figures->difference_nano_usd, -3); /* no book at all */
}

static void the_answer_is_bounded_and_loses_nothing(void **state)
{
    fixture *f = *state;
    char model[16];
    int64_t sum = 0;
    const int many = RATING_GROUPS_ROOM + 50;

    begin(f, false);
    for (int i = 0; i < many; i++) {
        (void)snprintf(model, sizeof(model), "m%d", i);
        add_row(f, (row){.prompt = 1, .cost = i, .model = model});
    }
    const Apirelay__Relay__V1__RatedFigures *t = totals(f);
    assert_int_equal(f->reply.n_groups, RATING_GROUPS_MAX + 1);
    assert_string_equal(f->reply.groups[RATING_GROUPS_MAX]->model, "");
    for (size_t i = 0; i < f->reply.n_groups; i++)
        sum += f->reply.groups[i]->figures->requests;
    assert_int_equal(sum, many);
    assert_int_equal(t->requests, many);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_row_is_priced_by_the_book_of_its_time),
        TEST(a_row_is_priced_as_the_relay_prices_requests),
        TEST(a_row_is_priced_by_the_tier_it_was_billed_by),
        TEST(a_row_is_priced_by_the_length_of_its_prompt),
        TEST(rows_without_tokens_are_left_out),
        TEST(groups_are_by_model_and_provider_the_largest_difference_first),
        TEST(groups_may_be_by_key_too),
        TEST(the_answer_is_bounded_and_loses_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
