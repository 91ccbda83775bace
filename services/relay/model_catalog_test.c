/* The catalog of models while the configuration changes under its questions; providers are what the test says. */
#include "model_catalog.h"

#include "testing/cmocka.h"
#include "testing/fake_clock.h"

#define QUESTIONS_MAX 32

struct gw_http_call {
    gw_str host;
    char authorization[64], target[64];
    const gw_http_call_ops *ops;
    void *arg;
    bool is_under_way, is_cancelled;
};

static struct gw_http_call asked[QUESTIONS_MAX];
static size_t asked_count;

/* In the place of the real client, which is not linked. */
gw_status gw_http_send(gw_http_client *client, const gw_http_request *r,
                       const gw_http_call_ops *ops, void *arg, gw_http_call **ret, gw_error *err)
{
    struct gw_http_call *c = &asked[asked_count++];
    gw_str shown = gw_headers_get((gw_headers){.items = r->headers, .count = r->header_count},
                                  "authorization");

    (void)client;
    (void)err;
    assert_true(asked_count < QUESTIONS_MAX);
    assert_true(r->target.len < sizeof(c->target));
    *c = (struct gw_http_call){.host = r->url.host, .ops = ops, .arg = arg, .is_under_way = true};
    memcpy(c->target, r->target.ptr, r->target.len);
    if (shown.len > 0)
        memcpy(c->authorization, shown.ptr, shown.len);
    *ret = c;
    return GW_OK;
}

void gw_http_cancel(gw_http_call *c)
{
    c->is_cancelled = true;
}

static void answer(size_t i, int status, const char *json)
{
    struct gw_http_call *c = &asked[i];

    assert_true(c->is_under_way && !c->is_cancelled);
    c->ops->on_head(c, status, (gw_headers){0}, c->arg);
    c->ops->on_body(c, gw_str_of(json), c->arg);
    c->is_under_way = false;
    c->ops->on_done(c, GW_OK, NULL, c->arg);
}

static void end_cancelled(size_t i)
{
    struct gw_http_call *c = &asked[i];
    gw_error err;

    assert_true(c->is_under_way && c->is_cancelled);
    (void)gw_fail(&err, GW_ERR_CANCELLED, "cancelled");
    c->is_under_way = false;
    c->ops->on_done(c, GW_ERR_CANCELLED, &err, c->arg);
}

/* The same for configurations: the test's own, never freed. */
relay_config *relay_config_ref(const relay_config *c)
{
    return (relay_config *)(uintptr_t)c;
}

void relay_config_unref(relay_config *c)
{
    (void)c;
}

const model_route *relay_config_route(const relay_config *c, gw_str model)
{
    return model.len > 0 ? c->routes : NULL;
}

static gw_fake_clock now;
static gw_clock fake;
static gw_loop *loop;
static model_catalog *catalog;

typedef struct small_config {
    provider_config provider;
    route_target target;
    model_route route;
    relay_config config;
} small_config;

static void make_config(small_config *s, const char *host, const char *credential)
{
    *s =
        (small_config){.provider = {.name = GW_STR("p"),
                                    .kind = PROVIDER_LOCAL,
                                    .base_url = {.scheme = GW_STR("http"), .host = gw_str_of(host)},
                                    .base_path = GW_STR("/v1"),
                                    .credential = gw_str_of(credential)}};
    s->target = (route_target){.provider = &s->provider};
    s->route = (model_route){.pattern = GW_STR("*"), .targets = &s->target, .target_count = 1};
    s->config = (relay_config){
        .providers = &s->provider, .provider_count = 1, .routes = &s->route, .route_count = 1};
}

static void pass_time(int64_t ms)
{
    gw_fake_clock_advance_ms(&now, ms);
    uv_run(gw_loop_uv(loop), UV_RUN_NOWAIT);
}

static size_t known(void)
{
    gw_auto(gw_arena) arena = gw_arena_new();
    const provider_models *said = NULL;

    return model_catalog_said(catalog, arena, &said) > 0 ? said[0].count : 0;
}

