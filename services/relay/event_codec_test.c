#include "event_pack.h"

#include "testing/cmocka.h"

#include <stdlib.h>

static usage_event *unpack(const uint8_t *bytes, size_t len)
{
    usage_event *e = apirelay__usage__v1__usage_event__unpack(NULL, len, bytes);
    assert_non_null(e);
    return e;
}

static char *long_text(size_t len)
{
    char *text = malloc(len + 1);
    assert_non_null(text);
    memset(text, 'x', len);
    text[len] = '\0';
    return text;
}

static void a_usual_event_is_packed_whole(void **state)
{
    (void)state;
    char model[] = "gpt-4o", agent[] = "OpenAI/Python 2.0";
    usage_event e = APIRELAY__USAGE__V1__USAGE_EVENT__INIT;
    e.model = model;
    e.user_agent = agent;
    e.cost_nano_usd = 12345;
    uint8_t out[EVENT_MAX_BYTES];
    size_t len = event_pack(&e, out, sizeof(out));
    usage_event *back = unpack(out, len);
    assert_string_equal(back->user_agent, agent);
    assert_int_equal(back->cost_nano_usd, 12345);
    assert_false(back->truncated);
    apirelay__usage__v1__usage_event__free_unpacked(back, NULL);
}

static void assert_packed_as_protobuf_does(const usage_event *e)
{
    uint8_t ours[EVENT_MAX_BYTES], theirs[EVENT_MAX_BYTES];
    size_t len = event_pack(e, ours, sizeof(ours));
    assert_int_equal(len, apirelay__usage__v1__usage_event__get_packed_size(e));
    assert_int_equal(apirelay__usage__v1__usage_event__pack(e, theirs), len);
    assert_memory_equal(ours, theirs, len);
    event_figures noted = EVENT_FIGURES_NONE, there;
    if (event_pack_usual(e, ours, sizeof(ours), &noted) == 0)
        return;
    assert_true(event_read_figures(gw_str_n(ours, len), &there));
    assert_memory_equal(&noted, &there, sizeof(there));
}

/* Each field alone with values of each length, and all of them together. */
static void an_event_is_packed_as_protobuf_packs_it(void **state)
{
    (void)state;
    static const int64_t numbers[] = {1, 127, 128, 16384, INT32_MAX, INT64_MAX, -1, INT64_MIN};
    char texts[][140] = {"x", "a text", ""};
    memset(texts[2], 'y', 135); /* its length takes two bytes */
    uint8_t id[12] = "event-000001";
    Apirelay__Usage__V1__EventHeader header = APIRELAY__USAGE__V1__EVENT_HEADER__INIT;
    Apirelay__Usage__V1__EventHeader *headers[] = {&header, &header};
    usage_event all = APIRELAY__USAGE__V1__USAGE_EVENT__INIT;
    assert_int_equal(event_pack(&all, id, 0), 0);
    const ProtobufCMessageDescriptor *d = all.base.descriptor;
    for (unsigned i = 0; i < d->n_fields; i++) {
        const ProtobufCFieldDescriptor *f = &d->fields[i];
        for (size_t k = 0; k < GW_ARRAY_LEN(numbers); k++) {
            usage_event one = APIRELAY__USAGE__V1__USAGE_EVENT__INIT;
            void *places[] = {(char *)&one + f->offset, (char *)&all + f->offset};
            for (size_t p = 0; p < GW_ARRAY_LEN(places); p++) {
                if (f->type == PROTOBUF_C_TYPE_INT64)
                    *(int64_t *)places[p] = numbers[k];
                else if (f->type == PROTOBUF_C_TYPE_INT32)
                    *(int32_t *)places[p] = (int32_t)numbers[k];
                else if (f->type == PROTOBUF_C_TYPE_BOOL)
                    *(protobuf_c_boolean *)places[p] = 1;
                else if (f->type == PROTOBUF_C_TYPE_STRING)
                    *(char **)places[p] = texts[p == 0 ? k % GW_ARRAY_LEN(texts) : 0];
                else if (f->type == PROTOBUF_C_TYPE_BYTES)
                    *(ProtobufCBinaryData *)places[p] = (ProtobufCBinaryData){12, id};
            }
            if (f->type == PROTOBUF_C_TYPE_MESSAGE) {
                header.name = texts[k % 2];
                header.value = texts[k % GW_ARRAY_LEN(texts)];
                one.headers = all.headers = headers;
                one.n_headers = all.n_headers = 1 + k % 2;
            }
            assert_packed_as_protobuf_does(&one);
            one.ttft_ms_presence_case = APIRELAY__USAGE__V1__USAGE_EVENT__TTFT_MS_PRESENCE_TTFT_MS;
            assert_packed_as_protobuf_does(&one); /* a time of 0 is one */
        }
    }
    assert_packed_as_protobuf_does(&all);
}

