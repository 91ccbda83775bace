/* Lists of users' agents while time passes and answers fail; LibreChat is what the test says. */
#include "user_catalog.h"

#include "access/key_secret.h"
#include "testing/cmocka.h"
#include "testing/failing_alloc.h"
#include "testing/fake_clock.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define QUESTIONS_MAX 1200
#define TWO           "{\"data\":[{\"id\":\"agent_a\"},{\"id\":\"agent_b\"}]}"
#define ONE           "{\"data\":[{\"id\":\"agent_c\"}]}"

struct gw_http_call {
    char authorization[80], target[64];
    const gw_http_call_ops *ops;
    void *arg;
    bool is_under_way, is_cancelled;
};

static struct gw_http_call asked[QUESTIONS_MAX];
static size_t asked_count, config_refs;
static bool is_out_of_reach;

/* In the place of the real client, which is not linked. */
gw_status gw_http_send(gw_http_client *client, const gw_http_request *r,
                       const gw_http_call_ops *ops, void *arg, gw_http_call **ret, gw_error *err)
{
    struct gw_http_call *c = &asked[asked_count];
    gw_str shown = gw_headers_get((gw_headers){.items = r->headers, .count = r->header_count},
                                  "authorization");

    (void)client;
    if (is_out_of_reach)
        return gw_fail(err, GW_ERR_NO_MEMORY, "no memory");
    assert_true(++asked_count < QUESTIONS_MAX);
    *c = (struct gw_http_call){.ops = ops, .arg = arg, .is_under_way = true};
    memcpy(c->target, r->target.ptr, GW_MIN(r->target.len, sizeof(c->target) - 1));
    memcpy(c->authorization, shown.ptr, GW_MIN(shown.len, sizeof(c->authorization) - 1));
    *ret = c;
    return GW_OK;
}

void gw_http_cancel(gw_http_call *c)
{
    c->is_cancelled = true;
}

/* The same for configurations: the test's own. */
relay_config *relay_config_ref(const relay_config *c)
{
    config_refs++;
    return (relay_config *)(uintptr_t)c;
}

void relay_config_unref(relay_config *c)
{
    config_refs -= c != NULL;
}

static void answer(size_t i, int status, const char *json)
{
    struct gw_http_call *c = &asked[i];
    gw_error err;

    assert_true(c->is_under_way);
    c->is_under_way = false;
    c->ops->on_head(c, status, (gw_headers){0}, c->arg);
    c->ops->on_body(c, gw_str_of(json), c->arg);
    if (c->is_cancelled)
        (void)gw_fail(&err, GW_ERR_CANCELLED, "cancelled");
    c->ops->on_done(c, c->is_cancelled ? GW_ERR_CANCELLED : GW_OK, &err, c->arg);
}

static gw_fake_clock now;
static gw_clock fake;
static gw_loop *loop;
static user_catalog *catalog;
static gw_master_keys *keys;
static gw_arena *arena;
static provider_config provider = {
    .name = {"chat", 4}, .kind = PROVIDER_LIBRECHAT, .base_path = {"/api/agents/v1", 14}};
static relay_config config = {.providers = &provider, .provider_count = 1};

/* A key whose user has this LibreChat key. */
typedef struct user {
    Apirelay__Auth__V1__KeyPolicy message;
    key_policy policy;
    gw_buf sealed;
    user_list_wait wait;
    provider_models said;
    size_t told;
} user;

static void on_told(void *arg)
{
    ((user *)arg)->told++;
}

static void be(user *u, const char *key_id, const char *librechat_key)
{
    const gw_str id = GW_STR("0123456789abcdef01234567");

    *u = (user){.policy = {.key_id = gw_str_of(key_id), .api_key_id = id, .generation = 7}};
    apirelay__auth__v1__key_policy__init(&u->message);
    u->policy.message = &u->message;
    u->policy.librechat_origin = GW_STR("http://chat.example");
    assert_int_equal(gw_key_secret_seal(keys, id, GW_KEY_SECRET_LIBRECHAT, gw_str_of(librechat_key),
                                        &u->sealed, NULL),
                     GW_OK);
    u->message.librechat_key_sealed =
        (ProtobufCBinaryData){.len = u->sealed.len, .data = (uint8_t *)u->sealed.data};
    u->wait = (user_list_wait){.done = on_told, .arg = u};
}

static void be_gone(user *u)
{
    gw_buf_fini(&u->sealed);
}

static user_list_state find(user *u)
{
    const user_question q = {&u->policy, keys, &config, &provider, GW_STR("")};

    return user_catalog_find(catalog, &q, arena, &u->said, &u->wait);
}

static void assert_known(user *u, size_t count, const char *first)
{
    assert_int_equal(find(u), USER_LIST_KNOWN);
    assert_int_equal(u->said.count, count);
    assert_true(gw_str_eq_c(u->said.provider, "chat"));
    assert_true(gw_str_eq_c(u->said.ids[0], first));
}