static int setup(void **state)
{
    const model_catalog_options o = {.refresh_ms = 600000};
    gw_error err;

    (void)state;
    asked_count = 0;
    fake = gw_fake_clock_init(&now, 1764000000000);
    if (gw_loop_new(&fake, &loop, &err) != GW_OK)
        return -1;
    return model_catalog_new(loop, &o, &catalog, &err) == GW_OK ? 0 : -1;
}

static int teardown(void **state)
{
    (void)state;
    model_catalog_free(catalog);
    gw_loop_free(loop);
    return 0;
}

static void a_provider_is_asked_at_once_and_from_time_to_time(void **state)
{
    small_config c;

    (void)state;
    make_config(&c, "a", "secret");
    model_catalog_set_config(catalog, &c.config);
    pass_time(1);
    assert_int_equal(asked_count, 1);
    assert_string_equal(asked[0].authorization, "Bearer secret");
    assert_string_equal(asked[0].target, "/v1/models");
    answer(0, 200, "{\"data\":[{\"id\":\"x\"},{\"id\":\"y\"}]}");
    assert_int_equal(known(), 2);
    pass_time(599000);
    assert_int_equal(asked_count, 1);
    pass_time(2000);
    assert_int_equal(asked_count, 2);
    answer(1, 503, "");
    assert_int_equal(known(), 2); /* stale */
    pass_time(31000);
    assert_int_equal(asked_count, 3); /* sooner after a failure */
    answer(2, 200, "{\"data\":[]}");
    assert_int_equal(known(), 0);
}

static void another_credential_is_tried_at_once_and_another_place_forgets(void **state)
{
    small_config first, rotated, moved;

    (void)state;
    make_config(&first, "a", "old");
    make_config(&rotated, "a", "new");
    make_config(&moved, "b", "new");
    model_catalog_set_config(catalog, &first.config);
    pass_time(1);
    answer(0, 200, "{\"data\":[{\"id\":\"x\"}]}");
    model_catalog_set_config(catalog, &rotated.config);
    assert_int_equal(known(), 1);
    pass_time(1);
    assert_int_equal(asked_count, 2);
    assert_string_equal(asked[1].authorization, "Bearer new");
    model_catalog_set_config(catalog, &moved.config); /* while it is asked */
    assert_int_equal(known(), 0);
    end_cancelled(1);
    pass_time(1);
    assert_int_equal(asked_count, 3);
    assert_true(gw_str_eq_c(asked[2].host, "b"));
    answer(2, 200, "{\"data\":[{\"id\":\"z\"}]}");
    assert_int_equal(known(), 1);
}

static void a_provider_behind_no_glob_is_not_asked_and_one_that_leaves_is_forgotten(void **state)
{
    small_config named, globbed;

    (void)state;
    make_config(&named, "a", "");
    named.route.is_exact = true;
    model_catalog_set_config(catalog, &named.config);
    pass_time(1);
    assert_int_equal(asked_count, 0);
    make_config(&globbed, "a", "");
    model_catalog_set_config(catalog, &globbed.config);
    pass_time(1);
    assert_int_equal(asked_count, 1);
    model_catalog_set_config(catalog, &named.config); /* while it is asked */
    assert_true(asked[0].is_cancelled);
    model_catalog_set_config(catalog, &globbed.config); /* and back, before that has ended */
    end_cancelled(0);
    pass_time(1);
    assert_int_equal(asked_count, 2);
    answer(1, 200, "{\"data\":[{\"id\":\"x\"}]}");
    assert_int_equal(known(), 1);
    model_catalog_set_config(catalog, &named.config);
    assert_int_equal(known(), 0);
}

static void a_stopped_catalog_asks_nobody(void **state)
{
    small_config c;

    (void)state;
    make_config(&c, "a", "");
    model_catalog_set_config(catalog, &c.config);
    pass_time(1);
    model_catalog_stop(catalog);
    end_cancelled(0);
    pass_time(3600000);
    assert_int_equal(asked_count, 1);
}

static void the_refresh_can_be_switched_off_and_on(void **state)
{
    small_config c;

    (void)state;
    make_config(&c, "a", "");
    model_catalog_set_refresh(catalog, 0);
    model_catalog_set_config(catalog, &c.config);
    pass_time(3600000);
    assert_int_equal(asked_count, 0);
    model_catalog_set_refresh(catalog, 1000);
    pass_time(1);
    assert_int_equal(asked_count, 1);
    answer(0, 200, "{\"data\":[]}");
}