static void no_event_is_packed_beyond_its_cap(void **state)
{
    (void)state;
    uint8_t out[EVENT_MAX_BYTES + 64];
    Apirelay__Usage__V1__EventHeader header = APIRELAY__USAGE__V1__EVENT_HEADER__INIT;
    Apirelay__Usage__V1__EventHeader *headers[] = {&header, &header};
    char name[] = "accept";
    header.name = name;
    for (size_t len = 0; len < 1300; len += 7) {
        char *text = long_text(len);
        usage_event e = APIRELAY__USAGE__V1__USAGE_EVENT__INIT;
        e.timestamp_ms = e.cost_nano_usd = e.duration_ms = e.prompt_tokens = INT64_MAX;
        e.status_code = e.attempts = -1; /* ten bytes each */
        e.stream = e.truncated = e.upstream_accepted = true;
        e.user_agent = header.value = text;
        e.headers = headers;
        e.n_headers = len % 3;
        for (size_t cap = 512; cap <= EVENT_MAX_BYTES; cap += 92) {
            memset(out, 0xa5, sizeof(out));
            size_t packed = event_pack(&e, out, cap);
            assert_true(packed > 0 && packed <= cap);
            assert_int_equal(out[cap], 0xa5);
        }
        free(text);
    }
}

static void headers_go_first_then_the_user_agent_then_the_error(void **state)
{
    (void)state;
    char *agent = long_text(500), *error = long_text(700);
    char name[] = "traceparent", value[] = "00-abc";
    Apirelay__Usage__V1__EventHeader header = APIRELAY__USAGE__V1__EVENT_HEADER__INIT;
    header.name = name;
    header.value = value;
    Apirelay__Usage__V1__EventHeader *headers[20];
    for (size_t i = 0; i < GW_ARRAY_LEN(headers); i++)
        headers[i] = &header;
    usage_event e = APIRELAY__USAGE__V1__USAGE_EVENT__INIT;
    e.headers = headers;
    e.n_headers = GW_ARRAY_LEN(headers);
    e.user_agent = agent;
    e.error = error;
    uint8_t out[EVENT_MAX_BYTES];

    usage_event *back = unpack(out, event_pack(&e, out, sizeof(out)));
    assert_true(back->truncated);
    assert_int_equal(back->n_headers, 0);
    assert_int_equal(strlen(back->user_agent), 500);
    assert_int_equal(strlen(back->error), 700);
    apirelay__usage__v1__usage_event__free_unpacked(back, NULL);

    back = unpack(out, event_pack(&e, out, 1000));
    assert_true(strlen(back->user_agent) < 500);
    assert_int_equal(strlen(back->error), 700);
    apirelay__usage__v1__usage_event__free_unpacked(back, NULL);
    free(agent);
    free(error);
}

static void a_megabyte_of_error_text_still_fits(void **state)
{
    (void)state;
    char *error = long_text(1 << 20), *model = long_text(4000);
    usage_event e = APIRELAY__USAGE__V1__USAGE_EVENT__INIT;
    e.error = error;
    e.model = model;
    uint8_t out[EVENT_MAX_BYTES];
    for (size_t cap = 512; cap <= sizeof(out); cap += 92) {
        size_t len = event_pack(&e, out, cap);
        assert_in_range(len, 1, cap);
        usage_event *back = unpack(out, len);
        assert_true(back->truncated);
        apirelay__usage__v1__usage_event__free_unpacked(back, NULL);
    }
    free(error);
    free(model);
}