static void pass_time(int64_t ms)
{
    gw_fake_clock_advance_ms(&now, ms);
    uv_run(gw_loop_uv(loop), UV_RUN_NOWAIT);
}

static int setup(void **state)
{
    char path[] = "/tmp/user_catalog_XXXXXX";
    const gw_str text = GW_STR("k1 AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=\n");
    gw_error err;
    int fd = mkstemp(path);

    (void)state;
    bool ok = write(fd, text.ptr, text.len) == (ssize_t)text.len &&
              gw_master_keys_load(path, &keys, &err) == GW_OK;
    close(fd);
    unlink(path);
    asked_count = config_refs = 0;
    is_out_of_reach = false;
    fake = gw_fake_clock_init(&now, 1764000000000);
    arena = gw_arena_new();
    return ok && arena && gw_loop_new(&fake, &loop, &err) == GW_OK &&
                   user_catalog_new(loop, NULL, NULL, &catalog, &err) == GW_OK
               ? 0
               : -1;
}

static int teardown(void **state)
{
    (void)state;
    user_catalog_free(catalog);
    gw_loop_free(loop);
    gw_master_keys_free(keys);
    gw_arena_free(arena);
    return config_refs == 0 ? 0 : -1;
}

static void each_user_is_told_what_his_own_key_is(void **state)
{
    user anna, bert;

    (void)state;
    be(&anna, "anna", "sk-anna");
    be(&bert, "bert", "sk-bert");
    assert_int_equal(find(&anna), USER_LIST_ASKED);
    assert_int_equal(find(&bert), USER_LIST_ASKED);
    assert_string_equal(asked[0].authorization, "Bearer sk-anna");
    assert_string_equal(asked[1].authorization, "Bearer sk-bert");
    assert_string_equal(asked[0].target, "/api/agents/v1/models");
    answer(1, 200, ONE);
    assert_int_equal(bert.told, 1);
    assert_int_equal(anna.told, 0);
    answer(0, 200, TWO);
    assert_int_equal(anna.told, 1);
    assert_known(&anna, 2, "agent_a");
    assert_known(&bert, 1, "agent_c");
    assert_int_equal(asked_count, 2);
    anna.policy.generation++; /* it was changed: its LibreChat key may be another one's */
    assert_int_equal(find(&anna), USER_LIST_ASKED);
    user_catalog_leave(&anna.wait);
    answer(2, 200, ONE);
    assert_int_equal(anna.told, 1);
    be_gone(&anna);
    be_gone(&bert);
}

static void a_list_is_fresh_for_a_minute_and_told_once_more_while_it_is_asked_for(void **state)
{
    user anna;

    (void)state;
    be(&anna, "anna", "sk-anna");
    assert_int_equal(find(&anna), USER_LIST_ASKED);
    answer(0, 200, TWO);
    pass_time(59999);
    assert_known(&anna, 2, "agent_a");
    assert_int_equal(asked_count, 1);
    pass_time(1);
    assert_known(&anna, 2, "agent_a");
    assert_known(&anna, 2, "agent_a");
    assert_int_equal(asked_count, 2);
    answer(1, 200, ONE);
    assert_known(&anna, 1, "agent_c");
    be_gone(&anna);
}

static void an_answer_that_fails_leaves_what_was_known_and_is_not_asked_for_at_once(void **state)
{
    static const struct {
        int status;
        const char *json;
    } bad[] = {{401, "{}"}, {200, "<html>"}, {200, "{\"data\":1}"}, {503, TWO}};
    user anna;

    (void)state;
    be(&anna, "anna", "sk-anna");
    assert_int_equal(find(&anna), USER_LIST_ASKED);
    answer(0, 200, TWO);
    pass_time(60000);
    for (size_t i = 0; i < GW_ARRAY_LEN(bad); i++) {
        assert_known(&anna, 2, "agent_a");
        assert_int_equal(asked_count, i + 2);
        answer(i + 1, bad[i].status, bad[i].json);
        pass_time(4999);
        assert_known(&anna, 2, "agent_a");
        assert_int_equal(asked_count, i + 2);
        pass_time(1);
    }
    be_gone(&anna);
}

static void of_what_never_was_known_nothing_is_told(void **state)
{
    user anna, broken;

    (void)state;
    be(&anna, "anna", "sk-anna");
    be(&broken, "broken", "sk-broken");
    assert_int_equal(find(&anna), USER_LIST_ASKED);
    answer(0, 401, "{}");
    assert_int_equal(anna.told, 1);
    assert_int_equal(find(&anna), USER_LIST_UNKNOWN);
    pass_time(5000);
    assert_int_equal(find(&anna), USER_LIST_ASKED);
    answer(1, 200, TWO);
    assert_known(&anna, 2, "agent_a");
    broken.sealed.data[broken.sealed.len - 1] ^= 1;
    assert_int_equal(find(&broken), USER_LIST_UNKNOWN);
    assert_int_equal(asked_count, 2);
    is_out_of_reach = true;
    pass_time(5000);
    assert_int_equal(find(&broken), USER_LIST_UNKNOWN);
    assert_int_equal(user_catalog_find(NULL, NULL, arena, NULL, NULL), USER_LIST_UNKNOWN);
    be_gone(&anna);
    be_gone(&broken);
}

