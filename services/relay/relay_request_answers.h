/*
 * OpenAI's answers and requests that tests of requests say again and again: the events of a stream, a whole answer, a question; and looks at
 * what came of them.
 */
#pragma once

#include "relay_request_test_kit.h"

#define EVENT(delta, finish)                                                                       \
    "data: "                                                                                       \
    "{\"id\":\"c\",\"object\":\"chat.completion.chunk\",\"choices\":[{\"index\":0,"                \
    "\"delta\":" delta ",\"finish_reason\":" finish "}],\"usage\":null}\n\n"
#define ROLE  EVENT("{\"role\":\"assistant\",\"content\":\"\"}", "null")
#define SAID  EVENT("{\"content\":\"hello\"}", "null")
#define ENDED EVENT("{}", "\"stop\"")
#define USAGE                                                                                      \
    "data: "                                                                                       \
    "{\"id\":\"c\",\"choices\":[],\"usage\":{\"prompt_tokens\":9,\"completion_tokens\":3,\"total_" \
    "tokens\":12}}\n\n"
#define DONE "data: [DONE]\n\n"
#define JSON                                                                                       \
    "{\"id\":\"c\", "                                                                              \
    "\"choices\":[{\"message\":{\"content\":\"hello\"},\"finish_reason\":\"stop\"}],\"usage\":{"   \
    "\"prompt_tokens\":9,\"completion_tokens\":3,\"total_tokens\":12}}"
#define SSE   "text/event-stream"
#define PLAIN "application/json"

#define CHAT "{\"model\":\"gpt-4o\",\"messages\":[{\"role\":\"user\",\"content\":\"hi\"}]}"
#define STREAM                                                                                     \
    "{\"model\":\"gpt-4o\",\"messages\":[{\"role\":\"user\",\"content\":\"hi\"}],\"stream\":true}"

static inline bool says(const gw_buf *b, const char *text)
{
    return gw_str_contains(gw_buf_str(b), gw_str_of(text));
}

static inline usage_event *only_event(kit *k)
{
    assert_int_equal(k->event_count, 1);
    return k->events[0];
}