static void the_name_of_an_answer_is_left_out_whole_and_last(void **state)
{
    (void)state;
    char *user = long_text(200), *name = long_text(60);
    usage_event e = APIRELAY__USAGE__V1__USAGE_EVENT__INIT;
    uint8_t out[EVENT_MAX_BYTES];
    e.end_user = user;
    e.upstream_response_id = name;
    usage_event *back = unpack(out, event_pack(&e, out, 130));
    assert_true(strlen(back->end_user) < 200);
    assert_string_equal(back->upstream_response_id, name);
    apirelay__usage__v1__usage_event__free_unpacked(back, NULL);
    back = unpack(out, event_pack(&e, out, 100));
    assert_true(strlen(back->end_user) > 0);
    assert_string_equal(back->upstream_response_id, "");
    apirelay__usage__v1__usage_event__free_unpacked(back, NULL);
    free(name);
    free(user);
}

static void a_cut_never_splits_a_character(void **state)
{
    (void)state;
    char error[3001];
    for (size_t i = 0; i + 3 < sizeof(error); i += 3)
        memcpy(error + i, "\xe2\x82\xac", 3);
    error[2997] = '\0';
    usage_event e = APIRELAY__USAGE__V1__USAGE_EVENT__INIT;
    e.error = error;
    uint8_t out[EVENT_MAX_BYTES];
    for (size_t cap = 600; cap < 606; cap++) {
        usage_event *back = unpack(out, event_pack(&e, out, cap));
        assert_true(gw_str_is_utf8(gw_str_of(back->error)));
        assert_true(strlen(back->error) > 500);
        apirelay__usage__v1__usage_event__free_unpacked(back, NULL);
    }
}

static void an_interrupted_request_is_billed_by_what_was_delivered(void **state)
{
    (void)state;
    char basis[] = "reported", request_id[] = "req_1";
    usage_event e = APIRELAY__USAGE__V1__USAGE_EVENT__INIT;
    e.timestamp_ms = 1000;
    e.prompt_estimate_tokens = 40;
    e.cost_nano_usd = 7;
    e.billing_basis = basis;
    e.request_id = request_id;
    uint8_t open[EVENT_MAX_BYTES], out[EVENT_MAX_BYTES];
    gw_str packed = gw_str_n(open, event_pack(&e, open, sizeof(open)));
    const event_progress streaming = {
        .completion_tokens = 12, .cost_nano_usd = 99, .last_byte_ms = 1500, .status_code = 200};
    usage_event *back = unpack(out, event_pack_interrupted(packed, &streaming, out, sizeof(out)));
    assert_string_equal(back->outcome, "interrupted");
    assert_string_equal(back->error, "interrupted");
    assert_string_equal(back->billing_basis, "estimated");
    assert_string_equal(back->request_id, "req_1");
    assert_int_equal(back->timestamp_ms, 1500);
    assert_int_equal(back->duration_ms, 500);
    assert_int_equal(back->status_code, 200);
    assert_int_equal(back->prompt_tokens, 40);
    assert_int_equal(back->completion_tokens, 12);
    assert_int_equal(back->total_tokens, 52);
    assert_int_equal(back->cost_nano_usd, 99);
    apirelay__usage__v1__usage_event__free_unpacked(back, NULL);

    const event_progress nothing_yet = {0};
    back = unpack(out, event_pack_interrupted(packed, &nothing_yet, out, sizeof(out)));
    assert_int_equal(back->status_code, 499);
    assert_int_equal(back->timestamp_ms, 1000);
    assert_int_equal(back->cost_nano_usd, 7);
    apirelay__usage__v1__usage_event__free_unpacked(back, NULL);

    assert_int_equal(event_pack_interrupted(GW_STR("\xff\xff\xff"), &nothing_yet, out, sizeof(out)),
                     0);
}

/* Found by fuzzing: the sums overflowed. */
static void figures_beyond_all_bounds_stay_the_greatest(void **state)
{
    (void)state;
    usage_event e = APIRELAY__USAGE__V1__USAGE_EVENT__INIT;
    e.prompt_estimate_tokens = INT64_MAX;
    e.timestamp_ms = INT64_MIN;
    uint8_t open[EVENT_MAX_BYTES], out[EVENT_MAX_BYTES];
    gw_str packed = gw_str_n(open, event_pack(&e, open, sizeof(open)));
    event_progress p = {.completion_tokens = 5, .last_byte_ms = 7};
    usage_event *back = unpack(out, event_pack_interrupted(packed, &p, out, sizeof(out)));
    assert_int_equal(back->total_tokens, INT64_MAX);
    assert_int_equal(back->duration_ms, INT64_MAX);
    apirelay__usage__v1__usage_event__free_unpacked(back, NULL);

    e.timestamp_ms = INT64_MAX;
    packed = gw_str_n(open, event_pack(&e, open, sizeof(open)));
    p.last_byte_ms = INT64_MIN;
    back = unpack(out, event_pack_interrupted(packed, &p, out, sizeof(out)));
    assert_int_equal(back->duration_ms, 0);
    apirelay__usage__v1__usage_event__free_unpacked(back, NULL);
}

