/*
 * Anthropic's Messages API (WIRE.md) as a provider of chat completions: the parts of its adapter.
 *
 * Request: system and developer messages become `system`, wherever they stand; neighbours of one role
 * become one message, so that the results of parallel tool calls answer them in one turn. Answer: each
 * content block becomes deltas; what a block keeps beside its text (thinking with its signature) is
 * carried in `thinking_blocks` and taken back from there, since Anthropic wants it unchanged on tool turns.
 *
 * Thread: the loop's.
 */
#pragma once

#include "adapter_params.h"
#include "chat_writer.h"

/* anthropic_messages.c: adds `system` and `messages` to `root`. Errors name the part at fault. */
GW_CHECK gw_status anthropic_write_messages(adapter_params *params, json_builder *body,
                                            yyjson_mut_val *root, gw_error *err);

/* anthropic_request.c */
gw_status anthropic_write_request(const adapter_job *job, adapter_request *ret, gw_error *err);

/* anthropic_stream.c */
gw_status anthropic_on_event(adapter_stream *s, const gw_sse_event *e);
gw_status anthropic_on_end(adapter_stream *s);

/* anthropic_answer.c */
gw_status anthropic_on_answer(adapter_stream *s, gw_str json, gw_str *ret);
void anthropic_map_error(const adapter_job *job, int status, bool is_json, gw_str body,
                         openai_error *ret);
/* An error object inside a 200: its type says what status it would have had. Returns its code. */
gw_status anthropic_fail_inband(adapter_stream *s, gw_str json);
/* OpenAI's finish reason. */
const char *anthropic_finish_of(gw_str stop_reason);

/*
 * Usage as it comes in: message_start, then message_delta, which is cumulative. Absent is not zero; a
 * later figure replaces an earlier one, but for the zeros that some upstreams fill in.
 */
typedef struct anthropic_usage {
    bool has_input, has_output;
    int64_t input, cache_read, cache_write; /* input without the two others */
    int64_t long_cache_write; /* of cache_write: for an hour */
    int64_t output, reasoning;
} anthropic_usage;
/* The service tier that it states goes to the tap. */
void anthropic_usage_read(anthropic_usage *u, yyjson_val *usage, usage_tap *tap);
/* Of message_start: what it says of the prompt counts from then on, of the output only the first tokens are in it. */
void anthropic_usage_start(anthropic_usage *u, yyjson_val *message, usage_tap *tap);
/* False when input or output is not known. */
bool anthropic_usage_as_chat(const anthropic_usage *u, chat_usage *ret);
