/*
 * Usage tap: looks at an answer as it passes for usage, service tier, finish reasons and errors (WIRE.md).
 *
 * Takes every shape that providers of the OpenAI dialect send: usage on a chunk of its own, on a
 * content chunk, on every chunk (the last counts, nothing is summed; so it is with members that an object has twice), null,
 * missing; completions and embeddings. prompt_tokens include cached ones, completion_tokens reasoning.
 *
 * Thread: one owner; `scratch` is shared by the taps of a loop.
 */
#pragma once

#include "least_tokens.h"
#include "prompt_estimate.h"

#include "core/status.h"
#include "price/price_book.h"

/* Memory a JSON text is parsed in when it fits, so that a chunk costs no allocation. */
typedef struct json_scratch {
    char *bytes;
    size_t size;
} json_scratch;

#define TAP_TIER_SIZE 33

typedef struct usage_tap {
    json_scratch scratch; /* borrowed; bytes NULL is fine */
    bool has_usage;
    bool has_prompt; /* those of the prompt are stated; with has_usage the others, too */
    bool has_choices; /* an object had the member */
    bool has_choice; /* and one was in it */
    bool has_data; /* a whole answer had it: embeddings */
    bool usage_is_beside; /* in a chunk that has choices, too; whoever reads it clears it */
    token_counts tokens;
    int64_t total_tokens;
    char finish_reason[32]; /* of the first choice that ended; "" when none did */
    int64_t finished_choices; /* choices that carried a finish reason */
    char service_tier[TAP_TIER_SIZE]; /* that the answer was made in; "" when it does not say */
    text_size completion; /* text, reasoning and tool arguments seen */
    bool is_bounded; /* the least is asked for: set before the first text */
    least_tokens least; /* of the same */
    /* what the provider calls the answer, in the job's arena: of librechat, whose books are by it */
    gw_str response_id;
} usage_tap;

/* Output tokens so far, at the least: reported, or seen. Words that providers put in for themselves, as refusals, are forgiven. */
#define TAP_FORGIVEN_WORDS 32
static inline int64_t usage_tap_least(const usage_tap *t)
{
    return GW_MAX(t->tokens.completion, least_tokens_of(&t->least) - TAP_FORGIVEN_WORDS);
}

/* True while no text, reasoning or call was seen. */
static inline bool usage_tap_is_empty(const usage_tap *t)
{
    return text_size_tokens(&t->completion) == 0;
}

typedef enum tap_kind {
    TAP_PREAMBLE, /* says nothing yet: role, empty deltas, provider's remarks */
    TAP_CONTENT, /* text, reasoning, tool call, refusal or a finish reason */
    TAP_USAGE, /* usage and no choices: the chunk of include_usage */
} tap_kind;

/*
 * One chunk of a stream, its JSON. GW_ERR_UPSTREAM_PROTOCOL when it is no JSON object,
 * GW_ERR_UPSTREAM_FAILED when it is an error object.
 */
GW_CHECK gw_status usage_tap_chunk(usage_tap *t, gw_str json, tap_kind *ret, gw_error *err);

/* A whole JSON answer; errors as above. */
GW_CHECK gw_status usage_tap_answer(usage_tap *t, gw_str json, gw_error *err);

/* The same from a parsed object, for adapters that parse anyway. */
GW_CHECK gw_status usage_tap_chunk_value(usage_tap *t, yyjson_val *chunk, tap_kind *ret,
                                         gw_error *err);

/*
 * For adapters that translate: what they read in another dialect. `reason` is OpenAI's; a report
 * replaces the one before, counts that contradict each other are clamped.
 */
void usage_tap_text(usage_tap *t, gw_str text);
void usage_tap_finish(usage_tap *t, gw_str reason);
void usage_tap_report(usage_tap *t, const token_counts *tokens, int64_t total_tokens);
/* The last one that was stated counts. */
void usage_tap_tier(usage_tap *t, gw_str tier);
/* Of a provider that states the prompt's tokens at the begin of its stream; nothing once there was a report. */
void usage_tap_prompt(usage_tap *t, const token_counts *tokens);
/*
 * The most that a count of tokens may be, as that of a price's maxOutputTokens. Beyond it a provider is wrong, and usage
 * would set the event aside: no row would be made of the request.
 */
#define TOKENS_BELIEVED_MAX 100000000
/* A count as JSON has it: some providers write 12.0. False when absent, negative or over TOKENS_BELIEVED_MAX.
 * Of two the last, as json_last(). */
bool json_count(yyjson_val *object, const char *name, int64_t *ret);

/*
 * What is in the `content` of a message or a delta: a text, or parts, of which Mistral's models that reason have two kinds,
 * {"type":"text","text":"…"} and {"type":"thinking","thinking":[{"type":"text","text":"…"}]}. Empty texts are passed over.
 */
typedef void (*content_text_fn)(void *arg, bool is_thought, gw_str text);
void content_each_text(yyjson_val *content, content_text_fn each, void *arg);

/* Parses in the scratch memory when it fits; free with yyjson_doc_free(). NULL when not JSON. */
yyjson_doc *json_scratch_read(const json_scratch *s, yyjson_alc *alc, gw_str json);