static void figures_are_read_as_protobuf_reads_them(void **state)
{
    (void)state;
    uint8_t id[12] = "event-000001", out[EVENT_MAX_BYTES];
    uint8_t key[12] = "api-key-0001";
    char model[] = "gpt-4o", route[] = "gpt-*";
    usage_event e = APIRELAY__USAGE__V1__USAGE_EVENT__INIT;
    e.event_id = (ProtobufCBinaryData){.len = sizeof(id), .data = id};
    e.api_key_id = (ProtobufCBinaryData){.len = sizeof(key), .data = key};
    e.model = model;
    e.route = route;
    e.upstream_accepted = true;
    e.cost_nano_usd = 42;
    e.prompt_tokens = INT64_MAX;
    e.completion_tokens = 300;
    e.status_code = 503;
    e.duration_ms = -1; /* ten bytes */
    e.repeat_count = 2;
    e.ttft_ms_presence_case = APIRELAY__USAGE__V1__USAGE_EVENT__TTFT_MS_PRESENCE_TTFT_MS;
    e.ttft_ms = 0;
    event_figures f;
    size_t len = event_pack(&e, out, sizeof(out));
    static const uint8_t again[] = {0xb0, 0x02, 0x87, 0x80, 0}; /* repeat_count, 7 in three bytes */
    memcpy(out + len, again, sizeof(again));
    assert_true(event_read_figures(gw_str_n(out, len + sizeof(again)), &f));
    assert_int_equal(f.repeat_count, 7);
    assert_int_equal(f.prompt_tokens, INT64_MAX);
    assert_int_equal(f.completion_tokens, 300);
    assert_int_equal(f.cost_nano_usd, 42);
    assert_int_equal(f.status_code, 503);
    assert_int_equal(f.duration_ms, -1);
    assert_int_equal(f.ttft_ms, 0);
    assert_true(f.upstream_accepted);
    assert_true(gw_str_eq_c(f.model, "gpt-4o") && gw_str_eq_c(f.route, "gpt-*"));
    assert_memory_equal(f.api_key_id.ptr, key, sizeof(key));
    /* Cut or flipped anywhere: read as far as protobuf reads it, or refused; never beyond its end. */
    for (size_t cut = 0; cut <= len; cut++) {
        uint8_t *copy = malloc(cut + 1);
        assert_non_null(copy);
        memcpy(copy, out, cut);
        usage_event *whole = apirelay__usage__v1__usage_event__unpack(NULL, cut, copy);
        assert_true(!whole || event_read_figures(gw_str_n(copy, cut), &f));
        if (whole)
            apirelay__usage__v1__usage_event__free_unpacked(whole, NULL);
        free(copy);
    }
    for (size_t bit = 0; bit < 8 * len; bit++) {
        out[bit / 8] ^= (uint8_t)(1U << bit % 8);
        (void)!event_read_figures(gw_str_n(out, len), &f);
        out[bit / 8] ^= (uint8_t)(1U << bit % 8);
    }
    assert_false(event_read_figures(GW_STR("\xff\xff no event"), &f));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_usual_event_is_packed_whole),
        cmocka_unit_test(an_event_is_packed_as_protobuf_packs_it),
        cmocka_unit_test(no_event_is_packed_beyond_its_cap),
        cmocka_unit_test(headers_go_first_then_the_user_agent_then_the_error),
        cmocka_unit_test(a_megabyte_of_error_text_still_fits),
        cmocka_unit_test(the_name_of_an_answer_is_left_out_whole_and_last),
        cmocka_unit_test(a_cut_never_splits_a_character),
        cmocka_unit_test(figures_beyond_all_bounds_stay_the_greatest),
        cmocka_unit_test(an_interrupted_request_is_billed_by_what_was_delivered),
        cmocka_unit_test(figures_are_read_as_protobuf_reads_them),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
