/*
 * Google's Gemini API (generateContent, WIRE.md) as a provider of chat completions: the parts of its adapter.
 *
 * An answer is one GenerateContentResponse, a stream a row of them with new parts each; there is no
 * [DONE]: the stream is whole when every candidate said why it ended and the framing ends well. What has
 * to go back verbatim on tool turns, thought signatures, is carried in `extra_content.google` of a call or
 * of the message, as Google's own OpenAI endpoint does.
 *
 * Thread: the loop's.
 */
#pragma once

#include "adapter_params.h"
#include "chat_writer.h"

#define GOOGLE_CANDIDATES_MAX 8

/* As far as its name tells, without "models/": later models think by levels, and want their calls back with signatures. */
static inline bool google_is_up_to_2(gw_str model)
{
    return gw_str_starts_with(model, GW_STR("gemini-2")) ||
           gw_str_starts_with(model, GW_STR("gemini-1"));
}

/* google_contents.c: adds `systemInstruction` and `contents` to `root`. */
GW_CHECK gw_status google_write_contents(adapter_params *params, gw_str model, json_builder *body,
                                         yyjson_mut_val *root, gw_error *err);

/* google_config.c: adds `generationConfig`, `tools` and `toolConfig` to `root`. */
GW_CHECK gw_status google_write_config(adapter_params *params, gw_str model, yyjson_mut_doc *doc,
                                       yyjson_mut_val *root, gw_error *err);

/* google_answer.c */
gw_status google_on_answer(adapter_stream *s, gw_str json, gw_str *ret);
void google_map_error(const adapter_job *job, int status, bool is_json, gw_str body,
                      openai_error *ret);
/* An error object inside a 200; returns its code. */
gw_status google_fail_inband(adapter_stream *s, gw_str json);
typedef struct google_end {
    const char *finish; /* OpenAI's finish reason; NULL: it failed */
    gw_status code; /* then, and why in words */
    const char *failure;
} google_end;
/* How a candidate ended. Only STOP, or nothing said, is an end of its own: a reason that came after us is told as content_filter. */
google_end google_end_of(gw_str finish_reason, bool has_calls);
/* Why a prompt was blocked, ptr NULL when it was not. */
gw_str google_block_reason(yyjson_val *response);
/* False when the counts are not known yet. `is_empty`: it ended and said nothing, so that it needs no candidates' count. */
bool google_usage_read(yyjson_val *response, bool is_empty, chat_usage *ret);
/* What is stated of the prompt counts also where that was false. */
void google_usage_note_prompt(const chat_usage *usage, usage_tap *tap);

typedef enum google_part_kind {
    GOOGLE_NOTHING,
    GOOGLE_TEXT, /* that of code, too */
    GOOGLE_THOUGHT,
    GOOGLE_CALL,
    GOOGLE_MEDIA /* an image, sound or file: nothing of a chat completion could carry it */
} google_part_kind;
typedef struct google_part {
    google_part_kind kind;
    gw_str text;
    gw_str id, name; /* of a call; id made up when the provider gave none */
    yyjson_val *args;
    gw_str extra; /* ",\"extra_content\":{…}" with the thought signature, "" when none */
    bool has_failed; /* out of memory */
} google_part;
/* `number` tells calls without an id apart. Texts live in the job's arena or in the response. */
google_part google_part_read(const adapter_job *job, yyjson_val *part, int64_t number);

#define GOOGLE_MEDIA_MESSAGE "the model answered with media, which a chat completion cannot carry"

/*
 * google_code.c: code that the model ran at Google, and what it printed, as blocks of Markdown, as Google's own programs show them; ptr
 * NULL when the part is neither. Into `arena`; *failed is set when out of memory.
 */
gw_str google_code_read(gw_arena *arena, yyjson_val *part, bool *failed);

/* google_stream.c */
gw_status google_on_event(adapter_stream *s, const gw_sse_event *e);
gw_status google_on_end(adapter_stream *s);
