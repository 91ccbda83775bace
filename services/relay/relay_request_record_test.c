/* What of a request is written down, and when: before its caller is told, and of refusals for known keys only. */
#include "relay_request_answers.h"

#include "price/price_tier.h"

static void a_forwarded_request_stands_with_the_price_of_its_prompt(void **state)
{
    kit *k = *state;

    ask(k, "good", CHAT, &(script)REPLY(200, PLAIN, JSON));
    assert_int_equal(k->opened_cost, 8);
    assert_string_equal(k->opened_basis, "estimated");
    k->config.price_count = 0;
    ask(k, "good", CHAT, &(script)REPLY(200, PLAIN, JSON));
    assert_int_equal(k->opened_cost, 0);
    assert_string_equal(k->opened_basis, "unpriced");
}

#define MEDIA                                                                                      \
    "{\"candidates\":[{\"content\":{\"parts\":[{\"inlineData\":{\"data\":\"AAAA\"}}]},"            \
    "\"finishReason\":\"STOP\"}],\"usageMetadata\":{\"promptTokenCount\":5,"                       \
    "\"candidatesTokenCount\":1290,\"totalTokenCount\":1295}}"
#define BAD_CALL(usage)                                                                            \
    "{\"candidates\":[{\"finishReason\":\"MALFORMED_FUNCTION_CALL\"}],\"usageMetadata\":{" usage   \
    "}}"
#define THOUGHT "\"promptTokenCount\":5,\"thoughtsTokenCount\":500,\"totalTokenCount\":505"

/* Or who asks a model for what cannot be handed on would have it made for nothing, and once more for each further attempt. */
static void an_answer_that_was_made_and_cannot_be_handed_on_is_billed(void **state)
{
    static const struct {
        const char *name, *body;
        script script;
        int64_t completion_tokens; /* 0: nothing is billed */
    } cases[] = {
        {"media", CHAT, REPLY(200, PLAIN, MEDIA), 1290},
        {"media, streamed", STREAM, REPLY(200, SSE, "data: " MEDIA "\n\n"), 1290},
        {"a call", CHAT, REPLY(200, PLAIN, BAD_CALL(THOUGHT)), 500},
        {"a call, streamed", STREAM, REPLY(200, SSE, "data: " BAD_CALL(THOUGHT) "\n\n"), 500},
        {"nothing was made", CHAT, REPLY(200, PLAIN, BAD_CALL("\"promptTokenCount\":5")), 0},
    };
    kit *k = *state;

    k->provider.kind = PROVIDER_GOOGLE;
    k->target.max_retries = 1;
    for (size_t i = 0; i < GW_ARRAY_LEN(cases); i++) {
        k->asked = 0;
        ask(k, "good", cases[i].body, &cases[i].script);
        usage_event *e = only_event(k);
        bool is_billed = cases[i].completion_tokens > 0;
        if (k->answer.status != 502 || strcmp(e->outcome, "failed") != 0 ||
            strcmp(e->billing_basis, is_billed ? "reported" : "unpriced") != 0 ||
            e->completion_tokens != cases[i].completion_tokens ||
            (e->cost_nano_usd > 0) != is_billed || k->asked != (is_billed ? 1 : 2))
            fail_msg("%s: %d %s %s %lld tokens, asked %zu times", cases[i].name, k->answer.status,
                     e->outcome, e->billing_basis, (long long)e->completion_tokens, k->asked);
        forget_events(k);
        run_until_idle(k);
    }
}

#define IN_TIER(name) "{\"model\":\"gpt-4o\",\"service_tier\":\"" name "\",\"messages\":[]}"

/* What a crash leaves of it is re-rated by the tier. */
static void a_forwarded_request_stands_with_the_tier_that_it_asks_for(void **state)
{
    kit *k = *state;
    price_tier tiers[] = {{.name = GW_STR("priority"), .price = k->price}};

    tiers[0].price.prompt_per_million_nano_usd *= 2;
    k->price.tiers = tiers;
    k->price.tier_count = 1;
    ask(k, "good", IN_TIER("priority"), &(script)REPLY(200, PLAIN, JSON));
    assert_string_equal(k->opened_tier, "priority");
    assert_string_equal(k->events[0]->service_tier, "priority");
    ask(k, "good", IN_TIER("default"), &(script)REPLY(200, PLAIN, JSON));
    assert_string_equal(k->opened_tier, "");
}