static void who_wants_the_same_list_waits_for_the_same_answer(void **state)
{
    user anna, twin, left;

    (void)state;
    be(&anna, "anna", "sk-anna");
    be(&twin, "anna", "sk-anna");
    be(&left, "anna", "sk-anna");
    assert_int_equal(find(&anna), USER_LIST_ASKED);
    assert_int_equal(find(&twin), USER_LIST_ASKED);
    assert_int_equal(find(&left), USER_LIST_ASKED);
    assert_int_equal(asked_count, 1);
    user_catalog_leave(&left.wait);
    answer(0, 200, TWO);
    assert_int_equal(anna.told + twin.told, 2);
    assert_int_equal(left.told, 0);
    be_gone(&anna);
    be_gone(&twin);
    be_gone(&left);
}

static void a_list_that_is_too_long_is_none(void **state)
{
    const size_t len = (size_t)2 * 1024 * 1024;
    char *long_one = malloc(len + 1);
    user anna;

    (void)state;
    assert_non_null(long_one);
    memset(long_one, ' ', len); /* white space around a good one */
    long_one[len] = '\0';
    memcpy(long_one, TWO, strlen(TWO));
    be(&anna, "anna", "sk-anna");
    assert_int_equal(find(&anna), USER_LIST_ASKED);
    answer(0, 200, long_one);
    assert_true(asked[0].is_cancelled);
    assert_int_equal(anna.told, 1);
    assert_int_equal(find(&anna), USER_LIST_UNKNOWN);
    free(long_one);
    be_gone(&anna);
}

/* Whichever allocation fails: it is asked for or not, told or not, and nothing is left behind. */
static void without_memory_nothing_is_known_and_nothing_leaks(void **state)
{
    bool has_failed = true;
    user anna;

    (void)state;
    be(&anna, "anna", "sk-anna");
    for (size_t n = 1; has_failed; n++) {
        anna.policy.generation++; /* a list of its own */
        gw_failing_alloc_arm(n);
        user_list_state asked_for = find(&anna);
        has_failed = gw_failing_alloc_disarm();
        assert_int_not_equal(asked_for, USER_LIST_KNOWN);
        if (asked_for == USER_LIST_ASKED)
            answer(asked_count - 1, 200, TWO);
    }
    has_failed = true;
    for (size_t n = 1; has_failed; n++) {
        anna.policy.generation++;
        assert_int_equal(find(&anna), USER_LIST_ASKED);
        size_t told = anna.told;
        gw_failing_alloc_arm(n);
        answer(asked_count - 1, 200, TWO);
        has_failed = gw_failing_alloc_disarm();
        assert_int_equal(anna.told, told + 1);
        if (find(&anna) == USER_LIST_KNOWN)
            assert_int_equal(anna.said.count, 2);
        else
            assert_true(has_failed);
    }
    be_gone(&anna);
}

/* The one that was wanted the longest ago goes; one that is being asked for stays. */
static void there_are_only_so_many_lists(void **state)
{
    user anna, waiting, many;
    char name[24];

    (void)state;
    be(&waiting, "waiting", "sk-waiting");
    be(&anna, "anna", "sk-anna");
    assert_int_equal(find(&waiting), USER_LIST_ASKED);
    assert_int_equal(find(&anna), USER_LIST_ASKED);
    answer(1, 200, TWO);
    be(&many, "many", "sk-many");
    for (int i = 0; i < USER_LISTS_MAX - 1; i++) {
        (void)snprintf(name, sizeof(name), "many-%d", i);
        many.policy.key_id = gw_str_of(name);
        assert_int_equal(find(&many), USER_LIST_ASKED);
        answer(asked_count - 1, 200, ONE);
    }
    size_t before = asked_count;
    assert_known(&many, 1, "agent_c");
    assert_int_equal(find(&anna), USER_LIST_ASKED); /* it had gone */
    assert_int_equal(asked_count, before + 1);
    answer(0, 200, TWO); /* and this one had not */
    assert_int_equal(waiting.told, 1);
    answer(before, 200, TWO);
    be_gone(&anna);
    be_gone(&waiting);
    be_gone(&many);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(each_user_is_told_what_his_own_key_is),
        TEST(a_list_is_fresh_for_a_minute_and_told_once_more_while_it_is_asked_for),
        TEST(an_answer_that_fails_leaves_what_was_known_and_is_not_asked_for_at_once),
        TEST(of_what_never_was_known_nothing_is_told),
        TEST(who_wants_the_same_list_waits_for_the_same_answer),
        TEST(a_list_that_is_too_long_is_none),
        TEST(without_memory_nothing_is_known_and_nothing_leaks),
        TEST(there_are_only_so_many_lists),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
