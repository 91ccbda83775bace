/*
 * OpenAI body: the members of a request that we act on, and the few splices we make. Anthropic's bodies have the same
 * names for them, where they have them; messages_body.c knows the rest.
 *
 * Read: model, stream, stream_options, max_tokens, max_completion_tokens, n, best_of, tools,
 * functions, response_format, messages, input, prompt, prediction, service_tier, models, fallbacks, user, and Anthropic's speed. Of
 * all but `user` a second one, or one that differs only in case, is refused: the upstream might read another than we checked and priced.
 * Everything else passes unread.
 *
 * Thread: values; everything lives in the arena, `raw` must live as long.
 */
#pragma once

#include "endpoint.h"
#include "json_members.h"
#include "policy.h"

#include "core/arena.h"

#include <yyjson.h>

typedef struct openai_parsed openai_parsed;

typedef struct openai_body {
    gw_str raw;
    openai_parsed *parsed; /* what `root` is a part of */
    yyjson_val *root; /* NULL once forgotten */
    gw_str model; /* not empty */
    bool stream;
    bool stream_given;
    bool include_usage; /* the caller asked for the usage chunk */
    bool no_output; /* max_tokens is 0 */
    int64_t choices; /* of the answer: n for each prompt; >= 1 */
    /* made and billed: best_of for each prompt where that is more; >= choices */
    int64_t completions;
    request_needs needs;
    gw_str user; /* "" when none; Anthropic's metadata.user_id */
    gw_str service_tier; /* "" when none; a speed of Anthropic's, which is paid for as a tier is */
    bool tier_is_speed; /* it was asked for by that */
    /* Of Anthropic's: what the caller said his wish by (output_config.effort, output_format), for errors about it. */
    bool effort_given, output_format_given;
    json_span model_at, stream_at, stream_options_at, max_tokens_at, max_completion_tokens_at,
        messages_at, tools_at, functions_at, response_format_at, prediction_at;
} openai_body;

/*
 * GW_ERR_INVALID_JSON naming the offset, GW_ERR_DUPLICATE_PARAMETER, GW_ERR_MISSING_PARAMETER,
 * GW_ERR_INVALID_ARGUMENT (a type), each with its field; GW_ERR_NO_MEMORY.
 */
GW_CHECK gw_status openai_body_read(gw_arena *arena, relay_endpoint endpoint, gw_str raw,
                                    openai_body *ret, gw_error *err);

/*
 * Gives back the memory of the JSON, which is a multiple of its text: for when everything that reads it has done so. The
 * texts of `b` are copied to the arena; when that has no memory nothing happens.
 */
void openai_body_forget_json(openai_body *b, gw_arena *arena);

/* What the upstream is to read instead. */
typedef struct openai_splices {
    gw_str model; /* "" keeps the caller's */
    bool stream; /* set "stream": true */
    bool include_usage; /* set stream_options.include_usage */
    /* 0 = leaves the caller's; else in place of what the caller gave, if anything */
    int64_t max_tokens;
    relay_endpoint endpoint;
    /* the ceiling is called max_tokens, whatever the caller calls it; developers are systems */
    bool is_local;
} openai_splices;

/* The body in parts: pieces of `raw` and replacements. No byte of the body is copied. */
GW_CHECK gw_status openai_body_splice(gw_arena *arena, const openai_body *b,
                                      const openai_splices *s, const gw_str **ret_parts,
                                      size_t *ret_count, gw_error *err);

/* Whether a lenient reader would take a member `key` for `name`: case does not count. */
bool openai_name_is(gw_str key, const char *name);