/* A provider that takes any name does not let callers make up as many keys of the sums as they like. */
static void a_made_up_name_that_is_one_too_many_counts_under_its_route(void **state)
{
    kit *k = *state;
    int64_t now_ms = gw_clock_wall_ms(k->core.clock);
    char name[32];

    for (int i = 0, len = 0; len >= 0; i++) {
        len = snprintf(name, sizeof(name), "gpt-made-up-%d", i);
        if (!counted_models_take(k->core.counted, k->config.routes, gw_str_n(name, (size_t)len),
                                 now_ms))
            break;
    }
    ask(k, "good", CHAT, &(script)REPLY(200, PLAIN, JSON));
    usage_event *e = only_event(k);
    assert_string_equal(e->outcome, "complete");
    assert_string_equal(e->model, "gpt-4o");
    assert_string_equal(e->route, "gpt-*");
    assert_false(e->upstream_accepted);
}

/* A caller that looks, whenever it is given something, whether that stands in the slot already. */
typedef struct watcher {
    relay_sink sink;
    relay_request *request;
    int64_t contents;
    bool was_ahead;
} watcher;

static void watcher_read_body(relay_sink *s, size_t max_bytes)
{
    watcher *w = GW_CONTAINER_OF(s, watcher, sink);

    (void)max_bytes;
    relay_request_body_arrived(w->request, GW_STR(STREAM));
}

static void watcher_start(relay_sink *s, const relay_answer *a)
{
    watcher *w = GW_CONTAINER_OF(s, watcher, sink);

    w->was_ahead |= the_kit->noted_status != a->status;
}

static void watcher_event(relay_sink *s, const answer_event *e)
{
    watcher *w = GW_CONTAINER_OF(s, watcher, sink);

    w->contents += gw_str_contains(e->raw, GW_STR("hello"));
    w->was_ahead |= the_kit->noted_tokens < w->contents;
}

static void watcher_finish(relay_sink *s, gw_str done_raw, const relay_bill *bill)
{
    (void)s;
    (void)done_raw;
    (void)bill;
}

static bool watcher_is_congested(const relay_sink *s)
{
    (void)s;
    return false;
}

static void watcher_released(relay_sink *s)
{
    (void)s;
}

static const relay_sink_ops watcher_ops = {.read_body = watcher_read_body,
                                           .start = watcher_start,
                                           .event = watcher_event,
                                           .finish = watcher_finish,
                                           .is_congested = watcher_is_congested,
                                           .released = watcher_released};

static void what_a_caller_gets_is_noted_before(void **state)
{
    kit *k = *state;
    watcher w = {.sink = {.ops = &watcher_ops}};
    gw_header key = {GW_STR("authorization"), GW_STR("Bearer good")};
    relay_call call = {.endpoint = ENDPOINT_CHAT,
                       .method = GW_STR("POST"),
                       .path = GW_STR("/v1/chat/completions"),
                       .headers = {.items = &key, .count = 1},
                       .deadline_ms = INT64_MAX};

    k->script = &(script)REPLY(200, SSE, ROLE, SAID, SAID, SAID, ENDED, DONE);
    assert_true(relay_request_start(&k->core, &call, &w.sink, &w.request));
    run_until_idle(k);
    assert_string_equal(only_event(k)->outcome, "complete");
    assert_int_equal(w.contents, 3);
    assert_false(w.was_ahead);
}

static void refusals_are_recorded_for_known_keys_only(void **state)
{
    static const struct {
        const char *method, *target, *key, *body;
        int status;
        const char *code;
        size_t events;
    } cases[] = {
        {"POST", "/v1/chat/completions", "bad", CHAT, 401, "invalid_api_key", 0},
        {"POST", "/v1/chat/completions", NULL, CHAT, 401, "invalid_api_key", 0},
        {"POST", "/v1/nothing", "good", CHAT, 404, "not_found", 0},
        {"GET", "/v1/chat/completions", "good", NULL, 405, "method_not_allowed", 0},
        {"POST", "/v1/chat/completions", "good", "{", 400, "invalid_json", 1},
        {"POST", "/v1/chat/completions", "good", "{\"model\":\"nope\",\"messages\":[]}", 404,
         "model_not_found", 1},
        {"POST", "/v1/chat/completions", "good", "{\"model\":\"gpt-4o\"}", 400,
         "missing_required_parameter", 1},
        {"GET", "/v1/models/nope", "good", NULL, 404, "model_not_found", 1},
        {"GET", "/v1/usage?nonsense=1", "good", NULL, 400, "invalid_value", 1},
    };
    kit *k = *state;

    for (size_t i = 0; i < GW_ARRAY_LEN(cases); i++) {
        gw_auto_buf code = {0};
        send_call(k, cases[i].method, cases[i].target, cases[i].key, cases[i].body);
        run(k);
        gw_buf_appendf(&code, "\"code\":\"%s\"", cases[i].code);
        if (k->answer.status != cases[i].status || !says(&k->answer.body, code.data) ||
            k->event_count != cases[i].events || k->upstream_asked)
            fail_msg("%s %s: %d %s", cases[i].method, cases[i].target, k->answer.status,
                     k->answer.body.data);
        assert_true(says(&k->answer.head, "x-request-id: req_"));
        if (k->event_count == 1) {
            assert_string_equal(k->events[0]->outcome, "refused");
            assert_string_equal(k->events[0]->error, cases[i].code);
        }
        forget_events(k);
    }
}

