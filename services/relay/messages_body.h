/*
 * Bodies of Anthropic's Messages API: what differs from OpenAI's (openai_body.h) in what is read of them.
 *
 * Thread: values.
 */
#pragma once

#include "openai_body.h"
#include "prompt_estimate.h"

/* Sets what the key's rules are asked by, the user, and what errors go by; `b` is read but for them. */
void messages_body_take(openai_body *b);

/*
 * Prompt tokens, as prompt_estimate() counts them: text of `system` and messages; tools, and blocks of a kind that it
 * does not know, by all that is in them. Depth of nesting costs no stack.
 */
prompt_tokens messages_body_estimate(const openai_body *b, bool for_hold);
