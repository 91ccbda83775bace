/*
 * For the tests of usage: an event as a relay packs it.
 */
#pragma once

#include "event_row.h"
#include "rollup.h"

#include "testing/cmocka.h"

#include <stdlib.h>

#define TEST_NOW_MS       1763861130123LL /* 2025-11-23T01:25:30.123Z */
#define TEST_RETENTION_MS (90LL * 24 * 3600 * 1000)
#define TEXT(literal)     ((char *)(uintptr_t)(literal))

typedef struct test_event {
    usage_event e;
    uint8_t id[12], key[12], user[12];
    Apirelay__Usage__V1__EventHeader header;
    Apirelay__Usage__V1__EventHeader *headers[1];
} test_event;

static inline void test_event_init(test_event *t)
{
    *t = (test_event){.e = APIRELAY__USAGE__V1__USAGE_EVENT__INIT,
                      .id = {0xe0, 1},
                      .key = {0xa0, 2},
                      .user = {0xb0, 3},
                      .header = APIRELAY__USAGE__V1__EVENT_HEADER__INIT};
    usage_event *e = &t->e;
    t->header.name = TEXT("x-stainless.lang");
    t->header.value = TEXT("js");
    t->headers[0] = &t->header;
    e->headers = t->headers;
    e->n_headers = 1;
    e->event_id = (ProtobufCBinaryData){sizeof(t->id), t->id};
    e->api_key_id = (ProtobufCBinaryData){sizeof(t->key), t->key};
    e->user_id = (ProtobufCBinaryData){sizeof(t->user), t->user};
    e->timestamp_ms = TEST_NOW_MS;
    e->key_id = TEXT("k0123456789a");
    e->request_id = TEXT("req_1");
    e->endpoint = TEXT("/v1/chat/completions");
    e->method = TEXT("POST");
    e->model = TEXT("gpt-4.1");
    e->route = TEXT("gpt-*");
    e->provider = TEXT("openai");
    e->upstream_model = TEXT("gpt-4.1-2025");
    e->client_id = TEXT("app.one");
    e->outcome = TEXT("complete");
    e->billing_basis = TEXT("reported");
    e->status_code = 200;
    e->duration_ms = 1234;
    e->ttft_ms_presence_case = APIRELAY__USAGE__V1__USAGE_EVENT__TTFT_MS_PRESENCE_TTFT_MS;
    e->ttft_ms = 100;
    e->prompt_tokens = 10;
    e->completion_tokens = 5;
    e->total_tokens = 15;
    e->cached_tokens = 4;
    e->reasoning_tokens = 2;
    e->cost_nano_usd = 2500000000;
    e->attempts = 1;
    e->upstream_accepted = true;
}

/* Packed into `out`, which the caller finishes. */
static inline gw_str test_event_pack(const test_event *t, gw_buf *out)
{
    size_t size = apirelay__usage__v1__usage_event__get_packed_size(&t->e);
    gw_buf_clear(out);
    assert_true(gw_buf_reserve(out, size));
    out->len = apirelay__usage__v1__usage_event__pack(&t->e, (uint8_t *)out->data);
    return gw_buf_str(out);
}

static inline void test_event_row(const test_event *t, bson_t *row)
{
    bson_init(row);
    event_append_row(&t->e, SUMS_FORMAT, row);
}