static void what_is_too_long_or_no_text_is_cut_and_the_event_says_so(void **state)
{
    kit *k = *state;
    gw_auto_buf long_model = {0};

    ask(k, "good", "{\"model\":\"gpt-4o\",\"messages\":[],\"user\":\"a\\u0001b\"}",
        &(script)REPLY(200, PLAIN, JSON));
    assert_int_equal(k->answer.status, 200);
    assert_string_equal(only_event(k)->end_user, "");
    assert_true(k->events[0]->truncated);
    forget_events(k);
    run_until_idle(k);

    gw_buf_append_str(&long_model, GW_STR("{\"messages\":[],\"model\":\""));
    for (int i = 0; i < 20000; i++)
        gw_buf_append_str(&long_model, GW_STR("\xc3\xa9")); /* é */
    gw_buf_append_str(&long_model, GW_STR("\"}"));
    send_call(k, "POST", "/v1/chat/completions", "good", long_model.data);
    run(k);
    assert_int_equal(k->answer.status, 404);
    assert_int_equal(strlen(only_event(k)->model), 200);
    assert_true(k->events[0]->truncated);
    forget_events(k);

    send_call(k, "POST", "/v1/chat/completions", "good", "{\"model\":\"nope\",\"messages\":[]}");
    run(k);
    assert_false(only_event(k)->truncated);
}

static void a_refusal_that_an_open_row_counts_makes_no_event(void **state)
{
    kit *k = *state;

    k->has_open_row = true;
    send_call(k, "POST", "/v1/chat/completions", "good", "{");
    run(k);
    assert_int_equal(k->answer.status, 400);
    assert_int_equal(k->event_count, 0);
    assert_int_equal(k->repeats, 1);
    k->has_open_row = false;
}

/* What cannot be recorded: at the spool's bound, or with the flight table used up. */
static void what_cannot_be_recorded_is_refused_or_served_and_dropped_by_the_setting(void **state)
{
    static const struct {
        bool full, no_slot, degrades, limited;
        int status;
    } cases[] = {
        {true, false, false, false, 503}, {false, true, false, false, 503},
        {true, false, true, false, 200},  {false, true, true, false, 200},
        {true, false, true, true, 503},   {false, true, true, true, 503},
    };
    kit *k = *state;

    for (size_t i = 0; i < GW_ARRAY_LEN(cases); i++) {
        bool served = cases[i].status == 200;
        size_t dropped = k->dropped[RECORDER_DROP_DEGRADED];
        k->spool_is_full = cases[i].full;
        k->has_no_slot = cases[i].no_slot;
        k->core.degrades = cases[i].degrades;
        k->policy->ledger_count = cases[i].limited;
        ask(k, "good", CHAT, &(script)REPLY(200, PLAIN, JSON));
        assert_int_equal(k->answer.status, cases[i].status);
        assert_int_equal(k->event_count, served ? 0 : 1);
        assert_int_equal(k->dropped[RECORDER_DROP_DEGRADED], dropped + served);
        if (!served) {
            assert_string_equal(k->events[0]->error, "spool_busy");
            assert_true(says(&k->answer.body, "spool_busy"));
        }
        forget_events(k);
        run_until_idle(k);
    }
    k->policy->ledger_count = 0;
    assert_int_equal(k->opened, 0);
}

#define WITH(test) cmocka_unit_test_setup_teardown(test, kit_setup, kit_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        WITH(a_forwarded_request_stands_with_the_price_of_its_prompt),
        WITH(a_forwarded_request_stands_with_the_tier_that_it_asks_for),
        WITH(an_answer_that_was_made_and_cannot_be_handed_on_is_billed),
        WITH(a_made_up_name_that_is_one_too_many_counts_under_its_route),
        WITH(what_a_caller_gets_is_noted_before),
        WITH(refusals_are_recorded_for_known_keys_only),
        WITH(what_is_too_long_or_no_text_is_cut_and_the_event_says_so),
        WITH(a_refusal_that_an_open_row_counts_makes_no_event),
        WITH(what_cannot_be_recorded_is_refused_or_served_and_dropped_by_the_setting),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