static void begin_with_pages(small_config *c)
{
    make_config(c, "a", "secret");
    c->provider.kind = PROVIDER_ANTHROPIC;
    model_catalog_set_config(catalog, &c->config);
    pass_time(1);
}

static void the_pages_of_a_list_are_followed(void **state)
{
    small_config c;

    (void)state;
    begin_with_pages(&c);
    assert_string_equal(asked[0].target, "/v1/models?limit=1000");
    answer(0, 200,
           "{\"data\":[{\"id\":\"x\"},{\"id\":\"y\"}],\"has_more\":true,\"last_id\":\"y\"}");
    assert_int_equal(asked_count, 2); /* at once */
    assert_string_equal(asked[1].target, "/v1/models?limit=1000&after_id=y");
    assert_string_equal(asked[1].authorization, asked[0].authorization);
    assert_int_equal(known(), 0); /* not by halves */
    answer(1, 200, "{\"data\":[{\"id\":\"z\"}],\"has_more\":false,\"last_id\":\"z\"}");
    assert_int_equal(known(), 3);
    pass_time(599000);
    assert_int_equal(asked_count, 2);
    pass_time(2000);
    assert_string_equal(asked[2].target, "/v1/models?limit=1000"); /* from the first one again */
    answer(2, 200, "{\"data\":[{\"id\":\"x\"}],\"has_more\":true,\"last_id\":\"x\"}");
    answer(3, 500, "");
    assert_int_equal(known(), 3); /* stale */
    pass_time(31000);
    assert_string_equal(asked[4].target, "/v1/models?limit=1000");
    answer(4, 200, "{\"data\":[{\"id\":\"x\"}],\"has_more\":false}");
    assert_int_equal(known(), 1);
}

static void pages_without_end_are_not_followed(void **state)
{
    small_config c;
    char json[128];

    (void)state;
    begin_with_pages(&c);
    answer(0, 200, "{\"data\":[{\"id\":\"x\"}],\"has_more\":true,\"last_id\":\"x\"}");
    answer(1, 200, "{\"data\":[{\"id\":\"x\"}],\"has_more\":true,\"last_id\":\"x\"}");
    assert_int_equal(asked_count, 2);
    assert_int_equal(known(), 0); /* a list that goes in a circle is none */
    pass_time(31000);
    for (size_t i = 2; i < asked_count; i++) {
        (void)snprintf(json, sizeof(json),
                       "{\"data\":[{\"id\":\"m%zu\"}],\"has_more\":true,\"last_id\":\"m%zu\"}", i,
                       i);
        answer(i, 200, json);
    }
    assert_int_equal(asked_count, 22);
    assert_int_equal(known(), 20);
}

static void a_change_between_two_pages_begins_anew(void **state)
{
    small_config first, rotated;

    (void)state;
    begin_with_pages(&first);
    answer(0, 200, "{\"data\":[{\"id\":\"x\"}],\"has_more\":true,\"last_id\":\"x\"}");
    make_config(&rotated, "a", "new");
    rotated.provider.kind = PROVIDER_ANTHROPIC;
    model_catalog_set_config(catalog, &rotated.config);
    end_cancelled(1);
    pass_time(1);
    assert_int_equal(asked_count, 3);
    assert_string_equal(asked[2].target, "/v1/models?limit=1000");
    answer(2, 200, "{\"data\":[{\"id\":\"y\"}],\"has_more\":false}");
    assert_int_equal(known(), 1);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_provider_is_asked_at_once_and_from_time_to_time),
        TEST(another_credential_is_tried_at_once_and_another_place_forgets),
        TEST(a_provider_behind_no_glob_is_not_asked_and_one_that_leaves_is_forgotten),
        TEST(a_stopped_catalog_asks_nobody),
        TEST(the_refresh_can_be_switched_off_and_on),
        TEST(the_pages_of_a_list_are_followed),
        TEST(pages_without_end_are_not_followed),
        TEST(a_change_between_two_pages_begins_anew),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
